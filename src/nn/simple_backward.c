/*
 * simple_backward.c
 *	  Gradients of the operations that only move, add or scale values.
 */
#include "nn/backward.h"

void
nn_activation_backward(const NnCall *call)
{
	NnActivation act = call->node->activation;

	if (call->grad_in[0])
		nn_activate_backward(act, nn_activation_by_output(act) ? call->out : call->in[0],
							 call->grad_out, call->grad_in[0],
							 call->n * nn_shape_size(&call->node->shape),
							 call->add_grad_in[0]);
}

void
nn_add_backward(const NnCall *call)
{
	size_t n = call->n * nn_shape_size(&call->node->shape);

	for (int i = 0; i < 2; i++)
		if (call->grad_in[i])
			nn_give(call->grad_in[i], call->grad_out, n, call->add_grad_in[i]);
}

void
nn_reshape_backward(const NnCall *call)
{
	if (call->grad_in[0])
		nn_give(call->grad_in[0], call->grad_out,
				call->n * nn_shape_size(&call->node->shape), call->add_grad_in[0]);
}

void
nn_scale_backward(const NnCall *call)
{
	size_t n = call->n * nn_shape_size(&call->node->shape);
	float *dx = call->grad_in[0];

	if (!dx)
		return;
	if (!call->add_grad_in[0])
		nn_kernels()->scale(call->grad_out, dx, n, call->node->scale);
	else
		for (size_t i = 0; i < n; i++)
			dx[i] += call->node->scale * call->grad_out[i];
}

/* [T][D] -> [T+1][D]: row 0 is the parameter. */
void
nn_class_token_backward(const NnCall *call)
{
	int width = nn_shape_cols(&call->node->shape);
	size_t size = nn_shape_size(&call->node->shape);

	for (int i = 0; i < call->n; i++)
	{
		const float *dy = call->grad_out + i * size;

		if (call->grad_param[0])
			nn_give(call->grad_param[0], dy, width, true);
		if (call->grad_in[0])
			nn_give(call->grad_in[0] + i * (size - width), dy + width, size - width,
					call->add_grad_in[0]);
	}
}

void
nn_position_backward(const NnCall *call)
{
	size_t size = nn_shape_size(&call->node->shape);

	if (call->grad_param[0])
		for (int i = 0; i < call->n; i++)
			nn_give(call->grad_param[0], call->grad_out + i * size, size, true);
	if (call->grad_in[0])
		nn_give(call->grad_in[0], call->grad_out, call->n * size, call->add_grad_in[0]);
}

void
nn_token_backward(const NnCall *call)
{
	const NnShape *in = nn_input_shape(call->graph, call->node, 0);
	size_t width = nn_shape_cols(in);
	size_t size = nn_shape_size(in);

	if (!call->grad_in[0])
		return;
	if (!call->add_grad_in[0])
		for (size_t i = 0; i < call->n * size; i++)
			call->grad_in[0][i] = 0;
	for (int i = 0; i < call->n; i++)
		nn_give(call->grad_in[0] + i * size + call->node->index * width,
				call->grad_out + i * width, width, true);
}

/* y = softmax(x): dx = y (dy - sum(dy y)) */
void
nn_softmax_backward(const NnCall *call)
{
	int cols = nn_shape_cols(&call->node->shape);
	size_t rows = call->n * nn_shape_rows(&call->node->shape);

	if (!call->grad_in[0])
		return;
	nn_kernels()->softmax_backward(call->out, call->grad_out, call->grad_in[0], rows,
								   cols, 1, call->add_grad_in[0]);
}
