/*
 * mihflush.c
 *	  Flush: the pending list becomes a segment; and what flush and merge share.
 *
 * Everything here runs under the maintenance lock.  A rearrangement writes new
 * pages under a new id, which no scan knows, and then changes the metapage in
 * one record: the new part appears and the old ones are dead.  Dead parts are
 * freed once no scan has their head pinned.
 */
#include "mih/mih.h"

#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/indexfsm.h"
#include "utils/acl.h"
#include "utils/memutils.h"

#define SAMPLE_CODES 1024 /* of a small segment */
#define LARGE_SAMPLE 4096 /* of one of LARGE_PAGES pages or more */
#define LARGE_PAGES 256
#define RESERVED_SLOTS 3 /* for the lists that inserters start, and a segment */

/*
 * Seal the list of the given kind and reserve an id for what replaces it: one
 * record.  Inserters start a new list; those who remember the tail find it full.
 * What an earlier attempt left is taken back first, lest the index grow by
 * attempts that do not live to their end.
 */
static uint32
seal(Relation index, int kind, int sealed_kind)
{
	Buffer buf = mih_read_meta(index, BUFFER_LOCK_EXCLUSIVE);
	int i = kind == MIH_PART_UNUSED
				? -1
				: mih_find_part(MihPageGetMeta(BufferGetPage(buf)), kind);
	Buffer tailbuf = InvalidBuffer;
	GenericXLogState *xlog;
	MihMeta *meta;
	uint32 id;

	if (MihPageGetMeta(BufferGetPage(buf))->flags & MIH_UNFINISHED)
	{
		UnlockReleaseBuffer(buf);
		mih_sweep(index, GetAccessStrategy(BAS_BULKREAD));
		return seal(index, kind, sealed_kind);
	}
	if (i >= 0)
	{
		const MihPart *part = &MihPageGetMeta(BufferGetPage(buf))->parts[i];

		tailbuf = mih_read_page(index, part->tail, part->id, MIH_PAGE_LIST,
								BUFFER_LOCK_EXCLUSIVE, NULL);
	}
	xlog = GenericXLogStart(index);
	meta = MihPageGetMeta(GenericXLogRegisterBuffer(xlog, buf, 0));
	id = mih_take_id(index, meta);
	meta->flags |= MIH_UNFINISHED;
	if (i >= 0)
	{
		meta->parts[i].kind = sealed_kind;
		MihTail(GenericXLogRegisterBuffer(xlog, tailbuf, 0))->flags |= MIH_FULL;
	}
	GenericXLogFinish(xlog);
	if (BufferIsValid(tailbuf))
		UnlockReleaseBuffer(tailbuf);
	UnlockReleaseBuffer(buf);
	return id;
}

/*
 * The pages and entries of part, the first ones of what now is left, leave it.  The
 * segment is dead when nothing is left.
 */
static void
take_away(MihPart *now, const MihPart *part)
{
	if (part->npages == now->npages)
	{
		now->kind = MIH_PART_DEAD;
		return;
	}
	Assert(part->first == now->first && part->npages < now->npages);
	now->first += part->npages;
	now->npages -= part->npages;
	now->nentries -= Min(part->nentries, now->nentries);
}

/*
 * One record: what parts say (all of a part, or the first pages of a segment) is
 * replaced by added (if it has entries), with all pages written since seal.
 * histogram, if not NULL, replaces the metapage's.
 */
static void
replace_parts(Relation index, const MihPart *parts, int nparts, const MihPart *added,
			  const MihMeta *histogram)
{
	Buffer buf = mih_read_meta(index, BUFFER_LOCK_EXCLUSIVE);
	GenericXLogState *xlog = GenericXLogStart(index);
	MihMeta *meta = MihPageGetMeta(GenericXLogRegisterBuffer(xlog, buf, 0));

	for (int i = 0; i < MIH_MAX_PARTS; i++)
		for (int k = 0; k < nparts; k++)
			if (meta->parts[i].kind != MIH_PART_UNUSED &&
				meta->parts[i].id == parts[k].id)
			{
				if (meta->parts[i].kind == MIH_PART_SEGMENT)
					take_away(&meta->parts[i], &parts[k]);
				else
					meta->parts[i].kind = MIH_PART_DEAD;
			}
	if (added->nentries > 0)
		*mih_add_part(meta) = *added;
	meta->flags &= ~MIH_UNFINISHED;
	if (histogram)
	{
		meta->hist_pairs = histogram->hist_pairs;
		memcpy(meta->hist, histogram->hist, sizeof(meta->hist));
	}
	GenericXLogFinish(xlog);
	UnlockReleaseBuffer(buf);
}

/* Parts of a kind, copied out of the metapage. */
int
mih_collect_parts(const MihMeta *meta, int kind, MihPart *parts)
{
	int n = 0;

	for (int i = 0; i < MIH_MAX_PARTS; i++)
		if (meta->parts[i].kind == kind)
			parts[n++] = meta->parts[i];
	return n;
}

/* Copies the metapage; whether parts can be added, freeing dead ones if that takes it. */
bool
mih_have_slots(Relation index, MihMeta *meta)
{
	mih_copy_meta(index, meta);
	if (mih_free_slots(meta) > RESERVED_SLOTS)
		return true;
	mih_free_dead(index);
	mih_copy_meta(index, meta);
	return mih_free_slots(meta) > RESERVED_SLOTS;
}

/* A sample of the codes of parts, and the number of their entries. */
static uint8 *
sample_parts(MihSource *source, int nbytes, const MihPart *parts, int nparts,
			 int *nsample, double *nentries)
{
	int most = SAMPLE_CODES;
	uint64 pages = 0;
	uint8 *sample;

	for (int i = 0; i < nparts; i++)
		pages += parts[i].npages;
	if (pages >= LARGE_PAGES)
		most = LARGE_SAMPLE;
	sample = palloc((Size) most * nbytes);
	*nsample = mih_sample_source(source, nbytes, sample, most, nentries);
	return sample;
}

/* Whether parts would, as one segment, be written in several tables. */
bool
mih_deserve_tables(Relation index, const MihMeta *meta, const MihPart *parts, int nparts)
{
	MihLayoutOption option = mih_layout_option(index);
	MihDesign design;
	MihSource *source;
	double nentries;
	int nsample;
	uint8 *sample;

	if (option == MIH_LAYOUT_PACKED || option == MIH_LAYOUT_REFERENCES)
		return false;
	source = mih_parts_source(index, meta->nbits, parts, nparts);
	sample = sample_parts(source, hamming_bytes(meta->nbits), parts, nparts, &nsample,
						  &nentries);
	mih_choose_design(&design, option, mih_chunks_option(index), meta->nbits, nentries,
					  sample, nsample);
	return design.ntables > 1;
}

/*
 * Write the entries of parts as one segment with the given id, packed in one table
 * if that is asked for, and put it in their place.  Returns the number of entries.
 */
static int64
rewrite_parts(Relation index, const MihMeta *meta, uint32 id, MihPart *parts, int nparts,
			  bool packed)
{
	MihSource *source = mih_parts_source(index, meta->nbits, parts, nparts);
	uint8 *sample;
	MihPart added = {0};
	MihMeta histogram;
	double nentries;
	double total = 0;
	int nsample;
	bool resample;

	sample = sample_parts(source, hamming_bytes(meta->nbits), parts, nparts, &nsample,
						  &nentries);
	/* Of a piece it was not known before. */
	if (nparts == 1)
		parts[0].nentries = (uint64) nentries;
	for (int i = 0; i < MIH_MAX_PARTS; i++)
		if (meta->parts[i].kind == MIH_PART_SEGMENT)
			total += meta->parts[i].nentries;
	/* A sample of a small part of the table would say little about it. */
	resample = nentries * 2 >= total || meta->hist_pairs == 0;
	if (resample)
		mih_sample_histogram(sample, nsample, meta->nbits, &histogram);
	if (nentries > 0)
		added = mih_write_segment(index, id, source, nentries, meta->nbits, sample,
								  nsample, NULL, false, packed);
	replace_parts(index, parts, nparts, &added,
				  resample && nsample > 1 ? &histogram : NULL);
	return (int64) nentries;
}

/*
 * Turn the pending entries into a segment; returns how many there were.  The
 * caller holds the maintenance lock.
 */
int64
mih_flush_pending(Relation index)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "mih flush", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	MihMeta meta;
	MihPart parts[MIH_MAX_PARTS];
	int64 moved = 0;
	int nparts;

	if (mih_have_slots(index, &meta) && (mih_find_part(&meta, MIH_PART_PENDING) >= 0 ||
										 mih_find_part(&meta, MIH_PART_SEALED) >= 0))
	{
		uint32 id = seal(index, MIH_PART_PENDING, MIH_PART_SEALED);

		mih_copy_meta(index, &meta);
		nparts = mih_collect_parts(&meta, MIH_PART_SEALED, parts);
		moved = rewrite_parts(index, &meta, id, parts, nparts, false);
		mih_free_dead(index);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return moved;
}

/* Make one segment of several (or a fresh one of one).  Under the maintenance lock. */
void
mih_replace_segments(Relation index, const MihMeta *meta, MihPart *parts, int nparts,
					 bool packed)
{
	uint32 id = seal(index, MIH_PART_UNUSED, 0);

	rewrite_parts(index, meta, id, parts, nparts, packed);
	mih_free_dead(index);
}

/* Write the TIDs of source as a list, back to front. */
static MihPart
write_nulls(Relation index, uint32 id, MihSource *source)
{
	MihPacker *packer = mih_packer_make(0);
	PGAlignedBlock image;
	MihPart part = {.id = id, .kind = MIH_PART_SEALED_NULLS, .head = InvalidBlockNumber};
	ItemPointerData tid;
	bool more;

	source->rewind(source);
	do
	{
		more = source->next(source, NULL, &tid);
		if (more && mih_packer_add(packer, NULL, &tid))
			continue;
		if (mih_packer_empty(packer))
			break;
		part.nentries += mih_packer_page(packer, (Page) image.data, MIH_PAGE_LIST, id);
		MihTail((Page) image.data)->next = part.head;
		part.head = mih_put_page(index, (Page) image.data, false);
		if (part.npages++ == 0)
			part.tail = part.head;
		if (more)
			mih_packer_add(packer, NULL, &tid);
	} while (more);
	return part;
}

/* Rewrite the lists of NULLs if deletions left them half empty. */
void
mih_compact_nulls(Relation index)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "mih nulls", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	MihMeta meta;
	MihPart parts[MIH_MAX_PARTS];
	uint64 pages = 0;
	uint64 entries = 0;
	int nlists = 0;

	if (mih_have_slots(index, &meta))
		for (int i = 0; i < MIH_MAX_PARTS; i++)
		{
			MihPart *part = &meta.parts[i];
			MihCursor cursor;
			Buffer buf;

			if (part->kind != MIH_PART_NULLS && part->kind != MIH_PART_SEALED_NULLS)
				continue;
			nlists++;
			mih_cursor_begin(&cursor, index, part, NULL, 0, BUFFER_LOCK_SHARE, NULL);
			while ((buf = mih_cursor_next(&cursor)) != InvalidBuffer)
			{
				pages++;
				entries += MihTail(BufferGetPage(buf))->ntids;
				UnlockReleaseBuffer(buf);
			}
		}
	if (nlists > 2 || (pages > 1 && entries * 2 < pages * (uint64) MihMaxTidsPerPage))
	{
		uint32 id = seal(index, MIH_PART_NULLS, MIH_PART_SEALED_NULLS);
		MihPart added;
		int nparts;

		mih_copy_meta(index, &meta);
		nparts = mih_collect_parts(&meta, MIH_PART_SEALED_NULLS, parts);
		added = write_nulls(index, id, mih_parts_source(index, 0, parts, nparts));
		replace_parts(index, parts, nparts, &added, NULL);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Free a chain of pages of one kind. */
static void
free_chain(Relation index, uint32 id, int kind, BlockNumber block)
{
	while (block != InvalidBlockNumber)
	{
		Buffer buf = mih_read_page(index, block, id, kind, BUFFER_LOCK_SHARE, NULL);
		BlockNumber next = MihTail(BufferGetPage(buf))->next;

		UnlockReleaseBuffer(buf);
		mih_free_page(index, block, id);
		block = next;
	}
}

/* Free entry pages from .. to-1 of a segment of one table. */
static void
free_entry_pages(Relation index, const MihPart *part, uint32 from, uint32 to)
{
	MihSegment *segment = mih_segment_open(index, part);
	const MihDirEntry *dir = mih_segment_dir(index, segment, 0);

	for (uint32 i = from; i < to; i++)
	{
		CHECK_FOR_INTERRUPTS();
		mih_free_page(index, dir[i].block, part->id);
	}
}

/*
 * Free the pages of a segment: entries, directories, references, then the root.
 * (Those that left it earlier may be another's: mih_free_page sees that.)
 */
static void
free_segment(Relation index, const MihPart *part)
{
	MihSegment *segment = mih_segment_open(index, part);

	for (int j = 0; j < segment->root.ntables; j++)
	{
		const MihDirEntry *dir = mih_segment_dir(index, segment, j);

		for (uint32 i = 0; i < segment->root.npages[j]; i++)
		{
			CHECK_FOR_INTERRUPTS();
			mih_free_page(index, dir[i].block, part->id);
		}
		free_chain(index, part->id, MIH_PAGE_DIRECTORY, segment->root.dir[j]);
	}
	free_chain(index, part->id, MIH_PAGE_REFERENCES, segment->root.refs);
	mih_free_page(index, part->head, part->id);
}

/* Whether no scan can read the part any more. */
static bool
unpinned(Relation index, const MihPart *part)
{
	Buffer buf = mih_pin_page(index, part->head, NULL);
	bool alone = ConditionalLockBufferForCleanup(buf);

	if (alone)
		LockBuffer(buf, BUFFER_LOCK_UNLOCK);
	ReleaseBuffer(buf);
	return alone;
}

/*
 * Free the dead parts that no scan reads.  The part leaves the metapage before
 * its pages are freed: after a crash in between they belong to no part, and a
 * sweep finds them.  (The other way round a half-freed part would be left,
 * whose pages may already serve another.)
 */
void
mih_free_dead(Relation index)
{
	MihMeta meta;
	MihMeta *changed;
	GenericXLogState *xlog;
	Buffer buf;
	bool any = false;

	mih_copy_meta(index, &meta);
	for (int i = 0; i < MIH_MAX_PARTS; i++)
	{
		MihPart part = meta.parts[i];

		if (part.kind != MIH_PART_DEAD || !unpinned(index, &part))
			continue;
		buf = mih_read_meta(index, BUFFER_LOCK_EXCLUSIVE);
		xlog = GenericXLogStart(index);
		changed = MihPageGetMeta(GenericXLogRegisterBuffer(xlog, buf, 0));
		memset(&changed->parts[i], 0, sizeof(MihPart));
		changed->flags |= MIH_UNFINISHED;
		GenericXLogFinish(xlog);
		UnlockReleaseBuffer(buf);
		if (part.ntables > 0)
			free_segment(index, &part);
		else
			free_chain(index, part.id, MIH_PAGE_LIST, part.head);
		any = true;
	}
	if (!any)
		return;
	IndexFreeSpaceMapVacuum(index);
	/* What others left unfinished before is not done by this. */
	if ((meta.flags & MIH_UNFINISHED) == 0)
		mih_finished(index);
}

/*
 * Make segments of `pages` pages each of a segment of one table, one after the other:
 * the pages of the first are free when the second is written, so that no more room is
 * taken than for one (unless a scan that began before still reads the segment; then
 * its pages wait for the end).  What an interruption leaves is whole: some segments,
 * and the rest of the old one.
 */
void
mih_replace_by_pieces(Relation index, MihPart part, uint32 pages)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "mih piece", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	MihMeta meta;
	uint32 freed = part.first;

	while (part.npages > 0 && mih_have_slots(index, &meta))
	{
		MihPart piece = part;
		uint32 id = seal(index, MIH_PART_UNUSED, 0);

		piece.npages = Min(pages, part.npages);
		rewrite_parts(index, &meta, id, &piece, 1, false);
		part.first += piece.npages;
		part.npages -= piece.npages;
		if (part.npages > 0 && unpinned(index, &part))
		{
			free_entry_pages(index, &part, freed, part.first);
			freed = part.first;
			IndexFreeSpaceMapVacuum(index);
		}
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	mih_free_dead(index);
}
