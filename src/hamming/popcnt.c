/*
 * popcnt.c
 *	  Hamming distance with the POPCNT instruction of x86-64 (2008 and later).
 */
#include "hamming/kernels.h"

#ifdef HAMMING_X86

#define SCALAR_TARGET HAMMING_TARGET("popcnt")
#define SCALAR_POPCOUNT(x) ((uint32_t) __builtin_popcountll(x))
#include "hamming/scalar.h"

SCALAR_TARGET uint32_t
hamming_popcnt_distance(const uint8_t *a, const uint8_t *b, size_t nbytes)
{
	return scalar_distance(a, b, nbytes);
}

const HammingKernels hamming_popcnt = {
	.name = "popcnt",
	.distance = hamming_popcnt_distance,
	.distances = distances_by_length,
	.within = within_by_length,
	.within_slices = within_slices,
};

#endif
