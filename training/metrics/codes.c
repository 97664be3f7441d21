/*
 * codes.c
 *	  What a set of codes looks like: collisions, balance, entropy, correlation.
 */
#include "training/metrics/metrics.h"

#include "hamming/hamming.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int
bit_of(const uint8_t *code, int k)
{
	return code[k / 8] >> (7 - k % 8) & 1;
}

void
metrics_fraction_ones(const CodeSet *set, double *fraction)
{
	size_t nbytes = hamming_bytes((size_t) set->bits);

	for (int k = 0; k < set->bits; k++)
	{
		int64_t ones = 0;

		for (int i = 0; i < set->n; i++)
			ones += bit_of(set->codes + i * nbytes, k);
		fraction[k] = set->n ? (double) ones / set->n : 0;
	}
}

static int
by_code(const void *a, const void *b, void *nbytes)
{
	return memcmp(*(const uint8_t *const *) a, *(const uint8_t *const *) b,
				  *(const size_t *) nbytes);
}

/* Count groups of equal codes by sorting pointers to them. */
static bool
count_collisions(const CodeSet *set, CodeStats *out, TrainError *err)
{
	size_t nbytes = hamming_bytes((size_t) set->bits);
	const uint8_t **code = malloc(((size_t) set->n + 1) * sizeof *code);

	if (code == NULL)
		return train_fail(err, "out of memory: sorting %d codes wants %zu bytes", set->n,
						  (size_t) set->n * sizeof *code);
	for (int i = 0; i < set->n; i++)
		code[i] = set->codes + i * nbytes;
	qsort_r(code, (size_t) set->n, sizeof *code, by_code, &nbytes);
	for (int first = 0, next; first < set->n; first = next)
	{
		int64_t size;

		for (next = first + 1;
			 next < set->n && memcmp(code[first], code[next], nbytes) == 0; next++)
			;
		size = next - first;
		out->distinct++;
		out->sharing += size > 1 ? size : 0;
		out->pairs += size * (size - 1) / 2;
	}
	free(code);
	return true;
}

static double
entropy(double p)
{
	return p > 0 && p < 1 ? -p * log2(p) - (1 - p) * log2(1 - p) : 0;
}

/*
 * Mean |correlation| over pairs of bits that vary.  The codes are turned into one bit
 * string per bit, so that a pair costs a pass of AND and popcount.
 */
static bool
correlate(const CodeSet *set, const double *fraction, CodeStats *out, TrainError *err)
{
	size_t nbytes = hamming_bytes((size_t) set->bits);
	size_t words = ((size_t) set->n + 63) / 64;
	uint64_t *column = calloc((size_t) set->bits * words + 1, sizeof *column);
	double total = 0;
	int64_t pairs = 0;

	if (column == NULL)
		return train_fail(err, "out of memory: correlating %d bits wants %zu bytes",
						  set->bits, (size_t) set->bits * words * sizeof *column);
	for (int i = 0; i < set->n; i++)
		for (int k = 0; k < set->bits; k++)
			column[k * words + (size_t) i / 64] |=
				(uint64_t) bit_of(set->codes + i * nbytes, k) << (i % 64);
	for (int a = 0; a < set->bits; a++)
		for (int b = a + 1; b < set->bits; b++)
		{
			double p = fraction[a], q = fraction[b];
			double spread = sqrt(p * (1 - p) * q * (1 - q));
			int64_t both = 0;

			if (spread == 0)
				continue;
			for (size_t w = 0; w < words; w++)
				both +=
					__builtin_popcountll(column[a * words + w] & column[b * words + w]);
			total += fabs((double) both / set->n - p * q) / spread;
			pairs++;
		}
	out->correlation = pairs ? total / (double) pairs : 0;
	free(column);
	return true;
}

bool
metrics_code_stats(const CodeSet *set, CodeStats *out, TrainError *err)
{
	double *fraction = malloc(((size_t) set->bits + 1) * sizeof *fraction);
	bool ok;

	*out = (CodeStats){0};
	if (fraction == NULL)
		return train_fail(err, "out of memory");
	metrics_fraction_ones(set, fraction);
	for (int k = 0; k < set->bits; k++)
	{
		out->balance += fabs(2 * fraction[k] - 1) / set->bits;
		out->entropy += entropy(fraction[k]) / set->bits;
	}
	ok = count_collisions(set, out, err) && correlate(set, fraction, out, err);
	free(fraction);
	return ok;
}
