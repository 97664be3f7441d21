/*
 * codes.h
 *	  From logits to bits on the GPU, and how many of them are in doubt.
 */
#ifndef GPU_CODES_H
#define GPU_CODES_H

#include "gpu/machine.h"
#include "nn/device.h"
#include "nn/tolerance.h"

struct Codes
{
	const float *logits; /* [n][bits] */
	int bits;
	const float *thresholds; /* NULL: zeros */
	NnTolerance tolerance;
	uint8_t *codes;	  /* [n][(bits + 7) / 8], bits as hamming_pack's */
	uint32_t *doubts; /* [n], as NnStage's */
	float *copy;	  /* of the logits; NULL: not wanted */
};

static void
make_codes(Machine *m, int n, const Codes &c)
{
	Codes s = c;

	each_row(m, (size_t) n,
			 [=] ON_GPU(size_t r, Lanes lanes)
			 {
				 const float *z = s.logits + r * s.bits;
				 int bytes = (s.bits + 7) / 8;
				 float sum = 0, wrong = 0, doubts = 0, near;

				 for (int k = lanes.at; k < s.bits; k += GPU_LANES)
				 {
					 sum += z[k] * z[k];
					 /* false for NaN */
					 if (!(fabsf(z[k]) <= 3.402823466e38f))
						 wrong = 1;
					 if (s.copy)
						 s.copy[r * s.bits + k] = z[k];
				 }
				 wrong = lanes.most(wrong);
				 near = s.tolerance.factor *
						sqrtf(lanes.sum(sum) / (float) s.bits + s.tolerance.offset);
				 for (int b = lanes.at; b < bytes; b += GPU_LANES)
				 {
					 unsigned byte = 0;

					 for (int k = 8 * b; k < 8 * b + 8 && k < s.bits; k++)
					 {
						 float threshold = s.thresholds ? s.thresholds[k] : 0.0f;

						 if (z[k] > threshold)
							 byte |= 0x80u >> (k % 8);
						 if (fabsf(z[k] - threshold) <= near)
							 doubts += 1;
					 }
					 s.codes[r * bytes + b] = (uint8_t) byte;
				 }
				 doubts = lanes.sum(doubts);
				 if (lanes.at == 0)
					 s.doubts[r] = wrong > 0 ? NN_NOT_FINITE : (uint32_t) doubts;
			 });
}

#endif
