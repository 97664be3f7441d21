/*
 * cpu.c
 *	  Training on the CPU: the tape, an optimiser and an average behind nn/learner.h.
 *
 * The values stay where the graph has them.  Arithmetic is float32, with sums in an
 * order of their own, so that every run is deterministic and asking for it changes
 * nothing.
 */
#include "training/learner/learner.h"
#include "training/optim/optim.h"
#include "training/tape/tape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct NnLearner
{
	NnGraph *graph;
	Tape *tape;
	Optim *optim;
	Average average; /* data NULL: none */
};

static bool
probe(char *text, size_t size)
{
	snprintf(text, size, "float32");
	return true;
}

static void
close_learner(NnLearner *l)
{
	if (!l)
		return;
	tape_free(l->tape);
	optim_free(l->optim);
	average_free(&l->average);
	free(l);
}

static NnLearner *
open_learner(NnGraph *graph, const NnLearnerOptions *options, NnError *err)
{
	NnLearner *l;
	TrainError why = {"out of memory"};
	bool ok;

	if (options->precision != NN_FLOAT32)
	{
		nn_fail(err, "the CPU trains in float32 alone: set train.precision to float32");
		return NULL;
	}
	l = calloc(1, sizeof(*l));
	ok = l != NULL;
	if (ok)
	{
		l->graph = graph;
		l->tape = tape_new(graph, options->max_batch, options->pool,
						   options->recompute ? TAPE_RECOMPUTE : TAPE_TRAIN, &why);
		l->optim = l->tape ? optim_new(graph, options->update, &why) : NULL;
		ok = l->optim && (!options->average || average_init(&l->average, graph, &why));
	}
	if (ok)
		return l;
	close_learner(l);
	nn_fail(err, "%.500s", why.text);
	return NULL;
}

static bool
forward(NnLearner *l, const NnBatch *batch, bool train, const float *out[NN_MAX_OUTPUTS],
		NnError *err)
{
	(void) err;
	tape_seed(l->tape, batch->seed, batch->first);
	tape_forward(l->tape, batch->images, batch->n, train, batch->momentum);
	for (int k = 0; k < nn_graph_outputs(l->graph); k++)
		out[k] = tape_output(l->tape, k);
	return true;
}

static bool
backward(NnLearner *l, const float *const *grad_out, bool accumulate, NnError *err)
{
	(void) err;
	tape_backward_outputs(l->tape, grad_out, accumulate);
	return true;
}

static int
not_finite(NnLearner *l, char *name, size_t size, NnError *err)
{
	const char *bad = tape_not_finite(l->tape);

	(void) err;
	if (bad)
		snprintf(name, size, "%s", bad);
	return bad != NULL;
}

static const float *
gradient_of(const void *tape, int param)
{
	return tape_gradient(tape, param);
}

static bool
update(NnLearner *l, const NnUpdate *u, double *norm, NnError *err)
{
	(void) err;
	optim_step(l->optim, u, gradient_of, l->tape);
	if (norm)
		*norm = l->optim->norm;
	return true;
}

static bool
average(NnLearner *l, double weight, bool back, NnError *err)
{
	if (!l->average.data)
		return nn_fail(err, "no average of the weights is kept");
	average_blend(&l->average, l->graph, weight, back);
	return true;
}

static float *
part(const NnLearner *l, int param, NnPart which)
{
	switch (which)
	{
		case NN_VALUE:
			return l->graph->param[param].data;
		case NN_MOMENT1:
			return l->optim->state[param].m;
		case NN_MOMENT2:
			return l->optim->state[param].v;
		case NN_AVERAGE:
			return l->average.data ? l->average.data[param] : NULL;
		case NN_GRADIENT:
			return (float *) tape_gradient(l->tape, param);
	}
	return NULL;
}

static bool
has(const NnLearner *l, int param, NnPart which)
{
	return part(l, param, which) != NULL;
}

static size_t
bytes(const NnLearner *l, int param)
{
	return nn_shape_size(&l->graph->param[param].shape) * sizeof(float);
}

static bool
no_part(const NnLearner *l, int param, NnError *err)
{
	return nn_fail(err, "%s has no such part in training", l->graph->param[param].name);
}

static bool
read_part(NnLearner *l, int param, NnPart which, float *host, NnError *err)
{
	const float *from = part(l, param, which);

	if (!from)
		return no_part(l, param, err);
	memcpy(host, from, bytes(l, param));
	return true;
}

static bool
write_part(NnLearner *l, int param, NnPart which, const float *host, NnError *err)
{
	float *to = which == NN_GRADIENT ? NULL : part(l, param, which);

	if (!to)
		return no_part(l, param, err);
	memcpy(to, host, bytes(l, param));
	return true;
}

static size_t
memory(const NnLearner *l)
{
	return tape_memory(l->tape) + l->optim->memory + l->average.memory;
}

const NnLearnerDevice learner_cpu = {
	.api = NN_LEARNER_API,
	.name = "cpu",
	.probe = probe,
	.open = open_learner,
	.close = close_learner,
	.forward = forward,
	.backward = backward,
	.not_finite = not_finite,
	.update = update,
	.average = average,
	.has = has,
	.read = read_part,
	.write = write_part,
	.memory = memory,
};
