/*
 * cmd_train.c
 *	  deephash-train train
 */
#include "training/command.h"
#include "training/run/checkpoint.h"
#include "training/run/codes.h"
#include "training/run/export.h"
#include "training/run/plan.h"
#include "training/run/progress.h"
#include "training/run/judge.h"
#include "training/run/network.h"
#include "training/request.h"
#include "training/run/sets.h"
#include "training/tape/tape.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stop_asked;

static void
ask_to_stop(int signal_number)
{
	stop_asked = signal_number;
	/* Asked twice, it is meant at once. */
	signal(signal_number, SIG_DFL);
}

static void
catch_signals(void)
{
	signal(SIGINT, ask_to_stop);
	signal(SIGTERM, ask_to_stop);
	/* The terminal went away; under nohup that is to be ignored, and stays so. */
	if (signal(SIGHUP, ask_to_stop) == SIG_IGN)
		signal(SIGHUP, SIG_IGN);
	/* A file over the limit, or a reader of our lines that left, is an error of one
	 * write and not the end of the run. */
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
}

static void
say(const char *line)
{
	fprintf(stderr, "%s\n", line);
}

/* At the end of every so many epochs: how the averaged weights would do. */
static bool
validate(Trainer *t, const Sets *sets, const Request *r, Progress *progress,
		 TrainError *err)
{
	int64_t epoch = t->step / t->steps_per_epoch;
	double map;

	if (!r->validate || !sets->query || t->step % t->steps_per_epoch != 0 ||
		epoch % r->validate != 0)
		return true;
	if (!judge_training(t, sets, &map, err))
		return false;
	fprintf(stderr, "%sepoch %lld: mAP %.4f on a sample of the queries\n",
			progress->terminal ? "\r\033[K" : "", (long long) epoch, map);
	return true;
}

/* With --minutes, at the end of an epoch: shorten the run if it would be late. */
static void
keep_to_time(Trainer *t, Progress *progress, double budget)
{
	TrainOptions *o = &t->options;
	double first = (double) progress->first / (double) t->steps_per_epoch;
	int epochs;

	if (o->minutes == 0 || t->step % t->steps_per_epoch != 0)
		return;
	epochs = plan_epochs_fitting(o->epochs, first, (int) (t->step / t->steps_per_epoch),
								 progress_now() - progress->started, budget);
	if (epochs == o->epochs)
		return;
	fprintf(stderr, "%sslower than measured: %d epochs instead of %d fit %.3g minutes\n",
			progress->terminal ? "\r\033[K" : "", epochs, o->epochs, o->minutes);
	o->epochs = epochs;
	progress->total = t->total_steps = t->steps_per_epoch * epochs;
}

/*
 * A checkpoint now and then.  A full disk is no reason to throw the run away: the last
 * checkpoint is still whole, and the next one may find room.
 */
static void
save_sometimes(Trainer *t, const Request *r, const char *checkpoint, double *saved)
{
	TrainError err;

	if (progress_now() - *saved <= r->checkpoint_every * 60 || t->step == t->total_steps)
		return;
	if (!checkpoint_write(checkpoint, t, &err))
		fprintf(stderr, "\nwarning: %s\n", err.text);
	*saved = progress_now();
}

/* A moment, to see later what share of the time the network waited for pictures. */
typedef struct Waiting
{
	double began, waited; /* seconds */
} Waiting;

static Waiting
waiting_from_here(const Trainer *t)
{
	return (Waiting){progress_now(), feed_waited(t->feed)};
}

static double
percent_waited(const Trainer *t, const Waiting *from)
{
	return 100 * (feed_waited(t->feed) - from->waited) /
		   (progress_now() - from->began + 1e-9);
}

/* Every epoch ends with its line, but where they fly by. */
static bool
epoch_to_show(const Trainer *t, const Progress *progress)
{
	return t->step % t->steps_per_epoch == 0 && progress_now() - progress->last > 1;
}

/* Steps until done, stopped or failed. */
static bool
run_steps(Trainer *t, const Sets *sets, const Request *r, const char *checkpoint,
		  bool *stopped, TrainError *err)
{
	Progress progress;
	Waiting whole = waiting_from_here(t);
	Waiting epoch = whole;
	double saved = progress_now();
	double mean = 0;
	double budget = plan_training_seconds(t->options.minutes) *
					(double) (t->total_steps - t->step) / (double) t->total_steps;
	bool ok = true;

	*stopped = false;
	progress_start(&progress, t->step, t->total_steps);
	while (ok && !*stopped && t->step < t->total_steps)
	{
		char text[128];

		if (t->step % t->steps_per_epoch == 0)
			epoch = waiting_from_here(t);
		ok = trainer_step(t, err);
		if (!ok)
		{
			TrainError ignored;

			/* What has been learned does not depend on the picture that is missing. */
			if (!t->batch_now && t->step > 0 && checkpoint_write(checkpoint, t, &ignored))
				fprintf(stderr, "\na checkpoint is left in %s, for --resume\n",
						checkpoint);
			break;
		}
		mean = mean == 0 ? t->last_loss : 0.95 * mean + 0.05 * t->last_loss;
		snprintf(text, sizeof(text), "epoch %lld of %d  loss %.4f  waiting %.1f%%",
				 (long long) ((t->step - 1) / t->steps_per_epoch + 1), t->options.epochs,
				 mean, percent_waited(t, &epoch));
		progress_show(&progress, t->step, t->batch, "pictures", text,
					  t->step == t->total_steps || epoch_to_show(t, &progress));
		ok = validate(t, sets, r, &progress, err);
		keep_to_time(t, &progress, budget);
		*stopped = t->step < t->total_steps &&
				   (stop_asked || (r->stop_after && t->step >= r->stop_after));
		if (*stopped)
			ok = ok && checkpoint_write(checkpoint, t, err);
		else if (ok)
			save_sometimes(t, r, checkpoint, &saved);
	}
	progress_end(&progress);
	fprintf(stderr, "%.1f%% of the time was spent waiting for pictures\n",
			percent_waited(t, &whole));
	return ok;
}

static bool
finish(Trainer *t, const Sets *sets, const Request *r, int threads, TrainError *err)
{
	NnGraph *folded = export_graph(t, err);
	RetrievalMetrics m;
	char *metrics = NULL;
	float *thresholds = NULL;
	bool ok = folded && judge_thresholds(&t->options, folded, sets->train, threads,
										 &thresholds, err);

	if (ok && sets->query && sets->query->n > 0)
	{
		ok = judge_network(folded, thresholds, sets, threads, &m, err);
		if (ok)
		{
			judge_print(&m, t->options.protocol);
			metrics = export_metrics(&m, t->options.protocol);
		}
	}
	ok = ok && export_model(r->out, t, folded, thresholds, metrics, err);
	nn_graph_free(folded);
	free(metrics);
	free(thresholds);
	return ok;
}

/* Say why, and where a recipe says what does not do. */
static int
failed(const Request *r, TrainError *err)
{
	recipe_explain(&r->recipe, err);
	return command_failed("train", err);
}

/* The sets could not be had: for what the protocol wants, or for where they are. */
static int
no_pictures(const Request *r, TrainError *err)
{
	const char *key = strstr(err->text, "protocol") ? "protocol" : "source";

	recipe_blame(&r->recipe, key_find("data", key), err);
	return command_failed("train", err);
}

static int
train(Request *r, Sets *sets, NnPool *pool, const char *checkpoint)
{
	TrainOptions *o = &r->options;
	TrainError err;
	Trainer *t;
	bool stopped = false;
	bool ok;
	char duration[32];
	char label[64];
	double start = progress_now();

	if (!r->resume)
		recipe_idle(&r->recipe, o, say);
	if (!r->resume && !network_look(o, say, &err))
		return failed(r, &err);
	if (!plan_complete(o, sets->train, pool, say, &err))
		return failed(r, &err);
	t = trainer_new(o, sets->train, pool, &err);
	if (!t)
		return failed(r, &err);
	fprintf(stderr,
			"%d pictures of %d classes; %s of %.1f million multiply-adds; "
			"batch %d, %lld steps; %s, %d threads, %.0f MB for a step\n",
			sets->train->n, sets->train->nclasses, network_label(o, label, sizeof(label)),
			tape_graph_macs(t->graph) / 1e6, t->batch, (long long) t->total_steps,
			t->device->name, nn_pool_threads(pool),
			(double) t->device->memory(t->learner) / 1e6);
	ok = !r->resume || checkpoint_read(r->resume, t, &err);
	ok = ok && run_steps(t, sets, r, checkpoint, &stopped, &err);
	if (ok && !stopped)
	{
		TrainError ignored;

		/* What has been learned is kept where the model cannot be written. */
		ok = finish(t, sets, r, nn_pool_threads(pool), &err);
		if (!ok && checkpoint_write(checkpoint, t, &ignored))
			fprintf(stderr, "the trained network is kept in %s, for --resume\n",
					checkpoint);
	}
	trainer_free(t);
	if (!ok)
		return failed(r, &err);
	if (stopped)
	{
		fprintf(stderr,
				"stopped; go on with: deephash-train train --resume %s --out %s\n",
				checkpoint, r->out);
		return COMMAND_FAILED;
	}
	unlink(checkpoint);
	fprintf(stderr, "%s written after %s\n", r->out,
			progress_duration(progress_now() - start, duration, sizeof(duration)));
	return COMMAND_OK;
}

/* Better to learn now than after 40 minutes that the model cannot be written. */
static bool
can_write(const char *path, TrainError *err)
{
	char name[4096];
	int fd;

	snprintf(name, sizeof(name), "%s.XXXXXX", path);
	fd = mkstemp(name);
	if (fd < 0)
		return train_fail(err, "cannot write %.300s: %m", path);
	close(fd);
	unlink(name);
	return true;
}

int
cmd_train(int argc, char **argv)
{
	Request r;
	char checkpoint[4096];
	ImagePreprocess pre;
	NnPool *pool;
	TrainError err;
	Sets sets;
	int status = request_parse(&r, argc, argv);

	if (status >= 0)
		return status;
	if (r.checkpoint || r.resume)
		snprintf(checkpoint, sizeof(checkpoint), "%s",
				 r.checkpoint ? r.checkpoint : r.resume);
	else
		snprintf(checkpoint, sizeof(checkpoint), "%s.checkpoint", r.out);
	/* Written last, the model would be removed as its own checkpoint. */
	if (strcmp(checkpoint, r.out) == 0)
		return command_usage("train", "the checkpoint and --out are one file, \"%s\"",
							 r.out);
	if (!can_write(r.out, &err) || !can_write(checkpoint, &err) ||
		(r.resume && !checkpoint_options(r.resume, &r.options, &err)))
		return failed(&r, &err);
	request_change(&r);
	pool = nn_pool_new(r.threads);
	if (!pool)
	{
		train_fail(&err, "cannot start threads");
		return failed(&r, &err);
	}
	pre = network_stored(&r.options);
	catch_signals();
	if (!sets_open(&sets, r.options.data, r.options.protocol, r.options.holdout,
				   r.options.seed, &pre, sets_memory(r.options.cache),
				   nn_pool_threads(pool), &err))
		status = no_pictures(&r, &err);
	else
	{
		status = train(&r, &sets, pool, checkpoint);
		sets_free(&sets);
	}
	nn_pool_free(pool);
	return status;
}
