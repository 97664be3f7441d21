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
average_init(Average *a, AverageKind kind, const NnGraph *graph, TrainError *err)
{
	*a = (Average){.kind = kind, .nparams = graph->nparams};
	if (kind == AVERAGE_NONE)
		return true;
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

void
average_update(Average *a, NnGraph *graph, int64_t step, int64_t total)
{
	bool back = a->kind == AVERAGE_LOOKAHEAD;
	double decay;

	if (a->kind == AVERAGE_NONE || (back && step % 5 != 0))
		return;
	if (back)
		decay = pow(0.95, 5) * pow((double) step / (double) total, 3);
	else
		decay = fmin(a->decay > 0 ? a->decay : 0.999,
					 (1.0 + (double) step) / (10.0 + (double) step));
	for (int i = 0; i < graph->nparams; i++)
		blend(a->data[i], graph->param[i].data, nn_shape_size(&graph->param[i].shape),
			  (float) (1 - decay), back);
}

void
average_swap(Average *a, NnGraph *graph)
{
	for (int i = 0; a->data && i < graph->nparams; i++)
	{
		float *keep = a->data[i];

		a->data[i] = graph->param[i].data;
		graph->param[i].data = keep;
	}
}
