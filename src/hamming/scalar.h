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

/* The part of a code that a slice holds, as one word. */
static HAMMING_INLINE uint64_t
slice_word(const uint8_t *p, size_t width)
{
	return width == HAMMING_SLICE ? hamming_load8(p) : hamming_load_part(p, width);
}

/*
 * One slice of the nleft codes that alive lists, beginning at column: their
 * distances grow, and those still within radius stay listed.  Returns how many.
 */
SCALAR_TARGET static HAMMING_INLINE size_t
scalar_slice(uint64_t query, const uint8_t *column, size_t width, uint32_t radius,
			 uint16_t *distance, uint8_t *alive, size_t nleft)
{
	size_t kept = 0;

	for (size_t j = 0; j < nleft; j++)
	{
		uint8_t i = alive[j];

		distance[i] +=
			(uint16_t) SCALAR_POPCOUNT(query ^ slice_word(column + i * width, width));
		alive[kept] = i;
		kept += distance[i] <= radius;
	}
	return kept;
}

/* Distance of code i of ncodes by its first bytes, a number of whole slices. */
SCALAR_TARGET static HAMMING_INLINE uint32_t
first_slices(const uint8_t *query, const uint8_t *slices, size_t ncodes, size_t i,
			 size_t bytes)
{
	uint32_t d = 0;

	for (size_t at = 0; at < bytes; at += HAMMING_SLICE)
		d += SCALAR_POPCOUNT(hamming_load8(query + at) ^
							 hamming_load8(slices + at * ncodes + i * HAMMING_SLICE));
	return d;
}

/*
 * Codes base .. base + n - 1 (n <= 64) of ncodes in slices: the bits of those
 * within radius.  The first slices are read of all, the others of those left.
 */
SCALAR_TARGET static HAMMING_INLINE uint64_t
slices_word(const uint8_t *query, const uint8_t *slices, size_t nbytes, size_t ncodes,
			size_t base, size_t n, uint32_t radius, size_t first)
{
	uint16_t distance[64];
	uint8_t alive[64];
	size_t nleft = 0;
	uint64_t word = 0;
	size_t at = first;

	for (size_t i = 0; i < n; i++)
	{
		distance[i] = (uint16_t) first_slices(query, slices, ncodes, base + i, first);
		alive[nleft] = (uint8_t) i;
		nleft += distance[i] <= radius;
	}
	for (; at + HAMMING_SLICE <= nbytes && nleft > 0; at += HAMMING_SLICE)
		nleft = scalar_slice(hamming_load8(query + at),
							 slices + at * ncodes + base * HAMMING_SLICE, HAMMING_SLICE,
							 radius, distance, alive, nleft);
	if (at < nbytes && nleft > 0)
		nleft = scalar_slice(hamming_load_part(query + at, nbytes - at),
							 slices + at * ncodes + base * (nbytes - at), nbytes - at,
							 radius, distance, alive, nleft);
	for (size_t j = 0; j < nleft; j++)
		word |= UINT64_C(1) << alive[j];
	return word;
}

SCALAR_TARGET static size_t
within_slices(const uint8_t *query, const uint8_t *slices, size_t nbytes, size_t ncodes,
			  uint32_t radius, uint64_t *mask)
{
	size_t whole = nbytes / HAMMING_SLICE * HAMMING_SLICE;
	size_t look = hamming_first_look(nbytes, radius);
	size_t first = look < whole ? look : whole;
	size_t hits = 0;

	if (nbytes <= HAMMING_SLICE)
		return within_by_length(query, slices, nbytes, ncodes, radius, mask);
	for (size_t base = 0; base < ncodes; base += 64)
	{
		size_t n = ncodes - base < 64 ? ncodes - base : 64;
		uint64_t word =
			slices_word(query, slices, nbytes, ncodes, base, n, radius, first);

		mask[base / 64] = word;
		hits += SCALAR_POPCOUNT(word);
	}
	return hits;
}
