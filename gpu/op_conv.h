/*
 * op_conv.h
 *	  Convolutions, transposed convolutions and linear layers.
 *
 * A convolution goes from a big map to a small one, a transposed one from small to big;
 * each is the other's gradient.  With P the packed weights [small][taps][big / groups]:
 *
 *		down:	small = im2col(big) P^T
 *		up:		big = col2im(small P)
 *		weight:	dP = small^T im2col(big)
 *
 * 1x1 is a product as it is; a channel a group has loops of its own; the rest is cuDNN's,
 * or, where that is not there or refuses, im2col for as many pictures at once as fit.  A
 * dry run counts the memory of both, or what is reserved for either.
 */
#ifndef GPU_OP_CONV_H
#define GPU_OP_CONV_H

#include "gpu/dnn_conv.h"
#include "gpu/op_lower.h"

/* low = act(conv(big) + bias), or += conv(big) */
template <class T>
static void
conv_down(Machine *m, const Geometry &s, const T *big, const T *packed, int n, T *low,
		  bool add, const T *bias = NULL, NnActivation act = NN_IDENTITY)
{
	int depth = s.taps * s.group, outputs = s.low / s.groups;
	bool direct = is_pointwise(s);
	int most = direct ? n : pictures_at_once<T>(m, s, n);
	size_t keep = m->used;
	T *cols;

	if (is_depthwise(s))
	{
		depthwise_down(m, s, big, packed, n, low, add, bias, act);
		return;
	}
	if (!direct)
		reserve<T>(m, s, n);
	if (!direct && dnn_down(m, s, big, packed, n, low, add, bias, act))
		return;
	cols = direct ? NULL : take<T>(m, most * s.places * depth);
	for (int i = 0; i < n; i += most)
		for (int g = 0; g < s.groups; g++)
		{
			int k = n - i < most ? n - i : most;
			const T *from = big + (size_t) i * s.height * s.width * s.big;

			if (!direct)
				im2col(m, s, g, from, k, cols);
			affine<T>(m, k * s.places, outputs, depth,
					  matrix<const T>(direct ? from : cols, depth),
					  matrix<const T>(packed + (size_t) g * outputs * depth, depth, true),
					  add ? 1 : 0, bias ? bias + g * outputs : NULL, act,
					  matrix<T>(low + i * s.places * s.low + g * outputs, s.low));
		}
	m->used = keep;
}

/* big = act(deconv(low) + bias), or += deconv(low) */
template <class T>
static void
conv_up(Machine *m, const Geometry &s, const T *low, const T *packed, int n, T *big,
		bool add, const T *bias = NULL, NnActivation act = NN_IDENTITY)
{
	int depth = s.taps * s.group, outputs = s.low / s.groups;
	bool direct = is_pointwise(s);
	int most = direct ? n : pictures_at_once<T>(m, s, n);
	size_t keep = m->used;
	T *cols;

	if (!direct && !is_depthwise(s))
		reserve<T>(m, s, n);
	if (is_depthwise(s))
		depthwise_up(m, s, low, packed, n, big, add);
	else if (direct || !dnn_up(m, s, low, packed, n, big, add))
	{
		cols = direct ? NULL : take<T>(m, most * s.places * depth);
		for (int i = 0; i < n; i += most)
			for (int g = 0; g < s.groups; g++)
			{
				int k = n - i < most ? n - i : most;
				T *to = big + (size_t) i * s.height * s.width * s.big;

				gemm<T, T>(
					m, k * s.places, depth, outputs, 1,
					matrix<const T>(low + i * s.places * s.low + g * outputs, s.low),
					matrix<const T>(packed + (size_t) g * outputs * depth, depth),
					direct && add ? 1 : 0, matrix<T>(direct ? to : cols, depth));
				if (!direct)
					col2im(m, s, g, cols, k, to, add);
			}
		m->used = keep;
	}
	finish(m, big, (size_t) n * s.height * s.width, s.big, s.big, bias, act);
}

/* grad [low][group][taps] += sum [low][taps][group] */
template <class T>
static void
unpack_weights(Machine *m, const Geometry &s, const T *sum, float *grad)
{
	int depth = s.taps * s.group, taps = s.taps, group = s.group;

	each(m, (size_t) s.low * depth,
		 [=] ON_GPU(size_t i)
		 {
			 size_t o = i / (size_t) depth;
			 int c = (int) (i % (size_t) depth) / taps, t = (int) (i % (size_t) taps);

			 grad[i] += (float) sum[(o * taps + t) * group + c];
		 });
}

template <class T>
static bool
weight_by_cudnn(Machine *m, const Geometry &s, const T *big, const T *low, int n,
				float *grad)
{
	size_t keep = m->used;
	T *sum = take<T>(m, (size_t) s.low * s.taps * s.group);
	bool done = dnn_weight(m, s, big, low, n, sum);

	if (done)
		unpack_weights(m, s, sum, grad);
	m->used = keep;
	return done;
}

/* grad [low][group][taps] is added to. */
template <class T>
static void
conv_weight(Machine *m, const Geometry &s, const T *big, const T *low, int n, float *grad)
{
	int depth = s.taps * s.group, outputs = s.low / s.groups;
	int most = pictures_at_once<T>(m, s, n);
	size_t keep = m->used;
	float *sum;
	T *cols;

	if (is_depthwise(s))
		return depthwise_weight(m, s, big, low, n, grad);
	if (weight_by_cudnn(m, s, big, low, n, grad))
		return;
	cols = take<T>(m, most * s.places * depth);
	sum = take<float>(m, (size_t) s.low * depth);
	for (int i = 0; i < n; i += most)
		for (int g = 0; g < s.groups; g++)
		{
			int k = n - i < most ? n - i : most;

			im2col(m, s, g, big + (size_t) i * s.height * s.width * s.big, k, cols);
			gemm<T, float>(
				m, (size_t) outputs, depth, k * s.places, 1,
				matrix<const T>(low + i * s.places * s.low + g * outputs, s.low, true),
				matrix<const T>(cols, depth), i > 0 ? 1 : 0,
				matrix<float>(sum + (size_t) g * outputs * depth, depth));
		}
	unpack_weights(m, s, sum, grad);
	m->used = keep;
}

/* ----------------------------------------------------------------- operations */

/* [low][group][taps] to [low][taps][group]; linear weights keep their order */
template <class T>
static void
pack_weights(const Call<T> *call, T *packed)
{
	const NnParam *p = &call->graph->param[call->node->param[0]];
	const float *w = call->param[0];
	int taps = 1, group = 1;

	if (call->node->kind != NN_LINEAR)
	{
		Geometry s = geometry_of(call->graph, call->node);

		taps = s.taps;
		group = s.group;
	}
	each(call->m, nn_shape_size(&p->shape),
		 [=] ON_GPU(size_t i)
		 {
			 size_t o = i / (size_t) (taps * group);
			 int c = (int) (i % (size_t) group),
				 t = (int) (i / (size_t) group % (size_t) taps);

			 packed[i] = w[(o * group + c) * taps + t];
		 });
}

template <class T>
static void
pack_bias(const Call<T> *call, T *packed)
{
	const float *bias = call->param[1];

	each(call->m, (size_t) cols_of(&call->node->shape),
		 [=] ON_GPU(size_t i) { packed[i] = bias[i]; });
}

template <class T>
static const T *
weights_of(const Call<T> *call)
{
	T *packed;

	if (call->packed)
		return call->packed;
	packed =
		take<T>(call->m, nn_shape_size(&call->graph->param[call->node->param[0]].shape));
	pack_weights(call, packed);
	return packed;
}

/* As the activations are: what is fused to a product is of their type. */
static inline const float *
bias_of(const Call<float> *call)
{
	return call->param[1];
}

template <class T>
static const T *
bias_of(const Call<T> *call)
{
	T *packed;

	if (!call->param[1] || call->packed_bias)
		return call->packed_bias;
	packed = take<T>(call->m, (size_t) cols_of(&call->node->shape));
	pack_bias(call, packed);
	return packed;
}

static inline NnActivation
activation_of(const NnNode *node, NnActivation joined)
{
	return node->activation != NN_IDENTITY ? node->activation : joined;
}

template <class T>
static void
conv_forward(const Call<T> *call)
{
	Geometry s = geometry_of(call->graph, call->node);
	const T *packed = weights_of(call), *bias = bias_of(call);
	NnActivation act = activation_of(call->node, call->joined);

	if (call->node->kind == NN_CONV2D)
		conv_down(call->m, s, call->in[0], packed, call->n, call->out, false, bias, act);
	else
		conv_up(call->m, s, call->in[0], packed, call->n, call->out, false, bias, act);
}

template <class T>
static void
conv_backward(const Call<T> *call)
{
	Geometry s = geometry_of(call->graph, call->node);
	bool down = call->node->kind == NN_CONV2D;
	const T *dy = call->grad_out, *big = down ? call->in[0] : dy;
	const T *low = down ? dy : call->in[0];
	int cols = cols_of(&call->node->shape);

	if (down && is_pointwise(s) && call->grad_param[0])
		weight_product(call->m, count_of(call) / cols, s.low, s.group, dy, call->in[0], 1,
					   call->grad_param[0], call->grad_param[1]);
	else
	{
		if (call->grad_param[1])
			bias_sums(call->m, dy, count_of(call) / cols, cols, call->grad_param[1]);
		if (call->grad_param[0])
			conv_weight(call->m, s, big, low, call->n, call->grad_param[0]);
	}
	if (!call->grad_in[0])
		return;
	if (down)
		conv_up(call->m, s, dy, weights_of(call), call->n, call->grad_in[0],
				call->add[0]);
	else
		conv_down(call->m, s, dy, weights_of(call), call->n, call->grad_in[0],
				  call->add[0]);
}

template <class T>
static void
linear_forward(const Call<T> *call)
{
	int depth = cols_of(shape_in(call, 0)), outputs = call->node->channels;

	affine<T>(call->m, count_of(call) / outputs, outputs, depth,
			  matrix<const T>(call->in[0], depth),
			  matrix<const T>(weights_of(call), depth, true), 0, bias_of(call),
			  activation_of(call->node, call->joined), matrix<T>(call->out, outputs));
}

template <class T>
static void
linear_backward(const Call<T> *call)
{
	int depth = cols_of(shape_in(call, 0)), outputs = call->node->channels;
	size_t rows = count_of(call) / outputs;

	if (call->grad_param[0])
		weight_product(call->m, rows, outputs, depth, call->grad_out, call->in[0], 1,
					   call->grad_param[0], call->grad_param[1]);
	else if (call->grad_param[1])
		bias_sums(call->m, call->grad_out, rows, outputs, call->grad_param[1]);
	if (call->grad_in[0])
		gemm<T, T>(call->m, rows, depth, outputs, 1,
				   matrix<const T>(call->grad_out, outputs),
				   matrix<const T>(weights_of(call), depth), call->add[0] ? 1 : 0,
				   matrix<T>(call->grad_in[0], depth));
}

#endif
