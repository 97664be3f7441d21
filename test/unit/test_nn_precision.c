/*
 * test_nn_precision.c
 *	  Limits of float32: transcendental functions against the C library's double
 *	  ones, derivatives against differences, rows that cancel, overflow and NaN.
 *	  Every kernel of this CPU is tested, not the chosen one only.
 */
#include "test_nn_reference.h"

#include <float.h>

#include "nn/kernels.h"

static const NnKernels *kernels;

/* Run a test for each set of inner loops. */
#define FOR_EACH_KERNEL                                                                  \
	for (int each = 0; (kernels = nn_kernels_at(each)) != NULL; each++)                  \
		if (kernels->available())

static double
slope(NnActivation act, double x)
{
	double s;

	switch (act)
	{
		case NN_RELU:
			return x > 0;
		case NN_RELU6:
			return x > 0 && x < 6;
		case NN_LEAKY_RELU:
			return x > 0 ? 1 : 0.01;
		case NN_GELU:
			return 0.5 * erfc(-x / sqrt(2)) + x * exp(-x * x / 2) / sqrt(2 * M_PI);
		case NN_SILU:
			s = 1 / (1 + exp(-x));
			return s + x * s * (1 - s);
		case NN_TANH:
			return 1 - tanh(x) * tanh(x);
		case NN_SIGMOID:
			s = 1 / (1 + exp(-x));
			return s * (1 - s);
		default:
			return 1;
	}
}

/* Values dense near zero and out to where everything has saturated. */
static size_t
points(float *x)
{
	size_t n = 0;

	for (int e = -40; e <= 40; e++)
		for (int m = 0; m < 64; m++)
		{
			float v = ldexpf(1.0f + (float) m / 64.0f, e / 2 + (e % 2) * 1);

			x[n++] = v;
			x[n++] = -v;
		}
	for (int i = -4000; i <= 4000; i++)
		x[n++] = (float) i * 0.005f;
	x[n++] = 0;
	return n;
}

static void
test_activations(void **state)
{
	static float x[20000], y[20000], d[20000], one[20000];
	size_t n = points(x);

	(void) state;
	for (size_t i = 0; i < n; i++)
		one[i] = 1;
	FOR_EACH_KERNEL
	for (int a = 0; a < NN_ACTIVATION_COUNT; a++)
	{
		NnActivation act = (NnActivation) a;

		kernels->activate(act, x, y, n);
		kernels->activate_backward(act, x, one, d, n, false);
		for (size_t i = 0; i < n; i++)
		{
			double wanted = ref_activation(act, x[i]);
			/* relative to the value, but never asking for more than 1e-30 */
			double room = 6e-7 * fabs(wanted) + 1e-30;
			double steep = slope(act, x[i]);

			/* the rounding of x^2 / 2 becomes relative in the exponential */
			if (act == NN_GELU && x[i] < 0 && x[i] > -14)
				room += 1.2e-7 * x[i] * x[i] * fabs(wanted);
			if ((act == NN_SILU || act == NN_SIGMOID) && x[i] < -80)
				room += 1e-34;
			if (act == NN_GELU && x[i] < -13)
				room += 1e-36;
			if (!(fabs(y[i] - wanted) <= room))
				fail_msg("%s %s(%.9g) = %.9g, not %.9g", kernels->name,
						 nn_activation_name(act), x[i], y[i], wanted);
			if (!(fabs(d[i] - steep) <= 1e-6))
				fail_msg("%s %s'(%.9g) = %.9g, not %.9g", kernels->name,
						 nn_activation_name(act), x[i], d[i], steep);
		}
	}
}

static void
test_extremes(void **state)
{
	const float x[6] = {FLT_MAX, -FLT_MAX, INFINITY, -INFINITY, NAN, -0.0f};
	const float one[6] = {1, 1, 1, 1, 1, 1};
	float y[6], d[6];

	(void) state;
	FOR_EACH_KERNEL
	for (int a = 0; a < NN_ACTIVATION_COUNT; a++)
	{
		NnActivation act = (NnActivation) a;

		kernels->activate(act, x, y, 6);
		kernels->activate_backward(act, x, one, d, 6, false);
		for (int i = 0; i < 4; i++)
		{
			bool bounded = act == NN_RELU6 || act == NN_TANH || act == NN_SIGMOID;

			if (isinf(x[i]) && !bounded)
				continue;
			/* never NaN, and where the function is bounded or left-flat, small */
			assert_false(isnan(y[i]));
			assert_false(isnan(d[i]));
			if (bounded)
				assert_true(fabsf(y[i]) <= 6);
			if (x[i] < 0 && (act == NN_GELU || act == NN_SILU || act == NN_RELU))
				assert_true(fabsf(y[i]) < 1e-30f);
			if (x[i] > 0 && (act == NN_GELU || act == NN_SILU || act == NN_RELU))
				assert_true(y[i] == x[i]);
		}
		/* a NaN stays one, so that it is seen at the end */
		assert_true(isnan(y[4]));
		assert_true(isfinite(y[5]));
	}
}

static void
test_backward_adds(void **state)
{
	uint64_t s = 3;
	float x[37], dy[37], dx[37], sum[37];

	(void) state;
	FOR_EACH_KERNEL
	for (int act = 0; act < NN_ACTIVATION_COUNT; act++)
	{
		for (int i = 0; i < 37; i++)
		{
			x[i] = test_float(&s, 4);
			dy[i] = test_float(&s, 2);
			sum[i] = test_float(&s, 2);
		}
		kernels->activate_backward((NnActivation) act, x, dy, dx, 37, false);
		for (int i = 0; i < 37; i++)
			dx[i] += sum[i];
		kernels->activate_backward((NnActivation) act, x, dy, sum, 37, true);
		for (int i = 0; i < 37; i++)
			assert_true(fabsf(sum[i] - dx[i]) < 1e-6f);
	}
}

static void
test_softmax_limits(void **state)
{
	float x[40], y[40], total;

	(void) state;
	FOR_EACH_KERNEL
	{
		for (int n = 1; n <= 40; n++)
		{
			/* huge logits: no overflow, sums to one, the top takes all */
			for (int i = 0; i < n; i++)
				x[i] = i == n / 2 ? 1e30f : -1e30f;
			kernels->softmax(x, y, 1, n, 1.0f);
			for (int i = 0; i < n; i++)
				assert_true(fabsf(y[i] - (i == n / 2)) < 1e-30f);
			/* all equal and huge */
			for (int i = 0; i < n; i++)
				x[i] = 3e38f;
			kernels->softmax(x, y, 1, n, 1.0f);
			total = 0;
			for (int i = 0; i < n; i++)
			{
				assert_true(fabsf(y[i] * (float) n - 1) < 1e-5f);
				total += y[i];
			}
			assert_true(fabsf(total - 1) < 1e-5f);
			/* a common offset changes nothing */
			for (int i = 0; i < n; i++)
				x[i] = 4096.0f + 0.25f * (float) (i % 5);
			kernels->softmax(x, y, 1, n, 1.0f);
			for (int i = 0; i < n; i++)
				x[i] = 0.25f * (float) (i % 5);
			kernels->softmax(x, x, 1, n, 1.0f);
			for (int i = 0; i < n; i++)
				assert_true(fabsf(x[i] - y[i]) < 1e-7f);
		}
	}
}

static void
test_layernorm_limits(void **state)
{
	float x[50], y[50], weight[50], bias[50], mean, rstd;

	(void) state;
	for (int i = 0; i < 50; i++)
	{
		weight[i] = 1;
		bias[i] = 0.125f;
	}
	FOR_EACH_KERNEL
	for (int n = 1; n <= 50; n++)
	{
		/* constant rows, whatever the constant: exactly the bias */
		for (int k = 0; k < 4; k++)
		{
			const float constant[4] = {0, 1.1f, -3e7f, 1e-20f};

			for (int i = 0; i < n; i++)
				x[i] = constant[k];
			kernels->layernorm(x, y, 1, n, weight, bias, 1e-6f, &mean, &rstd);
			assert_true(mean == constant[k]);
			for (int i = 0; i < n; i++)
				assert_true(y[i] == 0.125f);
		}
		if (n < 2)
			continue;
		/* small differences on a large offset are not lost */
		for (int i = 0; i < n; i++)
			x[i] = 10000.0f + (float) (i % 2);
		kernels->layernorm(x, y, 1, n, weight, bias, 1e-6f, NULL, NULL);
		for (int i = 0; i < n; i++)
		{
			double m = (double) (n / 2) / n, sd = sqrt(m * (1 - m) + 1e-6);

			assert_true(fabs(y[i] - 0.125 - ((i % 2) - m) / sd) < 1e-2);
		}
	}
}

/* Batch statistics of values far from zero: a plain sum of squares would fail. */
static void
test_moments_far_from_zero(void **state)
{
	enum
	{
		ROWS = 5000,
		COLS = 19
	};
	uint64_t s = 8;
	float *x = test_floats(&s, ROWS * COLS, 1);

	(void) state;
	for (int i = 0; i < ROWS * COLS; i++)
		x[i] += 1000.0f * (float) (i % COLS);
	FOR_EACH_KERNEL
	{
		double sum[COLS] = {0}, square[COLS] = {0};

		kernels->moments(x, ROWS, COLS, x, sum, square);
		for (int c = 0; c < COLS; c++)
		{
			double mean = 0, var = 0, got;

			for (int r = 0; r < ROWS; r++)
				mean += (double) x[r * COLS + c] / ROWS;
			for (int r = 0; r < ROWS; r++)
				var +=
					((double) x[r * COLS + c] - mean) * (x[r * COLS + c] - mean) / ROWS;
			got = square[c] / ROWS - sum[c] / ROWS * (sum[c] / ROWS);
			assert_true(fabs(x[c] + sum[c] / ROWS - mean) < 1e-6 * (1 + fabs(mean)));
			assert_true(fabs(got - var) < 1e-5 * var);
		}
	}
	free(x);
}

/* A NaN in a picture must not vanish in a pool. */
static void
test_maximum_keeps_nan(void **state)
{
	(void) state;
	FOR_EACH_KERNEL
	for (int at = 0; at < 37; at++)
	{
		float a[37], b[37];

		for (int i = 0; i < 37; i++)
			a[i] = b[i] = (float) i;
		a[at] = NAN;
		kernels->maximum(a, b, 37);
		for (int i = 0; i < 37; i++)
			assert_true(i == at ? isnan(b[i]) : b[i] == (float) i);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_activations),
		cmocka_unit_test(test_extremes),
		cmocka_unit_test(test_backward_adds),
		cmocka_unit_test(test_softmax_limits),
		cmocka_unit_test(test_layernorm_limits),
		cmocka_unit_test(test_moments_far_from_zero),
		cmocka_unit_test(test_maximum_keeps_nan),
	};

	return cmocka_run_group_tests_name("nn: precision", tests, NULL, NULL);
}
