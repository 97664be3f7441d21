/*
 * test_gpu_learner.c
 *	  The CUDA learner and device compiled for the host (gpu/machine.h), against the
 *	  CPU's: outputs, gradients, updates, averages, inference.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gpu/parity/parity_train.c"
#include "nn/device.h"

extern const NnLearnerDevice *deephash_learner(void);
extern const NnDevice *deephash_device(void);

static void
train_all(NnPrecision precision, NnUpdateKind kind, bool recompute, double tolerance)
{
	const char *name;
	NnGraph *g;

	for (int i = 0; (g = parity_network(i, &name)) != NULL; i++)
	{
		NnLearnerOptions o = {.max_batch = 5,
							  .precision = precision,
							  .update = kind,
							  .recompute = recompute,
							  .average = true};
		char text[700];

		if (!parity_train(deephash_learner(), g, &o, tolerance, text, sizeof(text)))
			fail_msg("%s: %s", name, text);
		print_message("%-28s %s\n", name, text);
	}
}

static void
test_float32(void **unused)
{
	(void) unused;
	train_all(NN_FLOAT32, NN_SGD, false, 1e-4);
	train_all(NN_FLOAT32, NN_ADAMW, true, 1e-4);
}

/* 8 bits of fraction: coarse, but an operation that is wrong is off by far more. */
static void
test_bf16(void **unused)
{
	(void) unused;
	train_all(NN_BF16, NN_SGD, false, 0.15);
}

static void
test_inference(void **unused)
{
	const char *name;
	NnGraph *g;

	(void) unused;
	for (int i = 0; (g = parity_network(i, &name)) != NULL; i++)
	{
		NnError err = {""};
		NnGraph *folded;
		NnNet *net[2];
		uint8_t images[5 * 16 * 16 * 3];
		float *out[2];
		size_t size;
		Worst worst = {-1, ""};

		fill(g);
		for (size_t k = 0; k < sizeof(images); k++)
			images[k] = (uint8_t) (128 + 127 * draw());
		folded = nn_graph_fold_batchnorm(g, &err);
		assert_non_null(folded);
		size = nn_shape_size(&nn_graph_output(folded)->shape);
		net[0] = nn_cpu_device.load(folded, 5, 1, &err);
		net[1] = deephash_device()->load(folded, 5, 1, &err);
		if (!net[0] || !net[1])
			fail_msg("%s: %s", name, err.text);
		for (int d = 0; d < 2; d++)
			out[d] = malloc(5 * size * sizeof(float));
		for (int n = 1; n <= 5; n += 2)
		{
			assert_true(nn_cpu_device.run(net[0], images, n, out[0], &err));
			assert_true(deephash_device()->run(net[1], images, n, out[1], &err));
			look(&worst, "output", "", out[0], out[1], (size_t) n * size, 0);
		}
		if (!(worst.far <= 2e-5))
			fail_msg("%s is off by %g", name, worst.far);
		assert_false(deephash_device()->run(net[1], images, 6, out[1], &err));
		nn_cpu_device.unload(net[0]);
		deephash_device()->unload(net[1]);
		free(out[0]);
		free(out[1]);
		nn_graph_free(folded);
		nn_graph_free(g);
	}
}

/* A layer with its activation inside is for inference. */
static void
test_refusals(void **unused)
{
	NnError err = {""};
	NnGraph *g = nn_graph_new();
	NnLearnerOptions o = {.max_batch = 2};

	(void) unused;
	nn_conv2d(g, nn_input(g, 8, 8, mean, deviation), "fused", 4, 3, 3, 1, 1, 1, true,
			  NN_RELU);
	assert_null(deephash_learner()->open(g, &o, &err));
	assert_non_null(strstr(err.text, "\"fused\""));
	nn_graph_free(g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_float32),
		cmocka_unit_test(test_bf16),
		cmocka_unit_test(test_inference),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
