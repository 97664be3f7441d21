/*
 * op.c
 *	  The op table: what each kind of node computes and how much memory it asks.
 */
#include "nn/ops.h"

const NnOp nn_op[NN_OP_COUNT] = {
	[NN_INPUT] = {.forward = nn_input_forward},
	[NN_CONV2D] = {.forward = nn_conv2d_forward,
				   .scratch = nn_conv2d_scratch,
				   .pack_size = nn_conv2d_pack_size,
				   .pack = nn_conv2d_pack},
	[NN_LINEAR] = {.forward = nn_linear_forward},
	[NN_BATCHNORM] = {.forward = nn_batchnorm_forward,
					  .scratch = nn_batchnorm_scratch,
					  .saved = nn_batchnorm_saved},
	[NN_LAYERNORM] = {.forward = nn_layernorm_forward, .saved = nn_layernorm_saved},
	[NN_ACTIVATION] = {.forward = nn_activation_forward},
	[NN_MAXPOOL] = {.forward = nn_maxpool_forward},
	[NN_AVGPOOL] = {.forward = nn_avgpool_forward},
	[NN_GLOBAL_AVGPOOL] = {.forward = nn_global_avgpool_forward},
	[NN_ADD] = {.forward = nn_add_forward},
	[NN_ATTENTION] = {.forward = nn_attention_forward,
					  .scratch = nn_attention_scratch,
					  .saved = nn_attention_saved},
	[NN_SOFTMAX] = {.forward = nn_softmax_forward},
	[NN_RESHAPE] = {.forward = nn_reshape_forward},
	[NN_CLASS_TOKEN] = {.forward = nn_class_token_forward},
	[NN_POSITION] = {.forward = nn_position_forward},
	[NN_TOKEN] = {.forward = nn_token_forward},
	[NN_SCALE] = {.forward = nn_scale_forward},
};
