/*
 * op_activation.h
 *	  Activation functions and their derivatives.
 */
#ifndef GPU_OP_ACTIVATION_H
#define GPU_OP_ACTIVATION_H

#include "gpu/call.h"

static inline ON_BOTH float
normal_cdf(float x)
{
	return 0.5f * erfcf(x * -0.70710678118654752f);
}

static inline ON_BOTH float
activate(NnActivation act, float x)
{
	switch (act)
	{
		case NN_RELU:
			return x < 0.0f ? 0.0f : x; /* keeps NaN */
		case NN_RELU6:
			return x < 0.0f ? 0.0f : x > 6.0f ? 6.0f : x;
		case NN_LEAKY_RELU:
			return x < 0.0f ? 0.01f * x : x;
		case NN_GELU:
			/* as on the CPU minus infinity gives nothing, not NaN; NaN stays */
			return (x < -14.0f ? -14.0f : x) * normal_cdf(x);
		case NN_SILU:
			return (x < -87.0f ? -87.0f : x) / (1.0f + expf(-x));
		case NN_TANH:
			return tanhf(x);
		case NN_SIGMOID:
			return 1.0f / (1.0f + expf(-x));
		default:
			return x;
	}
}

static inline ON_BOTH float
activate_slope(NnActivation act, float x)
{
	float s;

	switch (act)
	{
		case NN_RELU:
			return x > 0.0f ? 1.0f : 0.0f;
		case NN_RELU6:
			return x > 0.0f && x < 6.0f ? 1.0f : 0.0f;
		case NN_LEAKY_RELU:
			return x > 0.0f ? 1.0f : 0.01f;
		case NN_GELU:
			return normal_cdf(x) + x * 0.39894228040143268f * expf(-0.5f * x * x);
		case NN_SILU:
			s = 1.0f / (1.0f + expf(-x));
			return s * (1.0f + x * (1.0f - s));
		case NN_TANH:
			s = tanhf(x);
			return 1.0f - s * s;
		case NN_SIGMOID:
			s = 1.0f / (1.0f + expf(-x));
			return s * (1.0f - s);
		default:
			return 1.0f;
	}
}

template <class T>
static void
activation_forward(const Call<T> *c)
{
	const T *x = c->in[0];
	T *y = c->out;
	NnActivation act = c->node->activation;

	each(c->m, count_of(c), [=] ON_GPU(size_t i) { y[i] = activate(act, x[i]); });
}

/* As on the CPU ReLU's slope is taken from its output, the same at both. */
static inline bool
slope_by_output(const NnNode *node)
{
	return node->activation == NN_RELU;
}

template <class T>
static void
activation_backward(const Call<T> *c)
{
	const T *x = slope_by_output(c->node) ? c->out : c->in[0], *dy = c->grad_out;
	T *dx = c->grad_in[0];
	NnActivation act = c->node->activation;
	bool add = c->add[0];

	if (dx)
		each(c->m, count_of(c),
			 [=] ON_GPU(size_t i)
			 { give(&dx[i], (float) dy[i] * activate_slope(act, x[i]), add); });
}

#endif
