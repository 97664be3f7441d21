/*
 * mihvacuum.c
 *	  VACUUM: deletes entries of dead rows, flushes, merges, frees pages.
 */
#include "mih/mih.h"

#include "commands/vacuum.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* A set of TIDs: open addressing over 64-bit numbers, 0 meaning empty. */
typedef struct TidSet
{
	uint64 *slots;
	uint64 mask; /* slots - 1 */
	uint64 n;
	uint64 max; /* fits the memory allowed */
} TidSet;

/* A page on which the first pass saw dead entries. */
typedef struct DirtyPage
{
	int part; /* slot in the metapage */
	BlockNumber block;
} DirtyPage;

typedef struct Vacuum
{
	Relation index;
	IndexVacuumInfo *info;
	IndexBulkDeleteResult *stats;
	IndexBulkDeleteCallback callback;
	void *callback_state;
	MihMeta meta;
	MihSegment *segments[MIH_MAX_PARTS];
	TidSet dead;
	DirtyPage *dirty;
	int64 ndirty;
	int64 maxdirty;
	uint64 live[MIH_MAX_PARTS]; /* entries left, by slot */
	bool marked;				/* MIH_VACUUMING is set */
} Vacuum;

static inline uint64
tid_number(const ItemPointerData *tid)
{
	return (uint64) ItemPointerGetBlockNumberNoCheck(tid) << 16 |
		   ItemPointerGetOffsetNumberNoCheck(tid);
}

static inline uint64
tid_slot(const TidSet *set, uint64 number)
{
	return (number * UINT64CONST(0x9e3779b97f4a7c15) >> 20) & set->mask;
}

static void
set_resize(TidSet *set, uint64 slots)
{
	uint64 *old = set->slots;
	uint64 nold = old ? set->mask + 1 : 0;

	set->slots = MemoryContextAllocExtended(CurrentMemoryContext, slots * sizeof(uint64),
											MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	set->mask = slots - 1;
	for (uint64 i = 0; i < nold; i++)
		if (old[i])
		{
			uint64 s = tid_slot(set, old[i]);

			while (set->slots[s])
				s = (s + 1) & set->mask;
			set->slots[s] = old[i];
		}
	if (old)
		pfree(old);
}

static void
set_add(TidSet *set, const ItemPointerData *tid)
{
	uint64 number = tid_number(tid);
	uint64 s;

	if ((set->n + 1) * 2 > set->mask)
		set_resize(set, (set->mask + 1) * 2);
	s = tid_slot(set, number);
	while (set->slots[s] && set->slots[s] != number)
		s = (s + 1) & set->mask;
	set->n += set->slots[s] == 0;
	set->slots[s] = number;
}

static bool
set_has(const TidSet *set, const ItemPointerData *tid)
{
	uint64 number = tid_number(tid);
	uint64 s = tid_slot(set, number);

	while (set->slots[s])
	{
		if (set->slots[s] == number)
			return true;
		s = (s + 1) & set->mask;
	}
	return false;
}

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
 * Write the page in buf, exclusively locked, without its dead entries, if it
 * has any.  Returns how many went.
 */
static int
delete_from_page(Vacuum *vacuum, const MihPart *part, Buffer buf)
{
	int nbytes = code_bytes(vacuum, part);
	MihPageTail before = *MihTail(BufferGetPage(buf));
	MihEntries entries;
	uint8 buffer[HAMMING_MAX_BYTES];
	PGAlignedBlock image;
	Page page = (Page) image.data;
	MihPacker *packer;
	int t = 0;
	int dead = 0;

	mih_page_entries(vacuum->index, buf, nbytes, &entries);
	for (int i = 0; i < entries.ntids; i++)
		dead += set_has(&vacuum->dead, &entries.top[-1 - i]);
	if (dead == 0)
		return 0;

	packer = mih_packer_make(nbytes);
	mih_init_page(page, before.kind, before.part);
	for (int i = 0; i < (nbytes > 0 ? entries.ncodes : entries.ntids); i++)
	{
		const uint8 *code = mih_entry_code(&entries, i, buffer);
		int from, to;

		mih_run(vacuum->index, buf, &entries, i, &from, &to);
		for (t = from; t < to; t++)
		{
			ItemPointerData tid = entries.top[-1 - t];

			if (set_has(&vacuum->dead, &tid))
				continue;
			/* Lists stay plain, for inserters to append to. */
			if (before.kind == MIH_PAGE_LIST)
				mih_list_add(page, code, nbytes, &tid);
			else
				mih_packer_add(packer, code, &tid);
		}
	}
	if (before.kind == MIH_PAGE_ENTRIES)
		mih_packer_page(packer, page, before.kind, before.part);
	MihTail(page)->next = before.next;
	MihTail(page)->flags |= before.flags & MIH_FULL;
	mih_write_image(vacuum->index, buf, image.data);
	return dead;
}

/*
 * Delete the dead from the further tables of every segment.  Resets the current
 * memory context after each page.
 */
static void
delete_from_tables(Vacuum *vacuum)
{
	for (int i = 0; i < MIH_MAX_PARTS; i++)
	{
		const MihPart *part = &vacuum->meta.parts[i];

		if (part->kind != MIH_PART_SEGMENT)
			continue;
		for (int j = 1; j < part->ntables; j++)
		{
			MihCursor cursor;
			Buffer buf;

			mih_cursor_begin(&cursor, vacuum->index, part, vacuum->segments[i], j,
							 BUFFER_LOCK_EXCLUSIVE, vacuum->info->strategy);
			while ((buf = mih_cursor_next(&cursor)) != InvalidBuffer)
			{
				delete_from_page(vacuum, part, buf);
				UnlockReleaseBuffer(buf);
				MemoryContextReset(CurrentMemoryContext);
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
	MemoryContext context;
	MemoryContext old;

	if (vacuum->dead.n == 0)
		return;
	if (!vacuum->marked)
		mark_vacuuming(vacuum, true);
	vacuum->marked = true;
	context =
		AllocSetContextCreate(CurrentMemoryContext, "mih delete", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	delete_from_tables(vacuum);
	for (int64 i = 0; i < vacuum->ndirty; i++)
	{
		const MihPart *part = &vacuum->meta.parts[vacuum->dirty[i].part];
		Buffer buf = mih_read_page(vacuum->index, vacuum->dirty[i].block, part->id,
								   is_list(part) ? MIH_PAGE_LIST : MIH_PAGE_ENTRIES,
								   BUFFER_LOCK_EXCLUSIVE, vacuum->info->strategy);

		vacuum->stats->tuples_removed += delete_from_page(vacuum, part, buf);
		UnlockReleaseBuffer(buf);
		MemoryContextReset(context);
		compat_vacuum_delay_point();
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	vacuum->ndirty = 0;
	vacuum->dead.n = 0;
	memset(vacuum->dead.slots, 0, (vacuum->dead.mask + 1) * sizeof(uint64));
}

static void
remember_page(Vacuum *vacuum, int part, BlockNumber block)
{
	if (vacuum->ndirty == vacuum->maxdirty)
	{
		vacuum->maxdirty *= 2;
		vacuum->dirty =
			repalloc_huge(vacuum->dirty, vacuum->maxdirty * sizeof(DirtyPage));
	}
	vacuum->dirty[vacuum->ndirty].part = part;
	vacuum->dirty[vacuum->ndirty].block = block;
	vacuum->ndirty++;
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
		BlockNumber block = BufferGetBlockNumber(buf);
		MihEntries entries;
		int dead = 0;

		mih_page_entries(vacuum->index, buf, code_bytes(vacuum, part), &entries);
		for (int i = 0; i < entries.ntids; i++)
		{
			ItemPointerData tid = entries.top[-1 - i];

			if (vacuum->callback(&tid, vacuum->callback_state))
			{
				set_add(&vacuum->dead, &tid);
				dead++;
			}
		}
		vacuum->live[slot] += entries.ntids - dead;
		vacuum->stats->num_index_tuples += entries.ntids - dead;
		UnlockReleaseBuffer(buf);
		if (dead > 0)
			remember_page(vacuum, slot, block);
		if (vacuum->dead.n >= vacuum->dead.max)
			delete_dead(vacuum);
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
	/* A set is at most half full, and two generations live while it grows. */
	vacuum->dead.max = Max(1024, (uint64) maintenance_work_mem * 1024 / 32);
	set_resize(&vacuum->dead, 4096);
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
	if (info->analyze_only)
		return stats;
	mih_lock_maintenance(info->index);
	mih_flush_pending(info->index);
	mih_merge_segments(info->index, MIH_BY_VACUUM);
	mih_compact_nulls(info->index);
	mih_free_dead(info->index);
	forget_length(info->index);
	if (stats == NULL)
	{
		stats = palloc0(sizeof(IndexBulkDeleteResult));
		stats->num_index_tuples = estimate_entries(info->index);
		stats->estimated_count = true;
	}
	stats->pages_free = mih_sweep(info->index, info->strategy);
	stats->num_pages = RelationGetNumberOfBlocks(info->index);
	mih_unlock_maintenance(info->index);
	return stats;
}
