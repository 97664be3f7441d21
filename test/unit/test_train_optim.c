/*
 * test_train_optim.c
 *	  Optimisers against worked numbers, the schedule, averages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "training/optim/optim.h"

/* Two steps on three parameters, worked out in double; state is float here, so the
 * tolerance is that of float. */
static const float p0[3] = {0.5f, -1.0f, 2.0f};
static const float grad1[3] = {0.1f, -0.3f, 0.02f};
static const float grad2[3] = {-0.2f, 0.1f, 0.05f};

static void
near(const float *p, const double *want)
{
	for (int i = 0; i < 3; i++)
		if (fabs(p[i] - want[i]) > 3e-7 * fmax(1, fabs(want[i])))
			fail_msg("value %d: %.9g, expected %.12g", i, p[i], want[i]);
}

static void
test_sgd(void **state)
{
	static const double after1[3] = {0.4809525, -0.942905, 1.99601};
	static const double after2[3] = {0.5107865595125, -0.937474924025, 1.98461937905};
	float p[3];
	float m[3] = {0};

	(void) state;
	memcpy(p, p0, sizeof(p));
	optim_sgd(p, m, grad1, 3, 0.1, 0.9, 0.0005);
	near(p, after1);
	optim_sgd(p, m, grad2, 3, 0.1, 0.9, 0.0005);
	near(p, after2);
}

static void
test_adamw(void **state)
{
	static const double after1[3] = {0.48975000099999993, -0.9895000003333334,
									 1.9890000049999976};
	static const double after2[3] = {0.4931661610383489, -0.9850030647926415,
									 1.9786084331094465};
	NnUpdate o = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
	float p[3];
	float m[3] = {0};
	float v[3] = {0};

	(void) state;
	memcpy(p, p0, sizeof(p));
	optim_adamw(p, m, v, grad1, 3, 0.01, &o, 0.05, 1);
	near(p, after1);
	optim_adamw(p, m, v, grad2, 3, 0.01, &o, 0.05, 2);
	near(p, after2);
}

static NnGraph *
small_net(void)
{
	static const float mean[3] = {0, 0, 0};
	static const float std[3] = {1, 1, 1};
	NnGraph *g = nn_graph_new();
	int x = nn_input(g, 4, 4, mean, std);

	x = nn_conv2d(g, x, "conv", 2, 3, 3, 1, 1, 1, true, NN_IDENTITY);
	nn_batchnorm(g, x, "norm", 1e-5f);
	return g;
}

static const float *
one(const void *arg, int param)
{
	(void) param;
	return arg;
}

/* Norms and biases are not decayed; batch-norm shifts learn faster; what is fixed
 * stays. */
static void
test_rates(void **state)
{
	double rate_of[16];
	double decay_of[16];
	NnUpdate o = {
		.rate = 0.25, .decay = 0.5, .rate_of = rate_of, .decay_of = decay_of, .step = 1};
	float gradient[64];
	TrainError err;
	NnGraph *g = small_net();
	NnParam *weight = &g->param[nn_graph_find_param(g, "conv.weight")];
	NnParam *bias = &g->param[nn_graph_find_param(g, "conv.bias")];
	NnParam *shift = &g->param[nn_graph_find_param(g, "norm.bias")];
	NnParam *scale = &g->param[nn_graph_find_param(g, "norm.weight")];
	NnParam *mean = &g->param[nn_graph_find_param(g, "norm.running_mean")];
	Optim *optim;

	(void) state;
	for (int i = 0; i < 64; i++)
		gradient[i] = 1;
	weight->data[0] = bias->data[0] = shift->data[0] = 2;
	scale->trainable = false;
	assert_true(g->nparams <= 16);
	optim_multipliers(g, 64, rate_of, decay_of);
	optim = optim_new(g, NN_SGD, &err);
	assert_non_null(optim);
	optim_step(optim, &o, one, gradient);
	assert_true(weight->data[0] == 2 - 0.25f * (1 + 0.5f * 2));
	assert_true(bias->data[0] == 2 - 0.25f);
	assert_true(shift->data[0] == 2 - 64 * 0.25f);
	assert_true(scale->data[0] == 1);
	assert_true(mean->data[0] == 0);
	optim_free(optim);
	nn_graph_free(g);
}

/* A gradient longer than the limit is shortened to it; a shorter one is left alone. */
static void
test_clip(void **state)
{
	double rate_of[16];
	double decay_of[16];
	NnUpdate o = {
		.rate = 1, .clip = 0.5, .rate_of = rate_of, .decay_of = decay_of, .step = 1};
	float gradient[64];
	TrainError err;
	NnGraph *g = small_net();
	NnParam *weight = &g->param[nn_graph_find_param(g, "conv.weight")];
	size_t n = 0;
	double norm;
	Optim *optim = optim_new(g, NN_SGD, &err);

	(void) state;
	assert_non_null(optim);
	assert_true(g->nparams <= 16);
	optim_multipliers(g, 1, rate_of, decay_of);
	for (int i = 0; i < 64; i++)
		gradient[i] = 0.25f;
	for (int i = 0; i < g->nparams; i++)
		n += g->param[i].trainable ? nn_shape_size(&g->param[i].shape) : 0;
	norm = 0.25 * sqrt((double) n);
	assert_true(norm > 0.5);
	weight->data[0] = 2;
	optim_step(optim, &o, one, gradient);
	assert_true(fabs(optim->norm - norm) < 1e-6);
	assert_true(fabs(weight->data[0] - (2 - 0.25 * 0.5 / norm)) < 1e-6);
	for (int i = 0; i < 64; i++)
		gradient[i] = 1e-3f;
	weight->data[0] = 2;
	optim_step(optim, &o, one, gradient);
	assert_true(weight->data[0] == 2 - 1e-3f);
	optim_free(optim);
	nn_graph_free(g);
}

static void
test_schedule(void **state)
{
	Schedule s = {0.2, 0.25, 0.07, SCHEDULE_LINEAR};

	(void) state;
	assert_true(schedule_rate(&s, 0, 1000) == 0.2);
	assert_true(fabs(schedule_rate(&s, 125, 1000) - 0.6) < 1e-12);
	assert_true(fabs(schedule_rate(&s, 250, 1000) - 1) < 1e-12);
	assert_true(fabs(schedule_rate(&s, 625, 1000) - 0.535) < 1e-12);
	assert_true(fabs(schedule_rate(&s, 1000, 1000) - 0.07) < 1e-12);
	s.kind = SCHEDULE_COSINE;
	assert_true(fabs(schedule_rate(&s, 125, 1000) - 0.6) < 1e-12);
	assert_true(fabs(schedule_rate(&s, 250, 1000) - 1) < 1e-12);
	assert_true(fabs(schedule_rate(&s, 500, 1000) - (0.07 + 0.93 * 0.75)) < 1e-12);
	assert_true(fabs(schedule_rate(&s, 1000, 1000) - 0.07) < 1e-12);
	s.kind = SCHEDULE_ONE_CYCLE;
	assert_true(fabs(schedule_rate(&s, 0, 1000) - 0.2) < 1e-12);
	assert_true(fabs(schedule_rate(&s, 125, 1000) - 0.6) < 1e-12);
	/* a third of the way up the cosine is at a quarter of its height */
	assert_true(fabs(schedule_rate(&s, 100, 1200) - (0.2 + 0.8 / 4)) < 1e-12);
	assert_true(fabs(schedule_rate(&s, 750, 1000) - (0.07 + 0.93 * 0.25)) < 1e-12);
	s.kind = SCHEDULE_LINEAR;
	s.warm = 0;
	assert_true(schedule_rate(&s, 0, 1000) == 1);
}

static void
test_averages(void **state)
{
	NnGraph *g = small_net();
	int param = nn_graph_find_param(g, "conv.bias");
	float *value = &g->param[param].data[0];
	TrainError err;
	Average a;
	bool back;

	(void) state;
	/* EMA: decay min(0.999, (1 + t) / (10 + t)), or one of one's own in the end */
	assert_true(average_weight(AVERAGE_NONE, 0.5, 5, 10, &back) == 0);
	assert_true(fabs(average_weight(AVERAGE_EMA, 0, 1, 100, &back) - 9.0 / 11) < 1e-12);
	assert_true(fabs(average_weight(AVERAGE_EMA, 0, 100000, 200000, &back) - 0.001) <
				1e-12);
	assert_true(average_weight(AVERAGE_EMA, 0.5, 1000, 2000, &back) == 0.5);
	assert_false(back);
	/* Lookahead: nothing but at every fifth step, then the network follows. */
	assert_true(average_weight(AVERAGE_LOOKAHEAD, 0, 4, 10, &back) == 0);
	assert_true(fabs(average_weight(AVERAGE_LOOKAHEAD, 0, 5, 10, &back) -
					 (1 - pow(0.95, 5) / 8)) < 1e-12);
	assert_true(back);

	*value = 0;
	assert_true(average_init(&a, g, &err));
	*value = 4;
	average_blend(&a, g, 0.25, false);
	assert_true(*value == 4 && a.data[param][0] == 1);
	average_blend(&a, g, 0.5, true);
	assert_true(*value == 2.5f && a.data[param][0] == 2.5f);
	average_free(&a);
	nn_graph_free(g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sgd),		 cmocka_unit_test(test_adamw),
		cmocka_unit_test(test_rates),	 cmocka_unit_test(test_clip),
		cmocka_unit_test(test_schedule), cmocka_unit_test(test_averages),
	};

	return cmocka_run_group_tests_name("train optim", tests, NULL, NULL);
}
