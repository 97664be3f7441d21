/*
 * op_norm.c
 *	  Batch norm (Ioffe and Szegedy 2015), layer norm (Ba et al. 2016), softmax.
 *
 * Batch norm normalises with the biased variance; the running variance takes the
 * unbiased one, as PyTorch does.
 */
#include <math.h>
#include <string.h>

#include "nn/kernels.h"
#include "nn/ops.h"

typedef struct Job
{
	const NnCall *call;
	const NnKernels *kernels;
	int cols;
	double *sums;				 /* per thread: sum[cols], square[cols] */
	const float *factor, *shift; /* y = x * factor + shift */
} Job;

static void
sum_rows(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	double *sum = job->sums + (size_t) thread * 2 * (size_t) job->cols;

	/* The first row as the pivot: near the mean, so that nothing cancels. */
	job->kernels->moments(job->call->in[0] + (size_t) begin * job->cols,
						  (size_t) (end - begin), job->cols, job->call->in[0], sum,
						  sum + job->cols);
}

static void
affine_rows(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	size_t at = (size_t) begin * (size_t) job->cols;

	(void) thread;
	job->kernels->affine(job->call->in[0] + at, job->call->out + at,
						 (size_t) (end - begin), job->cols, job->factor, job->shift);
}

/* Mean and 1/sqrt(var + eps) of this batch into saved; running statistics move. */
static void
batch_statistics(Job *job, int rows, float *mean, float *rstd)
{
	const NnCall *call = job->call;
	int threads = nn_pool_threads(call->pool);
	int cols = job->cols;

	memset(job->sums, 0, (size_t) threads * 2 * (size_t) cols * sizeof(double));
	nn_parallel(call->pool, rows, sum_rows, job);
	for (int c = 0; c < cols; c++)
	{
		double sum = 0, square = 0, var;

		for (int t = 0; t < threads; t++)
		{
			sum += job->sums[(size_t) t * 2 * cols + c];
			square += job->sums[(size_t) t * 2 * cols + cols + c];
		}
		sum /= rows;
		var = square / rows - sum * sum;
		var = var > 0 ? var : 0;
		mean[c] = (float) (sum + call->in[0][c]);
		rstd[c] = (float) (1 / sqrt(var + call->node->eps));
		if (call->momentum > 0)
		{
			float m = call->momentum;
			double unbiased = rows > 1 ? var * rows / (rows - 1) : var;

			call->param[2][c] += m * (mean[c] - call->param[2][c]);
			call->param[3][c] += m * ((float) unbiased - call->param[3][c]);
		}
	}
}

void
nn_batchnorm_forward(const NnCall *call)
{
	Job job = {0};
	int cols = nn_shape_cols(&call->node->shape);
	int rows = (int) (call->n * nn_shape_rows(&call->node->shape));
	float *factor = call->scratch, *shift = factor + cols;

	job.call = call;
	job.kernels = nn_kernels();
	job.cols = cols;
	job.factor = factor;
	job.shift = shift;
	if (call->train)
	{
		float *mean = call->saved, *rstd = mean + cols;

		/* doubles after the floats, at a multiple of 64 bytes */
		job.sums = (double *) (call->scratch + ((2 * (size_t) cols + 15) & ~(size_t) 15));
		batch_statistics(&job, rows, mean, rstd);
		for (int c = 0; c < cols; c++)
		{
			factor[c] = rstd[c] * call->param[0][c];
			shift[c] = call->param[1][c] - mean[c] * factor[c];
		}
	}
	else
		for (int c = 0; c < cols; c++)
		{
			factor[c] = call->param[0][c] / sqrtf(call->param[3][c] + call->node->eps);
			shift[c] = call->param[1][c] - call->param[2][c] * factor[c];
		}
	nn_parallel(call->pool, rows, affine_rows, &job);
}

size_t
nn_batchnorm_scratch(const NnGraph *g, const NnNode *node, int n, int threads)
{
	size_t cols = (size_t) nn_shape_cols(&node->shape);

	(void) g;
	(void) n;
	return ((2 * cols + 15) & ~(size_t) 15) + (size_t) threads * 4 * cols;
}

size_t
nn_batchnorm_saved(const NnGraph *g, const NnNode *node, int n)
{
	(void) g;
	(void) n;
	return 2 * (size_t) nn_shape_cols(&node->shape);
}

static void
layernorm_rows(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	const NnCall *call = job->call;
	size_t at = (size_t) begin * (size_t) job->cols;
	size_t all = (size_t) call->n * nn_shape_rows(&call->node->shape);

	(void) thread;
	job->kernels->layernorm(call->in[0] + at, call->out + at, (size_t) (end - begin),
							job->cols, call->param[0], call->param[1], call->node->eps,
							call->saved ? call->saved + begin : NULL,
							call->saved ? call->saved + all + begin : NULL);
}

void
nn_layernorm_forward(const NnCall *call)
{
	Job job = {0};

	job.call = call;
	job.kernels = nn_kernels();
	job.cols = nn_shape_cols(&call->node->shape);
	nn_parallel(call->pool, (int) (call->n * nn_shape_rows(&call->node->shape)),
				layernorm_rows, &job);
}

size_t
nn_layernorm_saved(const NnGraph *g, const NnNode *node, int n)
{
	(void) g;
	return 2 * (size_t) n * nn_shape_rows(&node->shape);
}

static void
softmax_rows(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	size_t at = (size_t) begin * (size_t) job->cols;

	(void) thread;
	job->kernels->softmax(job->call->in[0] + at, job->call->out + at,
						  (size_t) (end - begin), job->cols, 1.0f);
}

void
nn_softmax_forward(const NnCall *call)
{
	Job job = {0};

	job.call = call;
	job.kernels = nn_kernels();
	job.cols = nn_shape_cols(&call->node->shape);
	nn_parallel(call->pool, (int) (call->n * nn_shape_rows(&call->node->shape)),
				softmax_rows, &job);
}
