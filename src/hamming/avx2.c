/*
 * avx2.c
 *	  Hamming distance with AVX2: set bits by a table of sixteen nibble counts
 *	  held in a register (Mula, Kurz, Lemire, "Faster population counts using
 *	  AVX2 instructions", 2018), added per 64-bit lane.
 *
 * Codes of 8, 16 and 32 bytes go through block4(): the distances of four
 * neighbouring codes, one per lane, in order; four, two or one code fill a
 * register.  Longer ones take one register after another, the last one ending at
 * the code's end and masked where it overlaps the one before, so that nothing
 * outside the code is read.  They are done one code at a time by one loop:
 * several codes at a time, each with its own load instruction, run 2.5 times
 * slower from memory, because the prefetcher no longer sees one stream.  What
 * remains is left to POPCNT, which is as fast there.
 */
#include "hamming/kernels.h"

#ifdef HAMMING_X86

#include <immintrin.h>

#define AVX2 HAMMING_TARGET("avx2,popcnt")

/* Set bits of each 64-bit lane. */
AVX2 static HAMMING_INLINE __m256i
popcount_lanes(__m256i v)
{
	const __m256i table =
		_mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2,
						 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
	const __m256i low = _mm256_set1_epi8(0x0f);
	__m256i lo = _mm256_and_si256(v, low);
	__m256i hi = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
	__m256i bytes =
		_mm256_add_epi8(_mm256_shuffle_epi8(table, lo), _mm256_shuffle_epi8(table, hi));

	return _mm256_sad_epu8(bytes, _mm256_setzero_si256());
}

AVX2 static HAMMING_INLINE __m256i
load(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *) p);
}

AVX2 static HAMMING_INLINE __m256i
differing(__m256i query, const uint8_t *p)
{
	return popcount_lanes(_mm256_xor_si256(query, load(p)));
}

/* 0xff in the last n bytes, 0 <= n <= 31. */
AVX2 static HAMMING_INLINE __m256i
last_bytes(size_t n)
{
	const __m256i index =
		_mm256_setr_epi8(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16,
						 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);

	return _mm256_cmpgt_epi8(_mm256_set1_epi8((char) n), index);
}

/* Lane sums of one code of more than 32 bytes. */
AVX2 static HAMMING_INLINE __m256i
long_lanes(const uint8_t *query, const uint8_t *code, size_t nbytes)
{
	__m256i sum = _mm256_setzero_si256();
	size_t whole = nbytes & ~(size_t) 31;
	__m256i rest;

	for (size_t i = 0; i < whole; i += 32)
		sum = _mm256_add_epi64(sum, differing(load(query + i), code + i));
	if (whole == nbytes)
		return sum;
	rest = _mm256_xor_si256(load(query + nbytes - 32), load(code + nbytes - 32));
	rest = _mm256_and_si256(rest, last_bytes(nbytes - whole));
	return _mm256_add_epi64(sum, popcount_lanes(rest));
}

/* {a0+a1, b0+b1, a2+a3, b2+b3} */
AVX2 static HAMMING_INLINE __m256i
add_pairs(__m256i a, __m256i b)
{
	return _mm256_add_epi64(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}

/* The sums of a, b, c and d, in that order. */
AVX2 static HAMMING_INLINE __m256i
add_across(__m256i a, __m256i b, __m256i c, __m256i d)
{
	__m256i ab = add_pairs(a, b);
	__m256i cd = add_pairs(c, d);

	return _mm256_add_epi64(_mm256_permute2x128_si256(ab, cd, 0x20),
							_mm256_permute2x128_si256(ab, cd, 0x31));
}

/* The query repeated to fill a register. */
AVX2 static HAMMING_INLINE __m256i
spread_query(const uint8_t *query, size_t nbytes)
{
	if (nbytes == 8)
		return _mm256_set1_epi64x((long long) hamming_load8(query));
	if (nbytes == 16)
		return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *) query));
	return load(query);
}

/* Distances of four codes of 8, 16 or 32 bytes. */
AVX2 static HAMMING_INLINE __m256i
block4(__m256i query, const uint8_t *codes, size_t nbytes)
{
	if (nbytes == 8)
		return differing(query, codes);
	if (nbytes == 16)
		return _mm256_permute4x64_epi64(
			add_pairs(differing(query, codes), differing(query, codes + 32)),
			_MM_SHUFFLE(3, 1, 2, 0));
	return add_across(differing(query, codes), differing(query, codes + 32),
					  differing(query, codes + 64), differing(query, codes + 96));
}

/* Sixteen distances, each below 65536, from four blocks to sixteen words in order. */
AVX2 static HAMMING_INLINE __m256i
narrow16(__m256i a, __m256i b, __m256i c, __m256i d)
{
	const __m256i gather =
		_mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15, 0, 1, 8, 9,
						 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
	__m256i v = _mm256_or_si256(
		_mm256_or_si256(a, _mm256_slli_epi64(b, 16)),
		_mm256_or_si256(_mm256_slli_epi64(c, 32), _mm256_slli_epi64(d, 48)));

	v = _mm256_shuffle_epi8(v, gather);
	return _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

AVX2 static HAMMING_INLINE void
block_distances(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
				uint16_t *out)
{
	__m256i q = spread_query(query, nbytes);
	size_t i = 0;

	for (; i + 16 <= ncodes; i += 16, codes += 16 * nbytes)
	{
		__m256i a = block4(q, codes, nbytes);
		__m256i b = block4(q, codes + 4 * nbytes, nbytes);
		__m256i c = block4(q, codes + 8 * nbytes, nbytes);
		__m256i d = block4(q, codes + 12 * nbytes, nbytes);

		_mm256_storeu_si256((__m256i *) (out + i), narrow16(a, b, c, d));
	}
	for (; i < ncodes; i++, codes += nbytes)
		out[i] = (uint16_t) hamming_popcnt_distance(query, codes, nbytes);
}

/* A bit for each lane that is not greater than limit; both below 2^63. */
AVX2 static HAMMING_INLINE unsigned int
lanes_within(__m256i v, __m256i limit)
{
	__m256i outside = _mm256_cmpgt_epi64(v, limit);

	return ~(unsigned int) _mm256_movemask_pd(_mm256_castsi256_pd(outside)) & 0xf;
}

AVX2 static HAMMING_INLINE size_t
block_within(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
			 uint32_t radius, uint64_t *mask)
{
	__m256i q = spread_query(query, nbytes);
	__m256i limit = _mm256_set1_epi64x(radius);
	size_t hits = 0;

	for (size_t base = 0; base < ncodes; base += 64)
	{
		size_t n = ncodes - base < 64 ? ncodes - base : 64;
		uint64_t word = 0;
		size_t i = 0;

		for (; i + 4 <= n; i += 4, codes += 4 * nbytes)
			word |= (uint64_t) lanes_within(block4(q, codes, nbytes), limit) << i;
		for (; i < n; i++, codes += nbytes)
			word |= (uint64_t) (hamming_popcnt_distance(query, codes, nbytes) <= radius)
					<< i;
		mask[base / 64] = word;
		hits += (size_t) __builtin_popcountll(word);
	}
	return hits;
}

/* Distance of two codes of more than 32 bytes. */
AVX2 static HAMMING_INLINE uint32_t
long_distance(const uint8_t *a, const uint8_t *b, size_t nbytes)
{
	__m256i sum = long_lanes(a, b, nbytes);
	__m128i half =
		_mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));

	return (uint32_t) (_mm_cvtsi128_si64(half) + _mm_extract_epi64(half, 1));
}

#define EACH_TARGET AVX2
#define EACH_DISTANCE long_distance
#include "hamming/each.h"

AVX2 static uint32_t
distance(const uint8_t *a, const uint8_t *b, size_t nbytes)
{
	return nbytes > 32 ? long_distance(a, b, nbytes)
					   : hamming_popcnt_distance(a, b, nbytes);
}

AVX2 static void
distances(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
		  uint16_t *out)
{
	if (nbytes == 8)
		block_distances(query, codes, 8, ncodes, out);
	else if (nbytes == 16)
		block_distances(query, codes, 16, ncodes, out);
	else if (nbytes == 32)
		block_distances(query, codes, 32, ncodes, out);
	else if (nbytes > 32)
		each_distances(query, codes, nbytes, ncodes, out);
	else
		hamming_popcnt.distances(query, codes, nbytes, ncodes, out);
}

AVX2 static size_t
within(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
	   uint32_t radius, uint64_t *mask)
{
	if (nbytes == 8)
		return block_within(query, codes, 8, ncodes, radius, mask);
	if (nbytes == 16)
		return block_within(query, codes, 16, ncodes, radius, mask);
	if (nbytes == 32)
		return block_within(query, codes, 32, ncodes, radius, mask);
	if (nbytes > 32)
		return each_within(query, codes, nbytes, ncodes, radius, mask);
	return hamming_popcnt.within(query, codes, nbytes, ncodes, radius, mask);
}

#define GROUP_VECTORS 8 /* registers of four codes in slices that go together */
#define GROUP_CODES (GROUP_VECTORS * 4)

/* All bits of the first n of four lanes. */
AVX2 static HAMMING_INLINE __m256i
first_lanes(size_t n)
{
	return _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long) n),
							  _mm256_setr_epi64x(0, 1, 2, 3));
}

/*
 * Codes base .. base + 4 * nvectors - 1 of ncodes in slices, a lane for each: the
 * bits of those within radius.  The group is dropped after the slice by which
 * all are too far.  Of a single vector nlanes codes exist, and no other byte is
 * touched.  A last slice of less than 8 bytes is left to POPCNT, for the
 * codes that are still in reach.
 */
AVX2 static HAMMING_INLINE uint64_t
slices_group(const uint8_t *query, const uint8_t *slices, size_t nbytes, size_t ncodes,
			 size_t base, size_t nvectors, size_t nlanes, uint32_t radius, size_t look)
{
	__m256i limit = _mm256_set1_epi64x(radius);
	__m256i lanes = first_lanes(nlanes);
	__m256i sum[GROUP_VECTORS];
	uint64_t word = 0;
	uint64_t within_all = 0;
	size_t rest = nbytes % HAMMING_SLICE;
	size_t at = 0;

	HAMMING_UNROLL
	for (size_t v = 0; v < nvectors; v++)
		sum[v] = _mm256_setzero_si256();
	for (; at + HAMMING_SLICE <= nbytes; at += HAMMING_SLICE)
	{
		const uint8_t *column = slices + at * ncodes + base * HAMMING_SLICE;
		__m256i q = _mm256_set1_epi64x((long long) hamming_load8(query + at));
		__m256i least;

		HAMMING_UNROLL
		for (size_t v = 0; v < nvectors; v++)
		{
			__m256i x = nlanes == 4
							? load(column + 32 * v)
							: _mm256_maskload_epi64((const long long *) column, lanes);

			sum[v] = _mm256_add_epi64(sum[v], popcount_lanes(_mm256_xor_si256(q, x)));
		}
		if (at + HAMMING_SLICE < look)
			continue;
		/* Sums are small: the upper half of each lane is zero and stays it. */
		least = sum[0];
		HAMMING_UNROLL
		for (size_t v = 1; v < nvectors; v++)
			least = _mm256_min_epu32(least, sum[v]);
		if ((lanes_within(least, limit) & ((1U << nlanes) - 1)) == 0)
			return 0;
	}
	HAMMING_UNROLL
	for (size_t v = 0; v < nvectors; v++)
		word |= (uint64_t) (lanes_within(sum[v], limit) & ((1U << nlanes) - 1))
				<< (4 * v);
	if (rest == 0)
		return word;
	for (; word != 0; word &= word - 1)
	{
		size_t i = (size_t) __builtin_ctzll(word);
		uint64_t x = hamming_load_part(query + at, rest) ^
					 hamming_load_part(slices + at * ncodes + (base + i) * rest, rest);
		uint64_t lane[4];

		_mm256_storeu_si256((__m256i *) lane, sum[i / 4]);
		if (lane[i % 4] + (uint64_t) __builtin_popcountll(x) <= radius)
			within_all |= UINT64_C(1) << i;
	}
	return within_all;
}

AVX2 static size_t
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
								 4, radius, look)
					<< i;
		for (; i + 4 <= n; i += 4)
			word |=
				slices_group(query, slices, nbytes, ncodes, base + i, 1, 4, radius, look)
				<< i;
		if (i < n)
			word |= slices_group(query, slices, nbytes, ncodes, base + i, 1, n - i,
								 radius, look)
					<< i;
		mask[base / 64] = word;
		hits += (size_t) __builtin_popcountll(word);
	}
	return hits;
}

const HammingKernels hamming_avx2 = {
	.name = "avx2",
	.distance = distance,
	.distances = distances,
	.within = within,
	.within_slices = within_slices,
};

#endif
