/*
 * tolerance.c
 *	  How far two devices' logits may be apart (README.md, "Precision").
 */
#include <math.h>

#include "nn/graph.h"
#include "nn/tolerance.h"

/*
 * Standard deviations.  Independent errors would need four; a trained network enlarges
 * what tells classes apart, and so the errors of pictures between two of them.
 */
#define DEVIATIONS 24.0

/* Values that are rounded to the precision: a layer's weights and what a node stores. */
static double
roundings(const NnNode *node)
{
	switch (node->kind)
	{
		case NN_RESHAPE:
		case NN_TOKEN:
		case NN_CONCAT:
		case NN_SLICE:
		case NN_PERMUTE:
		case NN_DROPOUT:
		case NN_MAXPOOL:
			return 0;
		case NN_CONV2D:
		case NN_CONV_TRANSPOSE2D:
		case NN_LINEAR:
		case NN_ATTENTION:
		case NN_WINDOW_ATTENTION:
			return 2;
		default:
			return 1;
	}
}

/* Terms of the sums that one value of the node is. */
static double
terms(const NnGraph *g, const NnNode *node)
{
	const NnShape *in = node->ninputs > 0 ? &g->node[node->input[0]].shape : &node->shape;
	const NnShape *weight =
		node->nparams > 0 && node->param[0] >= 0 ? &g->param[node->param[0]].shape : NULL;

	switch (node->kind)
	{
		case NN_CONV2D:
		case NN_CONV_TRANSPOSE2D:
		case NN_LINEAR:
			return (double) nn_shape_size(weight) / weight->dim[0];
		case NN_ATTENTION:
			return in->dim[0] + (double) node->shape.dim[1] / node->heads;
		case NN_WINDOW_ATTENTION:
			return (double) node->window * node->window +
				   (double) node->shape.dim[2] / node->heads;
		case NN_AVGPOOL:
			return (double) node->kernel[0] * node->kernel[1];
		case NN_GLOBAL_AVGPOOL:
		case NN_REDUCE:
		case NN_SIMAM:
			return (double) nn_shape_size(in) / nn_shape_size(&node->shape) +
				   (node->kind == NN_SIMAM ? (double) in->dim[0] * in->dim[1] : 0);
		case NN_LAYERNORM:
		case NN_SOFTMAX:
			return in->dim[in->ndim - 1];
		default:
			return 1;
	}
}

/* The largest relative error of rounding to the nearest. */
static double
unit_roundoff(NnPrecision precision)
{
	switch (precision)
	{
		case NN_BF16:
			return ldexp(1, -8);
		case NN_FP16:
		case NN_TF32:
			return ldexp(1, -11);
		default:
			return ldexp(1, -24);
	}
}

NnPrecision
nn_precision_for(const NnGraph *g, NnPrecision wanted)
{
	for (int i = 0; i < g->nnodes; i++)
	{
		if (g->node[i].kind == NN_EMBEDDING && (wanted == NN_BF16 || wanted == NN_FP16))
			return NN_FLOAT32;
	}
	return wanted;
}

double
nn_rounding(const NnGraph *g, int node, NnPrecision precision)
{
	double u = unit_roundoff(precision), single = unit_roundoff(NN_FLOAT32);

	/* Either device adds up in float32, each in an order of its own. */
	return (roundings(&g->node[node]) * u * u +
			(terms(g, &g->node[node]) + 2) * single * single) /
		   3;
}

NnTolerance
nn_tolerance(const NnGraph *g, NnPrecision precision)
{
	const NnNode *last = &g->node[g->nnodes - 1];
	double variance = 0;
	NnTolerance tolerance = {0, 0};

	for (int i = 0; i < g->nnodes; i++)
		variance += 3 * nn_rounding(g, i, nn_precision_for(g, precision));
	tolerance.factor = (float) (DEVIATIONS * sqrt(variance / 3));
	if (last->kind == NN_LINEAR && last->nparams > 1 && last->param[1] >= 0)
	{
		const NnParam *bias = &g->param[last->param[1]];
		size_t n = nn_shape_size(&bias->shape);
		double sum = 0;

		for (size_t i = 0; i < n; i++)
			sum += (double) bias->data[i] * bias->data[i];
		tolerance.offset = (float) (sum / (double) n);
	}
	return tolerance;
}

float
nn_tolerance_of(const NnTolerance *tolerance, const float *logits, int bits)
{
	float sum = 0;

	for (int k = 0; k < bits; k++)
		sum += logits[k] * logits[k];
	return tolerance->factor * sqrtf(sum / (float) bits + tolerance->offset);
}

uint32_t
nn_doubts(const NnTolerance *tolerance, const float *logits, const float *thresholds,
		  int bits)
{
	float near = nn_tolerance_of(tolerance, logits, bits);
	uint32_t doubts = 0;

	for (int k = 0; k < bits; k++)
		doubts += fabsf(logits[k] - (thresholds ? thresholds[k] : 0.0f)) <= near;
	return doubts;
}
