/*
 * op_backward.c
 *	  The table of backward passes.
 */
#include "nn/backward.h"

const NnBackwardOp nn_backward_op[NN_OP_COUNT] = {
	[NN_CONV2D] = {nn_conv2d_backward, nn_conv2d_backward_scratch},
	[NN_LINEAR] = {nn_linear_backward, NULL},
	[NN_BATCHNORM] = {nn_batchnorm_backward, NULL},
	[NN_LAYERNORM] = {nn_layernorm_backward, NULL},
	[NN_ACTIVATION] = {nn_activation_backward, NULL},
	[NN_MAXPOOL] = {nn_maxpool_backward, NULL},
	[NN_AVGPOOL] = {nn_avgpool_backward, NULL},
	[NN_GLOBAL_AVGPOOL] = {nn_global_avgpool_backward, NULL},
	[NN_ADD] = {nn_add_backward, NULL},
	[NN_ATTENTION] = {nn_attention_backward, nn_attention_backward_scratch},
	[NN_SOFTMAX] = {nn_softmax_backward, NULL},
	[NN_RESHAPE] = {nn_reshape_backward, NULL},
	[NN_CLASS_TOKEN] = {nn_class_token_backward, NULL},
	[NN_POSITION] = {nn_position_backward, NULL},
	[NN_TOKEN] = {nn_token_backward, NULL},
	[NN_SCALE] = {nn_scale_backward, NULL},
	[NN_DROPOUT] = {nn_dropout_backward, NULL},
	[NN_CONCAT] = {nn_concat_backward, NULL},
	[NN_SLICE] = {nn_slice_backward, NULL},
	[NN_PERMUTE] = {nn_permute_backward, NULL},
	[NN_UPSAMPLE] = {nn_upsample_backward, NULL},
	[NN_REDUCE] = {nn_reduce_backward, NULL},
	[NN_MUL] = {nn_mul_backward, NULL},
	[NN_LAYERSCALE] = {nn_layerscale_backward, NULL},
	[NN_CONV_TRANSPOSE2D] = {nn_conv_transpose2d_backward,
							 nn_conv_transpose2d_backward_scratch},
	[NN_EMBEDDING] = {nn_embedding_backward, NULL},
	[NN_SIMAM] = {nn_simam_backward, nn_simam_backward_scratch},
	[NN_REPARAMETERISE] = {nn_reparameterise_backward, NULL},
	[NN_WINDOW_ATTENTION] = {nn_window_attention_backward,
							 nn_window_attention_backward_scratch},
};
