/*
 * op_gate.c
 *	  Operations that weigh values: products, LayerScale, SimAM, dropout, and the sample
 *	  of a Gaussian code.
 */
#include <math.h>
#include <string.h>

#include "nn/gate.h"
#include "nn/kernels.h"
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
	nn_kernels()->multiply(call->in[0] + at, call->in[1] + at, call->out + at, n);
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
	const NnKernels *kernels = nn_kernels();

	(void) thread;
	for (size_t r = at; r < at + n; r += cols)
		kernels->multiply(call->in[0] + r, call->param[0], call->out + r, cols);
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
nn_simam_moments(const float *x, size_t places, int channels, float lambda, NnSimam *m)
{
	size_t n = (size_t) channels;
	double degrees = places > 1 ? (double) places - 1 : 1;

	memset(m->sum, 0, 2 * n * sizeof(double));
	/* the first place as the pivot, so that a common offset costs no digits */
	nn_kernels()->moments(x, places, channels, x, m->sum, m->sum + n);
	for (size_t c = 0; c < n; c++)
	{
		double mean = m->sum[c] / (double) places;
		double var = (m->sum[n + c] - mean * m->sum[c]) / degrees;

		m->mean[c] = (float) (mean + (double) x[c]);
		m->share[c] = (float) (0.25 / ((var > 0 ? var : 0) + (double) lambda));
	}
}

NnSimam
nn_simam_room(float *memory, int channels)
{
	size_t n = ((size_t) channels + 15) & ~(size_t) 15;
	NnSimam m = {(double *) memory, memory + 4 * n, memory + 5 * n, memory + 6 * n,
				 memory + 7 * n};

	return m;
}

size_t
nn_simam_floats(int channels)
{
	return 8 * (((size_t) channels + 15) & ~(size_t) 15);
}

static void
simam_part(void *arg, int begin, int end, int thread)
{
	const NnCall *call = arg;
	int channels = nn_shape_cols(&call->node->shape);
	size_t size = nn_shape_size(&call->node->shape), places = size / (size_t) channels;
	NnSimam m = nn_simam_room(call->scratch + (size_t) thread * nn_simam_floats(channels),
							  channels);

	for (int i = begin; i < end; i++)
	{
		const float *x = call->in[0] + (size_t) i * size;

		nn_simam_moments(x, places, channels, call->node->eps, &m);
		nn_kernels()->simam(x, call->out + (size_t) i * size, places, channels, m.mean,
							m.share);
	}
}

void
nn_simam_forward(const NnCall *call)
{
	nn_parallel(call->pool, call->n, simam_part, (void *) call);
}

size_t
nn_simam_scratch(const NnGraph *g, const NnNode *node, int n, int threads)
{
	(void) g;
	(void) n;
	return (size_t) threads * nn_simam_floats(nn_shape_cols(&node->shape));
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

/* Does picture i keep element k? */
static bool
dropout_keeps(const NnCall *call, int i, size_t k)
{
	int node = (int) (call->node - call->graph->node);

	return nn_random_uniform(nn_random(call->seed, node, call->first + i, k)) >=
		   call->node->rate;
}

/*
 * x times 0 or 1 / (1 - rate), by the random numbers of picture i.  Element by element
 * (Srivastava et al., JMLR 2014), or all by the first one's (Huang et al., "Deep Networks
 * with Stochastic Depth", ECCV 2016).
 */
void
nn_dropout_apply(const NnCall *call, int i, const float *x, float *y, bool add)
{
	size_t size = nn_shape_size(&call->node->shape);
	float factor = 1 / (1 - call->node->rate);
	bool whole = call->node->whole, keep = dropout_keeps(call, i, 0);

	for (size_t k = 0; k < size; k++)
	{
		float v = (whole ? keep : dropout_keeps(call, i, k)) ? x[k] * factor : 0.0f;

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
