/*
 * test_nn_tolerance.c
 *	  How far devices' logits may be apart: what it grows with, what it counts.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nn/graph.h"
#include "nn/tolerance.h"

static const float mean[3] = {0, 0, 0}, std[3] = {1, 1, 1};

/* Linear layers one after another on 2 x 2 pictures. */
static NnGraph *
layers(int n, bool bias)
{
	NnGraph *g = nn_graph_new();
	int x =
		nn_reshape(g, nn_input(g, 2, 2, mean, std), &(NnShape){.ndim = 1, .dim = {12}});
	NnError err;

	for (int i = 0; i < n; i++)
		x = nn_linear(g, x,
					  i == n - 1 ? "hash"
					  : i == 0	 ? "a"
								 : "b",
					  12, bias, NN_IDENTITY);
	assert_true(nn_graph_ok(g, &err));
	return g;
}

static void
test_factor(void **state)
{
	NnGraph *one = layers(1, false), *three = layers(3, false);
	float factor[NN_FP16 + 1];

	(void) state;
	for (int p = NN_FLOAT32; p <= NN_FP16; p++)
	{
		factor[p] = nn_tolerance(one, (NnPrecision) p).factor;
		assert_true(nn_tolerance(three, (NnPrecision) p).factor > factor[p]);
		assert_float_equal(nn_tolerance(one, (NnPrecision) p).offset, 0, 0);
	}
	/* 24 deviations; the picture, and the layer's weights and values: three roundings. */
	assert_float_equal(factor[NN_BF16], 24 * sqrt(3.0 / 3) * 0x1p-8, 1e-5);
	assert_float_equal(factor[NN_FP16], 24 * sqrt(3.0 / 3) * 0x1p-11, 1e-6);
	assert_float_equal(factor[NN_TF32], factor[NN_FP16], 0);
	/* The picture 1 + 2, the reshape 1 + 2, the layer 12 + 2; and three roundings. */
	assert_float_equal(factor[NN_FLOAT32], 24 * sqrt((3 + 3 + 14 + 3) / 3.0) * 0x1p-24,
					   1e-8);
	nn_graph_free(one);
	nn_graph_free(three);
}

/* A bias may cancel what was rounded, so that it counts. */
static void
test_bias(void **state)
{
	NnGraph *g = layers(1, true);
	NnTolerance t;
	float logits[12] = {0};

	(void) state;
	for (int i = 0; i < 12; i++)
		g->param[1].data[i] = i % 2 ? 3.0f : -4.0f;
	t = nn_tolerance(g, NN_FP16);
	assert_float_equal(t.offset, 12.5, 1e-6);
	assert_float_equal(nn_tolerance_of(&t, logits, 12), t.factor * sqrt(12.5), 1e-6);
	nn_graph_free(g);
}

static void
test_doubts(void **state)
{
	NnTolerance t = {.factor = 0.25f, .offset = 0};
	/* Their root mean square is 4, so that the tolerance is 1. */
	float logits[4] = {0.5f, -1.0f, 1.5f, -7.7781746f};
	float thresholds[4] = {2.0f, -1.5f, 2.5f, 0};

	(void) state;
	assert_float_equal(nn_tolerance_of(&t, logits, 4), 1, 1e-6);
	t.factor *= 1.00001f;
	assert_int_equal(nn_doubts(&t, logits, NULL, 4), 2);
	assert_int_equal(nn_doubts(&t, logits, thresholds, 4), 2);
	/* Nothing but zeros: any bit may fall either way. */
	memset(logits, 0, sizeof(logits));
	assert_int_equal(nn_doubts(&t, logits, NULL, 4), 4);
	assert_int_equal(nn_doubts(&t, logits, (float[4]){0, 1, -1, 0}, 4), 2);
	/* What is not a number is not in doubt. */
	logits[2] = NAN;
	assert_int_equal(nn_doubts(&t, logits, NULL, 4), 0);
}

/* Row numbers of an embedding stay in float32. */
static void
test_embedding(void **state)
{
	NnGraph *g = nn_graph_new(), *plain = layers(1, false);
	int x =
		nn_reshape(g, nn_input(g, 2, 2, mean, std), &(NnShape){.ndim = 1, .dim = {12}});
	NnError err;

	(void) state;
	x = nn_embedding(g, x, "table", 10, 4);
	x = nn_reshape(g, x, &(NnShape){.ndim = 1, .dim = {48}});
	nn_linear(g, x, "hash", 8, false, NN_IDENTITY);
	assert_true(nn_graph_ok(g, &err));
	for (int p = NN_FLOAT32; p <= NN_FP16; p++)
	{
		assert_int_equal(nn_precision_for(plain, (NnPrecision) p), p);
		assert_int_equal(nn_precision_for(g, (NnPrecision) p),
						 p == NN_TF32 ? NN_TF32 : NN_FLOAT32);
	}
	assert_float_equal(nn_tolerance(g, NN_BF16).factor,
					   nn_tolerance(g, NN_FLOAT32).factor, 0);
	nn_graph_free(g);
	nn_graph_free(plain);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_factor),
		cmocka_unit_test(test_bias),
		cmocka_unit_test(test_doubts),
		cmocka_unit_test(test_embedding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
