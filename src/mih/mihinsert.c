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
		tail->next != InvalidBlockNumber)
		mih_corrupt(index, part->tail, "tail of a list is not its last page");
	return buf;
}

/* Append to the last page of the list; false if there is no list or no room. */
static bool
append_to_tail(Relation index, const Entry *entry)
{
	Buffer metabuf = mih_read_meta(index, BUFFER_LOCK_SHARE);
	const MihMeta *meta = MihPageGetMeta(BufferGetPage(metabuf));
	int i = mih_find_part(meta, entry->kind);
	bool room = false;

	check_length(index, meta, entry);
	if (i >= 0)
	{
		Buffer buf = lock_tail(index, &meta->parts[i]);

		room = mih_list_has_room(BufferGetPage(buf), entry->nbytes);
		if (room)
		{
			GenericXLogState *xlog = GenericXLogStart(index);
			Page page = GenericXLogRegisterBuffer(xlog, buf, 0);

			mih_list_add(page, entry->code ? entry->code->bits : NULL, entry->nbytes,
						 entry->tid);
			GenericXLogFinish(xlog);
		}
		UnlockReleaseBuffer(buf);
	}
	UnlockReleaseBuffer(metabuf);
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
	GenericXLogFinish(xlog);
	if (BufferIsValid(tailbuf))
		UnlockReleaseBuffer(tailbuf);
	UnlockReleaseBuffer(metabuf);
	UnlockReleaseBuffer(buf);
	return npages;
}

/* The pending list is past its limit: sort it, unless someone else is at it. */
static void
flush_if_free(Relation index)
{
	if (!mih_try_lock_maintenance(index))
		return;
	mih_flush_pending(index);
	mih_merge_segments(index, false);
	mih_unlock_maintenance(index);
}

bool
mihinsert(Relation index, Datum *values, bool *isnull, ItemPointer tid, Relation heap,
		  IndexUniqueCheck check, COMPAT_INDEX_UNCHANGED IndexInfo *info)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "mih insert", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Entry entry = {.tid = tid, .kind = MIH_PART_NULLS};

	if (!isnull[0])
	{
		entry.code = mih_read_code(index, values[0]);
		entry.nbytes = hamming_bytes(entry.code->nbits);
		entry.kind = MIH_PART_PENDING;
	}
	while (!append_to_tail(index, &entry))
	{
		uint32 npages = append_page(index, &entry);

		if (npages == 0)
			continue;
		if (entry.kind == MIH_PART_PENDING && npages > (uint32) mih_pending_limit(index))
			flush_if_free(index);
		break;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return false;
}
