/*
 * parity_infer.h
 *	  Inference in float32 beside the CPU's.  Used by the program and by the unit test of
 *	  the learner on the host.
 */
#ifndef GPU_PARITY_INFER_H
#define GPU_PARITY_INFER_H

#include "nn/device.h"
#include "nn/graph.h"

#define PARITY_DRAWS 4 /* at most */

/*
 * Fill g and run it on both with batches of changing sizes; g is freed.  *ratio is the
 * largest distance as a share of its bound, which that many networks with errors of
 * rounding set (parity_noise.h).  false: it does not run.  text tells of either.
 */
extern bool parity_infer(const NnDevice *device, NnGraph *g, int draws, double *ratio,
						 char *text, size_t size);

#endif
