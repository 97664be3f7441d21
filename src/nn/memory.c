/*
 * memory.c
 *	  Memory of networks.
 */
#include "nn/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define VECTOR 64
#define HUGE_PAGE ((size_t) 2 << 20)

void *
nn_alloc(size_t bytes)
{
	void *memory;

	if (posix_memalign(&memory, VECTOR, bytes ? bytes : 1) != 0)
		return NULL;

	/*
	 * Only those that lie wholly within, so that no more memory is taken than was asked
	 * for; to align the beginning would cost addresses, which a limit counts.  It is
	 * advice: a kernel that has none gives small ones.
	 */
	uintptr_t begin = ((uintptr_t) memory + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	uintptr_t end = ((uintptr_t) memory + bytes) & ~(HUGE_PAGE - 1);

	if (begin < end)
		madvise((void *) begin, end - begin, MADV_HUGEPAGE);
	return memory;
}
