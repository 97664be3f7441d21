/*
 * init.c
 *	  How parameters begin.
 *
 * Biases and shifts are 0, scales 1 (as graph.h leaves them) unless an architecture
 * says otherwise; weights are drawn by one of a few rules, in the order of nodes, from
 * one generator, so that the same seed gives the same network.
 */
#include "training/arch/arch_internal.h"

#include <math.h>

#define STREAM_INIT 2 /* of the seed; speednet and whitening use 1 and 7 */

NnParam *
arch_find_param(NnGraph *g, const char *name)
{
	int i = nn_graph_find_param(g, name);

	return i < 0 ? NULL : &g->param[i];
}

/* Values read by one output: input channels of the group times taps. */
static double
fan_in(const NnShape *s)
{
	return (double) nn_shape_size(s) / s->dim[0];
}

/* Values that read one input. */
static double
fan_out(const NnShape *s)
{
	return s->ndim > 1 ? (double) nn_shape_size(s) / s->dim[1] : s->dim[0];
}

double
arch_normal_cut(Rng *rng, double deviation, double limit)
{
	double v;

	do
		v = rng_normal(rng) * deviation;
	while (fabs(v) > limit);
	return v;
}

static double
draw(ArchInit how, const NnShape *s, Rng *rng)
{
	switch (how)
	{
		case INIT_KAIMING_FAN_OUT:
			return rng_normal(rng) * sqrt(2 / fan_out(s));
		case INIT_KAIMING_UNIFORM:
			return (2 * rng_uniform(rng) - 1) * sqrt(6 / fan_in(s));
		case INIT_NORMAL_001:
			return rng_normal(rng) * 0.01;
		case INIT_TRUNCATED_002:
			return arch_normal_cut(rng, 0.02, 2);
		default:
			return (2 * rng_uniform(rng) - 1) / sqrt(fan_in(s));
	}
}

void
arch_init_values(NnParam *p, ArchInit how, Rng *rng)
{
	size_t n = nn_shape_size(&p->shape);

	for (size_t i = 0; i < n; i++)
		p->data[i] = (float) draw(how, &p->shape, rng);
}

/* +-1/sqrt(fan in of the weight beside it). */
static void
uniform_bias(NnParam *bias, const NnShape *weight, Rng *rng)
{
	double bound = 1 / sqrt(fan_in(weight));

	for (int i = 0; i < bias->shape.dim[0]; i++)
		bias->data[i] = (float) ((2 * rng_uniform(rng) - 1) * bound);
}

void
arch_init_conv(NnGraph *g, const char *layer, Rng *rng)
{
	NnParam *weight = arch_find_param(g, arch_layer("%s.weight", layer).text);
	NnParam *bias = arch_find_param(g, arch_layer("%s.bias", layer).text);

	arch_init_values(weight, INIT_UNIFORM, rng);
	if (bias)
		uniform_bias(bias, &weight->shape, rng);
}

void
arch_initialise(NnGraph *g, const Arch *arch, const ArchOptions *o)
{
	Rng rng;

	rng_seed(&rng, o->seed, STREAM_INIT);
	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];
		bool conv = node->kind == NN_CONV2D;
		NnParam *weight;

		if (!conv && node->kind != NN_LINEAR)
			continue;
		weight = &g->param[node->param[0]];
		arch_init_values(weight, conv ? arch->convolutions : arch->linears, &rng);
		if (node->param[1] >= 0 && arch->biases_uniform)
			uniform_bias(&g->param[node->param[1]], &weight->shape, &rng);
	}
	if (arch->finish)
		arch->finish(g, o, &rng);
}
