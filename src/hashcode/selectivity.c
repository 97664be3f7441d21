/*
 * selectivity.c
 *	  How many codes lie in a ball: the estimators of <@ and @>.
 *
 * ANALYZE keeps the most common codes of a column and a histogram, whose bounds
 * are a sample of the rest.  Common codes are tested one by one.  For the rest the
 * sample says directly what share lies in the ball, when enough of it does;
 * when few or none do, the tail is read from a normal distribution with the mean
 * and variance of the sample's distances.  Learned codes form clusters, so their
 * distances vary much more than the binomial of uniform codes, which is used
 * only where there are no statistics.
 */
#include "hashcode/selectivity.h"

#include "access/htup_details.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_type.h"
#include "utils/lsyscache.h"

#include <math.h>

#include "hashcode/view.h"

#define SAMPLE_TARGET 10 /* sampled hits that are trusted as much as the model */
#define MAX_CENTRES 32	 /* sampled codes taken as centre when it is unknown */

/* P(X <= r) for n fair coins, by logarithms of binomial coefficients. */
static double
binomial_tail(int n, int r)
{
	double sum = 0;

	if (n <= 0)
		return DEFAULT_BALL_SELECTIVITY;
	if (r >= n)
		return 1;
	for (int k = 0; k <= r; k++)
		sum += exp(lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0) - n * M_LN2);
	return Min(sum, 1);
}

/* P(X <= r) for a normal distribution, with the continuity correction. */
static double
normal_tail(double mean, double variance, double r)
{
	if (variance <= 0)
		return mean <= r ? 1 : 0;
	return 0.5 * erfc(-(r + 0.5 - mean) / sqrt(2 * variance));
}

/* Distance of a sampled value, or -1 if it has another length. */
static int
sample_distance(const AttStatsSlot *slot, int i, int nbits, const uint8 *centre)
{
	CodeView code;

	code_view(slot->valuetype, slot->values[i], &code);
	if (code.nbits != nbits)
		return -1;
	return (int) hamming_kernels()->distance(code.bits, centre, hamming_bytes(nbits));
}

/* The share of the population that `sample` was drawn from that lies in the ball. */
static double
estimate_from_sample(const AttStatsSlot *sample, int nbits, const uint8 *centre,
					 int radius)
{
	double sum = 0;
	double squares = 0;
	int hits = 0;
	int usable = 0;
	double mean;
	double model;
	double trust;

	for (int i = 0; i < sample->nvalues; i++)
	{
		int d = sample_distance(sample, i, nbits, centre);

		if (d < 0)
			continue;
		usable++;
		hits += d <= radius;
		sum += d;
		squares += (double) d * d;
	}
	if (usable < 2)
		return binomial_tail(nbits, radius);
	mean = sum / usable;
	model = normal_tail(mean, squares / usable - mean * mean, radius);
	model = Max(model, binomial_tail(nbits, radius));
	/* More than one hit more would have shown; it also makes the blend rise with r. */
	model = Min(model, (hits + 1.0) / (usable + 1));
	if (hits == 0)
		return model;
	trust = (double) hits / (hits + SAMPLE_TARGET);
	return trust * hits / usable + (1 - trust) * model;
}

typedef struct ColumnSample
{
	AttStatsSlot common; /* most common codes and their shares */
	AttStatsSlot bounds; /* histogram: a sample of the others */
	double null_share;
	double common_share;
} ColumnSample;

static Selectivity
estimate_around(const ColumnSample *s, int nbits, const uint8 *centre, int radius)
{
	double common = 0;
	double rest = 1 - s->common_share - s->null_share;

	for (int i = 0; i < s->common.nvalues; i++)
	{
		int d = sample_distance(&s->common, i, nbits, centre);

		if (d >= 0 && d <= radius)
			common += s->common.numbers[i];
	}
	if (rest <= 0)
		return common;
	return common + rest * estimate_from_sample(&s->bounds, nbits, centre, radius);
}

/*
 * The centre is a value of another table or a parameter: take codes of this column
 * in its place and average.
 */
static Selectivity
estimate_around_typical(const ColumnSample *s, int radius)
{
	double sum = 0;
	double weight = 0;

	for (int slot = 0; slot < 2; slot++)
	{
		const AttStatsSlot *from = slot == 0 ? &s->common : &s->bounds;
		int step = from->nvalues / MAX_CENTRES + 1;

		for (int i = 0; i < from->nvalues; i += step)
		{
			CodeView centre;
			double w = slot == 0 ? from->numbers[i]
								 : (1 - s->common_share) * step / from->nvalues;

			code_view(from->valuetype, from->values[i], &centre);
			sum += w * estimate_around(s, centre.nbits, centre.bits, radius);
			weight += w;
		}
	}
	return weight > 0 ? sum / weight : -1;
}

Selectivity
ball_selectivity(VariableStatData *column, Oid function, EstimatedBall ball)
{
	ColumnSample s = {.null_share = 0};
	Selectivity answer = -1;

	if (column->vartype == INT8OID || column->vartype == INT4OID)
		ball.nbits = column->vartype == INT8OID ? 64 : 32;
	else if (ball.nbits == 0 && column->atttypmod > 0)
		ball.nbits = column->atttypmod;
	if (HeapTupleIsValid(column->statsTuple))
		s.null_share = ((Form_pg_statistic) GETSTRUCT(column->statsTuple))->stanullfrac;
	if (HeapTupleIsValid(column->statsTuple) &&
		statistic_proc_security_check(column, function))
	{
		bool common =
			get_attstatsslot(&s.common, column->statsTuple, STATISTIC_KIND_MCV,
							 InvalidOid, ATTSTATSSLOT_VALUES | ATTSTATSSLOT_NUMBERS);
		bool bounds =
			get_attstatsslot(&s.bounds, column->statsTuple, STATISTIC_KIND_HISTOGRAM,
							 InvalidOid, ATTSTATSSLOT_VALUES);

		for (int i = 0; i < s.common.nnumbers; i++)
			s.common_share += s.common.numbers[i];
		if ((common || bounds) && ball.centre != NULL)
			answer = estimate_around(&s, ball.nbits, ball.centre, ball.radius);
		else if (common || bounds)
			answer = estimate_around_typical(&s, ball.radius);
		free_attstatsslot(&s.common);
		free_attstatsslot(&s.bounds);
	}
	if (answer < 0)
		answer = (1 - s.null_share) * binomial_tail(ball.nbits, ball.radius);
	CLAMP_PROBABILITY(answer);
	return answer;
}
