/*
 * memory.c
 *	  Memory of networks.
 */
#include "nn/memory.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#define VECTOR 64
#define HUGE_PAGE ((size_t) 2 << 20)

void *
nn_alloc(size_t bytes)
{
	bool huge = bytes >= HUGE_PAGE;
	void *memory;

	if (posix_memalign(&memory, huge ? HUGE_PAGE : VECTOR, bytes ? bytes : 1) != 0)
		return NULL;
	/* Whole ones only, so that no more is taken than was asked for.  It is advice: a
	 * kernel that has none gives small ones. */
	if (huge)
		madvise(memory, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
	return memory;
}
