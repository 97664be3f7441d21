/*
 * op_simple.c
 *	  Input, activation, addition, scaling and the moves of tokens.
 */
#include <string.h>

#include "nn/kernels.h"
#include "nn/ops.h"

typedef struct Job
{
	const NnCall *call;
	const NnKernels *kernels;
	size_t size;		 /* elements of one picture's output */
	float level[256][3]; /* INPUT: what each byte becomes in each channel */
} Job;

static Job
job_of(const NnCall *call)
{
	Job job;

	job.call = call;
	job.kernels = nn_kernels();
	job.size = nn_shape_size(&call->node->shape);
	return job;
}

static void
input_part(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	const uint8_t *from = job->call->images + (size_t) begin * job->size;
	float *to = job->call->out + (size_t) begin * job->size;
	size_t n = (size_t) (end - begin) * job->size;

	(void) thread;
	for (size_t i = 0; i < n; i += 3)
	{
		to[i] = job->level[from[i]][0];
		to[i + 1] = job->level[from[i + 1]][1];
		to[i + 2] = job->level[from[i + 2]][2];
	}
}

void
nn_input_forward(const NnCall *call)
{
	Job job = job_of(call);

	for (int c = 0; c < 3; c++)
		for (int v = 0; v < 256; v++)
			job.level[v][c] =
				(float) ((v / 255.0 - call->node->mean[c]) / call->node->std[c]);
	nn_parallel(call->pool, call->n, input_part, &job);
}

/* Elementwise work is cut into blocks, so that one picture feeds all threads. */
#define BLOCK 16384

static int
blocks(const Job *job)
{
	return (int) (((size_t) job->call->n * job->size + BLOCK - 1) / BLOCK);
}

static size_t
block_range(const Job *job, int begin, int end, size_t *at)
{
	size_t all = (size_t) job->call->n * job->size;
	size_t last = (size_t) end * BLOCK;

	*at = (size_t) begin * BLOCK;
	return (last < all ? last : all) - *at;
}

static void
activation_part(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	size_t at, n = block_range(job, begin, end, &at);

	(void) thread;
	job->kernels->activate(job->call->node->activation, job->call->in[0] + at,
						   job->call->out + at, n);
}

void
nn_activation_forward(const NnCall *call)
{
	Job job = job_of(call);

	nn_parallel(call->pool, blocks(&job), activation_part, &job);
}

static void
add_part(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	size_t at, n = block_range(job, begin, end, &at);

	(void) thread;
	job->kernels->add(job->call->in[0] + at, job->call->in[1] + at, job->call->out + at,
					  n);
}

void
nn_add_forward(const NnCall *call)
{
	Job job = job_of(call);

	nn_parallel(call->pool, blocks(&job), add_part, &job);
}

static void
scale_part(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	size_t at, n = block_range(job, begin, end, &at);

	(void) thread;
	job->kernels->scale(job->call->in[0] + at, job->call->out + at, n,
						job->call->node->scale);
}

void
nn_scale_forward(const NnCall *call)
{
	Job job = job_of(call);

	nn_parallel(call->pool, blocks(&job), scale_part, &job);
}

void
nn_reshape_forward(const NnCall *call)
{
	if (call->out != call->in[0])
		memcpy(call->out, call->in[0],
			   (size_t) call->n * nn_shape_size(&call->node->shape) * sizeof(float));
}

static void
class_token_part(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	size_t dim = (size_t) nn_shape_cols(&job->call->node->shape);
	size_t rest = job->size - dim;

	(void) thread;
	for (int i = begin; i < end; i++)
	{
		float *out = job->call->out + (size_t) i * job->size;

		memcpy(out, job->call->param[0], dim * sizeof(float));
		memcpy(out + dim, job->call->in[0] + (size_t) i * rest, rest * sizeof(float));
	}
}

void
nn_class_token_forward(const NnCall *call)
{
	Job job = job_of(call);

	nn_parallel(call->pool, call->n, class_token_part, &job);
}

static void
position_part(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;

	(void) thread;
	for (int i = begin; i < end; i++)
		job->kernels->add(job->call->in[0] + (size_t) i * job->size, job->call->param[0],
						  job->call->out + (size_t) i * job->size, job->size);
}

void
nn_position_forward(const NnCall *call)
{
	Job job = job_of(call);

	nn_parallel(call->pool, call->n, position_part, &job);
}

void
nn_token_forward(const NnCall *call)
{
	const NnShape *in = nn_input_shape(call->graph, call->node, 0);
	size_t dim = (size_t) in->dim[1], all = nn_shape_size(in);

	for (int i = 0; i < call->n; i++)
		memcpy(call->out + (size_t) i * dim,
			   call->in[0] + (size_t) i * all + (size_t) call->node->index * dim,
			   dim * sizeof(float));
}
