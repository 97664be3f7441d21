/*
 * test_nn_kernels.c
 *	  The inner loops of the backward passes and of SimAM against plain loops in double:
 *	  every set that this CPU runs, every length of a row's tail.
 */
#include "test_nn_reference.h"

#include "nn/kernels.h"

#define ROWS 70 /* more than one run of sums */

static const NnKernels *kernels;
static uint64_t state = 31;

/* For each set of loops and each number of columns. */
#define FOR_EACH                                                                         \
	for (int each = 0; (kernels = nn_kernels_at(each)) != NULL; each++)                  \
		for (int cols = 1; kernels->available() && cols <= 37; cols++)

static void
expect(const char *what, int cols, const float *got, const double *wanted, size_t n,
	   double tolerance)
{
	double far = test_distance(got, wanted, n);

	if (!(far <= tolerance))
		fail_msg("%s of %s over %d columns is off by %g of the largest", what,
				 kernels->name, cols, far);
}

/* What dx holds before, where it is added to: copies it to wanted. */
static void
before(const float *dx, double *wanted, size_t n, bool add)
{
	for (size_t i = 0; i < n; i++)
		wanted[i] = add ? (double) dx[i] : 0;
}

static void
test_multiply(void **unused)
{
	(void) unused;
	FOR_EACH
	{
		float *a = test_floats(&state, (size_t) cols, 2);
		float *b = test_floats(&state, (size_t) cols, 2), y[40] = {0};

		y[cols] = 5;
		kernels->multiply(a, b, y, (size_t) cols);
		for (int i = 0; i < cols; i++)
			assert_true(y[i] == a[i] * b[i]);
		assert_true(y[cols] == 5);
		free(a);
		free(b);
	}
}

static void
test_layernorm_backward(void **unused)
{
	(void) unused;
	FOR_EACH
	{
		size_t n = (size_t) cols, all = ROWS * n;
		float *x = test_floats(&state, all, 3), *dy = test_floats(&state, all, 1);
		float *dx = test_floats(&state, all, 1), *weight = test_floats(&state, n, 2);
		float *mean = test_floats(&state, ROWS, 1), *rstd = test_floats(&state, ROWS, 2);
		float dweight[40] = {0}, dbias[40] = {0};
		double wdx[ROWS * 40], ww[40] = {0}, wb[40] = {0};

		before(dx, wdx, all, cols % 2);
		for (size_t r = 0; r < ROWS; r++)
		{
			double sum = 0, sum_h = 0;

			for (size_t i = r * n; i < r * n + n; i++)
			{
				double h = ((double) x[i] - mean[r]) * rstd[r];

				sum += (double) dy[i] * weight[i % n] / cols;
				sum_h += (double) dy[i] * weight[i % n] * h / cols;
				ww[i % n] += dy[i] * h;
				wb[i % n] += dy[i];
			}
			for (size_t i = r * n; i < r * n + n; i++)
				wdx[i] += rstd[r] * ((double) dy[i] * weight[i % n] - sum -
									 ((double) x[i] - mean[r]) * rstd[r] * sum_h);
		}
		dweight[cols] = dbias[cols] = 5;
		kernels->layernorm_backward(x, dy, dx, ROWS, cols, weight, mean, rstd, dweight,
									dbias, cols % 2);
		/* one column alone has no gradient but what rounding leaves */
		expect("layernorm's gradient", cols, dx, wdx, cols > 1 ? all : 0, 3e-5);
		expect("layernorm's gradient of the weight", cols, dweight, ww, n, 1e-5);
		expect("layernorm's gradient of the bias", cols, dbias, wb, n, 1e-5);
		assert_true(dweight[cols] == 5 && dbias[cols] == 5);
		/* none of the three is wanted: nothing is touched */
		kernels->layernorm_backward(x, dy, NULL, ROWS, cols, weight, mean, rstd, NULL,
									NULL, false);
		free(x);
		free(dy);
		free(dx);
		free(weight);
		free(mean);
		free(rstd);
	}
}

static void
test_softmax_backward(void **unused)
{
	(void) unused;
	FOR_EACH
	{
		size_t n = (size_t) cols, all = 3 * n;
		float *x = test_floats(&state, all, 3), *dy = test_floats(&state, all, 1);
		float *dx = test_floats(&state, all, 1), *y = test_floats(&state, all, 1);
		double *wanted = malloc(all * sizeof(double));

		kernels->softmax(x, y, 3, cols, 0.7f);
		for (int in_place = 0; in_place < 2; in_place++)
		{
			before(dx, wanted, all, !in_place);
			for (size_t i = 0; i < all; i++)
			{
				double sum = 0;

				for (size_t k = i / n * n; k < i / n * n + n; k++)
					sum += (double) dy[k] * y[k];
				wanted[i] += 0.7 * y[i] * (dy[i] - sum);
			}
			kernels->softmax_backward(y, dy, in_place ? dy : dx, 3, cols, 0.7f,
									  !in_place);
			expect("softmax's gradient", cols, in_place ? dy : dx, wanted,
				   cols > 1 ? all : 0, 1e-5);
		}
		free(x);
		free(y);
		free(dy);
		free(dx);
		free(wanted);
	}
}

static void
test_simam(void **unused)
{
	(void) unused;
	FOR_EACH
	{
		size_t n = (size_t) cols, all = ROWS * n;
		float *x = test_floats(&state, all, 2), *dy = test_floats(&state, all, 1);
		float *mean = test_floats(&state, n, 1), *share = test_floats(&state, n, 1);
		float *slope = test_floats(&state, n, 1), *shift = test_floats(&state, n, 1);
		float *y = test_floats(&state, all, 1), *dx = test_floats(&state, all, 1);
		double wy[ROWS * 40], wdx[ROWS * 40], square[40] = {0}, linear[40] = {0};
		double wanted[2][40] = {{0}}, size[2][40] = {{0}}; /* of the sums' terms */

		for (size_t c = 0; c < n; c++)
			share[c] = fabsf(share[c]);
		before(dx, wdx, all, cols % 2);
		for (size_t i = 0; i < all; i++)
		{
			size_t c = i % n;
			double d = (double) x[i] - mean[c];
			double gate = 1 / (1 + exp(-(d * d * share[c] + 0.5)));
			double e = (double) dy[i] * x[i] * gate * (1 - gate);

			wy[i] = x[i] * gate;
			wanted[0][c] += e * d * d;
			wanted[1][c] += e * d;
			size[0][c] += fabs(e) * d * d;
			size[1][c] += fabs(e * d);
			wdx[i] += dy[i] * gate + 2 * share[c] * e * d - slope[c] * d - shift[c];
		}
		square[cols] = linear[cols] = 5;
		kernels->simam(x, y, ROWS, cols, mean, share);
		kernels->simam_sums(x, dy, ROWS, cols, mean, share, square, linear);
		kernels->simam_backward(x, dy, dx, ROWS, cols, mean, share, slope, shift,
								cols % 2);
		expect("SimAM", cols, y, wy, all, 1e-6);
		expect("SimAM's gradient", cols, dx, wdx, all, 2e-6);
		for (size_t c = 0; c < n; c++)
		{
			assert_true(fabs(square[c] - wanted[0][c]) <= 1e-5 * size[0][c]);
			assert_true(fabs(linear[c] - wanted[1][c]) <= 1e-5 * size[1][c]);
		}
		assert_true(square[cols] == 5 && linear[cols] == 5);
		free(x);
		free(dy);
		free(mean);
		free(share);
		free(slope);
		free(shift);
		free(y);
		free(dx);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_multiply),
		cmocka_unit_test(test_layernorm_backward),
		cmocka_unit_test(test_softmax_backward),
		cmocka_unit_test(test_simam),
	};

	return cmocka_run_group_tests_name("nn: kernels", tests, NULL, NULL);
}
