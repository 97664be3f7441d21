/*
 * conv_direct.h
 *	  Convolution of one group, without a matrix of patches.
 *
 * Forward, gradient of the input and gradient of the weights, each for a few
 * pictures in the calling thread.  On AVX-512 this runs at about twice the speed
 * of im2col and the GEMM that OpenBLAS picks for CPUs newer than itself
 * (doc/decisions.md).  Nothing here allocates or fails.
 */
#ifndef NN_CONV_DIRECT_H
#define NN_CONV_DIRECT_H

#include "nn/pool.h"

typedef struct NnDirect
{
	int height, width, channels;		/* input */
	int out_height, out_width, outputs; /* output */
	int kh, kw, pad_h, pad_w;
	int stride_h, stride_w;
} NnDirect;

/* Fills d and returns true when this kind of convolution can do node. */
extern bool nn_direct_geometry(const NnGraph *g, const NnNode *node, NnDirect *d);

/*
 * The same for a linear layer, [rows][inputs] to [rows][outputs] of each picture: a
 * convolution of 1x1 over one line.  It needs no scratch where grad_weight is NULL.
 */
extern void nn_direct_linear(NnDirect *d, int rows, int inputs, int outputs);

/* Floats of the rearranged weights (both directions) and of scratch for n pictures. */
extern size_t nn_direct_pack_size(const NnDirect *d);
extern size_t nn_direct_scratch(const NnDirect *d, int n);

/*
 * From [outputs][channels][kh][kw]; the second is mirrored and transposed.  The work is
 * shared by the threads of pool.
 */
extern void nn_direct_pack_by(NnPool *pool, const NnDirect *d, const float *weight,
							  float *packed);
extern void nn_direct_pack_input_by(NnPool *pool, const NnDirect *d, const float *weight,
									float *packed);

static inline void
nn_direct_pack(const NnDirect *d, const float *weight, float *packed)
{
	nn_direct_pack_by(NULL, d, weight, packed);
}

static inline void
nn_direct_pack_input(const NnDirect *d, const float *weight, float *packed)
{
	nn_direct_pack_input_by(NULL, d, weight, packed);
}

/* bias: outputs values or NULL. */
extern void nn_direct_forward(const NnDirect *d, int n, const float *in,
							  const float *packed, const float *bias, float *out,
							  float *scratch);

/*
 * grad_in (NULL: not wanted) is written, or added to where add is set; packed_input
 * is what nn_direct_pack_input made.  grad_weight (NULL: not wanted) is added to and
 * laid out [kh][kw][channels][outputs]; nn_direct_unpack_grad brings it home.
 */
extern void nn_direct_backward(const NnDirect *d, int n, const float *in,
							   const float *packed_input, const float *grad_out,
							   float *grad_in, bool add, float *grad_weight,
							   float *scratch);

/* grad[outputs][channels][kh][kw] = or += grad_weight[kh][kw][channels][outputs]. */
extern void nn_direct_unpack_grad_by(NnPool *pool, const NnDirect *d,
									 const float *grad_weight, float *grad, bool add);

static inline void
nn_direct_unpack_grad(const NnDirect *d, const float *grad_weight, float *grad)
{
	nn_direct_unpack_grad_by(NULL, d, grad_weight, grad, true);
}

#endif
