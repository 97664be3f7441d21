/*
 * attention_backward.c
 *	  Gradients of multi-head self-attention over fused q, k, v ([T][3D]).
 *
 * Per head of width d, with P = softmax(Q Kt / sqrt(d)) saved by the forward pass and
 * O = P V: dV = Pt dO, dP = dO Vt, dS = P (dP - rowsum(dP P)) / sqrt(d),
 * dQ = dS K, dK = dSt Q.
 */
#include "nn/backward.h"

#include <cblas.h>
#include <math.h>

size_t
nn_attention_backward_scratch(const NnGraph *g, const NnNode *node, int n, int threads)
{
	size_t tokens = node->shape.dim[0];

	(void) g;
	(void) n;
	(void) threads;
	return tokens * tokens;
}

void
nn_attention_backward(const NnCall *call)
{
	int tokens = call->node->shape.dim[0];
	int width = call->node->shape.dim[1];
	int heads = call->node->heads;
	int d = width / heads;
	int row = 3 * width;
	float beta = call->add_grad_in[0] ? 1 : 0;
	float *ds = call->scratch;

	if (!call->grad_in[0])
		return;
	for (int i = 0; i < call->n; i++)
		for (int h = 0; h < heads; h++)
		{
			const float *q = call->in[0] + (size_t) i * tokens * row + h * d;
			const float *p =
				call->saved + ((size_t) i * heads + h) * tokens * (size_t) tokens;
			const float *dout = call->grad_out + (size_t) i * tokens * width + h * d;
			float *dq = call->grad_in[0] + (size_t) i * tokens * row + h * d;

			cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, tokens, d, tokens, 1, p,
						tokens, dout, width, beta, dq + 2 * width, row);
			cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, tokens, tokens, d, 1,
						dout, width, q + 2 * width, row, 0, ds, tokens);
			nn_kernels()->softmax_backward(p, ds, ds, (size_t) tokens, tokens,
										   1 / sqrtf((float) d), false);
			cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, tokens, d, tokens, 1,
						ds, tokens, q + width, row, beta, dq, row);
			cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, tokens, d, tokens, 1, ds,
						tokens, q, row, beta, dq + width, row);
		}
}
