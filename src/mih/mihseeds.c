/*
 * mihseeds.c
 *	  Finding the references of a segment from a sample of its codes: seeds far from
 *	  one another (k-means++), moved to the middle of their cells a few times.
 */
#include "mih/mih.h"

#include "miscadmin.h"

#define SEED_TRIALS 4		   /* codes tried for each further reference */
#define SEED_ROUNDS 3		   /* corrections of all references */
#define NONE_YET PG_UINT16_MAX /* farther than any code can be */

typedef struct Finder
{
	const uint8 *sample;
	int nsample;
	int nbytes;
	uint64 random;
	uint16 *d;		/* scratch: distances of one code to all of the sample */
	uint16 *best;	/* by code: distance to the nearest reference so far */
	uint16 *holder; /* by code: which one that is */
} Finder;

/* The same numbers each time, so that the same sample gives the same segment. */
static double
draw(Finder *f)
{
	uint64 x = f->random += UINT64CONST(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return (double) ((x ^ (x >> 31)) >> 11) / (double) (UINT64CONST(1) << 53);
}

/* Distances of a code to the sample, into f->d. */
static void
measure(Finder *f, const uint8 *code)
{
	hamming_kernels()->distances(code, f->sample, f->nbytes, f->nsample, f->d);
}

/* Make code reference number c as well, for those of the sample it is nearer to. */
static void
adopt(Finder *f, const uint8 *code, int c)
{
	measure(f, code);
	for (int i = 0; i < f->nsample; i++)
		if (f->d[i] < f->best[i])
		{
			f->best[i] = f->d[i];
			f->holder[i] = c;
		}
}

/* A code of the sample, drawn with odds of its squared distance: k-means++. */
static int
draw_far(Finder *f, double total)
{
	double x = draw(f) * total;
	int i = 0;

	while (i < f->nsample - 1 && (x -= (double) f->best[i] * f->best[i]) >= 0)
		i++;
	return i;
}

/*
 * The code of the sample to become the next reference: of a few drawn, the one
 * that shortens squared distances most.  -1 if every code is a reference.
 */
static int
next_seed(Finder *f)
{
	double total = 0;
	double best_gain = -1;
	int best = -1;

	for (int i = 0; i < f->nsample; i++)
		total += (double) f->best[i] * f->best[i];
	if (total == 0)
		return -1;
	for (int t = 0; t < SEED_TRIALS; t++)
	{
		int candidate = draw_far(f, total);
		double gain = 0;

		measure(f, f->sample + (Size) candidate * f->nbytes);
		for (int i = 0; i < f->nsample; i++)
			if (f->d[i] < f->best[i])
				gain += (double) f->best[i] * f->best[i] - (double) f->d[i] * f->d[i];
		if (gain > best_gain)
		{
			best_gain = gain;
			best = candidate;
		}
	}
	return best;
}

/* Who is nearest to what, anew. */
static void
assign_all(Finder *f, const MihReferences *refs)
{
	for (int i = 0; i < f->nsample; i++)
		f->best[i] = NONE_YET;
	for (int c = 0; c < refs->n; c++)
		adopt(f, refs->codes + (Size) c * refs->nbytes, c);
}

/*
 * Replace each reference by the majority of its codes, bit by bit: the code with
 * the least sum of distances to them.
 */
static void
centre_all(Finder *f, MihReferences *refs)
{
	int nbits = refs->nbytes * 8;
	int *members = palloc0(sizeof(int) * refs->n);
	int *ones = palloc0(sizeof(int) * refs->n * nbits);

	for (int i = 0; i < f->nsample; i++)
	{
		const uint8 *code = f->sample + (Size) i * f->nbytes;
		int *count = ones + (Size) f->holder[i] * nbits;

		members[f->holder[i]]++;
		for (int b = 0; b < nbits; b++)
			count[b] += (code[b / 8] >> (7 - b % 8)) & 1;
	}
	for (int c = 0; c < refs->n; c++)
	{
		uint8 *code = refs->codes + (Size) c * refs->nbytes;

		if (members[c] == 0)
			continue;
		memset(code, 0, refs->nbytes);
		for (int b = 0; b < nbits; b++)
			if (2 * ones[(Size) c * nbits + b] > members[c])
				code[b / 8] |= 0x80 >> b % 8;
	}
	pfree(members);
	pfree(ones);
}

/* Drop references that no code of the sample has for its nearest. */
static void
drop_idle(Finder *f, MihReferences *refs)
{
	bool *used = palloc0(sizeof(bool) * refs->n);
	int n = 0;

	for (int i = 0; i < f->nsample; i++)
		used[f->holder[i]] = true;
	for (int c = 0; c < refs->n; c++)
		if (used[c])
			memmove(refs->codes + (Size) n++ * refs->nbytes,
					refs->codes + (Size) c * refs->nbytes, refs->nbytes);
	refs->n = n;
	pfree(used);
}

/*
 * Up to want references (MIH_MAX_REFERENCES at most) for the codes that sample
 * stands for, at least one code: seeds far from one another (k-means++), moved
 * to the middle of their cells a few times.
 */
MihReferences *
mih_find_references(const uint8 *sample, int nsample, int nbits, int want)
{
	int nbytes = hamming_bytes(nbits);
	MihReferences *refs = mih_make_references(want, nbytes);
	Finder f = {.sample = sample, .nsample = nsample, .nbytes = nbytes};
	int seed;

	f.d = palloc(sizeof(uint16) * nsample);
	f.best = palloc(sizeof(uint16) * nsample);
	f.holder = palloc0(sizeof(uint16) * nsample);
	memset(f.best, 0xff, sizeof(uint16) * nsample);
	seed = (int) (draw(&f) * nsample);
	for (refs->n = 0; refs->n < want && seed >= 0; refs->n++)
	{
		const uint8 *code = sample + (Size) seed * nbytes;

		CHECK_FOR_INTERRUPTS();
		memcpy(refs->codes + (Size) refs->n * nbytes, code, nbytes);
		adopt(&f, code, refs->n);
		seed = refs->n + 1 < want ? next_seed(&f) : -1;
	}
	for (int round = 0; round < SEED_ROUNDS; round++)
	{
		CHECK_FOR_INTERRUPTS();
		centre_all(&f, refs);
		assign_all(&f, refs);
	}
	drop_idle(&f, refs);
	pfree(f.d);
	pfree(f.best);
	pfree(f.holder);
	return refs;
}
