/*
 * slices.c
 *	  Into slices and out of them.
 */
#include "hamming/kernels.h"

void
hamming_to_slices(const uint8_t *codes, size_t nbytes, size_t ncodes, uint8_t *slices)
{
	for (size_t at = 0; at < nbytes; at += HAMMING_SLICE)
	{
		size_t width = hamming_slice_width(nbytes, at);

		for (size_t i = 0; i < ncodes; i++)
			memcpy(slices + at * ncodes + i * width, codes + i * nbytes + at, width);
	}
}

void
hamming_from_slices(const uint8_t *slices, size_t nbytes, size_t ncodes, size_t i,
					uint8_t *code)
{
	size_t at = 0;

	for (; at + HAMMING_SLICE <= nbytes; at += HAMMING_SLICE)
		memcpy(code + at, slices + at * ncodes + i * HAMMING_SLICE, HAMMING_SLICE);
	memcpy(code + at, slices + at * ncodes + i * (nbytes - at), nbytes - at);
}
