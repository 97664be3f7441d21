/*
 * conv_backward.c
 *	  Gradients of any convolution: depthwise by taps, all else through the matrix of
 *	  patches; conv_direct.c is faster where it applies.
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
	size_t tile = nn_conv_is_depthwise(&c) ? 0 : (size_t) nn_conv_tile_rows(&c) * c.depth;

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

/* One tap of one output place: a row of channels each way. */
static void
depthwise_tap(const NnConv *c, const NnKernels *kernels, const float *dy, const float *x,
			  float *dx, const float *weight, float *grad_weight)
{
	if (dx)
		kernels->multiply_add(dy, weight, dx, (size_t) c->outputs);
	if (grad_weight)
		kernels->multiply_add(dy, x, grad_weight, (size_t) c->outputs);
}

/* One picture; dx and grad_weight, [taps][outputs], are added to, or NULL. */
static void
depthwise_picture(const NnConv *c, const float *dy, const float *x, float *dx,
				  const float *weight, float *grad_weight)
{
	const NnKernels *kernels = nn_kernels();

	for (int oy = 0; oy < c->out_height; oy++)
		for (int ox = 0; ox < c->out_width; ox++, dy += c->outputs)
			for (int t = 0; t < c->taps; t++)
			{
				int yy = oy * c->stride[0] - c->pad[0] + t / c->kernel[1];
				int xx = ox * c->stride[1] - c->pad[1] + t % c->kernel[1];
				size_t at = ((size_t) yy * c->width + xx) * c->channels;
				size_t w = (size_t) t * c->outputs;

				if (yy >= 0 && yy < c->height && xx >= 0 && xx < c->width)
					depthwise_tap(c, kernels, dy, x + at, dx ? dx + at : NULL, weight + w,
								  grad_weight ? grad_weight + w : NULL);
			}
}

/* dx has been cleared where it is not added to. */
static void
depthwise_backward(const NnConv *c, const NnCall *call)
{
	size_t in = (size_t) c->height * c->width * c->channels;
	size_t out = (size_t) c->out_height * c->out_width * c->outputs;
	size_t weights = (size_t) c->taps * c->outputs;
	float *weight = call->scratch;
	float *grad_weight = call->grad_param[0] ? weight + weights : NULL;

	nn_depthwise_weights(c, call->param[0], weight);
	if (grad_weight)
		memset(grad_weight, 0, weights * sizeof(float));
	for (int i = 0; i < call->n; i++)
		depthwise_picture(c, call->grad_out + i * out, call->in[0] + i * in,
						  call->grad_in[0] ? call->grad_in[0] + i * in : NULL, weight,
						  grad_weight);
	for (int o = 0; grad_weight && o < c->outputs; o++)
		for (int t = 0; t < c->taps; t++)
			call->grad_param[0][o * c->taps + t] += grad_weight[t * c->outputs + o];
}

/* Groups of channels through their matrices of patches. */
static void
matrix_backward(const NnConv *c, const NnCall *call)
{
	int positions = c->out_height * c->out_width;
	int tile = nn_conv_tile_rows(c);
	size_t weights = (size_t) c->outputs * c->depth;
	float *matrix = call->scratch;
	float *grad_matrix = matrix + (size_t) tile * c->depth;
	float *weight = grad_matrix + (size_t) tile * c->depth;
	float *grad_weight = call->grad_param[0] ? weight + weights : NULL;

	nn_conv_weights(c, call->param[0], weight);
	if (grad_weight)
		memset(grad_weight, 0, weights * sizeof(float));

	for (int i = 0; i < call->n; i++)
		for (int group = 0; group < c->groups; group++)
			for (int row = 0; row < positions; row += tile)
				tile_backward(c, call, i, group, row,
							  positions - row < tile ? positions - row : tile, matrix,
							  grad_matrix, weight, grad_weight);

	if (grad_weight)
		nn_conv_weights_add_back(c, grad_weight, call->grad_param[0]);
}

void
nn_conv2d_backward(const NnCall *call)
{
	NnConv c = nn_conv_geometry(call->graph, call->node);
	size_t places = (size_t) call->n * c.out_height * c.out_width;

	if (call->grad_in[0] && !call->add_grad_in[0])
		memset(call->grad_in[0], 0,
			   sizeof(float) * call->n * c.height * c.width * c.channels);
	if (nn_conv_is_depthwise(&c))
		depthwise_backward(&c, call);
	else
		matrix_backward(&c, call);
	if (call->grad_param[1])
		for (size_t r = 0; r < places; r++)
			nn_give(call->grad_param[1], call->grad_out + r * c.outputs, c.outputs, true);
}
