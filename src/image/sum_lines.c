/*
 * sum_lines.c
 *	  The inner loop of the resize: a weighted sum of lines of bytes.
 *
 * Integers all the way, so the kernels agree bit for bit.
 */
#include "image/image_internal.h"

#define HALF (1 << (RESIZE_BITS - 1))

static inline uint8_t
clamp_byte(int32_t v)
{
	return v < 0 ? 0 : v > 255 ? 255 : (uint8_t) v;
}

void
sum_lines_portable(const uint8_t *lines, size_t stride, const int32_t *weights, int taps,
				   uint8_t *out, int n)
{
	for (int j = 0; j < n; j += 16)
	{
		int32_t sum[16];

		for (int c = 0; c < 16; c++)
			sum[c] = HALF;
		for (int t = 0; t < taps; t++)
		{
			const uint8_t *p = lines + t * stride + j;
			int32_t w = weights[t];

			for (int c = 0; c < 16; c++)
				sum[c] += w * p[c];
		}
		for (int c = 0; c < 16; c++)
			out[j + c] = clamp_byte(sum[c] >> RESIZE_BITS);
	}
}

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2"))) static

/* Columns of 8 bytes to words, times w, onto sum. */
AVX2 inline __m256i
add_scaled(__m256i sum, const uint8_t *p, __m256i w)
{
	__m256i words = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *) p));

	return _mm256_add_epi32(sum, _mm256_mullo_epi32(words, w));
}

/* Sixteen sums to bytes; the packs saturate, which is the clamp. */
AVX2 inline void
store_sums(uint8_t *out, __m256i low, __m256i high)
{
	__m256i words = _mm256_packs_epi32(_mm256_srai_epi32(low, RESIZE_BITS),
									   _mm256_srai_epi32(high, RESIZE_BITS));

	/* They work in halves of 128 bits: put the quarters in order. */
	words = _mm256_permute4x64_epi64(words, 0xd8);
	_mm_storeu_si128((__m128i *) out,
					 _mm_packus_epi16(_mm256_castsi256_si128(words),
									  _mm256_extracti128_si256(words, 1)));
}

/* The line of a tile at once, 48 bytes, so that a weight is loaded once. */
AVX2 void
sum_lines_avx2(const uint8_t *lines, size_t stride, const int32_t *weights, int taps,
			   uint8_t *out, int n)
{
	const __m256i half = _mm256_set1_epi32(HALF);
	int j = 0;

	for (; j + 48 <= n; j += 48)
	{
		const uint8_t *p = lines + j;
		__m256i s0 = half;
		__m256i s1 = half;
		__m256i s2 = half;
		__m256i s3 = half;
		__m256i s4 = half;
		__m256i s5 = half;

		for (int t = 0; t < taps; t++, p += stride)
		{
			__m256i w = _mm256_set1_epi32(weights[t]);

			s0 = add_scaled(s0, p, w);
			s1 = add_scaled(s1, p + 8, w);
			s2 = add_scaled(s2, p + 16, w);
			s3 = add_scaled(s3, p + 24, w);
			s4 = add_scaled(s4, p + 32, w);
			s5 = add_scaled(s5, p + 40, w);
		}
		store_sums(out + j, s0, s1);
		store_sums(out + j + 16, s2, s3);
		store_sums(out + j + 32, s4, s5);
	}
	for (; j < n; j += 16)
	{
		const uint8_t *p = lines + j;
		__m256i low = half;
		__m256i high = half;

		for (int t = 0; t < taps; t++, p += stride)
		{
			__m256i w = _mm256_set1_epi32(weights[t]);

			low = add_scaled(low, p, w);
			high = add_scaled(high, p + 8, w);
		}
		store_sums(out + j, low, high);
	}
}

SumLines
sum_lines_best(void)
{
	return __builtin_cpu_supports("avx2") ? sum_lines_avx2 : sum_lines_portable;
}

#else

SumLines
sum_lines_best(void)
{
	return sum_lines_portable;
}

#endif
