/*
 * gate_backward.c
 *	  Gradients of products, LayerScale, SimAM, dropout and the sample of a code.
 */
#include <math.h>
#include <string.h>

#include "nn/backward.h"
#include "nn/gate.h"

void
nn_mul_backward(const NnCall *call)
{
	size_t n = (size_t) call->n * nn_shape_size(&call->node->shape);

	for (int k = 0; k < 2; k++)
	{
		const float *other = call->in[1 - k];
		float *dx = call->grad_in[k];

		if (dx && call->add_grad_in[k])
			nn_kernels()->multiply_add(call->grad_out, other, dx, n);
		else if (dx)
			nn_kernels()->multiply(call->grad_out, other, dx, n);
	}
}

void
nn_layerscale_backward(const NnCall *call)
{
	size_t cols = (size_t) nn_shape_cols(&call->node->shape);
	size_t n = (size_t) call->n * nn_shape_size(&call->node->shape);
	const NnKernels *kernels = nn_kernels();
	float *dx = call->grad_in[0];

	for (size_t r = 0; r < n; r += cols)
	{
		const float *dy = call->grad_out + r;

		if (call->grad_param[0])
			kernels->multiply_add(dy, call->in[0] + r, call->grad_param[0], cols);
		if (dx && call->add_grad_in[0])
			kernels->multiply_add(dy, call->param[0], dx + r, cols);
		else if (dx)
			kernels->multiply(dy, call->param[0], dx + r, cols);
	}
}

size_t
nn_simam_backward_scratch(const NnGraph *g, const NnNode *node, int n, int threads)
{
	(void) g;
	(void) n;
	(void) threads;
	return nn_simam_floats(nn_shape_cols(&node->shape));
}

/*
 * With s = 1 / (4 (v + lambda)), so that ds/dx = -8 s^2 d / (HW - 1), and e = dy x gate':
 * dx = dy gate + q - mean(q), q = 2 s e d - 8 s^2 d / (HW - 1) sum(e d^2).  The second
 * term of q has mean 0, as d has.
 */
void
nn_simam_backward(const NnCall *call)
{
	int channels = nn_shape_cols(&call->node->shape);
	size_t size = nn_shape_size(&call->node->shape), places = size / (size_t) channels;
	double degrees = places > 1 ? (double) places - 1 : 1;
	NnSimam m = nn_simam_room(call->scratch, channels);
	const NnKernels *kernels = nn_kernels();

	for (int i = 0; call->grad_in[0] && i < call->n; i++)
	{
		const float *x = call->in[0] + (size_t) i * size;
		const float *dy = call->grad_out + (size_t) i * size;

		nn_simam_moments(x, places, channels, call->node->eps, &m);
		memset(m.sum, 0, 2 * (size_t) channels * sizeof(double));
		kernels->simam_sums(x, dy, places, channels, m.mean, m.share, m.sum,
							m.sum + channels);
		for (int c = 0; c < channels; c++)
		{
			double s = (double) m.share[c];

			m.slope[c] = (float) (8 * s * s / degrees * m.sum[c]);
			m.shift[c] = (float) (2 * s * m.sum[channels + c] / (double) places);
		}
		kernels->simam_backward(x, dy, call->grad_in[0] + (size_t) i * size, places,
								channels, m.mean, m.share, m.slope, m.shift,
								call->add_grad_in[0]);
	}
}

void
nn_dropout_backward(const NnCall *call)
{
	size_t size = nn_shape_size(&call->node->shape);

	for (int i = 0; call->grad_in[0] && i < call->n; i++)
		nn_dropout_apply(call, i, call->grad_out + (size_t) i * size,
						 call->grad_in[0] + (size_t) i * size, call->add_grad_in[0]);
}

/* z = mu + e^(lv/2) eps: dmu = dz, dlv = dz eps e^(lv/2) / 2 */
void
nn_reparameterise_backward(const NnCall *call)
{
	size_t size = nn_shape_size(&call->node->shape);

	if (call->grad_in[0])
		nn_give(call->grad_in[0], call->grad_out, (size_t) call->n * size,
				call->add_grad_in[0]);
	for (int i = 0; call->grad_in[1] && i < call->n; i++)
		for (size_t k = 0; k < size; k++)
		{
			size_t at = (size_t) i * size + k;
			float d = call->grad_out[at] * nn_reparameterise_noise(call, i, k) * 0.5f *
					  expf(0.5f * call->in[1][at]);

			call->grad_in[1][at] =
				(call->add_grad_in[1] ? call->grad_in[1][at] : 0.0f) + d;
		}
}
