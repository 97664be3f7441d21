/*
 * test_nn_reference.h
 *	  Plain loops in double for every op, and helpers for tests of src/nn.
 */
#ifndef TEST_NN_REFERENCE_H
#define TEST_NN_REFERENCE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "nn/op.h"

static inline uint64_t
test_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* -range .. range */
static inline float
test_float(uint64_t *state, float range)
{
	return ((float) (test_random(state) >> 40) / 8388608.0f - 1.0f) * range;
}

static inline int
test_int(uint64_t *state, int least, int most)
{
	return least + (int) (test_random(state) % (uint64_t) (most - least + 1));
}

static inline float *
test_floats(uint64_t *state, size_t n, float range)
{
	float *v = aligned_alloc(64, (n * sizeof(float) + 127) & ~(size_t) 63);

	assert_non_null(v);
	for (size_t i = 0; i < n; i++)
		v[i] = test_float(state, range);
	return v;
}

/* Random parameters of a size that keeps activations near one. */
static inline void
test_fill_params(NnGraph *g, uint64_t *state)
{
	for (int i = 0; i < g->nparams; i++)
	{
		NnParam *p = &g->param[i];
		size_t n = nn_shape_size(&p->shape);
		size_t fan = p->shape.ndim > 1 ? n / (size_t) p->shape.dim[0] : 1;
		bool variance = strstr(p->name, "running_var") != NULL;

		for (size_t k = 0; k < n; k++)
			p->data[k] = variance ? 1.0f + test_float(state, 0.9f)
								  : test_float(state, 1.7f / sqrtf((float) fan));
	}
}

static inline double
ref_activation(NnActivation act, double x)
{
	switch (act)
	{
		case NN_RELU:
			return x > 0 ? x : 0;
		case NN_RELU6:
			return x < 0 ? 0 : x > 6 ? 6 : x;
		case NN_LEAKY_RELU:
			return x < 0 ? 0.01 * x : x;
		case NN_GELU:
			return 0.5 * x * erfc(-x / sqrt(2));
		case NN_SILU:
			return x / (1 + exp(-x));
		case NN_TANH:
			return tanh(x);
		case NN_SIGMOID:
			return 1 / (1 + exp(-x));
		default:
			return x;
	}
}

static inline void
ref_conv(const NnNode *node, const NnShape *in, const float *const *param,
		 const double *x, double *y)
{
	int gi = in->dim[2] / node->groups, go = node->channels / node->groups;
	int kh = node->kernel[0], kw = node->kernel[1];

	for (int oy = 0; oy < node->shape.dim[0]; oy++)
		for (int ox = 0; ox < node->shape.dim[1]; ox++)
			for (int o = 0; o < node->channels; o++)
			{
				double sum = param[1] ? param[1][o] : 0;

				for (int t = 0; t < gi * kh * kw; t++)
				{
					int c = t / (kh * kw), ky = t / kw % kh, kx = t % kw;
					int yy = oy * node->stride[0] - node->pad[0] + ky;
					int xx = ox * node->stride[1] - node->pad[1] + kx;

					if (yy < 0 || yy >= in->dim[0] || xx < 0 || xx >= in->dim[1])
						continue;
					sum += x[(yy * in->dim[1] + xx) * in->dim[2] + o / go * gi + c] *
						   (double) param[0][o * gi * kh * kw + t];
				}
				*y++ = ref_activation(node->activation, sum);
			}
}

static inline void
ref_pool(const NnNode *node, const NnShape *in, const double *x, double *y)
{
	int kh = node->kernel[0], kw = node->kernel[1];

	for (int oy = 0; oy < node->shape.dim[0]; oy++)
		for (int ox = 0; ox < node->shape.dim[1]; ox++)
			for (int c = 0; c < in->dim[2]; c++)
			{
				double top = -INFINITY, sum = 0;

				for (int t = 0; t < kh * kw; t++)
				{
					int yy = oy * node->stride[0] - node->pad[0] + t / kw;
					int xx = ox * node->stride[1] - node->pad[1] + t % kw;
					double v;

					if (yy < 0 || yy >= in->dim[0] || xx < 0 || xx >= in->dim[1])
						continue;
					v = x[(yy * in->dim[1] + xx) * in->dim[2] + c];
					top = v > top ? v : top;
					sum += v;
				}
				*y++ = node->kind == NN_MAXPOOL ? top : sum / kh / kw;
			}
}

static inline void
ref_softmax(const double *x, double *y, int n)
{
	double top = x[0], sum = 0;

	for (int i = 1; i < n; i++)
		top = x[i] > top ? x[i] : top;
	for (int i = 0; i < n; i++)
		sum += exp(x[i] - top);
	for (int i = 0; i < n; i++)
		y[i] = exp(x[i] - top) / sum;
}

static inline void
ref_attention(const NnNode *node, const double *x, double *y)
{
	int t = node->shape.dim[0], d = node->shape.dim[1], w = d / node->heads;
	double *p = malloc(sizeof(double) * (size_t) t);
	double *prob = malloc(sizeof(double) * (size_t) t);

	for (int h = 0; h < node->heads; h++)
		for (int a = 0; a < t; a++)
		{
			for (int b = 0; b < t; b++)
			{
				p[b] = 0;
				for (int i = h * w; i < h * w + w; i++)
					p[b] += x[a * 3 * d + i] * x[b * 3 * d + d + i] / sqrt(w);
			}
			ref_softmax(p, prob, t);
			for (int i = h * w; i < h * w + w; i++)
			{
				y[a * d + i] = 0;
				for (int b = 0; b < t; b++)
					y[a * d + i] += prob[b] * x[b * 3 * d + 2 * d + i];
			}
		}
	free(p);
	free(prob);
}

/* Linear and the norms: each row by itself. */
static inline void
ref_row(const NnNode *node, int cols, const float *const *param, const double *x,
		double *y)
{
	double mean = 0, var = 0;

	for (int c = 0; c < cols; c++)
		mean += x[c] / cols;
	for (int c = 0; c < cols; c++)
		var += (x[c] - mean) * (x[c] - mean) / cols;
	switch (node->kind)
	{
		case NN_LINEAR:
			for (int o = 0; o < node->channels; o++)
			{
				double sum = param[1] ? param[1][o] : 0;

				for (int c = 0; c < cols; c++)
					sum += x[c] * (double) param[0][o * cols + c];
				y[o] = ref_activation(node->activation, sum);
			}
			break;
		case NN_BATCHNORM:
			for (int c = 0; c < cols; c++)
				y[c] = (x[c] - param[2][c]) / sqrt((double) param[3][c] + node->eps) *
						   param[0][c] +
					   param[1][c];
			break;
		case NN_LAYERNORM:
			for (int c = 0; c < cols; c++)
				y[c] = (x[c] - mean) / sqrt(var + node->eps) * param[0][c] + param[1][c];
			break;
		default:
			ref_softmax(x, y, cols);
	}
}

/* One node, one picture. */
static inline void
ref_forward(const NnGraph *g, const NnNode *node, const uint8_t *image,
			const double *const *in, double *y)
{
	const NnShape *shape = node->ninputs ? nn_input_shape(g, node, 0) : NULL;
	size_t size = nn_shape_size(&node->shape);
	int area, channels;
	const float *param[NN_MAX_PARAMS] = {0};

	for (int p = 0; p < node->nparams; p++)
		if (node->param[p] >= 0)
			param[p] = g->param[node->param[p]].data;
	switch (node->kind)
	{
		case NN_INPUT:
			for (size_t i = 0; i < size; i++)
				y[i] = (image[i] / 255.0 - node->mean[i % 3]) / node->std[i % 3];
			break;
		case NN_CONV2D:
			ref_conv(node, shape, param, in[0], y);
			break;
		case NN_LINEAR:
		case NN_BATCHNORM:
		case NN_LAYERNORM:
		case NN_SOFTMAX:
			for (size_t r = 0; r < nn_shape_rows(shape); r++)
				ref_row(node, nn_shape_cols(shape), param,
						in[0] + r * (size_t) nn_shape_cols(shape),
						y + r * (size_t) nn_shape_cols(&node->shape));
			break;
		case NN_MAXPOOL:
		case NN_AVGPOOL:
			ref_pool(node, shape, in[0], y);
			break;
		case NN_GLOBAL_AVGPOOL:
			channels = shape->dim[2];
			area = shape->dim[0] * shape->dim[1];
			for (int c = 0; c < channels; c++)
			{
				y[c] = 0;
				for (int p = 0; p < area; p++)
					y[c] += in[0][p * channels + c] / area;
			}
			break;
		case NN_ATTENTION:
			ref_attention(node, in[0], y);
			break;
		case NN_CLASS_TOKEN:
			for (int i = 0; i < shape->dim[1]; i++)
				y[i] = param[0][i];
			memcpy(y + shape->dim[1], in[0], nn_shape_size(shape) * sizeof(double));
			break;
		case NN_TOKEN:
			memcpy(y, in[0] + (size_t) node->index * (size_t) shape->dim[1],
				   size * sizeof(double));
			break;
		default:
			for (size_t i = 0; i < size; i++)
				y[i] = node->kind == NN_ACTIVATION
						   ? ref_activation(node->activation, in[0][i])
					   : node->kind == NN_ADD	   ? in[0][i] + in[1][i]
					   : node->kind == NN_POSITION ? in[0][i] + param[0][i]
					   : node->kind == NN_SCALE	   ? in[0][i] * node->scale
												   : in[0][i]; /* RESHAPE */
	}
}

/* The last node's output for one picture; free it. */
static inline double *
ref_run(const NnGraph *g, const uint8_t *image)
{
	double **value = calloc((size_t) g->nnodes, sizeof(*value));
	double *last;

	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];
		const double *in[NN_MAX_INPUTS] = {0};

		for (int k = 0; k < node->ninputs; k++)
			in[k] = value[node->input[k]];
		value[i] = malloc(nn_shape_size(&node->shape) * sizeof(double));
		ref_forward(g, node, image, in, value[i]);
	}
	last = value[g->nnodes - 1];
	for (int i = 0; i < g->nnodes - 1; i++)
		free(value[i]);
	free(value);
	return last;
}

/* Largest difference, relative to the largest expected value. */
static inline double
test_distance(const float *got, const double *wanted, size_t n)
{
	double far = 0, top = 1e-30;

	for (size_t i = 0; i < n; i++)
	{
		double d = fabs(got[i] - wanted[i]);

		if (!(d <= far))
			far = isnan(d) ? INFINITY : d;
		top = fabs(wanted[i]) > top ? fabs(wanted[i]) : top;
	}
	return far / top;
}

#endif
