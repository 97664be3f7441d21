/*
 * mihcheck.c
 *	  Verifying the structure of an index: every page and every entry.
 *
 * The caller holds the maintenance lock in share mode, so parts stay as they
 * are, except that inserters append to the growing lists.
 */
#include "mih/mih.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* A multiset of entries in a few numbers: equal multisets have equal digests. */
typedef struct Digest
{
	uint64 n;
	uint64 sum;
	uint64 mix;
} Digest;

typedef struct Check
{
	Relation index;
	const MihMeta *meta;
	BufferAccessStrategy strategy;
	int nbytes;
	uint64 reached[MIH_MAX_PARTS]; /* pages met by walking the part */
	uint64 stamped[MIH_MAX_PARTS]; /* pages that carry its id */
} Check;

static void
digest_add(Digest *digest, const uint8 *code, int nbytes, const ItemPointerData *tid)
{
	uint64 h = nbytes > 0 ? DatumGetUInt64(hash_any_extended(code, nbytes, 17)) : 0;

	h = DatumGetUInt64(hash_any_extended((const unsigned char *) tid,
										 sizeof(ItemPointerData), (int64) h));
	digest->n++;
	digest->sum += h;
	digest->mix ^= (h << 23 | h >> 41) * UINT64CONST(0x9e3779b97f4a7c15);
}

static void
check_meta(Check *check)
{
	const MihMeta *meta = check->meta;
	int pending = 0;
	int nulls = 0;

	for (int i = 0; i < MIH_MAX_PARTS; i++)
	{
		const MihPart *part = &meta->parts[i];

		if (part->kind == MIH_PART_UNUSED)
			continue;
		if (part->kind > MIH_PART_DEAD || part->id == 0 || part->id >= meta->next_id)
			mih_corrupt(check->index, MIH_META_BLKNO,
						"a part has an impossible kind or id");
		for (int k = 0; k < i; k++)
			if (meta->parts[k].kind != MIH_PART_UNUSED && meta->parts[k].id == part->id)
				mih_corrupt(check->index, MIH_META_BLKNO, "two parts have the same id");
		pending += part->kind == MIH_PART_PENDING;
		nulls += part->kind == MIH_PART_NULLS;
	}
	if (pending > 1 || nulls > 1)
		mih_corrupt(check->index, MIH_META_BLKNO, "two lists of one kind are growing");
}

/* Whether a code has bits set past its length. */
static bool
has_spare_bits(const Check *check, const uint8 *code, int nbytes)
{
	int spare = nbytes * 8 - check->meta->nbits;

	return nbytes > 0 && spare > 0 && (code[nbytes - 1] & ((1 << spare) - 1)) != 0;
}

/* Bits of a code past its length are zero, and a TID is one. */
static void
check_entry(Check *check, BlockNumber block, const uint8 *code, int nbytes,
			const ItemPointerData *tid)
{
	if (has_spare_bits(check, code, nbytes))
		mih_corrupt(check->index, block, "a code has bits past its length");
	if (ItemPointerGetOffsetNumberNoCheck(tid) == InvalidOffsetNumber)
		mih_corrupt(check->index, block, "an entry has no TID");
}

/* Walk a list; returns its entries. */
static uint64
check_list(Check *check, int slot)
{
	const MihPart *part = &check->meta->parts[slot];
	bool nulls = part->kind == MIH_PART_NULLS || part->kind == MIH_PART_SEALED_NULLS;
	bool grows = part->kind == MIH_PART_NULLS || part->kind == MIH_PART_PENDING;
	int nbytes = nulls ? 0 : check->nbytes;
	MihCursor cursor;
	Buffer buf;
	uint64 n = 0;

	mih_cursor_begin(&cursor, check->index, part, NULL, 0, BUFFER_LOCK_SHARE,
					 check->strategy);
	while ((buf = mih_cursor_next(&cursor)) != InvalidBuffer)
	{
		BlockNumber block = BufferGetBlockNumber(buf);
		MihPageTail *tail = MihTail(BufferGetPage(buf));
		MihEntries entries;

		mih_page_entries(check->index, buf, nbytes, &entries);
		if (entries.starts || entries.sliced ||
			entries.ncodes != (nulls ? 0 : entries.ntids))
			mih_corrupt(check->index, block, "a list page is not plain");
		for (int i = 0; i < entries.ntids; i++)
			check_entry(check, block, entries.codes + i * nbytes, nbytes,
						&entries.top[-1 - i]);
		if (block == part->tail && !grows && tail->next != InvalidBlockNumber)
			mih_corrupt(check->index, block, "a list goes on past its tail");
		n += entries.ntids;
		check->reached[slot]++;
		UnlockReleaseBuffer(buf);
	}
	if (check->reached[slot] != part->npages)
		mih_corrupt(check->index, part->head,
					"a list has another number of pages than the "
					"metapage says");
	return n;
}

/* Reference codes are codes; returns the pages that hold them. */
static uint64
check_references(Check *check, MihSegment *segment)
{
	const MihReferences *refs = mih_segment_references(check->index, segment);

	for (int c = 0; c < refs->n; c++)
		if (has_spare_bits(check, refs->codes + (Size) c * refs->nbytes, refs->nbytes))
			mih_corrupt(check->index, segment->root.refs,
						"a reference has bits past its length");
	return mih_reference_pages(refs->n, refs->nbytes);
}

/* The entry before the one at hand, in a walk of a table. */
typedef struct Previous
{
	bool any;
	uint32 key;
	uint8 code[HAMMING_MAX_BYTES];
	ItemPointerData tid;
} Previous;

/* Entries of a table ascend by key, code and TID. */
static void
check_order(Check *check, BlockNumber block, Previous *prev, uint32 key,
			const uint8 *code, const ItemPointerData *tid)
{
	if (prev->any)
	{
		int c = prev->key < key ? -1 : prev->key > key;

		if (c == 0)
			c = memcmp(prev->code, code, check->nbytes);
		if (c == 0)
			c = ItemPointerCompare(&prev->tid, (ItemPointer) tid);
		if (c >= 0)
			mih_corrupt(check->index, block, "entries are out of order");
	}
	prev->any = true;
	prev->key = key;
	memcpy(prev->code, code, check->nbytes);
	prev->tid = *tid;
}

static void
check_table_page(Check *check, MihSegment *segment, int table, const MihDirEntry *range,
				 Buffer buf, Previous *prev, Digest *digest)
{
	const MihLayout *layout = &segment->root.layout;
	const MihReferences *refs = segment->refs;
	uint8 code[HAMMING_MAX_BYTES];
	uint8 buffer[HAMMING_MAX_BYTES];
	MihEntries entries;

	mih_page_entries(check->index, buf, check->nbytes, &entries);
	for (int i = 0; i < entries.ncodes; i++)
	{
		const uint8 *stored = mih_entry_code(&entries, i, buffer);
		uint32 key = mih_entry_key(layout, refs, table, stored);
		int from, to;

		if (refs && (mih_key_shell(key) < refs->least[mih_key_reference(key)] ||
					 mih_key_shell(key) > refs->most[mih_key_reference(key)]))
			mih_corrupt(check->index, range->block,
						"a code lies outside the distances that are noted for its "
						"reference");
		if (key < range->first || key > range->last)
			mih_corrupt(check->index, range->block,
						"a key lies outside the range that the "
						"directory gives for its page");
		mih_run(check->index, buf, &entries, i, &from, &to);
		mih_from_stored(layout, stored, code);
		for (int t = from; t < to; t++)
		{
			const ItemPointerData *tid = &entries.top[-1 - t];

			check_entry(check, range->block, code, check->nbytes, tid);
			check_order(check, range->block, prev, key, stored, tid);
			digest_add(digest, code, check->nbytes, tid);
		}
	}
}

/* Walk all tables of a segment; returns the entries of the first. */
static uint64
check_segment(Check *check, int slot)
{
	const MihPart *part = &check->meta->parts[slot];
	MihSegment *segment = mih_segment_open(check->index, part);
	bool settled = !(check->meta->flags & MIH_VACUUMING);
	Digest first = {0};

	if (segment->root.layout.nbits != check->meta->nbits ||
		segment->root.npages[0] != part->first + part->npages)
		mih_corrupt(check->index, part->head, "root and metapage disagree");
	check->reached[slot] = 1;
	if (segment->root.order == MIH_BY_REFERENCES)
		check->reached[slot] += check_references(check, segment);
	for (int j = 0; j < segment->root.ntables; j++)
	{
		uint32 npages = segment->root.npages[j];
		const MihDirEntry *dir = mih_segment_dir(check->index, segment, j);
		Previous prev = {0};
		Digest digest = {0};

		for (uint32 i = part->first; i < npages; i++)
		{
			Buffer buf =
				mih_read_page(check->index, dir[i].block, part->id, MIH_PAGE_ENTRIES,
							  BUFFER_LOCK_SHARE, check->strategy);

			check_table_page(check, segment, j, &dir[i], buf, &prev, &digest);
			UnlockReleaseBuffer(buf);
			CHECK_FOR_INTERRUPTS();
		}
		check->reached[slot] +=
			npages - part->first + (npages + MihDirPerPage - 1) / MihDirPerPage;
		if (j == 0)
			first = digest;
		else if (settled && memcmp(&digest, &first, sizeof(Digest)) != 0)
			mih_corrupt(check->index, part->head, "chunk tables hold different entries");
	}
	if (settled && first.n != part->nentries)
		mih_corrupt(check->index, part->head,
					"a segment has another number of entries than "
					"the metapage says");
	pfree(segment);
	return first.n;
}

/*
 * Every page is free, or carries the id of a part that reaches it.  Pages of no
 * part are what a crash leaves; they are told of, not complained about.
 */
static void
check_pages(Check *check)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(check->index);
	BlockNumber orphans = 0;

	for (BlockNumber block = MIH_META_BLKNO + 1; block < nblocks; block++)
	{
		Buffer buf = ReadBufferExtended(check->index, MAIN_FORKNUM, block, RBM_NORMAL,
										check->strategy);
		uint32 id = 0;
		int slot = 0;

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buf, BUFFER_LOCK_SHARE);
		if (!PageIsNew(BufferGetPage(buf)))
		{
			mih_check_page(check->index, buf);
			if (MihTail(BufferGetPage(buf))->kind != MIH_PAGE_FREE)
				id = MihTail(BufferGetPage(buf))->part;
		}
		UnlockReleaseBuffer(buf);
		/* Ids from next_id on are of lists begun since. */
		if (id == 0 || id >= check->meta->next_id)
			continue;
		while (slot < MIH_MAX_PARTS &&
			   (check->meta->parts[slot].kind == MIH_PART_UNUSED ||
				check->meta->parts[slot].id != id))
			slot++;
		if (slot < MIH_MAX_PARTS)
			check->stamped[slot]++;
		else
			orphans++;
	}
	for (int i = 0; i < MIH_MAX_PARTS; i++)
	{
		int kind = check->meta->parts[i].kind;

		if ((kind == MIH_PART_SEGMENT || kind == MIH_PART_SEALED ||
			 kind == MIH_PART_SEALED_NULLS) &&
			(check->stamped[i] < check->reached[i] ||
			 check->stamped[i] > check->reached[i] + check->meta->parts[i].first))
			mih_corrupt(check->index, check->meta->parts[i].head,
						"a part owns pages that it does not reach");
	}
	if (orphans > 0)
		ereport(NOTICE,
				(errmsg_plural("index \"%s\" has %u page of no part",
							   "index \"%s\" has %u pages of no part", orphans,
							   RelationGetRelationName(check->index), orphans),
				 errhint("An interrupted rearrangement left them; VACUUM frees them.")));
}

/* Verify all that the index alone can tell; returns its entries. */
uint64
mih_check_structure(Relation index, const MihMeta *meta)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "mih check", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Check *check = palloc0(sizeof(Check));
	uint64 n = 0;

	check->index = index;
	check->meta = meta;
	check->strategy = GetAccessStrategy(BAS_BULKREAD);
	check->nbytes = hamming_bytes(meta->nbits);
	check_meta(check);
	for (int i = 0; i < MIH_MAX_PARTS; i++)
	{
		int kind = meta->parts[i].kind;

		if (kind == MIH_PART_SEGMENT)
			n += check_segment(check, i);
		else if (kind != MIH_PART_UNUSED && kind != MIH_PART_DEAD)
			n += check_list(check, i);
	}
	check_pages(check);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return n;
}
