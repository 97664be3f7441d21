/*
 * plan.c
 *	  Choose batch, width and epochs.
 */
#include "training/run/plan.h"

#include "training/run/network.h"
#include "training/run/progress.h"
#include "training/tape/tape.h"

#include <stdio.h>
#include <string.h>

/* Widths on offer, small to large; the largest models stay under 4 MB of weights. */
static const int ladder[][3] = {
	{16, 48, 48}, {24, 96, 96}, {32, 128, 128}, {48, 160, 160}, {64, 176, 160},
};

#define STEPS (sizeof(ladder) / sizeof(ladder[0]))

/* A wider network earns its time only if it can see every picture so many times. */
#define EPOCHS_WANTED 24
#define EPOCHS_MOST 80

#define CALIBRATION_SECONDS 4.0

/* Time left for encoding, judging and writing the model. */
#define TRAINING_SHARE 0.92

/* A run is not cut for being late by less than this. */
#define LATENESS 1.05

double
plan_training_seconds(double minutes)
{
	return minutes * 60 * TRAINING_SHARE;
}

int
plan_epochs_fitting(int epochs, double first, int done, double seconds, double budget)
{
	double each = seconds / (done - first);
	double more = (budget - seconds) / each;

	if (done >= epochs || seconds + (epochs - done) * each <= LATENESS * budget)
		return epochs;
	return more < 1 ? done + 1 : done + (int) more;
}

static int
batch_for(int pictures)
{
	int batch = 32;

	while (batch < 512 && batch * 40 < pictures)
		batch *= 2;
	return batch;
}

static double
macs_of(const TrainOptions *options, const int channels[3], TrainError *err)
{
	TrainOptions o = *options;
	NnGraph *g;
	double macs;

	memcpy(o.channels, channels, sizeof(o.channels));
	g = network_shapes(&o, err);
	macs = g ? tape_graph_macs(g) : 0;
	nn_graph_free(g);
	return macs;
}

/* Pictures per second through a training step of the network in options. */
static double
measure(const TrainOptions *options, const Dataset *ds, NnPool *pool, TrainError *err)
{
	TrainOptions o = *options;
	Trainer *t;
	double start;
	double seconds = 0;
	double rate;
	int steps = 0;

	o.epochs = 1;
	t = trainer_new(&o, ds, pool, err);
	if (!t)
		return 0;
	/* The mean, not the best: what else runs here now will run on. */
	start = progress_now();
	do
	{
		double each = trainer_calibrate(t, 1, err);

		if (each <= 0)
		{
			trainer_free(t);
			return 0;
		}
		seconds += each;
		steps++;
	} while (progress_now() - start < CALIBRATION_SECONDS);
	rate = t->batch * steps / seconds;
	trainer_free(t);
	return rate;
}

static bool
choose_width(TrainOptions *o, const Dataset *ds, NnPool *pool, double *rate,
			 TrainError *err)
{
	double seconds = plan_training_seconds(o->minutes);
	double work;
	double macs;

	memcpy(o->channels, ladder[2], sizeof(o->channels));
	*rate = measure(o, ds, pool, err);
	if (*rate <= 0)
		return false;
	macs = macs_of(o, o->channels, err);
	work = *rate * macs;
	for (int i = STEPS - 1; i >= 0; i--)
	{
		double each = macs_of(o, ladder[i], err);

		memcpy(o->channels, ladder[i], sizeof(o->channels));
		*rate = work / each;
		if (*rate * seconds / ds->n >= EPOCHS_WANTED)
			break;
	}
	return true;
}

bool
plan_complete(TrainOptions *o, const Dataset *ds, NnPool *pool,
			  void (*told)(const char *line), TrainError *err)
{
	bool open_width = network_is_speednet(o) && o->channels[0] == 0;
	bool open_epochs = o->epochs == 0;
	double rate = 0;
	double fit;
	char label[64];
	char line[256];

	if (o->batch == 0)
		o->batch = batch_for(ds->n);
	if (open_width && !open_epochs)
		memcpy(o->channels, ladder[2], sizeof(o->channels));
	else if (open_width && !choose_width(o, ds, pool, &rate, err))
		return false;
	if (!open_epochs)
		return true;
	if (!open_width)
		rate = measure(o, ds, pool, err);
	if (rate <= 0)
		return false;
	fit = rate * plan_training_seconds(o->minutes) / ds->n;
	o->epochs = fit < 1 ? 1 : fit > EPOCHS_MOST ? EPOCHS_MOST : (int) fit;
	snprintf(
		line, sizeof(line),
		"this machine trains about %.0f pictures a second: %s and %d %s %.3g minutes",
		rate, network_label(o, label, sizeof(label)), o->epochs,
		fit < 1 ? "epoch, which takes longer than" : "epochs fit", o->minutes);
	told(line);
	return true;
}
