/*
 * test_service_stats.c
 *	  Histograms: counts, percentiles within 1/16, the extremes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "service/stats.h"

static void
expect_near(uint64_t found, uint64_t wanted)
{
	uint64_t distance = found > wanted ? found - wanted : wanted - found;

	assert_true(distance <= wanted / 16 + 1);
}

static void
test_empty(void **state)
{
	Histogram h = {0};

	(void) state;
	assert_int_equal(histogram_percentile(&h, 0.5), 0);
	assert_int_equal(histogram_percentile(&h, 1), 0);
}

static void
test_percentiles(void **state)
{
	Histogram h = {0};

	(void) state;
	for (int i = 1; i <= 100000; i++)
		histogram_add(&h, i);
	assert_int_equal(h.count, 100000);
	assert_int_equal(h.max, 100000);
	assert_int_equal(h.sum, UINT64_C(5000050000));
	expect_near(histogram_percentile(&h, 0.01), 1000);
	expect_near(histogram_percentile(&h, 0.5), 50000);
	expect_near(histogram_percentile(&h, 0.95), 95000);
	expect_near(histogram_percentile(&h, 0.99), 99000);
	expect_near(histogram_percentile(&h, 1), 100000);
	assert_true(histogram_percentile(&h, 1) <= h.max);
}

/* One value: every percentile is near it, from 0 to the largest there is. */
static void
test_single_values(void **state)
{
	(void) state;
	for (int shift = 0; shift < 63; shift++)
	{
		for (int64_t more = -1; more <= 1; more++)
		{
			int64_t value = (INT64_C(1) << shift) + more;
			Histogram h = {0};

			histogram_add(&h, value);
			assert_int_equal(h.max, (uint64_t) value);
			expect_near(histogram_percentile(&h, 0.5), (uint64_t) value);
			if (value < 8)
				assert_int_equal(histogram_percentile(&h, 0.5), value);
		}
	}
}

static void
test_negative(void **state)
{
	Histogram h = {0};

	(void) state;
	histogram_add(&h, -5);
	histogram_add(&h, INT64_MAX);
	assert_int_equal(h.count, 2);
	assert_int_equal(h.bucket[0], 1);
	assert_int_equal(histogram_percentile(&h, 0.5), 0);
	expect_near(histogram_percentile(&h, 1), INT64_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty), cmocka_unit_test(test_percentiles),
		cmocka_unit_test(test_single_values), cmocka_unit_test(test_negative)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
