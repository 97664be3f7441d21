/*
 * test_train_metrics.c
 *	  Measures of one ranked list: mean average precision with ties, against worked
 *	  numbers, every permutation of small lists, and sums taken term by term.
 */
#include "metric_samples.h"

typedef struct Histograms
{
	int64_t all[16], relevant[16];
} Histograms;

static Histograms
histograms(const int *distance, const int *relevant, int n)
{
	Histograms h = {0};

	for (int i = 0; i < n; i++)
	{
		h.all[distance[i]]++;
		h.relevant[distance[i]] += relevant[i];
	}
	return h;
}

static void
average_precision_worked(void **state)
{
	(void) state;
	Histograms h = histograms(example_distance, example_relevant, 8);
	double best, worst, hits, min, total;

	assert_near(metrics_average_precision(h.all, h.relevant, 3), 0.7317063492063492,
				TOLERANCE);
	metrics_average_precision_bounds(h.all, h.relevant, 3, &best, &worst);
	assert_near(best, 0.7961904761904762, TOLERANCE);
	assert_near(worst, 0.6783333333333333, TOLERANCE);
	metrics_average_precision_at(h.all, h.relevant, 3, 3, &hits, &min, &total);
	assert_near(total, 0.3111111111111111, TOLERANCE);
	assert_near(min, 0.5185185185185185, TOLERANCE);
	assert_near(hits, 0.9444444444444444, TOLERANCE);
	metrics_average_precision_at(h.all, h.relevant, 3, 5, &hits, &min, &total);
	assert_near(total, 0.4644444444444445, TOLERANCE);
	assert_near(min, 0.4644444444444445, TOLERANCE);
	assert_near(hits, 0.7740740740740741, TOLERANCE);
	for (int64_t k = 8; k < 100; k += 46) /* at the end and past it */
	{
		metrics_average_precision_at(h.all, h.relevant, 3, k, &hits, &min, &total);
		assert_near(total, 0.7317063492063492, TOLERANCE);
		assert_near(min, 0.7317063492063492, TOLERANCE);
		assert_near(hits, 0.7317063492063492, TOLERANCE);
	}
	assert_near(metrics_precision_at(h.all, h.relevant, 3, 3), 0.5555555555555555,
				TOLERANCE);
	assert_near(metrics_precision_at(h.all, h.relevant, 3, 5), 0.6, TOLERANCE);
	assert_near(metrics_precision_at(h.all, h.relevant, 3, 16), 5.0 / 16, TOLERANCE);
}

/* ---------------------------------------------------------- every permutation */

typedef struct Means
{
	int64_t orders;
	double ap, best, worst;
	double hits[10], min[10], total[10], precision[10]; /* by k */
} Means;

/* Measures of one strict order, straight from their definitions. */
static void
add_order(Means *m, const int *relevant, int n)
{
	int found = 0, everything = 0;
	double sum = 0, ap;

	for (int i = 0; i < n; i++)
		everything += relevant[i];
	for (int k = 1; k <= n + 1; k++)
	{
		if (k <= n && relevant[k - 1])
		{
			found++;
			sum += (double) found / k;
		}
		m->hits[k] += found ? sum / found : 0;
		m->min[k] += everything ? sum / (everything < k ? everything : k) : 0;
		m->total[k] += everything ? sum / everything : 0;
		m->precision[k] += (double) found / k;
	}
	ap = everything ? sum / everything : 0;
	m->ap += ap;
	m->best = fmax(m->best, ap);
	m->worst = m->orders ? fmin(m->worst, ap) : ap;
	m->orders++;
}

/* Every order of items first .. n - 1 that keeps the distances sorted. */
static void
permute(Means *m, const int *distance, int *relevant, int first, int n)
{
	if (first == n)
	{
		add_order(m, relevant, n);
		return;
	}
	for (int i = first; i < n && distance[i] == distance[first]; i++)
	{
		int keep = relevant[first];

		relevant[first] = relevant[i];
		relevant[i] = keep;
		permute(m, distance, relevant, first + 1, n);
		relevant[i] = relevant[first];
		relevant[first] = keep;
	}
}

static void
equals_mean_over_permutations(void **state)
{
	(void) state;
	Rng rng;

	rng_seed(&rng, 1, 1);
	for (int trial = 0; trial < 400; trial++)
	{
		int n = 1 + (int) rng_below(&rng, trial < 8 ? 8 : 7);
		int spread = (int) rng_below(&rng, 3);
		int density = (int) rng_below(&rng, 4); /* 0: none relevant, 3: all */
		int distance[8], relevant[8];
		Means m = {0};
		Histograms h;
		double best, worst;

		for (int i = 0; i < n; i++)
		{
			distance[i] = (i ? distance[i - 1] : 0) +
						  (int) rng_below(&rng, (uint32_t) spread + 1) % 2;
			relevant[i] = density == 0 ? 0 : density == 3 ? 1 : (int) rng_below(&rng, 2);
		}
		h = histograms(distance, relevant, n);
		permute(&m, distance, relevant, 0, n);
		assert_near(metrics_average_precision(h.all, h.relevant, 15), m.ap / m.orders,
					TOLERANCE);
		metrics_average_precision_bounds(h.all, h.relevant, 15, &best, &worst);
		assert_near(best, m.best, TOLERANCE);
		assert_near(worst, m.worst, TOLERANCE);
		for (int k = 1; k <= n + 1; k++)
		{
			double hits, min, total;

			metrics_average_precision_at(h.all, h.relevant, 15, k, &hits, &min, &total);
			assert_near(hits, m.hits[k] / m.orders, TOLERANCE);
			assert_near(min, m.min[k] / m.orders, TOLERANCE);
			assert_near(total, m.total[k] / m.orders, TOLERANCE);
			assert_near(metrics_precision_at(h.all, h.relevant, 15, k),
						m.precision[k] / m.orders, TOLERANCE);
		}
	}
}

/* The closed form of a group against its sum, up to groups of a million. */
static double
summed_term_by_term(const int64_t *all, const int64_t *relevant, int maxdist)
{
	long double sum = 0, before = 0, found = 0;

	for (int d = 0; d <= maxdist; d++)
	{
		long double n = all[d], r = relevant[d];

		for (int64_t j = 1; j <= all[d]; j++)
			sum += r / n * (found + 1 + (n > 1 ? (j - 1) * (r - 1) / (n - 1) : 0)) /
				   (before + j);
		before += n;
		found += r;
	}
	return found > 0 ? (double) (sum / found) : 0;
}

static void
large_groups(void **state)
{
	(void) state;
	static const int64_t all[][4] = {{1000000, 0, 0, 0}, {23, 24, 25, 26},
									 {1, 999999, 1, 5},	 {50000, 300, 7000, 2},
									 {0, 0, 100000, 0},	 {5, 40, 900, 20000}};
	static const int64_t relevant[][4] = {{100000, 0, 0, 0}, {3, 0, 25, 1},
										  {1, 1, 1, 5},		 {49999, 300, 0, 1},
										  {0, 0, 1, 0},		 {0, 39, 2, 10000}};

	for (int t = 0; t < 6; t++)
		assert_near(metrics_average_precision(all[t], relevant[t], 3),
					summed_term_by_term(all[t], relevant[t], 3), TOLERANCE);
}

/* A cut inside a large group, where the number of hits is hypergeometric: the
 * denominators must agree with their meaning. */
static void
cut_in_large_group(void **state)
{
	(void) state;
	static const int64_t all[2] = {50, 5000}, relevant[2] = {20, 2500};
	static const int64_t some[1] = {5000}, every[1] = {5000}, none[1] = {0};
	double hits, min, total;

	metrics_average_precision_at(all, relevant, 1, 1000, &hits, &min, &total);
	/* about half of what is shown is relevant, and hits divides by that */
	assert_near(min, total * 2520 / 1000, TOLERANCE);
	assert_near(hits, min * 1000 / (20 + 950 * 0.5), 1e-3);
	metrics_average_precision_at(some, every, 0, 1000, &hits, &min, &total);
	assert_near(hits, 1, TOLERANCE);
	assert_near(min, 1, TOLERANCE);
	assert_near(total, 0.2, TOLERANCE);
	metrics_average_precision_at(some, none, 0, 1000, &hits, &min, &total);
	assert_near(hits + min + total, 0, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(average_precision_worked),
		cmocka_unit_test(equals_mean_over_permutations),
		cmocka_unit_test(large_groups),
		cmocka_unit_test(cut_in_large_group),
	};

	return cmocka_run_group_tests_name("train_metrics", tests, NULL, NULL);
}
