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
#include "utils/memutils.h"

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
 * Which blocks are known without a look to be in use: the entry pages that the
 * directories of segments name, which are nearly all there are.
 */
static uint8 *
blocks_in_use(Relation index, const MihMeta *meta, BlockNumber nblocks)
{
	uint8 *used = MemoryContextAllocExtended(CurrentMemoryContext, nblocks / 8 + 1,
											 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	for (int i = 0; i < MIH_MAX_PARTS; i++)
	{
		MihSegment *segment;

		if (meta->parts[i].kind != MIH_PART_SEGMENT)
			continue;
		segment = mih_segment_open(index, &meta->parts[i]);
		for (int j = 0; j < segment->root.ntables; j++)
		{
			const MihDirEntry *dir = mih_segment_dir(index, segment, j);

			for (uint32 k = meta->parts[i].first; k < segment->root.npages[j]; k++)
				if (dir[k].block < nblocks)
					used[dir[k].block / 8] |= 1 << dir[k].block % 8;
		}
	}
	return used;
}

/*
 * Read the pages that may be of no part: tell the free-space map of the free ones, and
 * free those that a crash or an error left without an owner.  Returns how many are free.
 * The maintenance lock keeps others from writing new parts; inserters link their pages
 * before they unlock them.
 */
BlockNumber
mih_sweep(Relation index, BufferAccessStrategy strategy)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(index);
	BlockNumber nfree = 0;
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "mih sweep", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	MihMeta meta;
	uint8 *used;

	mih_copy_meta(index, &meta);
	used = blocks_in_use(index, &meta, nblocks);
	for (BlockNumber block = MIH_META_BLKNO + 1; block < nblocks; block++)
	{
		Buffer buf;
		bool free;
		uint32 orphan = 0;

		if (used[block / 8] & 1 << block % 8)
			continue;
		compat_vacuum_delay_point();
		buf = ReadBufferExtended(index, MAIN_FORKNUM, block, RBM_NORMAL, strategy);
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
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	IndexFreeSpaceMapVacuum(index);
	if (meta.flags & MIH_UNFINISHED)
		mih_finished(index);
	return nfree;
}
