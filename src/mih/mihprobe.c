/*
 * mihprobe.c
 *	  Comparing the query with the entries of a page, and the pass over all
 *	  pages of a stream.
 */
#include "mih/mihscan.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

#define MANY_HITS 16 /* of a page: finding the runs of all its codes costs less */

/* Whether a code lies in all the further balls. */
static bool
passes_filters(const MihScan *scan, const MihScanPart *part, const uint8 *code,
			   int nbytes)
{
	const HammingKernels *kernels = hamming_kernels();

	for (int f = 0; f < scan->nfilters; f++)
		if (kernels->distance(part->codes + (f + 1) * nbytes, code, nbytes) >
			scan->balls[f]->radius)
			return false;
	return true;
}

/* The TIDs of code i, near enough; runs are those of all codes, or NULL. */
static void
take_run(MihScan *scan, Buffer buf, MihEntries *entries, const uint16 *runs, int i,
		 int distance, MihSink *sink)
{
	int from, to;

	if (runs)
	{
		from = runs[i];
		to = runs[i + 1];
	}
	else
		mih_run(scan->index, buf, entries, i, &from, &to);
	for (int t = from; t < to; t++)
	{
		ItemPointerData tid = entries->top[-1 - t];

		mih_check_tid(scan->index, buf, &tid);
		if (sink->queue)
			mih_queue_add(sink->queue, MihKeyMake(distance, &tid));
		else
		{
			tbm_add_tuples(sink->tbm, &tid, 1, sink->recheck);
			sink->ntids++;
		}
	}
}

/*
 * The TIDs of the hits lie far from the codes, in lines that nothing has touched:
 * let the processor wait for all of them at once.
 */
static void
prefetch_tids(const MihScan *scan, const MihEntries *entries, int hits)
{
	if (entries->starts)
		return;
	for (int w = 0; hits > 0; w++)
		for (uint64 word = scan->mask[w]; word != 0; word &= word - 1, hits--)
			__builtin_prefetch(&entries->top[-1 - w * 64 - pg_rightmost_one_pos64(word)]);
}

/* Hand the entries of a page that the sink may want to it. */
void
mih_probe_page(MihScan *scan, MihScanPart *part, Buffer buf, MihSink *sink)
{
	const HammingKernels *kernels = hamming_kernels();
	int nbytes = hamming_bytes(scan->nbits);
	int max = sink->max_distance;
	uint8 buffer[HAMMING_MAX_BYTES];
	uint16 from[MIH_MAX_RUNS + 1];
	const uint16 *runs = NULL;
	MihEntries entries;
	int hits;

	if (sink->queue)
		max = Min(max, MihKeyDistance(sink->queue->upto));
	mih_page_entries(scan->index, buf, nbytes, &entries);
	if (entries.sliced && part->segment)
		part->segment->wanted =
			MIH_CODES_OFFSET + entries.ncodes * (int) hamming_first_look(nbytes, max);
	if (entries.ncodes == 0)
		return;
	hits = mih_entries_within(&entries, part->codes, max, scan->mask);
	scan->stats.candidates += hits;
	prefetch_tids(scan, &entries, hits);
	if (entries.starts && hits > MANY_HITS)
	{
		mih_runs(scan->index, buf, &entries, from);
		runs = from;
	}
	for (int w = 0; hits > 0; w++)
		for (uint64 word = scan->mask[w]; word != 0; word &= word - 1, hits--)
		{
			int i = w * 64 + pg_rightmost_one_pos64(word);
			const uint8 *code = mih_entry_code(&entries, i, buffer);
			int distance = kernels->distance(part->codes, code, nbytes);

			if (scan->nfilters == 0 || passes_filters(scan, part, code, nbytes))
				take_run(scan, buf, &entries, runs, i, distance, sink);
		}
}

/* Lists, and segments too small for a walk: every entry of theirs. */
void
mih_read_lists(MihScan *scan, MihSink *sink)
{
	for (int p = 0; p < scan->nparts; p++)
	{
		MihScanPart *part = &scan->parts[p];
		MihCursor cursor;
		Buffer buf;

		if (!part->wanted || part->walk || part->nulls)
			continue;
		mih_cursor_begin(&cursor, scan->index, &part->part, part->segment, 0,
						 BUFFER_LOCK_SHARE, scan->strategy);
		while ((buf = mih_cursor_next(&cursor)) != InvalidBuffer)
		{
			mih_probe_page(scan, part, buf, sink);
			UnlockReleaseBuffer(buf);
			scan->stats.list_pages++;
		}
	}
}

/* The first page from number page on that was not visited, or npages. */
static uint32
next_unvisited(const uint64 *visited, uint32 page, uint32 npages)
{
	while (page < npages)
	{
		uint64 word = ~visited[page / 64] >> (page % 64);

		if (word != 0)
			return Min(page + pg_rightmost_one_pos64(word), npages);
		page = (page / 64 + 1) * 64;
	}
	return npages;
}

/*
 * Every page of the first tables of the other segments that the walk has not
 * visited: then every entry was met, in one table or another.
 */
void
mih_pass(MihScan *scan, MihSink *sink)
{
	scan->stats.passes++;
	for (int p = 0; p < scan->nparts; p++)
	{
		MihScanPart *part = &scan->parts[p];
		uint32 npages, next;

		if (!part->walk)
			continue;
		npages = part->segment->root.npages[0];
		mih_segment_dir(scan->index, part->segment, 0);
		for (uint32 i = next_unvisited(part->visited[0], 0, npages); i < npages; i = next)
		{
			Buffer buf;

			CHECK_FOR_INTERRUPTS();
			next = next_unvisited(part->visited[0], i + 1, npages);
			if (next < npages)
				mih_segment_prefetch(part->segment, 0, next);
			buf = mih_segment_page(scan->index, part->segment, 0, i, BUFFER_LOCK_SHARE,
								   scan->strategy);
			mih_probe_page(scan, part, buf, sink);
			UnlockReleaseBuffer(buf);
			scan->stats.pass_pages++;
		}
	}
}
