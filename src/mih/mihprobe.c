/*
 * mihprobe.c
 *	  Comparing the query with the entries of a page, and the pass over all
 *	  pages of a stream.
 */
#include "mih/mihscan.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

/*
 * Whether a hit counts in this table.  A walk may meet an entry in several
 * chunk tables; it counts in the lowest chunk whose mismatches are within the
 * budget, and by the pigeonhole principle there is one (see README.md).
 */
static bool
counts_here(const MihScanPart *part, const uint8 *query, const uint8 *code, int table)
{
	const MihLayout *layout = &part->segment->root.layout;

	for (int j = 0; j <= table; j++)
	{
		bool within = part->budget[j] >= 0 &&
					  mih_bit_distance(query, code, layout->start[j],
									   layout->start[j + 1]) <= part->budget[j];

		if (within)
			return j == table;
	}
	return false;
}

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

static void
take_run(MihScan *scan, Buffer buf, const MihEntries *entries, int i, int distance,
		 MihSink *sink)
{
	int from, to;

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
 * Hand the entries of a page that the sink may want to it.  table is the chunk
 * table of a walk, or -1 in a pass, where every entry is met once.
 */
void
mih_probe_page(MihScan *scan, MihScanPart *part, Buffer buf, int table, MihSink *sink)
{
	const HammingKernels *kernels = hamming_kernels();
	int nbytes = hamming_bytes(scan->nbits);
	int max = sink->max_distance;
	int min = 0;
	uint8 buffer[HAMMING_MAX_BYTES];
	MihEntries entries;

	if (sink->queue)
	{
		max = Min(max, MihKeyDistance(sink->queue->upto));
		min = MihKeyDistance(sink->queue->above);
	}
	mih_page_entries(scan->index, buf, nbytes, &entries);
	if (entries.sliced && part->segment)
		part->segment->wanted =
			MIH_CODES_OFFSET + entries.ncodes * (int) hamming_first_look(nbytes, max);
	if (entries.ncodes == 0 ||
		mih_entries_within(&entries, part->codes, max, scan->mask) == 0)
		return;
	for (int w = 0; w < (entries.ncodes + 63) / 64; w++)
	{
		uint64 hits = scan->mask[w];

		for (; hits != 0; hits &= hits - 1)
		{
			int i = w * 64 + pg_rightmost_one_pos64(hits);
			const uint8 *code = mih_entry_code(&entries, i, buffer);
			int distance = kernels->distance(part->codes, code, nbytes);

			if (distance < min ||
				(table >= 0 && !counts_here(part, part->codes, code, table)))
				continue;
			if (scan->nfilters == 0 || passes_filters(scan, part, code, nbytes))
				take_run(scan, buf, &entries, i, distance, sink);
		}
	}
}

/* Every page of the first tables of a stream's parts. */
void
mih_pass(MihScan *scan, int stream, MihSink *sink)
{
	for (int p = 0; p < scan->nparts; p++)
	{
		MihScanPart *part = &scan->parts[p];
		MihCursor cursor;
		Buffer buf;

		if (part->stream != stream)
			continue;
		mih_cursor_begin(&cursor, scan->index, &part->part, part->segment, 0,
						 BUFFER_LOCK_SHARE, scan->strategy);
		while ((buf = mih_cursor_next(&cursor)) != InvalidBuffer)
		{
			mih_probe_page(scan, part, buf, -1, sink);
			UnlockReleaseBuffer(buf);
		}
	}
}
