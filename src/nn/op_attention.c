/*
 * op_attention.c
 *	  Multi-head self-attention from fused q, k, v (Vaswani et al. 2017, eq. 1).
 *
 * Row t of the input is q_t, k_t, v_t, each of D = heads * width values, a head's
 * values side by side.  Per head: softmax(q k^T / sqrt(width)) v.
 */
#include <cblas.h>
#include <math.h>

#include "nn/kernels.h"
#include "nn/ops.h"

typedef struct Job
{
	const NnCall *call;
	const NnKernels *kernels;
	int tokens, dim, heads, width;
	size_t square; /* floats of one head's probabilities, rounded up */
} Job;

/* Items are heads, counted over the batch. */
static void
heads_of(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	const NnCall *call = job->call;
	int t = job->tokens, d = job->dim, w = job->width;

	for (int item = begin; item < end; item++)
	{
		size_t picture = (size_t) (item / job->heads);
		size_t head = (size_t) (item % job->heads) * (size_t) w;
		const float *q = call->in[0] + picture * (size_t) t * 3 * (size_t) d + head;
		float *out = call->out + picture * (size_t) t * (size_t) d + head;
		float *p = call->saved ? call->saved + (size_t) item * t * t
							   : call->scratch + (size_t) thread * job->square;

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, t, t, w, 1.0f, q, 3 * d,
					q + d, 3 * d, 0.0f, p, t);
		job->kernels->softmax(p, p, (size_t) t, t, 1.0f / sqrtf((float) w));
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, t, w, t, 1.0f, p, t,
					q + 2 * d, 3 * d, 0.0f, out, d);
	}
}

static size_t
square(int tokens)
{
	return ((size_t) tokens * (size_t) tokens + 15) & ~(size_t) 15;
}

void
nn_attention_forward(const NnCall *call)
{
	Job job = {0};

	job.call = call;
	job.kernels = nn_kernels();
	job.tokens = call->node->shape.dim[0];
	job.dim = call->node->shape.dim[1];
	job.heads = call->node->heads;
	job.width = job.dim / job.heads;
	job.square = square(job.tokens);
	nn_parallel(call->pool, call->n * job.heads, heads_of, &job);
}

size_t
nn_attention_scratch(const NnGraph *g, const NnNode *node, int n, int threads)
{
	(void) g;
	(void) n;
	return (size_t) threads * square(node->shape.dim[0]);
}

size_t
nn_attention_saved(const NnGraph *g, const NnNode *node, int n)
{
	size_t tokens = (size_t) node->shape.dim[0];

	(void) g;
	return (size_t) n * (size_t) node->heads * tokens * tokens;
}
