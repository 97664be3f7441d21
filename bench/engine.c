/*
 * engine.c
 *	  Pictures a second of one network, in training and in inference, on the CPU.
 *
 *	engine ARCHITECTURE SIDE BATCH THREADS SECONDS
 *
 * ARCHITECTURE as the recipes name it, with its parameters ("resnet18 stem=cifar").  A
 * training step is forward, cross entropy over 10 classes, backward and SGD with
 * Nesterov momentum; inference is the folded network on the CPU device.  After a warm-up
 * each runs for so many seconds.  Prints one line: training and inference in pictures a
 * second, memory of the step in MB, multiply-adds of one picture in millions.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "nn/device.h"
#include "training/arch/arch.h"
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

static const float *
gradient_of(const void *tape, int param)
{
	return tape_gradient(tape, param);
}

static double
training(NnGraph *g, const uint8_t *images, int batch, NnPool *pool, double seconds,
		 size_t *memory)
{
	OptimOptions options = {.kind = OPTIM_SGD, .momentum = 0.9, .decay = 5e-4};
	TrainError err;
	Tape *tape = tape_new(g, batch, pool, true, &err);
	Optim *optim = tape ? optim_new(g, &options, 1, &err) : NULL;
	float *grad = malloc((size_t) batch * CLASSES * sizeof(float));
	double start = 0;
	int steps = -2; /* to warm up */

	if (optim == NULL || grad == NULL)
		die(err.text);
	while (steps < 1 || now() - start < seconds)
	{
		if (steps++ == 0)
			start = now();
		cross_entropy(tape_forward(tape, images, batch, true, 0.1f), batch, grad);
		tape_backward(tape, grad);
		optim_step(optim, 1e-4, gradient_of, tape);
	}
	seconds = now() - start;
	*memory = tape_memory(tape);
	optim_free(optim);
	tape_free(tape);
	free(grad);
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
	ArchOptions options;
	TrainError err;
	const Arch *arch;
	NnGraph *g;
	NnPool *pool;
	uint8_t *images;
	int side, batch, threads;
	size_t memory;
	double trained, inferred;

	if (argc != 6)
		die("wants ARCHITECTURE SIDE BATCH THREADS SECONDS");
	side = atoi(argv[2]);
	batch = atoi(argv[3]);
	threads = atoi(argv[4]);
	arch = arch_from_label(argv[1], &options, &err);
	if (arch == NULL)
		die(err.text);
	options.height = options.width = side;
	options.head = ARCH_CLASSES;
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
