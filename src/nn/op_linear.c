/*
 * op_linear.c
 *	  y = act(x W^T + b) over the last dimension.
 *
 * A picture's values must not depend on which pictures share its batch, or its
 * code might.  SGEMM rounds differently with the number of rows it is given, so it
 * is given the same pieces of each picture always; and where a picture is a single
 * row, which would starve it, dot products do the work.
 */
#include <cblas.h>

#include "nn/kernels.h"
#include "nn/ops.h"

#define BLOCK 128 /* rows of one picture that go to SGEMM together */

typedef struct Job
{
	const NnCall *call;
	const NnKernels *kernels;
	int inputs, outputs;
	int rows;	/* of one picture */
	int blocks; /* of one picture */
} Job;

/* Items are blocks, counted over the batch. */
static void
blocks_of(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	const NnCall *call = job->call;

	(void) thread;
	for (int item = begin; item < end; item++)
	{
		int first = item % job->blocks * BLOCK;
		int rows = job->rows - first < BLOCK ? job->rows - first : BLOCK;
		size_t row = (size_t) (item / job->blocks) * (size_t) job->rows + (size_t) first;
		float *out = call->out + row * (size_t) job->outputs;

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, job->outputs,
					job->inputs, 1.0f, call->in[0] + row * (size_t) job->inputs,
					job->inputs, call->param[0], job->inputs, 0.0f, out, job->outputs);
		job->kernels->bias_activate(out, (size_t) rows, job->outputs, call->param[1],
									call->node->activation);
	}
}

/* Items are pictures of one row. */
static void
pictures_of(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	const NnCall *call = job->call;
	float *out = call->out + (size_t) begin * (size_t) job->outputs;

	(void) thread;
	job->kernels->dot_products(call->in[0] + (size_t) begin * (size_t) job->inputs,
							   call->param[0], out, end - begin, job->inputs,
							   job->outputs);
	job->kernels->bias_activate(out, (size_t) (end - begin), job->outputs, call->param[1],
								call->node->activation);
}

void
nn_linear_forward(const NnCall *call)
{
	Job job = {0};

	job.call = call;
	job.kernels = nn_kernels();
	job.inputs = nn_shape_cols(nn_input_shape(call->graph, call->node, 0));
	job.outputs = call->node->channels;
	job.rows = (int) nn_shape_rows(&call->node->shape);
	job.blocks = (job.rows + BLOCK - 1) / BLOCK;
	if (job.rows == 1)
		nn_parallel(call->pool, call->n, pictures_of, &job);
	else
		nn_parallel(call->pool, call->n * job.blocks, blocks_of, &job);
}
