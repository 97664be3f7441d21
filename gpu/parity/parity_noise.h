/*
 * parity_noise.h
 *	  How far rounding alone may put a device from the CPU: networks with the errors of
 *	  rounding in them, to be run on the CPU.
 *
 * What a device computes is the exact result for factors that are slightly off (backward
 * error; Higham, "Accuracy and Stability of Numerical Algorithms", chapter 3).  For one
 * node, where u is the unit roundoff of the precision and v that of float32:
 *
 * - A factor rounded to the nearest is off by a relative error of mean square u^2 / 3.
 * - A sum of n terms t rounds n partial sums, of which the k-th has the mean square
 *	 k / n S, S the sum of the t^2: n v^2 / 6 S on each of two devices.  An error of mean
 *	 square n v^2 / 3 in each term, independent of the others, comes to the same.
 *	 So it counts by what is summed, not by the sum, which may have cancelled.
 *
 * nn_rounding() (nn/tolerance.h) is both together, for the sums of a forward pass.  The
 * weights of a node get such an error, drawn once, and so does each element of its output
 * and of the gradient that comes back through it, drawn for each picture; for the output
 * one rounding more, of the gradient, and the sum over rows and pictures that a gradient
 * of weights is.
 *
 * What these errors become further on, by depth, by what cancels, by a norm that makes
 * small values large, where a ReLU or a maximum decides otherwise and where AdamW divides
 * by a gradient that is hardly there, is not estimated: the network says so itself.  The
 * errors are taken PARITY_ENLARGED times as large, in several draws; the largest distance
 * that any of them makes is taken twice.  For what follows errors in proportion this is
 * eight standard deviations.  What is decided otherwise by errors of the real size
 * is so in nearly half of the draws by errors of four times that size.
 */
#ifndef GPU_PARITY_NOISE_H
#define GPU_PARITY_NOISE_H

#include "nn/graph.h"

#define PARITY_ENLARGED 4.0
#define PARITY_TIMES 2.0

typedef struct ParityNoise
{
	NnPrecision precision;
	int batch;	 /* pictures that a gradient of weights sums up */
	bool train;	 /* for a learner: errors by dropout's random numbers, else by weights' */
	double size; /* 1: errors of rounding; 0: the same nodes without errors */
} ParityNoise;

/* A copy of g with errors, drawn from parity_draw.h; for training its parameters are in
 * the order of g's.  NULL and err on failure. */
extern NnGraph *parity_noisy(const NnGraph *g, const ParityNoise *noise, NnError *err);

/* The mean square of the relative error of a value that is rounded once. */
extern double parity_store(const NnGraph *g, NnPrecision precision);

/* Does a training pass draw random numbers, so that the nodes' places count? */
extern bool parity_random(const NnGraph *g);

#endif
