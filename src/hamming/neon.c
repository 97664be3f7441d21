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

const HammingKernels hamming_neon = {
	.name = "neon",
	.distance = distance,
	.distances = distances,
	.within = within,
};

#endif
