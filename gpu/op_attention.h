/*
 * op_attention.h
 *	  Attention over tokens, and in shifted windows of a map.
 *
 * Both are `groups` independent lots of tokens, [groups][tokens][3 width] to
 * [groups][tokens][width]; probabilities are [heads][groups][tokens][tokens].  Windows
 * are gathered into such lots first (geometry: src/nn/window.h).
 */
#ifndef GPU_OP_ATTENTION_H
#define GPU_OP_ATTENTION_H

#include "gpu/op_norm.h"
#include "gpu/product.h"

#define APART -100.0f /* added where two places must not meet */

struct Lots
{
	int groups, tokens, width, heads, depth;
	/* windows */
	int height, across_map, window, shift, down, across; /* window 0: none */
	long long square;
};

static inline Lots
lots_of(const NnNode *node, int n)
{
	Lots s;

	memset(&s, 0, sizeof(s));
	s.heads = node->heads;
	if (node->kind == NN_ATTENTION)
	{
		s.groups = n;
		s.tokens = node->shape.dim[0];
		s.width = node->shape.dim[1];
	}
	else
	{
		s.height = node->shape.dim[0];
		s.across_map = node->shape.dim[1];
		s.width = node->shape.dim[2];
		s.window = node->window;
		s.shift = node->shift;
		s.down = s.height / s.window;
		s.across = s.across_map / s.window;
		s.groups = n * s.down * s.across;
		s.tokens = s.window * s.window;
	}
	s.depth = s.width / s.heads;
	s.square = (long long) s.tokens * s.tokens;
	return s;
}

static inline size_t
probabilities(const Lots &s)
{
	return (size_t) s.heads * s.groups * s.square;
}

/* Row of the map (over all pictures) for token p of a lot. */
static inline ON_BOTH size_t
window_place(const Lots &s, int lot, int p)
{
	int w = lot % (s.down * s.across), picture = lot / (s.down * s.across);
	int y = (w / s.across * s.window + p / s.window + s.shift) % s.height;
	int x = (w % s.across * s.window + p % s.window + s.shift) % s.across_map;

	return ((size_t) picture * s.height + y) * s.across_map + x;
}

static inline ON_BOTH int
window_part(const Lots &s, int at, int size)
{
	return at < size - s.window ? 0 : at < size - s.shift ? 1 : 2;
}

static inline ON_BOTH int
window_region(const Lots &s, int lot, int p)
{
	int w = lot % (s.down * s.across);

	if (s.shift == 0)
		return 0;
	return window_part(s, w / s.across * s.window + p / s.window, s.height) * 3 +
		   window_part(s, w % s.across * s.window + p % s.window, s.across_map);
}

static inline ON_BOTH int
window_bias(const Lots &s, int p, int q)
{
	int dy = p / s.window - q / s.window + s.window - 1;
	int dx = p % s.window - q % s.window + s.window - 1;

	return dy * (2 * s.window - 1) + dx;
}

/* Rows of `row` values between the map and lots. */
template <class T>
static void
window_gather(Machine *m, const Lots &s, const T *map, int row, T *lots)
{
	each(m, (size_t) s.groups * s.tokens * row,
		 [=] ON_GPU(size_t i)
		 {
			 size_t token = i / (size_t) row;

			 lots[i] =
				 map[window_place(s, (int) (token / s.tokens), (int) (token % s.tokens)) *
						 row +
					 i % (size_t) row];
		 });
}

template <class T>
static void
window_scatter(Machine *m, const Lots &s, const T *lots, int row, T *map, bool add)
{
	each(
		m, (size_t) s.groups * s.tokens * row,
		[=] ON_GPU(size_t i)
		{
			size_t token = i / (size_t) row;

			give(
				&map[window_place(s, (int) (token / s.tokens), (int) (token % s.tokens)) *
						 row +
					 i % (size_t) row],
				lots[i], add);
		});
}

/* score += bias, less where two places must not meet */
template <class T>
static void
window_scores(Machine *m, const Lots &s, const float *table, T *score)
{
	each(m, probabilities(s),
		 [=] ON_GPU(size_t i)
		 {
			 int q = (int) (i % (size_t) s.tokens);
			 int p = (int) (i / (size_t) s.tokens % (size_t) s.tokens);
			 size_t at = i / (size_t) s.square;
			 int lot = (int) (at % (size_t) s.groups),
				 head = (int) (at / (size_t) s.groups);
			 float v =
				 (float) score[i] + table[(size_t) window_bias(s, p, q) * s.heads + head];

			 if (window_region(s, lot, p) != window_region(s, lot, q))
				 v += APART;
			 score[i] = v;
		 });
}

/* The product scales: q k alone would come close to where fp16 ends. */
template <class T>
static void
probabilities_of(Machine *m, const Lots &s, const T *qkv, const float *table, T *p)
{
	int row = 3 * s.width;
	long long step = (long long) s.tokens * row;
	float factor = 1.0f / sqrtf((float) s.depth);

	for (int h = 0; h < s.heads; h++)
	{
		const T *q = qkv + h * s.depth;

		gemm<T, T>(
			m, s.tokens, s.tokens, s.depth, factor, matrix<const T>(q, row, false, step),
			matrix<const T>(q + s.width, row, true, step), 0,
			matrix<T>(p + h * s.groups * s.square, s.tokens, false, s.square), s.groups);
	}
	if (s.window)
		window_scores(m, s, table, p);
	softmax_rows(m, (const T *) p, p, (size_t) s.heads * s.groups * s.tokens, s.tokens);
}

template <class T>
static void
attention_forward(const Call<T> *call)
{
	Machine *m = call->m;
	Lots s = lots_of(call->node, call->n);
	int row = 3 * s.width;
	long long step = (long long) s.tokens * s.width;
	const T *qkv = call->in[0];
	T *p = (T *) call->saved, *out = call->out;

	if (p == NULL)
		p = take<T>(m, probabilities(s));
	if (s.window)
	{
		T *lots = take<T>(m, (size_t) s.groups * s.tokens * row);

		window_gather(m, s, qkv, row, lots);
		qkv = lots;
		out = take<T>(m, (size_t) s.groups * step);
	}
	probabilities_of(m, s, qkv, call->param[0], p);
	for (int h = 0; h < s.heads; h++)
		gemm<T, T>(
			m, s.tokens, s.depth, s.tokens, 1,
			matrix<const T>(p + h * s.groups * s.square, s.tokens, false, s.square),
			matrix<const T>(qkv + 2 * s.width + h * s.depth, row, false, 3 * step), 0,
			matrix<T>(out + h * s.depth, s.width, false, step), s.groups);
	if (s.window)
		window_scatter(m, s, (const T *) out, s.width, call->out, false);
}

/* Pairs of places that lie alike share an entry of the table. */
template <class T>
static void
table_backward(Machine *m, const Lots &s, const T *ds, float *grad)
{
	int side = 2 * s.window - 1;

	column_sums(
		m, s.groups, side * side * s.heads,
		[=] ON_GPU(size_t lot, int col)
		{
			int head = col % s.heads, at = col / s.heads;
			int dy = at / side - s.window + 1, dx = at % side - s.window + 1;
			const T *from = ds + ((size_t) head * s.groups + lot) * s.square;
			float sum = 0;

			for (int p = 0; p < s.tokens; p++)
			{
				int y = p / s.window - dy, x = p % s.window - dx;

				if (y >= 0 && y < s.window && x >= 0 && x < s.window)
					sum += (float) from[p * s.tokens + y * s.window + x];
			}
			return sum;
		},
		[=] ON_GPU(int col, double sum) { grad[col] += (float) sum; });
}

template <class T>
static void
attention_backward(const Call<T> *call)
{
	Machine *m = call->m;
	Lots s = lots_of(call->node, call->n);
	int row = 3 * s.width;
	long long step = (long long) s.tokens * s.width;
	float factor = 1.0f / sqrtf((float) s.depth), beta = call->add[0] ? 1 : 0;
	const T *qkv = call->in[0], *dout = call->grad_out;
	T *dqkv = call->grad_in[0], *p = (T *) call->saved;
	T *ds = take<T>(m, probabilities(s));

	if (s.window)
	{
		T *lots = take<T>(m, (size_t) s.groups * step * 3);
		T *grads = take<T>(m, (size_t) s.groups * step);

		window_gather(m, s, qkv, row, lots);
		window_gather(m, s, dout, s.width, grads);
		qkv = lots;
		dout = grads;
		dqkv = take<T>(m, (size_t) s.groups * step * 3);
		beta = 0;
	}
	if (p == NULL)
	{
		p = take<T>(m, probabilities(s));
		probabilities_of(m, s, qkv, call->param[0], p);
	}
	for (int h = 0; h < s.heads; h++)
	{
		size_t at = (size_t) h * s.groups * s.square;
		Matrix<const T> dy = matrix<const T>(dout + h * s.depth, s.width, false, step);

		if (call->grad_in[0])
			gemm<T, T>(m, s.tokens, s.depth, s.tokens, 1,
					   matrix<const T>(p + at, s.tokens, true, s.square), dy, beta,
					   matrix<T>(dqkv + 2 * s.width + h * s.depth, row, false, 3 * step),
					   s.groups);
		gemm<T, T>(m, s.tokens, s.tokens, s.depth, 1, dy,
				   matrix<const T>(qkv + 2 * s.width + h * s.depth, row, true, 3 * step),
				   0, matrix<T>(ds + at, s.tokens, false, s.square), s.groups);
	}
	softmax_rows_backward(m, (const T *) p, (const T *) ds, ds,
						  (size_t) s.heads * s.groups * s.tokens, s.tokens, false);
	if (s.window && call->grad_param[0])
		table_backward(m, s, (const T *) ds, call->grad_param[0]);
	if (!call->grad_in[0])
		return;
	for (int h = 0; h < s.heads; h++)
	{
		size_t at = (size_t) h * s.groups * s.square;
		const T *q = qkv + h * s.depth;
		T *dq = dqkv + h * s.depth;

		gemm<T, T>(m, s.tokens, s.depth, s.tokens, factor,
				   matrix<const T>(ds + at, s.tokens, false, s.square),
				   matrix<const T>(q + s.width, row, false, 3 * step), beta,
				   matrix<T>(dq, row, false, 3 * step), s.groups);
		gemm<T, T>(m, s.tokens, s.depth, s.tokens, factor,
				   matrix<const T>(ds + at, s.tokens, true, s.square),
				   matrix<const T>(q, row, false, 3 * step), beta,
				   matrix<T>(dq + s.width, row, false, 3 * step), s.groups);
	}
	if (s.window)
		window_scatter(m, s, (const T *) dqkv, row, call->grad_in[0], call->add[0]);
}

#endif
