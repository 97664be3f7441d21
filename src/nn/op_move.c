/*
 * op_move.c
 *	  Operations that move values: concatenation, slices, permutation, larger maps, sums
 *	  over an axis.
 *
 * Each is a loop over pictures; within one, runs of memory as long as they get.
 */
#include <string.h>

#include "nn/move.h"
#include "nn/ops.h"

NnSplit
nn_split(const NnShape *shape, int axis)
{
	NnSplit split = {1, (size_t) shape->dim[axis], 1};

	for (int i = 0; i < axis; i++)
		split.outer *= (size_t) shape->dim[i];
	for (int i = axis + 1; i < shape->ndim; i++)
		split.inner *= (size_t) shape->dim[i];
	return split;
}

static void
concat_part(void *arg, int begin, int end, int thread)
{
	const NnCall *call = arg;
	const NnNode *node = call->node;
	NnSplit all = nn_split(&node->shape, node->axis);
	size_t row = all.length * all.inner;

	(void) thread;
	for (int i = begin; i < end; i++)
	{
		float *to = call->out + (size_t) i * all.outer * row;

		for (int k = 0; k < node->ninputs; k++)
		{
			NnSplit part = nn_split(nn_input_shape(call->graph, node, k), node->axis);
			size_t run = part.length * part.inner;
			const float *from = call->in[k] + (size_t) i * part.outer * run;

			for (size_t o = 0; o < all.outer; o++)
				memcpy(to + o * row, from + o * run, run * sizeof(float));
			to += run;
		}
	}
}

void
nn_concat_forward(const NnCall *call)
{
	nn_parallel(call->pool, call->n, concat_part, (void *) call);
}

static void
slice_part(void *arg, int begin, int end, int thread)
{
	const NnCall *call = arg;
	const NnNode *node = call->node;
	NnSplit all = nn_split(nn_input_shape(call->graph, node, 0), node->axis);
	size_t run = (size_t) node->channels * all.inner, row = all.length * all.inner;

	(void) thread;
	for (int i = begin; i < end; i++)
		for (size_t o = 0; o < all.outer; o++)
			memcpy(call->out + ((size_t) i * all.outer + o) * run,
				   call->in[0] + ((size_t) i * all.outer + o) * row +
					   (size_t) node->index * all.inner,
				   run * sizeof(float));
}

void
nn_slice_forward(const NnCall *call)
{
	nn_parallel(call->pool, call->n, slice_part, (void *) call);
}

/* ---------------------------------------------------------------- permutation */

NnWalk
nn_walk_new(const NnShape *in, const NnShape *out, const int *perm)
{
	NnWalk walk = {.ndim = out->ndim};
	size_t step[NN_MAX_DIMS];

	step[in->ndim - 1] = 1;
	for (int i = in->ndim - 2; i >= 0; i--)
		step[i] = step[i + 1] * (size_t) in->dim[i + 1];
	for (int i = 0; i < out->ndim; i++)
	{
		walk.dim[i] = out->dim[i];
		walk.step[i] = step[perm[i]];
	}
	return walk;
}

size_t
nn_walk_next(NnWalk *walk)
{
	for (int i = walk->ndim - 2; i >= 0; i--)
	{
		walk->from += walk->step[i];
		if (++walk->at[i] < walk->dim[i])
			return walk->from;
		walk->from -= walk->step[i] * (size_t) walk->dim[i];
		walk->at[i] = 0;
	}
	return walk->from;
}

static void
permute_part(void *arg, int begin, int end, int thread)
{
	const NnCall *call = arg;
	const NnShape *in = nn_input_shape(call->graph, call->node, 0);
	size_t size = nn_shape_size(in);
	int run = nn_shape_cols(&call->node->shape);

	(void) thread;
	for (int i = begin; i < end; i++)
	{
		NnWalk walk = nn_walk_new(in, &call->node->shape, call->node->perm);
		const float *from = call->in[0] + (size_t) i * size;
		float *to = call->out + (size_t) i * size;
		size_t step = walk.step[walk.ndim - 1];

		for (size_t r = 0; r < size; r += (size_t) run, nn_walk_next(&walk))
			if (step == 1)
				memcpy(to + r, from + walk.from, (size_t) run * sizeof(float));
			else
				for (int c = 0; c < run; c++)
					to[r + (size_t) c] = from[walk.from + (size_t) c * step];
	}
}

void
nn_permute_forward(const NnCall *call)
{
	nn_parallel(call->pool, call->n, permute_part, (void *) call);
}

/* ----------------------------------------------------------------- larger maps */

NnTap
nn_upsample_tap(const NnNode *node, int at, int size)
{
	NnTap tap = {at / node->factor, at / node->factor, 0};
	float where = ((float) at + 0.5f) / (float) node->factor - 0.5f;

	if (!node->bilinear)
		return tap;
	where = where < 0 ? 0 : where;
	tap.low = (int) where;
	tap.high = tap.low + 1 < size ? tap.low + 1 : tap.low;
	tap.weight = where - (float) tap.low;
	return tap;
}

/* Item: a row of the output. */
static void
upsample_part(void *arg, int begin, int end, int thread)
{
	const NnCall *call = arg;
	const NnNode *node = call->node;
	const NnShape *in = nn_input_shape(call->graph, node, 0);
	int height = node->shape.dim[0], width = node->shape.dim[1];
	size_t c = (size_t) in->dim[2], row = (size_t) in->dim[1] * c;

	(void) thread;
	for (int item = begin; item < end; item++)
	{
		const float *x = call->in[0] + (size_t) (item / height) * nn_shape_size(in);
		NnTap v = nn_upsample_tap(node, item % height, in->dim[0]);
		float *y = call->out + (size_t) item * (size_t) width * c;

		for (int col = 0; col < width; col++, y += c)
		{
			NnTap h = nn_upsample_tap(node, col, in->dim[1]);
			const float *a = x + (size_t) v.low * row + (size_t) h.low * c;
			const float *b = x + (size_t) v.low * row + (size_t) h.high * c;
			const float *d = x + (size_t) v.high * row + (size_t) h.low * c;
			const float *e = x + (size_t) v.high * row + (size_t) h.high * c;

			if (!node->bilinear)
				memcpy(y, a, c * sizeof(float));
			else
				for (size_t k = 0; k < c; k++)
				{
					float top = a[k] + h.weight * (b[k] - a[k]);
					float low = d[k] + h.weight * (e[k] - d[k]);

					y[k] = top + v.weight * (low - top);
				}
		}
	}
}

void
nn_upsample_forward(const NnCall *call)
{
	nn_parallel(call->pool, call->n * call->node->shape.dim[0], upsample_part,
				(void *) call);
}

/* ------------------------------------------------------------------ reductions */

static void
reduce_part(void *arg, int begin, int end, int thread)
{
	const NnCall *call = arg;
	NnSplit s = nn_split(nn_input_shape(call->graph, call->node, 0), call->node->axis);
	float factor = call->node->mean_of ? 1.0f / (float) s.length : 1.0f;

	(void) thread;
	for (size_t i = (size_t) begin * s.outer; i < (size_t) end * s.outer; i++)
	{
		const float *x = call->in[0] + i * s.length * s.inner;
		float *y = call->out + i * s.inner;

		memcpy(y, x, s.inner * sizeof(float));
		for (size_t l = 1; l < s.length; l++)
			for (size_t k = 0; k < s.inner; k++)
				y[k] += x[l * s.inner + k];
		for (size_t k = 0; k < s.inner; k++)
			y[k] *= factor;
	}
}

void
nn_reduce_forward(const NnCall *call)
{
	nn_parallel(call->pool, call->n, reduce_part, (void *) call);
}
