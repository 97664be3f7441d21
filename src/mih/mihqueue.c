/*
 * mihqueue.c
 *	  The smallest keys of a stream, in bounded memory.
 */
#include "mih/mihscan.h"

#include "miscadmin.h"
#include "utils/memutils.h"

/* Empty the queue; it will hold keys in (above, upto], the smallest if many. */
void
mih_queue_reset(MihQueue *queue, int64 keep, MihKey above, MihKey upto)
{
	queue->n = 0;
	queue->keep = keep;
	queue->above = above;
	queue->upto = upto;
	queue->truncated = false;
}

static inline void
swap(MihKey *a, MihKey *b)
{
	MihKey t = *a;

	*a = *b;
	*b = t;
}

/*
 * Reorder n keys so that the first k are the smallest.  Quickselect with the
 * median of three; keys are distinct, so it cannot stall on equal ones.
 */
static void
select_smallest(MihKey *v, int64 n, int64 k)
{
	int64 lo = 0;
	int64 hi = n - 1;

	while (lo < hi)
	{
		int64 mid = lo + (hi - lo) / 2;
		int64 i = lo;
		int64 j = hi;
		MihKey pivot;

		if (v[mid] < v[lo])
			swap(&v[mid], &v[lo]);
		if (v[hi] < v[lo])
			swap(&v[hi], &v[lo]);
		if (v[hi] < v[mid])
			swap(&v[hi], &v[mid]);
		pivot = v[mid];
		while (i <= j)
		{
			while (v[i] < pivot)
				i++;
			while (v[j] > pivot)
				j--;
			if (i <= j)
				swap(&v[i++], &v[j--]);
		}
		if (k - 1 <= j)
			hi = j;
		else if (k - 1 >= i)
			lo = i;
		else
			return;
	}
}

static void
prune(MihQueue *queue)
{
	MihKey greatest = 0;

	select_smallest(queue->items, queue->n, queue->keep);
	for (int64 i = 0; i < queue->keep; i++)
		greatest = Max(greatest, queue->items[i]);
	queue->n = queue->keep;
	queue->upto = greatest;
	queue->truncated = true;
}

static void
make_room(MihQueue *queue)
{
	if (queue->n == 2 * queue->keep)
	{
		prune(queue);
		return;
	}
	queue->allocated = Min(queue->allocated * 2, 2 * queue->keep);
	queue->items = repalloc_huge(queue->items, sizeof(MihKey) * queue->allocated);
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

static int
compare_keys(const void *a, const void *b)
{
	MihKey x = *(const MihKey *) a;
	MihKey y = *(const MihKey *) b;

	return x < y ? -1 : x > y;
}

void
mih_queue_sort(MihQueue *queue)
{
	qsort(queue->items, queue->n, sizeof(MihKey), compare_keys);
}
