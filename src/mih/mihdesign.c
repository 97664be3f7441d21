/*
 * mihdesign.c
 *	  Choosing how a segment is written, from a sample of its codes.
 *
 * A large segment has a table for each chunk of the codes (m copies of every
 * entry), or one table ordered by reference codes.  Which of the two touches fewer
 * pages depends on the codes: those of a trained network gather about the centres
 * of classes, which references follow and chunks do not, and evenly spread codes
 * have no centres.
 */
#include "mih/mih.h"

#include <math.h>

#include "port/pg_bitutils.h"

#define MIN_SAMPLE 256		/* fewer codes say nothing about a distribution */
#define MIN_PAGES 100		/* fewer are read in one pass */
#define MIN_CHUNK_PAGES 512 /* and so few are not worth several copies */
#define CELL_PAGES 4		/* at least so many to a reference */
#define MAX_CHUNKS 6		/* copies that the automatic choice pays for, */
#define MAX_LONG_CHUNKS 4	/* and for codes longer than */
#define LONG_CHUNK_BITS 128
#define MAX_CHUNK_BITS 256 /* longer codes than this get no copies */
#define PROBES 64		   /* codes of the sample that are asked for */
#define NEIGHBOURS 10	   /* so many neighbours of each */
#define TAIL 8			   /* neighbours in the sample that tell how their number grows */
#define TEST_STEP 4		   /* every such code of the sample is held back to test */
#define CLOSE_STEP 16	   /* a close radius is one bit in so many */

/* Chunks must touch less than this share of what references touch in one copy. */
#define WORTH_COPIES 0.5

/* The questions by which layouts are compared. */
typedef struct Trial
{
	int nbits;
	int nbytes;
	double pages; /* of one table */
	const uint8 *sample;
	int nsample;
	uint8 *fit; /* codes of the sample to find references for, */
	int nfit;
	uint8 *test; /* and the others, which tell how well they serve */
	int ntest;
	int nprobes;
	int probe[PROBES]; /* which of test are asked for */
	int near[PROBES];  /* the radius at which it has NEIGHBOURS in the segment */
	int close;		   /* the radius of a search for near-duplicates */
} Trial;

/* What a walk touches, as a share of a pass, on the average of the probes. */
typedef struct Shares
{
	double near;
	double close;
} Shares;

/*
 * The radius that holds NEIGHBOURS of nentries codes, given the number of codes of
 * the sample at each distance from a probe, itself among them.  Where the sample
 * is too thin to hold them, their number is taken to grow with the radius below
 * its nearest code as it does above, by the same factor for each bit.
 */
static int
near_radius(const Trial *trial, const int *count, double nentries)
{
	double want = NEIGHBOURS * trial->nsample / nentries;
	int first = -1;
	int r = 0;
	int n = count[0] - 1;

	if (n > 0)
		first = 0;
	while (r < trial->nbits && n < Max(want, TAIL))
	{
		if (want >= 1 && n >= want)
			break;
		n += count[++r];
		if (first < 0 && n > 0)
			first = r;
	}
	if (want >= 1 || first < 0)
		return r;
	return Max(0, (int) rint(first - log(1 / want) * (r - first) / log(TAIL)));
}

/*
 * Deal the sample to fit and test: references lie nearer to the codes they were
 * found for than to others.  A small sample serves as both.
 */
static void
split_sample(Trial *trial)
{
	int nbytes = trial->nbytes;
	Size size = Max((Size) trial->nsample * nbytes, 1);

	trial->fit = palloc(size);
	trial->test = palloc(size);
	for (int i = 0; i < trial->nsample; i++)
	{
		const uint8 *code = trial->sample + (Size) i * nbytes;
		bool small = trial->nsample < MIN_SAMPLE;

		if (small || i % TEST_STEP != 0)
			memcpy(trial->fit + (Size) trial->nfit++ * nbytes, code, nbytes);
		if (small || i % TEST_STEP == 0)
			memcpy(trial->test + (Size) trial->ntest++ * nbytes, code, nbytes);
	}
}

static void
begin_trial(Trial *trial, int nbits, double nentries, const uint8 *sample, int nsample)
{
	uint16 *d = palloc(sizeof(uint16) * nsample);
	int *count = palloc(sizeof(int) * (nbits + 1));

	trial->nbits = nbits;
	trial->nbytes = hamming_bytes(nbits);
	trial->pages =
		nentries * (trial->nbytes + sizeof(ItemPointerData)) / (double) MihPageCapacity;
	trial->sample = sample;
	trial->nsample = nsample;
	trial->nfit = trial->ntest = 0;
	split_sample(trial);
	trial->nprobes = Min(PROBES, trial->ntest);
	trial->close = nbits / CLOSE_STEP;
	for (int p = 0; p < trial->nprobes; p++)
	{
		trial->probe[p] = (int) ((int64) p * trial->ntest / trial->nprobes);
		hamming_kernels()->distances(trial->test + (Size) trial->probe[p] * trial->nbytes,
									 sample, trial->nbytes, nsample, d);
		memset(count, 0, sizeof(int) * (nbits + 1));
		for (int i = 0; i < nsample; i++)
			count[d[i]]++;
		trial->near[p] = near_radius(trial, count, nentries);
	}
	pfree(d);
	pfree(count);
}

/* What walks over references touch; by radius, for the cost model, into reach. */
static Shares
try_references(const Trial *trial, const MihReferences *refs, double *reach)
{
	uint32 *keys = palloc(sizeof(uint32) * trial->ntest);
	int64 *first = palloc(sizeof(int64) * (trial->nbits + 1));
	int64 *total = palloc0(sizeof(int64) * (trial->nbits + 1));
	double all = (double) trial->nprobes * trial->ntest;
	int64 met_near = 0;
	int64 met_close = 0;
	int64 met = 0;
	int knot = 0;

	for (int i = 0; i < trial->ntest; i++)
		keys[i] = mih_reference_key(refs, trial->test + (Size) i * trial->nbytes);
	for (int p = 0; p < trial->nprobes; p++)
	{
		memset(first, 0, sizeof(int64) * (trial->nbits + 1));
		mih_reference_reach(refs, trial->test + (Size) trial->probe[p] * trial->nbytes,
							keys, trial->ntest, first);
		for (int r = 0; r <= trial->nbits; r++)
		{
			met_near += r <= trial->near[p] ? first[r] : 0;
			met_close += r <= trial->close ? first[r] : 0;
			total[r] += first[r];
		}
	}
	for (int r = 0; r <= trial->nbits && knot < MIH_REACH_KNOTS; r++)
	{
		met += total[r];
		while (knot < MIH_REACH_KNOTS && r >= knot * trial->nbits / MIH_REACH_STEPS)
			reach[knot++] = met / all;
	}
	pfree(keys);
	pfree(first);
	pfree(total);
	return (Shares){.near = met_near / all, .close = met_close / all};
}

/* What walks over chunk tables touch. */
static Shares
try_chunks(const Trial *trial, const MihLayout *layout)
{
	int m = layout->nchunks;
	int lead = (int) floor(log2(Max(trial->pages, 2)));
	MihShuffle *shuffle = mih_shuffle_make(layout, false);
	uint32 *keys = palloc(sizeof(uint32) * trial->ntest * m);
	uint8 *stored = palloc(trial->nbytes);
	double all = (double) trial->nprobes * trial->ntest;
	Shares shares = {0};

	/* Pages of table j are told apart by about so many leading bits of its keys. */
	for (int i = 0; i < trial->ntest; i++)
	{
		mih_shuffle(shuffle, trial->test + (Size) i * trial->nbytes, stored);
		for (int j = 0; j < m; j++)
			keys[(Size) i * m + j] =
				mih_key(layout, j, stored) >> Max(0, mih_key_bits(layout, j) - lead);
	}
	for (int p = 0; p < trial->nprobes; p++)
	{
		int64 met[2] = {0, 0};

		for (int i = 0; i < trial->ntest; i++)
			for (int j = 0; j < m; j++)
			{
				int differ = pg_popcount32(keys[(Size) i * m + j] ^
										   keys[(Size) trial->probe[p] * m + j]);

				/* The budgets of a walk, see mihwalk.c. */
				met[0] += trial->near[p] >= j && differ <= (trial->near[p] - j) / m;
				met[1] += trial->close >= j && differ <= (trial->close - j) / m;
			}
		/* A walk that touches more than a pass becomes one. */
		shares.near += Min(met[0], trial->ntest) / all;
		shares.close += Min(met[1], trial->ntest) / all;
	}
	pfree(keys);
	pfree(stored);
	return shares;
}

/*
 * So many chunks that each is as long as the bits that tell the pages of a table
 * apart: more, and keys within the budget fill most of their table; fewer, and
 * the budget of each is wasted on bits that single out no page.
 */
static int
count_chunks(int nbits, double pages)
{
	int most = nbits > LONG_CHUNK_BITS ? MAX_LONG_CHUNKS : MAX_CHUNKS;

	return Max(1, Min(most, (int) (nbits / log2(Max(pages, MIN_CHUNK_PAGES)))));
}

/* References for a segment of so many pages. */
static MihReferences *
find_references(const Trial *trial)
{
	int want = (int) Max(1, Min(MIH_MAX_REFERENCES, trial->pages / CELL_PAGES));

	return mih_find_references(trial->fit, trial->nfit, trial->nbits, want);
}

/*
 * One figure for both questions.  The geometric mean lets a layout that answers one of
 * them in few pages pay for the other: evenly spread codes have no near rows that
 * any layout finds in less than a pass, but near-duplicates that chunks find.
 */
static double
merit(const Trial *trial, Shares shares)
{
	double page = 1 / Max(trial->pages, 1);

	return sqrt(Max(shares.near, page) * Max(shares.close, page));
}

/*
 * Choose between references and m chunks by the share of a pass that a walk
 * touches: for the nearest rows of some codes of the sample, and for near-duplicates.
 * As chunk tables take m times the room and the time to write, and references but
 * one, chunks must be clearly better.  References are never worse than one table in
 * any other order: even where a walk ends up reading all of it, it begins where
 * near codes are, which lowers the bound on the distances that matter.
 *
 * Where the nearest rows are out of reach of the scan's walk all the same, copies
 * would serve near-duplicates alone, which references find in few pages too.
 */
static void
choose(MihDesign *design, const Trial *trial)
{
	bool copies = trial->pages >= MIN_CHUNK_PAGES && trial->nbits <= MAX_CHUNK_BITS;
	int m = copies ? count_chunks(trial->nbits, trial->pages) : 1;
	Shares by_references, by_chunks = {1, 1};

	design->refs = find_references(trial);
	by_references = try_references(trial, design->refs, design->reach);
	if (m > 1)
	{
		mih_cut_layout(&design->layout, trial->nbits, m, trial->sample, trial->nsample);
		by_chunks = try_chunks(trial, &design->layout);
		if (by_chunks.near > MIH_WALK_SHARE ||
			merit(trial, by_chunks) > WORTH_COPIES * merit(trial, by_references))
			m = 1;
	}
	elog(DEBUG1,
		 "mih: walks to %d neighbours and to radius %d touch %.4f and %.4f of the "
		 "pages by %d references, %.4f and %.4f by %d chunks",
		 NEIGHBOURS, trial->close, by_references.near, by_references.close,
		 design->refs->n, by_chunks.near, by_chunks.close, m);
	if (m > 1)
	{
		pfree(design->refs);
		design->refs = NULL;
	}
	design->ntables = m;
}

/*
 * Choose how to write a segment of about nentries codes of nbits, from nsample
 * packed codes and what the owner asked for: option is the reloption layout, and
 * chunks the one of that name, 0 to choose.
 */
void
mih_choose_design(MihDesign *design, MihLayoutOption option, int chunks, int nbits,
				  double nentries, const uint8 *sample, int nsample)
{
	Trial trial;

	memset(design, 0, sizeof(MihDesign));
	design->ntables = 1;
	begin_trial(&trial, nbits, Max(nentries, 1), sample, nsample);
	if (option == MIH_LAYOUT_REFERENCES && nsample > 0)
	{
		design->refs = find_references(&trial);
		try_references(&trial, design->refs, design->reach);
	}
	else if (chunks > 0)
		design->ntables = Min(chunks, nbits);
	else if (option == MIH_LAYOUT_CHUNKS)
		design->ntables = count_chunks(nbits, trial.pages);
	else if (option == MIH_LAYOUT_AUTO && trial.pages >= MIN_PAGES &&
			 nsample >= MIN_SAMPLE)
		choose(design, &trial);
	mih_cut_layout(&design->layout, nbits, design->ntables, sample, nsample);
}
