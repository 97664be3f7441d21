/*
 * op_transpose.c
 *	  Transposed convolution, forward and backward.
 *
 * It is the gradient of a convolution with respect to its input: of the convolution
 * that would lead from this one's output to its input, with the same weights, which
 * PyTorch lays out accordingly ([in][out/groups][kh][kw]).  So with P the patches of
 * the output, dP = X W is folded back by col2im; and backward, dX = P W^T and
 * dW = X^T P, as a convolution runs forward.
 */
#include <cblas.h>
#include <string.h>

#include "nn/backward.h"
#include "nn/ops.h"

/* The convolution from the output back to the input. */
static NnConv
mirrored(const NnGraph *g, const NnNode *node)
{
	const NnShape *in = nn_input_shape(g, node, 0);
	NnConv c = {.height = node->shape.dim[0],
				.width = node->shape.dim[1],
				.channels = node->channels,
				.out_height = in->dim[0],
				.out_width = in->dim[1],
				.outputs = in->dim[2],
				.kernel = {node->kernel[0], node->kernel[1]},
				.stride = {node->stride[0], node->stride[1]},
				.pad = {node->pad[0], node->pad[1]},
				.groups = node->groups};

	c.group_in = c.channels / c.groups;
	c.group_out = c.outputs / c.groups;
	c.taps = c.kernel[0] * c.kernel[1];
	c.depth = c.taps * c.group_in;
	return c;
}

static size_t
tile_floats(const NnConv *c)
{
	return ((size_t) nn_conv_tile_rows(c) * (size_t) c->depth + 15) & ~(size_t) 15;
}

static size_t
weight_floats(const NnConv *c)
{
	return ((size_t) c->outputs * (size_t) c->depth + 15) & ~(size_t) 15;
}

/* Lowered weights, and a tile for each thread. */
size_t
nn_conv_transpose2d_scratch(const NnGraph *g, const NnNode *node, int n, int threads)
{
	NnConv c = mirrored(g, node);

	(void) n;
	return weight_floats(&c) + (size_t) threads * tile_floats(&c);
}

typedef struct Job
{
	const NnCall *call;
	NnConv conv;
	const float *weight;
	float *tiles;
} Job;

/* Items are pictures. */
static void
pictures(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	const NnCall *call = job->call;
	const NnConv *c = &job->conv;
	int positions = c->out_height * c->out_width;
	int most = nn_conv_tile_rows(c);
	size_t area = (size_t) c->height * (size_t) c->width;
	float *matrix = job->tiles + (size_t) thread * tile_floats(c);

	for (int i = begin; i < end; i++)
	{
		const float *in = call->in[0] + (size_t) i * positions * c->outputs;
		float *out = call->out + (size_t) i * area * c->channels;

		for (size_t p = 0; p < area; p++)
			for (int k = 0; k < c->channels; k++)
				out[p * c->channels + k] = call->param[1] ? call->param[1][k] : 0;
		for (int group = 0; group < c->groups; group++)
			for (int row = 0; row < positions; row += most)
			{
				int rows = positions - row < most ? positions - row : most;

				cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, c->depth,
							c->group_out, 1,
							in + (size_t) row * c->outputs + group * c->group_out,
							c->outputs,
							job->weight + (size_t) group * c->group_out * c->depth,
							c->depth, 0, matrix, c->depth);
				nn_col2im_add(c, matrix, group, row, rows, out);
			}
		if (call->node->activation != NN_IDENTITY)
			nn_activate(call->node->activation, out, out, area * c->channels);
	}
}

void
nn_conv_transpose2d_forward(const NnCall *call)
{
	Job job = {.call = call, .conv = mirrored(call->graph, call->node)};

	job.weight = call->scratch;
	job.tiles = call->scratch + weight_floats(&job.conv);
	nn_conv_weights(&job.conv, call->param[0], call->scratch);
	nn_parallel(call->pool, call->n, pictures, &job);
}

size_t
nn_conv_transpose2d_backward_scratch(const NnGraph *g, const NnNode *node, int n,
									 int threads)
{
	NnConv c = mirrored(g, node);

	(void) n;
	(void) threads;
	return 2 * weight_floats(&c) + tile_floats(&c);
}

void
nn_conv_transpose2d_backward(const NnCall *call)
{
	NnConv c = mirrored(call->graph, call->node);
	int positions = c.out_height * c.out_width;
	int most = nn_conv_tile_rows(&c);
	size_t area = (size_t) c.height * (size_t) c.width;
	float *weight = call->scratch;
	float *grad_weight = weight + weight_floats(&c);
	float *matrix = grad_weight + weight_floats(&c);

	nn_conv_weights(&c, call->param[0], weight);
	memset(grad_weight, 0, weight_floats(&c) * sizeof(float));
	for (int i = 0; i < call->n; i++)
		for (int group = 0; group < c.groups; group++)
			for (int row = 0; row < positions; row += most)
			{
				int rows = positions - row < most ? positions - row : most;
				size_t at =
					((size_t) i * positions + row) * c.outputs + group * c.group_out;
				size_t w = (size_t) group * c.group_out * c.depth;

				nn_im2col(&c, call->grad_out + (size_t) i * area * c.channels, group, row,
						  rows, matrix);
				if (call->grad_in[0])
					cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows,
								c.group_out, c.depth, 1, matrix, c.depth, weight + w,
								c.depth, call->add_grad_in[0] ? 1 : 0,
								call->grad_in[0] + at, c.outputs);
				if (call->grad_param[0])
					cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, c.group_out,
								c.depth, rows, 1, call->in[0] + at, c.outputs, matrix,
								c.depth, 1, grad_weight + w, c.depth);
			}
	if (call->grad_param[0])
		nn_conv_weights_add_back(&c, grad_weight, call->grad_param[0]);
	if (call->grad_param[1])
		for (size_t r = 0; r < call->n * area; r++)
			nn_give(call->grad_param[1], call->grad_out + r * c.channels, c.channels,
					true);
}
