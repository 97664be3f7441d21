/*
 * mihwalk.c
 *	  Which pages can hold entries within a radius of the query, and visiting
 *	  them.
 *
 * For radius r, chunk j of m gets the budget floor((r - j) / m) (none if
 * r < j).  The budgets plus one add up to r + 1, so a code that exceeds the
 * budget in every chunk differs in at least r + 1 bits: whatever lies within r
 * is met in some table.  README.md has the proof.
 */
#include "mih/mihscan.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

typedef struct Walk
{
	const MihDirEntry *dir;
	uint64 *visit;
	uint32 query;  /* key of the query */
	int bits;	   /* of a key */
	uint64 npages; /* marked */
	uint64 limit;  /* stop once more are marked */
} Walk;

static void
mark(Walk *walk, int64 lo, int64 hi)
{
	for (int64 p = lo; p <= hi; p++)
	{
		uint64 bit = UINT64CONST(1) << (p % 64);

		if (!(walk->visit[p / 64] & bit))
		{
			walk->visit[p / 64] |= bit;
			walk->npages++;
		}
	}
}

/* The last page in [lo, hi] whose first key is below key; lo - 1 if none. */
static int64
last_below(const MihDirEntry *dir, int64 lo, int64 hi, uint64 key)
{
	while (lo <= hi)
	{
		int64 mid = lo + (hi - lo) / 2;

		if (dir[mid].first < key)
			lo = mid + 1;
		else
			hi = mid - 1;
	}
	return hi;
}

/* The first page in [lo, hi] whose last key reaches key; hi + 1 if none. */
static int64
first_reaching(const MihDirEntry *dir, int64 lo, int64 hi, uint64 key)
{
	while (lo <= hi)
	{
		int64 mid = lo + (hi - lo) / 2;

		if (dir[mid].last < key)
			lo = mid + 1;
		else
			hi = mid - 1;
	}
	return lo;
}

/*
 * Mark the pages that hold keys under one node of the binary trie of keys and
 * within budget mismatches: the node covers 2^depth keys from base, and pages
 * lo .. hi are those whose key ranges meet it.  Stops at a single page.
 */
static void
descend(Walk *walk, uint64 base, int depth, int budget, int64 lo, int64 hi)
{
	uint64 half;
	int bit;

	if (lo > hi || walk->npages > walk->limit)
		return;
	if (lo == hi || budget >= depth)
	{
		mark(walk, lo, hi);
		return;
	}
	half = base + (UINT64CONST(1) << (depth - 1));
	bit = (walk->query >> (depth - 1)) & 1;
	if (bit == 0 || budget > 0)
		descend(walk, base, depth - 1, budget - bit, lo,
				last_below(walk->dir, lo, hi, half));
	if (bit == 1 || budget > 0)
		descend(walk, half, depth - 1, budget - (1 - bit),
				first_reaching(walk->dir, lo, hi, half), hi);
}

/* Pages that a pass over the stream would read. */
uint64
mih_pass_pages(MihScan *scan, int stream)
{
	uint64 n = 0;

	for (int p = 0; p < scan->nparts; p++)
		if (scan->parts[p].stream == stream)
			n += scan->parts[p].part.npages;
	return n;
}

static uint64
plan_table(MihScan *scan, MihScanPart *part, int j, uint64 limit)
{
	MihSegment *segment = part->segment;
	uint32 npages = segment->root.npages[j];
	Size size = sizeof(uint64) * (npages / 64 + 1);
	Walk walk;

	if (!part->visit[j])
		part->visit[j] = MemoryContextAllocHuge(scan->context, size);
	memset(part->visit[j], 0, size);
	if (part->budget[j] < 0 || npages == 0)
		return 0;
	walk.dir = mih_segment_dir(scan->index, segment, j);
	if (segment->root.order == MIH_BY_REFERENCES)
	{
		if (!part->references)
			part->references = mih_reference_walk(scan->index, segment, part->codes);
		return mih_mark_references(part->references, walk.dir, npages, part->budget[j],
								   part->visit[j]);
	}
	walk.visit = part->visit[j];
	walk.query = mih_key(&segment->root.layout, j, part->codes);
	walk.bits = mih_key_bits(&segment->root.layout, j);
	walk.npages = 0;
	walk.limit = limit;
	descend(&walk, 0, walk.bits, part->budget[j], 0, (int64) npages - 1);
	return walk.npages;
}

/*
 * Mark the pages to visit for all results within radius and return their
 * number; once it passes limit the marks are incomplete and of no use.
 */
uint64
mih_plan_walk(MihScan *scan, int radius, uint64 limit)
{
	uint64 n = 0;

	for (int p = 0; p < scan->nparts && n <= limit; p++)
	{
		MihScanPart *part = &scan->parts[p];
		int m;

		if (part->stream != MIH_STREAM_WALK)
			continue;
		m = part->segment->root.ntables;
		for (int j = 0; j < m && n <= limit; j++)
		{
			part->budget[j] = radius < j ? -1 : (radius - j) / m;
			n += plan_table(scan, part, j, limit - n);
		}
	}
	return n;
}

/* The first marked page from number page on, or npages. */
static uint32
next_marked(const uint64 *visit, uint32 page, uint32 npages)
{
	uint64 word;

	if (page >= npages)
		return npages;
	word = visit[page / 64] & (PG_UINT64_MAX << (page % 64));
	while (word == 0)
	{
		page = (page / 64 + 1) * 64;
		if (page >= npages)
			return npages;
		word = visit[page / 64];
	}
	return page / 64 * 64 + pg_rightmost_one_pos64(word);
}

/* Visit the pages of one table that mih_plan_walk marked. */
static void
walk_table(MihScan *scan, MihScanPart *part, int j, MihSink *sink)
{
	MihSegment *segment = part->segment;
	const uint64 *visit = part->visit[j];
	uint32 npages = segment->root.npages[j];
	uint32 next;

	mih_segment_dir(scan->index, segment, j);
	for (uint32 i = next_marked(visit, 0, npages); i < npages; i = next)
	{
		Buffer buf;

		CHECK_FOR_INTERRUPTS();
		next = next_marked(visit, i + 1, npages);
		if (next < npages)
			mih_segment_prefetch(segment, j, next);
		buf = mih_segment_page(scan->index, segment, j, i, BUFFER_LOCK_SHARE,
							   scan->strategy);
		mih_probe_page(scan, part, buf, j, sink);
		UnlockReleaseBuffer(buf);
	}
}

/* Visit the pages that mih_plan_walk marked. */
void
mih_walk(MihScan *scan, MihSink *sink)
{
	for (int p = 0; p < scan->nparts; p++)
	{
		MihScanPart *part = &scan->parts[p];

		if (part->stream != MIH_STREAM_WALK)
			continue;
		for (int j = 0; j < part->segment->root.ntables; j++)
			if (part->budget[j] >= 0)
				walk_table(scan, part, j, sink);
	}
}
