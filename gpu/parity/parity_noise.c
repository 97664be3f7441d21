/*
 * parity_noise.c
 *	  Networks with the errors of rounding in them.
 */
#include "gpu/parity/parity_noise.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/parity/parity_draw.h"
#include "nn/tolerance.h"

double
parity_store(const NnGraph *g, NnPrecision precision)
{
	/* a picture's normalised values are rounded once, and nothing is summed up */
	return nn_rounding(g, 0, precision);
}

bool
parity_random(const NnGraph *g)
{
	for (int i = 0; i < g->nnodes; i++)
		if (g->node[i].kind == NN_DROPOUT || g->node[i].kind == NN_REPARAMETERISE)
			return true;
	return false;
}

/* Of mean 0 and variance 1: enough of a normal distribution for a relative error. */
static double
error_of_size(double size)
{
	double sum = 0;

	for (int i = 0; i < 3; i++)
		sum += parity_draw(1);
	return size * sum;
}

/* The relative error of each element of a node's output and of its gradient. */
static double
output_error(const NnGraph *g, int i, const ParityNoise *noise)
{
	const NnShape *shape = &g->node[i].shape;
	double rows = (double) nn_shape_size(shape) / shape->dim[shape->ndim - 1];
	double square = nn_rounding(g, i, noise->precision);

	if (noise->train)
		square +=
			parity_store(g, noise->precision) + noise->batch * rows * ldexp(1, -48) / 3;
	return noise->size * sqrt(square);
}

/*
 * x, each element of each picture larger or smaller by that share: what dropout keeps is
 * doubled, the rest is zero.
 */
static int
noise_in_training(NnGraph *g, int x, double share)
{
	int kept = nn_dropout(g, x, 0.5f);

	return nn_add(g, nn_scale(g, x, (float) (1 - share)),
				  nn_scale(g, kept, (float) share));
}

/* x, each channel by an error of its own: nothing in inference draws by picture. */
static int
noise_in_inference(NnGraph *g, int x, double share, int number)
{
	char name[32];
	NnParam *gamma;
	size_t n;

	snprintf(name, sizeof(name), "noise%d", number);
	x = nn_layerscale(g, x, name);
	if (x < 0)
		return x;
	gamma = &g->param[g->nparams - 1];
	n = nn_shape_size(&gamma->shape);
	for (size_t k = 0; k < n; k++)
		gamma->data[k] = (float) (1 + error_of_size(share));
	return x;
}

/* The parameters of a node that was copied, with errors where it trains them. */
static void
copy_params(const NnGraph *from, const NnNode *node, NnGraph *to, const NnNode *copy,
			double share)
{
	for (int k = 0; k < node->nparams; k++)
	{
		const NnParam *p;
		NnParam *q;
		size_t n;

		if (node->param[k] < 0)
			continue;
		p = &from->param[node->param[k]];
		q = &to->param[copy->param[k]];
		n = nn_shape_size(&p->shape);
		q->trainable = p->trainable;
		for (size_t i = 0; i < n; i++)
			q->data[i] = p->trainable ? (float) (p->data[i] * (1 + error_of_size(share)))
									  : p->data[i];
	}
}

static unsigned
params_of(const NnNode *node)
{
	unsigned with = 0;

	for (int k = 0; k < NN_MAX_PARAMS && k < node->nparams; k++)
		with |= (unsigned) (node->param[k] >= 0) << k;
	return with;
}

NnGraph *
parity_noisy(const NnGraph *g, const ParityNoise *noise, NnError *err)
{
	NnGraph *noisy = nn_graph_new();
	int *place = calloc((size_t) g->nnodes, sizeof(int));
	int output[NN_MAX_OUTPUTS];
	bool ok = noisy && place;

	for (int i = 0; ok && i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];
		NnNode copy = *node;
		double share = output_error(g, i, noise);
		int x;

		for (int k = 0; k < node->ninputs; k++)
			copy.input[k] = place[node->input[k]];
		x = nn_graph_add(noisy, &copy, params_of(node));
		if (x < 0)
			break;
		copy_params(g, node, noisy, &noisy->node[x],
					noise->size * sqrt(nn_rounding(g, i, noise->precision)));
		place[i] = noise->train ? noise_in_training(noisy, x, share)
								: noise_in_inference(noisy, x, share, i);
	}
	for (int k = 0; ok && k < nn_graph_outputs(g); k++)
		output[k] = place[nn_graph_output_node(g, k)];
	if (ok)
		nn_graph_set_outputs(noisy, output, nn_graph_outputs(g));
	free(place);
	if (ok && nn_graph_ok(noisy, err))
		return noisy;
	if (!ok)
		nn_fail(err, "out of memory");
	nn_graph_free(noisy);
	return NULL;
}
