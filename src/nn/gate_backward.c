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
		float *dx = call->grad_in[k];

		for (size_t i = 0; dx && i < n; i++)
			dx[i] = (call->add_grad_in[k] ? dx[i] : 0.0f) +
					call->grad_out[i] * call->in[1 - k][i];
	}
}

void
nn_layerscale_backward(const NnCall *call)
{
	size_t cols = (size_t) nn_shape_cols(&call->node->shape);
	size_t n = (size_t) call->n * nn_shape_size(&call->node->shape);
	float *dx = call->grad_in[0];

	for (size_t r = 0; r < n; r += cols)
		for (size_t c = 0; c < cols; c++)
		{
			float dy = call->grad_out[r + c];

			if (call->grad_param[0])
				call->grad_param[0][c] += dy * call->in[0][r + c];
			if (dx)
				dx[r + c] =
					(call->add_grad_in[0] ? dx[r + c] : 0.0f) + dy * call->param[0][c];
		}
}

size_t
nn_simam_backward_scratch(const NnGraph *g, const NnNode *node, int n, int threads)
{
	(void) g;
	(void) n;
	(void) threads;
	return 8 * (size_t) nn_shape_cols(&node->shape);
}

/* What one value gives: its gate, and e = dy x gate'. */
typedef struct Gate
{
	double d, gate, e;
} Gate;

static Gate
gate_at(double x, double dy, double mean, double den)
{
	Gate g = {.d = x - mean};

	g.gate = 1 / (1 + exp(-(g.d * g.d / den + 0.5)));
	g.e = dy * x * g.gate * (1 - g.gate);
	return g;
}

/*
 * With den = 4 (v + lambda) and q = 2 e d / den - 8 d / (HW - 1) sum(e d^2) / den^2:
 * dx = dy gate + q - mean(q).
 */
void
nn_simam_backward(const NnCall *call)
{
	int channels = nn_shape_cols(&call->node->shape);
	size_t size = nn_shape_size(&call->node->shape), places = size / (size_t) channels;
	double degrees = places > 1 ? (double) places - 1 : 1;
	double *mean = (double *) call->scratch, *var = mean + channels;
	double *sum = var + channels, *mean_q = sum + channels;

	for (int i = 0; call->grad_in[0] && i < call->n; i++)
	{
		const float *x = call->in[0] + (size_t) i * size;
		const float *dy = call->grad_out + (size_t) i * size;
		float *dx = call->grad_in[0] + (size_t) i * size;

		nn_simam_moments(x, places, channels, mean, var);
		memset(sum, 0, 2 * (size_t) channels * sizeof(double));
		for (size_t k = 0; k < size; k++)
		{
			int c = (int) (k % (size_t) channels);
			double den = 4 * (var[c] + call->node->eps);
			Gate g = gate_at(x[k], dy[k], mean[c], den);

			sum[c] += g.e * g.d * g.d / (den * den);
			/* the other term of q has mean 0, as d has */
			mean_q[c] += 2 * g.e * g.d / den / (double) places;
		}
		for (size_t k = 0; k < size; k++)
		{
			int c = (int) (k % (size_t) channels);
			double den = 4 * (var[c] + call->node->eps);
			Gate g = gate_at(x[k], dy[k], mean[c], den);
			double q = 2 * g.e * g.d / den - 8 * g.d / degrees * sum[c];

			dx[k] = (call->add_grad_in[0] ? dx[k] : 0.0f) +
					(float) (dy[k] * g.gate + q - mean_q[c]);
		}
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
