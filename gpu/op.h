/*
 * op.h
 *	  The op set on the GPU: one switch forward, one backward, for a type T.
 */
#ifndef GPU_OP_H
#define GPU_OP_H

#include "gpu/op_attention.h"
#include "gpu/op_conv.h"
#include "gpu/op_gate.h"
#include "gpu/op_pool.h"

template <class T>
static void
reduce_op(const Call<T> *c, bool backward)
{
	const NnShape *in = shape_in(c, 0);
	bool global = c->node->kind == NN_GLOBAL_AVGPOOL;
	bool mean = global || c->node->mean_of;
	size_t size = nn_shape_size(in), outer = (size_t) c->n, length, inner;

	if (global)
	{
		inner = (size_t) in->dim[2];
		length = size / inner;
	}
	else
	{
		Split s = split_of(in, c->node->axis, c->n);

		outer = s.outer;
		length = (size_t) in->dim[c->node->axis];
		inner = s.run / length;
	}
	if (backward)
		spread(c, outer, length, inner, mean);
	else
		reduce(c, outer, length, inner, mean);
}

template <class T>
void
op_forward(const Call<T> *c)
{
	c->m->used = 0;
	switch (c->node->kind)
	{
		case NN_INPUT:
			return input_forward(c);
		case NN_CONV2D:
		case NN_CONV_TRANSPOSE2D:
			return conv_forward(c);
		case NN_LINEAR:
			return linear_forward(c);
		case NN_BATCHNORM:
			return batchnorm_forward(c);
		case NN_LAYERNORM:
			return layernorm_forward(c);
		case NN_ACTIVATION:
			return activation_forward(c);
		case NN_MAXPOOL:
		case NN_AVGPOOL:
			return pool_forward(c);
		case NN_GLOBAL_AVGPOOL:
		case NN_REDUCE:
			return reduce_op(c, false);
		case NN_ADD:
		case NN_MUL:
			return pair_forward(c);
		case NN_ATTENTION:
		case NN_WINDOW_ATTENTION:
			return attention_forward(c);
		case NN_SOFTMAX:
			return softmax_forward(c);
		case NN_RESHAPE:
			return copy(c->m, c->in[0], c->out, count_of(c), 1, false);
		case NN_SCALE:
			return copy(c->m, c->in[0], c->out, count_of(c), c->node->scale, false);
		case NN_CLASS_TOKEN:
			return class_token(c, false);
		case NN_POSITION:
			return position(c, false);
		case NN_TOKEN:
			return token(c, false);
		case NN_DROPOUT:
			return dropout(c, false);
		case NN_CONCAT:
			return concat(c, false);
		case NN_SLICE:
			return slice_axis(c, false);
		case NN_PERMUTE:
			return permute(c, false);
		case NN_UPSAMPLE:
			return upsample_forward(c);
		case NN_LAYERSCALE:
			return layerscale(c, false);
		case NN_SIMAM:
			return simam(c, false);
		case NN_REPARAMETERISE:
			return reparameterise(c, false);
		case NN_EMBEDDING:
			return embedding(c, false);
		case NN_OP_COUNT:
			return;
	}
}

template <class T>
void
op_backward(const Call<T> *c)
{
	c->m->used = 0;
	switch (c->node->kind)
	{
		case NN_CONV2D:
		case NN_CONV_TRANSPOSE2D:
			return conv_backward(c);
		case NN_LINEAR:
			return linear_backward(c);
		case NN_BATCHNORM:
			return batchnorm_backward(c);
		case NN_LAYERNORM:
			return layernorm_backward(c);
		case NN_ACTIVATION:
			return activation_backward(c);
		case NN_MAXPOOL:
		case NN_AVGPOOL:
			return pool_backward(c);
		case NN_GLOBAL_AVGPOOL:
		case NN_REDUCE:
			return reduce_op(c, true);
		case NN_ADD:
		case NN_MUL:
			return pair_backward(c);
		case NN_ATTENTION:
		case NN_WINDOW_ATTENTION:
			return attention_backward(c);
		case NN_SOFTMAX:
			return softmax_backward(c);
		case NN_RESHAPE:
			return copy(c->m, c->grad_out, c->grad_in[0], count_of(c), 1, c->add[0]);
		case NN_SCALE:
			return copy(c->m, c->grad_out, c->grad_in[0], count_of(c), c->node->scale,
						c->add[0]);
		case NN_CLASS_TOKEN:
			return class_token(c, true);
		case NN_POSITION:
			return position(c, true);
		case NN_TOKEN:
			return token(c, true);
		case NN_DROPOUT:
			return dropout(c, true);
		case NN_CONCAT:
			return concat(c, true);
		case NN_SLICE:
			return slice_axis(c, true);
		case NN_PERMUTE:
			return permute(c, true);
		case NN_UPSAMPLE:
			return upsample_backward(c);
		case NN_LAYERSCALE:
			return layerscale(c, true);
		case NN_SIMAM:
			return simam(c, true);
		case NN_REPARAMETERISE:
			return reparameterise(c, true);
		case NN_EMBEDDING:
			return embedding(c, true);
		case NN_INPUT:
		case NN_OP_COUNT:
			return;
	}
}

template <class T>
size_t
saved_bytes(const NnGraph *g, const NnNode *node, int n)
{
	size_t count = (size_t) n * nn_shape_size(&node->shape);

	(void) g;
	switch (node->kind)
	{
		case NN_BATCHNORM:
			return 2 * (size_t) cols_of(&node->shape) * sizeof(float);
		case NN_LAYERNORM:
			return 2 * count / (size_t) cols_of(&node->shape) * sizeof(float);
		case NN_MAXPOOL:
			return count * sizeof(int);
		case NN_ATTENTION:
		case NN_WINDOW_ATTENTION:
			return probabilities(lots_of(node, n)) * sizeof(T);
		default:
			return 0;
	}
}

#endif
