/*
 * parity_train.h
 *	  Does a learner compute what the CPU's does?  Used by parity.c and by the unit test
 *	  of the learner on the host.
 */
#ifndef GPU_PARITY_TRAIN_H
#define GPU_PARITY_TRAIN_H

#include "nn/graph.h"
#include "nn/learner.h"

/*
 * Passes over two parts of a batch, then three updates, on both; g is freed.  Distances
 * are relative to each tensor's length and must be within what parity_tolerance.h says;
 * text names the worst tensor or the error.
 */
extern bool parity_train(const NnLearnerDevice *device, NnGraph *g,
						 const NnLearnerOptions *options, char *text, size_t size);

/* Small networks, together of every operation: name, or NULL past the last. */
extern NnGraph *parity_network(int i, const char **name);

#endif
