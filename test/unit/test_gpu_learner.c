/*
 * test_gpu_learner.c
 *	  The CUDA learner and device compiled for the host (gpu/machine.h), against the
 *	  CPU's: outputs, gradients, updates, averages, inference.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gpu/parity/parity_draw.h"
#include "gpu/parity/parity_infer.h"
#include "gpu/parity/parity_networks.h"
#include "gpu/parity/parity_train.h"

extern const NnLearnerDevice *deephash_learner(void);
extern const NnDevice *deephash_device(void);

static void
train_all(NnPrecision precision, NnUpdateKind kind, bool recompute)
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
		ParityTrain found;
		char text[700];

		if (!parity_train(deephash_learner(), g, &o, &parity_thorough, 1, &found, text,
						  sizeof(text)))
			fail_msg("%s: %s", name, text);
		print_message("%-28s %s\n", name, text);
	}
}

static void
test_float32(void **unused)
{
	(void) unused;
	train_all(NN_FLOAT32, NN_SGD, false);
	train_all(NN_FLOAT32, NN_ADAMW, true);
}

/* Without any of the parts that may be missing. */
static void
test_without(void **unused)
{
	(void) unused;
	setenv("DEEPHASH_GPU_WITHOUT", "cublaslt,cudnn,graphs", 1);
	train_all(NN_FLOAT32, NN_SGD, true);
	unsetenv("DEEPHASH_GPU_WITHOUT");
}

/* Gradients of one step, one after another. */
static float *
gradients_of(NnGraph *g, const NnLearnerOptions *o, size_t *size, size_t *bytes)
{
	const NnLearnerDevice *device = deephash_learner();
	size_t picture = nn_shape_size(&g->node[0].shape), total = 0;
	uint8_t *images = malloc(5 * picture);
	NnBatch batch = {images, 5, 0, 99, 0.1f};
	const float *out[NN_MAX_OUTPUTS];
	NnError err = {""};
	NnLearner *l = device->open(g, o, &err);
	float *all;

	for (size_t i = 0; i < 5 * picture; i++)
		images[i] = (uint8_t) (i * 2654435761u >> 24);
	for (int p = 0; p < g->nparams; p++)
		total += nn_shape_size(&g->param[p].shape);
	all = calloc(total + 1, sizeof(float));
	*size = total;
	/* a pass that does not train before leaves no trace but in statistics, of which
	 * a training pass reads none */
	if (!l || !device->forward(l, &batch, false, out, &err) ||
		!device->forward(l, &batch, true, out, &err) ||
		!device->backward(l, out, false, &err))
		fail_msg("%s", err.text);
	*bytes = device->memory(l);
	total = 0;
	for (int p = 0; p < g->nparams; p++)
	{
		if (device->has(l, p, NN_GRADIENT))
			assert_true(device->read(l, p, NN_GRADIENT, all + total, &err));
		total += nn_shape_size(&g->param[p].shape);
	}
	device->close(l);
	free(images);
	return all;
}

/* The same operations on the same numbers: the same bits, in less memory. */
static void
test_recompute(void **unused)
{
	const char *name;
	NnGraph *g;

	(void) unused;
	for (int i = 0; (g = parity_network(i, &name)) != NULL; i++)
		for (int p = NN_FLOAT32; p <= NN_BF16; p += NN_BF16)
		{
			NnLearnerOptions o = {.max_batch = 5, .precision = (NnPrecision) p};
			size_t size, bytes, less;
			float *whole, *again;

			if (p == NN_FLOAT32)
				parity_fill(g);
			whole = gradients_of(g, &o, &size, &bytes);
			o.recompute = true;
			again = gradients_of(g, &o, &size, &less);
			assert_memory_equal(whole, again, size * sizeof(float));
			assert_true(less <= bytes);
			if (p == NN_BF16)
				print_message("%-28s %zu bytes, recomputed %zu\n", name, bytes, less);
			free(whole);
			free(again);
			if (p == NN_BF16)
				nn_graph_free(g);
		}
}

/* What is not finite is named, and neither padding nor moments are. */
static void
test_not_finite(void **unused)
{
	const NnLearnerDevice *device = deephash_learner();
	const char *name;
	NnGraph *g = parity_network(0, &name);
	NnLearnerOptions o = {.max_batch = 2};
	uint8_t images[2 * 16 * 16 * 3] = {7};
	NnBatch batch = {images, 2, 0, 1, 0.1f};
	const float *out[NN_MAX_OUTPUTS];
	float grad[2 * 6] = {1, -1, 2};
	const float *grads[NN_MAX_OUTPUTS] = {grad};
	NnError err = {""};
	NnLearner *l = device->open(g, &o, &err);
	char bad[NN_MAX_NAME] = "";

	(void) unused;
	assert_non_null(l);
	assert_true(device->forward(l, &batch, true, out, &err));
	assert_true(device->backward(l, grads, false, &err));
	assert_int_equal(device->not_finite(l, bad, sizeof(bad), &err), 0);
	/* what a backward pass read is gone */
	assert_false(device->backward(l, grads, false, &err));
	assert_true(device->forward(l, &batch, true, out, &err));
	grad[1] = INFINITY;
	assert_true(device->backward(l, grads, false, &err));
	assert_int_equal(device->not_finite(l, bad, sizeof(bad), &err), 1);
	assert_true(strlen(bad) > 0);
	grad[1] = -1;
	assert_true(device->forward(l, &batch, true, out, &err));
	for (int p = 0; p < g->nparams; p++)
		if (strcmp(g->param[p].name, "point.bias") == 0)
		{
			float values[8] = {1, 2, NAN};

			assert_true(device->write(l, p, NN_VALUE, values, &err));
		}
	assert_true(device->backward(l, grads, false, &err));
	assert_int_equal(device->not_finite(l, bad, sizeof(bad), &err), 1);
	assert_string_equal(bad, "point.bias");
	device->close(l);
	nn_graph_free(g);
}

static void
test_bf16(void **unused)
{
	(void) unused;
	train_all(NN_BF16, NN_SGD, false);
	train_all(NN_BF16, NN_ADAMW, true);
}

static void
test_inference(void **unused)
{
	const char *name;
	NnGraph *g;

	(void) unused;
	parity_begin(1, 1);
	for (int i = 0; (g = parity_network(i, &name)) != NULL; i++)
	{
		NnError err = {""};
		NnGraph *folded = nn_graph_fold_batchnorm(g, &err);
		char text[700];
		double ratio;

		nn_graph_free(g);
		assert_non_null(folded);
		if (!parity_infer(deephash_device(), folded, PARITY_DRAWS, &ratio, text,
						  sizeof(text)) ||
			ratio > 1)
			fail_msg("%s: %s", name, text);
		print_message("%-28s %s\n", name, text);
	}
}

/* A batch that is too large is refused. */
static void
test_large_batch(void **unused)
{
	const char *name;
	NnGraph *g = parity_network(0, &name);
	NnError err = {""};
	NnGraph *folded = nn_graph_fold_batchnorm(g, &err);
	NnNet *net = deephash_device()->load(folded, 5, 1, &err);
	uint8_t images[6 * 16 * 16 * 3] = {0};
	float out[6 * 6];

	(void) unused;
	assert_non_null(net);
	assert_false(deephash_device()->run(net, images, 6, out, &err));
	deephash_device()->unload(net);
	nn_graph_free(folded);
	nn_graph_free(g);
}

/* A layer with its activation inside is for inference. */
static void
test_refusals(void **unused)
{
	NnError err = {""};
	NnLearnerOptions o = {.max_batch = 2};
	int x;
	NnGraph *g = parity_start(8, 8, 0, &x);

	(void) unused;
	nn_conv2d(g, x, "fused", 4, 3, 3, 1, 1, 1, true, NN_RELU);
	assert_null(deephash_learner()->open(g, &o, &err));
	assert_non_null(strstr(err.text, "\"fused\""));
	nn_graph_free(g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_float32),		cmocka_unit_test(test_without),
		cmocka_unit_test(test_recompute),	cmocka_unit_test(test_not_finite),
		cmocka_unit_test(test_bf16),		cmocka_unit_test(test_inference),
		cmocka_unit_test(test_large_batch), cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
