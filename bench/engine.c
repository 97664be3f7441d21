/*
 * engine.c
 *	  Pictures a second of one network, in training and in inference, on the CPU.
 *
 *	engine ARCHITECTURE SIDE BATCH THREADS SECONDS
 *
 *	engine about
 *
 * ARCHITECTURE as the recipes name it, with its parameters ("resnet18 stem=cifar").  A
 * training step is forward, cross entropy over 10 classes, backward and SGD with
 * Nesterov momentum; inference is the folded network on the CPU device.  After a warm-up
 * each runs for so many seconds.  Prints one line: training and inference in pictures a
 * second, memory of the step in MB, multiply-adds of one picture in millions.  About
 * prints the threads and the kernels that would be used.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nn/device.h"
#include "nn/pool.h"
#include "training/arch/arch.h"
#include "training/learner/learner.h"
#include "training/optim/optim.h"
#include "training/tape/tape.h"

#define CLASSES 10

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

static double
training(NnGraph *g, const uint8_t *images, int batch, NnPool *pool, double seconds,
		 size_t *memory)
{
	NnLearnerOptions options = {.max_batch = batch, .update = NN_SGD, .pool = pool};
	NnBatch step = {.images = images, .n = batch, .momentum = 0.1f};
	NnUpdate update = {.rate = 1e-4, .momentum = 0.9, .decay = 5e-4};
	NnError err;
	NnLearner *learner = learner_cpu.open(g, &options, &err);
	const float *out[NN_MAX_OUTPUTS];
	float *grad = malloc((size_t) batch * CLASSES * sizeof(float));
	double *rate_of = malloc(g->nparams * sizeof(double));
	double *decay_of = malloc(g->nparams * sizeof(double));
	const float *const grads[NN_MAX_OUTPUTS] = {grad};
	double start = 0;
	int steps = -2; /* to warm up */

	if (learner == NULL)
		die(err.text);
	if (grad == NULL || rate_of == NULL || decay_of == NULL)
		die("out of memory");
	optim_multipliers(g, 1, rate_of, decay_of);
	update.rate_of = rate_of;
	update.decay_of = decay_of;
	while (steps < 1 || now() - start < seconds)
	{
		if (steps++ == 0)
			start = now();
		if (!learner_cpu.forward(learner, &step, true, out, &err))
			die(err.text);
		cross_entropy(out[0], batch, grad);
		update.step++;
		if (!learner_cpu.backward(learner, grads, false, &err) ||
			!learner_cpu.update(learner, &update, NULL, &err))
			die(err.text);
	}
	seconds = now() - start;
	*memory = learner_cpu.memory(learner);
	learner_cpu.close(learner);
	free(grad);
	free(rate_of);
	free(decay_of);
	return (double) steps * batch / seconds;
}

static double
inference(const NnGraph *g, const uint8_t *images, int batch, int threads, double seconds)
{
	NnError err;
	NnGraph *folded = nn_graph_fold_batchnorm(g, &err);
	NnNet *net = folded ? nn_cpu_device.load(folded, batch, threads, &err) : NULL;
	float *out = malloc((size_t) batch * CLASSES * sizeof(float));
	double start = 0;
	int runs = -2;

	if (net == NULL || out == NULL)
		die(err.text);
	while (runs < 1 || now() - start < seconds)
	{
		if (runs++ == 0)
			start = now();
		if (!nn_cpu_device.run(net, images, batch, out, &err))
			die(err.text);
	}
	seconds = now() - start;
	nn_cpu_device.unload(net);
	nn_graph_free(folded);
	free(out);
	return (double) runs * batch / seconds;
}

int
main(int argc, char **argv)
{
	ArchOptions options = {0};
	TrainError err;
	const Arch *arch;
	NnGraph *g;
	NnPool *pool;
	uint8_t *images;
	int side, batch, threads;
	size_t memory;
	double trained, inferred;

	if (argc == 2 && strcmp(argv[1], "about") == 0)
	{
		char text[256];

		nn_cpu_device.probe(text, sizeof(text));
		puts(text);
		return 0;
	}
	if (argc != 6)
		die("wants ARCHITECTURE SIDE BATCH THREADS SECONDS, or about");
	side = atoi(argv[2]);
	batch = atoi(argv[3]);
	threads = atoi(argv[4]);
	arch = arch_from_label(argv[1], &options, &err);
	if (arch == NULL)
		die(err.text);
	options.height = options.width = side;
	options.head = ARCH_CLASSES;
	for (int c = 0; c < 3; c++)
	{
		options.mean[c] = 0.5f;
		options.std[c] = 0.25f;
	}
	options.outputs = CLASSES;
	g = arch_build(arch, &options, &err);
	if (g == NULL)
		die(err.text);
	images = malloc((size_t) batch * side * side * 3);
	pool = nn_pool_new(threads);
	if (images == NULL || pool == NULL)
		die("out of memory");
	for (size_t i = 0; i < (size_t) batch * side * side * 3; i++)
		images[i] = (uint8_t) (i * 2654435761u >> 24);
	trained = training(g, images, batch, pool, atof(argv[5]), &memory);
	inferred = inference(g, images, batch, threads, atof(argv[5]));
	printf("%.1f %.1f %.0f %.1f\n", trained, inferred, (double) memory / 1e6,
		   tape_graph_macs(g) / 1e6);
	nn_pool_free(pool);
	nn_graph_free(g);
	free(images);
	return 0;
}
