/*
 * mihinsert.c
 *	  INSERT: append to the pending list, or to the list of NULLs.
 *
 * The common case locks the metapage shared and the list's last page
 * exclusively, and logs that page alone.  Holding the metapage keeps a flush
 * from sealing the list in between.
 */
#include "mih/mih.h"

#include "miscadmin.h"
#include "storage/indexfsm.h"
#include "utils/memutils.h"

/* One entry on its way into the index. */
typedef struct Entry
{
	const HashCode *code; /* NULL: a NULL */
	ItemPointer tid;
	int nbytes; /* of the code, 0 for NULL */
	int kind;	/* MIH_PART_PENDING or MIH_PART_NULLS */
} Entry;

/*
 * Where this backend appended last, kept with the relation for each of the two
 * lists.  PostgreSQL drops it whenever the index may have got another file.
 */
typedef struct Hint
{
	uint32 part;	   /* id of the list, 0: no hint */
	int nbits;		   /* of every code in the index */
	BlockNumber block; /* tail of the list */
	Buffer buffer;	   /* where that was */
} Hint;

static Hint *
hint_of(Relation index, int kind)
{
	Hint *hints = index->rd_amcache;

	return hints ? &hints[kind == MIH_PART_NULLS] : NULL;
}

static void
keep_hint(Relation index, int kind, const Hint *hint)
{
	if (index->rd_amcache == NULL)
		index->rd_amcache = MemoryContextAllocZero(index->rd_indexcxt, 2 * sizeof(Hint));
	*hint_of(index, kind) = *hint;
}

/* Refuse a code of another length than the index holds. */
static void
check_length(Relation index, const MihMeta *meta, const Entry *entry)
{
	int expected = meta->nbits ? meta->nbits : mih_column_bits(index);

	if (entry->code && expected && entry->code->nbits != expected)
		mih_wrong_length(index, entry->code->nbits, expected);
}

static Buffer
lock_tail(Relation index, const MihPart *part)
{
	Buffer buf = mih_pin_page(index, part->tail, NULL);
	MihPageTail *tail;

	LockBuffer(buf, BUFFER_LOCK_EXCLUSIVE);
	mih_check_page(index, buf);
	tail = MihTail(BufferGetPage(buf));
	if (tail->kind != MIH_PAGE_LIST || tail->part != part->id ||
		tail->next != InvalidBlockNumber || (tail->flags & MIH_FULL) != 0)
		mih_corrupt(index, part->tail, "tail of a list is not its last page");
	return buf;
}

/* Append the entry to the page in buf, locked exclusively and with room for it. */
static void
append(Relation index, Buffer buf, const Entry *entry)
{
	Page page = BufferGetPage(buf);
	PageHeader header = (PageHeader) page;
	MihPageTail *tail = MihTail(page);
	const char *code = page + header->pd_lower;
	MihDelta delta;

	delta.size = 0;
	START_CRIT_SECTION();
	mih_list_add(page, entry->code ? entry->code->bits : NULL, entry->nbytes, entry->tid);
	mih_delta_add(&delta, page, &header->pd_lower, 2 * sizeof(LocationIndex));
	if (entry->nbytes > 0)
		mih_delta_add(&delta, page, code, entry->nbytes);
	mih_delta_add(&delta, page, page + header->pd_upper, sizeof(ItemPointerData));
	mih_delta_add(&delta, page, &tail->ncodes, 2 * sizeof(uint16));
	mih_log_delta(index, buf, &delta);
	END_CRIT_SECTION();
}

/*
 * Append to the page where this backend appended last, if it still is the tail
 * of the same growing list and has room.  The page tells all of that itself: no
 * other page ever carries the id of the part, and the tail of a list is marked
 * full when the list is sealed.  So the metapage need not be read.
 */
static bool
append_again(Relation index, const Entry *entry)
{
	const Hint *hint = hint_of(index, entry->kind);
	Buffer buf;
	Page page;
	MihPageTail *tail;
	bool room;

	if (hint == NULL || hint->part == 0 ||
		(entry->code && entry->code->nbits != hint->nbits) ||
		!compat_read_recent(index, hint->block, hint->buffer))
		return false;
	buf = hint->buffer;
	LockBuffer(buf, BUFFER_LOCK_EXCLUSIVE);
	mih_check_page(index, buf);
	page = BufferGetPage(buf);
	tail = MihTail(page);
	room = tail->part == hint->part && tail->kind == MIH_PAGE_LIST &&
		   tail->next == InvalidBlockNumber && (tail->flags & MIH_FULL) == 0 &&
		   mih_list_has_room(page, entry->nbytes);
	if (room)
		append(index, buf, entry);
	UnlockReleaseBuffer(buf);
	return room;
}

/* Append to the last page of the list; false if there is no list or no room. */
static bool
append_to_tail(Relation index, const Entry *entry)
{
	Buffer metabuf = mih_read_meta(index, BUFFER_LOCK_SHARE);
	const MihMeta *meta = MihPageGetMeta(BufferGetPage(metabuf));
	int i = mih_find_part(meta, entry->kind);
	Hint hint = {0};
	bool room = false;

	check_length(index, meta, entry);
	if (i >= 0)
	{
		Buffer buf = lock_tail(index, &meta->parts[i]);

		hint.part = meta->parts[i].id;
		hint.nbits = meta->nbits;
		hint.block = meta->parts[i].tail;
		hint.buffer = buf;
		room = mih_list_has_room(BufferGetPage(buf), entry->nbytes);
		if (room)
			append(index, buf, entry);
		UnlockReleaseBuffer(buf);
	}
	UnlockReleaseBuffer(metabuf);
	if (room)
		keep_hint(index, entry->kind, &hint);
	return room;
}

/*
 * Append a page that holds the entry to the list, which is made if there is
 * none: new page, metapage and old tail change in one record.  Returns the
 * pages the list then has, or 0 if someone else made room first.
 */
static uint32
append_page(Relation index, const Entry *entry)
{
	Buffer buf = mih_new_page(index);
	Buffer metabuf = mih_read_meta(index, BUFFER_LOCK_EXCLUSIVE);
	Buffer tailbuf = InvalidBuffer;
	MihMeta *meta = MihPageGetMeta(BufferGetPage(metabuf));
	int i = mih_find_part(meta, entry->kind);
	BlockNumber block = BufferGetBlockNumber(buf);
	GenericXLogState *xlog;
	MihPart *part;
	Page page;
	uint32 npages;
	Hint hint;

	check_length(index, meta, entry);
	if (i >= 0)
	{
		if (meta->parts[i].tail == block)
			mih_corrupt(index, block, "tail of a list is a free page");
		tailbuf = lock_tail(index, &meta->parts[i]);
		if (mih_list_has_room(BufferGetPage(tailbuf), entry->nbytes))
		{
			UnlockReleaseBuffer(tailbuf);
			UnlockReleaseBuffer(metabuf);
			mih_return_page(index, buf);
			return 0;
		}
	}
	else if (mih_find_part(meta, MIH_PART_UNUSED) < 0)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("index \"%s\" has no room for another part",
							   RelationGetRelationName(index)),
						errhint("End long-running queries on it and VACUUM the table.")));

	xlog = GenericXLogStart(index);
	meta = MihPageGetMeta(GenericXLogRegisterBuffer(xlog, metabuf, 0));
	page = GenericXLogRegisterBuffer(xlog, buf, GENERIC_XLOG_FULL_IMAGE);
	if (i >= 0)
	{
		part = &meta->parts[i];
		MihTail(GenericXLogRegisterBuffer(xlog, tailbuf, 0))->next = block;
	}
	else
	{
		part = mih_add_part(meta);
		part->id = mih_take_id(index, meta);
		part->kind = entry->kind;
		part->head = block;
	}
	part->tail = block;
	npages = ++part->npages;
	if (entry->code)
		meta->nbits = entry->code->nbits;
	mih_init_page(page, MIH_PAGE_LIST, part->id);
	mih_list_add(page, entry->code ? entry->code->bits : NULL, entry->nbytes, entry->tid);
	hint.part = part->id;
	hint.nbits = meta->nbits;
	hint.block = block;
	hint.buffer = buf;
	GenericXLogFinish(xlog);
	if (BufferIsValid(tailbuf))
		UnlockReleaseBuffer(tailbuf);
	UnlockReleaseBuffer(metabuf);
	UnlockReleaseBuffer(buf);
	keep_hint(index, entry->kind, &hint);
	return npages;
}

/* The pending list is past its limit: sort it, unless someone else is at it. */
static void
flush_if_free(Relation index)
{
	if (!mih_try_lock_maintenance(index))
		return;
	mih_flush_pending(index);
	mih_merge_segments(index, MIH_BY_INSERTER);
	mih_unlock_maintenance(index);
}

static void
insert_entry(Relation index, const Entry *entry)
{
	while (!append_again(index, entry) && !append_to_tail(index, entry))
	{
		uint32 npages = append_page(index, entry);

		if (npages == 0)
			continue;
		if (entry->kind == MIH_PART_PENDING && npages > (uint32) mih_pending_limit(index))
			flush_if_free(index);
		break;
	}
	mih_check_searches(index, entry->code ? entry->code->bits : NULL,
					   entry->code ? entry->code->nbits : 0);
}

/*
 * A code of another type is made by calling a function, which may leave memory
 * behind; so it gets a context, kept for the statement and emptied by each row.
 */
static MemoryContext
conversion_context(Relation index, IndexInfo *info)
{
	if (!OidIsValid(index_getprocid(index, 1, MIH_CODE_PROC)))
		return NULL;
	if (info->ii_AmCache == NULL)
		info->ii_AmCache =
			AllocSetContextCreate(info->ii_Context, "mih insert", ALLOCSET_SMALL_SIZES);
	return info->ii_AmCache;
}

bool
mihinsert(Relation index, Datum *values, bool *isnull, ItemPointer tid, Relation heap,
		  IndexUniqueCheck check, COMPAT_INDEX_UNCHANGED IndexInfo *info)
{
	Entry entry = {.tid = tid, .kind = MIH_PART_NULLS};
	MemoryContext context;
	MemoryContext old;

	if (isnull[0])
	{
		insert_entry(index, &entry);
		return false;
	}
	context = conversion_context(index, info);
	old = MemoryContextSwitchTo(context ? context : CurrentMemoryContext);
	entry.code = mih_read_code(index, values[0]);
	MemoryContextSwitchTo(old);
	entry.nbytes = hamming_bytes(entry.code->nbits);
	entry.kind = MIH_PART_PENDING;
	insert_entry(index, &entry);
	if (context)
		MemoryContextReset(context);
	else if ((const void *) entry.code != DatumGetPointer(values[0]))
		pfree((void *) entry.code);
	return false;
}
