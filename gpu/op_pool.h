/*
 * op_pool.h
 *	  Pooling, and upsampling.
 *
 * Gradients are gathered: each element of the input asks the outputs that read it.
 */
#ifndef GPU_OP_POOL_H
#define GPU_OP_POOL_H

#include "gpu/call.h"

struct Pool
{
	int height, width, channels, out_height, out_width;
	int kh, kw, sh, sw, ph, pw;
};

template <class T>
static Pool
pool_of(const Call<T> *c)
{
	const NnShape *in = shape_in(c, 0), *out = &c->node->shape;
	Pool p = {in->dim[0],		  in->dim[1],		  in->dim[2],
			  out->dim[0],		  out->dim[1],		  c->node->kernel[0],
			  c->node->kernel[1], c->node->stride[0], c->node->stride[1],
			  c->node->pad[0],	  c->node->pad[1]};

	return p;
}

/* saved, where training: which tap won (the first of the largest; NaN wins) */
template <class T>
static void
pool_forward(const Call<T> *call)
{
	Pool s = pool_of(call);
	bool average = call->node->kind == NN_AVGPOOL;
	const T *in = call->in[0];
	T *out = call->out;
	int *won = average ? NULL : (int *) call->saved;

	each(call->m, count_of(call),
		 [=] ON_GPU(size_t i)
		 {
			 int c = (int) (i % (size_t) s.channels), best = -1;
			 size_t rest = i / (size_t) s.channels;
			 int x0 = (int) (rest % (size_t) s.out_width) * s.sw - s.pw;
			 int y0 = (int) (rest / (size_t) s.out_width % (size_t) s.out_height) * s.sh -
					  s.ph;
			 size_t picture = rest / (size_t) s.out_width / (size_t) s.out_height;
			 float sum = 0, top = 0;

			 for (int a = 0; a < s.kh; a++)
				 for (int b = 0; b < s.kw; b++)
				 {
					 int y = y0 + a, x = x0 + b;
					 float v;

					 if (y < 0 || y >= s.height || x < 0 || x >= s.width)
						 continue;
					 v = in[((picture * s.height + y) * s.width + x) * s.channels + c];
					 sum += v;
					 if (best < 0 || v > top || (v != v && top == top))
					 {
						 top = v;
						 best = a * s.kw + b;
					 }
				 }
			 out[i] = average ? sum / (float) (s.kh * s.kw) : top;
			 if (won)
				 won[i] = best;
		 });
}

template <class T>
static void
pool_backward(const Call<T> *call)
{
	Pool s = pool_of(call);
	bool average = call->node->kind == NN_AVGPOOL, add = call->add[0];
	const T *dy = call->grad_out;
	T *dx = call->grad_in[0];
	const int *won = (const int *) call->saved;

	if (!dx)
		return;
	each(call->m, (size_t) call->n * s.height * s.width * s.channels,
		 [=] ON_GPU(size_t i)
		 {
			 Pixel p = pixel_of(i, s.height, s.width, s.channels);
			 float sum = 0;

			 for (int a = 0; a < s.kh; a++)
				 for (int b = 0; b < s.kw; b++)
				 {
					 int v = window_with(p.y, a, s.ph, s.sh, s.out_height);
					 int u = window_with(p.x, b, s.pw, s.sw, s.out_width);
					 size_t at;

					 if (v < 0 || u < 0)
						 continue;
					 at =
						 ((p.picture * s.out_height + v) * s.out_width + u) * s.channels +
						 p.c;
					 if (average || won[at] == a * s.kw + b)
						 sum += (float) dy[at];
				 }
			 give(&dx[i], average ? sum / (float) (s.kh * s.kw) : sum, add);
		 });
}

/* Sum or mean of the middle of [outer][length][inner]. */
template <class T>
static void
reduce(const Call<T> *call, size_t outer, size_t length, size_t inner, bool mean)
{
	float factor = mean ? 1.0f / (float) length : 1.0f;
	const T *x = call->in[0];
	T *y = call->out;

	each(call->m, outer * inner,
		 [=] ON_GPU(size_t i)
		 {
			 const T *from = x + i / inner * length * inner + i % inner;
			 float sum = 0;

			 for (size_t l = 0; l < length; l++)
				 sum += (float) from[l * inner];
			 y[i] = sum * factor;
		 });
}

template <class T>
static void
spread(const Call<T> *call, size_t outer, size_t length, size_t inner, bool mean)
{
	float factor = mean ? 1.0f / (float) length : 1.0f;
	const T *dy = call->grad_out;
	T *dx = call->grad_in[0];
	bool add = call->add[0];

	if (dx)
		each(call->m, outer * length * inner,
			 [=] ON_GPU(size_t i) {
				 give(&dx[i],
					  factor * (float) dy[i / (length * inner) * inner + i % inner], add);
			 });
}

/* ----------------------------------------------------------------- upsampling */

struct Tap
{
	int low, high;
	float weight;
};

/* As nn_upsample_tap (src/nn/op_move.c). */
static inline ON_BOTH Tap
tap_of(int factor, bool bilinear, int at, int size)
{
	Tap tap = {at / factor, at / factor, 0};
	float where = ((float) at + 0.5f) / (float) factor - 0.5f;

	if (!bilinear)
		return tap;
	where = where < 0 ? 0 : where;
	tap.low = (int) where;
	tap.high = tap.low + 1 < size ? tap.low + 1 : tap.low;
	tap.weight = where - (float) tap.low;
	return tap;
}

/* What output `at` takes of source `from`. */
static inline ON_BOTH float
tap_share(int factor, bool bilinear, int at, int from, int size)
{
	Tap t = tap_of(factor, bilinear, at, size);

	return (t.low == from ? 1.0f - t.weight : 0.0f) + (t.high == from ? t.weight : 0.0f);
}

template <class T>
static void
upsample_forward(const Call<T> *call)
{
	const NnShape *in = shape_in(call, 0);
	int height = in->dim[0], width = in->dim[1], channels = in->dim[2];
	int f = call->node->factor;
	bool bilinear = call->node->bilinear;
	const T *x = call->in[0];
	T *out = call->out;

	each(call->m, count_of(call),
		 [=] ON_GPU(size_t i)
		 {
			 int c = (int) (i % (size_t) channels);
			 size_t pixel = i / (size_t) channels;
			 size_t line = pixel / (size_t) (width * f);
			 Tap h = tap_of(f, bilinear, (int) (pixel % (size_t) (width * f)), width);
			 Tap v = tap_of(f, bilinear, (int) (line % (size_t) (height * f)), height);
			 const T *from =
				 x + line / (size_t) (height * f) * height * width * channels + c;
			 float a = from[((size_t) v.low * width + h.low) * channels];
			 float b = from[((size_t) v.low * width + h.high) * channels];
			 float d = from[((size_t) v.high * width + h.low) * channels];
			 float e = from[((size_t) v.high * width + h.high) * channels];
			 float top = a + h.weight * (b - a), low = d + h.weight * (e - d);

			 out[i] = bilinear ? top + v.weight * (low - top) : a;
		 });
}

template <class T>
static void
upsample_backward(const Call<T> *call)
{
	const NnShape *in = shape_in(call, 0);
	int height = in->dim[0], width = in->dim[1], channels = in->dim[2];
	int f = call->node->factor, reach = call->node->bilinear ? 1 : 0;
	bool bilinear = call->node->bilinear, add = call->add[0];
	const T *dy = call->grad_out;
	T *dx = call->grad_in[0];

	if (!dx)
		return;
	each(call->m, (size_t) call->n * height * width * channels,
		 [=] ON_GPU(size_t i)
		 {
			 int c = (int) (i % (size_t) channels);
			 size_t pixel = i / (size_t) channels;
			 int x = (int) (pixel % (size_t) width);
			 int y = (int) (pixel / (size_t) width % (size_t) height);
			 size_t picture = pixel / (size_t) width / (size_t) height;
			 float sum = 0;

			 for (int a = (y - reach) * f; a < (y + 1 + reach) * f; a++)
				 for (int b = (x - reach) * f; b < (x + 1 + reach) * f; b++)
					 if (a >= 0 && b >= 0 && a < height * f && b < width * f)
						 sum += tap_share(f, bilinear, a, y, height) *
								tap_share(f, bilinear, b, x, width) *
								(float) dy[((picture * height * f + a) * width * f + b) *
											   channels +
										   c];
			 give(&dx[i], sum, add);
		 });
}

#endif
