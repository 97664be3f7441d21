/*
 * mihscan.c
 *	  Index scans: what is asked, the parts it is asked of, and the answers.
 */
#include "mih/mihscan.h"

#include "access/relscan.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

static void
begin(MihScan *scan, Relation index, MemoryContext parent)
{
	memset(scan, 0, sizeof(MihScan));
	scan->index = index;
	scan->lasting = AllocSetContextCreate(parent, "mih scan", ALLOCSET_DEFAULT_SIZES);
	scan->context =
		AllocSetContextCreate(scan->lasting, "mih query", ALLOCSET_SMALL_SIZES);
}

IndexScanDesc
mihbeginscan(Relation index, int nkeys, int norderbys)
{
	IndexScanDesc desc = RelationGetIndexScan(index, nkeys, norderbys);
	MihScan *scan = palloc0(sizeof(MihScan));

	begin(scan, index, CurrentMemoryContext);
	if (norderbys > 1)
	{
		desc->xs_orderbyvals = palloc0(sizeof(Datum) * norderbys);
		desc->xs_orderbynulls = palloc0(sizeof(bool) * norderbys);
	}
	desc->opaque = scan;
	return desc;
}

/* Tell what the query that ends here did. */
static void
report(MihScan *scan)
{
	if (scan->started)
	{
		scan->stats.index = RelationGetRelid(scan->index);
		scan->stats.radius = scan->radius;
		mih_report_scan(&scan->stats);
	}
	scan->started = false;
}

static void
release_parts(MihScan *scan)
{
	for (int p = 0; p < scan->nparts; p++)
	{
		ReleaseBuffer(scan->parts[p].head);
		if (scan->parts[p].segment)
			mih_cache_close(scan->parts[p].segment);
	}
	scan->nparts = 0;
	scan->pinned = false;
}

/*
 * Another query.  The parts stay pinned: what they held when they were pinned is
 * all that the snapshot of the scan can see.  But a serializable transaction must
 * also meet entries that it cannot see, of inserters who looked for the locks of this
 * query before it took them; so it pins the parts anew.
 */
void
mihrescan(IndexScanDesc desc, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	MihScan *scan = desc->opaque;

	report(scan);
	if (scan->pinned && IsolationIsSerializable())
	{
		MemoryContext lasting = scan->lasting;

		release_parts(scan);
		begin(scan, scan->index, MemoryContextGetParent(lasting));
		MemoryContextDelete(lasting);
	}
	MemoryContextReset(scan->context);
	if (keys && desc->numberOfKeys > 0)
		memmove(desc->keyData, keys, desc->numberOfKeys * sizeof(ScanKeyData));
	if (orderbys && desc->numberOfOrderBys > 0)
		memmove(desc->orderByData, orderbys,
				desc->numberOfOrderBys * sizeof(ScanKeyData));
}

void
mihendscan(IndexScanDesc desc)
{
	MihScan *scan = desc->opaque;

	report(scan);
	release_parts(scan);
	MemoryContextDelete(scan->lasting);
	pfree(scan);
}

/* Only codes of the index's length can be compared with those it holds. */
static void
check_length(MihScan *scan, int nbits)
{
	if (nbits != scan->meta.nbits)
		ereport(
			ERROR,
			(errcode(ERRCODE_STRING_DATA_LENGTH_MISMATCH),
			 errmsg("cannot compare a code of %d bits with the codes of %d bits in "
					"index \"%s\"",
					nbits, scan->meta.nbits, RelationGetRelationName(scan->index)),
			 errhint("Both codes must come from models with the same number of bits.")));
}

/*
 * Sort out the search keys: balls, IS NULL, IS NOT NULL.  In an index over balls
 * the key is a ball too: the rows it wants are within its radius and within their
 * own, which only the operator can tell.
 */
static void
read_keys(MihScan *scan, IndexScanDesc desc)
{
	scan->balls = palloc(sizeof(HashBall *) * Max(desc->numberOfKeys, 1));
	for (int i = 0; i < desc->numberOfKeys; i++)
	{
		ScanKey key = &desc->keyData[i];

		if (key->sk_flags & SK_SEARCHNULL)
			scan->want_codes = false;
		else if (key->sk_flags & SK_SEARCHNOTNULL)
			scan->want_nulls = false;
		else
		{
			/* The operator is strict: no NULL passes, and nothing passes NULL. */
			scan->want_nulls = false;
			scan->recheck |= key->sk_strategy == MIH_STRATEGY_MUTUAL;
			if (key->sk_flags & SK_ISNULL)
				scan->want_codes = false;
			else
				scan->balls[scan->nfilters++] = DatumGetHashBallP(key->sk_argument);
		}
	}
}

/* Make the ball the query if it is the narrowest so far. */
static void
ball_as_query(MihScan *scan, int i)
{
	const HashBall *ball = scan->balls[i];

	scan->query = ball->bits;
	scan->nbits = ball->nbits;
	scan->max_distance = Min(ball->radius, ball->nbits);
	scan->balls[i] = scan->balls[--scan->nfilters];
}

/*
 * What is asked, from the scan keys.  The query is the ORDER BY's code, else the
 * centre of the smallest ball; a ball about the query bounds the distance, and
 * any other is a filter.
 */
static void
read_request(MihScan *scan, IndexScanDesc desc)
{
	scan->want_codes = true;
	scan->want_nulls = true;
	scan->nbits = 0;
	scan->nfilters = 0;
	scan->ordered = false;
	scan->recheck = false;
	read_keys(scan, desc);
	if (desc->numberOfOrderBys > 0 && !(desc->orderByData[0].sk_flags & SK_ISNULL))
	{
		const HashCode *code =
			mih_read_code(desc->indexRelation, desc->orderByData[0].sk_argument);

		scan->ordered = true;
		scan->query = code->bits;
		scan->nbits = code->nbits;
		scan->max_distance = code->nbits;
	}
	else if (scan->nfilters > 0)
	{
		int best = 0;

		for (int i = 1; i < scan->nfilters; i++)
			if (scan->balls[i]->radius < scan->balls[best]->radius)
				best = i;
		ball_as_query(scan, best);
	}
	for (int i = 0; i < scan->nfilters; i++)
	{
		const HashBall *ball = scan->balls[i];

		if (ball->nbits == scan->nbits &&
			memcmp(ball->bits, scan->query, hamming_bytes(scan->nbits)) == 0)
		{
			scan->max_distance = Min(scan->max_distance, ball->radius);
			scan->balls[i--] = scan->balls[--scan->nfilters];
		}
	}
}

/*
 * Copy the metapage and pin the heads of the parts it lists while it is locked:
 * once a part is marked dead there, no scan comes to it any more, and its pages
 * are freed only when nobody has its head pinned.
 */
static void
pin_parts(MihScan *scan)
{
	MemoryContext old = MemoryContextSwitchTo(scan->lasting);
	Buffer buf;

	buf = mih_read_meta(scan->index, BUFFER_LOCK_SHARE);
	memcpy(&scan->meta, MihPageGetMeta(BufferGetPage(buf)), sizeof(MihMeta));
	scan->parts = palloc0(sizeof(MihScanPart) *
						  Max(MIH_MAX_PARTS - mih_free_slots(&scan->meta), 1));
	/* Lists of NULLs go last, as their rows do. */
	for (int nulls = 0; nulls <= 1; nulls++)
		for (int i = 0; i < MIH_MAX_PARTS; i++)
		{
			const MihPart *part = &scan->meta.parts[i];
			bool is_null =
				part->kind == MIH_PART_NULLS || part->kind == MIH_PART_SEALED_NULLS;
			MihScanPart *mine = &scan->parts[scan->nparts];

			if (part->kind == MIH_PART_UNUSED || part->kind == MIH_PART_DEAD ||
				is_null != nulls)
				continue;
			mine->part = *part;
			mine->nulls = is_null;
			mine->head = mih_pin_page(scan->index, part->head, NULL);
			scan->nparts++;
		}
	UnlockReleaseBuffer(buf);
	for (int p = 0; p < scan->nparts; p++)
	{
		MihScanPart *part = &scan->parts[p];

		if (part->part.kind != MIH_PART_SEGMENT)
			continue;
		part->segment = mih_cache_open(scan->index, scan->meta.identity, &part->part);
		if (part->segment->root.layout.nbits != scan->meta.nbits)
			mih_corrupt(scan->index, part->part.head,
						"segment holds codes of another length");
	}
	scan->queue.allocated = 2 * MIH_FIRST_KEEP;
	scan->queue.items = palloc(sizeof(MihKey) * scan->queue.allocated);
	scan->queue.ready = palloc(sizeof(MihKey) * scan->queue.allocated);
	scan->mask = palloc(sizeof(uint64) * (BLCKSZ / 64 + 1));
	scan->tids = palloc(sizeof(ItemPointerData) * MihMaxTidsPerPage);
	scan->pinned = true;
	MemoryContextSwitchTo(old);
}

/* Put the query into the order of bits of each part, and say how it is read. */
static void
prepare_parts(MihScan *scan)
{
	int nbytes = hamming_bytes(scan->nbits);

	for (int p = 0; p < scan->nparts; p++)
	{
		MihScanPart *part = &scan->parts[p];

		part->wanted = part->nulls ? scan->want_nulls : scan->want_codes;
		part->walk = false;
		part->references = NULL;
		if (part->nulls || !part->wanted || scan->nbits == 0)
			continue;
		check_length(scan, scan->nbits);
		part->codes = palloc((scan->nfilters + 1) * nbytes);
		for (int i = 0; i <= scan->nfilters; i++)
		{
			const uint8 *code = i == 0 ? scan->query : scan->balls[i - 1]->bits;
			uint8 *stored = part->codes + i * nbytes;

			if (i > 0)
				check_length(scan, scan->balls[i - 1]->nbits);
			if (part->segment)
				mih_to_stored(&part->segment->root.layout, code, stored);
			else
				memcpy(stored, code, nbytes);
		}
		/* For an ordered scan a small single table is not worth a walk. */
		part->walk =
			part->segment && (part->segment->root.ntables > 1 || !scan->ordered ||
							  part->segment->root.order == MIH_BY_REFERENCES ||
							  part->part.npages > MIH_DEFAULT_PENDING_PAGES);
	}
}

/*
 * Before it pins parts, a serializable transaction locks what it is going to see: the
 * smallest of the balls, or everything.
 */
static void
lock_search(MihScan *scan, Snapshot snapshot)
{
	const uint8 *code = scan->nbits > 0 ? scan->query : NULL;
	int radius = scan->max_distance;

	if (!IsolationIsSerializable())
		return;
	for (int i = 0; i < scan->nfilters; i++)
		if (scan->balls[i]->nbits == scan->nbits && scan->balls[i]->radius < radius)
		{
			code = scan->balls[i]->bits;
			radius = scan->balls[i]->radius;
		}
	mih_lock_search(scan->index, code, scan->nbits, radius, snapshot);
}

/* Begin to answer: on the first call after a rescan. */
static void
start(IndexScanDesc desc)
{
	MihScan *scan = desc->opaque;
	MemoryContext old = MemoryContextSwitchTo(scan->context);

	read_request(scan, desc);
	/*
	 * TIDs wait in the queue without a pin on their pages, so a TID may be
	 * given to another row meanwhile.  An MVCC snapshot keeps such a row
	 * invisible; where the operator is asked again, as for EXCLUDE, the row is
	 * judged by what it is.
	 */
	if (!IsMVCCSnapshot(desc->xs_snapshot) && !scan->recheck)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("index \"%s\" of type mih can be scanned only under an "
							   "MVCC snapshot",
							   RelationGetRelationName(scan->index))));
	pgstat_count_index_scan(scan->index);
	compat_count_search(desc);
	lock_search(scan, desc->xs_snapshot);
	if (!scan->pinned)
		pin_parts(scan);
	memset(&scan->stats, 0, sizeof(MihScanStats));
	scan->started = true;
	ItemPointerSetInvalid(&scan->returned);
	prepare_parts(scan);
	mih_stream_begin(scan);
	scan->ntids = scan->next_tid = 0;
	scan->dump_part = 0;
	scan->in_part = false;
	MemoryContextSwitchTo(old);
}

/*
 * Copy the TIDs of the next page of the parts that are returned without order:
 * all of them without a query, else the lists of NULLs.
 */
static bool
next_tids(MihScan *scan)
{
	while (scan->dump_part < scan->nparts)
	{
		MihScanPart *part = &scan->parts[scan->dump_part];
		Buffer buf = InvalidBuffer;

		if (part->wanted && (scan->nbits == 0 || part->nulls))
		{
			if (!scan->in_part)
				mih_cursor_begin(&scan->cursor, scan->index, &part->part, part->segment,
								 0, BUFFER_LOCK_SHARE, scan->strategy);
			scan->in_part = true;
			buf = mih_cursor_next(&scan->cursor);
		}
		if (buf == InvalidBuffer)
		{
			scan->dump_part++;
			scan->in_part = false;
			continue;
		}
		{
			MihEntries entries;
			int nbytes = part->nulls ? 0 : hamming_bytes(scan->meta.nbits);

			mih_page_entries(scan->index, buf, nbytes, &entries);
			for (int i = 0; i < entries.ntids; i++)
			{
				scan->tids[i] = entries.top[-1 - i];
				mih_check_tid(scan->index, buf, &scan->tids[i]);
			}
			scan->ntids = entries.ntids;
			scan->next_tid = 0;
			UnlockReleaseBuffer(buf);
		}
		if (scan->ntids > 0)
			return true;
	}
	return false;
}

/*
 * ORDER BY code <~> a, code <~> b: the scan knows the order by the first distance
 * alone.  It gives 0 for the others, a lower bound, and the executor puts rows
 * that are equal so far in order.
 */
static void
report_distances(IndexScanDesc desc, bool is_code, int distance)
{
	const MihScan *scan = desc->opaque;

	desc->xs_recheckorderby = desc->numberOfOrderBys > 1;
	if (!desc->xs_recheckorderby)
		return;
	for (int i = 0; i < desc->numberOfOrderBys; i++)
	{
		desc->xs_orderbyvals[i] = Int32GetDatum(i == 0 ? distance : 0);
		desc->xs_orderbynulls[i] = !is_code || (i == 0 && !scan->ordered);
	}
}

/* The next row, in order or of those without one; false when there is none. */
static bool
next_row(IndexScanDesc desc)
{
	MihScan *scan = desc->opaque;
	MihKey key;

	if (mih_stream_next(scan, &key))
	{
		ItemPointerSet(&desc->xs_heaptid, (BlockNumber) (key >> 16), key & 0xffff);
		report_distances(desc, true, MihKeyDistance(key));
		return true;
	}
	if (scan->next_tid < scan->ntids || next_tids(scan))
	{
		desc->xs_heaptid = scan->tids[scan->next_tid++];
		report_distances(desc, !scan->parts[scan->dump_part].nulls, 0);
		return true;
	}
	return false;
}

bool
mihgettuple(IndexScanDesc desc, ScanDirection dir)
{
	MihScan *scan = desc->opaque;
	MemoryContext old;
	bool pass_over, found;

	if (!ScanDirectionIsForward(dir))
		elog(ERROR, "mih indexes are scanned forward only");
	if (!scan->started)
		start(desc);
	desc->xs_recheck = scan->recheck;
	pass_over = desc->ignore_killed_tuples && IsMVCCSnapshot(desc->xs_snapshot);
	if (pass_over && desc->kill_prior_tuple && ItemPointerIsValid(&scan->returned))
		mih_dead_add(scan, &scan->returned);
	old = MemoryContextSwitchTo(scan->context);
	while ((found = next_row(desc)) && pass_over && mih_dead_row(scan, &desc->xs_heaptid))
		scan->stats.dead++;
	MemoryContextSwitchTo(old);
	/* The executor moves on from xs_heaptid within a chain of HOT updates. */
	if (found)
		scan->returned = desc->xs_heaptid;
	else
		ItemPointerSetInvalid(&scan->returned);
	return found;
}

int64
mihgetbitmap(IndexScanDesc desc, TIDBitmap *tbm)
{
	MihScan *scan = desc->opaque;
	MemoryContext old;
	MihSink sink;

	start(desc);
	sink = (MihSink){
		.tbm = tbm, .max_distance = scan->max_distance, .recheck = scan->recheck};
	old = MemoryContextSwitchTo(scan->context);
	if (scan->nbits > 0)
	{
		mih_walk_begin(scan);
		mih_read_lists(scan, &sink);
		if (mih_walk_mark(scan, scan->max_distance, scan->pass_pages))
			mih_walk_visit(scan, scan->max_distance, &sink);
		else
			mih_pass(scan, &sink);
		scan->radius = scan->max_distance;
	}
	while (next_tids(scan))
	{
		tbm_add_tuples(tbm, scan->tids, scan->ntids, false);
		sink.ntids += scan->ntids;
	}
	MemoryContextSwitchTo(old);
	return sink.ntids;
}
