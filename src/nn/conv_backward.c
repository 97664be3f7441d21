/*
 * conv_backward.c
 *	  Gradients of any convolution through the matrix of patches; conv_direct.c is
 *	  faster where it applies.
 *
 * With P the patches [rows][depth] of one group and W the lowered weights
 * [outputs][depth], Y = P Wt, so dP = dY W (folded back by col2im) and dW = dYt P.
 */
#include "nn/backward.h"

#include <cblas.h>
#include <string.h>

/* Matrix of one tile, its gradient, lowered weights and their gradient. */
size_t
nn_conv2d_backward_scratch(const NnGraph *g, const NnNode *node, int n, int threads)
{
	NnConv c = nn_conv_geometry(g, node);
	size_t tile = (size_t) nn_conv_tile_rows(&c) * c.depth;

	(void) n;
	(void) threads;
	return 2 * tile + 2 * (size_t) c.outputs * c.depth;
}

static void
tile_backward(const NnConv *c, const NnCall *call, int image, int group, int row,
			  int rows, float *matrix, float *grad_matrix, const float *weight,
			  float *grad_weight)
{
	size_t positions = (size_t) c->out_height * c->out_width;
	const float *in = call->in[0] + (size_t) image * c->height * c->width * c->channels;
	const float *dy = call->grad_out + (image * positions + row) * c->outputs +
					  (size_t) group * c->group_out;
	size_t weights = (size_t) group * c->group_out * c->depth;

	if (grad_weight)
	{
		nn_im2col(c, in, group, row, rows, matrix);
		cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, c->group_out, c->depth, rows,
					1, dy, c->outputs, matrix, c->depth, 1, grad_weight + weights,
					c->depth);
	}
	if (call->grad_in[0])
	{
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, c->depth,
					c->group_out, 1, dy, c->outputs, weight + weights, c->depth, 0,
					grad_matrix, c->depth);
		nn_col2im_add(c, grad_matrix, group, row, rows,
					  call->grad_in[0] +
						  (size_t) image * c->height * c->width * c->channels);
	}
}

void
nn_conv2d_backward(const NnCall *call)
{
	NnConv c = nn_conv_geometry(call->graph, call->node);
	int positions = c.out_height * c.out_width;
	int tile = nn_conv_tile_rows(&c);
	size_t weights = (size_t) c.outputs * c.depth;
	float *matrix = call->scratch;
	float *grad_matrix = matrix + (size_t) tile * c.depth;
	float *weight = grad_matrix + (size_t) tile * c.depth;
	float *grad_weight = call->grad_param[0] ? weight + weights : NULL;

	nn_conv_weights(&c, call->param[0], weight);
	if (grad_weight)
		memset(grad_weight, 0, weights * sizeof(float));
	if (call->grad_in[0] && !call->add_grad_in[0])
		memset(call->grad_in[0], 0,
			   sizeof(float) * call->n * c.height * c.width * c.channels);

	for (int i = 0; i < call->n; i++)
		for (int group = 0; group < c.groups; group++)
			for (int row = 0; row < positions; row += tile)
				tile_backward(&c, call, i, group, row,
							  positions - row < tile ? positions - row : tile, matrix,
							  grad_matrix, weight, grad_weight);

	if (grad_weight)
		nn_conv_weights_add_back(&c, grad_weight, call->grad_param[0]);
	if (call->grad_param[1])
		for (size_t r = 0; r < (size_t) call->n * positions; r++)
			nn_give(call->grad_param[1], call->grad_out + r * c.outputs, c.outputs, true);
}
