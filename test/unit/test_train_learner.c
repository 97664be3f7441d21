/*
 * test_train_learner.c
 *	  The CPU's learner: batches in parts, recomputation, memory, parts of parameters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/graph.h"
#include "nn/pool.h"
#include "training/data/dataset.h"
#include "training/learner/learner.h"
#include "training/optim/optim.h"

#define N 21
#define SIDE 16
#define BITS 6

static uint8_t images[N * SIDE * SIDE * 3];
static float weight[N * BITS]; /* gradient of the output */

static void
fill(NnGraph *g, uint64_t seed)
{
	Rng rng;

	rng_seed(&rng, seed, 1);
	for (size_t i = 0; i < sizeof(images); i++)
		images[i] = (uint8_t) (256 * rng_uniform(&rng));
	for (int i = 0; i < N * BITS; i++)
		weight[i] = (float) (rng_uniform(&rng) - 0.5);
	for (int p = 0; p < g->nparams; p++)
		for (size_t i = 0; g->param[p].trainable && i < nn_shape_size(&g->param[p].shape);
			 i++)
			g->param[p].data[i] = (float) (rng_uniform(&rng) - 0.5) * 0.5f +
								  (g->param[p].shape.ndim == 1 ? 1 : 0);
}

/* A small transformer: nothing in it looks at more than one picture. */
static NnGraph *
tokens_net(void)
{
	static const float mean[3] = {0.5f, 0.5f, 0.5f};
	static const float std[3] = {0.25f, 0.25f, 0.25f};
	const NnShape row = {2, {16, 12}};
	NnGraph *g = nn_graph_new();
	NnError err;
	int x, y;

	x = nn_input(g, SIDE, SIDE, mean, std);
	x = nn_conv2d(g, x, "patch", 12, 4, 4, 4, 0, 1, true, NN_IDENTITY);
	x = nn_reshape(g, x, &row);
	x = nn_class_token(g, x, "cls");
	x = nn_position(g, x, "pos");
	x = nn_dropout(g, x, 0.3f);
	y = nn_layernorm(g, x, "ln", 1e-5f);
	y = nn_linear(g, y, "qkv", 36, true, NN_IDENTITY);
	y = nn_attention(g, y, 3);
	y = nn_linear(g, y, "proj", 12, true, NN_IDENTITY);
	y = nn_drop_path(g, y, 0.2f);
	x = nn_add(g, x, y);
	x = nn_activation(g, x, NN_GELU);
	x = nn_token(g, x, 0);
	nn_linear(g, x, "hash", BITS, false, NN_IDENTITY);
	if (!nn_graph_ok(g, &err))
		fail_msg("%s", err.text);
	fill(g, 3);
	return g;
}

/* Convolutions, batch norms with a branch around them, pooling, a frozen first layer. */
static NnGraph *
residual_net(void)
{
	static const float mean[3] = {0.5f, 0.5f, 0.5f};
	static const float std[3] = {0.25f, 0.25f, 0.25f};
	NnGraph *g = nn_graph_new();
	NnError err;
	int x, y;

	x = nn_input(g, SIDE, SIDE, mean, std);
	x = nn_conv2d(g, x, "stem", 8, 3, 3, 1, 1, 1, false, NN_IDENTITY);
	x = nn_maxpool(g, x, 2, 2, 0);
	for (int i = 0; i < 3; i++)
	{
		char name[3][8];

		for (int k = 0; k < 3; k++)
			snprintf(name[k], sizeof(name[k]), "%c%d", "anb"[k], i);
		y = nn_batchnorm(g, x, name[1], 1e-5f);
		y = nn_activation(g, y, NN_SILU);
		y = nn_conv2d(g, y, name[0], 8, 3, 3, 1, 1, 1, false, NN_IDENTITY);
		y = nn_activation(g, y, NN_GELU);
		y = nn_dropout(g, y, 0.2f);
		y = nn_conv2d(g, y, name[2], 8, 3, 3, 1, 1, i + 1 == 3 ? 8 : 1, true,
					  NN_IDENTITY);
		x = nn_add(g, x, y);
	}
	x = nn_simam(g, x, 1e-4f);
	x = nn_global_avgpool(g, x);
	x = nn_linear(g, x, "hash", BITS, false, NN_IDENTITY);
	x = nn_softmax(g, x);
	nn_batchnorm(g, x, "hashnorm", 1e-3f);
	if (!nn_graph_ok(g, &err))
		fail_msg("%s", err.text);
	g->param[nn_graph_find_param(g, "stem.weight")].trainable = false;
	fill(g, 4);
	for (size_t i = 0; i < 8 * 27; i++)
		g->param[0].data[i] = (float) ((int) (i * 7 % 11) - 5) * 0.05f;
	return g;
}

static NnLearner *
open_for(NnGraph *g, int max_batch, bool recompute, NnPool *pool)
{
	NnLearnerOptions options = {.max_batch = max_batch,
								.deterministic = true,
								.recompute = recompute,
								.update = NN_ADAMW,
								.average = true,
								.pool = pool};
	NnError err;
	NnLearner *l = learner_cpu.open(g, &options, &err);

	if (!l)
		fail_msg("%s", err.text);
	return l;
}

/* Pictures first .. first+n-1 forward and back. */
static void
pass(NnLearner *l, int first, int n, float *out)
{
	NnBatch batch = {.images = images + (size_t) first * SIDE * SIDE * 3,
					 .n = n,
					 .first = first,
					 .seed = 99,
					 .momentum = 0.1f};
	const float *at[NN_MAX_OUTPUTS];
	const float *grad[NN_MAX_OUTPUTS] = {weight + first * BITS};
	NnError err;

	assert_true(learner_cpu.forward(l, &batch, true, at, &err));
	memcpy(out + first * BITS, at[0], n * BITS * sizeof(float));
	assert_true(learner_cpu.backward(l, grad, first > 0, &err));
}

/* All gradients of trainable parameters, one after another; their number. */
static size_t
gradients(NnLearner *l, const NnGraph *g, float *to)
{
	NnError err;
	size_t n = 0;

	for (int p = 0; p < g->nparams; p++)
		if (learner_cpu.has(l, p, NN_GRADIENT))
		{
			assert_true(learner_cpu.read(l, p, NN_GRADIENT, to + n, &err));
			n += nn_shape_size(&g->param[p].shape);
		}
	return n;
}

/*
 * A batch in parts of any size gives the gradients of the whole, but for the order of
 * sums: dropout draws by the picture's number in the whole batch.
 */
static void
test_parts(void **state)
{
	static float whole[1 << 14], parts[1 << 14];
	float out[2][N * BITS];
	NnPool *pool = nn_pool_new(2);
	NnGraph *g = tokens_net();
	NnLearner *l = open_for(g, N, false, pool);
	double largest = 0;
	size_t n;

	(void) state;
	pass(l, 0, N, out[0]);
	n = gradients(l, g, whole);
	assert_true(n > 1000 && n <= 1 << 14);
	learner_cpu.close(l);
	l = open_for(g, 9, false, pool);
	pass(l, 0, 9, out[1]);
	pass(l, 9, 5, out[1]);
	pass(l, 14, 7, out[1]);
	assert_int_equal(gradients(l, g, parts), n);
	for (int i = 0; i < N * BITS; i++)
		assert_true(fabsf(out[0][i] - out[1][i]) <= 1e-5f);
	for (size_t i = 0; i < n; i++)
		largest = fmax(largest, fabs(whole[i]));
	for (size_t i = 0; i < n; i++)
		if (!(fabs(whole[i] - parts[i]) <= 2e-6 * largest))
			fail_msg("gradient %zu: %g of the whole, %g of the parts", i, whole[i],
					 parts[i]);
	/* what is not added up is that of the last part alone */
	pass(l, 0, 9, out[1]);
	assert_int_equal(gradients(l, g, parts), n);
	assert_true(memcmp(whole, parts, n * sizeof(float)) != 0);
	learner_cpu.close(l);
	nn_graph_free(g);
	nn_pool_free(pool);
}

/* Computing again what was not kept: the same bits, in less memory. */
static void
test_recompute(void **state)
{
	static float keep[1 << 14], again[1 << 14];
	NnPool *pool = nn_pool_new(2);

	(void) state;
	for (int net = 0; net < 2; net++)
		for (int threads = 0; threads < 2; threads++)
		{
			NnGraph *g = net ? residual_net() : tokens_net();
			NnGraph *h = net ? residual_net() : tokens_net();
			NnLearner *a = open_for(g, N, false, threads ? pool : NULL);
			NnLearner *b = open_for(h, N, true, threads ? pool : NULL);
			float out[2][N * BITS];
			size_t n;

			for (int step = 0; step < 2; step++)
			{
				pass(a, 0, N, out[0]);
				pass(b, 0, N, out[1]);
			}
			assert_memory_equal(out[0], out[1], sizeof(out[0]));
			n = gradients(a, g, keep);
			assert_true(n <= 1 << 14);
			assert_int_equal(gradients(b, h, again), n);
			assert_memory_equal(keep, again, n * sizeof(float));
			for (int p = 0; p < g->nparams; p++) /* running statistics */
				assert_memory_equal(g->param[p].data, h->param[p].data,
									nn_shape_size(&g->param[p].shape) * sizeof(float));
			learner_cpu.close(a);
			learner_cpu.close(b);
			/* with many pictures what is kept for each of them counts */
			a = open_for(g, 2048, false, NULL);
			b = open_for(h, 2048, true, NULL);
			if (!(learner_cpu.memory(b) < 0.7 * (double) learner_cpu.memory(a)))
				fail_msg("network %d: %zu bytes, recomputing %zu", net,
						 learner_cpu.memory(a), learner_cpu.memory(b));
			learner_cpu.close(a);
			learner_cpu.close(b);
			nn_graph_free(g);
			nn_graph_free(h);
		}
	nn_pool_free(pool);
}

/*
 * A run taken out of one learner and put into another goes on there, bit for bit:
 * value, moments and average are all there is.
 */
static void
test_state(void **state)
{
	static float host[1 << 14];
	static const NnPart parts[] = {NN_VALUE, NN_MOMENT1, NN_MOMENT2, NN_AVERAGE};
	NnGraph *g = residual_net();
	NnGraph *h = residual_net();
	NnLearner *a = open_for(g, N, false, NULL);
	NnLearner *b = NULL;
	double rate_of[64], decay_of[64];
	NnUpdate u = {.rate = 0.01,
				  .beta1 = 0.9,
				  .beta2 = 0.999,
				  .eps = 1e-8,
				  .decay = 0.1,
				  .clip = 0.5,
				  .rate_of = rate_of,
				  .decay_of = decay_of};
	float out[N * BITS];
	NnError err;
	double norm;

	(void) state;
	assert_true(g->nparams <= 64);
	optim_multipliers(g, 2, rate_of, decay_of);
	for (u.step = 1; u.step <= 6; u.step++)
	{
		pass(a, 0, N, out);
		assert_true(learner_cpu.update(a, &u, &norm, &err));
		assert_true(norm > 0);
		assert_true(learner_cpu.average(a, 0.25, false, &err));
		if (u.step == 3)
		{
			b = open_for(h, N, true, NULL);
			for (int p = 0; p < g->nparams; p++)
				for (int k = 0; k < 4; k++)
				{
					assert_true(learner_cpu.has(a, p, parts[k]) ==
								learner_cpu.has(b, p, parts[k]));
					if (!learner_cpu.has(a, p, parts[k]))
						continue;
					assert_true(learner_cpu.read(a, p, parts[k], host, &err));
					assert_true(learner_cpu.write(b, p, parts[k], host, &err));
				}
		}
		else if (u.step > 3)
		{
			pass(b, 0, N, out);
			assert_true(learner_cpu.update(b, &u, NULL, &err));
			assert_true(learner_cpu.average(b, 0.25, false, &err));
		}
	}
	for (int p = 0; p < g->nparams; p++)
		for (int k = 0; k < 4; k++)
			if (learner_cpu.has(a, p, parts[k]))
			{
				size_t n = nn_shape_size(&g->param[p].shape);
				static float other[1 << 14];

				assert_true(learner_cpu.read(a, p, parts[k], host, &err));
				assert_true(learner_cpu.read(b, p, parts[k], other, &err));
				assert_memory_equal(host, other, n * sizeof(float));
			}
	learner_cpu.close(a);
	learner_cpu.close(b);
	nn_graph_free(g);
	nn_graph_free(h);
}

static void
test_refusals(void **state)
{
	NnGraph *g = tokens_net();
	NnLearnerOptions options = {.max_batch = N, .precision = NN_BF16};
	int bits = nn_graph_find_param(g, "hash.weight");
	float host[BITS * 12];
	float out[N * BITS];
	char name[64] = "";
	NnLearner *l;
	NnError err;
	TrainError why;

	(void) state;
	assert_null(learner_cpu.open(g, &options, &err));
	assert_non_null(strstr(err.text, "float32"));
	options.precision = NN_FLOAT32;
	l = learner_cpu.open(g, &options, &err);
	assert_non_null(l);
	assert_false(learner_cpu.has(l, bits, NN_AVERAGE));
	assert_false(learner_cpu.has(l, bits, NN_MOMENT2));
	assert_false(learner_cpu.average(l, 0.5, false, &err));
	assert_false(learner_cpu.read(l, bits, NN_AVERAGE, host, &err));
	assert_non_null(strstr(err.text, "hash.weight"));
	assert_false(learner_cpu.write(l, bits, NN_GRADIENT, host, &err));
	pass(l, 0, N, out);
	assert_int_equal(learner_cpu.not_finite(l, name, sizeof(name), &err), 0);
	assert_true(learner_cpu.read(l, bits, NN_VALUE, host, &err));
	host[3] = NAN;
	assert_true(learner_cpu.write(l, bits, NN_VALUE, host, &err));
	pass(l, 0, N, out);
	assert_int_equal(learner_cpu.not_finite(l, name, sizeof(name), &err), 1);
	assert_string_equal(name, "hash");
	learner_cpu.close(l);
	learner_cpu.close(NULL);
	nn_graph_free(g);
	assert_ptr_equal(learner_device(LEARNER_CPU, &why), &learner_cpu);
	assert_non_null(learner_device(LEARNER_AUTO, &why));
}

/* Which parameters are decayed, and how fast they learn. */
static void
test_multipliers(void **state)
{
	static const struct
	{
		const char *name;
		double rate, decay;
	} want[] = {
		{"patch.weight", 1, 1}, {"patch.bias", 1, 0},  {"cls", 1, 0},
		{"pos", 1, 0},			{"ln.weight", 1, 0},   {"ln.bias", 1, 0},
		{"qkv.weight", 1, 1},	{"hash.weight", 1, 1},
	};
	double rate_of[64], decay_of[64];
	NnGraph *g = tokens_net();
	NnGraph *h = residual_net();

	(void) state;
	optim_multipliers(g, 8, rate_of, decay_of);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
	{
		int p = nn_graph_find_param(g, want[i].name);

		assert_true(p >= 0);
		if (rate_of[p] != want[i].rate || decay_of[p] != want[i].decay)
			fail_msg("%s: rate %g, decay %g", want[i].name, rate_of[p], decay_of[p]);
	}
	assert_true(h->nparams <= 64);
	optim_multipliers(h, 8, rate_of, decay_of);
	assert_true(rate_of[nn_graph_find_param(h, "n1.bias")] == 8);
	assert_true(rate_of[nn_graph_find_param(h, "n1.weight")] == 1);
	assert_true(decay_of[nn_graph_find_param(h, "n1.bias")] == 0);
	nn_graph_free(g);
	nn_graph_free(h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts),		cmocka_unit_test(test_recompute),
		cmocka_unit_test(test_state),		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_multipliers),
	};

	return cmocka_run_group_tests_name("train learner", tests, NULL, NULL);
}
