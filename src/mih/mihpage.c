/*
 * mihpage.c
 *	  Pages of a mih index: making, checking, reading, taking and giving back.
 */
#include "mih/mih.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "storage/indexfsm.h"
#include "storage/lmgr.h"

/* An empty page of the given kind that belongs to part. */
void
mih_init_page(Page page, int kind, uint32 part)
{
	MihPageTail *tail;

	PageInit(page, BLCKSZ, sizeof(MihPageTail));
	tail = MihTail(page);
	tail->part = part;
	tail->next = InvalidBlockNumber;
	tail->kind = kind;
	tail->page_id = MIH_PAGE_ID;
	if (kind == MIH_PAGE_LIST || kind == MIH_PAGE_ENTRIES)
		((PageHeader) page)->pd_lower = MIH_CODES_OFFSET;
}

/* What is on this block cannot be: say so and stop. */
void
mih_corrupt(Relation index, BlockNumber block, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
					errmsg("index \"%s\" is damaged at block %u: %s",
						   RelationGetRelationName(index), block, what),
					errhint("Please REINDEX it.")));
}

/* Whether the page has the frame of a page of this access method. */
static bool
is_mih_page(Page page)
{
	PageHeader header = (PageHeader) page;

	return header->pd_special == BLCKSZ - sizeof(MihPageTail) &&
		   header->pd_lower >= SizeOfPageHeaderData &&
		   header->pd_lower <= header->pd_upper &&
		   header->pd_upper <= header->pd_special &&
		   MihTail(page)->page_id == MIH_PAGE_ID;
}

/* The page in buf, which is locked, is a page of this access method. */
void
mih_check_page(Relation index, Buffer buf)
{
	Page page = BufferGetPage(buf);

	if (PageIsNew(page))
		mih_corrupt(index, BufferGetBlockNumber(buf), "page is empty");
	if (!is_mih_page(page))
		mih_corrupt(index, BufferGetBlockNumber(buf), "not a page of a mih index");
}

/*
 * Pin a block that another page names, which a damaged page may name wrongly:
 * the caller may have the metapage locked, to which no page refers, and
 * InvalidBlockNumber would tell ReadBuffer to extend the file.
 */
Buffer
mih_pin_page(Relation index, BlockNumber block, BufferAccessStrategy strategy)
{
	if (block == MIH_META_BLKNO || block >= RelationGetNumberOfBlocks(index))
		ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
						errmsg("index \"%s\" is damaged: a page refers to block %u",
							   RelationGetRelationName(index), block),
						errhint("Please REINDEX it.")));
	return ReadBufferExtended(index, MAIN_FORKNUM, block, RBM_NORMAL, strategy);
}

/*
 * Lock a pinned page that must be of this kind and part.
 *
 * On the primary the pins on the heads of parts keep pages from being used
 * again under a scan, so a foreign stamp is damage.  Replay does not know the
 * pins of a standby: there it is a page that was used again in the meantime.
 */
void
mih_lock_page(Relation index, Buffer buf, uint32 part, int kind, int lockmode)
{
	MihPageTail *tail;

	LockBuffer(buf, lockmode);
	mih_check_page(index, buf);
	tail = MihTail(BufferGetPage(buf));
	if (tail->part == part && tail->kind == kind)
		return;
	if (TransactionStartedDuringRecovery())
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("index \"%s\" was rewritten on the primary while a "
							   "query on this standby was reading it",
							   RelationGetRelationName(index)),
						errhint("Run the query again.")));
	mih_corrupt(index, BufferGetBlockNumber(buf),
				"page belongs to another part of the index");
}

/* Pin and lock a page that must be of this kind and part. */
Buffer
mih_read_page(Relation index, BlockNumber block, uint32 part, int kind, int lockmode,
			  BufferAccessStrategy strategy)
{
	/* Blocks of entry pages were checked when their directory was read. */
	Buffer buf = kind == MIH_PAGE_ENTRIES ? ReadBufferExtended(index, MAIN_FORKNUM, block,
															   RBM_NORMAL, strategy)
										  : mih_pin_page(index, block, strategy);

	mih_lock_page(index, buf, part, kind, lockmode);
	return buf;
}

/*
 * A page nobody uses, pinned and locked exclusively: one from the free-space
 * map that is still free once locked, else a new one.  The caller writes it
 * anew before unlocking it, or hands it to mih_return_page.
 */
Buffer
mih_new_page(Relation index)
{
	bool lock = !RELATION_IS_LOCAL(index);
	Buffer buf;

	for (;;)
	{
		BlockNumber block = GetFreeIndexPage(index);

		if (block == InvalidBlockNumber)
			break;
		/* The map is not logged: after a crash it may know more than the file. */
		if (block >= RelationGetNumberOfBlocks(index))
			continue;
		buf = ReadBuffer(index, block);
		/* Whoever has it locked uses it; the map was behind the times. */
		if (ConditionalLockBuffer(buf))
		{
			Page page = BufferGetPage(buf);

			if (PageIsNew(page) ||
				(is_mih_page(page) && MihTail(page)->kind == MIH_PAGE_FREE))
				return buf;
			LockBuffer(buf, BUFFER_LOCK_UNLOCK);
		}
		ReleaseBuffer(buf);
	}

	for (;;)
	{
		if (lock)
			LockRelationForExtension(index, ExclusiveLock);
		buf = ReadBuffer(index, P_NEW);
		LockBuffer(buf, BUFFER_LOCK_EXCLUSIVE);
		if (lock)
			UnlockRelationForExtension(index, ExclusiveLock);
		/*
		 * Before it was locked, a sweep may have seen it, empty, and told the map;
		 * or the map knew it from before a crash.  Then it may be someone's already.
		 */
		if (PageIsNew(BufferGetPage(buf)))
			return buf;
		UnlockReleaseBuffer(buf);
	}
}

/*
 * A new page at the end of an index that is being built, pinned and locked
 * exclusively.  Nothing is free there yet, so the map is not asked; but several
 * processes may build it, so the lock is taken though the index is not visible.
 */
Buffer
mih_extend(Relation index)
{
	Buffer buf;

	LockRelationForExtension(index, ExclusiveLock);
	buf = ReadBuffer(index, P_NEW);
	LockBuffer(buf, BUFFER_LOCK_EXCLUSIVE);
	UnlockRelationForExtension(index, ExclusiveLock);
	return buf;
}

/* Give back a page that mih_new_page found and nobody wrote. */
void
mih_return_page(Relation index, Buffer buf)
{
	BlockNumber block = BufferGetBlockNumber(buf);

	UnlockReleaseBuffer(buf);
	RecordFreeIndexPage(index, block);
}

/*
 * Mark a page of part as free and tell the free-space map.  A page that no
 * longer belongs to part is left alone: an earlier attempt freed it.
 */
void
mih_free_page(Relation index, BlockNumber block, uint32 part)
{
	Buffer buf = mih_pin_page(index, block, NULL);
	PGAlignedBlock image;
	Page page;

	LockBuffer(buf, BUFFER_LOCK_EXCLUSIVE);
	page = BufferGetPage(buf);
	if (PageIsNew(page) || !is_mih_page(page) || MihTail(page)->part != part ||
		MihTail(page)->kind == MIH_PAGE_FREE)
	{
		UnlockReleaseBuffer(buf);
		return;
	}
	/* An empty page is nearly all hole, so its image in the log is small. */
	mih_init_page((Page) image.data, MIH_PAGE_FREE, 0);
	mih_write_image(index, buf, image.data);
	UnlockReleaseBuffer(buf);
	RecordFreeIndexPage(index, block);
}

/*
 * The entries of a locked entry page with codes of nbytes bytes (0: a list of
 * NULLs), checked so far that reading them stays on the page.
 */
void
mih_page_entries(Relation index, Buffer buf, int nbytes, MihEntries *entries)
{
	Page page = BufferGetPage(buf);
	PageHeader header = (PageHeader) page;
	MihPageTail *tail = MihTail(page);
	int lower = MIH_CODES_OFFSET + tail->ncodes * nbytes;

	entries->ncodes = tail->ncodes;
	entries->ntids = tail->ntids;
	entries->nbytes = nbytes;
	entries->sliced = (tail->flags & MIH_SLICED) != 0;
	entries->codes = (const uint8 *) page + MIH_CODES_OFFSET;
	entries->starts = NULL;
	entries->at_code = entries->at_tid = 0;
	entries->top = (const ItemPointerData *) ((char *) page + header->pd_special);
	if (tail->flags & MIH_RUNS)
	{
		entries->starts = (const uint64 *) ((char *) page + MAXALIGN(lower));
		lower = mih_starts_size(lower, tail->ntids);
	}
	else if (nbytes > 0 && tail->ncodes != tail->ntids)
		mih_corrupt(index, BufferGetBlockNumber(buf), "codes and TIDs differ in number");
	if (lower != header->pd_lower ||
		header->pd_upper != header->pd_special - tail->ntids * sizeof(ItemPointerData))
		mih_corrupt(index, BufferGetBlockNumber(buf), "entries do not fill the page");
	if (tail->ncodes == 0 && nbytes > 0 && tail->ntids > 0)
		mih_corrupt(index, BufferGetBlockNumber(buf), "TIDs without a code");
}

/* Where the starts of ntids TIDs end on a page whose codes end at lower. */
int
mih_starts_size(int lower, int ntids)
{
	return MAXALIGN(lower) + MihStartWords(ntids) * (int) sizeof(uint64);
}

/* The n-th TID, from 0, of those at which a run begins, counted from TID t on; or ntids.
 */
static int
nth_start(const MihEntries *entries, int t, int n)
{
	int words = MihStartWords(entries->ntids);

	for (int w = t / 64; w < words; w++)
	{
		uint64 word = entries->starts[w];
		int count;

		if (w == t / 64)
			word &= ~UINT64CONST(0) << t % 64;
		count = pg_popcount64(word);
		if (n >= count)
		{
			n -= count;
			continue;
		}
		while (n-- > 0)
			word &= word - 1;
		return Min(w * 64 + pg_rightmost_one_pos64(word), entries->ntids);
	}
	return entries->ntids;
}

/*
 * The TIDs of code i are number *from to *to - 1.  Cheapest where codes are asked for
 * in order.
 */
void
mih_run(Relation index, Buffer buf, MihEntries *entries, int i, int *from, int *to)
{
	*from = i;
	*to = i + 1;
	if (entries->starts == NULL)
		return;
	/* Only here: most pages of a pass have no hit, and starts is a cache miss. */
	if (i < entries->at_code)
		entries->at_code = entries->at_tid = 0;
	*from = nth_start(entries, entries->at_tid, i - entries->at_code);
	*to = *from < entries->ntids ? nth_start(entries, *from + 1, 0) : entries->ntids;
	if (*from >= *to || (i == 0 && *from != 0) ||
		(i == entries->ncodes - 1) != (*to == entries->ntids))
		mih_corrupt(index, BufferGetBlockNumber(buf), "a run of TIDs is out of order");
	entries->at_code = i;
	entries->at_tid = *from;
}

/*
 * Where the run of TIDs of each code begins, and after the last ntids: what mih_run
 * says, of a page with starts and codes, for all codes at once.  from has room for
 * MIH_MAX_RUNS and one.
 */
void
mih_runs(Relation index, Buffer buf, const MihEntries *entries, uint16 *from)
{
	int words = MihStartWords(entries->ntids);
	int n = 0;

	for (int w = 0; w < words; w++)
		for (uint64 word = entries->starts[w]; word != 0 && n <= entries->ncodes;
			 word &= word - 1)
			from[n++] = w * 64 + pg_rightmost_one_pos64(word);
	if (n != entries->ncodes || from[0] != 0 || from[n - 1] >= entries->ntids)
		mih_corrupt(index, BufferGetBlockNumber(buf), "a run of TIDs is out of order");
	from[n] = entries->ntids;
}

/* A TID that an index can have; the heap would be asked to extend itself. */
void
mih_check_tid(Relation index, Buffer buf, const ItemPointerData *tid)
{
	if (!OffsetNumberIsValid(ItemPointerGetOffsetNumberNoCheck(tid)) ||
		ItemPointerGetBlockNumberNoCheck(tid) == InvalidBlockNumber)
		mih_corrupt(index, BufferGetBlockNumber(buf), "a TID refers to no row");
}

/* Whether a list page takes one more entry. */
bool
mih_list_has_room(Page page, int nbytes)
{
	PageHeader header = (PageHeader) page;

	return header->pd_upper - header->pd_lower >= nbytes + (int) sizeof(ItemPointerData);
}

/* Append an entry (a TID alone where nbytes is 0) to a list page that has room. */
void
mih_list_add(Page page, const uint8 *code, int nbytes, ItemPointer tid)
{
	PageHeader header = (PageHeader) page;
	MihPageTail *tail = MihTail(page);

	if (nbytes > 0)
	{
		memcpy((char *) page + header->pd_lower, code, nbytes);
		header->pd_lower += nbytes;
		tail->ncodes++;
	}
	header->pd_upper -= sizeof(ItemPointerData);
	ItemPointerCopy(tid, (ItemPointer) ((char *) page + header->pd_upper));
	tail->ntids++;
}
