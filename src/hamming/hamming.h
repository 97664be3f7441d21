/*
 * hamming.h
 *	  Hamming distance kernels with run-time SIMD dispatch.
 *
 * A code of n bits is ceil(n/8) bytes; bit 0 is the most significant bit of
 * byte 0 (the order in which PostgreSQL prints and stores bit strings), and
 * the bits past n in the last byte are zero.  Arrays of codes are packed:
 * code i begins at codes + i * nbytes, at any alignment.
 *
 * The same bytes in slices: first bytes 0 to 7 of every code, then bytes 8 to
 * 15 of every code, and so on; the last slice has what is left, 1 to 8 bytes a
 * code.  The slice that begins at byte b thus begins at slices + b * ncodes.
 * Codes of up to 8 bytes are one slice, which is the packed array.
 *
 * Nothing here knows PostgreSQL, allocates or fails.
 */
#ifndef HAMMING_H
#define HAMMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HAMMING_MAX_BITS 4096
#define HAMMING_MAX_BYTES (HAMMING_MAX_BITS / 8)

typedef struct HammingKernels
{
	const char *name; /* "portable", "popcnt", "avx2", "avx512", "neon" */

	/* distance of two codes of nbytes bytes, 0 .. 8 * nbytes */
	uint32_t (*distance)(const uint8_t *a, const uint8_t *b, size_t nbytes);

	/* out[i] = distance of query to code i, for ncodes packed codes */
	void (*distances)(const uint8_t *query, const uint8_t *codes, size_t nbytes,
					  size_t ncodes, uint16_t *out);

	/*
	 * Bit i % 64 of mask[i / 64] is set iff code i lies within radius of
	 * query; the words are written whole, bits past ncodes are zero.  Returns
	 * the number of bits set.
	 */
	size_t (*within)(const uint8_t *query, const uint8_t *codes, size_t nbytes,
					 size_t ncodes, uint32_t radius, uint64_t *mask);

	/*
	 * The same over codes in slices, at any alignment.  Codes that are too far
	 * by their first slices are not looked at further.
	 */
	size_t (*within_slices)(const uint8_t *query, const uint8_t *slices, size_t nbytes,
							size_t ncodes, uint32_t radius, uint64_t *mask);
} HammingKernels;

/*
 * The fastest kernels this CPU runs, chosen at the first call.  The environment
 * variable DEEPHASH_KERNELS names others (for tests); an unknown or unsupported
 * name is ignored.
 */
extern const HammingKernels *hamming_kernels(void);

/* The i-th set of kernels that this CPU runs, slowest first; NULL past the end. */
extern const HammingKernels *hamming_kernels_at(size_t i);

/* Number of bytes of a code of nbits bits. */
static inline size_t
hamming_bytes(size_t nbits)
{
	return (nbits + 7) / 8;
}

#define HAMMING_SLICE 8 /* bytes of a code in one slice */

/* Put packed codes into slices, ncodes * nbytes bytes elsewhere. */
extern void hamming_to_slices(const uint8_t *codes, size_t nbytes, size_t ncodes,
							  uint8_t *slices);

/* Collect code i of ncodes out of slices. */
extern void hamming_from_slices(const uint8_t *slices, size_t nbytes, size_t ncodes,
								size_t i, uint8_t *code);

/*
 * After how many bytes of each within_slices first asks whether all codes of a
 * group are too far; so many it reads of each at least.  Asking costs a branch that is
 * mispredicted where the answers vary, so it waits until codes that have nothing to do
 * with the query are too far: over n slices these differ in 32 n bits on average, with a
 * standard deviation of 4 sqrt(n), and the nearest of 64 lies 2.4 deviations below.
 */
static inline size_t
hamming_first_look(size_t nbytes, uint32_t radius)
{
	int64_t n = 1;

	for (; n * HAMMING_SLICE < (int64_t) nbytes; n++)
	{
		int64_t above = 32 * n - (int64_t) radius;

		if (above > 0 && above * above > 100 * n)
			break;
	}
	return (size_t) n * HAMMING_SLICE;
}

/*
 * Pack the sign of logits into a code: bit k is 1 iff logits[k] > thresholds[k]
 * (thresholds NULL means 0; equality and NaN give 0).  This is the one place
 * where a network's output becomes bits.
 */
extern void hamming_pack(const float *logits, const float *thresholds, size_t nbits,
						 uint8_t *code);

#endif
