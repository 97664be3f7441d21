/*
 * place.c
 *	  Where buffers lie in one block of memory: the largest first, each as low as it can.
 *
 * Finding the smallest block is NP-hard; this order comes within a few per cent of
 * place_least for networks (test_train_memory.c).
 */
#include "training/tape/place.h"

#include <stdlib.h>

#define LINE 16 /* floats of a cache line */

static size_t
rounded(size_t floats)
{
	return (floats + LINE - 1) / LINE * LINE;
}

static int
by_size(const void *a, const void *b)
{
	const Span *x = *(Span *const *) a;
	const Span *y = *(Span *const *) b;

	if (x->size != y->size)
		return x->size < y->size ? 1 : -1;
	return x < y ? -1 : x > y; /* the same order everywhere */
}

static bool
together(const Span *a, const Span *b)
{
	return a->begin <= b->end && b->begin <= a->end;
}

/* Lowest gap for s among those placed, which lie in order of their offsets. */
static size_t
lowest_gap(const Span *s, Span *const *placed, int n)
{
	size_t at = 0;

	for (int i = 0; i < n; i++)
		if (together(s, placed[i]))
		{
			size_t end = placed[i]->at + rounded(placed[i]->size);

			if (placed[i]->at >= at + s->size)
				break;
			at = end > at ? end : at;
		}
	return at;
}

bool
place_spans(Span *span, int n, size_t *floats)
{
	Span **order = malloc((size_t) (n + 1) * sizeof(*order));
	Span **placed = malloc((size_t) (n + 1) * sizeof(*placed));
	bool ok = order && placed;
	int count = 0;

	*floats = 0;
	for (int i = 0; ok && i < n; i++)
		order[i] = &span[i];
	if (ok)
		qsort(order, n, sizeof(*order), by_size);
	for (int i = 0; ok && i < n && order[i]->size; i++)
	{
		Span *s = order[i];
		int k = count++;

		s->at = lowest_gap(s, placed, k);
		for (; k > 0 && placed[k - 1]->at > s->at; k--)
			placed[k] = placed[k - 1];
		placed[k] = s;
		if (s->at + rounded(s->size) > *floats)
			*floats = s->at + rounded(s->size);
	}
	free(order);
	free(placed);
	return ok;
}

size_t
place_least(const Span *span, int n)
{
	size_t most = 0;

	/* what is in use changes only where a span begins */
	for (int i = 0; i < n; i++)
	{
		size_t sum = 0;

		for (int k = 0; k < n; k++)
			if (span[k].begin <= span[i].begin && span[i].begin <= span[k].end)
				sum += rounded(span[k].size);
		most = sum > most ? sum : most;
	}
	return most;
}
