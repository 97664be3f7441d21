/*
 * window_backward.c
 *	  Gradients of attention in windows: those of attention (attention_backward.c), and
 *	  dS, without the scale, is that of the bias.
 */
#include <cblas.h>
#include <math.h>

#include "nn/backward.h"
#include "nn/window.h"

/* Rows of q, k, v, their gradients, those of the output, and dS. */
size_t
nn_window_attention_backward_scratch(const NnGraph *g, const NnNode *node, int n,
									 int threads)
{
	NnWindows s = nn_windows(node);
	size_t places = (size_t) s.places;

	(void) g;
	(void) n;
	(void) threads;
	return places * 7 * (size_t) s.channels + places * places;
}

static void
head_backward(const NnCall *call, const NnWindows *s, int head, const float *p,
			  const float *qkv, const float *dout, float *dqkv, float *ds)
{
	int n = s->places, c = s->channels, row = 3 * c, d = s->depth;
	float scale = 1 / sqrtf((float) d);
	const float *q = qkv + head * d, *dy = dout + head * d;
	float *dq = dqkv + head * d;

	cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, d, n, 1, p, n, dy, c, 0,
				dq + 2 * c, row);
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, d, 1, dy, c, q + 2 * c,
				row, 0, ds, n);
	/* unscaled, because the bias is added to the scaled products */
	nn_kernels()->softmax_backward(p, ds, ds, (size_t) n, n, 1, false);
	for (int a = 0; call->grad_param[0] && a < n; a++)
		for (int b = 0; b < n; b++)
			call->grad_param[0][(size_t) nn_window_bias(s, a, b) * s->heads + head] +=
				ds[a * n + b];
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, d, n, scale, ds, n, q + c,
				row, 0, dq, row);
	cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, d, n, scale, ds, n, q, row, 0,
				dq + c, row);
}

void
nn_window_attention_backward(const NnCall *call)
{
	NnWindows s = nn_windows(call->node);
	size_t size = nn_shape_size(&call->node->shape), n = (size_t) s.places;
	int windows = s.down * s.across, row = 3 * s.channels;
	float *qkv = call->scratch, *dqkv = qkv + n * row, *dout = dqkv + n * row;
	float *ds = dout + n * s.channels;

	if (!call->grad_in[0] && !call->grad_param[0])
		return;
	for (int item = 0; item < call->n * windows; item++)
	{
		size_t picture = (size_t) (item / windows);
		int w = item % windows;

		nn_window_gather(&s, w, call->in[0] + picture * 3 * size, row, qkv);
		nn_window_gather(&s, w, call->grad_out + picture * size, s.channels, dout);
		for (int head = 0; head < s.heads; head++)
			head_backward(call, &s, head,
						  call->saved + ((size_t) item * s.heads + head) * n * n, qkv,
						  dout, dqkv, ds);
		if (call->grad_in[0])
			nn_window_scatter(&s, w, dqkv, row, call->grad_in[0] + picture * 3 * size,
							  call->add_grad_in[0]);
	}
}
