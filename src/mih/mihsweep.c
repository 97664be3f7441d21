/*
 * mihsweep.c
 *	  Finding the pages that no part owns.
 *
 * A rearrangement that ended by an error or a crash leaves the pages that it had
 * written, or not yet freed.  The metapage says so (MIH_UNFINISHED), so that the
 * next one takes them back before it asks for more.
 */
#include "mih/mih.h"

#include "commands/vacuum.h"
#include "miscadmin.h"
#include "storage/indexfsm.h"

/* Whether a page stamped with this id belongs to the index. */
static bool
id_in_use(const MihMeta *meta, uint32 id)
{
	/* Ids from next_id on were given after the copy was taken. */
	if (id >= meta->next_id)
		return true;
	for (int i = 0; i < MIH_MAX_PARTS; i++)
		if (meta->parts[i].kind != MIH_PART_UNUSED && meta->parts[i].id == id)
			return true;
	return false;
}

/* No page is of no part: say so in the metapage. */
void
mih_finished(Relation index)
{
	Buffer buf = mih_read_meta(index, BUFFER_LOCK_EXCLUSIVE);
	GenericXLogState *xlog = GenericXLogStart(index);

	MihPageGetMeta(GenericXLogRegisterBuffer(xlog, buf, 0))->flags &= ~MIH_UNFINISHED;
	GenericXLogFinish(xlog);
	UnlockReleaseBuffer(buf);
}

/*
 * Read every page: tell the free-space map of the free ones, and free those that
 * a crash or an error left without an owner.  Returns how many are free.  The
 * maintenance lock keeps others from writing new parts; inserters link their
 * pages before they unlock them.
 */
BlockNumber
mih_sweep(Relation index, BufferAccessStrategy strategy)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(index);
	BlockNumber nfree = 0;
	MihMeta meta;

	mih_copy_meta(index, &meta);
	for (BlockNumber block = MIH_META_BLKNO + 1; block < nblocks; block++)
	{
		Buffer buf = ReadBufferExtended(index, MAIN_FORKNUM, block, RBM_NORMAL, strategy);
		bool free;
		uint32 orphan = 0;

		compat_vacuum_delay_point();
		LockBuffer(buf, BUFFER_LOCK_SHARE);
		free = PageIsNew(BufferGetPage(buf));
		if (!free)
		{
			MihPageTail *tail;

			mih_check_page(index, buf);
			tail = MihTail(BufferGetPage(buf));
			free = tail->kind == MIH_PAGE_FREE;
			if (!free && !id_in_use(&meta, tail->part))
				orphan = tail->part;
		}
		UnlockReleaseBuffer(buf);
		if (orphan)
			mih_free_page(index, block, orphan);
		else if (free)
			RecordFreeIndexPage(index, block);
		if (orphan || free)
			nfree++;
	}
	IndexFreeSpaceMapVacuum(index);
	if (meta.flags & MIH_UNFINISHED)
		mih_finished(index);
	return nfree;
}
