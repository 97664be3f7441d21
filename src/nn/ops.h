/*
 * ops.h
 *	  The forward functions that op.c gathers in its table; private to src/nn.
 */
#ifndef NN_OPS_H
#define NN_OPS_H

#include "nn/op.h"

/* op_conv.c */
extern void nn_conv2d_forward(const NnCall *call);
extern size_t nn_conv2d_scratch(const NnGraph *g, const NnNode *node, int n, int threads);
extern size_t nn_conv2d_pack_size(const NnGraph *g, const NnNode *node);
extern void nn_conv2d_pack(const NnGraph *g, const NnNode *node, float *packed);

/* op_linear.c */
extern void nn_linear_forward(const NnCall *call);

/* op_attention.c */
extern void nn_attention_forward(const NnCall *call);
extern size_t nn_attention_scratch(const NnGraph *g, const NnNode *node, int n,
								   int threads);
extern size_t nn_attention_saved(const NnGraph *g, const NnNode *node, int n);

/* op_norm.c */
extern void nn_batchnorm_forward(const NnCall *call);
extern size_t nn_batchnorm_scratch(const NnGraph *g, const NnNode *node, int n,
								   int threads);
extern size_t nn_batchnorm_saved(const NnGraph *g, const NnNode *node, int n);
extern void nn_layernorm_forward(const NnCall *call);
extern size_t nn_layernorm_saved(const NnGraph *g, const NnNode *node, int n);
extern void nn_softmax_forward(const NnCall *call);

/* op_pool.c */
extern void nn_maxpool_forward(const NnCall *call);
extern void nn_avgpool_forward(const NnCall *call);
extern void nn_global_avgpool_forward(const NnCall *call);

/* op_simple.c */
extern void nn_input_forward(const NnCall *call);
extern void nn_activation_forward(const NnCall *call);
extern void nn_add_forward(const NnCall *call);
extern void nn_reshape_forward(const NnCall *call);
extern void nn_class_token_forward(const NnCall *call);
extern void nn_position_forward(const NnCall *call);
extern void nn_token_forward(const NnCall *call);
extern void nn_scale_forward(const NnCall *call);

/* op_move.c */
extern void nn_concat_forward(const NnCall *call);
extern void nn_slice_forward(const NnCall *call);
extern void nn_permute_forward(const NnCall *call);
extern void nn_upsample_forward(const NnCall *call);
extern void nn_reduce_forward(const NnCall *call);

/* op_gate.c */
extern void nn_mul_forward(const NnCall *call);
extern void nn_layerscale_forward(const NnCall *call);

/* op_transpose.c */
extern void nn_conv_transpose2d_forward(const NnCall *call);
extern size_t nn_conv_transpose2d_scratch(const NnGraph *g, const NnNode *node, int n,
										  int threads);

/* op_embedding.c */
extern void nn_embedding_forward(const NnCall *call);
extern void nn_simam_forward(const NnCall *call);
extern size_t nn_simam_scratch(const NnGraph *g, const NnNode *node, int n, int threads);
extern void nn_dropout_forward(const NnCall *call);
extern void nn_reparameterise_forward(const NnCall *call);

/* op_window.c */
extern void nn_window_attention_forward(const NnCall *call);
extern size_t nn_window_attention_scratch(const NnGraph *g, const NnNode *node, int n,
										  int threads);
extern size_t nn_window_attention_saved(const NnGraph *g, const NnNode *node, int n);

#endif
