/*
 * mihwalk.c
 *	  Which pages can hold entries within a radius of the query, and visiting
 *	  them.
 *
 * For radius r, chunk j of m gets the budget floor((r - j) / m) (none if
 * r < j).  The budgets plus one add up to r + 1, so a code that exceeds the
 * budget in every chunk differs in at least r + 1 bits: whatever lies within r
 * is met in some table.  README.md has the proof.  As the radius grows by one,
 * one budget does; pages seen for a smaller radius are not visited again.
 */
#include "mih/mihscan.h"

#include "miscadmin.h"

/* Nodes of a trie that cost what visiting a page costs. */
#define NODES_PER_PAGE 16

typedef struct Walk
{
	MihScan *scan;
	const MihDirEntry *dir;
	uint64 *visited;
	uint32 query;	   /* key of the query */
	uint64 most;	   /* give up once the scan has so many pages marked */
	uint64 nodes;	   /* looked at */
	uint64 most_nodes; /* give up past so many */
} Walk;

/* Add the pages among lo .. hi that were not visited to those of this step. */
static void
mark(Walk *walk, int64 lo, int64 hi)
{
	MihScan *scan = walk->scan;

	for (int64 p = lo; p <= hi; p++)
	{
		uint64 bit = UINT64CONST(1) << (p % 64);

		if (!(walk->visited[p / 64] & bit))
		{
			walk->visited[p / 64] |= bit;
			scan->pages[scan->npages++] = p;
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

	if (lo > hi || walk->scan->npages > walk->most || ++walk->nodes > walk->most_nodes)
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

/* Pages that were moved to other segments count as visited: nobody is to read them. */
static void
pass_over_moved(MihScanPart *part)
{
	for (uint32 page = 0; page < part->part.first; page++)
		part->visited[0][page / 64] |= UINT64CONST(1) << (page % 64);
}

/*
 * Forget what was visited, and count the pages of a pass over the segments that
 * are walked.
 */
void
mih_walk_begin(MihScan *scan)
{
	scan->pass_pages = scan->visited_pages = 0;
	scan->npages = 0;
	scan->nvisits = 0;
	scan->nodes = 0;
	for (int p = 0; p < scan->nparts; p++)
	{
		MihScanPart *part = &scan->parts[p];

		if (!part->walk)
			continue;
		scan->pass_pages += part->part.npages;
		for (int j = 0; j < part->segment->root.ntables; j++)
		{
			Size size = sizeof(uint64) * (part->segment->root.npages[j] / 64 + 1);

			if (!part->visited[j])
				part->visited[j] = MemoryContextAllocHuge(scan->lasting, size);
			memset(part->visited[j], 0, size);
			part->budget[j] = -1;
		}
		pass_over_moved(part);
	}
}

/* Mismatches that chunk j may have within radius, -1: the table is not needed. */
static int
budget_of(const MihScanPart *part, int j, int radius)
{
	return radius < j ? -1 : (radius - j) / part->segment->root.ntables;
}

/* Room for so many pages in the list of a step. */
static void
make_room(MihScan *scan, uint64 npages)
{
	if (npages <= scan->allocated_pages)
		return;
	scan->allocated_pages = npages;
	scan->pages = scan->pages
					  ? repalloc_huge(scan->pages, npages * sizeof(uint32))
					  : MemoryContextAllocHuge(scan->lasting, npages * sizeof(uint32));
}

/* Pages of one table that come within reach as the radius grows to this. */
static void
mark_table(MihScan *scan, int p, int j, int radius, uint64 most, uint64 most_nodes)
{
	MihScanPart *part = &scan->parts[p];
	MihSegment *segment = part->segment;
	const MihLayout *layout = &segment->root.layout;
	int budget = budget_of(part, j, radius);
	uint32 npages = segment->root.npages[j];
	uint64 from = scan->npages;
	MihVisit *visit;
	Walk walk;

	if (budget <= part->budget[j] || npages == 0)
		return;
	make_room(scan, from + npages);
	walk.scan = scan;
	walk.dir = mih_segment_dir(scan->index, segment, j);
	if (segment->root.order == MIH_BY_REFERENCES)
	{
		if (!part->references)
			part->references = mih_reference_walk(scan->index, segment, part->codes);
		scan->npages += mih_mark_references(part->references, walk.dir, npages, budget,
											part->visited[j], scan->pages + scan->npages);
	}
	else
	{
		walk.visited = part->visited[j];
		walk.query = mih_key(layout, j, part->codes);
		walk.most = most;
		walk.nodes = 0;
		walk.most_nodes = segment->root.ntables > 1
							  ? PG_UINT64_MAX
							  : most_nodes - Min(most_nodes, scan->nodes);
		descend(&walk, 0, mih_key_bits(layout, j), budget, 0, (int64) npages - 1);
		if (segment->root.ntables == 1)
			scan->nodes += walk.nodes;
	}
	if (scan->npages == from)
		return;
	if (scan->nvisits == scan->allocated_visits)
	{
		Size size;

		scan->allocated_visits = 2 * scan->allocated_visits + 16;
		size = scan->allocated_visits * sizeof(MihVisit);
		scan->visits = scan->visits ? repalloc(scan->visits, size)
									: MemoryContextAlloc(scan->lasting, size);
	}
	visit = &scan->visits[scan->nvisits++];
	*visit = (MihVisit){.part = p, .table = j, .from = from, .to = scan->npages};
}

/* Take back what mih_walk_mark marked, as if it had not been tried. */
void
mih_walk_unmark(MihScan *scan)
{
	for (int v = 0; v < scan->nvisits; v++)
	{
		const MihVisit *visit = &scan->visits[v];
		uint64 *visited = scan->parts[visit->part].visited[visit->table];

		for (uint64 i = visit->from; i < visit->to; i++)
			visited[scan->pages[i] / 64] &= ~(UINT64CONST(1) << (scan->pages[i] % 64));
	}
	scan->npages = 0;
	scan->nvisits = 0;
	scan->nodes = 0;
}

/*
 * Mark the pages to visit so that everything within radius is seen.  If they are
 * more than most, or if the walk has spent too much on the tries of segments that
 * have one table only, nothing is marked and the result is false.
 */
bool
mih_walk_mark(MihScan *scan, int radius, uint64 most)
{
	uint64 most_nodes = scan->pass_pages * MIH_WALK_SHARE * NODES_PER_PAGE;

	for (int p = 0; p < scan->nparts; p++)
		for (int j = 0; scan->parts[p].walk && j < scan->parts[p].segment->root.ntables;
			 j++)
		{
			mark_table(scan, p, j, radius, most, most_nodes);
			if (scan->npages > most || scan->nodes > most_nodes)
			{
				mih_walk_unmark(scan);
				return false;
			}
		}
	return true;
}

static void
visit_table(MihScan *scan, const MihVisit *visit, MihSink *sink)
{
	MihScanPart *part = &scan->parts[visit->part];
	MihSegment *segment = part->segment;
	int j = visit->table;

	for (uint64 i = visit->from; i < visit->to; i++)
	{
		Buffer buf;

		CHECK_FOR_INTERRUPTS();
		if (i + 1 < visit->to)
			mih_segment_prefetch(segment, j, scan->pages[i + 1]);
		buf = mih_segment_page(scan->index, segment, j, scan->pages[i], BUFFER_LOCK_SHARE,
							   scan->strategy);
		mih_probe_page(scan, part, buf, sink);
		UnlockReleaseBuffer(buf);
	}
	scan->visited_pages += visit->to - visit->from;
	scan->stats.walk_pages += visit->to - visit->from;
}

/* Visit the pages that mih_walk_mark marked for this radius. */
void
mih_walk_visit(MihScan *scan, int radius, MihSink *sink)
{
	for (int v = 0; v < scan->nvisits; v++)
		visit_table(scan, &scan->visits[v], sink);
	scan->npages = 0;
	scan->nvisits = 0;
	for (int p = 0; p < scan->nparts; p++)
		for (int j = 0; scan->parts[p].walk && j < scan->parts[p].segment->root.ntables;
			 j++)
			scan->parts[p].budget[j] = budget_of(&scan->parts[p], j, radius);
}
