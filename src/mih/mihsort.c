/*
 * mihsort.c
 *	  Sorts fixed-width records by their bytes, within a given memory.
 *
 * Records gather in memory, without anything beside them, and are sorted in
 * place: byte by byte from the first (American flag sort), and what shares its
 * leading bytes with only a few others by comparison.  When memory is full they become a
 * sorted run in a temporary file; at the end the runs are merged, no more of them at
 * a time than memory has read buffers for.
 */
#include "mih/mih.h"

#include "lib/binaryheap.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

#define FEW 48				   /* records that are sorted by comparison */
#define LONG_SORT 65536		   /* so many records take a noticeable while */
#define RUN_BUFFER (64 * 1024) /* of a run being read, and of one that merging writes */
#define MIN_FAN_IN 32		   /* runs merged at a time, however small memory is */

typedef struct SortRun
{
	int64 at;	   /* in the file, of the next record to be read into buffer */
	uint8 *buffer; /* NULL: the run is not being merged */
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
	BufFile *file;	/* of all runs, one after the other; NULL: all is in memory */
	int64 size;		/* of file */
	SortRun *runs;
	int nruns;
	int maxruns;
	int merged;		  /* so many runs, the first ones, were merged into later ones */
	int fan_in;		  /* runs merged at a time at most */
	binaryheap *heap; /* of the runs being merged */
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
	sort->fan_in = (int) Max(MIN_FAN_IN, Min(memory / RUN_BUFFER, (Size) PG_INT16_MAX));
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

/* Note the run that lies in the file from start to its end. */
static void
add_run(MihSort *sort, int64 start)
{
	SortRun *run;

	if (sort->nruns == sort->maxruns)
	{
		sort->maxruns *= 2;
		sort->runs = repalloc_huge(sort->runs, (Size) sort->maxruns * sizeof(SortRun));
	}
	run = &sort->runs[sort->nruns++];
	memset(run, 0, sizeof(SortRun));
	run->at = start;
	run->left = (sort->size - start) / sort->width;
}

static void
seek(MihSort *sort, int64 at)
{
	if (BufFileSeek(sort->file, 0, at, SEEK_SET) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not seek in a temporary file: %m")));
}

/* Append records to the file, which stands at its end. */
static void
append(MihSort *sort, uint8 *records, Size n)
{
	BufFileWrite(sort->file, records, n * sort->width);
	sort->size += n * sort->width;
}

static void
write_run(MihSort *sort)
{
	int64 start = sort->size;

	sort_memory(sort);
	if (!sort->file)
	{
		MemoryContext old = MemoryContextSwitchTo(sort->context);

		sort->file = BufFileCreateTemp(false);
		sort->maxruns = 16;
		sort->runs = palloc(sort->maxruns * sizeof(SortRun));
		MemoryContextSwitchTo(old);
	}
	for (uint32 i = 0; i < sort->n; i += 1024)
	{
		CHECK_FOR_INTERRUPTS();
		append(sort, sort->records + (Size) i * sort->width, Min(1024, sort->n - i));
	}
	add_run(sort, start);
	sort->n = 0;
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
	run->ahead = (int) Min(run->left, RUN_BUFFER / sort->width);
	want = (size_t) run->ahead * sort->width;
	seek(sort, run->at);
	if (BufFileRead(sort->file, run->buffer, want) != want)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not read a temporary file: %m")));
	run->at += want;
	run->left -= run->ahead--;
	run->record = run->buffer;
	return true;
}

/* Begin to merge the first n of the runs that are left. */
static void
begin_merge(MihSort *sort, int n)
{
	MemoryContext old = MemoryContextSwitchTo(sort->context);

	sort->heap = binaryheap_allocate(n, compare_runs, sort);
	for (int i = sort->merged; i < sort->merged + n; i++)
	{
		SortRun *run = &sort->runs[i];

		run->buffer = palloc(RUN_BUFFER);
		if (read_run(sort, run))
			binaryheap_add_unordered(sort->heap, PointerGetDatum(run));
	}
	binaryheap_build(sort->heap);
	sort->current = NULL;
	MemoryContextSwitchTo(old);
}

/* The next record of the runs being merged, valid until the next call, or NULL. */
static const uint8 *
next_merged(MihSort *sort)
{
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

/* Merge the first n of the runs that are left into one, at the end of the file. */
static void
merge_runs(MihSort *sort, int n)
{
	int room = RUN_BUFFER / sort->width;
	uint8 *buffer = MemoryContextAlloc(sort->context, RUN_BUFFER);
	int64 start = sort->size;
	const uint8 *record;

	begin_merge(sort, n);
	record = next_merged(sort);
	while (record != NULL)
	{
		int used = 0;

		for (; record != NULL && used < room; record = next_merged(sort))
			memcpy(buffer + (Size) used++ * sort->width, record, sort->width);
		seek(sort, sort->size);
		append(sort, buffer, used);
	}
	binaryheap_free(sort->heap);
	sort->heap = NULL;
	for (int i = 0; i < n; i++)
		pfree(sort->runs[sort->merged + i].buffer);
	pfree(buffer);
	sort->merged += n;
	add_run(sort, start);
}

/*
 * All records are in: sort.  Where the runs are more than can be merged at a time,
 * the first merge takes so many that all others can be of fan_in runs.
 */
void
mih_sort_finish(MihSort *sort)
{
	int left;

	if (!sort->file)
	{
		sort_memory(sort);
		return;
	}
	if (sort->n > 0)
		write_run(sort);
	pfree(sort->records);
	sort->records = NULL;
	while ((left = sort->nruns - sort->merged) > sort->fan_in)
		merge_runs(sort, (left - 2) % (sort->fan_in - 1) + 2);
	begin_merge(sort, left);
}

/* The next record in order, valid until the next call, or NULL. */
const uint8 *
mih_sort_next(MihSort *sort)
{
	if (sort->heap)
		return next_merged(sort);
	return sort->next == sort->n ? NULL
								 : sort->records + (Size) sort->next++ * sort->width;
}

void
mih_sort_end(MihSort *sort)
{
	if (sort->file)
		BufFileClose(sort->file);
	MemoryContextDelete(sort->context);
}
