/*
 * trainer.c
 *	  One step of training: batch, forward, loss, backward, update, average.
 *
 * Whatever is random is drawn from (seed, purpose, epoch, picture), never from a
 * generator that runs along, so a resumed run needs no more than its step number.
 */
#include "training/run/trainer.h"

#include "training/arch/arch.h"
#include "training/run/network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STREAM_NOISE 0x6e6f6973u

int
trainer_workers(int asked, const NnLearnerDevice *device, int threads)
{
	if (asked > 0)
		return asked;
	return device == &learner_cpu ? 0 : threads;
}

static bool
open_feed(Trainer *t, TrainError *err)
{
	const TrainOptions *o = &t->options;
	Augment augment = {
		.options = o->augment, .seed = o->seed, .width = o->size, .height = o->size};
	bool grey = o->augment.cutout > 0 || o->augment.random_ops > 0;
	float mean[3] = {0};
	float std[3];

	/* Only these show it, and to know it many pictures must be read. */
	if (grey)
		arch_colour_moments(t->ds, mean, std);
	for (int c = 0; c < 3; c++)
		augment.grey[c] = (uint8_t) lrintf(mean[c] * 255);
	t->feed = feed_new(t->ds, &augment, o->batch,
					   trainer_workers(o->workers, t->device, nn_pool_threads(t->pool)),
					   t->pool, err);
	if (!t->feed)
		return false;
	t->batch = feed_batch(t->feed);
	t->steps_per_epoch = feed_steps_per_epoch(t->feed);
	return true;
}

static bool
device_failed(const NnError *trouble, TrainError *err)
{
	return train_fail(err, "%.500s", trouble->text);
}

static bool
open_learner(Trainer *t, TrainError *err)
{
	const TrainOptions *o = &t->options;
	NnLearnerOptions options = {
		.max_batch = t->part,
		.precision = o->precision,
		.deterministic = o->deterministic,
		.recompute = o->recompute,
		.update = o->optim.kind,
		.average = o->average != AVERAGE_NONE,
		.pool = t->pool,
	};
	NnError trouble;
	int n = t->graph->nparams;

	t->rate_of = malloc((n + 1) * sizeof(double));
	t->decay_of = malloc((n + 1) * sizeof(double));
	if (!t->rate_of || !t->decay_of)
		return train_fail(err, "out of memory");
	optim_multipliers(t->graph, o->bias_rate, t->rate_of, t->decay_of);
	for (int i = 0; i < n; i++)
		t->rate_of[i] *= network_rate_of(o, t->graph->param[i].name);
	t->learner = t->device->open(t->graph, &options, &trouble);
	return t->learner || device_failed(&trouble, err);
}

static bool
set_up(Trainer *t, TrainError *err)
{
	TrainOptions *o = &t->options;

	if (!train_options_check(o, err))
		return false;
	if (t->ds->n < 2 || t->ds->nclasses < 2)
		return train_fail(err,
						  "training needs at least two pictures and two classes, but "
						  "%s has %d pictures of %d classes",
						  o->data, t->ds->n, t->ds->nclasses);
	t->device = learner_device(o->device, err);
	if (!t->device || !open_feed(t, err))
		return false;
	t->total_steps = t->steps_per_epoch * o->epochs;
	t->data_sum = dataset_checksum(t->ds);
	t->graph = network_new(o, t->ds, err);
	t->part = (t->batch + o->accumulate - 1) / o->accumulate;
	t->objective = t->graph ? objective_new(o, t->ds, t->graph, t->part, err) : NULL;
	return t->objective && open_learner(t, err);
}

Trainer *
trainer_new(const TrainOptions *options, const Dataset *ds, NnPool *pool, TrainError *err)
{
	Trainer *t = calloc(1, sizeof(*t));

	if (!t)
	{
		train_fail(err, "out of memory");
		return NULL;
	}
	t->options = *options;
	t->ds = ds;
	t->pool = pool;
	if (!set_up(t, err))
	{
		trainer_free(t);
		return NULL;
	}
	return t;
}

void
trainer_free(Trainer *t)
{
	if (!t)
		return;
	if (t->device)
		t->device->close(t->learner);
	free(t->rate_of);
	free(t->decay_of);
	nn_graph_free(t->graph);
	feed_free(t->feed);
	objective_free(t->objective);
	free(t);
}

/* Dropout and sampled codes of a step, the same when a run is resumed. */
static uint64_t
seed_of_step(const Trainer *t, int64_t step)
{
	Rng rng;

	rng_seed(&rng, t->options.seed, STREAM_NOISE + ((uint64_t) step << 32));
	return rng_next(&rng);
}

/* Pictures first .. first+n-1 of a batch. */
static FeedBatch
part_of(const Trainer *t, const FeedBatch *whole, int first, int n)
{
	FeedBatch part = *whole;
	const NnShape *picture = &t->graph->node[0].shape;
	size_t words = (size_t) first * t->ds->label_words;

	part.n = n;
	part.images += first * nn_shape_size(picture);
	part.labels += words;
	if (part.partner)
		part.partner += words;
	return part;
}

/* One part forward and, from its loss, backward. */
static bool
pass_part(Trainer *t, int first, int n, float momentum, TrainError *err)
{
	FeedBatch part = part_of(t, t->batch_now, first, n);
	double share = (double) n / t->batch;
	int64_t step = t->batch_now->step;
	/* so that all parts together move the running statistics as much as one would */
	double each = n == t->batch ? momentum : 1 - pow(1 - momentum, share);
	NnBatch batch = {
		.images = part.images,
		.n = n,
		.first = first,
		.seed = seed_of_step(t, step),
		.momentum = (float) each,
	};
	const float *out[NN_MAX_OUTPUTS];
	NnError trouble;

	if (!t->device->forward(t->learner, &batch, true, out, &trouble))
		return device_failed(&trouble, err);
	t->last_loss += objective_eval(t->objective, out, &part,
								   (double) step / (double) t->steps_per_epoch, share);
	return t->device->backward(t->learner, objective_gradients(t->objective), first > 0,
							   &trouble) ||
		   device_failed(&trouble, err);
}

/*
 * Before anything is updated: are all outputs and gradients numbers?  Asked after each
 * part, since an output is gone with the next.
 */
static bool
check_finite(Trainer *t, TrainError *err)
{
	char bad[NN_MAX_NAME] = "";
	const char *what = "the loss";
	NnError trouble;
	int found = t->device->not_finite(t->learner, bad, sizeof(bad), &trouble);

	if (found < 0)
		return device_failed(&trouble, err);
	if (!found && isfinite(t->last_loss))
		return true;
	if (found)
		what = nn_graph_find_param(t->graph, bad) >= 0 ? "the gradient of "
													   : "the output of ";
	return train_fail(
		err,
		"step %lld: %s%s is not a finite number; try a lower optimiser.rate "
		"(it was %g)",
		(long long) t->step + 1, what, found ? bad : "", t->options.rate);
}

static const FeedBatch *
take_batch(Trainer *t, int64_t step, TrainError *err)
{
	bool have = t->looked_ahead && t->ahead == step;

	t->looked_ahead = false;
	if (!have)
		return feed_take(t->feed, step, err);
	if (!t->batch_ahead)
		*err = t->ahead_error;
	return t->batch_ahead;
}

/*
 * Bring pictures that come next to a device that still works on the last ones: the next
 * part's, or the next step's first, whose batch is taken for that.
 */
static bool
look_ahead(Trainer *t, int64_t step, int next_part, int parts, TrainError *err)
{
	const FeedBatch *batch = t->batch_now;
	int part = next_part % parts;
	int first = (int) ((int64_t) t->batch * part / parts);
	int end = (int) ((int64_t) t->batch * (part + 1) / parts);
	NnError trouble;

	if (!t->device->stage || (part == 0 && step + 1 >= t->total_steps))
		return true;
	if (part == 0)
	{
		t->looked_ahead = true;
		t->ahead = step + 1;
		batch = t->batch_ahead = feed_take(t->feed, step + 1, &t->ahead_error);
	}
	return !batch ||
		   t->device->stage(t->learner, part_of(t, batch, first, end - first).images,
							end - first, &trouble) ||
		   device_failed(&trouble, err);
}

/* The batch of a step, part by part. */
static bool
pass(Trainer *t, int64_t step, float momentum, bool check, TrainError *err)
{
	int parts = t->options.accumulate < t->batch ? t->options.accumulate : t->batch;

	t->batch_now = take_batch(t, step, err);
	if (!t->batch_now)
		return false;
	t->last_loss = 0;
	for (int i = 0; i < parts; i++)
	{
		int first = (int) ((int64_t) t->batch * i / parts);
		int end = (int) ((int64_t) t->batch * (i + 1) / parts);

		if (!pass_part(t, first, end - first, momentum, err) ||
			!look_ahead(t, step, i + 1, parts, err) || (check && !check_finite(t, err)))
			return false;
	}
	return true;
}

bool
trainer_step(Trainer *t, TrainError *err)
{
	const TrainOptions *o = &t->options;
	NnUpdate update = {
		.rate = o->rate * t->batch / 512.0 *
				schedule_rate(&o->schedule, t->step, t->total_steps),
		.momentum = o->optim.momentum,
		.beta1 = o->optim.beta1,
		.beta2 = o->optim.beta2,
		.eps = o->optim.eps,
		.step = t->step + 1,
		.decay = o->optim.decay,
		.clip = o->optim.clip,
		.rate_of = t->rate_of,
		.decay_of = t->decay_of,
	};
	NnError trouble;
	double weight;
	bool back;

	if (!pass(t, t->step, (float) o->norm_momentum, true, err))
		return false;
	if (!t->device->update(t->learner, &update, NULL, &trouble))
		return device_failed(&trouble, err);
	t->step++;
	weight = average_weight(o->average, o->average_decay, t->step, t->total_steps, &back);
	return weight == 0 || t->device->average(t->learner, weight, back, &trouble) ||
		   device_failed(&trouble, err);
}

NnGraph *
trainer_network(Trainer *t, TrainError *err)
{
	NnPart which = t->options.average == AVERAGE_NONE ? NN_VALUE : NN_AVERAGE;
	NnGraph *g = nn_graph_copy(t->graph);
	NnError trouble;

	if (!g)
	{
		train_fail(err, "out of memory for a copy of the network");
		return NULL;
	}
	for (int i = 0; i < g->nparams; i++)
		if (!t->device->read(t->learner, i, which, g->param[i].data, &trouble))
		{
			device_failed(&trouble, err);
			nn_graph_free(g);
			return NULL;
		}
	return g;
}

double
trainer_calibrate(Trainer *t, int steps, TrainError *err)
{
	struct timespec a, b;

	for (int i = 0; i <= steps; i++)
	{
		/* The first pass touches fresh memory and does not count. */
		if (i == 1)
			clock_gettime(CLOCK_MONOTONIC, &a);
		if (!pass(t, i, 0, false, err))
			return 0;
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((double) (b.tv_sec - a.tv_sec) + (double) (b.tv_nsec - a.tv_nsec) * 1e-9) /
		   steps;
}
