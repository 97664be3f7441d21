/*
 * parity_serve.h
 *	  Does a device that serves make the codes that the CPU makes?  Used by parity.c and
 *	  the unit test of the device on the host.
 */
#ifndef GPU_PARITY_SERVE_H
#define GPU_PARITY_SERVE_H

#include "nn/device.h"

typedef struct ParityServe
{
	size_t bits;	  /* compared */
	size_t different; /* of them differ */
	size_t doubtful;  /* were reported to be in doubt */
	double apart;	  /* the largest distance of two logits, in units of the tolerance */
} ParityServe;

/*
 * Serve the graph, which is for inference, in batches of changing sizes, two under way,
 * with thresholds: codes must be those of the logits that came back, differ from the
 * CPU's only in bits that the tolerance covers, and be counted as doubtful right.  text
 * says what is wrong.
 */
extern bool parity_serve(const NnDevice *device, const NnGraph *graph,
						 const NnServing *how, uint64_t seed, ParityServe *found,
						 char *text, size_t size);

#endif
