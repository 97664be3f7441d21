/*
 * op_window.c
 *	  Attention in shifted windows (Liu et al., "Swin Transformer", ICCV 2021, section
 *	  3.2): per head softmax(q k^T / sqrt(depth) + bias by relative position) v.
 */
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "nn/kernels.h"
#include "nn/ops.h"
#include "nn/window.h"

#define APART -100.0f /* added where two places must not meet */

NnWindows
nn_windows(const NnNode *node)
{
	NnWindows s = {.height = node->shape.dim[0],
				   .width = node->shape.dim[1],
				   .channels = node->shape.dim[2],
				   .heads = node->heads,
				   .window = node->window,
				   .shift = node->shift};

	s.depth = s.channels / s.heads;
	s.places = s.window * s.window;
	s.down = s.height / s.window;
	s.across = s.width / s.window;
	return s;
}

/* Row and column after the shift. */
static void
shifted(const NnWindows *s, int w, int p, int *y, int *x)
{
	*y = w / s->across * s->window + p / s->window;
	*x = w % s->across * s->window + p % s->window;
}

int
nn_window_place(const NnWindows *s, int w, int p)
{
	int y, x;

	shifted(s, w, p, &y, &x);
	return (y + s->shift) % s->height * s->width + (x + s->shift) % s->width;
}

static int
part(int at, int size, const NnWindows *s)
{
	return at < size - s->window ? 0 : at < size - s->shift ? 1 : 2;
}

int
nn_window_region(const NnWindows *s, int w, int p)
{
	int y, x;

	if (s->shift == 0)
		return 0;
	shifted(s, w, p, &y, &x);
	return part(y, s->height, s) * 3 + part(x, s->width, s);
}

int
nn_window_bias(const NnWindows *s, int p, int q)
{
	int dy = p / s->window - q / s->window + s->window - 1;
	int dx = p % s->window - q % s->window + s->window - 1;

	return dy * (2 * s->window - 1) + dx;
}

void
nn_window_gather(const NnWindows *s, int w, const float *map, int row, float *to)
{
	for (int p = 0; p < s->places; p++)
		memcpy(to + (size_t) p * row, map + (size_t) nn_window_place(s, w, p) * row,
			   (size_t) row * sizeof(float));
}

void
nn_window_scatter(const NnWindows *s, int w, const float *from, int row, float *map,
				  bool add)
{
	for (int p = 0; p < s->places; p++)
	{
		float *to = map + (size_t) nn_window_place(s, w, p) * row;

		if (add)
			for (int c = 0; c < row; c++)
				to[c] += from[(size_t) p * row + c];
		else
			memcpy(to, from + (size_t) p * row, (size_t) row * sizeof(float));
	}
}

/* Scores of one head: scaled products, bias and what lies apart. */
static void
add_bias(const NnWindows *s, int w, int head, const float *table, float *score)
{
	for (int p = 0; p < s->places; p++)
		for (int q = 0; q < s->places; q++)
		{
			float *to = &score[p * s->places + q];

			*to += table[(size_t) nn_window_bias(s, p, q) * s->heads + head];
			if (nn_window_region(s, w, p) != nn_window_region(s, w, q))
				*to += APART;
		}
}

static void
window_head(const NnCall *call, const NnWindows *s, int w, int head, const float *qkv,
			float *score, float *out)
{
	int n = s->places, row = 3 * s->channels, c = s->channels;
	const float *q = qkv + head * s->depth;

	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, s->depth,
				1.0f / sqrtf((float) s->depth), q, row, q + c, row, 0.0f, score, n);
	add_bias(s, w, head, call->param[0], score);
	nn_kernels()->softmax(score, score, (size_t) n, n, 1.0f);
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, s->depth, n, 1.0f, score, n,
				q + 2 * c, row, 0.0f, out + head * s->depth, c);
}

/* Floats of one thread: rows of q, k, v; of the output; scores. */
static size_t
room(const NnWindows *s)
{
	size_t n = (size_t) s->places;

	return (n * 4 * (size_t) s->channels + n * n + 15) & ~(size_t) 15;
}

/* Items are windows, counted over the batch. */
static void
window_part(void *arg, int begin, int end, int thread)
{
	const NnCall *call = arg;
	NnWindows s = nn_windows(call->node);
	int windows = s.down * s.across, n = s.places;
	size_t size = nn_shape_size(&call->node->shape);
	float *qkv = call->scratch + (size_t) thread * room(&s);
	float *out = qkv + (size_t) n * 3 * s.channels;
	float *score = out + (size_t) n * s.channels;

	for (int item = begin; item < end; item++)
	{
		size_t picture = (size_t) (item / windows);
		int w = item % windows;

		nn_window_gather(&s, w, call->in[0] + picture * 3 * size, 3 * s.channels, qkv);
		for (int head = 0; head < s.heads; head++)
			window_head(call, &s, w, head, qkv,
						call->saved ? call->saved + ((size_t) item * s.heads + head) *
														(size_t) n * n
									: score,
						out);
		nn_window_scatter(&s, w, out, s.channels, call->out + picture * size, false);
	}
}

void
nn_window_attention_forward(const NnCall *call)
{
	NnWindows s = nn_windows(call->node);

	nn_parallel(call->pool, call->n * s.down * s.across, window_part, (void *) call);
}

size_t
nn_window_attention_scratch(const NnGraph *g, const NnNode *node, int n, int threads)
{
	NnWindows s = nn_windows(node);

	(void) g;
	(void) n;
	return (size_t) threads * room(&s);
}

size_t
nn_window_attention_saved(const NnGraph *g, const NnNode *node, int n)
{
	NnWindows s = nn_windows(node);

	(void) g;
	return (size_t) n * (size_t) (s.down * s.across) * (size_t) s.heads *
		   (size_t) s.places * (size_t) s.places;
}
