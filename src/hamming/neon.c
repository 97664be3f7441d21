/*
 * neon.c
 *	  Hamming distance with NEON, which every aarch64 CPU has: CNT counts the
 *	  set bits of each byte, pairwise additions widen the counts.
 */
#include "hamming/kernels.h"

#ifdef HAMMING_NEON

#include <arm_neon.h>

/* Set bits per 64-bit lane. */
static HAMMING_INLINE uint64x2_t
popcount_lanes(uint8x16_t v)
{
	return vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(vcntq_u8(v))));
}

static HAMMING_INLINE uint64x2_t
differing(uint8x16_t query, const uint8_t *p)
{
	return popcount_lanes(veorq_u8(query, vld1q_u8(p)));
}

/* Fewer than 16 bytes. */
static HAMMING_INLINE uint32_t
short_distance(const uint8_t *a, const uint8_t *b, size_t nbytes)
{
	uint64_t lo = 0;
	uint64_t hi = 0;

	if (nbytes >= 8)
	{
		lo = hamming_load8(a) ^ hamming_load8(b);
		a += 8;
		b += 8;
		nbytes -= 8;
	}
	if (nbytes > 0)
		hi = hamming_load_part(a, nbytes) ^ hamming_load_part(b, nbytes);
	return vaddlvq_u8(vcntq_u8(vcombine_u8(vcreate_u8(lo), vcreate_u8(hi))));
}

static HAMMING_INLINE uint32_t
any_distance(const uint8_t *a, const uint8_t *b, size_t nbytes)
{
	uint64x2_t sum = vdupq_n_u64(0);
	size_t i = 0;

	for (; i + 16 <= nbytes; i += 16)
		sum = vaddq_u64(sum, differing(vld1q_u8(a + i), b + i));
	return (uint32_t) vaddvq_u64(sum) +
		   (i < nbytes ? short_distance(a + i, b + i, nbytes - i) : 0);
}

static HAMMING_INLINE void
run_distances(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
			  uint16_t *out)
{
	size_t i = 0;

	if (nbytes == 8)
	{
		uint8x16_t q = vcombine_u8(vld1_u8(query), vld1_u8(query));

		/* Two codes to a register; four of them make eight 16-bit results. */
		for (; i + 8 <= ncodes; i += 8, codes += 64)
		{
			uint32x4_t ab = vuzp1q_u32(vreinterpretq_u32_u64(differing(q, codes)),
									   vreinterpretq_u32_u64(differing(q, codes + 16)));
			uint32x4_t cd = vuzp1q_u32(vreinterpretq_u32_u64(differing(q, codes + 32)),
									   vreinterpretq_u32_u64(differing(q, codes + 48)));

			vst1q_u16(out + i,
					  vuzp1q_u16(vreinterpretq_u16_u32(ab), vreinterpretq_u16_u32(cd)));
		}
	}
	for (; i < ncodes; i++, codes += nbytes)
		out[i] = (uint16_t) any_distance(query, codes, nbytes);
}

static HAMMING_INLINE size_t
run_within(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
		   uint32_t radius, uint64_t *mask)
{
	size_t hits = 0;
	uint16_t d[64];

	for (size_t base = 0; base < ncodes; base += 64, codes += 64 * nbytes)
	{
		size_t n = ncodes - base < 64 ? ncodes - base : 64;
		uint64_t word = 0;

		run_distances(query, codes, nbytes, n, d);
		for (size_t i = 0; i < n; i++)
			word |= (uint64_t) (d[i] <= radius) << i;
		mask[base / 64] = word;
		hits += (size_t) __builtin_popcountll(word);
	}
	return hits;
}

static uint32_t
distance(const uint8_t *a, const uint8_t *b, size_t nbytes)
{
	return any_distance(a, b, nbytes);
}

static void
distances(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
		  uint16_t *out)
{
	if (nbytes == 8)
		run_distances(query, codes, 8, ncodes, out);
	else if (nbytes == 16)
		run_distances(query, codes, 16, ncodes, out);
	else if (nbytes == 32)
		run_distances(query, codes, 32, ncodes, out);
	else
		run_distances(query, codes, nbytes, ncodes, out);
}

static size_t
within(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
	   uint32_t radius, uint64_t *mask)
{
	if (nbytes == 8)
		return run_within(query, codes, 8, ncodes, radius, mask);
	if (nbytes == 16)
		return run_within(query, codes, 16, ncodes, radius, mask);
	if (nbytes == 32)
		return run_within(query, codes, 32, ncodes, radius, mask);
	return run_within(query, codes, nbytes, ncodes, radius, mask);
}

#define GROUP_VECTORS 8 /* registers of two codes in slices that go together */
#define GROUP_CODES (GROUP_VECTORS * 2)

/* Bytes at .. at + width - 1 of code i of ncodes in slices differ in so many bits. */
static HAMMING_INLINE uint32_t
slice_distance(const uint8_t *query, const uint8_t *slices, size_t ncodes, size_t i,
			   size_t at, size_t width)
{
	return short_distance(query + at, slices + at * ncodes + i * width, width);
}

/* Whether code i of ncodes in slices, d away by its bytes before at, is within radius. */
static HAMMING_INLINE bool
slices_within(const uint8_t *query, const uint8_t *slices, size_t nbytes, size_t ncodes,
			  size_t i, size_t at, uint64_t d, uint32_t radius)
{
	for (; at < nbytes && d <= radius; at += HAMMING_SLICE)
		d +=
			slice_distance(query, slices, ncodes, i, at, hamming_slice_width(nbytes, at));
	return d <= radius;
}

/*
 * Codes base .. base + 2 * nvectors - 1 of ncodes in slices, a lane for each: the
 * bits of those within radius.  The group is dropped after the slice by which
 * all are too far.  A last slice of less than 8 bytes is looked up for the codes
 * still in reach.
 */
static HAMMING_INLINE uint64_t
slices_group(const uint8_t *query, const uint8_t *slices, size_t nbytes, size_t ncodes,
			 size_t base, size_t nvectors, uint32_t radius, size_t look)
{
	uint64x2_t sum[GROUP_VECTORS];
	uint64_t word = 0;
	size_t at = 0;

	HAMMING_UNROLL
	for (size_t v = 0; v < nvectors; v++)
		sum[v] = vdupq_n_u64(0);
	for (; at + HAMMING_SLICE <= nbytes; at += HAMMING_SLICE)
	{
		const uint8_t *column = slices + at * ncodes + base * HAMMING_SLICE;
		uint8x16_t q = vcombine_u8(vld1_u8(query + at), vld1_u8(query + at));
		uint32x4_t least;

		HAMMING_UNROLL
		for (size_t v = 0; v < nvectors; v++)
			sum[v] = vaddq_u64(sum[v], differing(q, column + 16 * v));
		if (at + HAMMING_SLICE < look)
			continue;
		/* Sums are small: the upper half of each lane is zero and stays it. */
		least = vreinterpretq_u32_u64(sum[0]);
		HAMMING_UNROLL
		for (size_t v = 1; v < nvectors; v++)
			least = vminq_u32(least, vreinterpretq_u32_u64(sum[v]));
		if (vgetq_lane_u32(least, 0) > radius && vgetq_lane_u32(least, 2) > radius)
			return 0;
	}
	for (size_t i = 0; i < 2 * nvectors; i++)
	{
		uint64_t d[2];

		vst1q_u64(d, sum[i / 2]);
		word |= (uint64_t) slices_within(query, slices, nbytes, ncodes, base + i, at,
										 d[i % 2], radius)
				<< i;
	}
	return word;
}

static size_t
within_slices(const uint8_t *query, const uint8_t *slices, size_t nbytes, size_t ncodes,
			  uint32_t radius, uint64_t *mask)
{
	size_t look = hamming_first_look(nbytes, radius);
	size_t hits = 0;

	if (nbytes <= HAMMING_SLICE)
		return within(query, slices, nbytes, ncodes, radius, mask);
	for (size_t base = 0; base < ncodes; base += 64)
	{
		size_t n = ncodes - base < 64 ? ncodes - base : 64;
		uint64_t word = 0;
		size_t i = 0;

		for (; i + GROUP_CODES <= n; i += GROUP_CODES)
			word |= slices_group(query, slices, nbytes, ncodes, base + i, GROUP_VECTORS,
								 radius, look)
					<< i;
		for (; i + 2 <= n; i += 2)
			word |= slices_group(query, slices, nbytes, ncodes, base + i, 1, radius, look)
					<< i;
		for (; i < n; i++)
			word |= (uint64_t) slices_within(query, slices, nbytes, ncodes, base + i, 0,
											 0, radius)
					<< i;
		mask[base / 64] = word;
		hits += (size_t) __builtin_popcountll(word);
	}
	return hits;
}

const HammingKernels hamming_neon = {
	.name = "neon",
	.distance = distance,
	.distances = distances,
	.within = within,
	.within_slices = within_slices,
};

#endif
