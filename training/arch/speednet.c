/*
 * speednet.c
 *	  The narrow network for small pictures (arch.h).
 *
 * After the CIFAR-10 speed records of Jordan ("94 % on CIFAR-10 in 3.29 seconds on a
 * single GPU", 2024), made narrower for CPUs and given a hash layer.
 */
#include "training/arch/arch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WHITEN_FILTERS 24
#define NORM_EPS 1e-5f

const char *
speednet_name(const SpeednetShape *s, char *text, size_t size)
{
	snprintf(text, size, "speednet-%d-%d-%d", s->channels[0], s->channels[1],
			 s->channels[2]);
	return text;
}

static NnParam *
find(NnGraph *g, const char *layer, const char *suffix)
{
	char name[2 * NN_MAX_NAME];
	int i;

	snprintf(name, sizeof(name), "%s.%s", layer, suffix);
	i = nn_graph_find_param(g, name);
	return i < 0 ? NULL : &g->param[i];
}

static int
convolution(NnGraph *g, int x, const char *block, const char *name, int channels)
{
	char full[NN_MAX_NAME];

	snprintf(full, sizeof(full), "%s.%s", block, name);
	return nn_conv2d(g, x, full, channels, 3, 3, 1, 1, 1, false, NN_IDENTITY);
}

static int
norm_gelu(NnGraph *g, int x, const char *block, const char *name)
{
	char full[NN_MAX_NAME];

	snprintf(full, sizeof(full), "%s.%s", block, name);
	x = nn_batchnorm(g, x, full, NORM_EPS);
	return nn_activation(g, x, NN_GELU);
}

static int
block(NnGraph *g, int x, const char *name, int channels)
{
	x = convolution(g, x, name, "conv1", channels);
	x = nn_maxpool(g, x, 2, 2, 0);
	x = norm_gelu(g, x, name, "norm1");
	x = convolution(g, x, name, "conv2", channels);
	return norm_gelu(g, x, name, "norm2");
}

/*
 * The first channels pass their input on (Dirac), so that a deep stack starts as a
 * shallow one; the others are uniform in +-1/sqrt(fan in).
 */
static void
initialise_conv(NnParam *w, Rng *rng)
{
	int outputs = w->shape.dim[0];
	int inputs = w->shape.dim[1];
	int taps = w->shape.dim[2] * w->shape.dim[3];
	double bound = 1 / sqrt((double) inputs * taps);

	for (int o = 0; o < outputs; o++)
		for (int i = 0; i < inputs; i++)
			for (int t = 0; t < taps; t++)
			{
				float *v = &w->data[((size_t) o * inputs + i) * taps + t];
				double random = (2 * rng_uniform(rng) - 1) * bound;

				if (o < inputs)
					*v = o == i && t == taps / 2;
				else
					*v = (float) random;
			}
}

static void
initialise(NnGraph *g, const Dataset *ds, const float mean[3], const float std[3],
		   uint64_t seed)
{
	NnParam *hash = find(g, "hash", "weight");
	NnParam *whiten = find(g, "whiten", "weight");
	double bound = 1 / sqrt((double) hash->shape.dim[1]);
	Rng rng;

	rng_seed(&rng, seed, 1);
	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];

		if (node->kind == NN_CONV2D && &g->param[node->param[0]] != whiten)
			initialise_conv(&g->param[node->param[0]], &rng);
		else if (node->kind == NN_BATCHNORM)
			g->param[node->param[0]].trainable = false;
	}
	for (size_t i = 0; i < nn_shape_size(&hash->shape); i++)
		hash->data[i] = (float) ((2 * rng_uniform(&rng) - 1) * bound);
	/* Codes are centred: each bit is on for about half of the pictures. */
	find(g, "hash_norm", "bias")->trainable = false;
	arch_whitening(ds, mean, std, seed, whiten->data);
	whiten->trainable = false;
}

NnGraph *
speednet_new(const SpeednetShape *s, const Dataset *ds, uint64_t seed, TrainError *err)
{
	NnGraph *g;
	NnError trouble;
	NnShape flat = {1, {s->channels[2]}};
	float mean[3];
	float std[3];
	int x;

	if (s->height < 24 || s->width < 24)
	{
		train_fail(err, "speednet needs pictures of at least 24x24 pixels, not %dx%d",
				   s->width, s->height);
		return NULL;
	}
	g = nn_graph_new();
	if (!g)
	{
		train_fail(err, "out of memory");
		return NULL;
	}
	arch_colour_moments(ds, mean, std);
	x = nn_input(g, s->height, s->width, mean, std);
	x = nn_conv2d(g, x, "whiten", WHITEN_FILTERS, 2, 2, 1, 0, 1, false, NN_IDENTITY);
	x = nn_activation(g, x, NN_GELU);
	x = block(g, x, "block1", s->channels[0]);
	x = block(g, x, "block2", s->channels[1]);
	x = block(g, x, "block3", s->channels[2]);
	if (x >= 0)
	{
		const NnShape *rest = &g->node[x].shape;
		NnNode pool = {
			.kind = NN_MAXPOOL,
			.ninputs = 1,
			.input = {x},
			.kernel = {rest->dim[0], rest->dim[1]},
			.stride = {rest->dim[0], rest->dim[1]},
		};

		x = nn_graph_add(g, &pool, 0);
	}
	x = nn_reshape(g, x, &flat);
	x = nn_linear(g, x, "hash", s->bits, false, NN_IDENTITY);
	nn_batchnorm(g, x, "hash_norm", NORM_EPS);
	if (!nn_graph_ok(g, &trouble))
	{
		nn_graph_free(g);
		train_fail(err, "%s", trouble.text);
		return NULL;
	}
	initialise(g, ds, mean, std, seed);
	return g;
}
