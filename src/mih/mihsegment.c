/*
 * mihsegment.c
 *	  Writing a segment from a source of entries, and opening one.
 */
#include "mih/mih.h"

#include "commands/progress.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/predicate.h"
#include "storage/buf_internals.h"
#include "utils/memutils.h"

#define LONG_WAY 61 /* every so many reads of entry pages look in the buffer table */
#define ALL_CODES (BLCKSZ * 9 / 16) /* of 64 bits on a page, in bytes */

/*
 * Write the root of a segment whose tables have been written as design says and
 * return its description, which the caller makes visible in the metapage.
 */
MihPart
mih_write_root(Relation index, uint32 id, const MihDesign *design,
			   const MihTables *tables, bool building, bool packed)
{
	PGAlignedBlock image;
	Page page = (Page) image.data;
	MihRoot *root;
	MihPart part;

	memset(&part, 0, sizeof(part));
	mih_init_page(page, MIH_PAGE_ROOT, id);
	root = MihPageGetRoot(page);
	memset(root, 0, sizeof(MihRoot));
	root->nentries = tables->nentries[0];
	root->ntables = design->ntables;
	root->layout = design->layout;
	root->order = design->refs ? MIH_BY_REFERENCES : MIH_BY_CHUNKS;
	root->refs = InvalidBlockNumber;
	for (int j = 0; j < design->ntables; j++)
	{
		if (tables->nentries[j] != root->nentries)
			elog(ERROR, "chunk tables of index \"%s\" differ in number of entries",
				 RelationGetRelationName(index));
		root->npages[j] = tables->npages[j];
		root->dir[j] = tables->dir[j];
	}
	if (design->refs)
	{
		root->nrefs = design->refs->n;
		root->refs = mih_write_references(index, id, design->refs, building);
		mih_set_reach(&part, design->reach);
	}
	((PageHeader) page)->pd_lower = (char *) (root + 1) - (char *) page;
	part.id = id;
	part.kind = MIH_PART_SEGMENT;
	part.order = root->order;
	part.flags = packed ? MIH_HALFWAY : 0;
	part.ntables = root->ntables;
	part.npages = root->npages[0];
	part.nentries = root->nentries;
	part.head = mih_put_page(index, page, building);
	part.tail = InvalidBlockNumber;
	return part;
}

/* Note what was written of table j, and write its directory. */
void
mih_end_table(MihTables *tables, int j, MihTableWriter *writer)
{
	tables->nentries[j] = writer->n;
	tables->npages[j] = writer->npages;
	tables->dir[j] = mih_table_directory(writer);
	pfree(writer->dir);
}

/* Write the tables of a segment one after the other. */
static void
write_tables(Relation index, uint32 id, MihSource *source, double nentries,
			 MihDesign *design, const uint8 *sample, int nsample, bool building,
			 MihTables *tables)
{
	Size memory = (Size) maintenance_work_mem * 1024;
	int nranges = mih_range_count(design, nentries, memory);
	uint32 start[MIH_MAX_RANGES];

	for (int j = 0; j < design->ntables; j++)
	{
		MihTableWriter writer;

		mih_table_begin(&writer, index, id, design->layout.nbits, building);
		mih_table_ranges(design, j, sample, nsample, nranges, start);
		for (int r = 0; r < nranges; r++)
		{
			mih_table_add(&writer, source, design, j, start, nranges, r, memory);
			if (building)
				pgstat_progress_update_param(
					PROGRESS_CREATEIDX_TUPLES_DONE,
					(int64) ((nentries * j + writer.n) / design->ntables));
		}
		mih_table_end(&writer);
		mih_end_table(tables, j, &writer);
	}
}

/*
 * Write the entries of source as segment id and return its description, as
 * mih_write_root does.  nentries is an estimate that the layout is chosen by, as by
 * the sample of codes, unless it shall be packed in one table in any case; the
 * length is nbits.  A crew that found the entries writes them together.
 */
MihPart
mih_write_segment(Relation index, uint32 id, MihSource *source, double nentries,
				  int nbits, const uint8 *sample, int nsample, MihCrew *crew,
				  bool building, bool packed)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "mih segment",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	MihTables tables = {0};
	MihDesign design;
	MihPart part;

	mih_choose_design(&design, packed ? MIH_LAYOUT_PACKED : mih_layout_option(index),
					  packed ? 0 : mih_chunks_option(index), nbits, nentries, sample,
					  nsample);
	if (crew)
		mih_crew_write(crew, index, id, &design, nentries, sample, nsample, &tables);
	else
		write_tables(index, id, source, nentries, &design, sample, nsample, building,
					 &tables);
	part = mih_write_root(index, id, &design, &tables, building, packed);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return part;
}

/* What a root says can be used without reading out of bounds. */
static bool
root_is_sane(const MihRoot *root, const MihPart *part, BlockNumber nblocks)
{
	const MihLayout *layout = &root->layout;

	if (layout->nbits < 1 || layout->nbits > HAMMING_MAX_BITS || layout->nchunks < 1 ||
		layout->nchunks > MIH_MAX_CHUNKS || root->ntables != part->ntables ||
		(root->ntables != 1 && root->ntables != layout->nchunks) || root->ntables < 1 ||
		layout->start[0] != 0 || layout->start[layout->nchunks] != layout->nbits ||
		(layout->nperm != 0 && layout->nperm != layout->nbits) ||
		layout->nperm > MIH_MAX_PERM_BITS || root->order != part->order)
		return false;
	if (root->order == MIH_BY_REFERENCES
			? root->ntables != 1 || layout->nchunks != 1 || layout->nperm != 0 ||
				  root->nrefs < 1 || root->nrefs > MIH_MAX_REFERENCES
			: root->order != MIH_BY_CHUNKS)
		return false;
	for (int j = 0; j < layout->nchunks; j++)
		if (layout->start[j] >= layout->start[j + 1])
			return false;
	for (int i = 0; i < layout->nperm; i++)
		if (layout->perm[i] >= layout->nbits)
			return false;
	/* Bit maps of that many pages are made before the directory is read. */
	for (int j = 0; j < root->ntables; j++)
		if (root->npages[j] >= nblocks)
			return false;
	return true;
}

/* The pages that the metapage says are left are some that the segment has. */
void
mih_check_range(Relation index, const MihSegment *segment, const MihPart *part)
{
	if ((uint64) part->first + part->npages > segment->root.npages[0] ||
		(part->first > 0 && segment->root.ntables > 1))
		mih_corrupt(index, part->head,
					"a segment is said to have other pages than it has");
}

/* Read the root of a segment, in the current memory context. */
MihSegment *
mih_segment_open(Relation index, const MihPart *part)
{
	MihSegment *segment = palloc0(sizeof(MihSegment));
	Buffer buf = mih_read_page(index, part->head, part->id, MIH_PAGE_ROOT,
							   BUFFER_LOCK_SHARE, NULL);

	memcpy(&segment->root, MihPageGetRoot(BufferGetPage(buf)), sizeof(MihRoot));
	if (!root_is_sane(&segment->root, part, RelationGetNumberOfBlocks(index)))
		mih_corrupt(index, part->head, "root of a segment is out of order");
	UnlockReleaseBuffer(buf);
	mih_check_range(index, segment, part);
	segment->id = part->id;
	segment->wanted = ALL_CODES;
	return segment;
}

/*
 * An entry of a directory, on the given block, names a page that there is, and its
 * keys do not run into those of the entry before: a walk would look at every page for
 * every key.
 */
static void
check_dir_entry(Relation index, BlockNumber block, const MihDirEntry *before,
				const MihDirEntry *entry, BlockNumber nblocks)
{
	if (entry->block == MIH_META_BLKNO || entry->block >= nblocks)
		mih_corrupt(index, block, "directory refers to a block outside");
	if (entry->first > entry->last || (before && before->last > entry->first))
		mih_corrupt(index, block, "directory is out of order");
}

/* The directory of one table, read when first asked for and then kept. */
const MihDirEntry *
mih_segment_dir(Relation index, MihSegment *segment, int table)
{
	uint32 npages = segment->root.npages[table];
	BlockNumber block = segment->root.dir[table];
	BlockNumber nblocks;
	MihDirEntry *dir;
	uint32 n = 0;

	if (segment->dir[table])
		return segment->dir[table];
	nblocks = RelationGetNumberOfBlocks(index);
	dir = MemoryContextAllocHuge(GetMemoryChunkContext(segment),
								 sizeof(MihDirEntry) * Max((Size) npages, 1));
	while (block != InvalidBlockNumber)
	{
		Buffer buf = mih_read_page(index, block, segment->id, MIH_PAGE_DIRECTORY,
								   BUFFER_LOCK_SHARE, NULL);
		Page page = BufferGetPage(buf);
		int count = MihTail(page)->ncodes;

		if (count < 1 || count > MihDirPerPage || (uint32) count > npages - n)
			mih_corrupt(index, block, "directory has a wrong number of entries");
		memcpy(dir + n, MihPageGetDir(page), count * sizeof(MihDirEntry));
		for (int i = 0; i < count; i++)
			check_dir_entry(index, block, n + i > 0 ? &dir[n + i - 1] : NULL, &dir[n + i],
							nblocks);
		n += count;
		block = MihTail(page)->next;
		UnlockReleaseBuffer(buf);
		CHECK_FOR_INTERRUPTS();
	}
	if (n != npages)
		mih_corrupt(index, segment->root.dir[table], "directory ends early");
	segment->recent[table] = MemoryContextAllocExtended(
		GetMemoryChunkContext(segment), sizeof(Buffer) * Max((Size) npages, 1),
		MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	segment->dir[table] = dir;
	return dir;
}

/*
 * Pin and lock an entry page, by its place in the directory, which has been
 * loaded.  Where the page was last time it mostly still is, and looking there
 * saves the look-up in the buffer table.  PostgreSQL does not count such a visit
 * as a use of the buffer, so now and then one goes the long way, lest the pages
 * of a busy index seem idle and be evicted.
 */
Buffer
mih_segment_page(Relation index, MihSegment *segment, int table, uint32 page,
				 int lockmode, BufferAccessStrategy strategy)
{
	BlockNumber block = segment->dir[table][page].block;
	Buffer *recent = &segment->recent[table][page];
	Buffer buf = *recent;

	if (++segment->reads % LONG_WAY != 0 && buf != InvalidBuffer &&
		compat_read_recent(index, block, buf))
	{
		pgstat_count_buffer_read(index);
		pgstat_count_buffer_hit(index);
	}
	else
		/* The block was checked when the directory was read. */
		*recent = buf =
			ReadBufferExtended(index, MAIN_FORKNUM, block, RBM_NORMAL, strategy);
	mih_lock_page(index, buf, segment->id, MIH_PAGE_ENTRIES, lockmode);
	return buf;
}

/* Bring a page that will be read next towards the processor. */
void
mih_segment_prefetch(const MihSegment *segment, int table, uint32 page)
{
	Buffer buf = segment->recent[table][page];

	if (buf > 0)
	{
		const char *at = BufferGetPage(buf);

		__builtin_prefetch(GetBufferDescriptor(buf - 1));
		for (int i = 0; i < segment->wanted; i += 64)
			__builtin_prefetch(at + i);
		__builtin_prefetch(at + BLCKSZ - sizeof(MihPageTail));
	}
}
