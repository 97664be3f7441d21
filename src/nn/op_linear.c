/*
 * op_linear.c
 *	  y = act(x W^T + b) over the last dimension.
 */
#include <cblas.h>

#include "nn/kernels.h"
#include "nn/ops.h"

/* Rows between which a thread stops to add bias and activation, still in cache. */
#define BLOCK 256

typedef struct Job
{
	const NnCall *call;
	const NnKernels *kernels;
	int inputs, outputs;
} Job;

static void
rows_of(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	const NnCall *call = job->call;

	(void) thread;
	for (int row = begin; row < end; row += BLOCK)
	{
		int rows = end - row < BLOCK ? end - row : BLOCK;
		float *out = call->out + (size_t) row * job->outputs;

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, job->outputs,
					job->inputs, 1.0f, call->in[0] + (size_t) row * job->inputs,
					job->inputs, call->param[0], job->inputs, 0.0f, out, job->outputs);
		job->kernels->bias_activate(out, (size_t) rows, job->outputs, call->param[1],
									call->node->activation);
	}
}

void
nn_linear_forward(const NnCall *call)
{
	Job job = {call, nn_kernels(),
			   nn_shape_cols(nn_input_shape(call->graph, call->node, 0)),
			   call->node->channels};

	nn_parallel(call->pool, (int) (call->n * nn_shape_rows(&call->node->shape)), rows_of,
				&job);
}
