/*
 * gate.h
 *	  What the operations of op_gate.c share with their gradients.
 */
#ifndef NN_GATE_H
#define NN_GATE_H

#include "nn/op.h"

/* Per channel of one picture [places][channels]: mean, and variance over places - 1. */
extern void nn_simam_moments(const float *x, size_t places, int channels, double *mean,
							 double *var);

/* y = or += x times 0 or 1 / (1 - rate), by the random numbers of the call's picture i.
 */
extern void nn_dropout_apply(const NnCall *call, int i, const float *x, float *y,
							 bool add);

/* The normal number that element k of the call's picture i is given. */
extern float nn_reparameterise_noise(const NnCall *call, int i, size_t k);

#endif
