/*
 * memory.h
 *	  Memory of networks: weights, activations, scratch.
 */
#ifndef NN_MEMORY_H
#define NN_MEMORY_H

#include <stddef.h>

/*
 * bytes, aligned for vectors, not initialised; NULL: there are none left.
 * free() takes it back.  Large ones are asked of the kernel in huge pages, because a
 * network walks through all of its memory for each picture, and looking up small pages
 * takes time (a few per cent; doc/decisions.md).
 */
extern void *nn_alloc(size_t bytes);

#endif
