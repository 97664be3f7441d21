/*
 * mihqueue.c
 *	  The smallest keys that a scan has found, in bounded memory.
 */
#include "mih/mihscan.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#define FEW 32 /* keys sorted by insertion */

/*
 * Empty the queue; it will hold keys in (above, upto], the smallest if they are
 * more than keep.
 */
void
mih_queue_begin(MihQueue *queue, int64 keep, MihKey above, MihKey upto)
{
	queue->n = queue->nready = queue->next = 0;
	queue->keep = keep;
	queue->above = above;
	queue->upto = upto;
	queue->truncated = false;
}

static void
insertion_sort(MihKey *keys, int64 n)
{
	for (int64 i = 1; i < n; i++)
	{
		MihKey key = keys[i];
		int64 at = i;

		for (; at > 0 && keys[at - 1] > key; at--)
			keys[at] = keys[at - 1];
		keys[at] = key;
	}
}

/* Byte by byte from the last; scratch has room for n. */
static void
radix_sort(MihKey *keys, MihKey *scratch, int64 n)
{
	MihKey *from = keys;
	MihKey *to = scratch;
	MihKey differ = 0;

	for (int64 i = 1; i < n; i++)
		differ |= keys[i] ^ keys[0];
	for (int shift = 0; shift < 64; shift += 8)
	{
		int64 at[256] = {0};
		int64 sum = 0;
		MihKey *t;

		/* A byte that all keys share orders nothing. */
		if (((differ >> shift) & 0xff) == 0)
			continue;
		for (int64 i = 0; i < n; i++)
			at[(from[i] >> shift) & 0xff]++;
		for (int v = 0; v < 256; v++)
		{
			int64 count = at[v];

			at[v] = sum;
			sum += count;
		}
		for (int64 i = 0; i < n; i++)
			to[at[(from[i] >> shift) & 0xff]++] = from[i];
		t = from;
		from = to;
		to = t;
	}
	if (from != keys)
		memcpy(keys, from, n * sizeof(MihKey));
}

/* Sort n keys and drop all but one of equal ones; returns how many are left. */
static int64
sort_distinct(MihKey *keys, MihKey *scratch, int64 n)
{
	int64 kept = 0;

	if (n <= FEW)
		insertion_sort(keys, n);
	else
		radix_sort(keys, scratch, n);
	for (int64 i = 0; i < n; i++)
		if (kept == 0 || keys[i] != keys[kept - 1])
			keys[kept++] = keys[i];
	return kept;
}

static void
make_room(MihQueue *queue)
{
	Size size;

	if (queue->n == 2 * queue->keep)
	{
		/* Nothing waits in ready while the scan looks for more. */
		queue->n = sort_distinct(queue->items, queue->ready, queue->n);
		if (queue->n > queue->keep)
		{
			queue->n = queue->keep;
			queue->upto = queue->items[queue->keep - 1];
			queue->truncated = true;
		}
		return;
	}
	queue->allocated = Min(queue->allocated * 2, 2 * queue->keep);
	size = sizeof(MihKey) * queue->allocated;
	queue->items = repalloc_huge(queue->items, size);
	pfree(queue->ready);
	queue->ready = MemoryContextAllocHuge(GetMemoryChunkContext(queue->items), size);
}

/* Add a key if it lies within the queue's bounds. */
void
mih_queue_add(MihQueue *queue, MihKey key)
{
	if (key <= queue->above || key > queue->upto)
		return;
	if (queue->n >= Min(queue->allocated, 2 * queue->keep))
	{
		make_room(queue);
		if (key > queue->upto)
			return;
	}
	queue->items[queue->n++] = key;
}

/*
 * Everything up to bound was found: put those keys in order to be handed out.
 * The ones handed out before are spent.
 */
void
mih_queue_take(MihQueue *queue, MihKey bound)
{
	int64 left = 0;

	queue->nready = queue->next = 0;
	for (int64 i = 0; i < queue->n; i++)
	{
		MihKey key = queue->items[i];

		if (key <= bound)
			queue->ready[queue->nready++] = key;
		else
			queue->items[left++] = key;
	}
	queue->n = left;
	/* What left items makes room for sorting. */
	queue->nready = sort_distinct(queue->ready, queue->items + left, queue->nready);
	queue->above = bound;
}
