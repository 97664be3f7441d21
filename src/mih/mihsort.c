/*
 * mihsort.c
 *	  Sorts fixed-width records by their bytes, within a given memory.
 *
 * Records gather in memory and are sorted by their first eight bytes held
 * beside an index, byte by byte from the last (radix sort), the rest settling
 * ties.  When memory is full they become a
 * sorted run in a temporary file; at the end the runs are merged.
 */
#include "mih/mih.h"

#include "lib/binaryheap.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

typedef struct SortItem
{
	uint64 prefix; /* first eight bytes of the record, as a number */
	uint32 index;  /* which record */
} SortItem;

typedef struct SortRun
{
	BufFile *file;
	uint8 *record; /* the next one */
	int64 left;	   /* records in file behind it */
} SortRun;

struct MihSort
{
	MemoryContext context;
	int width;		  /* bytes of a record, at least 8 */
	uint32 capacity;  /* records that memory holds */
	uint32 allocated; /* records that records and items have room for */
	uint32 n;
	uint32 next;
	uint8 *records;
	SortItem *items;
	SortRun *runs;
	int nruns;
	int maxruns;
	binaryheap *heap; /* of runs; NULL: all is in memory */
	SortRun *current; /* its record was handed out last */
};

/* A sort of records of width bytes (8 or more) in about memory bytes. */
MihSort *
mih_sort_begin(int width, Size memory)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "mih sort", ALLOCSET_DEFAULT_SIZES);
	MihSort *sort = MemoryContextAllocZero(context, sizeof(MihSort));

	sort->context = context;
	sort->width = width;
	sort->capacity =
		Max(1024, Min(memory / (width + 2 * sizeof(SortItem)), (Size) PG_INT32_MAX));
	sort->allocated = Min(sort->capacity, 1024);
	sort->records = MemoryContextAlloc(context, (Size) sort->allocated * width);
	sort->items = MemoryContextAlloc(context, sort->allocated * sizeof(SortItem));
	return sort;
}

static int
compare_items(const void *a, const void *b, void *arg)
{
	const SortItem *x = a;
	const SortItem *y = b;
	const MihSort *sort = arg;

	if (x->prefix != y->prefix)
		return x->prefix < y->prefix ? -1 : 1;
	return memcmp(sort->records + (Size) x->index * sort->width + 8,
				  sort->records + (Size) y->index * sort->width + 8, sort->width - 8);
}

/* Order items by prefix, stably; the scratch array has room for as many. */
static void
radix_sort(SortItem *items, SortItem *scratch, uint32 n)
{
	uint32 counts[8][256] = {0};
	SortItem *from = items;
	SortItem *to = scratch;

	for (uint32 i = 0; i < n; i++)
		for (int b = 0; b < 8; b++)
			counts[b][(items[i].prefix >> (8 * b)) & 0xff]++;
	for (int b = 0; b < 8; b++)
	{
		uint32 *count = counts[b];
		uint32 at = 0;
		SortItem *t;

		/* A byte that all prefixes share orders nothing. */
		if (count[(items[0].prefix >> (8 * b)) & 0xff] == n)
			continue;
		for (int v = 0; v < 256; v++)
		{
			uint32 c = count[v];

			count[v] = at;
			at += c;
		}
		for (uint32 i = 0; i < n; i++)
			to[count[(from[i].prefix >> (8 * b)) & 0xff]++] = from[i];
		t = from;
		from = to;
		to = t;
	}
	if (from != items)
		memcpy(items, from, (Size) n * sizeof(SortItem));
}

static void
sort_memory(MihSort *sort)
{
	SortItem *scratch;

	CHECK_FOR_INTERRUPTS();
	if (sort->n < 2)
		return;
	scratch = MemoryContextAllocHuge(sort->context, (Size) sort->n * sizeof(SortItem));
	radix_sort(sort->items, scratch, sort->n);
	pfree(scratch);
	for (uint32 i = 0; i < sort->n;)
	{
		uint32 end = i + 1;

		while (end < sort->n && sort->items[end].prefix == sort->items[i].prefix)
			end++;
		if (end - i > 1)
			qsort_arg(sort->items + i, end - i, sizeof(SortItem), compare_items, sort);
		i = end;
	}
	CHECK_FOR_INTERRUPTS();
}

static void
write_run(MihSort *sort)
{
	MemoryContext old = MemoryContextSwitchTo(sort->context);
	SortRun *run;

	sort_memory(sort);
	if (sort->nruns == sort->maxruns)
	{
		sort->maxruns = sort->maxruns ? sort->maxruns * 2 : 16;
		sort->runs = sort->runs ? repalloc(sort->runs, sort->maxruns * sizeof(SortRun))
								: palloc(sort->maxruns * sizeof(SortRun));
	}
	run = &sort->runs[sort->nruns++];
	run->file = BufFileCreateTemp(false);
	run->record = NULL;
	run->left = sort->n;
	for (uint32 i = 0; i < sort->n; i++)
		BufFileWrite(run->file, sort->records + (Size) sort->items[i].index * sort->width,
					 sort->width);
	sort->n = 0;
	MemoryContextSwitchTo(old);
}

static void
make_room(MihSort *sort)
{
	if (sort->allocated == sort->capacity)
	{
		write_run(sort);
		return;
	}
	sort->allocated = (uint32) Min((uint64) sort->allocated * 2, sort->capacity);
	sort->records = repalloc_huge(sort->records, (Size) sort->allocated * sort->width);
	sort->items = repalloc_huge(sort->items, (Size) sort->allocated * sizeof(SortItem));
}

void
mih_sort_put(MihSort *sort, const uint8 *record)
{
	uint64 prefix;

	if (sort->n == sort->allocated)
		make_room(sort);
	memcpy(sort->records + (Size) sort->n * sort->width, record, sort->width);
	memcpy(&prefix, record, 8);
	sort->items[sort->n].prefix = pg_ntoh64(prefix);
	sort->items[sort->n].index = sort->n;
	sort->n++;
}

static int
compare_runs(Datum a, Datum b, void *arg)
{
	const SortRun *x = (const SortRun *) DatumGetPointer(a);
	const SortRun *y = (const SortRun *) DatumGetPointer(b);

	/* binaryheap keeps the greatest first */
	return memcmp(y->record, x->record, ((MihSort *) arg)->width);
}

static bool
read_run(MihSort *sort, SortRun *run)
{
	if (run->left == 0)
		return false;
	if (BufFileRead(run->file, run->record, sort->width) != (size_t) sort->width)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not read a temporary file: %m")));
	run->left--;
	return true;
}

/* All records are in: sort. */
void
mih_sort_finish(MihSort *sort)
{
	MemoryContext old;

	if (sort->nruns == 0)
	{
		sort_memory(sort);
		return;
	}
	if (sort->n > 0)
		write_run(sort);
	old = MemoryContextSwitchTo(sort->context);
	pfree(sort->records);
	pfree(sort->items);
	sort->records = NULL;
	sort->items = NULL;
	sort->heap = binaryheap_allocate(sort->nruns, compare_runs, sort);
	for (int i = 0; i < sort->nruns; i++)
	{
		SortRun *run = &sort->runs[i];

		run->record = palloc(sort->width);
		if (BufFileSeek(run->file, 0, 0, SEEK_SET) != 0)
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not rewind a temporary file: %m")));
		if (read_run(sort, run))
			binaryheap_add_unordered(sort->heap, PointerGetDatum(run));
	}
	binaryheap_build(sort->heap);
	MemoryContextSwitchTo(old);
}

/* The next record in order, valid until the next call, or NULL. */
const uint8 *
mih_sort_next(MihSort *sort)
{
	if (sort->heap == NULL)
		return sort->next == sort->n
				   ? NULL
				   : sort->records + (Size) sort->items[sort->next++].index * sort->width;
	if (sort->current)
	{
		if (read_run(sort, sort->current))
			binaryheap_replace_first(sort->heap, PointerGetDatum(sort->current));
		else
			binaryheap_remove_first(sort->heap);
	}
	if (binaryheap_empty(sort->heap))
		return NULL;
	sort->current = (SortRun *) DatumGetPointer(binaryheap_first(sort->heap));
	return sort->current->record;
}

void
mih_sort_end(MihSort *sort)
{
	for (int i = 0; i < sort->nruns; i++)
		BufFileClose(sort->runs[i].file);
	MemoryContextDelete(sort->context);
}
