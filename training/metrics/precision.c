/*
 * precision.c
 *	  Average precision and its kin of one query, exact under ties.
 *
 * Items at one distance form a group of n items, r of them relevant, behind N items
 * with Q relevant.  In a random order of the group the expected contribution of
 * its first t places to the sum of precisions is
 *
 *	  E(t) = sum_{j=1..t} (r/n) (Q + 1 + (j - 1) (r - 1)/(n - 1)) / (N + j)
 *
 * because place j is relevant with probability r/n and then each of the j - 1 places
 * before it with probability (r - 1)/(n - 1).  Every sum here has the form
 * sum (a + b j)/(N + j), which is b t + (a - b N) (H(N + t) - H(N)) with harmonic
 * numbers H, so a group costs the same whatever its size.
 */
#include "training/metrics/metrics.h"

#include <math.h>

/* Groups up to this size are summed term by term. */
#define DIRECT_TERMS 24

/* psi(x) - log(x) for x >= 10 to double precision (asymptotic series). */
static double
digamma_tail(double x)
{
	double y = 1 / (x * x);

	return -0.5 / x -
		   y * (1.0 / 12 - y * (1.0 / 120 - y * (1.0 / 252 - y * (1.0 / 240 - y / 132))));
}

/* 1/(from + 1) + ... + 1/(from + terms) */
static double
harmonic_difference(double from, int64_t terms)
{
	double sum = 0;

	while (terms > 0 && (from < 24 || terms <= DIRECT_TERMS))
	{
		from += 1;
		sum += 1 / from;
		terms--;
	}
	if (terms > 0)
		sum += log1p((double) terms / (from + 1)) + digamma_tail(from + terms + 1) -
			   digamma_tail(from + 1);
	return sum;
}

/* sum_{j=1..t} (a + b j) / (N + j) */
static double
ratio_sum(double a, double b, double before, int64_t t)
{
	return b * (double) t + (a - b * before) * harmonic_difference(before, t);
}

/* E(t) as above for a group of n items with r relevant behind N with Q relevant. */
static double
expected_places(double n, double r, double before, double relevant_before, int64_t t)
{
	double slope = n > 1 ? (r - 1) / (n - 1) : 0;

	if (r <= 0 || t <= 0)
		return 0;
	return r / n * ratio_sum(relevant_before + 1 - slope, slope, before, t);
}

double
metrics_average_precision(const int64_t *all, const int64_t *relevant, int maxdist)
{
	int64_t before = 0, found = 0;
	double sum = 0;

	for (int d = 0; d <= maxdist; d++)
	{
		sum += expected_places((double) all[d], (double) relevant[d], (double) before,
							   (double) found, all[d]);
		before += all[d];
		found += relevant[d];
	}
	return found ? sum / (double) found : 0;
}

void
metrics_average_precision_bounds(const int64_t *all, const int64_t *relevant, int maxdist,
								 double *best, double *worst)
{
	int64_t before = 0, found = 0;
	double first = 0, last = 0;

	for (int d = 0; d <= maxdist; d++)
	{
		int64_t r = relevant[d];
		int64_t others = all[d] - r;

		if (r > 0)
		{
			first += ratio_sum((double) found, 1, (double) before, r);
			last += ratio_sum((double) found, 1, (double) (before + others), r);
		}
		before += all[d];
		found += r;
	}
	*best = found ? first / (double) found : 0;
	*worst = found ? last / (double) found : 0;
}

/*
 * The `hits` average precision where the cut falls inside a group: the number x of
 * relevant items among the t places is hypergeometric, and given x the places
 * are in random order.  Weights are taken from the most likely x outwards relative
 * to it and divided by their sum at the end, so nothing overflows.
 */
static double
expected_hits(int64_t n, int64_t r, int64_t t, double before, int64_t found, double sum)
{
	int64_t low = t - (n - r) > 0 ? t - (n - r) : 0;
	int64_t high = t < r ? t : r;
	int64_t mode =
		(int64_t) floor(((double) t + 1) * ((double) r + 1) / ((double) n + 2));
	double weights = 0, value = 0;

	mode = mode < low ? low : mode > high ? high : mode;
	for (int step = 1; step >= -1; step -= 2)
	{
		double weight = 1;

		for (int64_t x = mode; x >= low && x <= high && weight > 1e-20; x += step)
		{
			double hits = (double) (found + x);

			if (step > 0 || x != mode)
			{
				weights += weight;
				if (hits > 0)
					value += weight *
							 (sum + expected_places((double) t, (double) x, before,
													(double) found, t)) /
							 hits;
			}
			/* P(x + 1) / P(x), or P(x - 1) / P(x) on the way down */
			if (step > 0)
				weight *= (double) (r - x) / (double) (x + 1) * (double) (t - x) /
						  (double) (n - r - t + x + 1);
			else
				weight *= (double) x / (double) (r - x + 1) * (double) (n - r - t + x) /
						  (double) (t - x + 1);
		}
	}
	return value / weights;
}

void
metrics_average_precision_at(const int64_t *all, const int64_t *relevant, int maxdist,
							 int64_t k, double *hits, double *min, double *total)
{
	int64_t before = 0, found = 0, everything = 0;
	double sum = 0, by_hits = 0;
	bool cut = false;

	for (int d = 0; d <= maxdist; d++)
	{
		int64_t t = k - before < all[d] ? k - before : all[d];

		everything += relevant[d];
		if (cut || t <= 0)
			continue;
		if (t < all[d])
		{
			cut = true;
			by_hits = expected_hits(all[d], relevant[d], t, (double) before, found, sum);
		}
		sum += expected_places((double) all[d], (double) relevant[d], (double) before,
							   (double) found, t);
		before += all[d];
		found += relevant[d];
	}
	if (!cut)
		by_hits = found ? sum / (double) found : 0;
	if (hits)
		*hits = by_hits;
	if (min)
		*min = everything ? sum / (double) (everything < k ? everything : k) : 0;
	if (total)
		*total = everything ? sum / (double) everything : 0;
}

double
metrics_precision_at(const int64_t *all, const int64_t *relevant, int maxdist, int64_t n)
{
	int64_t before = 0;
	double found = 0;

	for (int d = 0; d <= maxdist && before < n; d++)
	{
		int64_t t = n - before < all[d] ? n - before : all[d];

		if (t > 0)
			found += (double) relevant[d] * (double) t / (double) all[d];
		before += all[d];
	}
	return n > 0 ? found / (double) n : 0;
}
