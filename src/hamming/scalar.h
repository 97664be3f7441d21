/*
 * scalar.h
 *	  The word-at-a-time kernels, a template for portable.c and popcnt.c.
 *
 * The including file defines, before it includes this:
 *	  SCALAR_TARGET		the function attribute of its instruction set
 *	  SCALAR_POPCOUNT	a function or macro: set bits of a uint64_t
 *
 * The hot lengths of 8, 16 and 32 bytes come out of the same text: the drivers
 * are inlined with a constant length, which unrolls the loop over words.
 */

SCALAR_TARGET static HAMMING_INLINE uint32_t
scalar_distance(const uint8_t *a, const uint8_t *b, size_t nbytes)
{
	uint32_t d = 0;
	size_t i = 0;

	for (; i + 8 <= nbytes; i += 8)
		d += SCALAR_POPCOUNT(hamming_load8(a + i) ^ hamming_load8(b + i));
	if (i < nbytes)
		d += SCALAR_POPCOUNT(hamming_load_part(a + i, nbytes - i) ^
							 hamming_load_part(b + i, nbytes - i));
	return d;
}

#define EACH_TARGET SCALAR_TARGET
#define EACH_DISTANCE scalar_distance
#include "hamming/each.h"

SCALAR_TARGET static void
distances_by_length(const uint8_t *query, const uint8_t *codes, size_t nbytes,
					size_t ncodes, uint16_t *out)
{
	switch (nbytes)
	{
		case 8:
			each_distances(query, codes, 8, ncodes, out);
			break;
		case 16:
			each_distances(query, codes, 16, ncodes, out);
			break;
		case 32:
			each_distances(query, codes, 32, ncodes, out);
			break;
		default:
			each_distances(query, codes, nbytes, ncodes, out);
			break;
	}
}

SCALAR_TARGET static size_t
within_by_length(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
				 uint32_t radius, uint64_t *mask)
{
	switch (nbytes)
	{
		case 8:
			return each_within(query, codes, 8, ncodes, radius, mask);
		case 16:
			return each_within(query, codes, 16, ncodes, radius, mask);
		case 32:
			return each_within(query, codes, 32, ncodes, radius, mask);
		default:
			return each_within(query, codes, nbytes, ncodes, radius, mask);
	}
}
