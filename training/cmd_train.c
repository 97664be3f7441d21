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
#include "training/run/sets.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the command line says besides the options of the run. */
typedef struct Request
{
	TrainOptions options;
	const char *out;
	const char *resume;
	const char *checkpoint;
	double checkpoint_every; /* minutes */
	int stop_after;			 /* steps; 0: run to the end */
	int validate;			 /* epochs between looks at mAP; 0: none */
	int threads;
	bool data_given;
} Request;

static volatile sig_atomic_t stop_asked;

static void
ask_to_stop(int signal_number)
{
	stop_asked = signal_number;
	/* Asked twice, it is meant at once. */
	signal(signal_number, SIG_DFL);
}

static void
usage(void)
{
	char protocols[128];

	printf(
		"Train a network that turns pictures into hash codes.\n\n"
		"Usage: deephash-train train --data DATA --out MODEL [OPTION]...\n\n"
		"Data and result:\n"
		"  --data DATA           cifar10:DIR, folder:DIR (one folder of JPEGs per "
		"class)\n"
		"                        or manifest:FILE (lines \"path<TAB>label[,label...]\")\n"
		"  --out FILE            the model file to write\n"
		"  --bits N              length of the codes, 1 to 4096 (64)\n"
		"  --protocol NAME       which pictures train and which judge: %s\n"
		"                        (Pfull-R for CIFAR-10, else split)\n"
		"  --holdout SHARE       share of each class that \"split\" judges with (0.1)\n"
		"  --validate N          every N epochs, show the mAP of some queries (0: "
		"never)\n"
		"Effort:\n"
		"  --minutes N           choose width and epochs to fit N minutes here (40);\n"
		"                        fewer epochs if the machine turns out slower\n"
		"  --epochs N            passes over the training pictures, whatever they take\n"
		"  --width A,B,C         channels of the three blocks, e.g. 32,128,128\n"
		"  --size N              side of the pictures that the network sees (32 for\n"
		"                        CIFAR-10, else 48; at least 24)\n"
		"  --threads N           (one per CPU)\n"
		"Method:\n"
		"  --loss NAME           ",
		sets_protocols(protocols, sizeof(protocols)));
	for (int i = 0; loss_at(i); i++)
		printf("%s%s", i ? ", " : "", loss_at(i)->name);
	printf(
		" (orthohash)\n"
		"  --scale S --margin M --smoothing P --lambda L\n"
		"                        numbers of the loss, where it has them\n"
		"  --batch N             pictures of a step (32 to 512 by the size of the data)\n"
		"  --optimiser NAME      sgd (Nesterov) or adamw\n"
		"  --rate X              peak learning rate for a batch of 512 (0.4)\n"
		"  --momentum X          of sgd (0.85)\n"
		"  --weight-decay X      (0.002)\n"
		"  --average NAME        of the weights: none, ema or lookahead (lookahead)\n"
		"  --translate N         shift pictures by up to N pixels (2)\n"
		"  --cutout N            grey out a square of side N (0: none)\n"
		"  --no-flip             do not mirror pictures\n"
		"  --seed N              same seed, same result (1)\n"
		"Stopping and going on:\n"
		"  --checkpoint FILE     (the model's name with .checkpoint)\n"
		"  --checkpoint-every N  minutes between checkpoints (5)\n"
		"  --resume FILE         go on from a checkpoint, with the options it was\n"
		"                        started with; --data may name a new place\n"
		"  --stop-after N        stop with a checkpoint when N steps are done in all\n"
		"  --help\n\n"
		"An interrupt (Ctrl-C) or SIGTERM leaves a checkpoint too.\n");
}

static bool
parse_width(const char *text, int channels[3])
{
	char end;

	return sscanf(text, "%d,%d,%d%c", &channels[0], &channels[1], &channels[2], &end) ==
			   3 &&
		   channels[0] > 0 && channels[1] > 0 && channels[2] > 0;
}

enum
{
	OPT_DATA = 256,
	OPT_OUT,
	OPT_BITS,
	OPT_PROTOCOL,
	OPT_HOLDOUT,
	OPT_MINUTES,
	OPT_EPOCHS,
	OPT_WIDTH,
	OPT_SIZE,
	OPT_THREADS,
	OPT_LOSS,
	OPT_SCALE,
	OPT_MARGIN,
	OPT_SMOOTHING,
	OPT_LAMBDA,
	OPT_BATCH,
	OPT_OPTIMISER,
	OPT_RATE,
	OPT_MOMENTUM,
	OPT_DECAY,
	OPT_AVERAGE,
	OPT_TRANSLATE,
	OPT_CUTOUT,
	OPT_NO_FLIP,
	OPT_SEED,
	OPT_CHECKPOINT,
	OPT_CHECKPOINT_EVERY,
	OPT_RESUME,
	OPT_STOP_AFTER,
	OPT_VALIDATE,
	OPT_HELP
};

static const struct option long_options[] = {
	{"data", required_argument, NULL, OPT_DATA},
	{"out", required_argument, NULL, OPT_OUT},
	{"bits", required_argument, NULL, OPT_BITS},
	{"protocol", required_argument, NULL, OPT_PROTOCOL},
	{"holdout", required_argument, NULL, OPT_HOLDOUT},
	{"minutes", required_argument, NULL, OPT_MINUTES},
	{"epochs", required_argument, NULL, OPT_EPOCHS},
	{"width", required_argument, NULL, OPT_WIDTH},
	{"size", required_argument, NULL, OPT_SIZE},
	{"threads", required_argument, NULL, OPT_THREADS},
	{"loss", required_argument, NULL, OPT_LOSS},
	{"scale", required_argument, NULL, OPT_SCALE},
	{"margin", required_argument, NULL, OPT_MARGIN},
	{"smoothing", required_argument, NULL, OPT_SMOOTHING},
	{"lambda", required_argument, NULL, OPT_LAMBDA},
	{"batch", required_argument, NULL, OPT_BATCH},
	{"optimiser", required_argument, NULL, OPT_OPTIMISER},
	{"rate", required_argument, NULL, OPT_RATE},
	{"momentum", required_argument, NULL, OPT_MOMENTUM},
	{"weight-decay", required_argument, NULL, OPT_DECAY},
	{"average", required_argument, NULL, OPT_AVERAGE},
	{"translate", required_argument, NULL, OPT_TRANSLATE},
	{"cutout", required_argument, NULL, OPT_CUTOUT},
	{"no-flip", no_argument, NULL, OPT_NO_FLIP},
	{"seed", required_argument, NULL, OPT_SEED},
	{"checkpoint", required_argument, NULL, OPT_CHECKPOINT},
	{"checkpoint-every", required_argument, NULL, OPT_CHECKPOINT_EVERY},
	{"resume", required_argument, NULL, OPT_RESUME},
	{"stop-after", required_argument, NULL, OPT_STOP_AFTER},
	{"validate", required_argument, NULL, OPT_VALIDATE},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

/* Index of text in names, or -1. */
static int
choice(const char *text, const char *const *names)
{
	for (int i = 0; names[i]; i++)
		if (strcmp(text, names[i]) == 0)
			return i;
	return -1;
}

static bool
copy_text(char *to, size_t size, const char *text)
{
	if (strlen(text) >= size)
		return false;
	strcpy(to, text);
	return true;
}

/* Options of the loss are remembered and set when its name is known. */
typedef struct LossNumbers
{
	double value[4];
	bool given[4];
} LossNumbers;

static bool
set_option(Request *r, LossNumbers *numbers, int option, const char *v)
{
	static const char *const optimisers[] = {"sgd", "adamw", NULL};
	static const char *const averages[] = {"none", "ema", "lookahead", NULL};
	TrainOptions *o = &r->options;
	int i;

	switch (option)
	{
		case OPT_DATA:
			r->data_given = true;
			return copy_text(o->data, sizeof(o->data), v);
		case OPT_OUT:
			r->out = v;
			return *v != '\0';
		case OPT_BITS:
			return command_int(v, 1, 4096, &o->bits);
		case OPT_PROTOCOL:
			return copy_text(o->protocol, sizeof(o->protocol), v);
		case OPT_HOLDOUT:
			return command_double(v, 0.001, 0.9, &o->holdout);
		case OPT_MINUTES:
			return command_double(v, 0.05, 1e6, &o->minutes);
		case OPT_EPOCHS:
			return command_int(v, 1, 100000, &o->epochs);
		case OPT_WIDTH:
			return parse_width(v, o->channels);
		case OPT_SIZE:
			return command_int(v, 24, 1024, &o->size);
		case OPT_THREADS:
			return command_int(v, 1, 1024, &r->threads);
		case OPT_LOSS:
			return loss_find(v) && copy_text(o->loss, sizeof(o->loss), v);
		case OPT_SCALE:
		case OPT_MARGIN:
		case OPT_SMOOTHING:
		case OPT_LAMBDA:
			i = option - OPT_SCALE;
			return numbers->given[i] = command_double(v, -1e6, 1e6, &numbers->value[i]);
		case OPT_BATCH:
			return command_int(v, 2, 65536, &o->batch);
		case OPT_OPTIMISER:
			i = choice(v, optimisers);
			o->optim.kind = i < 0 ? OPTIM_SGD : (OptimKind) i;
			return i >= 0;
		case OPT_RATE:
			return command_double(v, 1e-12, 1e6, &o->rate);
		case OPT_MOMENTUM:
			return command_double(v, 0, 0.9999, &o->optim.momentum);
		case OPT_DECAY:
			return command_double(v, 0, 10, &o->optim.decay);
		case OPT_AVERAGE:
			i = choice(v, averages);
			o->average = i < 0 ? AVERAGE_NONE : (AverageKind) i;
			return i >= 0;
		case OPT_TRANSLATE:
			return command_int(v, 0, 16, &o->augment.translate);
		case OPT_CUTOUT:
			return command_int(v, 0, 1024, &o->augment.cutout);
		case OPT_NO_FLIP:
			o->augment.flip = false;
			return true;
		case OPT_SEED:
			return command_seed(v, &o->seed);
		case OPT_CHECKPOINT:
			r->checkpoint = v;
			return *v != '\0';
		case OPT_CHECKPOINT_EVERY:
			return command_double(v, 0.001, 1e6, &r->checkpoint_every);
		case OPT_RESUME:
			r->resume = v;
			return *v != '\0';
		case OPT_STOP_AFTER:
			return command_int(v, 1, 1 << 30, &r->stop_after);
		case OPT_VALIDATE:
			return command_int(v, 0, 100000, &r->validate);
		default:
			return false;
	}
}

static void
settle_options(TrainOptions *o, const LossNumbers *numbers)
{
	double *to[4] = {&o->loss_options.scale, &o->loss_options.margin,
					 &o->loss_options.smoothing, &o->loss_options.lambda};

	o->loss_options = loss_find(o->loss)->defaults;
	for (int i = 0; i < 4; i++)
		if (numbers->given[i])
			*to[i] = numbers->value[i];
	if (o->epochs)
		o->minutes = 0; /* a fixed number is not cut for time */
	else if (o->minutes == 0)
		o->minutes = 40;
	if (o->size == 0)
		o->size = sets_default_size(o->data);
	if (o->protocol[0] == '\0')
		strcpy(o->protocol, sets_default_protocol(o->data));
}

/* -1: go on; otherwise the exit status. */
static int
parse(int argc, char **argv, Request *r)
{
	LossNumbers numbers = {0};
	char text[1024] = "";
	int option;
	int index = 0;

	train_options_default(&r->options);
	while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1)
	{
		if (option == '?')
			return command_usage("train", "see the message above");
		if (option == OPT_HELP)
		{
			usage();
			return COMMAND_OK;
		}
		if (!set_option(r, &numbers, option, optarg))
			return command_usage("train", "--%s cannot be \"%s\"",
								 long_options[option - OPT_DATA].name, optarg);
		if (option != OPT_DATA && option != OPT_OUT && option != OPT_THREADS &&
			option < OPT_CHECKPOINT && text[0] == '\0')
			snprintf(text, sizeof(text), "%s", long_options[option - OPT_DATA].name);
	}
	if (optind < argc)
		return command_usage("train", "unexpected argument \"%s\"", argv[optind]);
	if (!r->out)
		return command_usage("train", "--out is missing");
	if (r->resume && text[0])
		return command_usage(
			"train",
			"--%s cannot change in a resumed run: its checkpoint says what "
			"it is",
			text);
	if (!r->resume && !r->data_given)
		return command_usage("train", "--data is missing");
	if (!r->resume)
		settle_options(&r->options, &numbers);
	return -1;
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

/* Steps until done, stopped or failed. */
static bool
run_steps(Trainer *t, const Sets *sets, const Request *r, const char *checkpoint,
		  bool *stopped, TrainError *err)
{
	Progress progress;
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

		ok = trainer_step(t, err);
		if (!ok)
			break;
		mean = mean == 0 ? t->last_loss : 0.95 * mean + 0.05 * t->last_loss;
		snprintf(text, sizeof(text), "epoch %lld of %d  loss %.4f",
				 (long long) ((t->step - 1) / t->steps_per_epoch + 1), t->options.epochs,
				 mean);
		progress_show(&progress, t->step, t->batch, "pictures", text,
					  t->step == t->total_steps);
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
	return ok;
}

static bool
finish(Trainer *t, const Sets *sets, const Request *r, int threads, TrainError *err)
{
	NnGraph *folded = export_graph(t, err);
	RetrievalMetrics m;
	char *metrics = NULL;
	bool ok = folded != NULL;

	if (ok && sets->query && sets->query->n > 0)
	{
		ok = judge_network(folded, NULL, sets, threads, &m, err);
		if (ok)
		{
			judge_print(&m, t->options.protocol);
			metrics = export_metrics(&m, t->options.protocol);
		}
	}
	ok = ok && export_model(r->out, t, folded, metrics, err);
	nn_graph_free(folded);
	free(metrics);
	return ok;
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
	double start = progress_now();

	if (!plan_complete(o, sets->train, pool, say, &err))
		return command_failed("train", &err);
	t = trainer_new(o, sets->train, pool, &err);
	if (!t)
		return command_failed("train", &err);
	fprintf(stderr,
			"%d pictures of %d classes; network %d-%d-%d of %.1f million multiply-adds; "
			"batch %d, %lld steps; %d threads, %.0f MB\n",
			sets->train->n, sets->train->nclasses, o->channels[0], o->channels[1],
			o->channels[2], tape_graph_macs(t->graph) / 1e6, t->batch,
			(long long) t->total_steps, nn_pool_threads(pool),
			(double) tape_memory(t->tape) / 1e6);
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
		return command_failed("train", &err);
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
	Request r = {.checkpoint_every = 5};
	char checkpoint[4096];
	ImagePreprocess pre;
	NnPool *pool;
	TrainError err;
	Sets sets;
	int status = parse(argc, argv, &r);
	char data[sizeof(r.options.data)];

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
	strcpy(data, r.options.data);
	if (!can_write(r.out, &err) || !can_write(checkpoint, &err) ||
		(r.resume && !checkpoint_options(r.resume, &r.options, &err)))
		return command_failed("train", &err);
	if (r.data_given)
		strcpy(r.options.data, data);
	pool = nn_pool_new(r.threads);
	if (!pool)
	{
		train_fail(&err, "cannot start threads");
		return command_failed("train", &err);
	}
	pre = export_preprocess(r.options.size);
	signal(SIGINT, ask_to_stop);
	signal(SIGTERM, ask_to_stop);
	if (!sets_open(&sets, r.options.data, r.options.protocol, r.options.holdout,
				   r.options.seed, &pre, nn_pool_threads(pool), &err))
		status = command_failed("train", &err);
	else
	{
		status = train(&r, &sets, pool, checkpoint);
		sets_free(&sets);
	}
	nn_pool_free(pool);
	return status;
}
