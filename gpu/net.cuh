/*
 * net.cuh
 *	  A network on the GPU: what loading makes and running uses.
 */
#ifndef GPU_NET_CUH
#define GPU_NET_CUH

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <vector>

#include "kernels.cuh"
#include "nn/device.h"
#include "nn/graph.h"
#include "nn/plan.h"

/* The matrix of a lowered convolution is cut to about this many bytes. */
#define MATRIX_BYTES ((size_t) 128 << 20)
#define MATRIX_ROWS 256 /* but never to fewer rows */

/* One node, ready to run. */
struct Step
{
	const NnNode *node;
	float *param[NN_MAX_PARAMS]; /* on the device */
	float *weight;				 /* rearranged convolution weights; factor, shift */
	const float *in[NN_MAX_INPUTS];
	float *out;
};

struct NnNet
{
	const NnGraph *graph;
	int max_batch;
	int device;
	cudaStream_t stream;
	cublasHandle_t blas;
	cublasStatus_t blas_status; /* of the last product */
	std::vector<Step> step;
	std::vector<void *> memory; /* every allocation on the device */
	size_t bytes;				/* their sum */
	uint8_t *images;			/* max_batch pictures */
	float *arena;
	float *result;
	float *matrix; /* lowered convolutions, or attention's probabilities */
	NnPlan plan;
};

/* False and err, which begins with what was being done, where code is an error. */
extern bool cuda_ok(cudaError_t code, NnError *err, const char *doing);

/* run.cu */
extern bool cuda_run(NnNet *net, const uint8_t *images, int n, float *out, NnError *err);

/* ------------------------------------------------------------------ geometry */

static inline const NnShape *
input_shape(const NnGraph *g, const NnNode *node)
{
	return &g->node[node->input[0]].shape;
}

static inline bool
is_depthwise(const NnNode *node, const NnShape *in)
{
	return node->groups > 1 && node->groups == in->dim[2] &&
		   node->groups == node->channels;
}

static inline bool
is_pointwise(const NnNode *node)
{
	return node->groups == 1 && node->kernel[0] == 1 && node->kernel[1] == 1 &&
		   node->stride[0] == 1 && node->stride[1] == 1 && node->pad[0] == 0 &&
		   node->pad[1] == 0;
}

static inline Window
window_of(const NnGraph *g, const NnNode *node)
{
	const NnShape *in = input_shape(g, node);
	Window w;

	w.height = in->dim[0];
	w.width = in->dim[1];
	w.channels = in->dim[2];
	w.out_height = node->shape.dim[0];
	w.out_width = node->shape.dim[1];
	for (int i = 0; i < 2; i++)
	{
		w.kernel[i] = node->kernel[i];
		w.stride[i] = node->stride[i];
		w.pad[i] = node->pad[i];
	}
	return w;
}

/* Rows of the lowered matrix that are made at once. */
static inline size_t
matrix_rows(const NnNet *net, const NnNode *node, size_t depth)
{
	size_t all = (size_t) net->max_batch * node->shape.dim[0] * node->shape.dim[1];
	size_t rows = MATRIX_BYTES / sizeof(float) / depth;

	rows = rows < MATRIX_ROWS ? MATRIX_ROWS : rows;
	return rows < all ? rows : all;
}

static inline size_t
conv_depth(const NnGraph *g, const NnNode *node)
{
	return (size_t) node->kernel[0] * node->kernel[1] *
		   (size_t) (input_shape(g, node)->dim[2] / node->groups);
}

#endif
