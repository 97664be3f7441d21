/*
 * backward.h
 *	  The backward passes, one file per family; op_backward.c lists them.
 *
 * They follow the rules of gradients in op.h and work in the calling thread alone:
 * the tape cuts a batch into slices and runs each slice whole, which shares less
 * between threads than cutting every operation would.
 */
#ifndef NN_BACKWARD_H
#define NN_BACKWARD_H

#include <string.h>

#include "nn/kernels.h"
#include "nn/op.h"

extern void nn_conv2d_backward(const NnCall *call);
extern size_t nn_conv2d_backward_scratch(const NnGraph *g, const NnNode *node, int n,
										 int threads);
extern void nn_linear_backward(const NnCall *call);
extern void nn_batchnorm_backward(const NnCall *call);
extern void nn_layernorm_backward(const NnCall *call);
extern void nn_activation_backward(const NnCall *call);
extern void nn_maxpool_backward(const NnCall *call);
extern void nn_avgpool_backward(const NnCall *call);
extern void nn_global_avgpool_backward(const NnCall *call);
extern void nn_add_backward(const NnCall *call);
extern void nn_attention_backward(const NnCall *call);
extern size_t nn_attention_backward_scratch(const NnGraph *g, const NnNode *node, int n,
											int threads);
extern void nn_softmax_backward(const NnCall *call);
extern void nn_reshape_backward(const NnCall *call);
extern void nn_class_token_backward(const NnCall *call);
extern void nn_position_backward(const NnCall *call);
extern void nn_token_backward(const NnCall *call);
extern void nn_scale_backward(const NnCall *call);
extern void nn_concat_backward(const NnCall *call);
extern void nn_slice_backward(const NnCall *call);
extern void nn_permute_backward(const NnCall *call);
extern void nn_upsample_backward(const NnCall *call);
extern void nn_reduce_backward(const NnCall *call);
extern void nn_mul_backward(const NnCall *call);
extern void nn_layerscale_backward(const NnCall *call);
extern void nn_conv_transpose2d_backward(const NnCall *call);
extern size_t nn_conv_transpose2d_backward_scratch(const NnGraph *g, const NnNode *node,
												   int n, int threads);
extern void nn_embedding_backward(const NnCall *call);
extern void nn_simam_backward(const NnCall *call);
extern size_t nn_simam_backward_scratch(const NnGraph *g, const NnNode *node, int n,
										int threads);
extern void nn_dropout_backward(const NnCall *call);
extern void nn_reparameterise_backward(const NnCall *call);
extern void nn_window_attention_backward(const NnCall *call);
extern size_t nn_window_attention_backward_scratch(const NnGraph *g, const NnNode *node,
												   int n, int threads);

/*
 * For loops that a compiler can turn into vectors by itself: compiled for several
 * vector widths, chosen when the program starts.  Not under AddressSanitizer, whose
 * runtime is not ready when the choice is made.
 */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
#define NN_WIDE                                                                          \
	__attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"),         \
				   optimize("O3", "no-math-errno", "no-trapping-math")))
#else
#define NN_WIDE
#endif

/* dst = or += src, the "written or added to" of the rules */
static inline void
nn_give(float *dst, const float *src, size_t n, bool add)
{
	if (add)
		nn_kernels()->add(dst, src, dst, n);
	else
		memcpy(dst, src, n * sizeof(float));
}

#endif
