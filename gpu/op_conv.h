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
 * im2col is made for as many pictures at once as fit MATRIX_BYTES.
 */
#ifndef GPU_OP_CONV_H
#define GPU_OP_CONV_H

#include "gpu/call.h"
#include "gpu/op_activation.h"

#define MATRIX_BYTES ((size_t) 256 << 20)

struct Geometry
{
	int height, width, big;			/* big map, its channels */
	int low_height, low_width, low; /* small map */
	int kh, kw, sh, sw, ph, pw, groups;
	int taps, group; /* taps; big channels of a group */
	size_t places;	 /* of the small map */
};

static inline Geometry
geometry_of(const NnGraph *g, const NnNode *node)
{
	const NnShape *in = &g->node[node->input[0]].shape, *out = &node->shape;
	bool up = node->kind == NN_CONV_TRANSPOSE2D;
	const NnShape *big = up ? out : in, *low = up ? in : out;
	Geometry s;

	s.height = big->dim[0];
	s.width = big->dim[1];
	s.big = big->dim[2];
	s.low_height = low->dim[0];
	s.low_width = low->dim[1];
	s.low = low->dim[2];
	s.kh = node->kernel[0];
	s.kw = node->kernel[1];
	s.sh = node->stride[0];
	s.sw = node->stride[1];
	s.ph = node->pad[0];
	s.pw = node->pad[1];
	s.groups = node->groups > 1 ? node->groups : 1;
	s.taps = s.kh * s.kw;
	s.group = s.big / s.groups;
	s.places = (size_t) s.low_height * s.low_width;
	return s;
}

static inline bool
is_depthwise(const Geometry &s)
{
	return s.groups > 1 && s.groups == s.big && s.groups == s.low;
}

static inline bool
is_pointwise(const Geometry &s)
{
	return s.groups == 1 && s.taps == 1 && s.sh == 1 && s.sw == 1 && s.ph == 0 &&
		   s.pw == 0 && s.height == s.low_height && s.width == s.low_width;
}

template <class T>
static int
pictures_at_once(const Geometry &s, int n)
{
	size_t one = s.places * (size_t) s.taps * (size_t) s.group * sizeof(T);
	size_t fit = MATRIX_BYTES / one;

	return fit < 1 ? 1 : fit < (size_t) n ? (int) fit : n;
}

/* [place][tap][channel of the group] of n pictures */
template <class T>
static void
im2col(Machine *m, const Geometry &s, int group, const T *big, int n, T *to)
{
	each(m, (size_t) n * s.places * s.taps * s.group,
		 [=] ON_GPU(size_t i)
		 {
			 int c = (int) (i % (size_t) s.group);
			 int tap = (int) (i / (size_t) s.group % (size_t) s.taps);
			 size_t place = i / (size_t) s.group / (size_t) s.taps;
			 int at = (int) (place % s.places);
			 int y = at / s.low_width * s.sh - s.ph + tap / s.kw;
			 int x = at % s.low_width * s.sw - s.pw + tap % s.kw;
			 bool inside = y >= 0 && y < s.height && x >= 0 && x < s.width;

			 to[i] =
				 inside
					 ? (float)
						   big[((place / s.places * s.height + y) * s.width + x) * s.big +
							   group * s.group + c]
					 : 0.0f;
		 });
}

/* Each element of the big map gathers from the windows that cover it. */
template <class T>
static void
col2im(Machine *m, const Geometry &s, int group, const T *from, int n, T *big, bool add)
{
	each(m, (size_t) n * s.height * s.width * s.group,
		 [=] ON_GPU(size_t i)
		 {
			 int c = (int) (i % (size_t) s.group);
			 size_t pixel = i / (size_t) s.group;
			 int x = (int) (pixel % (size_t) s.width);
			 int y = (int) (pixel / (size_t) s.width % (size_t) s.height);
			 size_t picture = pixel / (size_t) s.width / (size_t) s.height;
			 float sum = 0;

			 for (int a = 0; a < s.kh; a++)
				 for (int b = 0; b < s.kw; b++)
				 {
					 int v = y + s.ph - a, u = x + s.pw - b;

					 if (v < 0 || u < 0 || v % s.sh || u % s.sw ||
						 v / s.sh >= s.low_height || u / s.sw >= s.low_width)
						 continue;
					 sum += (float) from[((picture * s.places +
										   (size_t) (v / s.sh) * s.low_width + u / s.sw) *
											  s.taps +
										  a * s.kw + b) *
											 s.group +
										 c];
				 }
			 give(&big[pixel * s.big + group * s.group + c], sum, add);
		 });
}

/* ------------------------------------------------------------------ depthwise */

/* packed is [channel][tap] */
template <class T>
static void
depthwise_down(Machine *m, const Geometry &s, const T *big, const T *packed, int n,
			   T *low, bool add)
{
	each(m, (size_t) n * s.places * s.low,
		 [=] ON_GPU(size_t i)
		 {
			 int c = (int) (i % (size_t) s.low);
			 size_t place = i / (size_t) s.low;
			 int at = (int) (place % s.places);
			 int y0 = at / s.low_width * s.sh - s.ph, x0 = at % s.low_width * s.sw - s.pw;
			 float sum = 0;

			 for (int a = 0; a < s.kh; a++)
				 for (int b = 0; b < s.kw; b++)
				 {
					 int y = y0 + a, x = x0 + b;

					 if (y >= 0 && y < s.height && x >= 0 && x < s.width)
						 sum +=
							 (float)
								 big[((place / s.places * s.height + y) * s.width + x) *
										 s.big +
									 c] *
							 (float) packed[c * s.taps + a * s.kw + b];
				 }
			 give(&low[i], sum, add);
		 });
}

template <class T>
static void
depthwise_up(Machine *m, const Geometry &s, const T *low, const T *packed, int n, T *big,
			 bool add)
{
	each(m, (size_t) n * s.height * s.width * s.big,
		 [=] ON_GPU(size_t i)
		 {
			 int c = (int) (i % (size_t) s.big);
			 size_t pixel = i / (size_t) s.big;
			 int x = (int) (pixel % (size_t) s.width);
			 int y = (int) (pixel / (size_t) s.width % (size_t) s.height);
			 size_t picture = pixel / (size_t) s.width / (size_t) s.height;
			 float sum = 0;

			 for (int a = 0; a < s.kh; a++)
				 for (int b = 0; b < s.kw; b++)
				 {
					 int v = y + s.ph - a, u = x + s.pw - b;

					 if (v < 0 || u < 0 || v % s.sh || u % s.sw ||
						 v / s.sh >= s.low_height || u / s.sw >= s.low_width)
						 continue;
					 sum += (float) low[(picture * s.places +
										 (size_t) (v / s.sh) * s.low_width + u / s.sw) *
											s.low +
										c] *
							(float) packed[c * s.taps + a * s.kw + b];
				 }
			 give(&big[i], sum, add);
		 });
}

/* Adds to grad, whose layout is packed's here. */
template <class T>
static void
depthwise_weight(Machine *m, const Geometry &s, const T *big, const T *low, int n,
				 float *grad)
{
	column_sums(
		m, (size_t) n * s.places, s.taps * s.low,
		[=] ON_GPU(size_t place, int col)
		{
			int c = col % s.low, tap = col / s.low, at = (int) (place % s.places);
			int y = at / s.low_width * s.sh - s.ph + tap / s.kw;
			int x = at % s.low_width * s.sw - s.pw + tap % s.kw;

			if (y < 0 || y >= s.height || x < 0 || x >= s.width)
				return 0.0f;
			return (float) low[place * s.low + c] *
				   (float)
					   big[((place / s.places * s.height + y) * s.width + x) * s.big + c];
		},
		[=] ON_GPU(int col, double sum)
		{ grad[col % s.low * s.taps + col / s.low] += (float) sum; });
}

/* -------------------------------------------------------------- three products */

template <class T>
static void
conv_down(Machine *m, const Geometry &s, const T *big, const T *packed, int n, T *low,
		  bool add)
{
	int depth = s.taps * s.group, outputs = s.low / s.groups;
	int most = is_pointwise(s) ? n : pictures_at_once<T>(s, n);
	size_t keep = m->used;
	T *cols;

	if (is_depthwise(s))
	{
		depthwise_down(m, s, big, packed, n, low, add);
		return;
	}
	cols = is_pointwise(s) ? NULL : take<T>(m, most * s.places * depth);
	for (int i = 0; i < n; i += most)
		for (int g = 0; g < s.groups; g++)
		{
			int k = n - i < most ? n - i : most;
			const T *from = big + (size_t) i * s.height * s.width * s.big;

			if (!is_pointwise(s))
				im2col(m, s, g, from, k, cols);
			gemm<T, T>(
				m, k * s.places, outputs, depth, 1,
				matrix<const T>(is_pointwise(s) ? from : cols, depth),
				matrix<const T>(packed + (size_t) g * outputs * depth, depth, true),
				add ? 1 : 0, matrix<T>(low + i * s.places * s.low + g * outputs, s.low));
		}
	m->used = keep;
}

template <class T>
static void
conv_up(Machine *m, const Geometry &s, const T *low, const T *packed, int n, T *big,
		bool add)
{
	int depth = s.taps * s.group, outputs = s.low / s.groups;
	int most = is_pointwise(s) ? n : pictures_at_once<T>(s, n);
	size_t keep = m->used;
	T *cols;

	if (is_depthwise(s))
	{
		depthwise_up(m, s, low, packed, n, big, add);
		return;
	}
	cols = is_pointwise(s) ? NULL : take<T>(m, most * s.places * depth);
	for (int i = 0; i < n; i += most)
		for (int g = 0; g < s.groups; g++)
		{
			int k = n - i < most ? n - i : most;
			T *to = big + (size_t) i * s.height * s.width * s.big;

			gemm<T, T>(m, k * s.places, depth, outputs, 1,
					   matrix<const T>(low + i * s.places * s.low + g * outputs, s.low),
					   matrix<const T>(packed + (size_t) g * outputs * depth, depth),
					   is_pointwise(s) && add ? 1 : 0,
					   matrix<T>(is_pointwise(s) ? to : cols, depth));
			if (!is_pointwise(s))
				col2im(m, s, g, cols, k, to, add);
		}
	m->used = keep;
}

/* grad [low][group][taps] is added to. */
template <class T>
static void
conv_weight(Machine *m, const Geometry &s, const T *big, const T *low, int n, float *grad)
{
	int depth = s.taps * s.group, outputs = s.low / s.groups, taps = s.taps;
	int group = s.group, most = is_pointwise(s) ? n : pictures_at_once<T>(s, n);
	size_t keep = m->used;
	float *sum;
	T *cols;

	if (is_depthwise(s))
	{
		depthwise_weight(m, s, big, low, n, grad);
		return;
	}
	cols = is_pointwise(s) ? NULL : take<T>(m, most * s.places * depth);
	sum = take<float>(m, (size_t) s.low * depth);
	for (int i = 0; i < n; i += most)
		for (int g = 0; g < s.groups; g++)
		{
			int k = n - i < most ? n - i : most;
			const T *from = big + (size_t) i * s.height * s.width * s.big;

			if (!is_pointwise(s))
				im2col(m, s, g, from, k, cols);
			gemm<T, float>(
				m, (size_t) outputs, depth, k * s.places, 1,
				matrix<const T>(low + i * s.places * s.low + g * outputs, s.low, true),
				matrix<const T>(is_pointwise(s) ? from : cols, depth), i > 0 ? 1 : 0,
				matrix<float>(sum + (size_t) g * outputs * depth, depth));
		}
	each(m, (size_t) s.low * depth,
		 [=] ON_GPU(size_t i)
		 {
			 size_t o = i / (size_t) depth;
			 int c = (int) (i % (size_t) depth) / taps, t = (int) (i % (size_t) taps);

			 grad[i] += sum[(o * taps + t) * group + c];
		 });
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

template <class T>
static void
bias_activate(const Call<T> *call)
{
	const float *bias = call->param[1];
	NnActivation act = call->node->activation;
	size_t cols = (size_t) cols_of(&call->node->shape);
	T *y = call->out;

	if (bias || act != NN_IDENTITY)
		each(call->m, count_of(call),
			 [=] ON_GPU(size_t i)
			 { y[i] = activate(act, (float) y[i] + (bias ? bias[i % cols] : 0.0f)); });
}

template <class T>
static void
bias_backward(const Call<T> *call)
{
	int cols = cols_of(&call->node->shape);
	const T *dy = call->grad_out;
	float *grad = call->grad_param[1];

	if (grad)
		column_sums(
			call->m, count_of(call) / cols, cols,
			[=] ON_GPU(size_t r, int c) { return (float) dy[r * cols + c]; },
			[=] ON_GPU(int c, double sum) { grad[c] += (float) sum; });
}

template <class T>
static void
conv_forward(const Call<T> *call)
{
	Geometry s = geometry_of(call->graph, call->node);
	const T *packed = weights_of(call);

	if (call->node->kind == NN_CONV2D)
		conv_down(call->m, s, call->in[0], packed, call->n, call->out, false);
	else
		conv_up(call->m, s, call->in[0], packed, call->n, call->out, false);
	bias_activate(call);
}

template <class T>
static void
conv_backward(const Call<T> *call)
{
	Geometry s = geometry_of(call->graph, call->node);
	bool down = call->node->kind == NN_CONV2D;
	const T *dy = call->grad_out;

	bias_backward(call);
	if (call->grad_param[0])
		conv_weight(call->m, s, down ? call->in[0] : dy, down ? dy : call->in[0], call->n,
					call->grad_param[0]);
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

	gemm<T, T>(call->m, count_of(call) / outputs, outputs, depth, 1,
			   matrix<const T>(call->in[0], depth),
			   matrix<const T>(weights_of(call), depth, true), 0,
			   matrix<T>(call->out, outputs));
	bias_activate(call);
}

template <class T>
static void
linear_backward(const Call<T> *call)
{
	int depth = cols_of(shape_in(call, 0)), outputs = call->node->channels;
	size_t rows = count_of(call) / outputs;

	bias_backward(call);
	if (call->grad_param[0])
		gemm<T, float>(call->m, outputs, depth, rows, 1,
					   matrix<const T>(call->grad_out, outputs, true),
					   matrix<const T>(call->in[0], depth), 1,
					   matrix<float>(call->grad_param[0], depth));
	if (call->grad_in[0])
		gemm<T, T>(call->m, rows, depth, outputs, 1,
				   matrix<const T>(call->grad_out, outputs),
				   matrix<const T>(weights_of(call), depth), call->add[0] ? 1 : 0,
				   matrix<T>(call->grad_in[0], depth));
}

#endif
