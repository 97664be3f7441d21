/*
 * move_backward.c
 *	  Gradients of the operations that move values: back to where they came from.
 */
#include <string.h>

#include "nn/backward.h"
#include "nn/move.h"

/* Fill with zeros what will be added to, unless something is there already. */
static void
clear(const NnCall *call, int k)
{
	if (!call->add_grad_in[k])
		memset(call->grad_in[k], 0,
			   (size_t) call->n *
				   nn_shape_size(nn_input_shape(call->graph, call->node, k)) *
				   sizeof(float));
}

void
nn_concat_backward(const NnCall *call)
{
	const NnNode *node = call->node;
	NnSplit all = nn_split(&node->shape, node->axis);
	size_t row = all.length * all.inner, at = 0;

	for (int k = 0; k < node->ninputs; k++)
	{
		NnSplit part = nn_split(nn_input_shape(call->graph, node, k), node->axis);
		size_t run = part.length * part.inner;

		for (size_t o = 0; call->grad_in[k] && o < (size_t) call->n * all.outer; o++)
			nn_give(call->grad_in[k] + o * run, call->grad_out + o * row + at, run,
					call->add_grad_in[k]);
		at += run;
	}
}

void
nn_slice_backward(const NnCall *call)
{
	const NnNode *node = call->node;
	NnSplit all = nn_split(nn_input_shape(call->graph, node, 0), node->axis);
	size_t run = (size_t) node->channels * all.inner, row = all.length * all.inner;

	if (!call->grad_in[0])
		return;
	clear(call, 0);
	for (size_t o = 0; o < (size_t) call->n * all.outer; o++)
		nn_give(call->grad_in[0] + o * row + (size_t) node->index * all.inner,
				call->grad_out + o * run, run, true);
}

void
nn_permute_backward(const NnCall *call)
{
	const NnShape *in = nn_input_shape(call->graph, call->node, 0);
	size_t size = nn_shape_size(in);
	int run = nn_shape_cols(&call->node->shape);

	for (int i = 0; call->grad_in[0] && i < call->n; i++)
	{
		NnWalk walk = nn_walk_new(in, &call->node->shape, call->node->perm);
		float *dx = call->grad_in[0] + (size_t) i * size;
		const float *dy = call->grad_out + (size_t) i * size;
		size_t step = walk.step[walk.ndim - 1];

		for (size_t r = 0; r < size; r += (size_t) run, nn_walk_next(&walk))
			for (int c = 0; c < run; c++)
			{
				float *to = &dx[walk.from + (size_t) c * step];

				*to = (call->add_grad_in[0] ? *to : 0.0f) + dy[r + (size_t) c];
			}
	}
}

void
nn_upsample_backward(const NnCall *call)
{
	const NnNode *node = call->node;
	const NnShape *in = nn_input_shape(call->graph, node, 0);
	size_t c = (size_t) in->dim[2], row = (size_t) in->dim[1] * c;

	if (!call->grad_in[0])
		return;
	clear(call, 0);
	for (int i = 0; i < call->n; i++)
	{
		float *dx = call->grad_in[0] + (size_t) i * nn_shape_size(in);
		const float *dy = call->grad_out + (size_t) i * nn_shape_size(&node->shape);

		for (int y = 0; y < node->shape.dim[0]; y++)
			for (int x = 0; x < node->shape.dim[1]; x++, dy += c)
			{
				NnTap v = nn_upsample_tap(node, y, in->dim[0]);
				NnTap h = nn_upsample_tap(node, x, in->dim[1]);

				for (int k = 0; k < (node->bilinear ? 4 : 1); k++)
				{
					float weight = (k & 1 ? h.weight : 1 - h.weight) *
								   (k & 2 ? v.weight : 1 - v.weight);
					float *to = dx + (size_t) (k & 2 ? v.high : v.low) * row +
								(size_t) (k & 1 ? h.high : h.low) * c;

					for (size_t j = 0; j < c; j++)
						to[j] += weight * dy[j];
				}
			}
	}
}

void
nn_reduce_backward(const NnCall *call)
{
	NnSplit s = nn_split(nn_input_shape(call->graph, call->node, 0), call->node->axis);
	float factor = call->node->mean_of ? 1.0f / (float) s.length : 1.0f;

	for (size_t o = 0; call->grad_in[0] && o < (size_t) call->n * s.outer; o++)
		for (size_t l = 0; l < s.length; l++)
		{
			float *dx = call->grad_in[0] + (o * s.length + l) * s.inner;
			const float *dy = call->grad_out + o * s.inner;

			for (size_t k = 0; k < s.inner; k++)
				dx[k] = (call->add_grad_in[0] ? dx[k] : 0.0f) + factor * dy[k];
		}
}
