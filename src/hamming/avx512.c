/*
 * avx512.c
 *	  Hamming distance with AVX-512: VPOPCNTDQ counts the bits of eight 64-bit
 *	  lanes in one instruction (Intel Ice Lake, AMD Zen 4, and later).
 *
 * Codes of up to 64 bytes go through block8(): the distances of eight
 * neighbouring codes, one per lane, in order.  A register is taken as 8, 4, 2
 * or 1 fields of 8, 16, 32 or 64 bytes, and each code has a field; a code
 * shorter than its field is spread into it by VPEXPANDB (AVX512_VBMI2, on every
 * CPU that has VPOPCNTDQ but Knights Mill), with zero bytes behind it.  Loads
 * are masked to the bytes wanted, and a masked-off byte is never touched.
 * Longer codes are done one at a time, which keeps memory a single stream to
 * the prefetcher (see avx2.c).
 */
#include "hamming/kernels.h"

#ifdef HAMMING_X86

#include <immintrin.h>

#define GROUP_VECTORS 8 /* registers of eight codes in slices that go together */

#define AVX512                                                                           \
	HAMMING_TARGET(                                                                      \
		"avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx512vbmi2,popcnt")

/* How the codes of one call lie in registers. */
typedef struct Layout
{
	size_t nbytes;	  /* length of a code */
	size_t width;	  /* bytes of a field: 8, 16, 32 or 64 */
	bool spread;	  /* a code is shorter than its field */
	__mmask64 load;	  /* bytes of a register full of codes, to load */
	__mmask64 expand; /* where in the fields they go */
	__m512i query;	  /* the query in every field */
} Layout;

AVX512 static HAMMING_INLINE __mmask64
low_bytes(size_t n)
{
	return n >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1;
}

AVX512 static HAMMING_INLINE Layout
make_layout(const uint8_t *query, size_t nbytes, size_t width, bool spread)
{
	Layout l = {.nbytes = nbytes, .width = width, .spread = spread};
	uint8_t fields[64] = {0};

	for (size_t at = 0; at < 64; at += width)
		memcpy(fields + at, query, nbytes);
	l.query = _mm512_loadu_si512(fields);
	if (spread)
	{
		l.load = low_bytes(64 / width * nbytes);
		l.expand = 0;
		for (size_t at = 0; at < 64; at += width)
			l.expand |= low_bytes(nbytes) << at;
	}
	return l;
}

/* Set bits, per lane, of the difference between the query and a register of codes. */
AVX512 static HAMMING_INLINE __m512i
differing(const Layout *l, const uint8_t *p)
{
	__m512i v;

	if (!l->spread)
		v = _mm512_loadu_si512(p);
	else
	{
		v = _mm512_maskz_loadu_epi8(l->load, p);
		if (l->width < 64)
			v = _mm512_maskz_expand_epi8(l->expand, v);
	}
	return _mm512_popcnt_epi64(_mm512_xor_si512(v, l->query));
}

/* Per 128 bits: {sum of a's two lanes, sum of b's two lanes}. */
AVX512 static HAMMING_INLINE __m512i
add_pairs(__m512i a, __m512i b)
{
	return _mm512_add_epi64(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

/* Neighbouring 128-bit parts added: a's two sums, then b's two. */
AVX512 static HAMMING_INLINE __m512i
add_quarters(__m512i a, __m512i b)
{
	return _mm512_add_epi64(_mm512_shuffle_i64x2(a, b, 0x88),
							_mm512_shuffle_i64x2(a, b, 0xdd));
}

/* Distances of the eight codes at p. */
AVX512 static HAMMING_INLINE __m512i
block8(const Layout *l, const uint8_t *p)
{
	size_t n = l->nbytes;

	if (l->width == 8)
		return differing(l, p);
	if (l->width == 16)
		return _mm512_permutexvar_epi64(
			_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7),
			add_pairs(differing(l, p), differing(l, p + 4 * n)));
	if (l->width == 32)
	{
		__m512i ab = add_pairs(differing(l, p), differing(l, p + 2 * n));
		__m512i cd = add_pairs(differing(l, p + 4 * n), differing(l, p + 6 * n));

		return _mm512_permutex_epi64(add_quarters(ab, cd), _MM_SHUFFLE(3, 1, 2, 0));
	}
	else
	{
		__m512i ab = add_pairs(differing(l, p), differing(l, p + n));
		__m512i cd = add_pairs(differing(l, p + 2 * n), differing(l, p + 3 * n));
		__m512i ef = add_pairs(differing(l, p + 4 * n), differing(l, p + 5 * n));
		__m512i gh = add_pairs(differing(l, p + 6 * n), differing(l, p + 7 * n));

		return add_quarters(add_quarters(ab, cd), add_quarters(ef, gh));
	}
}

/* Distance of two codes of any length, best for those above 64 bytes. */
AVX512 static HAMMING_INLINE uint32_t
long_distance(const uint8_t *a, const uint8_t *b, size_t nbytes)
{
	__mmask64 rest = low_bytes(nbytes % 64);
	__m512i sum = _mm512_setzero_si512();
	size_t whole = nbytes & ~(size_t) 63;

	for (size_t i = 0; i < whole; i += 64)
	{
		__m512i x =
			_mm512_xor_si512(_mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i));

		sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(x));
	}
	if (rest)
	{
		__m512i x = _mm512_xor_si512(_mm512_maskz_loadu_epi8(rest, a + whole),
									 _mm512_maskz_loadu_epi8(rest, b + whole));

		sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(x));
	}
	return (uint32_t) _mm512_reduce_add_epi64(sum);
}

#define EACH_TARGET AVX512
#define EACH_DISTANCE long_distance
#include "hamming/each.h"

AVX512 static uint32_t
distance(const uint8_t *a, const uint8_t *b, size_t nbytes)
{
	return nbytes > 32 ? long_distance(a, b, nbytes)
					   : hamming_popcnt_distance(a, b, nbytes);
}

AVX512 static HAMMING_INLINE void
run_distances(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
			  uint16_t *out, size_t width, bool spread)
{
	Layout l = make_layout(query, nbytes, width, spread);
	size_t i = 0;

	for (; i + 8 <= ncodes; i += 8, codes += 8 * nbytes)
		_mm_storeu_si128((__m128i *) (out + i), _mm512_cvtepi64_epi16(block8(&l, codes)));
	for (; i < ncodes; i++, codes += nbytes)
		out[i] = (uint16_t) distance(query, codes, nbytes);
}

AVX512 static HAMMING_INLINE size_t
run_within(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
		   uint32_t radius, uint64_t *mask, size_t width, bool spread)
{
	Layout l = make_layout(query, nbytes, width, spread);
	__m512i limit = _mm512_set1_epi64(radius);
	size_t hits = 0;

	for (size_t base = 0; base < ncodes; base += 64)
	{
		size_t n = ncodes - base < 64 ? ncodes - base : 64;
		uint64_t word = 0;
		size_t i = 0;

		for (; i + 8 <= n; i += 8, codes += 8 * nbytes)
			word |= (uint64_t) _mm512_cmple_epu64_mask(block8(&l, codes), limit) << i;
		for (; i < n; i++, codes += nbytes)
			word |= (uint64_t) (distance(query, codes, nbytes) <= radius) << i;
		mask[base / 64] = word;
		hits += (size_t) __builtin_popcountll(word);
	}
	return hits;
}

/* The two drivers for one width of field, the layout fixed when compiled. */
#define FIELD_KERNELS(name, length, width, spread)                                       \
	AVX512 static void distances_##name(const uint8_t *query, const uint8_t *codes,      \
										size_t nbytes, size_t ncodes, uint16_t *out)     \
	{                                                                                    \
		(void) nbytes;                                                                   \
		run_distances(query, codes, length, ncodes, out, width, spread);                 \
	}                                                                                    \
	AVX512 static size_t within_##name(const uint8_t *query, const uint8_t *codes,       \
									   size_t nbytes, size_t ncodes, uint32_t radius,    \
									   uint64_t *mask)                                   \
	{                                                                                    \
		(void) nbytes;                                                                   \
		return run_within(query, codes, length, ncodes, radius, mask, width, spread);    \
	}

FIELD_KERNELS(8, 8, 8, false)
FIELD_KERNELS(16, 16, 16, false)
FIELD_KERNELS(32, 32, 32, false)
FIELD_KERNELS(below_8, nbytes, 8, true)
FIELD_KERNELS(below_16, nbytes, 16, true)
FIELD_KERNELS(below_32, nbytes, 32, true)
FIELD_KERNELS(below_64, nbytes, 64, true)
FIELD_KERNELS(64, 64, 64, false)

#define BY_LENGTH(nbytes, kernel)                                                        \
	((nbytes) == 8	  ? kernel##_8                                                       \
	 : (nbytes) == 16 ? kernel##_16                                                      \
	 : (nbytes) == 32 ? kernel##_32                                                      \
	 : (nbytes) == 64 ? kernel##_64                                                      \
	 : (nbytes) < 8	  ? kernel##_below_8                                                 \
	 : (nbytes) < 16  ? kernel##_below_16                                                \
	 : (nbytes) < 32  ? kernel##_below_32                                                \
					  : kernel##_below_64)

AVX512 static void
distances(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
		  uint16_t *out)
{
	if (nbytes > 64)
		each_distances(query, codes, nbytes, ncodes, out);
	else
		BY_LENGTH(nbytes, distances)(query, codes, nbytes, ncodes, out);
}

AVX512 static size_t
within(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
	   uint32_t radius, uint64_t *mask)
{
	if (nbytes > 64)
		return each_within(query, codes, nbytes, ncodes, radius, mask);
	return BY_LENGTH(nbytes, within)(query, codes, nbytes, ncodes, radius, mask);
}

/*
 * Codes base .. base + 8 * nvectors - 1 of ncodes in slices, a lane for each:
 * the bits of those within limit.  After each slice by which one can be too far
 * the group is dropped if all are.  lanes are those that exist, all but in the
 * last vector of an array.
 */
AVX512 static HAMMING_INLINE uint64_t
slices_group(const uint8_t *query, const uint8_t *slices, size_t nbytes, size_t ncodes,
			 size_t base, size_t nvectors, __mmask8 lanes, uint32_t radius, size_t look)
{
	__m512i limit = _mm512_set1_epi64(radius);
	__m512i sum[GROUP_VECTORS];
	uint64_t word = 0;
	size_t rest = nbytes % HAMMING_SLICE;
	size_t at = 0;

	HAMMING_UNROLL
	for (size_t v = 0; v < nvectors; v++)
		sum[v] = _mm512_setzero_si512();
	for (; at + HAMMING_SLICE <= nbytes; at += HAMMING_SLICE)
	{
		const uint8_t *column = slices + at * ncodes + base * HAMMING_SLICE;
		__m512i q = _mm512_set1_epi64((long long) hamming_load8(query + at));
		__m512i least;

		HAMMING_UNROLL
		for (size_t v = 0; v < nvectors; v++)
			sum[v] = _mm512_add_epi64(
				sum[v], _mm512_popcnt_epi64(_mm512_xor_si512(
							q, _mm512_maskz_loadu_epi64(lanes, column + 64 * v))));
		if (at + HAMMING_SLICE < look)
			continue;
		/* Sums are small: the upper half of each lane is zero and stays it. */
		least = sum[0];
		HAMMING_UNROLL
		for (size_t v = 1; v < nvectors; v++)
			least = _mm512_min_epu32(least, sum[v]);
		if (_mm512_mask_cmple_epu64_mask(lanes, least, limit) == 0)
			return 0;
	}
	if (rest > 0)
	{
		const uint8_t *column = slices + at * ncodes + base * rest;
		__mmask64 load = low_bytes(rest * (size_t) __builtin_popcount(lanes));
		__mmask64 expand = low_bytes(rest) * UINT64_C(0x0101010101010101);
		uint64_t part = 0;
		__m512i q;

		memcpy(&part, query + at, rest);
		q = _mm512_set1_epi64((long long) part);
		HAMMING_UNROLL
		for (size_t v = 0; v < nvectors; v++)
		{
			__m512i x = _mm512_maskz_expand_epi8(
				expand, _mm512_maskz_loadu_epi8(load, column + 8 * rest * v));

			sum[v] =
				_mm512_add_epi64(sum[v], _mm512_popcnt_epi64(_mm512_xor_si512(q, x)));
		}
	}
	HAMMING_UNROLL
	for (size_t v = 0; v < nvectors; v++)
		word |= (uint64_t) _mm512_mask_cmple_epu64_mask(lanes, sum[v], limit) << (8 * v);
	return word;
}

AVX512 static size_t
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

		for (; i + 8 * GROUP_VECTORS <= n; i += 8 * GROUP_VECTORS)
			word |= slices_group(query, slices, nbytes, ncodes, base + i, GROUP_VECTORS,
								 0xff, radius, look)
					<< i;
		for (; i + 8 * 2 <= n; i += 8 * 2)
			word |= slices_group(query, slices, nbytes, ncodes, base + i, 2, 0xff, radius,
								 look)
					<< i;
		for (; i < n; i += 8)
			word |=
				slices_group(query, slices, nbytes, ncodes, base + i, 1,
							 (__mmask8) low_bytes(n - i < 8 ? n - i : 8), radius, look)
				<< i;
		mask[base / 64] = word;
		hits += (size_t) __builtin_popcountll(word);
	}
	return hits;
}

const HammingKernels hamming_avx512 = {
	.name = "avx512",
	.distance = distance,
	.distances = distances,
	.within = within,
	.within_slices = within_slices,
};

#endif
