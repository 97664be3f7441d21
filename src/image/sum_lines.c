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

__attribute__((target("avx2"))) static void
sum_lines_avx2(const uint8_t *lines, size_t stride, const int32_t *weights, int taps,
			   uint8_t *out, int n)
{
	for (int j = 0; j < n; j += 16)
	{
		__m256i low = _mm256_set1_epi32(HALF);
		__m256i high = low;
		__m256i words;
		__m128i bytes;

		for (int t = 0; t < taps; t++)
		{
			__m128i p = _mm_loadu_si128((const __m128i *) (lines + t * stride + j));
			__m256i w = _mm256_set1_epi32(weights[t]);

			low = _mm256_add_epi32(low, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(p), w));
			p = _mm_srli_si128(p, 8);
			high = _mm256_add_epi32(high, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(p), w));
		}
		/* The packs saturate, which is the clamp; they work in halves of 128 bits. */
		words = _mm256_packs_epi32(_mm256_srai_epi32(low, RESIZE_BITS),
								   _mm256_srai_epi32(high, RESIZE_BITS));
		words = _mm256_permute4x64_epi64(words, 0xd8);
		bytes = _mm_packus_epi16(_mm256_castsi256_si128(words),
								 _mm256_extracti128_si256(words, 1));
		_mm_storeu_si128((__m128i *) (out + j), bytes);
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
