/*
 * conv_phase.h
 *	  Phases of a direct convolution's input gradient (conv_direct.c), and panels of
 *	  weights, for those who pack weights and those who read them.
 */
#ifndef NN_CONV_PHASE_H
#define NN_CONV_PHASE_H

#include <stddef.h>

/* One phase of the gradient of the input, along one axis. */
typedef struct NnPhase
{
	int first, count; /* positions first, first + stride, ... */
	int taps;		  /* tap r, r + stride, ...; 0: these positions get nothing */
	int last;		  /* position of dy that the first one's first tap reads */
} NnPhase;

static inline NnPhase
nn_direct_phase(int r, int size, int kernel, int stride, int pad)
{
	NnPhase p;

	p.taps = r < kernel ? (kernel - r + stride - 1) / stride : 0;
	p.first = ((r - pad) % stride + stride) % stride;
	p.count = p.first < size ? (size - p.first + stride - 1) / stride : 0;
	p.last = (p.first + pad - r) / stride;
	return p;
}

/* Panels of so many columns, the last of which may not be full. */
static inline size_t
nn_direct_panels(int columns, int lanes)
{
	return (size_t) (columns + lanes - 1) / lanes;
}

#endif
