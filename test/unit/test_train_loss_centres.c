/*
 * test_train_loss_centres.c
 *	  Class centres: distances, balance, bounds, errors.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "training/loss/loss.h"

static int
distance(const double *a, const double *b, int bits)
{
	int d = 0;

	for (int k = 0; k < bits; k++)
		d += a[k] != b[k];
	return d;
}

static double *
make(const char *method, int nclasses, int bits, uint64_t seed)
{
	double *centres = malloc((size_t) nclasses * bits * sizeof *centres);
	TrainError err;

	assert_non_null(centres);
	if (!loss_centres_by(method, nclasses, bits, seed, centres, &err))
		fail_msg("%d centres of %d bits: %s", nclasses, bits, err.text);
	for (int i = 0; i < nclasses * bits; i++)
		assert_true(centres[i] == 1 || centres[i] == -1);
	return centres;
}

/* Rows of the 16 x 16 matrix as words, first column the most significant bit. */
static bool
is_hadamard16_row(const double *row)
{
	static const int rows[16] = {0xffff, 0xaaaa, 0xcccc, 0x9999, 0xf0f0, 0xa5a5,
								 0xc3c3, 0x9696, 0xff00, 0xaa55, 0xcc33, 0x9966,
								 0xf00f, 0xa55a, 0xc33c, 0x9669};
	int word = 0;

	for (int k = 0; k < 16; k++)
		word |= (row[k] > 0) << (15 - k);
	for (int r = 0; r < 16; r++)
		if (word == rows[r] || word == (rows[r] ^ 0xffff))
			return true;
	return false;
}

static void
hadamard_rows(void **state)
{
	(void) state;
	static const int cases[][2] = {{2, 4},	  {10, 16},	 {16, 16},	{17, 16},
								   {32, 16},  {10, 32},	 {10, 64},	{64, 64},
								   {100, 64}, {128, 64}, {21, 128}, {10, 1024}};

	for (size_t t = 0; t < sizeof cases / sizeof cases[0]; t++)
	{
		int nclasses = cases[t][0], bits = cases[t][1];
		double *centres = make("auto", nclasses, bits, 3);
		int opposite = 0;

		for (int a = 0; a < nclasses; a++)
		{
			if (bits == 16)
				assert_true(is_hadamard16_row(centres + a * 16));
			for (int b = 0; b < a; b++)
			{
				int d = distance(centres + a * bits, centres + b * bits, bits);

				assert_true(d == bits / 2 || d == bits);
				opposite += d == bits;
			}
		}
		assert_int_equal(opposite, nclasses > bits ? nclasses - bits : 0);
		/* no bit is the same for every class */
		for (int k = 0; k < bits && nclasses >= 4; k++)
		{
			int ones = 0;

			for (int c = 0; c < nclasses; c++)
				ones += centres[c * bits + k] > 0;
			assert_in_range(ones, 1, nclasses - 1);
		}
		free(centres);
	}
}

/* Choosing among draws is worth it: least correlation against a plain choice. */
static double
mean_correlation(const double *centres, int nclasses, int bits)
{
	double total = 0;

	for (int a = 0; a < bits; a++)
		for (int b = 0; b < a; b++)
		{
			double ma = 0, mb = 0, both = 0, va, vb;

			for (int c = 0; c < nclasses; c++)
			{
				ma += centres[c * bits + a] / nclasses;
				mb += centres[c * bits + b] / nclasses;
				both += centres[c * bits + a] * centres[c * bits + b] / nclasses;
			}
			va = 1 - ma * ma;
			vb = 1 - mb * mb;
			total += va < 1e-9 || vb < 1e-9 ? 1 : fabs(both - ma * mb) / sqrt(va * vb);
		}
	return total / (bits * (bits - 1) / 2);
}

static void
hadamard_columns_little_correlated(void **state)
{
	(void) state;
	double plain[10 * 64];
	double *chosen = make("hadamard", 10, 64, 1);

	for (int c = 0; c < 10; c++)
		for (int k = 0; k < 64; k++)
			plain[c * 64 + k] =
				__builtin_parity((unsigned) (c + 1) & (unsigned) k) ? -1 : 1;
	assert_true(mean_correlation(chosen, 10, 64) <
				mean_correlation(plain, 10, 64) - 0.02);
	free(chosen);
}

static void
greedy_reaches_its_floor(void **state)
{
	(void) state;
	static const struct
	{
		int nclasses, bits, guaranteed, plotkin;
	} cases[] = {
		/* worked values of Gilbert's and Plotkin's bounds */
		{10, 16, 6, 8},	   {10, 32, 13, 17}, {10, 48, 20, 26},	 {10, 64, 27, 35},
		{10, 128, 57, 71}, {21, 16, 5, 8},	 {21, 48, 18, 25},	 {80, 16, 4, 8},
		{80, 48, 16, 24},  {100, 16, 3, 8},	 {100, 32, 10, 16},	 {200, 16, 3, 8},
		{200, 48, 15, 24}, {1000, 16, 2, 8}, {1000, 48, 13, 24}, {1000, 128, 47, 64}};

	for (size_t t = 0; t < sizeof cases / sizeof cases[0]; t++)
	{
		int nclasses = cases[t].nclasses, bits = cases[t].bits;
		double *centres;
		CentreStats stats;

		assert_int_equal(loss_guaranteed_distance(nclasses, bits), cases[t].guaranteed);
		centres = make("greedy", nclasses, bits, 5);
		stats = loss_centre_stats(centres, nclasses, bits);
		assert_true(stats.min >= cases[t].guaranteed);
		assert_true(stats.min <= cases[t].plotkin);
		free(centres);
	}
	/* lengths without a Hadamard matrix go this way by themselves */
	free(make("auto", 10, 48, 1));
	free(make("auto", 10, 12, 1));
	free(make("auto", 300, 64, 1));
}

static void
bernoulli_is_balanced(void **state)
{
	(void) state;
	static const int cases[][2] = {{10, 48}, {100, 48}, {200, 64}, {21, 25}};

	for (size_t t = 0; t < sizeof cases / sizeof cases[0]; t++)
	{
		int nclasses = cases[t][0], bits = cases[t][1];
		double *centres = make("bernoulli", nclasses, bits, 11);

		for (int c = 0; c < nclasses; c++)
		{
			int minus = 0;

			for (int k = 0; k < bits; k++)
				minus += centres[c * bits + k] < 0;
			assert_int_equal(minus, bits / 2);
		}
		assert_true(loss_centre_stats(centres, nclasses, bits).min > 0);
		free(centres);
	}
}

static void
statistics(void **state)
{
	(void) state;
	static const double centres[12] = {1, -1, 1, -1, 1, 1, -1, -1, 1, 1, 1, 1};
	CentreStats stats = loss_centre_stats(centres, 3, 4);

	assert_true(stats.min == 2 && stats.mean == 2 && stats.variance == 0);
	stats = loss_centre_stats((const double[]){1, 1, 1, -1, -1, -1}, 3, 2);
	/* distances 1, 2, 1 */
	assert_true(stats.min == 1);
	assert_true(fabs(stats.mean - 4.0 / 3) < 1e-12);
	assert_true(fabs(stats.variance - 2.0 / 9) < 1e-12);
	stats = loss_centre_stats(centres, 1, 4);
	assert_true(stats.min == 0 && stats.mean == 0);
}

static void
short_codes_all_used(void **state)
{
	(void) state;
	double *centres = make("greedy", 4096, 12, 1);

	assert_true(loss_centre_stats(centres, 4096, 12).min == 1);
	free(centres);
	free(make("auto", 2, 1, 1));
	free(make("auto", 1, 64, 1));
	free(make("auto", 2, 2, 1));
}

static void
seeds(void **state)
{
	(void) state;
	static const char *const methods[] = {"hadamard", "bernoulli", "greedy"};

	for (int m = 0; m < 3; m++)
	{
		double *a = make(methods[m], 10, 64, 1);
		double *b = make(methods[m], 10, 64, 1);
		double *c = make(methods[m], 10, 64, 2);

		assert_memory_equal(a, b, 640 * sizeof *a);
		assert_memory_not_equal(a, c, 640 * sizeof *a);
		free(a);
		free(b);
		free(c);
	}
}

static void
check_error(const char *method, int nclasses, int bits, const char *want)
{
	double centres[256];
	TrainError err;

	assert_false(loss_centres_by(method, nclasses, bits, 1, centres, &err));
	if (!strstr(err.text, want))
		fail_msg("\"%s\" does not say \"%s\"", err.text, want);
}

static void
errors(void **state)
{
	(void) state;
	check_error("auto", 17, 4, "17 classes cannot all have their own code of 4 bits");
	check_error("auto", 0, 4, "cannot make 0 centres");
	check_error("auto", 4, 0, "of 0 bits");
	check_error("nosuch", 4, 8, "unknown kind of centres \"nosuch\"");
	check_error("hadamard", 4, 12, "no Hadamard centres for 4 classes of 12 bits");
	check_error("hadamard", 9, 4, "no Hadamard centres");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hadamard_rows),
		cmocka_unit_test(hadamard_columns_little_correlated),
		cmocka_unit_test(greedy_reaches_its_floor),
		cmocka_unit_test(bernoulli_is_balanced),
		cmocka_unit_test(statistics),
		cmocka_unit_test(short_codes_all_used),
		cmocka_unit_test(seeds),
		cmocka_unit_test(errors),
	};

	return cmocka_run_group_tests_name("train_loss_centres", tests, NULL, NULL);
}
