/*
 * classic.c
 *	  Parts of AlexNet and the VGG networks (classic.h).
 */
#include "training/arch/classic.h"

#include <string.h>

#define FULL 4096

int
classic_conv(NnGraph *g, int x, const char *name, int channels, int kernel, int stride,
			 int pad)
{
	x = nn_conv2d(g, x, name, channels, kernel, kernel, stride, pad, 1, true,
				  NN_IDENTITY);
	return nn_activation(g, x, NN_RELU);
}

int
classic_square(NnGraph *g, int x, const char *name, int side)
{
	if (x >= 0)
	{
		const NnShape *s = &g->node[x].shape;
		NnNode pool = {.kind = NN_AVGPOOL, .ninputs = 1, .input = {x}};

		if (s->dim[0] % side || s->dim[1] % side)
		{
			g->failed = true;
			nn_fail(&g->error,
					"features of %dx%d positions are not a multiple of the %dx%d that "
					"layer \"%s\" reads",
					s->dim[0], s->dim[1], side, side, name);
			return -1;
		}
		for (int i = 0; i < 2; i++)
			pool.kernel[i] = pool.stride[i] = s->dim[i] / side;
		if (s->dim[0] != side || s->dim[1] != side)
			x = nn_graph_add(g, &pool, 0);
	}
	x = nn_conv2d(g, x, name, FULL, side, side, 1, 0, 1, true, NN_IDENTITY);
	return arch_flatten(g, nn_activation(g, x, NN_RELU));
}

int
classic_full(NnGraph *g, int x, const char *name)
{
	return nn_activation(g, nn_linear(g, x, name, FULL, true, NN_IDENTITY), NN_RELU);
}
