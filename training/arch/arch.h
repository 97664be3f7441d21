/*
 * arch.h
 *	  Network architectures, built as graphs with initial parameters.
 */
#ifndef TRAIN_ARCH_H
#define TRAIN_ARCH_H

#include "nn/graph.h"
#include "training/data/dataset.h"
#include "training/train.h"

/*
 * The narrow network for small pictures: a fixed whitening convolution 2x2, three
 * blocks of two 3x3 convolutions with max-pool 2 after the first of each, batch norm
 * with fixed scale and GELU, a last max-pool over what remains, then the hash layer
 * (linear without bias, batch norm without scale or shift).
 */
typedef struct SpeednetShape
{
	int height, width; /* of the input; at least 24 */
	int bits;
	int channels[3]; /* of the blocks */
} SpeednetShape;

extern const char *speednet_name(const SpeednetShape *shape, char *text, size_t size);

/*
 * Parameters are drawn from seed; the whitening filters and the input's mean and
 * deviation come from the pictures of ds.
 */
extern NnGraph *speednet_new(const SpeednetShape *shape, const Dataset *ds, uint64_t seed,
							 TrainError *err);

/* Mean and standard deviation of each colour over ds, in units of 0 .. 1. */
extern void arch_colour_moments(const Dataset *ds, float mean[3], float std[3]);

/* The 12 eigenvectors of normalised 2x2 patches scaled to unit variance, and their
 * negatives: 24 filters [24][3][2][2]. */
extern void arch_whitening(const Dataset *ds, const float mean[3], const float std[3],
						   uint64_t seed, float *weight);

/* Symmetric n x n a (destroyed): eigenvalues, and eigenvectors as rows. n <= 16. */
extern void arch_eigen(int n, double *a, double *values, double *vectors);

#endif
