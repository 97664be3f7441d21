/*
 * mihverify.c
 *	  mih_check(index, heapallindexed): an index against its table.
 *
 * Entries of the index and rows of the table are sorted by TID and compared:
 * each row that a snapshot sees must have exactly one entry, with its code.
 * Entries without such a row belong to rows that are dead, or not yet visible.
 */
#include "mih/mih.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* A record: TID, most significant byte first; 1 for a code, 0 for NULL; code. */
typedef struct Verify
{
	Relation index;
	const MihMeta *meta;
	int nbytes;
	int width;
	uint8 *record;
	MihSort *rows;
	MihSort *entries;
	MemoryContext context; /* for each row */
} Verify;

static void
put(Verify *verify, MihSort *sort, const uint8 *code, const ItemPointerData *tid)
{
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);
	OffsetNumber offset = ItemPointerGetOffsetNumberNoCheck(tid);
	uint8 *record = verify->record;

	memset(record, 0, verify->width);
	for (int i = 0; i < 4; i++)
		record[i] = block >> (24 - 8 * i);
	record[4] = offset >> 8;
	record[5] = offset & 0xff;
	record[6] = code != NULL;
	if (code)
		memcpy(record + 7, code, verify->nbytes);
	mih_sort_put(sort, record);
}

/* Put the entries of a part, of one table if it is a segment. */
static void
put_part(Verify *verify, const MihPart *part, int table)
{
	bool nulls = part->kind == MIH_PART_NULLS || part->kind == MIH_PART_SEALED_NULLS;
	int nbytes = nulls ? 0 : verify->nbytes;
	MihSegment *segment =
		part->kind == MIH_PART_SEGMENT ? mih_segment_open(verify->index, part) : NULL;
	uint8 code[HAMMING_MAX_BYTES];
	MihCursor cursor;
	Buffer buf;

	mih_cursor_begin(&cursor, verify->index, part, segment,
					 segment && table < segment->root.ntables ? table : 0,
					 BUFFER_LOCK_SHARE, NULL);
	while ((buf = mih_cursor_next(&cursor)) != InvalidBuffer)
	{
		uint8 buffer[HAMMING_MAX_BYTES];
		MihEntries entries;

		mih_page_entries(verify->index, buf, nbytes, &entries);
		for (int i = 0; i < (nulls ? entries.ntids : entries.ncodes); i++)
		{
			int from, to;

			if (segment)
				mih_from_stored(&segment->root.layout,
								mih_entry_code(&entries, i, buffer), code);
			else if (!nulls)
				memcpy(code, mih_entry_code(&entries, i, buffer), nbytes);
			mih_run(verify->index, buf, &entries, i, &from, &to);
			for (int t = from; t < to; t++)
				put(verify, verify->entries, nulls ? NULL : code, &entries.top[-1 - t]);
		}
		UnlockReleaseBuffer(buf);
	}
}

static void
row_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive,
			 void *arg)
{
	Verify *verify = arg;
	MemoryContext old = MemoryContextSwitchTo(verify->context);

	if (isnull[0])
		put(verify, verify->rows, NULL, tid);
	else
	{
		const HashCode *code = mih_read_code(index, values[0]);

		if (code->nbits != verify->meta->nbits)
			ereport(
				ERROR,
				(errcode(ERRCODE_INDEX_CORRUPTED),
				 errmsg("row (%u,%u) has a code of %d bits, but index \"%s\" holds codes "
						"of %d bits",
						ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid),
						code->nbits, RelationGetRelationName(index),
						verify->meta->nbits)));
		put(verify, verify->rows, code->bits, tid);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(verify->context);
}

/* Put every row that the snapshot sees, as CREATE INDEX CONCURRENTLY would. */
static void
put_rows(Verify *verify, Relation heap, Snapshot snapshot)
{
	IndexInfo *info = BuildIndexInfo(verify->index);
	TableScanDesc scan = table_beginscan_strat(heap, snapshot, 0, NULL, true, true);

	info->ii_Concurrent = true;
	info->ii_Unique = false;
	info->ii_ExclusionOps = NULL;
	info->ii_ExclusionProcs = NULL;
	info->ii_ExclusionStrats = NULL;
	table_index_build_scan(heap, verify->index, info, true, false, row_callback, verify,
						   scan);
}

static void
complain(Verify *verify, const uint8 *record, const char *what)
{
	BlockNumber block =
		(BlockNumber) record[0] << 24 | record[1] << 16 | record[2] << 8 | record[3];

	ereport(ERROR,
			(errcode(ERRCODE_INDEX_CORRUPTED),
			 errmsg("row (%u,%u) %s index \"%s\"", block, record[4] << 8 | record[5],
					what, RelationGetRelationName(verify->index)),
			 errhint("Please REINDEX it.")));
}

static void
compare(Verify *verify)
{
	const uint8 *row, *entry;
	uint8 *last = palloc0(verify->width);
	bool any = false;

	mih_sort_finish(verify->rows);
	mih_sort_finish(verify->entries);
	row = mih_sort_next(verify->rows);
	while ((entry = mih_sort_next(verify->entries)) != NULL)
	{
		if (any && memcmp(last, entry, 6) == 0)
			complain(verify, entry, "has more than one entry in");
		memcpy(last, entry, verify->width);
		any = true;
		if (row == NULL || memcmp(entry, row, 6) < 0)
			continue;
		if (memcmp(entry, row, 6) > 0)
			break;
		if (memcmp(entry, row, verify->width) != 0)
			complain(verify, row, "has an entry under another code in");
		row = mih_sort_next(verify->rows);
	}
	if (row != NULL)
		complain(verify, row, "has no entry in");
}

/* Compare the table with the entries found in one table of every segment. */
static void
verify_table(Relation index, Relation heap, const MihMeta *meta, Snapshot snapshot,
			 int table)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "mih verify", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Size memory = (Size) maintenance_work_mem * 1024 / 2;
	Verify verify = {.index = index, .meta = meta};

	verify.nbytes = hamming_bytes(meta->nbits);
	verify.width = Max(8, 7 + verify.nbytes);
	verify.record = palloc(verify.width);
	verify.rows = mih_sort_begin(verify.width, memory);
	verify.entries = mih_sort_begin(verify.width, memory);
	verify.context =
		AllocSetContextCreate(context, "mih verify row", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < MIH_MAX_PARTS; i++)
		if (meta->parts[i].kind != MIH_PART_UNUSED &&
			meta->parts[i].kind != MIH_PART_DEAD)
			put_part(&verify, &meta->parts[i], table);
	put_rows(&verify, heap, snapshot);
	compare(&verify);
	mih_sort_end(verify.rows);
	mih_sort_end(verify.entries);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Structure, and with a snapshot the rows that it sees; returns the entries. */
static uint64
check_all(Relation index, Relation heap, MihMeta *meta, Snapshot snapshot)
{
	uint64 entries = mih_check_structure(index, meta);
	int tables = 1;

	if (!snapshot)
		return entries;
	/* Lists may have been begun, and lengths fixed, by the rows just seen. */
	mih_copy_meta(index, meta);
	/* Where the tables may differ, each must hold all rows. */
	if (meta->flags & MIH_VACUUMING)
		for (int i = 0; i < MIH_MAX_PARTS; i++)
			if (meta->parts[i].kind == MIH_PART_SEGMENT)
				tables = Max(tables, meta->parts[i].ntables);
	for (int j = 0; j < tables; j++)
		verify_table(index, heap, meta, snapshot, j);
	return entries;
}

/*
 * The same on a standby, where no lock keeps replay from rearranging the index
 * under the check: what looks like damage then may be two states of the index
 * seen as one.  It counts only if the metapage stayed as it was.
 */
static uint64
check_during_recovery(Relation index, Relation heap, MihMeta *meta, Snapshot snapshot)
{
	MemoryContext old = CurrentMemoryContext;
	uint64 entries = 0;

	PG_TRY();
	{
		entries = check_all(index, heap, meta, snapshot);
	}
	PG_CATCH();
	{
		ErrorData *error;
		MihMeta *now;

		MemoryContextSwitchTo(old);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_INDEX_CORRUPTED)
			PG_RE_THROW();
		FlushErrorState();
		/* The check may have stopped with a page locked, even this one. */
		LWLockReleaseAll();
		now = palloc(sizeof(MihMeta));
		mih_copy_meta(index, now);
		if (memcmp(now, meta, sizeof(MihMeta)) == 0)
			ReThrowError(error);
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("index \"%s\" was rewritten on the primary while this "
							   "standby was checking it",
							   RelationGetRelationName(index)),
						errhint("Run the check again.")));
	}
	PG_END_TRY();
	return entries;
}

PG_FUNCTION_INFO_V1(mih_check);

/* mih_check(index, heapallindexed) returns bigint: entries of the index. */
Datum
mih_check(PG_FUNCTION_ARGS)
{
	Oid oid = PG_GETARG_OID(0);
	bool heapallindexed = PG_GETARG_BOOL(1);
	Oid heap_oid = IndexGetRelation(oid, true);
	Relation heap = OidIsValid(heap_oid) ? table_open(heap_oid, AccessShareLock) : NULL;
	Relation index = mih_open_index(oid, AccessShareLock, true, false);
	Snapshot snapshot = NULL;
	MihMeta *meta = palloc(sizeof(MihMeta));
	uint64 entries;

	/* What this snapshot sees was entered before the index is read. */
	if (heapallindexed)
		snapshot = RegisterSnapshot(GetLatestSnapshot());
	LockPage(index, MIH_META_BLKNO, ShareLock);
	mih_copy_meta(index, meta);
	entries = RecoveryInProgress() ? check_during_recovery(index, heap, meta, snapshot)
								   : check_all(index, heap, meta, snapshot);
	if (snapshot)
		UnregisterSnapshot(snapshot);
	UnlockPage(index, MIH_META_BLKNO, ShareLock);
	index_close(index, AccessShareLock);
	if (heap)
		table_close(heap, AccessShareLock);
	PG_RETURN_INT64((int64) entries);
}
