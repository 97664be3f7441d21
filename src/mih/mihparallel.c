/*
 * mihparallel.c
 *	  CREATE INDEX by several processes.
 *
 * The leader and its workers (participants) all do the same: they scan a part of
 * the heap each into spools that all can read; then, when the leader has designed
 * the segment, they take items (a range of keys of a table), sort and write them,
 * until none is left.  What pages came of an item goes to a file that the
 * leader puts the directory together from.
 *
 * Shared memory and files belong to the parallel context: an error in any participant
 * ends the others, and the files are gone with the last of them.
 */
#include "mih/mih.h"

#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/spin.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define MAX_BUILDERS 64 /* participants, the leader among them */
#define ITEMS_EACH 3	/* at least so many to each, that none waits for long */
#define MAX_ITEMS (MIH_MAX_CHUNKS * MIH_MAX_RANGES)
#define WAIT_MS 200 /* between reports of progress */

#define KEY_SHARED UINT64CONST(0xB1D0000000000001)
#define KEY_SCAN UINT64CONST(0xB1D0000000000002)
#define KEY_REFERENCES UINT64CONST(0xB1D0000000000003)
#define KEY_QUERY UINT64CONST(0xB1D0000000000004)
#define KEY_WAL_USAGE UINT64CONST(0xB1D0000000000005)
#define KEY_BUFFER_USAGE UINT64CONST(0xB1D0000000000006)

typedef struct BuildShared
{
	Oid heap;
	Oid index;
	bool concurrent;
	SharedFileSet files;
	pg_atomic_uint32 nbits; /* 0 until someone meets a code */
	pg_atomic_uint32 next;	/* item to be taken */
	pg_atomic_uint64 done;	/* entries written, over all tables */

	ConditionVariable changed;
	slock_t mutex;
	int scanned;   /* participants whose spools are complete */
	int written;   /* participants that found no more items */
	bool designed; /* what follows below is filled */
	bool broken_hot_chain;
	double heap_tuples;
	uint64 ncodes[MAX_BUILDERS];
	uint64 nnulls[MAX_BUILDERS];

	/* The leader's design; references have a place of their own. */
	int nbuilders;
	uint32 id;
	bool by_references;
	int ntables;
	int nranges;
	MihLayout layout;
	uint32 start[MIH_MAX_CHUNKS][MIH_MAX_RANGES];
	uint64 entries[MAX_ITEMS]; /* by item */
	uint32 pages[MAX_ITEMS];
} BuildShared;

struct MihCrew
{
	ParallelContext *context;
	BuildShared *shared;
	ParallelTableScanDesc scan;
	MihReferences *refs;
	Snapshot snapshot;
	WalUsage *wal_usage;
	BufferUsage *buffer_usage;
};

PGDLLEXPORT void mih_build_worker(dsm_segment *seg, shm_toc *toc);

/* --------------------------------------------------------- what all participants do */

static BufFile *
create_file(BuildShared *shared, const char *what, int number)
{
	char name[64];

	snprintf(name, sizeof(name), "%s.%d", what, number);
	return compat_create_shared_file(&shared->files, name);
}

static BufFile *
open_file(BuildShared *shared, const char *what, int number)
{
	char name[64];

	snprintf(name, sizeof(name), "%s.%d", what, number);
	return compat_open_shared_file(&shared->files, name);
}

/* Scan a part of the heap into spools. */
static void
scan_part(BuildShared *shared, int me, Relation heap, Relation index, IndexInfo *info,
		  ParallelTableScanDesc scan)
{
	MihBuilder builder;
	double tuples;

	mih_builder_begin(&builder, index, &shared->nbits, create_file(shared, "codes", me),
					  create_file(shared, "nulls", me));
	tuples = table_index_build_scan(heap, index, info, true, me == 0, mih_build_callback,
									&builder, table_beginscan_parallel(heap, scan));
	mih_builder_end(&builder);
	compat_export_shared_file(builder.codes.file);
	compat_export_shared_file(builder.nulls.file);
	BufFileClose(builder.codes.file);
	BufFileClose(builder.nulls.file);

	SpinLockAcquire(&shared->mutex);
	shared->ncodes[me] = builder.codes.n;
	shared->nnulls[me] = builder.nulls.n;
	shared->heap_tuples += tuples;
	shared->broken_hot_chain |= info->ii_BrokenHotChain;
	shared->scanned++;
	SpinLockRelease(&shared->mutex);
	ConditionVariableBroadcast(&shared->changed);
}

/* What n participants put into their spools of that name. */
static MihSource *
open_spools(BuildShared *shared, const char *what, const uint64 *counts, int n,
			int nbytes)
{
	BufFile *files[MAX_BUILDERS];

	for (int i = 0; i < n; i++)
		files[i] = open_file(shared, what, i);
	return mih_spool_source(files, counts, n, nbytes);
}

/* Sort and write one item, and leave word of it. */
static void
write_item(BuildShared *shared, Relation index, MihSource *source, MihDesign *design,
		   int item)
{
	int table = item / shared->nranges;
	int range = item % shared->nranges;
	Size memory = (Size) maintenance_work_mem * 1024 / shared->nbuilders;
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "mih item", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	MihTableWriter writer;
	BufFile *file;

	mih_table_begin(&writer, index, shared->id, design->layout.nbits, true);
	mih_table_add(&writer, source, design, table, shared->start[table], shared->nranges,
				  range, memory);
	mih_table_end(&writer);
	file = create_file(shared, "item", item);
	if (writer.npages > 0)
		BufFileWrite(file, writer.dir, writer.npages * sizeof(MihDirEntry));
	if (design->refs)
	{
		BufFileWrite(file, design->refs->least, sizeof(design->refs->least));
		BufFileWrite(file, design->refs->most, sizeof(design->refs->most));
	}
	compat_export_shared_file(file);
	BufFileClose(file);
	shared->pages[item] = writer.npages;
	shared->entries[item] = writer.n;
	pg_atomic_fetch_add_u64(&shared->done, writer.n);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

static void
report_done(BuildShared *shared)
{
	pgstat_progress_update_param(
		PROGRESS_CREATEIDX_TUPLES_DONE,
		(int64) (pg_atomic_read_u64(&shared->done) / shared->ntables));
}

/* Take items until none is left. */
static void
write_items(BuildShared *shared, Relation index, MihDesign *design, bool leader)
{
	uint32 nitems = shared->ntables * shared->nranges;
	MihSource *source = open_spools(shared, "codes", shared->ncodes, shared->nbuilders,
									hamming_bytes(design->layout.nbits));
	uint32 item;

	while ((item = pg_atomic_fetch_add_u32(&shared->next, 1)) < nitems)
	{
		write_item(shared, index, source, design, (int) item);
		if (leader)
			report_done(shared);
	}
	mih_spool_close(source);
	SpinLockAcquire(&shared->mutex);
	shared->written++;
	SpinLockRelease(&shared->mutex);
	ConditionVariableBroadcast(&shared->changed);
}

/* ------------------------------------------------------------------------ workers */

static MihReferences *
copy_references(const MihReferences *refs)
{
	Size size = offsetof(MihReferences, codes) + (Size) refs->n * refs->nbytes;
	MihReferences *copy = palloc(size);

	memcpy(copy, refs, size);
	return copy;
}

static void
wait_for_design(BuildShared *shared)
{
	ConditionVariablePrepareToSleep(&shared->changed);
	for (;;)
	{
		bool designed;

		SpinLockAcquire(&shared->mutex);
		designed = shared->designed;
		SpinLockRelease(&shared->mutex);
		if (designed)
			break;
		ConditionVariableSleep(&shared->changed, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
}

/* Entry point of a worker. */
void
mih_build_worker(dsm_segment *seg, shm_toc *toc)
{
	BuildShared *shared = shm_toc_lookup(toc, KEY_SHARED, false);
	WalUsage *wal_usage = shm_toc_lookup(toc, KEY_WAL_USAGE, false);
	BufferUsage *buffer_usage = shm_toc_lookup(toc, KEY_BUFFER_USAGE, false);
	LOCKMODE heap_mode = shared->concurrent ? ShareUpdateExclusiveLock : ShareLock;
	LOCKMODE index_mode = shared->concurrent ? RowExclusiveLock : AccessExclusiveLock;
	Relation heap;
	Relation index;
	IndexInfo *info;
	MihDesign design;

	debug_query_string = shm_toc_lookup(toc, KEY_QUERY, true);
	pgstat_report_activity(STATE_RUNNING, debug_query_string);
	heap = table_open(shared->heap, heap_mode);
	index = index_open(shared->index, index_mode);
	info = BuildIndexInfo(index);
	info->ii_Concurrent = shared->concurrent;
	SharedFileSetAttach(&shared->files, seg);
	InstrStartParallelQuery();
	scan_part(shared, ParallelWorkerNumber + 1, heap, index, info,
			  shm_toc_lookup(toc, KEY_SCAN, false));
	wait_for_design(shared);
	if (shared->ntables > 0)
	{
		memset(&design, 0, sizeof(design));
		design.layout = shared->layout;
		design.ntables = shared->ntables;
		if (shared->by_references)
			design.refs = copy_references(shm_toc_lookup(toc, KEY_REFERENCES, false));
		write_items(shared, index, &design, false);
	}
	InstrEndParallelQuery(&buffer_usage[ParallelWorkerNumber],
						  &wal_usage[ParallelWorkerNumber]);
	index_close(index, index_mode);
	table_close(heap, heap_mode);
}

/* ------------------------------------------------------------------------- leader */

static void
estimate(ParallelContext *context, Size size)
{
	shm_toc_estimate_chunk(&context->estimator, size);
	shm_toc_estimate_keys(&context->estimator, 1);
}

static void *
allocate(ParallelContext *context, uint64 key, Size size)
{
	void *at = shm_toc_allocate(context->toc, size);

	memset(at, 0, size);
	shm_toc_insert(context->toc, key, at);
	return at;
}

static void
dismiss(MihCrew *crew)
{
	if (IsMVCCSnapshot(crew->snapshot))
		UnregisterSnapshot(crew->snapshot);
	DestroyParallelContext(crew->context);
	ExitParallelMode();
	pfree(crew);
}

static void
init_shared(BuildShared *shared, Relation heap, Relation index, bool concurrent,
			dsm_segment *seg)
{
	shared->heap = RelationGetRelid(heap);
	shared->index = RelationGetRelid(index);
	shared->concurrent = concurrent;
	SharedFileSetInit(&shared->files, seg);
	pg_atomic_init_u32(&shared->nbits, mih_column_bits(index));
	pg_atomic_init_u32(&shared->next, 0);
	pg_atomic_init_u64(&shared->done, 0);
	ConditionVariableInit(&shared->changed);
	SpinLockInit(&shared->mutex);
}

/*
 * Start up to nworkers workers on a build; NULL if there are none to be had.  They
 * begin to scan the heap.
 */
MihCrew *
mih_crew_start(Relation heap, Relation index, IndexInfo *info, int nworkers)
{
	MihCrew *crew = palloc0(sizeof(MihCrew));
	Size refs_size =
		offsetof(MihReferences, codes) + (Size) MIH_MAX_REFERENCES * HAMMING_MAX_BYTES;
	Size query_size = debug_query_string ? strlen(debug_query_string) + 1 : 0;
	ParallelContext *context;
	Size scan_size;

	nworkers = Min(nworkers, MAX_BUILDERS - 1);
	EnterParallelMode();
	context = CreateParallelContext("deephash", "mih_build_worker", nworkers);
	crew->context = context;
	crew->snapshot =
		info->ii_Concurrent ? RegisterSnapshot(GetTransactionSnapshot()) : SnapshotAny;
	scan_size = table_parallelscan_estimate(heap, crew->snapshot);
	estimate(context, sizeof(BuildShared));
	estimate(context, scan_size);
	estimate(context, refs_size);
	estimate(context, sizeof(WalUsage) * nworkers);
	estimate(context, sizeof(BufferUsage) * nworkers);
	if (query_size > 0)
		estimate(context, query_size);
	InitializeParallelDSM(context);
	if (context->seg == NULL)
	{
		dismiss(crew);
		return NULL;
	}
	crew->shared = allocate(context, KEY_SHARED, sizeof(BuildShared));
	init_shared(crew->shared, heap, index, info->ii_Concurrent, context->seg);
	crew->scan = allocate(context, KEY_SCAN, scan_size);
	table_parallelscan_initialize(heap, crew->scan, crew->snapshot);
	crew->refs = allocate(context, KEY_REFERENCES, refs_size);
	crew->wal_usage = allocate(context, KEY_WAL_USAGE, sizeof(WalUsage) * nworkers);
	crew->buffer_usage =
		allocate(context, KEY_BUFFER_USAGE, sizeof(BufferUsage) * nworkers);
	if (query_size > 0)
		memcpy(allocate(context, KEY_QUERY, query_size), debug_query_string, query_size);
	LaunchParallelWorkers(context);
	if (context->nworkers_launched == 0)
	{
		dismiss(crew);
		return NULL;
	}
	crew->shared->nbuilders = context->nworkers_launched + 1;
	return crew;
}

/* Wait until the count of participants at stage is complete. */
static void
wait_for_all(MihCrew *crew, const int *stage, bool writing)
{
	BuildShared *shared = crew->shared;

	ConditionVariablePrepareToSleep(&shared->changed);
	for (;;)
	{
		int n;

		SpinLockAcquire(&shared->mutex);
		n = *stage;
		SpinLockRelease(&shared->mutex);
		if (n == shared->nbuilders)
			break;
		if (writing)
			report_done(shared);
		ConditionVariableTimedSleep(&shared->changed, WAIT_MS, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
}

/*
 * Scan the leader's part of the heap and wait for the others.  Returns the rows of
 * the heap and sources of what was found.
 */
double
mih_crew_scan(MihCrew *crew, Relation heap, Relation index, IndexInfo *info,
			  MihFound *found)
{
	BuildShared *shared = crew->shared;

	scan_part(shared, 0, heap, index, info, crew->scan);
	/* Who never comes up would be waited for in vain. */
	WaitForParallelWorkersToAttach(crew->context);
	wait_for_all(crew, &shared->scanned, false);
	info->ii_BrokenHotChain |= shared->broken_hot_chain;
	found->nbits = (int) pg_atomic_read_u32(&shared->nbits);
	found->ncodes = 0;
	found->nnulls = 0;
	for (int i = 0; i < shared->nbuilders; i++)
	{
		found->ncodes += shared->ncodes[i];
		found->nnulls += shared->nnulls[i];
	}
	found->codes = open_spools(shared, "codes", shared->ncodes, shared->nbuilders,
							   hamming_bytes(found->nbits));
	found->nulls = open_spools(shared, "nulls", shared->nnulls, shared->nbuilders, 0);
	return shared->heap_tuples;
}

static void
publish(BuildShared *shared)
{
	SpinLockAcquire(&shared->mutex);
	shared->designed = true;
	SpinLockRelease(&shared->mutex);
	ConditionVariableBroadcast(&shared->changed);
}

/* Write down for the workers what is to be written. */
static void
divide(MihCrew *crew, uint32 id, const MihDesign *design, double nentries,
	   const uint8 *sample, int nsample)
{
	BuildShared *shared = crew->shared;
	Size memory = (Size) maintenance_work_mem * 1024 / shared->nbuilders;
	int least = design->refs ? shared->nbuilders
							 : (ITEMS_EACH * shared->nbuilders + design->ntables - 1) /
								   design->ntables;

	shared->id = id;
	shared->layout = design->layout;
	shared->ntables = design->ntables;
	shared->nranges =
		Min(MIH_MAX_RANGES, Max(least, mih_range_count(design, nentries, memory)));
	for (int j = 0; j < design->ntables; j++)
		mih_table_ranges(design, j, sample, nsample, shared->nranges, shared->start[j]);
	shared->by_references = design->refs != NULL;
	if (design->refs)
		memcpy(crew->refs, design->refs,
			   offsetof(MihReferences, codes) +
				   (Size) design->refs->n * design->refs->nbytes);
}

static void
read_file(BufFile *file, void *to, size_t size)
{
	if (size > 0 && BufFileRead(file, to, size) != size)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not read a temporary file: %m")));
}

/* Put together the directory of table j from the items that it was written in. */
static void
collect_table(BuildShared *shared, Relation index, MihDesign *design, int j,
			  MihTables *tables)
{
	MihTableWriter writer;

	mih_table_begin(&writer, index, shared->id, design->layout.nbits, true);
	mih_table_end(&writer);
	for (int r = 0; r < shared->nranges; r++)
		writer.maxpages += shared->pages[j * shared->nranges + r];
	writer.dir = repalloc_huge(writer.dir, sizeof(MihDirEntry) * writer.maxpages);
	for (int r = 0; r < shared->nranges; r++)
	{
		int item = j * shared->nranges + r;
		BufFile *file = open_file(shared, "item", item);

		read_file(file, writer.dir + writer.npages,
				  shared->pages[item] * sizeof(MihDirEntry));
		writer.npages += shared->pages[item];
		writer.n += shared->entries[item];
		if (design->refs)
		{
			uint16 least[MIH_MAX_REFERENCES];
			uint16 most[MIH_MAX_REFERENCES];

			read_file(file, least, sizeof(least));
			read_file(file, most, sizeof(most));
			for (int c = 0; c < design->refs->n; c++)
			{
				design->refs->least[c] = Min(design->refs->least[c], least[c]);
				design->refs->most[c] = Max(design->refs->most[c], most[c]);
			}
		}
		BufFileClose(file);
	}
	mih_end_table(tables, j, &writer);
}

/* Write the tables of segment id as designed, together with the workers. */
void
mih_crew_write(MihCrew *crew, Relation index, uint32 id, MihDesign *design,
			   double nentries, const uint8 *sample, int nsample, MihTables *tables)
{
	BuildShared *shared = crew->shared;

	divide(crew, id, design, nentries, sample, nsample);
	publish(shared);
	write_items(shared, index, design, true);
	wait_for_all(crew, &shared->written, true);
	report_done(shared);
	for (int j = 0; j < design->ntables; j++)
		collect_table(shared, index, design, j, tables);
}

/* The workers go, with nothing to write if mih_crew_write was not called. */
void
mih_crew_end(MihCrew *crew)
{
	publish(crew->shared);
	WaitForParallelWorkersToFinish(crew->context);
	for (int i = 0; i < crew->context->nworkers_launched; i++)
		InstrAccumParallelQuery(&crew->buffer_usage[i], &crew->wal_usage[i]);
	dismiss(crew);
}
