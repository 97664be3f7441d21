/*
 * average.c
 *	  Averages of the weights over training (EMA, lookahead).
 */
#include "training/optim/optim.h"

#include "nn/backward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool
average_init(Average *a, const NnGraph *graph, TrainError *err)
{
	*a = (Average){.nparams = graph->nparams};
	a->data = calloc(graph->nparams, sizeof(*a->data));
	for (int i = 0; a->data && i < graph->nparams; i++)
	{
		size_t bytes = nn_shape_size(&graph->param[i].shape) * sizeof(float);

		a->data[i] = malloc(bytes);
		if (!a->data[i])
		{
			average_free(a);
			break;
		}
		memcpy(a->data[i], graph->param[i].data, bytes);
		a->memory += bytes;
	}
	return a->data ? true : train_fail(err, "out of memory for the average of weights");
}

void
average_free(Average *a)
{
	for (int i = 0; a->data && i < a->nparams; i++)
		free(a->data[i]);
	free(a->data);
	a->data = NULL;
}

static NN_WIDE void
blend(float *average, float *now, size_t n, float weight, bool back)
{
	for (size_t i = 0; i < n; i++)
		average[i] += weight * (now[i] - average[i]);
	if (back)
		memcpy(now, average, n * sizeof(float));
}

double
average_weight(AverageKind kind, double decay, int64_t step, int64_t total, bool *back)
{
	double t = (double) step;

	*back = kind == AVERAGE_LOOKAHEAD;
	if (kind == AVERAGE_NONE || (*back && step % 5 != 0))
		return 0;
	if (*back)
		return 1 - pow(0.95, 5) * pow(t / (double) total, 3);
	return 1 - fmin(decay > 0 ? decay : 0.999, (1.0 + t) / (10.0 + t));
}

void
average_blend(Average *a, NnGraph *graph, double weight, bool back)
{
	for (int i = 0; i < graph->nparams; i++)
		blend(a->data[i], graph->param[i].data, nn_shape_size(&graph->param[i].shape),
			  (float) weight, back);
}
