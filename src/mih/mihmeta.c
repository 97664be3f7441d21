/*
 * mihmeta.c
 *	  The metapage: what the index holds, and the lock of those who rearrange it.
 */
#include "mih/mih.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/timestamp.h"

/* A number that no other index file is likely to have. */
static uint64
make_identity(void)
{
	uint64 x = (uint64) GetCurrentTimestamp() ^ ((uint64) MyProcPid << 40) ^
			   (uint64) (uintptr_t) &x;

	x = (x ^ (x >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* A metapage of an empty index; nbits 0 leaves the length open. */
void
mih_init_meta(Page page, int nbits)
{
	MihMeta *meta;

	mih_init_page(page, MIH_PAGE_META, 0);
	meta = MihPageGetMeta(page);
	memset(meta, 0, sizeof(MihMeta));
	meta->magic = MIH_MAGIC;
	meta->version = MIH_VERSION;
	meta->nbits = nbits;
	meta->next_id = 1;
	meta->identity = make_identity();
	((PageHeader) page)->pd_lower = (char *) (meta + 1) - (char *) page;
}

/* The metapage, pinned and locked, checked to be one that this code reads. */
Buffer
mih_read_meta(Relation index, int lockmode)
{
	Buffer buf = ReadBuffer(index, MIH_META_BLKNO);
	MihMeta *meta;

	LockBuffer(buf, lockmode);
	mih_check_page(index, buf);
	meta = MihPageGetMeta(BufferGetPage(buf));
	if (meta->magic != MIH_MAGIC || MihTail(BufferGetPage(buf))->kind != MIH_PAGE_META)
		mih_corrupt(index, MIH_META_BLKNO, "no metapage of a mih index");
	if (meta->version != MIH_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("index \"%s\" has version %u of the mih format, not %u",
						RelationGetRelationName(index), meta->version, MIH_VERSION),
				 errhint("REINDEX it to bring it to this version.")));
	if (meta->nbits > HAMMING_MAX_BITS)
		mih_corrupt(index, MIH_META_BLKNO, "length of codes out of range");
	return buf;
}

/* A copy of the metapage. */
void
mih_copy_meta(Relation index, MihMeta *meta)
{
	Buffer buf = mih_read_meta(index, BUFFER_LOCK_SHARE);

	memcpy(meta, MihPageGetMeta(BufferGetPage(buf)), sizeof(MihMeta));
	UnlockReleaseBuffer(buf);
}

/* The first part of this kind, or -1. */
int
mih_find_part(const MihMeta *meta, int kind)
{
	for (int i = 0; i < MIH_MAX_PARTS; i++)
		if (meta->parts[i].kind == kind)
			return i;
	return -1;
}

/* An unused slot, zeroed, or NULL if all are taken. */
MihPart *
mih_add_part(MihMeta *meta)
{
	int i = mih_find_part(meta, MIH_PART_UNUSED);

	if (i < 0)
		return NULL;
	memset(&meta->parts[i], 0, sizeof(MihPart));
	return &meta->parts[i];
}

/* The id for a new part; meta is about to be logged. */
uint32
mih_take_id(Relation index, MihMeta *meta)
{
	if (meta->next_id == PG_UINT32_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("index \"%s\" has used up the numbers of its parts",
							   RelationGetRelationName(index)),
						errhint("REINDEX it.")));
	return meta->next_id++;
}

int
mih_free_slots(const MihMeta *meta)
{
	int n = 0;

	for (int i = 0; i < MIH_MAX_PARTS; i++)
		n += meta->parts[i].kind == MIH_PART_UNUSED;
	return n;
}

/*
 * The lock that flush, merge and VACUUM exclude one another with.  It is taken
 * before any buffer lock, held across the whole rearrangement, and let go at
 * its end (or by the end of the transaction, after an error).
 */
void
mih_lock_maintenance(Relation index)
{
	LockPage(index, MIH_META_BLKNO, ExclusiveLock);
}

bool
mih_try_lock_maintenance(Relation index)
{
	return ConditionalLockPage(index, MIH_META_BLKNO, ExclusiveLock);
}

void
mih_unlock_maintenance(Relation index)
{
	UnlockPage(index, MIH_META_BLKNO, ExclusiveLock);
}
