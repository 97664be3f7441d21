/*
 * portable.c
 *	  Hamming distance in plain C: the reference for every other kernel, and
 *	  what runs where the CPU offers nothing better.
 */
#include "hamming/kernels.h"

/*
 * Set bits by adding ever wider fields (Warren, Hacker's Delight, section 5-1).
 * The compiler's builtin would call a table look-up on a CPU without POPCNT.
 */
static inline uint32_t
popcount64(uint64_t x)
{
	x -= (x >> 1) & UINT64_C(0x5555555555555555);
	x = (x & UINT64_C(0x3333333333333333)) + ((x >> 2) & UINT64_C(0x3333333333333333));
	x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	return (uint32_t) ((x * UINT64_C(0x0101010101010101)) >> 56);
}

#define SCALAR_TARGET
#define SCALAR_POPCOUNT(x) popcount64(x)
#include "hamming/scalar.h"

static uint32_t
distance(const uint8_t *a, const uint8_t *b, size_t nbytes)
{
	return scalar_distance(a, b, nbytes);
}

const HammingKernels hamming_portable = {
	.name = "portable",
	.distance = distance,
	.distances = distances_by_length,
	.within = within_by_length,
	.within_slices = within_slices,
};
