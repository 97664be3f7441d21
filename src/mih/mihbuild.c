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

typedef struct BuildState
{
	Relation index;
	MemoryContext context; /* for each code, reset after it */
	int nbits;			   /* 0 until known */
	MihSpool spool;
	MihPacker *nulls;
	BlockNumber null_head; /* the list of NULLs grows at its head */
	BlockNumber null_tail;
	uint32 null_pages;
	uint64 null_entries;
	uint32 null_id;
} BuildState;

/* Write the gathered NULLs as a page before the head of their list. */
static void
write_nulls(BuildState *state)
{
	PGAlignedBlock image;
	Page page = (Page) image.data;

	state->null_entries +=
		mih_packer_page(state->nulls, page, MIH_PAGE_LIST, state->null_id);
	MihTail(page)->next = state->null_head;
	state->null_head = mih_put_page(state->index, page, true);
	if (state->null_pages++ == 0)
		state->null_tail = state->null_head;
}

static void
build_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive,
			   void *arg)
{
	BuildState *state = arg;
	MemoryContext old;
	HashCode *code;

	if (isnull[0])
	{
		if (!mih_packer_add(state->nulls, NULL, tid))
		{
			write_nulls(state);
			mih_packer_add(state->nulls, NULL, tid);
		}
		return;
	}
	old = MemoryContextSwitchTo(state->context);
	code = mih_read_code(index, values[0]);
	if (state->nbits == 0)
		state->nbits = code->nbits;
	if (code->nbits != state->nbits)
		mih_wrong_length(index, code->nbits, state->nbits);
	mih_spool_put(&state->spool, code->bits, hamming_bytes(state->nbits), tid);
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->context);
}

/* Write what the spool holds and enter it into the metapage. */
static void
write_segment(BuildState *state, MihMeta *meta)
{
	int nbytes = hamming_bytes(state->nbits);
	MihSource *source = mih_spool_source(&state->spool.file, &state->spool.n, 1, nbytes);
	uint8 *sample = palloc(SAMPLE_CODES * nbytes);
	double nentries;
	int nsample = mih_sample_source(source, nbytes, sample, SAMPLE_CODES, &nentries);

	mih_sample_histogram(sample, nsample, state->nbits, meta);
	*mih_add_part(meta) =
		mih_write_segment(state->index, mih_take_id(state->index, meta), source, nentries,
						  state->nbits, sample, nsample, true, false);
	pfree(sample);
}

static void
build(BuildState *state, Relation heap, IndexInfo *info, IndexBuildResult *result)
{
	Relation index = state->index;
	Buffer metabuf = mih_new_page(index);
	MihMeta *meta;
	PGAlignedBlock image;

	if (BufferGetBlockNumber(metabuf) != MIH_META_BLKNO)
		elog(ERROR, "index \"%s\" is not empty", RelationGetRelationName(index));
	mih_init_meta(BufferGetPage(metabuf), state->nbits);
	memcpy(image.data, BufferGetPage(metabuf), BLCKSZ);
	MarkBufferDirty(metabuf);
	UnlockReleaseBuffer(metabuf);
	meta = MihPageGetMeta((Page) image.data);
	state->null_id = mih_take_id(index, meta);

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, PHASE_SCAN);
	result->heap_tuples = table_index_build_scan(heap, index, info, true, true,
												 build_callback, state, NULL);
	mih_spool_finish(&state->spool);

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, PHASE_WRITE);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, state->spool.n);
	if (!mih_packer_empty(state->nulls))
		write_nulls(state);
	if (state->null_pages > 0)
	{
		MihPart *part = mih_add_part(meta);

		part->id = state->null_id;
		part->kind = MIH_PART_NULLS;
		part->head = state->null_head;
		part->tail = state->null_tail;
		part->npages = state->null_pages;
		part->nentries = state->null_entries;
	}
	meta->nbits = state->nbits;
	if (state->spool.n > 0)
		write_segment(state, meta);
	result->index_tuples = state->spool.n + state->null_entries;

	metabuf = mih_read_meta(index, BUFFER_LOCK_EXCLUSIVE);
	memcpy(BufferGetPage(metabuf), image.data, BLCKSZ);
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
	BuildState state = {0};

	if (RelationGetNumberOfBlocks(index) != 0)
		elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(index));
	mih_check_opclass(index);
	state.index = index;
	state.context =
		AllocSetContextCreate(context, "mih build code", ALLOCSET_DEFAULT_SIZES);
	state.nbits = mih_column_bits(index);
	mih_spool_begin(&state.spool, BufFileCreateTemp(false));
	state.nulls = mih_packer_make(0);
	state.null_head = InvalidBlockNumber;
	build(&state, heap, info, result);
	BufFileClose(state.spool.file);

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
