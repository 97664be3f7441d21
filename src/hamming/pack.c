/*
 * pack.c
 *	  From real numbers to bits.
 */
#include "hamming/hamming.h"

#include <string.h>

void
hamming_pack(const float *logits, const float *thresholds, size_t nbits, uint8_t *code)
{
	memset(code, 0, hamming_bytes(nbits));
	for (size_t k = 0; k < nbits; k++)
	{
		float threshold = thresholds != NULL ? thresholds[k] : 0.0f;

		/* A comparison with NaN is false, so NaN gives 0. */
		if (logits[k] > threshold)
			code[k / 8] |= (uint8_t) (0x80 >> (k % 8));
	}
}
