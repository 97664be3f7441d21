/*
 * op_move.h
 *	  Operations that move values: input, copies, concatenation, slices, permutation,
 *	  tokens, positions, embeddings.
 */
#ifndef GPU_OP_MOVE_H
#define GPU_OP_MOVE_H

#include "gpu/call.h"

template <class T>
static void
input_forward(const Call<T> *call)
{
	const uint8_t *x = call->images;
	const float *m = call->node->mean, *d = call->node->std;
	float m0 = m[0], m1 = m[1], m2 = m[2], d0 = d[0], d1 = d[1], d2 = d[2];
	T *y = call->out;

	each(call->m, count_of(call),
		 [=] ON_GPU(size_t i)
		 {
			 int c = (int) (i % 3);
			 float mean = c == 0   ? m0
						  : c == 1 ? m1
								   : m2,
				   std = c == 0	  ? d0
						 : c == 1 ? d1
								  : d2;

			 y[i] = ((float) x[i] / 255.0f - mean) / std;
		 });
}

/* y = or += x factor; they may be the same */
template <class T>
static void
copy(Machine *m, const T *x, T *y, size_t count, float factor, bool add)
{
	if (y && (x != y || factor != 1 || add))
		each(m, count, [=] ON_GPU(size_t i) { give(&y[i], (float) x[i] * factor, add); });
}

/* A shape around one axis: length x inner values a run. */
struct Split
{
	size_t outer, run;
};

static inline Split
split_of(const NnShape *shape, int axis, int n)
{
	Split s = {(size_t) n, 1};

	for (int i = 0; i < shape->ndim; i++)
		if (i < axis)
			s.outer *= (size_t) shape->dim[i];
		else
			s.run *= (size_t) shape->dim[i];
	return s;
}

/* whole[o][at + r] = or += part[o][r] */
template <class T>
static void
put_part(Machine *m, const T *part, size_t run, T *whole, size_t row, size_t at,
		 size_t outer, bool add)
{
	each(m, outer * run,
		 [=] ON_GPU(size_t i)
		 { give(&whole[i / run * row + at + i % run], part[i], add); });
}

/* part[o][r] = or += whole[o][at + r] */
template <class T>
static void
get_part(Machine *m, const T *whole, size_t row, size_t at, T *part, size_t run,
		 size_t outer, bool add)
{
	each(m, outer * run,
		 [=] ON_GPU(size_t i)
		 { give(&part[i], whole[i / run * row + at + i % run], add); });
}

template <class T>
static void
clear(Machine *m, T *x, size_t count)
{
	each(m, count, [=] ON_GPU(size_t i) { x[i] = 0.0f; });
}

template <class T>
static void
concat(const Call<T> *call, bool backward)
{
	Split all = split_of(&call->node->shape, call->node->axis, call->n);
	size_t at = 0;

	for (int k = 0; k < call->node->ninputs; k++)
	{
		size_t run = split_of(shape_in(call, k), call->node->axis, 1).run;

		if (!backward)
			put_part(call->m, call->in[k], run, call->out, all.run, at, all.outer, false);
		else if (call->grad_in[k])
			get_part(call->m, call->grad_out, all.run, at, call->grad_in[k], run,
					 all.outer, call->add[k]);
		at += run;
	}
}

/* [outer][at .. at+run of row]: a slice, or one token */
template <class T>
static void
slice(const Call<T> *call, size_t outer, size_t row, size_t at, size_t run, bool backward)
{
	if (!backward)
		get_part(call->m, call->in[0], row, at, call->out, run, outer, false);
	else if (call->grad_in[0])
	{
		if (!call->add[0])
			clear(call->m, call->grad_in[0], outer * row);
		put_part(call->m, call->grad_out, run, call->grad_in[0], row, at, outer, true);
	}
}

template <class T>
static void
slice_axis(const Call<T> *call, bool backward)
{
	Split all = split_of(shape_in(call, 0), call->node->axis, call->n);
	Split part = split_of(&call->node->shape, call->node->axis, call->n);
	size_t inner = part.run / (size_t) call->node->channels;

	slice(call, all.outer, all.run, (size_t) call->node->index * inner, part.run,
		  backward);
}

template <class T>
static void
token(const Call<T> *call, bool backward)
{
	const NnShape *in = shape_in(call, 0);
	size_t dim = (size_t) in->dim[1];

	slice(call, (size_t) call->n, in->dim[0] * dim, (size_t) call->node->index * dim, dim,
		  backward);
}

struct Walk
{
	int ndim, dim[NN_MAX_DIMS];
	size_t step[NN_MAX_DIMS], size;
};

template <class T>
static void
permute(const Call<T> *call, bool backward)
{
	const NnShape *in = shape_in(call, 0), *out = &call->node->shape;
	size_t step[NN_MAX_DIMS];
	const T *from = backward ? call->grad_out : call->in[0];
	T *to = backward ? call->grad_in[0] : call->out;
	bool add = call->add[0];
	Walk w;

	memset(&w, 0, sizeof(w));
	w.ndim = out->ndim;
	w.size = nn_shape_size(out);
	step[in->ndim - 1] = 1;
	for (int i = in->ndim - 2; i >= 0; i--)
		step[i] = step[i + 1] * (size_t) in->dim[i + 1];
	for (int i = 0; i < out->ndim; i++)
	{
		w.dim[i] = out->dim[i];
		w.step[i] = step[call->node->perm[i]];
	}
	if (!to)
		return;
	each(call->m, count_of(call),
		 [=] ON_GPU(size_t i)
		 {
			 size_t rest = i % w.size, at = i / w.size * w.size;

			 for (int d = w.ndim - 1; d >= 0; d--)
			 {
				 at += rest % (size_t) w.dim[d] * w.step[d];
				 rest /= (size_t) w.dim[d];
			 }
			 if (backward)
				 give(&to[at], from[i], add);
			 else
				 to[i] = from[at];
		 });
}

/* A parameter that every picture gets: its gradient is the sum over pictures. */
template <class T>
static void
shared_backward(const Call<T> *call, size_t row, int size)
{
	const T *dy = call->grad_out;
	float *grad = call->grad_param[0];

	if (grad)
		column_sums(
			call->m, (size_t) call->n, size,
			[=] ON_GPU(size_t r, int c) { return (float) dy[r * row + c]; },
			[=] ON_GPU(int c, double sum) { grad[c] += (float) sum; });
}

template <class T>
static void
class_token(const Call<T> *call, bool backward)
{
	size_t size = nn_shape_size(&call->node->shape), n = (size_t) call->n;
	int dim = cols_of(&call->node->shape);
	const float *value = call->param[0];
	T *y = call->out;

	if (backward)
	{
		shared_backward(call, size, dim);
		if (call->grad_in[0])
			get_part(call->m, call->grad_out, size, dim, call->grad_in[0], size - dim, n,
					 call->add[0]);
		return;
	}
	each(call->m, n * dim,
		 [=] ON_GPU(size_t i) { y[i / dim * size + i % dim] = value[i % dim]; });
	put_part(call->m, call->in[0], size - dim, y, size, dim, n, false);
}

template <class T>
static void
position(const Call<T> *call, bool backward)
{
	size_t size = nn_shape_size(&call->node->shape);
	const float *value = call->param[0];
	const T *x = call->in[0];
	T *y = call->out;

	if (backward)
	{
		shared_backward(call, size, (int) size);
		copy(call->m, call->grad_out, call->grad_in[0], count_of(call), 1, call->add[0]);
	}
	else
		each(call->m, count_of(call),
			 [=] ON_GPU(size_t i) { y[i] = (float) x[i] + value[i % size]; });
}

/* The row that a value names; what is none names the nearest there is. */
static inline ON_BOTH int
row_named(float value, int rows)
{
	if (!(value >= 0.5f))
		return 0;
	return value >= (float) rows - 0.5f ? rows - 1 : (int) (value + 0.5f);
}

template <class T>
static void
embedding(const Call<T> *call, bool backward)
{
	size_t width = (size_t) call->node->channels, n = count_of(call) / width;
	int rows = call->node->rows;
	const float *table = call->param[0];
	float *grad = call->grad_param[0];
	const T *x = call->in[0], *dy = call->grad_out;
	T *y = call->out;

	if (!backward)
		each(call->m, n * width,
			 [=] ON_GPU(size_t i)
			 { y[i] = table[row_named(x[i / width], rows) * width + i % width]; });
	if (backward && call->grad_in[0] && !call->add[0])
		clear(call->m, call->grad_in[0], n);
	if (backward && grad)
		each(call->m, rows * width,
			 [=] ON_GPU(size_t i)
			 {
				 float sum = 0;

				 for (size_t k = 0; k < n; k++)
					 if ((size_t) row_named(x[k], rows) == i / width)
						 sum += (float) dy[k * width + i % width];
				 grad[i] += sum;
			 });
}

#endif
