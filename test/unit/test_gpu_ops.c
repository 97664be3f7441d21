/*
 * test_gpu_ops.c
 *	  The operations of the CUDA device, compiled for the host (gpu/machine.h): the cases
 *	  of test_nn_gradients.c, values and gradients against double, each with and without
 *	  the parts that may be missing: products with epilogues, convolutions by cuDNN.
 */
#include "test_nn_double.h"

#include "nn/op.h"

extern void gpu_host_forward(const NnCall *call);
extern void gpu_host_backward(const NnCall *call);
extern void gpu_host_without(unsigned parts);
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
#define main main_of_the_cpu
#include "test_nn_gradients.c"
#undef main

static void
test_gpu_gradients(void **unused)
{
	for (unsigned parts = 0; parts < 4; parts++)
	{
		gpu_host_without(parts);
		test_gradients(unused);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gpu_gradients),
		cmocka_unit_test(test_all_kinds),
	};

	(void) main_of_the_cpu;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
