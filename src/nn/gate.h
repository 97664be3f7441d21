/*
 * gate.h
 *	  What the operations of op_gate.c share with their gradients.
 */
#ifndef NN_GATE_H
#define NN_GATE_H

#include "nn/op.h"

/* Per channel of one picture; in memory of nn_simam_floats, 64-byte aligned. */
typedef struct NnSimam
{
	double *sum;		  /* [2][channels], while they are gathered */
	float *mean, *share;  /* share: 1 / (4 (variance over places - 1, + lambda)) */
	float *slope, *shift; /* of the gradient */
} NnSimam;

extern size_t nn_simam_floats(int channels);
extern NnSimam nn_simam_room(float *memory, int channels);
/* Fills mean and share from x[places][channels]. */
extern void nn_simam_moments(const float *x, size_t places, int channels, float lambda,
							 NnSimam *m);

/* y = or += x times 0 or 1 / (1 - rate), by the random numbers of the call's picture i.
 */
extern void nn_dropout_apply(const NnCall *call, int i, const float *x, float *y,
							 bool add);

/* The normal number that element k of the call's picture i is given. */
extern float nn_reparameterise_noise(const NnCall *call, int i, size_t k);

#endif
