/*
 * engine.c
 *	  Pictures a second of one network, in training and in inference.
 *
 *	engine [OPTION]... ARCHITECTURE SIDE BATCH
 *	engine [--device NAME] about
 *
 *	--device cpu|cuda		where (cpu)
 *	--precision NAME		float32, tf32 or bf16 (float32); the CPU infers in float32
 *	--plugin FOLDER			where deephash-cuda.so lies (beside the program, or ../lib)
 *	--threads N				of the CPU (one per processor)
 *	--seconds X				that each measurement takes, after a warm-up (8)
 *
 * ARCHITECTURE as the recipes name it, with its parameters ("resnet18 stem=cifar").  A
 * training step is forward, cross entropy over 10 classes, backward and SGD with
 * Nesterov momentum; inference is the network with folded batch norms.  Both begin with
 * pictures in the host's memory and end with the outputs there.  A device that serves
 * infers as deephash-encoder has it do: two batches under way, back come codes.
 *
 * Prints one line: training and inference in pictures a second, memory of the step and
 * of the inference in MB, multiply-adds of one picture in millions.  On the CPU the
 * memory of the step is what the process grew by at most until training ended, as
 * peer.py counts.  About prints the device.
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "nn/device.h"
#include "nn/pool.h"
#include "training/arch/arch.h"
#include "training/learner/learner.h"
#include "training/optim/optim.h"
#include "training/tape/tape.h"

#define CLASSES 10

typedef struct Bench
{
	const char *device_name, *precision_name, *plugin;
	const NnDevice *device;
	const NnLearnerDevice *learner;
	NnPrecision precision;
	int side, batch, threads;
	double seconds;
	NnPool *pool;
	uint8_t *images;
	double before; /* most_memory before the network was there */
} Bench;

typedef struct Result
{
	double rate;   /* pictures a second */
	double memory; /* bytes */
} Result;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static void
die(const char *why)
{
	fprintf(stderr, "engine: %s\n", why);
	exit(1);
}

/* softmax - one-hot, over the batch: the gradient of the mean cross entropy. */
static void
cross_entropy(const float *logits, int n, float *grad)
{
	for (int i = 0; i < n; i++, logits += CLASSES, grad += CLASSES)
	{
		float most = logits[0], sum = 0;

		for (int c = 1; c < CLASSES; c++)
			most = logits[c] > most ? logits[c] : most;
		for (int c = 0; c < CLASSES; c++)
			sum += grad[c] = expf(logits[c] - most);
		for (int c = 0; c < CLASSES; c++)
			grad[c] = (grad[c] / sum - (c == i % CLASSES)) / (float) n;
	}
}

/* The most memory that this process ever had, in bytes. */
static double
most_memory(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return 1024.0 * (double) usage.ru_maxrss;
}

static Result
training(const Bench *b, NnGraph *g)
{
	NnLearnerOptions options = {.max_batch = b->batch,
								.precision = b->precision,
								.update = NN_SGD,
								.pool = b->pool};
	NnBatch step = {.images = b->images, .n = b->batch, .momentum = 0.1f};
	NnUpdate update = {.rate = 1e-4, .momentum = 0.9, .decay = 5e-4};
	NnError err;
	NnLearner *learner = b->learner->open(g, &options, &err);
	const float *out[NN_MAX_OUTPUTS];
	float *grad = malloc((size_t) b->batch * CLASSES * sizeof(float));
	double *rate_of = malloc(g->nparams * sizeof(double));
	double *decay_of = malloc(g->nparams * sizeof(double));
	const float *const grads[NN_MAX_OUTPUTS] = {grad};
	double start = 0;
	int steps = -2; /* to warm up */
	Result result;

	if (learner == NULL)
		die(err.text);
	if (grad == NULL || rate_of == NULL || decay_of == NULL)
		die("out of memory");
	optim_multipliers(g, 1, rate_of, decay_of);
	update.rate_of = rate_of;
	update.decay_of = decay_of;
	while (steps < 1 || now() - start < b->seconds)
	{
		if (steps++ == 0)
			start = now();
		if (!b->learner->forward(learner, &step, true, out, &err))
			die(err.text);
		cross_entropy(out[0], b->batch, grad);
		update.step++;
		if (!b->learner->backward(learner, grads, false, &err) ||
			!b->learner->update(learner, &update, NULL, &err))
			die(err.text);
	}
	/* an update may still be on its way: reading any of it waits */
	if (!b->learner->read(learner, 0, NN_VALUE, g->param[0].data, &err))
		die(err.text);
	result.rate = (double) steps * b->batch / (now() - start);
	result.memory = b->learner == &learner_cpu ? most_memory() - b->before
											   : (double) b->learner->memory(learner);
	b->learner->close(learner);
	free(grad);
	free(rate_of);
	free(decay_of);
	return result;
}

/* As the service: while one batch is awaited the next is under way. */
static Result
serving(const Bench *b, const NnGraph *folded)
{
	NnServing how = {.max_batch = b->batch,
					 .threads = b->threads,
					 .precision = b->precision,
					 .graphs = true};
	NnError err;
	NnNet *net = b->device->serve(folded, &how, &err);
	double start = 0;
	int runs = -4; /* the second time, in either stage, launches are recorded */
	Result result;

	if (net == NULL)
		die(err.text);
	for (int k = 0; k < NN_STAGES; k++)
	{
		memcpy(b->device->stage(net, k)->images, b->images,
			   (size_t) b->batch * nn_shape_size(&folded->node[0].shape));
		if (!b->device->submit(net, k, b->batch, false, &err))
			die(err.text);
	}
	for (int k = 0; runs < 1 || now() - start < b->seconds; k = (k + 1) % NN_STAGES)
	{
		if (!b->device->wait(net, k, &err))
			die(err.text);
		if (++runs == 0)
			start = now();
		if (!b->device->submit(net, k, b->batch, false, &err))
			die(err.text);
	}
	result.rate = (double) runs * b->batch / (now() - start);
	for (int k = 0; k < NN_STAGES; k++)
		if (!b->device->wait(net, k, &err))
			die(err.text);
	result.memory = (double) b->device->memory(net);
	b->device->unload(net);
	return result;
}

static Result
inference(const Bench *b, const NnGraph *g)
{
	NnError err;
	NnGraph *folded = nn_graph_fold_batchnorm(g, &err);
	NnNet *net;
	float *out = malloc((size_t) b->batch * CLASSES * sizeof(float));
	double start = 0;
	int runs = -2;
	Result result;

	if (folded && b->device->serve)
	{
		result = serving(b, folded);
		nn_graph_free(folded);
		free(out);
		return result;
	}
	net = folded ? b->device->load(folded, b->batch, b->threads, &err) : NULL;
	if (net == NULL)
		die(err.text);
	if (out == NULL)
		die("out of memory");
	while (runs < 1 || now() - start < b->seconds)
	{
		if (runs++ == 0)
			start = now();
		if (!b->device->run(net, b->images, b->batch, out, &err))
			die(err.text);
	}
	result.rate = (double) runs * b->batch / (now() - start);
	result.memory = (double) b->device->memory(net);
	b->device->unload(net);
	nn_graph_free(folded);
	free(out);
	return result;
}

static NnGraph *
build(const char *label, int side)
{
	ArchOptions options = {0};
	TrainError err;
	const Arch *arch = arch_from_label(label, &options, &err);
	NnGraph *g;

	if (arch == NULL)
		die(err.text);
	options.height = options.width = side;
	options.head = ARCH_CLASSES;
	options.outputs = CLASSES;
	for (int c = 0; c < 3; c++)
	{
		options.mean[c] = 0.5f;
		options.std[c] = 0.25f;
	}
	g = arch_build(arch, &options, &err);
	if (g == NULL)
		die(err.text);
	return g;
}

static void
open_device(Bench *b)
{
	NnError err;

	b->device = nn_device(b->device_name, b->plugin, &err);
	if (b->device == NULL)
		die(err.text);
	b->learner =
		b->device == &nn_cpu_device ? &learner_cpu : nn_plugin_learner(b->plugin, &err);
	if (b->learner == NULL)
		die(err.text);
}

static void
set_precision(Bench *b)
{
	static const char *const names[] = {"float32", "tf32", "bf16"};

	for (int i = NN_FLOAT32; i <= NN_BF16; i++)
		if (strcmp(names[i], b->precision_name) == 0)
		{
			b->precision = (NnPrecision) i;
			return;
		}
	die("--precision is float32, tf32 or bf16");
}

static void
set_options(Bench *b, int argc, char **argv)
{
	static const struct option options[] = {{"device", required_argument, NULL, 'd'},
											{"precision", required_argument, NULL, 'p'},
											{"plugin", required_argument, NULL, 'l'},
											{"threads", required_argument, NULL, 't'},
											{"seconds", required_argument, NULL, 's'},
											{0}};
	int option;

	*b = (Bench){.device_name = "cpu",
				 .precision_name = "float32",
				 .threads = (int) sysconf(_SC_NPROCESSORS_ONLN),
				 .seconds = 8};
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option)
		{
			case 'd':
				b->device_name = optarg;
				break;
			case 'p':
				b->precision_name = optarg;
				break;
			case 'l':
				b->plugin = optarg;
				break;
			case 't':
				b->threads = atoi(optarg);
				break;
			case 's':
				b->seconds = atof(optarg);
				break;
			default:
				exit(2);
		}
	set_precision(b);
}

int
main(int argc, char **argv)
{
	Bench b;
	NnGraph *g;
	Result trained, inferred;
	size_t bytes;

	set_options(&b, argc, argv);
	argc -= optind;
	argv += optind;
	open_device(&b);
	if (argc == 1 && strcmp(argv[0], "about") == 0)
	{
		char text[256];

		b.device->probe(text, sizeof(text));
		puts(text);
		return 0;
	}
	if (argc != 3)
		die("wants [OPTION]... ARCHITECTURE SIDE BATCH, or about");
	b.side = atoi(argv[1]);
	b.batch = atoi(argv[2]);
	if (b.side < 1 || b.batch < 1 || b.threads < 1)
		die("SIDE, BATCH and --threads are at least 1");
	b.before = most_memory();
	g = build(argv[0], b.side);
	bytes = (size_t) b.batch * b.side * b.side * 3;
	b.images = malloc(bytes);
	b.pool = nn_pool_new(b.threads);
	if (b.images == NULL || b.pool == NULL)
		die("out of memory");
	for (size_t i = 0; i < bytes; i++)
		b.images[i] = (uint8_t) (i * 2654435761u >> 24);
	trained = training(&b, g);
	inferred = inference(&b, g);
	printf("%.1f %.1f %.0f %.0f %.1f\n", trained.rate, inferred.rate,
		   trained.memory / 1e6, inferred.memory / 1e6, tape_graph_macs(g) / 1e6);
	nn_pool_free(b.pool);
	nn_graph_free(g);
	free(b.images);
	return 0;
}
