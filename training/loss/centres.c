/*
 * centres.c
 *	  One target code per class, as far apart as can be had.
 *
 * Three generators, see README.md for where they come from:
 *	  hadamard	 rows of a Hadamard matrix, some negated: distances bits / 2
 *	  bernoulli	 random rows of equally many 1 and -1, redrawn until far apart
 *	  greedy	 random rows, each taken if it keeps the distance asked for, which
 *				 is lowered when nothing fits
 */
#include "training/loss/loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_CENTRES 0x4345

#define HADAMARD_TRIES 1000
#define HADAMARD_WORK 40e6 /* popcounts spent on choosing */
#define BERNOULLI_TRIES 20
#define GREEDY_REJECTIONS 10000
#define EXHAUSTIVE_BITS 20

/* Entry of row r, column k of the Sylvester Hadamard matrix: +1 or -1. */
static int
hadamard_entry(uint32_t r, uint32_t k)
{
	return __builtin_parity(r & k) ? -1 : 1;
}

static bool
power_of_two(int x)
{
	return x > 0 && (x & (x - 1)) == 0;
}

static int
distance(const double *a, const double *b, int bits)
{
	int d = 0;

	for (int k = 0; k < bits; k++)
		d += a[k] != b[k];
	return d;
}

CentreStats
loss_centre_stats(const double *centres, int nclasses, int bits)
{
	CentreStats stats = {0};
	double sum = 0, squares = 0;
	double pairs = (double) nclasses * (nclasses - 1) / 2;

	if (nclasses < 2)
		return stats;
	stats.min = bits;
	for (int a = 0; a < nclasses; a++)
		for (int b = a + 1; b < nclasses; b++)
		{
			double d =
				distance(centres + (size_t) a * bits, centres + (size_t) b * bits, bits);

			if (d < stats.min)
				stats.min = d;
			sum += d;
			squares += d * d;
		}
	stats.mean = sum / pairs;
	stats.variance = fmax(squares / pairs - stats.mean * stats.mean, 0);
	return stats;
}

/* -------------------------------------------------------------------- Hadamard */

/* Which row each class takes, and whether negated. */
typedef struct Choice
{
	uint32_t *row; /* nclasses used; room for bits, of which a shuffle is made */
	bool *negated;
} Choice;

/*
 * Up to bits classes take different rows, the constant row 0 only if all are
 * needed, and half of them are negated: then no bit is the same for all.  Beyond
 * that every row is taken and some also negated, which lie bits apart.
 */
static void
draw_choice(int nclasses, int bits, Rng *rng, Choice *choice)
{
	int first = nclasses < bits ? 1 : 0;
	int plain = nclasses < bits ? nclasses : bits;
	uint32_t *row = choice->row;

	for (int r = first; r < bits; r++)
		row[r - first] = (uint32_t) r;
	rng_shuffle(rng, row, (size_t) (bits - first));
	for (int c = 0; c < plain; c++)
		choice->negated[c] = c < plain / 2;
	/* Shuffling rows does not mix which class is negated: swap at random. */
	for (int c = plain - 1; c > 0; c--)
	{
		uint32_t other = rng_below(rng, (uint32_t) c + 1);
		bool keep = choice->negated[c];

		choice->negated[c] = choice->negated[other];
		choice->negated[other] = keep;
	}
	for (int c = plain; c < nclasses; c++)
	{
		row[c] = row[c - plain];
		choice->negated[c] = !choice->negated[c - plain];
	}
}

/*
 * Mean |correlation| between the columns of the chosen centres.  A constant
 * column, a bit that says nothing, counts as correlated with every other.
 * column is room for bits * words.
 */
static double
column_correlation(int nclasses, int bits, const Choice *choice, uint64_t *column)
{
	int words = (nclasses + 63) / 64;
	double total = 0;

	memset(column, 0, (size_t) bits * words * sizeof *column);
	for (int c = 0; c < nclasses; c++)
		for (int k = 0; k < bits; k++)
			if ((hadamard_entry(choice->row[c], (uint32_t) k) > 0) != choice->negated[c])
				column[(size_t) k * words + c / 64] |= UINT64_C(1) << (c % 64);
	for (int a = 0; a < bits; a++)
	{
		double ones_a = 0;

		for (int w = 0; w < words; w++)
			ones_a += __builtin_popcountll(column[(size_t) a * words + w]);
		for (int b = a + 1; b < bits; b++)
		{
			double ones_b = 0, both = 0, spread;

			for (int w = 0; w < words; w++)
			{
				uint64_t y = column[(size_t) b * words + w];

				ones_b += __builtin_popcountll(y);
				both += __builtin_popcountll(column[(size_t) a * words + w] & y);
			}
			spread = sqrt(ones_a * (nclasses - ones_a) * ones_b * (nclasses - ones_b));
			total += spread > 0 ? fabs(nclasses * both - ones_a * ones_b) / spread : 1;
		}
	}
	return total / ((double) bits * (bits - 1) / 2);
}

static bool
hadamard_centres(int nclasses, int bits, Rng *rng, double *centres, TrainError *err)
{
	int words = (nclasses + 63) / 64;
	size_t room = (size_t) (nclasses > bits ? nclasses : bits);
	Choice choice = {malloc(room * sizeof(uint32_t)), malloc(room * sizeof(bool))};
	uint64_t *column = malloc((size_t) bits * words * sizeof *column);
	double best = INFINITY;
	double work = (double) bits * bits / 2 * words;
	int tries = (int) fmax(1, fmin(HADAMARD_TRIES, HADAMARD_WORK / work));
	bool ok = choice.row && choice.negated && column;

	if (!ok)
		train_fail(err, "out of memory: %d centres of %d bits", nclasses, bits);
	for (int t = 0; ok && t < tries; t++)
	{
		double correlation;

		draw_choice(nclasses, bits, rng, &choice);
		correlation = column_correlation(nclasses, bits, &choice, column);
		if (correlation >= best)
			continue;
		best = correlation;
		for (int c = 0; c < nclasses; c++)
			for (int k = 0; k < bits; k++)
				centres[(size_t) c * bits + k] =
					hadamard_entry(choice.row[c], (uint32_t) k) *
					(choice.negated[c] ? -1 : 1);
	}
	free(choice.row);
	free(choice.negated);
	free(column);
	return ok;
}

/* ------------------------------------------------------------------- Bernoulli */

/* Random rows with bits / 2 entries of -1 each. */
static void
draw_balanced(int nclasses, int bits, Rng *rng, double *centres)
{
	for (int c = 0; c < nclasses; c++)
	{
		double *row = centres + (size_t) c * bits;

		for (int k = 0; k < bits; k++)
			row[k] = k < bits / 2 ? -1 : 1;
		for (int k = bits - 1; k > 0; k--)
		{
			uint32_t other = rng_below(rng, (uint32_t) k + 1);
			double keep = row[k];

			row[k] = row[other];
			row[other] = keep;
		}
	}
}

/* As CSQ's authors do where Hadamard rows run out; after the tries, the draw with
 * the largest least distance stands. */
static bool
bernoulli_centres(int nclasses, int bits, Rng *rng, double *centres, TrainError *err)
{
	size_t size = (size_t) nclasses * bits * sizeof *centres;
	double *draw = malloc(size);
	double best = -1;

	if (draw == NULL)
		return train_fail(err, "out of memory: %d centres of %d bits", nclasses, bits);
	for (int t = 0; t < BERNOULLI_TRIES; t++)
	{
		CentreStats stats;

		draw_balanced(nclasses, bits, rng, draw);
		stats = loss_centre_stats(draw, nclasses, bits);
		if (stats.min > best)
		{
			best = stats.min;
			memcpy(centres, draw, size);
		}
		if (stats.min > bits / 4.0 && stats.mean >= bits / 2.0)
		{
			memcpy(centres, draw, size);
			break;
		}
	}
	free(draw);
	if (nclasses > 1 && best < 1)
		return train_fail(
			err,
			"random centres of %d bits for %d classes are not all different: "
			"use more bits",
			bits, nclasses);
	return true;
}

/* ---------------------------------------------------------------------- greedy */

static bool
keeps_distance(const uint64_t *codes, int n, int words, const uint64_t *code, int floor)
{
	for (int i = 0; i < n; i++)
	{
		int d = 0;

		for (int w = 0; w < words; w++)
			d += __builtin_popcountll(codes[(size_t) i * words + w] ^ code[w]);
		if (d < floor)
			return false;
	}
	return true;
}

static void
draw_code(int bits, Rng *rng, uint64_t *code)
{
	int words = (bits + 63) / 64;

	for (int w = 0; w < words; w++)
		code[w] = rng_next(rng);
	if (bits % 64)
		code[words - 1] &= (UINT64_C(1) << (bits % 64)) - 1;
}

/*
 * Fill codes[0 .. nclasses - 1].  Short codes that must nearly all be used are found
 * by trying every one, since random draws would hardly hit the last.
 */
static bool
greedy_codes(int nclasses, int bits, Rng *rng, uint64_t *codes)
{
	int words = (bits + 63) / 64;
	int n = 0;

	for (int floor = bits / 2; floor >= 1 && n < nclasses; floor--)
		for (int rejected = 0; rejected < GREEDY_REJECTIONS && n < nclasses;)
		{
			uint64_t *code = codes + (size_t) n * words;

			draw_code(bits, rng, code);
			if (keeps_distance(codes, n, words, code, floor))
			{
				n++;
				rejected = 0;
			}
			else
				rejected++;
		}
	if (bits <= EXHAUSTIVE_BITS)
		for (uint64_t code = 0; code < UINT64_C(1) << bits && n < nclasses; code++)
			if (keeps_distance(codes, n, words, &code, 1))
				codes[n++] = code;
	return n == nclasses;
}

static bool
greedy_centres(int nclasses, int bits, Rng *rng, double *centres, TrainError *err)
{
	int words = (bits + 63) / 64;
	uint64_t *codes = malloc((size_t) nclasses * words * sizeof *codes);
	bool ok;

	if (codes == NULL)
		return train_fail(err, "out of memory: %d centres of %d bits", nclasses, bits);
	ok = greedy_codes(nclasses, bits, rng, codes);
	if (!ok)
		train_fail(err, "found no %d different centres of %d bits: use more bits",
				   nclasses, bits);
	for (int c = 0; ok && c < nclasses; c++)
		for (int k = 0; k < bits; k++)
			centres[(size_t) c * bits + k] =
				codes[(size_t) c * words + k / 64] >> (k % 64) & 1 ? 1 : -1;
	free(codes);
	return ok;
}

/* ------------------------------------------------------------------------ public */

bool
loss_centres_by(const char *method, int nclasses, int bits, uint64_t seed,
				double *centres, TrainError *err)
{
	Rng rng;
	bool exists = power_of_two(bits) && bits > 1 && nclasses <= 2 * bits;

	if (nclasses < 1 || bits < 1)
		return train_fail(err, "cannot make %d centres of %d bits", nclasses, bits);
	if (bits < 31 && nclasses > 1 << bits)
		return train_fail(
			err,
			"%d classes cannot all have their own code of %d bits: use more "
			"bits",
			nclasses, bits);
	rng_seed(&rng, seed, STREAM_CENTRES);
	if (strcmp(method, "auto") == 0)
		method = exists ? "hadamard" : "greedy";
	if (strcmp(method, "bernoulli") == 0)
		return bernoulli_centres(nclasses, bits, &rng, centres, err);
	if (strcmp(method, "greedy") == 0)
		return greedy_centres(nclasses, bits, &rng, centres, err);
	if (strcmp(method, "hadamard") != 0)
		return train_fail(err,
						  "unknown kind of centres \"%s\": expected auto, hadamard, "
						  "bernoulli or greedy",
						  method);
	if (!exists)
		return train_fail(err,
						  "no Hadamard centres for %d classes of %d bits: bits must be a "
						  "power of two and at least half the number of classes",
						  nclasses, bits);
	return hadamard_centres(nclasses, bits, &rng, centres, err);
}

bool
loss_centres(int nclasses, int bits, uint64_t seed, double *centres, TrainError *err)
{
	return loss_centres_by("auto", nclasses, bits, seed, centres, err);
}

int
loss_guaranteed_distance(int nclasses, int bits)
{
	/* In logarithms, because 2^bits overflows at 1024 bits. */
	double term = 0;   /* log2 C(bits, d - 1) */
	double volume = 0; /* log2 of the ball of radius d - 1 */
	int d = 1;

	if (nclasses < 2)
		return bits;
	for (;;)
	{
		/* ball of radius d, needed for distance d + 1 */
		term += log2((double) (bits - d + 1) / d);
		volume = fmax(volume, term) + log2(1 + exp2(-fabs(volume - term)));
		if (d >= bits || log2(nclasses - 1) + volume >= bits)
			return d;
		d++;
	}
}
