/*
 * parity_tolerance.h
 *	  How far two learners may be apart, in float32 and in another precision.
 *
 * All distances are lengths of differences relative to the tensor's own length.
 *
 * Rounding.  A product's factor rounded to unit roundoff u is off by an independent error
 * of mean square u^2 / 3 of its own; so is their product, and, errors and terms having
 * signs at random, a sum of such products, however long.  Adding n terms in float32 (v =
 * 2^-24) adds n v^2 / 3, on either device.  u is 2^-8 for bfloat16, 2^-11 for TF32.
 * nn_rounding() is that for one node (src/nn/README.md, "Precision").  An error goes on
 * through layers at about its relative size, and independent ones add up by squares: with
 * d^2 the sum over all nodes, values are off by d, gradients of values, which came
 *forward and back, by sqrt(2) d, and those of weights, which take both, by sqrt(3) d.
 *
 * Kinks.  Where ReLU or max pooling decides otherwise, a gradient is off by all its size.
 * For a normal value whose relative error is d_i, both signs come out with probability
 * atan(d_i) / pi; between k values the largest changes about sqrt(k / 2) times as often,
 * and the row that a value names at each of the limits between rows.
 * What is decided otherwise is a gradient more here and, at worst, one less there: 2 d_i
 * / pi of the mean square, half of which a ReLU lets pass.  Under one decision in a
 *hundred runs, of all in the network, is taken as none.
 *
 * AdamW.  A step is the rate by the gradient over its own size, so where the gradient's
 * sign differs the weight is off by two steps: 4 d / pi of (rate / weight)^2.
 *
 * Six standard deviations of the sum of the first, whose worst tensor of many is looked
 *at; three times the length expected of the others, which are few and large (Markov: one
 *run in nine at the very most).  What is wrong is off by about 1.
 */
#ifndef GPU_PARITY_TOLERANCE_H
#define GPU_PARITY_TOLERANCE_H

#include <math.h>

#include "nn/learner.h"
#include "nn/tolerance.h"

#define PARITY_STEP 0.01 /* the rate that is tried over a usual weight */
#define PARITY_RARE 0.01 /* decisions in a run: fewer are none */

/* How often, beside ReLU, a node decides; 0: it decides nothing. */
static inline double
parity_kinks(const NnNode *node)
{
	if (node->kind == NN_MAXPOOL)
		return sqrt(node->kernel[0] * node->kernel[1] / 2.0);
	if (node->kind == NN_EMBEDDING)
		return node->rows - 1;
	return node->kind == NN_ACTIVATION &&
		   (node->activation == NN_RELU || node->activation == NN_RELU6 ||
			node->activation == NN_LEAKY_RELU);
}

/* Terms of the longest sum that a parameter's gradient is. */
static inline double
parity_longest_sum(const NnGraph *g, int batch)
{
	double longest = 0;

	for (int i = 0; i < g->nnodes; i++)
	{
		const NnShape *shape = &g->node[i].shape;
		double rows = (double) nn_shape_size(shape) / shape->dim[shape->ndim - 1];

		if (g->node[i].nparams > 0 && batch * rows > longest)
			longest = batch * rows;
	}
	return longest;
}

static inline double
parity_tolerance(const NnGraph *g, const NnLearnerOptions *o)
{
	double variance = 0, kinks = 0, decisions = 0, rounding, step;

	for (int i = 0; i < g->nnodes; i++)
	{
		double often = parity_kinks(&g->node[i]) * sqrt(variance) / M_PI;

		kinks += 2 * often;
		decisions += often * o->max_batch * (double) nn_shape_size(&g->node[i].shape);
		variance += nn_rounding(g, i, o->precision);
	}
	rounding = 3 * variance + 2 * parity_longest_sum(g, o->max_batch) * ldexp(1, -48) / 3;
	if (decisions < PARITY_RARE)
		kinks = 0;
	step = o->update == NN_ADAMW
			   ? PARITY_STEP * PARITY_STEP * 4 * sqrt(rounding + kinks) / M_PI
			   : 0;
	return sqrt(36 * rounding + 9 * (kinks + step));
}

#endif
