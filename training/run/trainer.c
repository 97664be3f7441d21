/*
 * trainer.c
 *	  One step of training: batch, forward, loss, backward, update, average.
 *
 * Whatever is random is drawn from (seed, purpose, epoch, picture), never from a
 * generator that runs along, so a resumed run needs no more than its step number.
 */
#include "training/run/trainer.h"

#include "training/arch/arch.h"
#include "training/run/crc64.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Streams of the seed; arch uses 1 to 7. */
#define STREAM_ORDER 1000

static bool
take_buffers(Trainer *t)
{
	size_t n = t->batch;
	size_t bits = t->options.bits;

	t->order = malloc(t->ds->n * sizeof(*t->order));
	t->images = malloc(n * t->ds->width * t->ds->height * 3);
	t->labels = malloc(n * t->ds->label_words * sizeof(*t->labels));
	t->u = malloc(n * bits * sizeof(double));
	t->grad = malloc(n * bits * sizeof(double));
	t->grad_out = malloc(n * bits * sizeof(float));
	t->centres = malloc(bits * t->ds->nclasses * sizeof(double));
	return t->order && t->images && t->labels && t->u && t->grad && t->grad_out &&
		   t->centres;
}

static bool
set_up(Trainer *t, TrainError *err)
{
	TrainOptions *o = &t->options;
	SpeednetShape shape = {t->ds->height,
						   t->ds->width,
						   o->bits,
						   {o->channels[0], o->channels[1], o->channels[2]}};
	float mean[3];
	float std[3];

	if (!train_options_check(o, err))
		return false;
	if (t->ds->n < 2 || t->ds->nclasses < 2)
		return train_fail(err,
						  "training needs at least two pictures and two classes, but "
						  "%s has %d pictures of %d classes",
						  o->data, t->ds->n, t->ds->nclasses);
	t->batch = o->batch < t->ds->n ? o->batch : t->ds->n;
	t->steps_per_epoch = t->ds->n / t->batch;
	t->total_steps = t->steps_per_epoch * o->epochs;
	t->loss = loss_find(o->loss);
	t->order_epoch = -1;
	if (!take_buffers(t))
		return train_fail(err, "out of memory for a batch of %d pictures", t->batch);
	if (!loss_centres(t->ds->nclasses, o->bits, o->seed, t->centres, err))
		return false;
	t->data_sum = crc64(0, t->ds->labels, (size_t) t->ds->n * t->ds->label_words * 8);
	t->data_sum = crc64(t->data_sum, t->ds->rgb,
						(size_t) t->ds->n * t->ds->width * t->ds->height * 3);
	arch_colour_moments(t->ds, mean, std);
	for (int c = 0; c < 3; c++)
		t->grey[c] = (uint8_t) lrintf(mean[c] * 255);
	t->graph = speednet_new(&shape, t->ds, o->seed, err);
	if (!t->graph)
		return false;
	t->tape = tape_new(t->graph, t->batch, t->pool, true, err);
	t->optim = t->tape ? optim_new(t->graph, &o->optim, o->bias_rate, err) : NULL;
	return t->optim && average_init(&t->average, o->average, t->graph, err);
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
	free(t->order);
	free(t->images);
	free(t->labels);
	free(t->u);
	free(t->grad);
	free(t->grad_out);
	free(t->centres);
	free(t);
}

static void
next_batch(Trainer *t)
{
	int epoch = (int) (t->step / t->steps_per_epoch);
	size_t at = (size_t) (t->step % t->steps_per_epoch) * t->batch;
	int words = t->ds->label_words;

	if (epoch != t->order_epoch)
	{
		Rng rng;

		for (int i = 0; i < t->ds->n; i++)
			t->order[i] = i;
		rng_seed(&rng, t->options.seed, STREAM_ORDER + (uint64_t) epoch);
		rng_shuffle(&rng, t->order, t->ds->n);
		t->order_epoch = epoch;
	}
	for (int i = 0; i < t->batch; i++)
		memcpy(t->labels + (size_t) i * words,
			   t->ds->labels + (size_t) t->order[at + i] * words,
			   words * sizeof(uint64_t));
	augment_batch(t->ds, t->order + at, t->batch, &t->options.augment, t->options.seed,
				  epoch, t->grey, t->pool, t->images);
}

/* Loss of a forward pass, its gradient into grad_out. */
static double
judge(Trainer *t, const float *u)
{
	size_t n = (size_t) t->batch * t->options.bits;
	LossInput in = {
		.n = t->batch,
		.bits = t->options.bits,
		.nclasses = t->ds->nclasses,
		.labels = t->labels,
		.label_words = t->ds->label_words,
		.centres = t->centres,
	};
	double loss;

	for (size_t i = 0; i < n; i++)
		t->u[i] = u[i];
	loss = t->loss->eval(&in, &t->options.loss_options, t->u, t->grad);
	for (size_t i = 0; i < n; i++)
		t->grad_out[i] = (float) t->grad[i];
	return loss;
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

	next_batch(t);
	t->last_loss = judge(
		t, tape_forward(t->tape, t->images, t->batch, true, (float) o->norm_momentum));
	tape_backward(t->tape, t->grad_out);
	bad = tape_not_finite(t->tape);
	if (bad || !isfinite(t->last_loss))
		return train_fail(err,
						  "step %lld: %s is not a finite number; try a lower --rate (it "
						  "was %g)",
						  (long long) t->step + 1, bad ? bad : "the loss", o->rate);
	optim_step(t->optim, rate, gradient_of, t->tape);
	t->step++;
	average_update(&t->average, t->graph, t->step, t->total_steps);
	return true;
}

double
trainer_calibrate(Trainer *t, int steps)
{
	struct timespec a, b;

	for (int i = 0; i <= steps; i++)
	{
		/* The first pass touches fresh memory and does not count. */
		if (i == 1)
			clock_gettime(CLOCK_MONOTONIC, &a);
		next_batch(t);
		judge(t, tape_forward(t->tape, t->images, t->batch, true, 0));
		tape_backward(t->tape, t->grad_out);
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((double) (b.tv_sec - a.tv_sec) + (double) (b.tv_nsec - a.tv_nsec) * 1e-9) /
		   steps;
}
