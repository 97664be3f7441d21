/*
 * mihsort.c
 *	  Sorts fixed-width records by their bytes, within a given memory.
 *
 * Records gather in memory, without anything beside them, and are sorted in
 * place: byte by byte from the first (American flag sort), and what shares its
 * leading bytes with only a few others by comparison.  When memory is full they become a
 * sorted run in a temporary file; at the end the runs are merged.
 */
#include "mih/mih.h"

#include "lib/binaryheap.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

#define FEW 48				   /* records that are sorted by comparison */
#define LONG_SORT 65536		   /* so many records take a noticeable while */
#define RUN_BUFFER (64 * 1024) /* of a run being read, at least a record */

typedef struct SortRun
{
	BufFile *file;
	uint8 *buffer;
	uint8 *record; /* the next one, in buffer */
	int ahead;	   /* records in buffer behind it */
	int64 left;	   /* records in file that were not read */
} SortRun;

struct MihSort
{
	MemoryContext context;
	int width;		  /* bytes of a record, at least 8 */
	uint32 capacity;  /* records that memory holds */
	uint32 allocated; /* records that records has room for */
	uint32 n;
	uint32 next;
	uint8 *records;
	uint8 *scratch; /* FEW records */
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
	sort->capacity = Max(1024, Min(memory / width, (Size) PG_INT32_MAX));
	sort->allocated = Min(sort->capacity, 1024);
	sort->records = MemoryContextAlloc(context, (Size) sort->allocated * width);
	sort->scratch = MemoryContextAlloc(context, (Size) FEW * width);
	return sort;
}

/* ------------------------------------------------------------- sorting in memory */

/*
 * Sort up to FEW records that agree in the bytes before depth: by the eight bytes
 * from there, the rest settling ties.
 */
static pg_attribute_always_inline void
sort_few(uint8 *records, uint32 n, int depth, int width, uint8 *scratch)
{
	uint64 keys[FEW];
	uint8 order[FEW];
	int from = Min(depth, width - 8);
	int rest = width - from - 8;
	bool sorted = true;

	for (uint32 i = 0; i < n; i++)
	{
		const uint8 *record = records + i * width;
		uint64 key;
		uint32 at = i;

		memcpy(&key, record + from, 8);
		key = pg_ntoh64(key);
		while (at > 0 &&
			   (keys[at - 1] > key || (keys[at - 1] == key && rest > 0 &&
									   memcmp(records + order[at - 1] * width + from + 8,
											  record + from + 8, rest) > 0)))
		{
			keys[at] = keys[at - 1];
			order[at] = order[at - 1];
			at--;
		}
		keys[at] = key;
		order[at] = i;
		sorted &= at == i;
	}
	if (sorted)
		return;
	memcpy(scratch, records, n * width);
	for (uint32 i = 0; i < n; i++)
		memcpy(records + i * width, scratch + order[i] * width, width);
}

/* Move records to where their byte at depth belongs; next and end by value of it. */
static pg_attribute_always_inline void
deal(uint8 *records, int depth, int width, uint32 *next, const uint32 *end)
{
	uint8 hand[HAMMING_MAX_BYTES + 64];
	uint8 swap[HAMMING_MAX_BYTES + 64];

	for (int v = 0; v < 256; v++)
		while (next[v] < end[v])
		{
			uint8 *home = records + (Size) next[v] * width;
			int byte = home[depth];

			if (byte != v)
			{
				memcpy(hand, home, width);
				do
				{
					uint8 *at = records + (Size) next[byte]++ * width;

					byte = at[depth];
					memcpy(swap, at, width);
					memcpy(at, hand, width);
					memcpy(hand, swap, width);
				} while (byte != v);
				memcpy(home, hand, width);
			}
			next[v]++;
		}
}

/* The first byte from depth on in which n records differ, or width; counts by value. */
static int
count_bytes(const uint8 *records, uint32 n, int depth, int width, uint32 *count)
{
	for (; depth < width; depth++)
	{
		memset(count, 0, 256 * sizeof(uint32));
		for (uint32 i = 0; i < n; i++)
			count[records[(Size) i * width + depth]]++;
		if (count[records[depth]] < n)
			break;
		/* A byte that all records share orders nothing. */
	}
	return depth;
}

/*
 * Sort n records that agree in the bytes before depth.  Only the smaller buckets
 * are sorted by recursion, so that it is never deeper than log2(n): codes chosen
 * to differ in one byte each would else take a frame for every byte of a record.
 */
static void
sort_from(uint8 *records, uint32 n, int depth, int width, uint8 *scratch)
{
	/* A known width makes copies a few instructions: codes of 64 and 128 bits. */
	while (n > FEW)
	{
		uint32 next[256];
		uint32 end[256];
		uint32 at = 0;
		uint32 largest = 0;
		uint32 most = 0;

		if (n >= LONG_SORT)
			CHECK_FOR_INTERRUPTS();
		depth = count_bytes(records, n, depth, width, end);
		if (depth == width)
			return;
		for (int v = 0; v < 256; v++)
		{
			next[v] = at;
			at += end[v];
			end[v] = at;
		}
		if (width == 18)
			deal(records, depth, 18, next, end);
		else if (width == 26)
			deal(records, depth, 26, next, end);
		else
			deal(records, depth, width, next, end);
		at = 0;
		for (int v = 0; v < 256; v++)
		{
			if (end[v] - at > most)
			{
				largest = at;
				most = end[v] - at;
			}
			at = end[v];
		}
		depth++;
		at = 0;
		for (int v = 0; v < 256; v++)
		{
			if (end[v] - at > 1 && at != largest)
				sort_from(records + (Size) at * width, end[v] - at, depth, width,
						  scratch);
			at = end[v];
		}
		records += (Size) largest * width;
		n = most;
	}
	if (width == 18)
		sort_few(records, n, depth, 18, scratch);
	else if (width == 26)
		sort_few(records, n, depth, 26, scratch);
	else
		sort_few(records, n, depth, width, scratch);
}

static void
sort_memory(MihSort *sort)
{
	CHECK_FOR_INTERRUPTS();
	sort_from(sort->records, sort->n, 0, sort->width, sort->scratch);
	CHECK_FOR_INTERRUPTS();
}

/* ------------------------------------------------------------------ sorted runs */

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
	memset(run, 0, sizeof(SortRun));
	run->file = BufFileCreateTemp(false);
	run->left = sort->n;
	for (uint32 i = 0; i < sort->n; i += 1024)
	{
		CHECK_FOR_INTERRUPTS();
		BufFileWrite(run->file, sort->records + (Size) i * sort->width,
					 (Size) Min(1024, sort->n - i) * sort->width);
	}
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
}

void
mih_sort_put(MihSort *sort, const uint8 *record)
{
	if (sort->n == sort->allocated)
		make_room(sort);
	memcpy(sort->records + (Size) sort->n * sort->width, record, sort->width);
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
	size_t want;

	if (run->ahead > 0)
	{
		run->record += sort->width;
		run->ahead--;
		return true;
	}
	if (run->left == 0)
		return false;
	CHECK_FOR_INTERRUPTS();
	run->ahead = (int) Min(run->left, Max(1, RUN_BUFFER / sort->width));
	want = (size_t) run->ahead * sort->width;
	if (BufFileRead(run->file, run->buffer, want) != want)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not read a temporary file: %m")));
	run->left -= run->ahead--;
	run->record = run->buffer;
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
	sort->records = NULL;
	sort->heap = binaryheap_allocate(sort->nruns, compare_runs, sort);
	for (int i = 0; i < sort->nruns; i++)
	{
		SortRun *run = &sort->runs[i];

		run->buffer = palloc(Max(RUN_BUFFER, sort->width));
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
		return sort->next == sort->n ? NULL
									 : sort->records + (Size) sort->next++ * sort->width;
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
