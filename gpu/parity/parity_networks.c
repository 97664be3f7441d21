/*
 * parity_networks.c
 *	  The networks that a comparison runs.
 */
#include "gpu/parity/parity_networks.h"

#include <stdio.h>

#include "gpu/parity/parity_draw.h"

static const float mean[3] = {0.5f, 0.5f, 0.5f}, deviation[3] = {0.25f, 0.25f, 0.25f};

/* ------------------------------------------------------------------- inference */

NnGraph *
parity_start(int height, int width, int channels, int *x)
{
	NnGraph *g = nn_graph_new();

	*x = nn_input(g, height, width, mean, deviation);
	if (channels > 0)
		*x = nn_conv2d(g, *x, "wide", channels, 1, 1, 1, 0, 1, true, NN_IDENTITY);
	return g;
}

/* A ViT block or two after patches. */
NnGraph *
parity_vit(int size, int patch, int dim, int heads, int blocks)
{
	int side = size / patch, x, y;
	NnGraph *g = parity_start(size, size, 0, &x);
	NnShape tokens = {2, {side * side, dim, 0, 0}};
	char name[32];

	x = nn_conv2d(g, x, "patch", dim, patch, patch, patch, 0, 1, true, NN_IDENTITY);
	x = nn_reshape(g, x, &tokens);
	x = nn_class_token(g, x, "cls");
	x = nn_position(g, x, "pos");
	for (int b = 0; b < blocks; b++)
	{
#define NAME(what) (snprintf(name, sizeof(name), "%d." what, b), name)
		y = nn_layernorm(g, x, NAME("norm1"), 1e-6f);
		y = nn_linear(g, y, NAME("qkv"), 3 * dim, true, NN_IDENTITY);
		y = nn_attention(g, y, heads);
		y = nn_linear(g, y, NAME("proj"), dim, true, NN_IDENTITY);
		x = nn_add(g, x, y);
		y = nn_layernorm(g, x, NAME("norm2"), 1e-6f);
		y = nn_linear(g, y, NAME("fc1"), 4 * dim, true, NN_GELU);
		y = nn_linear(g, y, NAME("fc2"), dim, true, NN_IDENTITY);
		x = nn_add(g, x, y);
#undef NAME
	}
	x = nn_layernorm(g, x, "norm", 1e-6f);
	x = nn_token(g, x, 0);
	nn_linear(g, x, "head", 64, true, NN_IDENTITY);
	return g;
}

NnGraph *
parity_cnn(void)
{
	int x;
	NnGraph *g = parity_start(32, 32, 0, &x);
	const int width[3] = {32, 128, 128};
	char name[32];

	x = nn_conv2d(g, x, "first", 24, 2, 2, 1, 0, 1, true, NN_GELU);
	for (int b = 0; b < 3; b++)
	{
		snprintf(name, sizeof(name), "%d.conv1", b);
		x = nn_conv2d(g, x, name, width[b], 3, 3, 1, 1, 1, false, NN_IDENTITY);
		x = nn_maxpool(g, x, 2, 2, 0);
		snprintf(name, sizeof(name), "%d.norm", b);
		x = nn_batchnorm(g, x, name, 1e-5f);
		x = nn_activation(g, x, NN_GELU);
		snprintf(name, sizeof(name), "%d.conv2", b);
		x = nn_conv2d(g, x, name, width[b], 3, 3, 1, 1, 1, true, NN_GELU);
	}
	x = nn_maxpool(g, x, 3, 3, 0);
	x = nn_global_avgpool(g, x);
	nn_linear(g, x, "hash", 64, false, NN_IDENTITY);
	return g;
}

/* Ops drawn at random while the picture lasts, then a head. */
NnGraph *
parity_random_network(void)
{
	int x, size = parity_between(8, 40), channels = parity_between(1, 40);
	NnGraph *g = parity_start(size, size, channels, &x);
	char name[32];

	for (int i = 0, n = parity_between(3, 10); i < n; i++)
	{
		int y = x;

		snprintf(name, sizeof(name), "layer%d", i);
		switch (parity_between(0, 6))
		{
			case 0:
				channels = parity_between(1, 60);
				x = nn_conv2d(g, x, name, channels, 3, 3, 1, 1, 1, true, NN_GELU);
				break;
			case 1:
				x = nn_conv2d(g, x, name, channels, 3, 3, 1, 1, channels, false,
							  NN_RELU6);
				break;
			case 2:
				x = nn_batchnorm(g, x, name, 1e-5f);
				break;
			case 3:
				x = nn_activation(
					g, x, (NnActivation) parity_between(0, NN_ACTIVATION_COUNT - 1));
				break;
			case 4:
				y = nn_conv2d(g, x, name, channels, 1, 1, 1, 0, 1, true, NN_SILU);
				x = nn_add(g, x, y);
				break;
			case 5:
				if (size >= 6)
				{
					x = parity_between(0, 1) ? nn_maxpool(g, x, 2, 2, 0)
											 : nn_avgpool(g, x, 2, 2, 0);
					size /= 2;
				}
				break;
			default:
				x = nn_layernorm(g, x, name, 1e-2f);
		}
	}
	x = nn_global_avgpool(g, x);
	nn_linear(g, x, "head", parity_between(1, 128), true, NN_IDENTITY);
	return g;
}

/* -------------------------------------------------------------------- training
 *
 * Those that draw random numbers (dropout, samples) have no rectifier and no maximum:
 * what is near one is then a matter of the draw, of which errors of rounding in a network
 * of other nodes know nothing (parity_noise.h).
 */

/* Residual, strided, grouped and depthwise convolutions, norms, pools. */
static void
convolutional(NnGraph *g, int x)
{
	int y;

	x = nn_conv2d(g, x, "first", 8, 3, 3, 1, 1, 1, false, NN_IDENTITY);
	x = nn_activation(g, nn_batchnorm(g, x, "norm1", 1e-3f), NN_RELU);
	y = nn_conv2d(g, x, "point", 8, 1, 1, 1, 0, 1, true, NN_IDENTITY);
	y = nn_activation(g, y, NN_SILU);
	x = nn_add(g, x, y);
	x = nn_maxpool(g, x, 3, 2, 1);
	x = nn_conv2d(g, x, "grouped", 12, 3, 3, 2, 1, 4, true, NN_IDENTITY);
	x = nn_activation(g, x, NN_GELU);
	x = nn_conv2d(g, x, "deep", 12, 3, 3, 1, 1, 12, true, NN_IDENTITY);
	x = nn_simam(g, nn_activation(g, x, NN_TANH), 1e-2f);
	x = nn_avgpool(g, x, 2, 1, 0);
	x = nn_linear(g, nn_global_avgpool(g, x), "head", 6, false, NN_IDENTITY);
	nn_batchnorm(g, x, "head_norm", 1e-3f);
}

static void
transformer(NnGraph *g, int x)
{
	const NnShape tokens = {2, {16, 12}};
	int y;

	x = nn_conv2d(g, x, "patch", 12, 4, 4, 4, 0, 1, true, NN_IDENTITY);
	x = nn_class_token(g, nn_reshape(g, x, &tokens), "cls");
	x = nn_dropout(g, nn_position(g, x, "pos"), 0.2f);
	y = nn_linear(g, nn_layernorm(g, x, "n1", 1e-3f), "qkv", 36, true, NN_IDENTITY);
	y = nn_linear(g, nn_attention(g, y, 3), "proj", 12, true, NN_IDENTITY);
	x = nn_add(g, x, nn_drop_path(g, nn_layerscale(g, y, "ls"), 0.3f));
	y = nn_linear(g, nn_layernorm(g, x, "n2", 1e-3f), "fc1", 24, true, NN_IDENTITY);
	y = nn_linear(g, nn_activation(g, y, NN_GELU), "fc2", 12, true, NN_IDENTITY);
	x = nn_softmax(g, nn_scale(g, nn_add(g, x, y), 2));
	y = nn_reduce(g, x, 0, true);
	x = nn_mul(g, nn_token(g, x, 0), nn_activation(g, y, NN_SIGMOID));
	nn_linear(g, x, "head", 5, true, NN_IDENTITY);
}

/* Shifted windows on both levels of a map; slices, concatenations, other rectifiers. */
static void
windows(NnGraph *g, int x)
{
	const int swap[3] = {1, 0, 2};
	int y[2];

	x = nn_conv2d(g, x, "patch", 8, 2, 2, 2, 0, 1, true, NN_IDENTITY);
	x = nn_activation(g, x, NN_LEAKY_RELU);
	for (int i = 0; i < 2; i++)
	{
		char name[16];

		snprintf(name, sizeof(name), "qkv%d", i);
		y[0] = nn_linear(g, nn_layernorm(g, x, i ? "n1" : "n0", 1e-3f), name, 24, true,
						 NN_IDENTITY);
		y[0] = nn_window_attention(g, y[0], i ? "a1" : "a0", 2, 4, i * 2);
		x = nn_add(g, x, y[0]);
	}
	x = nn_activation(g, nn_scale(g, x, 4), NN_RELU6);
	y[0] = nn_slice(g, x, 2, 2, 4);
	y[1] = nn_permute(g, nn_slice(g, x, 2, 4, 4), swap);
	x = nn_concat(g, y, 2, 2);
	nn_linear(g, nn_global_avgpool(g, x), "head", 5, true, NN_IDENTITY);
}

/* A code with two ends, a decoder, and an input read as numbers of rows. */
static void
autoencoder(NnGraph *g, int x)
{
	const NnShape map = {3, {4, 4, 3}};
	int code, logvar, y, out[3];

	y = nn_conv2d(g, x, "down", 6, 4, 4, 4, 0, 1, true, NN_IDENTITY);
	y = nn_global_avgpool(g, nn_activation(g, y, NN_SILU));
	code = nn_linear(g, y, "mu", 5, true, NN_IDENTITY);
	logvar = nn_linear(g, y, "logvar", 5, true, NN_IDENTITY);
	y = nn_reparameterise(g, code, logvar);
	y = nn_reshape(g, nn_linear(g, y, "up", 48, true, NN_IDENTITY), &map);
	y = nn_upsample(g, y, 2, true);
	y = nn_conv_transpose2d(g, y, "t", 4, 3, 2, 1, 1, 1, true, NN_IDENTITY);
	y = nn_upsample(g, nn_activation(g, y, NN_GELU), 2, false);
	y = nn_conv2d(g, y, "last", 2, 1, 1, 1, 0, 1, true, NN_IDENTITY);
	out[0] = code;
	out[1] = logvar;
	out[2] = y;
	nn_graph_set_outputs(g, out, 3);
}

static void
rows(NnGraph *g, int x)
{
	const NnShape flat = {1, {48}};

	x = nn_reshape(g, nn_slice(g, nn_slice(g, x, 0, 3, 4), 1, 2, 4), &flat);
	x = nn_embedding(g, nn_scale(g, x, 2), "table", 5, 7);
	x = nn_reduce(g, nn_layernorm(g, x, "n", 1e-3f), 0, false);
	nn_linear(g, x, "head", 5, true, NN_IDENTITY);
}

/* ReLU right after layers, which the GPU's learner joins, but for one read twice. */
static void
rectified(NnGraph *g, int x)
{
	const NnShape flat = {1, {96}};
	int y;

	x = nn_conv2d(g, x, "first", 6, 3, 3, 2, 1, 1, true, NN_IDENTITY);
	x = nn_activation(g, x, NN_RELU);
	y = nn_conv2d(g, x, "twice", 6, 1, 1, 1, 0, 1, true, NN_IDENTITY);
	x = nn_add(g, nn_activation(g, y, NN_RELU), y);
	x = nn_conv2d(g, x, "deep", 6, 3, 3, 1, 1, 6, true, NN_IDENTITY);
	x = nn_activation(g, x, NN_RELU);
	x = nn_conv_transpose2d(g, x, "up", 4, 2, 2, 0, 0, 1, true, NN_IDENTITY);
	x = nn_maxpool(g, nn_activation(g, x, NN_RELU), 2, 2, 0);
	x = nn_conv2d(g, x, "point", 6, 1, 1, 1, 0, 1, true, NN_IDENTITY);
	x = nn_avgpool(g, nn_activation(g, x, NN_RELU), 2, 2, 0);
	x = nn_linear(g, nn_reshape(g, x, &flat), "fc1", 20, true, NN_IDENTITY);
	x = nn_linear(g, nn_activation(g, x, NN_RELU), "fc2", 20, false, NN_IDENTITY);
	nn_linear(g, nn_activation(g, x, NN_RELU), "head", 5, true, NN_IDENTITY);
}

NnGraph *
parity_network(int i, const char **name)
{
	static const struct
	{
		const char *name;
		void (*build)(NnGraph *g, int x);
	} all[] = {{"convolutions, norms, pools", convolutional},
			   {"transformer", transformer},
			   {"windows", windows},
			   {"autoencoder", autoencoder},
			   {"embedding", rows},
			   {"layers and ReLU", rectified}};
	NnGraph *g;

	if (i >= (int) (sizeof(all) / sizeof(all[0])))
		return NULL;
	*name = all[i].name;
	g = nn_graph_new();
	all[i].build(g, nn_input(g, 16, 16, mean, deviation));
	return g;
}
