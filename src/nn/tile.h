/*
 * tile.h
 *	  The inner loop of direct convolution: a block of a matrix product whose
 *	  operands are read in place through strides.
 *
 * A convolution over channels-last pictures needs no matrix of patches: with
 * stride 1 the window of the next position begins `channels` floats further on,
 * and one row of a window is contiguous.  So the forward pass, the gradient of
 * the input and the gradient of the weights are all
 *
 *		c[m][n] (+)= sum over o, s, k of a[m am + o ao + s as + k ak]
 *										 b[o bo + s bs + k bk + n]
 *
 * with m up to max_rows and n up to lanes held in registers.
 */
#ifndef NN_TILE_H
#define NN_TILE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct NnTileArgs
{
	const float *a;
	ptrdiff_t am, ao, as, ak;
	const float *b; /* `lanes` floats are read at each step, at any alignment */
	ptrdiff_t bo, bs, bk;
	int outer, segments, depth; /* counts of o, s and k, each >= 1 */
	float *c;
	ptrdiff_t cm;
	bool add; /* add to c, else write it */
} NnTileArgs;

typedef struct NnTileKernel
{
	const char *name; /* "portable", "avx2", "avx512" */
	int lanes;		  /* columns of a tile */
	int max_rows;
	/* 1 <= rows <= max_rows, 1 <= columns <= lanes: only these are stored */
	void (*run)(const NnTileArgs *args, int rows, int columns);
} NnTileKernel;

/* The fastest that this CPU runs; the i-th, slowest first (NULL past the end). */
extern const NnTileKernel *nn_tile_kernel(void);
extern const NnTileKernel *nn_tile_kernel_at(int i);

#endif
