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
	t->feed = feed_new(t->ds, &augment, o->batch, o->workers, t->pool, err);
	if (!t->feed)
		return false;
	t->batch = feed_batch(t->feed);
	t->steps_per_epoch = feed_steps_per_epoch(t->feed);
	return true;
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
	if (!open_feed(t, err))
		return false;
	t->total_steps = t->steps_per_epoch * o->epochs;
	t->data_sum = dataset_checksum(t->ds);
	t->graph = network_new(o, t->ds, err);
	t->objective = t->graph ? objective_new(o, t->ds, t->graph, t->batch, err) : NULL;
	if (!t->objective)
		return false;
	t->tape = tape_new(t->graph, t->batch, t->pool, true, err);
	t->optim = t->tape ? optim_new(t->graph, &o->optim, o->bias_rate, err) : NULL;
	if (!t->optim || !average_init(&t->average, o->average, t->graph, err))
		return false;
	t->average.decay = o->average_decay;
	for (int i = 0; i < t->graph->nparams; i++)
		t->optim->state[i].rate *= network_rate_of(o, t->graph->param[i].name);
	return true;
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
	average_free(&t->average);
	optim_free(t->optim);
	tape_free(t->tape);
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

/* The batch of a step forward and, from its loss, backward. */
static bool
pass(Trainer *t, int64_t step, float momentum, TrainError *err)
{
	t->batch_now = feed_take(t->feed, step, err);
	if (!t->batch_now)
		return false;
	tape_seed(t->tape, seed_of_step(t, step));
	tape_forward(t->tape, t->batch_now->images, t->batch, true, momentum);
	t->last_loss = objective_eval(t->objective, t->tape, t->batch_now,
								  (double) step / (double) t->steps_per_epoch);
	tape_backward_outputs(t->tape, objective_gradients(t->objective));
	return true;
}

static const float *
gradient_of(const void *tape, int param)
{
	return tape_gradient(tape, param);
}

bool
trainer_step(Trainer *t, TrainError *err)
{
	const TrainOptions *o = &t->options;
	double rate =
		o->rate * t->batch / 512.0 * schedule_rate(&o->schedule, t->step, t->total_steps);
	const char *bad;

	if (!pass(t, t->step, (float) o->norm_momentum, err))
		return false;
	bad = tape_not_finite(t->tape);
	if (bad || !isfinite(t->last_loss))
		return train_fail(
			err,
			"step %lld: %s is not a finite number; try a lower optimiser.rate (it "
			"was %g)",
			(long long) t->step + 1, bad ? bad : "the loss", o->rate);
	optim_step(t->optim, rate, gradient_of, t->tape);
	t->step++;
	average_update(&t->average, t->graph, t->step, t->total_steps);
	return true;
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
		if (!pass(t, i, 0, err))
			return 0;
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((double) (b.tv_sec - a.tv_sec) + (double) (b.tv_nsec - a.tv_nsec) * 1e-9) /
		   steps;
}
