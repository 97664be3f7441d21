/*
 * kernels.h
 *	  What the files of this folder share: the table each instruction set
 *	  defines, and how its functions are marked.
 *
 * Every kernel is compiled for its instruction set through a function
 * attribute, so that all files are built with the same flags and nothing
 * outside the marked functions can use instructions the CPU may lack.
 */
#ifndef HAMMING_KERNELS_H
#define HAMMING_KERNELS_H

#include <string.h>

#include "hamming/hamming.h"

extern const HammingKernels hamming_portable;

#if defined(__x86_64__)
#define HAMMING_X86 1
extern const HammingKernels hamming_popcnt;
extern const HammingKernels hamming_avx2;
extern const HammingKernels hamming_avx512;

/* The scalar distance on which the vector kernels of x86-64 fall back. */
extern uint32_t hamming_popcnt_distance(const uint8_t *a, const uint8_t *b,
										size_t nbytes);
#endif

#if defined(__aarch64__)
#define HAMMING_NEON 1
extern const HammingKernels hamming_neon;
#endif

#define HAMMING_TARGET(isa) __attribute__((target(isa)))
#define HAMMING_INLINE inline __attribute__((always_inline))

/* Before a short loop over registers in an array, or they would live in memory. */
#define HAMMING_UNROLL _Pragma("GCC unroll 8")

/* Eight bytes at any address, as one word; the order of its bits is of no account. */
static inline uint64_t
hamming_load8(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* The same for 1 to 7 bytes, reading no other byte. */
static inline uint64_t
hamming_load_part(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	if (n & 4)
	{
		uint32_t w;

		memcpy(&w, p, sizeof(w));
		v = w;
		p += 4;
	}
	if (n & 2)
	{
		uint16_t w;

		memcpy(&w, p, sizeof(w));
		v = v << 16 | w;
		p += 2;
	}
	if (n & 1)
		v = v << 8 | *p;
	return v;
}

/* Bytes of a code in the slice that begins at byte at. */
static inline size_t
hamming_slice_width(size_t nbytes, size_t at)
{
	return nbytes - at < HAMMING_SLICE ? nbytes - at : HAMMING_SLICE;
}

#endif
