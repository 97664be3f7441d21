/*
 * parity_cases.c
 *	  What is compared in inference: every operation in several shapes, whole networks,
 *	  random ones.
 */
#include <stdio.h>

#include "gpu/parity/parity.h"
#include "gpu/parity/parity_draw.h"
#include "gpu/parity/parity_infer.h"
#include "gpu/parity/parity_networks.h"

static void
infer(Parity *p, const char *name, NnGraph *g)
{
	parity_compare(p, name, g, PARITY_DRAWS);
}

static NnGraph *
start_tokens(int side, int dim, int *x)
{
	NnGraph *g = parity_start(side, side, dim, x);
	NnShape shape = {2, {side * side, dim, 0, 0}};

	*x = nn_reshape(g, *x, &shape);
	return g;
}

static void
each_conv(Parity *p)
{
	static const int shape[][8] = {
		/* height, width, in, out, kernel, stride, pad, groups */
		{8, 8, 3, 16, 3, 1, 1, 1},	  {32, 32, 24, 32, 3, 1, 1, 1},
		{31, 17, 5, 7, 2, 1, 0, 1},	  {15, 14, 8, 12, 5, 2, 2, 4},
		{9, 9, 33, 33, 3, 2, 1, 33},  {7, 7, 40, 24, 1, 1, 0, 1},
		{7, 6, 40, 24, 1, 2, 0, 1},	  {16, 16, 3, 192, 4, 4, 0, 1},
		{64, 64, 16, 16, 7, 2, 3, 1}, {1, 1, 64, 10, 1, 1, 0, 2}};
	char name[64];

	for (size_t i = 0; i < sizeof(shape) / sizeof(shape[0]); i++)
		for (int bias = 0; bias < 2; bias++)
		{
			const int *s = shape[i];
			int x;
			NnGraph *g = parity_start(s[0], s[1], s[2], &x);

			nn_conv2d(g, x, "conv", s[3], s[4], s[4], s[5], s[6], s[7], bias,
					  bias ? (NnActivation) (i % NN_ACTIVATION_COUNT) : NN_IDENTITY);
			snprintf(name, sizeof(name), "conv2d %dx%dx%d to %d, %dx%d/%d+%d, %d groups",
					 s[0], s[1], s[2], s[3], s[4], s[4], s[5], s[6], s[7]);
			infer(p, name, g);
		}
}

static void
each_other(Parity *p)
{
	NnGraph *g;
	char name[64];
	int x;

	infer(p, "input", parity_start(5, 4, 0, &x));
	for (int act = 0; act < NN_ACTIVATION_COUNT; act++)
	{
		g = parity_start(9, 7, 13, &x);
		x = nn_scale(g, x, 5.0f);
		nn_activation(g, x, (NnActivation) act);
		snprintf(name, sizeof(name), "activation %s",
				 nn_activation_name((NnActivation) act));
		infer(p, name, g);
	}
	for (int cols = 1; cols < 400; cols = cols * 3 + 1)
	{
		g = parity_start(3, 5, cols, &x);
		nn_linear(g, x, "fc", cols + 5, cols & 1, NN_TANH);
		infer(p, "linear", g);
		g = parity_start(3, 5, cols, &x);
		nn_batchnorm(g, x, "bn", 1e-5f);
		infer(p, "batchnorm", g);
		if (cols > 1)
		{
			g = parity_start(3, 5, cols, &x);
			nn_layernorm(g, x, "ln", 1e-3f);
			infer(p, "layernorm", g);
		}
		g = parity_start(3, 5, cols, &x);
		nn_softmax(g, nn_scale(g, x, 30.0f));
		infer(p, "softmax", g);
	}
	for (int kernel = 1; kernel <= 4; kernel++)
		for (int stride = 1; stride <= 3; stride++)
		{
			g = parity_start(13, 10, 9, &x);
			nn_maxpool(g, x, kernel, stride, kernel / 2);
			infer(p, "maxpool", g);
			g = parity_start(13, 10, 9, &x);
			nn_avgpool(g, x, kernel, stride, kernel / 2);
			infer(p, "avgpool", g);
		}
	g = parity_start(13, 10, 9, &x);
	nn_global_avgpool(g, x);
	infer(p, "global_avgpool", g);
	g = parity_start(4, 4, 9, &x);
	nn_add(g, x, nn_scale(g, x, -0.3f));
	infer(p, "add, scale", g);
	g = start_tokens(4, 12, &x);
	nn_class_token(g, x, "cls");
	infer(p, "reshape, class_token", g);
	g = start_tokens(4, 12, &x);
	nn_position(g, x, "pos");
	infer(p, "position", g);
	g = start_tokens(4, 12, &x);
	nn_token(g, x, 7);
	infer(p, "token", g);
	for (int heads = 1; heads <= 6; heads++)
	{
		g = start_tokens(heads + 2, 3 * heads * 8, &x);
		nn_attention(g, x, heads);
		snprintf(name, sizeof(name), "attention, %d heads", heads);
		infer(p, name, g);
	}
}

/* What those for training are of, in inference. */
static void
each_small(Parity *p)
{
	const char *name;
	NnGraph *g, *folded;

	for (int i = 0; (g = parity_network(i, &name)) != NULL; i++)
	{
		NnError err = {""};

		folded = nn_graph_fold_batchnorm(g, &err);
		if (folded)
			infer(p, name, folded);
		else
			parity_report(p, name, false, err.text);
		nn_graph_free(g);
	}
}

void
parity_inference(Parity *p)
{
	parity_begin(p->seed, 1);
	each_conv(p);
	each_other(p);
	each_small(p);
	infer(p, "convolutional network", parity_cnn());
	infer(p, "transformer", parity_vit(32, 4, 96, 3, 2));
	for (int i = 0; i < (p->few ? 10 : 100); i++)
		infer(p, "random network", parity_random_network());
}
