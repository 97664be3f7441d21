/*
 * move.h
 *	  Geometry that the operations of op_move.c share with their gradients.
 */
#ifndef NN_MOVE_H
#define NN_MOVE_H

#include "nn/op.h"

/* A shape around one axis: [outer][length][inner]. */
typedef struct NnSplit
{
	size_t outer, length, inner;
} NnSplit;

extern NnSplit nn_split(const NnShape *shape, int axis);

/*
 * The rows (last dimension) of a permuted output in order, and where each begins in the
 * input; within a row values lie step[ndim - 1] apart.
 */
typedef struct NnWalk
{
	int ndim;
	int dim[NN_MAX_DIMS], at[NN_MAX_DIMS]; /* of the output */
	size_t step[NN_MAX_DIMS];			   /* in the input */
	size_t from;
} NnWalk;

extern NnWalk nn_walk_new(const NnShape *in, const NnShape *out, const int *perm);
extern size_t nn_walk_next(NnWalk *walk);

/*
 * Along one axis of UPSAMPLE, output `at` is source low + weight x (high - low); centres
 * of pixels are kept (align_corners = false).
 */
typedef struct NnTap
{
	int low, high;
	float weight;
} NnTap;

extern NnTap nn_upsample_tap(const NnNode *node, int at, int size);

#endif
