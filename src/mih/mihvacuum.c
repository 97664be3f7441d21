/*
 * mihvacuum.c
 *	  VACUUM: deletes entries of dead rows, flushes, merges, frees pages.
 */
#include "mih/mihtidset.h"

#include "commands/vacuum.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#define BATCH_TIDS (1 << 17) /* asked about together */
#define BATCH_PAGES 4096	 /* of lists that are nearly empty */
#define BATCH_REGIONS 4096	 /* of the heap, that a batch is ordered by */

/* A page on which the first pass saw dead entries. */
typedef struct DirtyPage
{
	int part; /* slot in the metapage */
	BlockNumber block;
} DirtyPage;

/* TIDs of neighbouring pages, on their way to the callback. */
typedef struct Batch
{
	uint64 *tids;	 /* TID as a number << 16 | which page */
	uint64 *ordered; /* the same, by region of the heap */
	int n;
	DirtyPage pages[BATCH_PAGES];
	int ntids[BATCH_PAGES]; /* on the page */
	int ndead[BATCH_PAGES];
	int npages;
} Batch;

typedef struct Vacuum
{
	Relation index;
	IndexVacuumInfo *info;
	IndexBulkDeleteResult *stats;
	IndexBulkDeleteCallback callback;
	void *callback_state;
	MihMeta meta;
	MihSegment *segments[MIH_MAX_PARTS];
	Batch *batch;
	MihTidSet dead;
	DirtyPage *dirty;
	int64 ndirty;
	int64 maxdirty;
	bool thinned[MIH_MAX_PARTS]; /* has dead entries, by slot */
	uint64 live[MIH_MAX_PARTS];	 /* entries left, by slot */
	bool marked;				 /* MIH_VACUUMING is set */
} Vacuum;

static bool
is_list(const MihPart *part)
{
	return part->kind >= MIH_PART_PENDING && part->kind <= MIH_PART_SEALED_NULLS;
}

static bool
is_nulls(const MihPart *part)
{
	return part->kind == MIH_PART_NULLS || part->kind == MIH_PART_SEALED_NULLS;
}

static bool
is_live(const MihPart *part)
{
	return is_list(part) || part->kind == MIH_PART_SEGMENT;
}

/* Bytes of a code on the pages of a part. */
static int
code_bytes(const Vacuum *vacuum, const MihPart *part)
{
	return is_nulls(part) ? 0 : hamming_bytes(vacuum->meta.nbits);
}

/*
 * Set or clear the flag that says that tables of a segment may differ: from the
 * first deletion in a further table to the last in the first ones.
 */
static void
mark_vacuuming(Vacuum *vacuum, bool on)
{
	Buffer buf = mih_read_meta(vacuum->index, BUFFER_LOCK_EXCLUSIVE);
	GenericXLogState *xlog = GenericXLogStart(vacuum->index);
	MihMeta *meta = MihPageGetMeta(GenericXLogRegisterBuffer(xlog, buf, 0));

	/* What backends know of dead rows is out of date: see mihdead.c. */
	meta->vacuums++;
	if (on)
		meta->flags |= MIH_VACUUMING;
	else
	{
		meta->flags &= ~MIH_VACUUMING;
		for (int i = 0; i < MIH_MAX_PARTS; i++)
			if (meta->parts[i].kind == MIH_PART_SEGMENT &&
				meta->parts[i].id == vacuum->meta.parts[i].id)
				meta->parts[i].nentries = vacuum->live[i];
	}
	GenericXLogFinish(xlog);
	UnlockReleaseBuffer(buf);
}

/*
 * Delete the dead from the further tables of the segments that have some: each
 * page is read once, in the order of the directory.
 */
static void
delete_from_tables(Vacuum *vacuum)
{
	for (int i = 0; i < MIH_MAX_PARTS; i++)
	{
		const MihPart *part = &vacuum->meta.parts[i];

		if (part->kind != MIH_PART_SEGMENT || !vacuum->thinned[i])
			continue;
		for (int j = 1; j < part->ntables; j++)
		{
			MihCursor cursor;
			Buffer buf;

			mih_cursor_begin(&cursor, vacuum->index, part, vacuum->segments[i], j,
							 BUFFER_LOCK_EXCLUSIVE, vacuum->info->strategy);
			while ((buf = mih_cursor_next(&cursor)) != InvalidBuffer)
			{
				mih_delete_entries(vacuum->index, buf, code_bytes(vacuum, part),
								   &vacuum->dead);
				UnlockReleaseBuffer(buf);
				compat_vacuum_delay_point();
			}
		}
	}
}

/*
 * Delete the dead found so far.  First tables and lists go last: what a crash
 * or a cancel leaves in any table is then still in the first one, where the
 * next VACUUM finds it.
 */
static void
delete_dead(Vacuum *vacuum)
{
	if (vacuum->dead.n == 0)
		return;
	if (!vacuum->marked)
		mark_vacuuming(vacuum, true);
	vacuum->marked = true;
	delete_from_tables(vacuum);
	for (int64 i = 0; i < vacuum->ndirty; i++)
	{
		const MihPart *part = &vacuum->meta.parts[vacuum->dirty[i].part];
		Buffer buf = mih_read_page(vacuum->index, vacuum->dirty[i].block, part->id,
								   is_list(part) ? MIH_PAGE_LIST : MIH_PAGE_ENTRIES,
								   BUFFER_LOCK_EXCLUSIVE, vacuum->info->strategy);

		vacuum->stats->tuples_removed += mih_delete_entries(
			vacuum->index, buf, code_bytes(vacuum, part), &vacuum->dead);
		UnlockReleaseBuffer(buf);
		compat_vacuum_delay_point();
	}
	vacuum->ndirty = 0;
	memset(vacuum->thinned, 0, sizeof(vacuum->thinned));
	mih_tids_clear(&vacuum->dead);
}

static void
remember_page(Vacuum *vacuum, const DirtyPage *page)
{
	if (vacuum->ndirty == vacuum->maxdirty)
	{
		vacuum->maxdirty *= 2;
		vacuum->dirty =
			repalloc_huge(vacuum->dirty, vacuum->maxdirty * sizeof(DirtyPage));
	}
	vacuum->dirty[vacuum->ndirty++] = *page;
	vacuum->thinned[page->part] = true;
}

/*
 * Order a batch by regions of the heap: neighbouring entries of an index lie all
 * over the heap, and whoever answers for them would miss the cache each time.
 */
static void
order_batch(Batch *batch)
{
	int count[BATCH_REGIONS] = {0};
	uint64 last = 0;
	int shift = 0;
	int at = 0;

	for (int i = 0; i < batch->n; i++)
		last |= batch->tids[i];
	while (last >> shift >= BATCH_REGIONS)
		shift++;
	for (int i = 0; i < batch->n; i++)
		count[batch->tids[i] >> shift]++;
	for (int r = 0; r < BATCH_REGIONS; r++)
	{
		int c = count[r];

		count[r] = at;
		at += c;
	}
	for (int i = 0; i < batch->n; i++)
		batch->ordered[count[batch->tids[i] >> shift]++] = batch->tids[i];
}

/* Offer the TIDs of a batch to the callback and collect the dead. */
static void
ask_batch(Vacuum *vacuum)
{
	Batch *batch = vacuum->batch;

	order_batch(batch);
	for (int i = 0; i < batch->n; i++)
	{
		ItemPointerData tid;

		mih_tid_from_number(&tid, batch->ordered[i] >> 16);
		if (vacuum->callback(&tid, vacuum->callback_state))
		{
			mih_tids_add(&vacuum->dead, &tid);
			batch->ndead[batch->ordered[i] & 0xffff]++;
		}
	}
	for (int p = 0; p < batch->npages; p++)
	{
		int live = batch->ntids[p] - batch->ndead[p];

		vacuum->live[batch->pages[p].part] += live;
		vacuum->stats->num_index_tuples += live;
		if (batch->ndead[p] > 0)
			remember_page(vacuum, &batch->pages[p]);
	}
	batch->n = 0;
	batch->npages = 0;
	if (vacuum->dead.n >= vacuum->dead.max)
		delete_dead(vacuum);
}

/* Take the TIDs of a page into the batch, which has room for them. */
static void
batch_page(Batch *batch, int slot, BlockNumber block, const MihEntries *entries)
{
	int p = batch->npages++;

	batch->pages[p].part = slot;
	batch->pages[p].block = block;
	batch->ntids[p] = entries->ntids;
	batch->ndead[p] = 0;
	for (int t = 0; t < entries->ntids; t++)
		batch->tids[batch->n++] = mih_tid_number(&entries->top[-1 - t]) << 16 | p;
}

/* Offer every TID of a part to the callback, once, and collect the dead. */
static void
find_dead(Vacuum *vacuum, int slot)
{
	const MihPart *part = &vacuum->meta.parts[slot];
	MihCursor cursor;
	Buffer buf;

	mih_cursor_begin(&cursor, vacuum->index, part, vacuum->segments[slot], 0,
					 BUFFER_LOCK_SHARE, vacuum->info->strategy);
	while ((buf = mih_cursor_next(&cursor)) != InvalidBuffer)
	{
		MihEntries entries;

		mih_page_entries(vacuum->index, buf, code_bytes(vacuum, part), &entries);
		batch_page(vacuum->batch, slot, BufferGetBlockNumber(buf), &entries);
		UnlockReleaseBuffer(buf);
		if (vacuum->batch->npages == BATCH_PAGES ||
			vacuum->batch->n + MihMaxTidsPerPage > BATCH_TIDS)
			ask_batch(vacuum);
		compat_vacuum_delay_point();
	}
}

IndexBulkDeleteResult *
mihbulkdelete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
			  IndexBulkDeleteCallback callback, void *state)
{
	MemoryContext context;
	MemoryContext old;
	Vacuum *vacuum;

	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	stats->estimated_count = false;
	stats->num_index_tuples = 0;
	context =
		AllocSetContextCreate(CurrentMemoryContext, "mih vacuum", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	vacuum = palloc0(sizeof(Vacuum));
	vacuum->index = info->index;
	vacuum->info = info;
	vacuum->stats = stats;
	vacuum->callback = callback;
	vacuum->callback_state = state;
	mih_tids_begin(&vacuum->dead, (Size) maintenance_work_mem * 1024);
	vacuum->batch = palloc(sizeof(Batch));
	vacuum->batch->n = 0;
	vacuum->batch->npages = 0;
	vacuum->batch->tids = palloc(BATCH_TIDS * sizeof(uint64));
	vacuum->batch->ordered = palloc(BATCH_TIDS * sizeof(uint64));
	vacuum->maxdirty = 1024;
	vacuum->dirty = palloc(vacuum->maxdirty * sizeof(DirtyPage));

	mih_lock_maintenance(info->index);
	mih_copy_meta(info->index, &vacuum->meta);
	for (int i = 0; i < MIH_MAX_PARTS; i++)
		if (vacuum->meta.parts[i].kind == MIH_PART_SEGMENT)
			vacuum->segments[i] = mih_segment_open(info->index, &vacuum->meta.parts[i]);
	for (int i = 0; i < MIH_MAX_PARTS; i++)
		if (is_live(&vacuum->meta.parts[i]))
			find_dead(vacuum, i);
	ask_batch(vacuum);
	delete_dead(vacuum);
	if (vacuum->marked || (vacuum->meta.flags & MIH_VACUUMING))
		mark_vacuuming(vacuum, false);
	mih_unlock_maintenance(info->index);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return stats;
}

/*
 * An index that holds no codes any more forgets the length that its first code
 * gave it, unless the column declares one.
 */
static void
forget_length(Relation index)
{
	int declared = mih_column_bits(index);
	Buffer buf = mih_read_meta(index, BUFFER_LOCK_EXCLUSIVE);
	const MihMeta *meta = MihPageGetMeta(BufferGetPage(buf));

	if (meta->nbits != declared && mih_find_part(meta, MIH_PART_PENDING) < 0 &&
		mih_find_part(meta, MIH_PART_SEALED) < 0 &&
		mih_find_part(meta, MIH_PART_SEGMENT) < 0)
	{
		GenericXLogState *xlog = GenericXLogStart(index);
		MihMeta *changed = MihPageGetMeta(GenericXLogRegisterBuffer(xlog, buf, 0));

		changed->nbits = declared;
		changed->hist_pairs = 0;
		memset(changed->hist, 0, sizeof(changed->hist));
		GenericXLogFinish(xlog);
	}
	UnlockReleaseBuffer(buf);
}

/* Entries by the metapage, lists excepted. */
static double
estimate_entries(Relation index)
{
	MihMeta meta;
	double n = 0;

	mih_copy_meta(index, &meta);
	for (int i = 0; i < MIH_MAX_PARTS; i++)
		if (is_live(&meta.parts[i]))
			n += meta.parts[i].nentries;
	return n;
}

IndexBulkDeleteResult *
mihvacuumcleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	MemoryContext context;
	MemoryContext old;

	if (info->analyze_only)
		return stats;
	if (stats == NULL)
	{
		stats = palloc0(sizeof(IndexBulkDeleteResult));
		stats->estimated_count = true;
	}
	context =
		AllocSetContextCreate(CurrentMemoryContext, "mih vacuum", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	mih_lock_maintenance(info->index);
	/* What deletions have thinned goes first: its room serves what is flushed. */
	mih_merge_segments(info->index, MIH_BY_VACUUM);
	if (mih_flush_pending(info->index) > 0)
		mih_merge_segments(info->index, MIH_BY_VACUUM);
	mih_compact_nulls(info->index);
	mih_free_dead(info->index);
	forget_length(info->index);
	if (stats->estimated_count)
		stats->num_index_tuples = estimate_entries(info->index);
	stats->pages_free = mih_sweep(info->index, info->strategy);
	stats->num_pages = RelationGetNumberOfBlocks(info->index);
	stats->pages_deleted = stats->pages_free;
	mih_unlock_maintenance(info->index);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return stats;
}
