/*
 * test_gpu_ops.c
 *	  The operations of the CUDA device, compiled for the host (gpu/machine.h): the cases
 *	  of test_nn_gradients.c, values and gradients against double.
 */
#include "test_nn_double.h"

#include "nn/op.h"

extern void gpu_host_forward(const NnCall *call);
extern void gpu_host_backward(const NnCall *call);
extern size_t gpu_host_saved(const NnGraph *g, const NnNode *node, int n);

#define GPU_OP                                                                           \
	{                                                                                    \
		.forward = gpu_host_forward, .saved = gpu_host_saved                             \
	}
#define GPU_BACK                                                                         \
	{                                                                                    \
		.backward = gpu_host_backward                                                    \
	}
static const NnOp gpu_op[NN_OP_COUNT] = {[0 ... NN_OP_COUNT - 1] = GPU_OP};
static const NnBackwardOp gpu_backward_op[NN_OP_COUNT] = {[0 ... NN_OP_COUNT - 1] =
															  GPU_BACK};

#define nn_op gpu_op
#define nn_backward_op gpu_backward_op
#include "test_nn_gradients.c"
