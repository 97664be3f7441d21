/*
 * place.h
 *	  Where buffers lie in one block of memory, by when they are used.
 */
#ifndef TRAIN_PLACE_H
#define TRAIN_PLACE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct Span
{
	size_t size;	/* floats; 0: takes no room */
	int begin, end; /* steps of its first and last use, both included */
	size_t at;		/* result: offset in floats, a multiple of 16 */
} Span;

/*
 * Give each of n spans its offset so that no two that are in use at one step overlap;
 * *floats becomes the size of the block.  false: out of memory.
 */
extern bool place_spans(Span *span, int n, size_t *floats);

/* The most that is in use at any step: no arrangement needs less. */
extern size_t place_least(const Span *span, int n);

#endif
