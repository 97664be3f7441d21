/*
 * tolerance.h
 *	  How far two devices' logits may be apart, and so which bits of a code they may
 *	  decide differently.
 *
 * Devices add in different orders and round to different precisions, so their logits are
 * not equal.  A bit can differ only where the logit lies closer to its threshold than the
 * two are apart; such bits are counted.  README.md derives the bound.
 */
#ifndef NN_TOLERANCE_H
#define NN_TOLERANCE_H

#include "nn/nn.h"

#ifdef __cplusplus
extern "C"
{
#endif

	/*
	 * Of one picture with logits z: the tolerance is
	 *
	 *		factor sqrt(mean(z^2) + offset)
	 *
	 * where the offset is the mean square of the biases of the last layer, which may
	 * cancel what is rounded.
	 */
	typedef struct NnTolerance
	{
		float factor, offset;
	} NnTolerance;

	/*
	 * The precision that g is served in where `wanted` is: row numbers of an EMBEDDING
	 * are whole numbers beyond what halves can tell apart, so it stays in float32.
	 */
	extern NnPrecision nn_precision_for(const NnGraph *g, NnPrecision wanted);

	/* The mean square of what rounding in a node adds to its values, of theirs. */
	extern double nn_rounding(const NnGraph *g, int node, NnPrecision precision);

	/* Between float32 on a CPU and the network g served elsewhere with this precision
	 * wanted. */
	extern NnTolerance nn_tolerance(const NnGraph *g, NnPrecision precision);

	/* That of one picture.  thresholds: NULL for zeros. */
	extern float nn_tolerance_of(const NnTolerance *tolerance, const float *logits,
								 int bits);

	/* How many logits are no further than that from their thresholds. */
	extern uint32_t nn_doubts(const NnTolerance *tolerance, const float *logits,
							  const float *thresholds, int bits);

#ifdef __cplusplus
}
#endif

#endif
