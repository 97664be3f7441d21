/*
 * parity_train.h
 *	  Does a learner compute what the CPU's does?  Used by parity.c and by the unit test
 *	  of the learner on the host.
 */
#ifndef GPU_PARITY_TRAIN_H
#define GPU_PARITY_TRAIN_H

#include "nn/graph.h"
#include "nn/learner.h"

/* How thoroughly. */
typedef struct ParityEffort
{
	int draws; /* networks with errors of rounding that set the bounds (parity_noise.h) */
	int steps; /* updates */
} ParityEffort;

extern const ParityEffort parity_thorough; /* for small networks */
extern const ParityEffort parity_quick;	   /* for large ones */

/* What was furthest from the CPU's, of what it may be. */
typedef struct ParityTrain
{
	double ratio; /* of the distance to its bound; at most 1 if all is well */
	double far;	  /* the distance, of the tensor's length */
	char what[NN_MAX_NAME + 32];
} ParityTrain;

/*
 * Passes over two parts of a batch, then an update, so many times, on both; g is freed.
 * Each output, gradient, change of a value or of an average, and moment must be as near
 * to the CPU's as errors of rounding leave it there.  The CPU's threads are those of
 * options.  text names the worst tensor or the error.
 */
extern bool parity_train(const NnLearnerDevice *device, NnGraph *g,
						 const NnLearnerOptions *options, const ParityEffort *effort,
						 uint64_t seed, ParityTrain *found, char *text, size_t size);

#endif
