/*
 * parity_draw.c
 *	  The random numbers of a comparison.
 */
#include "gpu/parity/parity_draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/random.h"

static uint64_t key, number;

void
parity_begin(uint64_t seed, uint64_t which)
{
	key = nn_mix(nn_mix(seed) ^ which);
	number = 0;
}

static uint64_t
next(void)
{
	return nn_mix(key ^ nn_mix(number++));
}

float
parity_draw(float range)
{
	return (2 * nn_random_uniform(next()) - 1) * range;
}

int
parity_between(int least, int most)
{
	return least + (int) (next() % (uint64_t) (most - least + 1));
}

void
parity_fill(NnGraph *g)
{
	for (int p = 0; p < g->nparams; p++)
	{
		NnParam *param = &g->param[p];
		size_t n = nn_shape_size(&param->shape);
		size_t fan = param->shape.ndim > 1 ? n / (size_t) param->shape.dim[0] : 1;
		bool variance = strstr(param->name, "running_var") != NULL;

		for (size_t i = 0; i < n; i++)
			param->data[i] = variance  ? 1 + parity_draw(0.5f)
							 : fan > 1 ? parity_draw(1.7f / sqrtf((float) fan))
									   : param->data[i] + parity_draw(0.2f);
	}
}

uint8_t *
parity_pictures(const NnGraph *g, int n)
{
	size_t size = (size_t) n * nn_shape_size(&g->node[0].shape);
	uint8_t *images = malloc(size);

	for (size_t i = 0; images && i < size; i++)
		images[i] = (uint8_t) (next() >> 40);
	return images;
}
