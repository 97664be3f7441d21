/*
 * parity_train.c
 *	  A learner beside the CPU's: outputs, gradients, updates, averages.
 *
 * All learners go through the same steps together, so that no tensor is kept: the CPU's,
 * the device's, and for each draw of errors of rounding the CPU's on a network with them
 * and on the same network without.  Where nothing is random in training the last is the
 * CPU's own.
 */
#include "gpu/parity/parity_train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/parity/parity_draw.h"
#include "gpu/parity/parity_noise.h"
#include "training/learner/learner.h"

#define MOST_DRAWS 8
#define LANES (2 + 2 * MOST_DRAWS)

const ParityEffort parity_thorough = {.draws = 8, .steps = 3};
const ParityEffort parity_quick = {.draws = 2, .steps = 1};

enum
{
	CPU,
	DEVICE,
	DRAWS /* from here on pairs: with errors, and without */
};

typedef struct Lane
{
	const NnLearnerDevice *device;
	NnGraph *graph;
	NnGraph *start; /* the values that training began with */
	NnLearner *learner;
	uint64_t seed; /* of dropout */
	const float *out[NN_MAX_OUTPUTS];
	float *part; /* room for the largest parameter */
} Lane;

typedef struct Comparison
{
	const NnLearnerOptions *options;
	Lane lane[LANES];
	int nlanes;
	bool paired; /* draws have a network without errors of their own */
	uint8_t *images;
	float *grad[NN_MAX_OUTPUTS];
	double store; /* mean square error of one rounding */
	ParityTrain *found;
} Comparison;

/* The lane beside which the errors of a draw are looked at. */
static const Lane *
without_errors(const Comparison *c, int lane)
{
	return &c->lane[c->paired ? lane + 1 : CPU];
}

/* Distance of two tensors, of the part since the starts where those are given. */
static double
distance(const float *a, const float *b, const float *a0, const float *b0, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
	{
		double d = (double) a[i] - b[i] - (a0 ? (double) a0[i] - b0[i] : 0);

		sum += d * d;
	}
	return sqrt(sum);
}

static double
length_of(const float *a, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double) a[i] * a[i];
	return sqrt(sum);
}

static void
judge(Comparison *c, const char *what, const char *name, double apart, double bound,
	  double length)
{
	double ratio = apart > 0 ? apart / bound : 0;

	/* also where it is no number */
	if (isnan(apart))
		ratio = INFINITY;
	if (ratio > c->found->ratio)
	{
		c->found->ratio = ratio;
		c->found->far = apart / length;
		snprintf(c->found->what, sizeof(c->found->what), "%s%s%s", what, *name ? " " : "",
				 name);
	}
}

/* The bound for a tensor of that length which the draws moved so far at most. */
static double
bound_of(double furthest, double length, double rounding)
{
	double itself = PARITY_ENLARGED * sqrt(rounding) * length;

	return PARITY_TIMES * sqrt(furthest * furthest + itself * itself);
}

static void
look_output(Comparison *c, int k, size_t n)
{
	const Lane *cpu = &c->lane[CPU];
	double furthest = 0, length = length_of(cpu->out[k], n);

	for (int i = DRAWS; i < c->nlanes; i += 1 + c->paired)
		furthest = fmax(furthest, distance(c->lane[i].out[k],
										   without_errors(c, i)->out[k], NULL, NULL, n));
	judge(c, "output", "", distance(cpu->out[k], c->lane[DEVICE].out[k], NULL, NULL, n),
		  bound_of(furthest, length, c->store), length);
}

/*
 * A part of all parameters.  Values and averages count from where they began, which
 * errors have moved, too.  Returns the length of all bounds together in *all.
 */
static bool
look_parts(Comparison *c, NnPart part, const char *what, double *all, NnError *err)
{
	const Lane *cpu = &c->lane[CPU];
	bool moved = part == NN_VALUE || part == NN_AVERAGE;
	double rounding = moved ? ldexp(1, -48) : c->store;

	*all = 0;
	for (int p = 0; p < cpu->graph->nparams; p++)
	{
		size_t n = nn_shape_size(&cpu->graph->param[p].shape);
		double furthest = 0, length, bound;

		if (!cpu->device->has(cpu->learner, p, part))
			continue;
		for (int i = 0; i < c->nlanes; i++)
			if (!c->lane[i].device->read(c->lane[i].learner, p, part, c->lane[i].part,
										 err))
				return false;
		for (int i = DRAWS; i < c->nlanes; i += 1 + c->paired)
		{
			const Lane *with = &c->lane[i], *without = without_errors(c, i);

			furthest =
				fmax(furthest, distance(with->part, without->part,
										moved ? with->start->param[p].data : NULL,
										moved ? without->start->param[p].data : NULL, n));
		}
		length = length_of(cpu->part, n);
		bound = bound_of(furthest, length, rounding);
		*all += bound * bound;
		judge(c, what, cpu->graph->param[p].name,
			  distance(cpu->part, c->lane[DEVICE].part, NULL, NULL, n), bound, length);
	}
	*all = sqrt(*all);
	return true;
}

/* Both passes over pictures first .. first+n-1. */
static bool
passes(Comparison *c, int step, int first, int n, NnError *err)
{
	const NnGraph *g = c->lane[CPU].graph;
	const Lane *device = &c->lane[DEVICE];
	size_t picture = nn_shape_size(&g->node[0].shape);

	for (int i = 0; i < c->nlanes; i++)
	{
		Lane *l = &c->lane[i];
		NnBatch batch = {c->images + (size_t) first * picture, n, first,
						 l->seed + (uint64_t) step, 0.1f};

		if (!l->device->forward(l->learner, &batch, true, l->out, err))
			return false;
	}
	for (int k = 0; k < nn_graph_outputs(g); k++)
		look_output(
			c, k, (size_t) n * nn_shape_size(&g->node[nn_graph_output_node(g, k)].shape));
	for (int i = 0; i < c->nlanes; i++)
		if (!c->lane[i].device->backward(c->lane[i].learner,
										 (const float *const *) c->grad, first > 0, err))
			return false;
	/* the second part's pictures ahead, in two steps as they will come, in one not */
	if (first > 0 || !device->device->stage)
		return true;
	return device->device->stage(device->learner, c->images + (size_t) n * picture,
								 step == 2 ? n : n - 1, err);
}

static bool
update(Comparison *c, int step, int steps, const double *factors, double *norm,
	   NnError *err)
{
	NnUpdate u = {
		.rate = 1e-3,
		.momentum = 0.9,
		.beta1 = 0.9,
		.beta2 = 0.99,
		.eps = 1e-2, /* about a gradient: else a step is its sign, however small it is */
		.step = step,
		.decay = 0.01,
		.clip = 0.5,
		.rate_of = factors,
		.decay_of = factors};

	for (int i = 0; i < c->nlanes; i++)
	{
		const Lane *l = &c->lane[i];

		if (!l->device->update(l->learner, &u, &norm[i], err) ||
			!l->device->average(l->learner, 0.1, step == steps, err))
			return false;
	}
	return true;
}

static bool
train(Comparison *c, int steps, NnError *err)
{
	const Lane *device = &c->lane[DEVICE];
	int n = c->options->max_batch, nparams = c->lane[CPU].graph->nparams;
	double *factors = malloc((size_t) nparams * sizeof(double) + 1);
	double norm[LANES], bound;
	char name[NN_MAX_NAME] = "";
	bool ok = factors || nn_fail(err, "out of memory");

	for (int i = 0; ok && i < nparams; i++)
		factors[i] = 1 - 0.1 * (i % 3);
	for (int step = 1; ok && step <= steps; step++)
	{
		ok = passes(c, step, 0, n, err) && passes(c, step, n, n - 1, err) &&
			 look_parts(c, NN_GRADIENT, "gradient", &bound, err);
		if (ok &&
			device->device->not_finite(device->learner, name, sizeof(name), err) != 0)
			ok = nn_fail(err, "%s is said not to be finite", name);
		ok = ok && update(c, step, steps, factors, norm, err);
		/* lengths differ by no more than the difference is long */
		if (ok)
			judge(c, "length of the gradient", "", fabs(norm[CPU] - norm[DEVICE]), bound,
				  norm[CPU]);
	}
	free(factors);
	return ok && look_parts(c, NN_VALUE, "value", &bound, err) &&
		   look_parts(c, NN_AVERAGE, "average", &bound, err) &&
		   look_parts(c, NN_MOMENT1, "moment", &bound, err);
}

static bool
open_lane(Lane *l, const NnLearnerDevice *device, NnGraph *g, uint64_t seed,
		  const NnLearnerOptions *options, NnError *err)
{
	size_t largest = 1;

	l->device = device;
	l->graph = g;
	l->seed = seed;
	l->start = g ? nn_graph_copy(g) : NULL;
	for (int p = 0; g && p < g->nparams; p++)
		largest = (size_t) fmax(largest, nn_shape_size(&g->param[p].shape));
	l->part = malloc(largest * sizeof(float));
	if (!l->start || !l->part)
		return nn_fail(err, "out of memory");
	l->learner = device->open(g, options, err);
	return l->learner != NULL;
}

/* All learners, those with errors in their networks, too; g is theirs. */
static bool
open_lanes(Comparison *c, const NnLearnerDevice *device, NnGraph *g, int draws,
		   NnError *err)
{
	NnLearnerOptions plain = *c->options;
	ParityNoise noise = {
		.precision = plain.precision, .batch = plain.max_batch, .train = true};
	NnGraph *noisy[LANES], *copy = nn_graph_copy(g);
	bool ok;

	plain.precision = NN_FLOAT32;
	plain.recompute = false;
	c->paired = parity_random(g);
	c->nlanes = DRAWS + draws * (1 + c->paired);
	/* all of them before training changes g */
	for (int i = DRAWS; i < c->nlanes; i++)
	{
		noise.size = c->paired && (i - DRAWS) % 2 ? 0 : PARITY_ENLARGED;
		noisy[i] = parity_noisy(g, &noise, err);
	}
	ok = open_lane(&c->lane[CPU], &learner_cpu, g, 1000, &plain, err);
	ok = open_lane(&c->lane[DEVICE], device, copy, 1000, c->options, err) && ok;
	for (int i = DRAWS; i < c->nlanes; i++)
	{
		uint64_t seed = 2000 + 1000 * (uint64_t) ((i - DRAWS) / (1 + c->paired));

		ok = open_lane(&c->lane[i], &learner_cpu, noisy[i], seed, &plain, err) && ok;
	}
	return ok;
}

static void
close_lanes(Comparison *c)
{
	for (int i = 0; i < c->nlanes; i++)
	{
		Lane *l = &c->lane[i];

		if (l->learner)
			l->device->close(l->learner);
		nn_graph_free(l->graph);
		nn_graph_free(l->start);
		free(l->part);
	}
}

bool
parity_train(const NnLearnerDevice *device, NnGraph *g, const NnLearnerOptions *options,
			 const ParityEffort *effort, uint64_t seed, ParityTrain *found, char *text,
			 size_t size)
{
	Comparison c = {.options = options, .found = found};
	NnError err = {""};
	bool ok = nn_graph_ok(g, &err);

	memset(found, 0, sizeof(*found));
	if (!ok)
	{
		snprintf(text, size, "%s", err.text);
		nn_graph_free(g);
		return false;
	}
	parity_begin(seed, 4711);
	c.store = parity_store(g, options->precision);
	c.images = parity_pictures(g, 2 * options->max_batch);
	for (int k = 0; k < nn_graph_outputs(g); k++)
	{
		size_t n = (size_t) options->max_batch *
				   nn_shape_size(&g->node[nn_graph_output_node(g, k)].shape);

		c.grad[k] = malloc(n * sizeof(float));
		for (size_t i = 0; i < n; i++)
			c.grad[k][i] = parity_draw(1);
	}
	parity_fill(g);
	ok = open_lanes(&c, device, g, effort->draws, &err) && train(&c, effort->steps, &err);
	if (ok)
		snprintf(text, size, "%.3f of the bound, off by %.1e of its length: %s",
				 found->ratio, found->far, found->what);
	else
		snprintf(text, size, "%s", err.text);
	close_lanes(&c);
	for (int k = 0; k < NN_MAX_OUTPUTS; k++)
		free(c.grad[k]);
	free(c.images);
	return ok && found->ratio <= 1;
}
