/*
 * dispatch.c
 *	  Which kernels this CPU runs, and which of them is used.
 *
 * The compiler's CPU test asks both the CPU for the instructions and the
 * operating system (XGETBV) for the saving of the wide registers, so a kernel
 * is not chosen where a context switch would lose its state.
 */
#include "hamming/kernels.h"

#include <stdlib.h>

#ifdef HAMMING_X86

static bool
has_popcnt(void)
{
	return __builtin_cpu_supports("popcnt");
}

static bool
has_avx2(void)
{
	return has_popcnt() && __builtin_cpu_supports("avx2");
}

static bool
has_avx512(void)
{
	return has_popcnt() && __builtin_cpu_supports("avx512f") &&
		   __builtin_cpu_supports("avx512bw") &&
		   __builtin_cpu_supports("avx512vpopcntdq") &&
		   __builtin_cpu_supports("avx512vbmi2");
}

#endif

const HammingKernels *
hamming_kernels_at(size_t i)
{
	const HammingKernels *usable[4];
	size_t n = 0;

	usable[n++] = &hamming_portable;
#ifdef HAMMING_X86
	__builtin_cpu_init();
	if (has_popcnt())
		usable[n++] = &hamming_popcnt;
	if (has_avx2())
		usable[n++] = &hamming_avx2;
	if (has_avx512())
		usable[n++] = &hamming_avx512;
#endif
#ifdef HAMMING_NEON
	usable[n++] = &hamming_neon; /* part of every aarch64 */
#endif
	return i < n ? usable[i] : NULL;
}

static const HammingKernels *
choose(void)
{
	const char *wanted = getenv("DEEPHASH_KERNELS");
	const HammingKernels *best = NULL;
	const HammingKernels *k;

	for (size_t i = 0; (k = hamming_kernels_at(i)) != NULL; i++)
	{
		if (wanted != NULL && strcmp(wanted, k->name) == 0)
			return k;
		best = k;
	}
	return best;
}

const HammingKernels *
hamming_kernels(void)
{
	/* Threads that meet here first all choose, and choose the same. */
	static const HammingKernels *chosen;
	const HammingKernels *k = __atomic_load_n(&chosen, __ATOMIC_RELAXED);

	if (k == NULL)
	{
		k = choose();
		__atomic_store_n(&chosen, k, __ATOMIC_RELAXED);
	}
	return k;
}
