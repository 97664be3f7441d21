/*
 * op_gate.c
 *	  Operations that weigh values: products, LayerScale, SimAM, dropout, and the sample
 *	  of a Gaussian code.
 */
#include <math.h>
#include <string.h>

#include "nn/gate.h"
#include "nn/ops.h"
#include "nn/random.h"

/* Elements of one picture, and the pictures begin .. end-1. */
static size_t
range(const NnCall *call, int begin, int end, size_t *at)
{
	size_t size = nn_shape_size(&call->node->shape);

	*at = (size_t) begin * size;
	return (size_t) (end - begin) * size;
}

static void
mul_part(void *arg, int begin, int end, int thread)
{
	const NnCall *call = arg;
	size_t at, n = range(call, begin, end, &at);

	(void) thread;
	for (size_t i = at; i < at + n; i++)
		call->out[i] = call->in[0][i] * call->in[1][i];
}

void
nn_mul_forward(const NnCall *call)
{
	nn_parallel(call->pool, call->n, mul_part, (void *) call);
}

/* Touvron et al., "Going deeper with Image Transformers" (ICCV 2021), equation 4. */
static void
layerscale_part(void *arg, int begin, int end, int thread)
{
	const NnCall *call = arg;
	size_t at, n = range(call, begin, end, &at);
	size_t cols = (size_t) nn_shape_cols(&call->node->shape);

	(void) thread;
	for (size_t r = at; r < at + n; r += cols)
		for (size_t c = 0; c < cols; c++)
			call->out[r + c] = call->in[0][r + c] * call->param[0][c];
}

void
nn_layerscale_forward(const NnCall *call)
{
	nn_parallel(call->pool, call->n, layerscale_part, (void *) call);
}

/* ---------------------------------------------------------------------- SimAM */

/*
 * Yang et al., "SimAM: A Simple, Parameter-Free Attention Module" (ICML 2021),
 * equation 5: per channel, d = x - mean, v = sum d^2 / (HW - 1),
 * out = x sigmoid(d^2 / (4 (v + lambda)) + 1/2).
 */
void
nn_simam_moments(const float *x, size_t places, int channels, double *mean, double *var)
{
	memset(mean, 0, (size_t) channels * sizeof(double));
	memset(var, 0, (size_t) channels * sizeof(double));
	for (size_t p = 0; p < places; p++)
		for (int c = 0; c < channels; c++)
			mean[c] += x[p * (size_t) channels + (size_t) c];
	for (int c = 0; c < channels; c++)
		mean[c] /= (double) places;
	for (size_t p = 0; p < places; p++)
		for (int c = 0; c < channels; c++)
		{
			double d = x[p * (size_t) channels + (size_t) c] - mean[c];

			var[c] += d * d;
		}
	for (int c = 0; c < channels; c++)
		var[c] /= places > 1 ? (double) places - 1 : 1;
}

static void
simam_part(void *arg, int begin, int end, int thread)
{
	const NnCall *call = arg;
	int channels = nn_shape_cols(&call->node->shape);
	size_t size = nn_shape_size(&call->node->shape), places = size / (size_t) channels;
	double *mean = (double *) call->scratch + (size_t) thread * 2 * (size_t) channels;
	double *var = mean + channels;

	for (int i = begin; i < end; i++)
	{
		const float *x = call->in[0] + (size_t) i * size;
		float *y = call->out + (size_t) i * size;

		nn_simam_moments(x, places, channels, mean, var);
		for (size_t k = 0; k < size; k++)
		{
			int c = (int) (k % (size_t) channels);
			float d = x[k] - (float) mean[c];
			float u = d * d / (4 * ((float) var[c] + call->node->eps)) + 0.5f;

			y[k] = x[k] / (1 + expf(-u));
		}
	}
}

void
nn_simam_forward(const NnCall *call)
{
	nn_parallel(call->pool, call->n, simam_part, (void *) call);
}

/* Doubles: two a channel, for each thread. */
size_t
nn_simam_scratch(const NnGraph *g, const NnNode *node, int n, int threads)
{
	(void) g;
	(void) n;
	return (size_t) threads * 4 * (size_t) nn_shape_cols(&node->shape);
}

/* --------------------------------------------------------------------- random */

static void
dropout_part(void *arg, int begin, int end, int thread)
{
	const NnCall *call = arg;
	size_t size = nn_shape_size(&call->node->shape);

	(void) thread;
	for (int i = begin; i < end; i++)
		nn_dropout_apply(call, i, call->in[0] + (size_t) i * size,
						 call->out + (size_t) i * size, false);
}

/* x times 0 or 1 / (1 - rate), by the random numbers of picture i. */
void
nn_dropout_apply(const NnCall *call, int i, const float *x, float *y, bool add)
{
	size_t size = nn_shape_size(&call->node->shape);
	int node = (int) (call->node - call->graph->node);
	float keep = 1 / (1 - call->node->rate);

	for (size_t k = 0; k < size; k++)
	{
		uint64_t random = nn_random(call->seed, node, call->first + i, k);
		float v = nn_random_uniform(random) < call->node->rate ? 0.0f : x[k] * keep;

		y[k] = add ? y[k] + v : v;
	}
}

void
nn_dropout_forward(const NnCall *call)
{
	if (call->train)
		nn_parallel(call->pool, call->n, dropout_part, (void *) call);
	else if (call->out != call->in[0])
		memcpy(call->out, call->in[0],
			   (size_t) call->n * nn_shape_size(&call->node->shape) * sizeof(float));
}

float
nn_reparameterise_noise(const NnCall *call, int i, size_t k)
{
	int node = (int) (call->node - call->graph->node);

	return nn_random_normal(nn_random(call->seed, node, call->first + i, k));
}

/* Kingma, Welling, "Auto-Encoding Variational Bayes" (ICLR 2014), section 2.4. */
static void
reparameterise_part(void *arg, int begin, int end, int thread)
{
	const NnCall *call = arg;
	size_t size = nn_shape_size(&call->node->shape);

	(void) thread;
	for (int i = begin; i < end; i++)
		for (size_t k = 0; k < size; k++)
		{
			size_t at = (size_t) i * size + k;

			call->out[at] = call->in[0][at] + expf(0.5f * call->in[1][at]) *
												  nn_reparameterise_noise(call, i, k);
		}
}

void
nn_reparameterise_forward(const NnCall *call)
{
	if (call->train)
		nn_parallel(call->pool, call->n, reparameterise_part, (void *) call);
	else if (call->out != call->in[0])
		memcpy(call->out, call->in[0],
			   (size_t) call->n * nn_shape_size(&call->node->shape) * sizeof(float));
}
