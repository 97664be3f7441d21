/*
 * mihbuild.c
 *	  CREATE INDEX: the heap goes through a temporary file, from which each
 *	  chunk table is sorted and written; then the whole file is logged.
 */
#include "mih/mih.h"

#include "access/tableam.h"
#include "access/xloginsert.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"

#define SAMPLE_CODES 4096

/* Sub-phases for pg_stat_progress_create_index; 1 is the server's own. */
#define PHASE_SCAN 2
#define PHASE_WRITE 3
#define PHASE_LOG 4

/*
 * Begin to put what a scan finds into two empty files: codes with their TIDs, and
 * TIDs of NULLs.  nbits is the length of codes, shared by all participants of the
 * build: who meets the first code sets it.
 */
void
mih_builder_begin(MihBuilder *builder, Relation index, pg_atomic_uint32 *nbits,
				  BufFile *codes, BufFile *nulls)
{
	builder->index = index;
	builder->context =
		AllocSetContextCreate(CurrentMemoryContext, "mih build", ALLOCSET_DEFAULT_SIZES);
	builder->nbits = nbits;
	mih_spool_begin(&builder->codes, codes);
	mih_spool_begin(&builder->nulls, nulls);
}

void
mih_builder_end(MihBuilder *builder)
{
	mih_spool_finish(&builder->codes);
	mih_spool_finish(&builder->nulls);
	MemoryContextDelete(builder->context);
}

/* Take a row: IndexBuildCallback. */
void
mih_build_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull,
				   bool alive, void *arg)
{
	MihBuilder *builder = arg;
	MemoryContext old;
	HashCode *code;
	uint32 nbits = 0;

	if (isnull[0])
	{
		mih_spool_put(&builder->nulls, NULL, 0, tid);
		return;
	}
	old = MemoryContextSwitchTo(builder->context);
	code = mih_read_code(index, values[0]);
	/* Where it is known, nbits becomes it; another participant may just have set it. */
	if (pg_atomic_read_u32(builder->nbits) != (uint32) code->nbits &&
		!pg_atomic_compare_exchange_u32(builder->nbits, &nbits, code->nbits) &&
		nbits != (uint32) code->nbits)
		mih_wrong_length(index, code->nbits, (int) nbits);
	mih_spool_put(&builder->codes, code->bits, hamming_bytes(code->nbits), tid);
	MemoryContextSwitchTo(old);
	MemoryContextReset(builder->context);
}

/* Write the TIDs of NULLs as a list and enter it into the metapage. */
static void
write_nulls(Relation index, MihMeta *meta, uint32 id, MihSource *source)
{
	MihPacker *packer = mih_packer_make(0);
	BlockNumber head = InvalidBlockNumber;
	PGAlignedBlock image;
	Page page = (Page) image.data;
	MihPart *part = mih_add_part(meta);
	ItemPointerData tid;
	bool more;

	part->id = id;
	part->kind = MIH_PART_NULLS;
	source->rewind(source);
	do
	{
		more = source->next(source, NULL, &tid);
		if (more && mih_packer_add(packer, NULL, &tid))
			continue;
		/* The list grows at its head, so that each page knows the next. */
		part->nentries += mih_packer_page(packer, page, MIH_PAGE_LIST, id);
		MihTail(page)->next = head;
		head = mih_put_page(index, page, true);
		if (part->npages++ == 0)
			part->tail = head;
		if (more)
			mih_packer_add(packer, NULL, &tid);
	} while (more);
	part->head = head;
}

/* Write what the scan found as a segment and enter it into the metapage. */
static void
write_segment(Relation index, MihMeta *meta, const MihFound *found, MihCrew *crew)
{
	int nbytes = hamming_bytes(found->nbits);
	uint8 *sample = palloc(SAMPLE_CODES * nbytes);
	double nentries;
	int nsample =
		mih_sample_source(found->codes, nbytes, sample, SAMPLE_CODES, &nentries);

	mih_sample_histogram(sample, nsample, found->nbits, meta);
	*mih_add_part(meta) =
		mih_write_segment(index, mih_take_id(index, meta), found->codes, nentries,
						  found->nbits, sample, nsample, crew, true, false);
	pfree(sample);
}

/* Scan the heap in this process alone; returns its rows. */
static double
scan_alone(Relation heap, Relation index, IndexInfo *info, MihFound *found)
{
	pg_atomic_uint32 nbits;
	MihBuilder builder;
	double tuples;

	pg_atomic_init_u32(&nbits, mih_column_bits(index));
	mih_builder_begin(&builder, index, &nbits, BufFileCreateTemp(false),
					  BufFileCreateTemp(false));
	tuples = table_index_build_scan(heap, index, info, true, true, mih_build_callback,
									&builder, NULL);
	mih_builder_end(&builder);
	found->nbits = (int) pg_atomic_read_u32(&nbits);
	found->ncodes = builder.codes.n;
	found->nnulls = builder.nulls.n;
	found->codes = mih_spool_source(&builder.codes.file, &found->ncodes, 1,
									hamming_bytes(found->nbits));
	found->nulls = mih_spool_source(&builder.nulls.file, &found->nnulls, 1, 0);
	return tuples;
}

static void
build(Relation heap, Relation index, IndexInfo *info, MihCrew *crew,
	  IndexBuildResult *result)
{
	PGAlignedBlock image;
	MihMeta *meta = MihPageGetMeta((Page) image.data);
	MihFound found;
	uint32 null_id;
	Buffer metabuf;

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, PHASE_SCAN);
	result->heap_tuples = crew ? mih_crew_scan(crew, heap, index, info, &found)
							   : scan_alone(heap, index, info, &found);

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, PHASE_WRITE);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, 0);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, (int64) found.ncodes);
	mih_init_meta((Page) image.data, found.nbits);
	null_id = mih_take_id(index, meta);
	if (found.nnulls > 0)
		write_nulls(index, meta, null_id, found.nulls);
	if (found.ncodes > 0)
		write_segment(index, meta, &found, crew);
	mih_spool_close(found.codes);
	mih_spool_close(found.nulls);
	result->index_tuples = (double) (found.ncodes + found.nnulls);

	metabuf = mih_read_meta(index, BUFFER_LOCK_EXCLUSIVE);
	memcpy(BufferGetPage(metabuf), image.data, BLCKSZ);
	MarkBufferDirty(metabuf);
	UnlockReleaseBuffer(metabuf);
}

/* Block 0 comes before all others. */
static void
write_first_meta(Relation index)
{
	Buffer metabuf = mih_extend(index);

	if (BufferGetBlockNumber(metabuf) != MIH_META_BLKNO)
		elog(ERROR, "index \"%s\" is not empty", RelationGetRelationName(index));
	mih_init_meta(BufferGetPage(metabuf), mih_column_bits(index));
	MarkBufferDirty(metabuf);
	UnlockReleaseBuffer(metabuf);
}

IndexBuildResult *
mihbuild(Relation heap, Relation index, IndexInfo *info)
{
	IndexBuildResult *result = palloc0(sizeof(IndexBuildResult));
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "mih build", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	MihCrew *crew = NULL;
	int nworkers = 0;

	if (RelationGetNumberOfBlocks(index) != 0)
		elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(index));
	mih_check_opclass(index);
	write_first_meta(index);
	if (RelationGetNumberOfBlocks(heap) > 0)
		nworkers = compat_build_workers(heap, index, info);
	if (nworkers > 0)
		crew = mih_crew_start(heap, index, info, nworkers);
	build(heap, index, info, crew, result);
	if (crew)
		mih_crew_end(crew);

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, PHASE_LOG);
	if (RelationNeedsWAL(index))
		log_newpage_range(index, MAIN_FORKNUM, 0, RelationGetNumberOfBlocks(index), true);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return result;
}

/* The init fork of an unlogged index: an empty index, logged explicitly. */
void
mihbuildempty(Relation index)
{
	Buffer buf = ReadBufferExtended(index, INIT_FORKNUM, P_NEW, RBM_NORMAL, NULL);

	LockBuffer(buf, BUFFER_LOCK_EXCLUSIVE);
	START_CRIT_SECTION();
	mih_init_meta(BufferGetPage(buf), mih_column_bits(index));
	MarkBufferDirty(buf);
	log_newpage_buffer(buf, true);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buf);
}

char *
mihbuildphasename(int64 phase)
{
	switch (phase)
	{
		case PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE:
			return "initializing";
		case PHASE_SCAN:
			return "scanning table";
		case PHASE_WRITE:
			return "sorting and writing chunk tables";
		case PHASE_LOG:
			return "logging the index";
		default:
			return NULL;
	}
}
