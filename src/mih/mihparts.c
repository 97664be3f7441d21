/*
 * mihparts.c
 *	  mih_parts(index) and mih_histogram(index): where the pages of an index are,
 *	  and the distances that the planner goes by.
 */
#include "mih/mih.h"

#include "access/relation.h"
#include "miscadmin.h"
#include "rows.h"
#include "utils/builtins.h"

#define PART_COLUMNS 9

/* One row: pages that do one thing.  Fields that are not set are NULL. */
typedef struct Use
{
	const char *kind;
	uint32 part;
	const char *order;
	int table; /* -1: NULL, as the next ones */
	int key_bits;
	int64 pages;
	int64 entries;	/* -1: NULL */
	double balance; /* -1: NULL */
} Use;

static void
put(const Rows *rows, const Use *use)
{
	Datum values[PART_COLUMNS];
	bool nulls[PART_COLUMNS] = {false};

	values[0] = Int64GetDatum(use->part);
	nulls[0] = use->part == 0;
	values[1] = CStringGetTextDatum(use->kind);
	nulls[2] = use->order == NULL;
	if (use->order)
		values[2] = CStringGetTextDatum(use->order);
	values[3] = Int32GetDatum(use->table + 1);
	nulls[3] = use->table < 0;
	values[4] = Int32GetDatum(use->key_bits);
	nulls[4] = use->table < 0;
	values[5] = Int64GetDatum(use->pages);
	values[6] = Int64GetDatum(use->entries);
	nulls[6] = use->entries < 0;
	values[7] = Float8GetDatum(
		use->entries > 0 ? (double) use->pages * BLCKSZ / use->entries : 0);
	nulls[7] = use->entries <= 0;
	values[8] = Float8GetDatum(use->balance);
	nulls[8] = use->balance < 0;
	tuplestore_putvalues(rows->store, rows->desc, values, nulls);
}

/*
 * How well the keys of a table tell its pages apart: the share of pages that begin
 * with another key than the page before.  Near 0, a few keys fill many pages.
 */
static double
balance(const MihDirEntry *dir, uint32 npages)
{
	uint32 n = 0;

	for (uint32 i = 0; i < npages; i++)
		n += i == 0 || dir[i].first != dir[i - 1].first;
	return npages > 0 ? (double) n / npages : -1;
}

/* Pages of the chain of references, and of a directory. */
static int64
chain_pages(Relation index, uint32 part, int kind, BlockNumber block)
{
	int64 n = 0;

	for (; block != InvalidBlockNumber; n++)
	{
		Buffer buf = mih_read_page(index, block, part, kind, BUFFER_LOCK_SHARE, NULL);

		if (n >= RelationGetNumberOfBlocks(index))
			mih_corrupt(index, block, "pages are linked in a circle");
		block = MihTail(BufferGetPage(buf))->next;
		UnlockReleaseBuffer(buf);
		CHECK_FOR_INTERRUPTS();
	}
	return n;
}

/* The rows of a segment; returns its pages. */
static int64
put_segment(const Rows *rows, Relation index, const MihPart *part)
{
	MihSegment *segment = mih_segment_open(index, part);
	const MihRoot *root = &segment->root;
	bool by_references = root->order == MIH_BY_REFERENCES;
	Use use = {.part = part->id, .table = -1, .entries = -1, .balance = -1};
	int64 directories = 0;
	int64 pages = 1;

	use.order = by_references ? "references" : root->ntables > 1 ? "chunks" : "packed";
	for (int j = 0; j < root->ntables; j++)
	{
		use.kind = "table";
		use.table = j;
		use.key_bits = by_references ? MIH_KEY_BITS : mih_key_bits(&root->layout, j);
		use.pages = root->npages[j] - part->first;
		use.entries = part->nentries;
		use.balance =
			balance(mih_segment_dir(index, segment, j) + part->first, use.pages);
		put(rows, &use);
		pages += use.pages;
		directories += chain_pages(index, part->id, MIH_PAGE_DIRECTORY, root->dir[j]);
	}
	use = (Use){
		.part = part->id, .order = use.order, .table = -1, .entries = -1, .balance = -1};
	use.kind = "root and directories";
	use.pages = 1 + directories;
	put(rows, &use);
	pages += directories;
	if (by_references)
	{
		use.kind = "references";
		use.pages = chain_pages(index, part->id, MIH_PAGE_REFERENCES, root->refs);
		put(rows, &use);
		pages += use.pages;
	}
	return pages;
}

/* The row of a list; returns its pages. */
static int64
put_list(const Rows *rows, Relation index, const MihPart *part)
{
	bool nulls = part->kind == MIH_PART_NULLS || part->kind == MIH_PART_SEALED_NULLS;
	Use use = {.part = part->id,
			   .kind = nulls ? "nulls" : "pending",
			   .table = -1,
			   .balance = -1};
	MihCursor cursor;
	Buffer buf;

	mih_cursor_begin(&cursor, index, part, NULL, 0, BUFFER_LOCK_SHARE, NULL);
	while ((buf = mih_cursor_next(&cursor)) != InvalidBuffer)
	{
		use.pages++;
		use.entries += MihTail(BufferGetPage(buf))->ntids;
		UnlockReleaseBuffer(buf);
	}
	put(rows, &use);
	return use.pages;
}

PG_FUNCTION_INFO_V1(mih_parts);

/* What every page of an index is for. */
Datum
mih_parts(PG_FUNCTION_ARGS)
{
	Relation index = mih_open_index(PG_GETARG_OID(0), AccessShareLock, false, false);
	Rows rows = rows_begin(fcinfo);
	Use rest = {
		.kind = "metapage", .table = -1, .entries = -1, .balance = -1, .pages = 1};
	Buffer heads[MIH_MAX_PARTS];
	Buffer metabuf;
	MihMeta meta;
	int64 used = 1;

	/* As a scan does: the pins keep parts that are replaced meanwhile from going. */
	metabuf = mih_read_meta(index, BUFFER_LOCK_SHARE);
	memcpy(&meta, MihPageGetMeta(BufferGetPage(metabuf)), sizeof(MihMeta));
	for (int i = 0; i < MIH_MAX_PARTS; i++)
	{
		bool live =
			meta.parts[i].kind != MIH_PART_UNUSED && meta.parts[i].kind != MIH_PART_DEAD;

		heads[i] = live ? mih_pin_page(index, meta.parts[i].head, NULL) : InvalidBuffer;
	}
	UnlockReleaseBuffer(metabuf);
	put(&rows, &rest);
	for (int i = 0; i < MIH_MAX_PARTS; i++)
		if (BufferIsValid(heads[i]))
		{
			used += meta.parts[i].kind == MIH_PART_SEGMENT
						? put_segment(&rows, index, &meta.parts[i])
						: put_list(&rows, index, &meta.parts[i]);
			ReleaseBuffer(heads[i]);
		}
	rest.kind = "free, or waiting to be freed";
	rest.pages = Max((int64) RelationGetNumberOfBlocks(index) - used, 0);
	put(&rows, &rest);
	relation_close(index, AccessShareLock);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(mih_histogram);

/* Shares of pairs of sampled codes by distance, in bins; no rows without a sample. */
Datum
mih_histogram(PG_FUNCTION_ARGS)
{
	Relation index = mih_open_index(PG_GETARG_OID(0), AccessShareLock, false, false);
	Rows rows = rows_begin(fcinfo);
	MihMeta meta;
	int width;

	mih_copy_meta(index, &meta);
	width = (meta.nbits + MIH_HIST_BINS) / MIH_HIST_BINS;
	for (int bin = 0; meta.hist_pairs > 0 && bin * width <= meta.nbits; bin++)
	{
		Datum values[3];
		bool nulls[3] = {false};

		values[0] = Int32GetDatum(bin * width);
		values[1] = Int32GetDatum(Min((bin + 1) * width - 1, meta.nbits));
		values[2] = Float8GetDatum((double) meta.hist[bin] / meta.hist_pairs);
		tuplestore_putvalues(rows.store, rows.desc, values, nulls);
	}
	relation_close(index, AccessShareLock);
	return (Datum) 0;
}
