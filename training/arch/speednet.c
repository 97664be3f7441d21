/*
 * speednet.c
 *	  The narrow network for small pictures (arch.h).
 *
 * After the CIFAR-10 speed records of Jordan ("94 % on CIFAR-10 in 3.29 seconds on a
 * single GPU", 2024), made narrower for CPUs and given a hash layer.
 */
#include "training/arch/arch_internal.h"

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

/* Without pictures the first layer begins as the others do, to take weights. */
static void
finish(NnGraph *g, const ArchOptions *o, Rng *rng)
{
	NnParam *whiten = find(g, "whiten", "weight");
	NnParam *hash = find(g, "hash", "weight");

	rng_seed(rng, o->seed, 1);
	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];

		if (node->kind == NN_CONV2D && &g->param[node->param[0]] != whiten)
			initialise_conv(&g->param[node->param[0]], rng);
		else if (node->kind == NN_BATCHNORM)
			g->param[node->param[0]].trainable = false;
	}
	if (hash)
		arch_init_values(hash, INIT_UNIFORM, rng);
	if (o->pictures)
		arch_whitening(o->pictures, o->mean, o->std, o->seed, whiten->data);
	whiten->trainable = false;
}

static int
build(NnGraph *g, int x, const ArchOptions *o)
{
	x = nn_conv2d(g, x, "whiten", WHITEN_FILTERS, 2, 2, 1, 0, 1, false, NN_IDENTITY);
	x = nn_activation(g, x, NN_GELU);
	x = block(g, x, "block1", (int) o->value[0]);
	x = block(g, x, "block2", (int) o->value[1]);
	x = block(g, x, "block3", (int) o->value[2]);
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
	return arch_head(g, arch_flatten(g, x), o, "head");
}

static int
depth(const ArchOptions *o, const char *param)
{
	int b;

	(void) o;
	if (strncmp(param, "whiten.", 7) == 0)
		return 0;
	return sscanf(param, "block%d.", &b) == 1 && b >= 1 && b <= 3 ? b : -1;
}

static int
depths(const ArchOptions *o)
{
	(void) o;
	return 5;
}

const Arch arch_speednet = {
	.name = "speednet",
	.about = "narrow convolutions for small pictures, fast on CPUs",
	.source = "after Jordan, \"94 % on CIFAR-10 in 3.29 seconds on a single GPU\", 2024",
	.size = 32,
	.least = 24,
	.resize = 32,
	.area = true,
	.parameter = {{"width1", "channels of the first block", NULL, 32, 1, 4096, true},
				  {"width2", "channels of the second block", NULL, 96, 1, 4096, true},
				  {"width3", "channels of the third block", NULL, 128, 1, 4096, true}},
	.head = "head",
	.build = build,
	.finish = finish,
	.depth = depth,
	.depths = depths,
};

NnGraph *
speednet_new(const SpeednetShape *s, const Dataset *ds, uint64_t seed, TrainError *err)
{
	ArchOptions o;

	arch_defaults(&arch_speednet, &o);
	o.height = s->height;
	o.width = s->width;
	o.head = ARCH_HASH;
	o.outputs = s->bits;
	for (int i = 0; i < 3; i++)
		o.value[i] = s->channels[i];
	o.pictures = ds;
	o.seed = seed;
	return arch_build(&arch_speednet, &o, err);
}
