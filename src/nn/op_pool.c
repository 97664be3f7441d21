/*
 * op_pool.c
 *	  Max, average and global average pooling.
 *
 * The last window starts where a whole stride still fits (floor), padding never
 * wins a maximum and counts as zero in an average, as PyTorch's defaults are.
 */
#include <string.h>

#include "nn/kernels.h"
#include "nn/ops.h"

typedef struct Job
{
	const NnCall *call;
	const NnKernels *kernels;
	NnShape in, out;
} Job;

/* The part of a window that lies inside the picture. */
static void
clip(int start, int kernel, int size, int *first, int *last)
{
	*first = start < 0 ? 0 : start;
	*last = start + kernel > size ? size : start + kernel;
}

/* Items are output lines, counted over the batch. */
static void
lines(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	const NnNode *node = job->call->node;
	const NnKernels *k = job->kernels;
	int channels = job->in.dim[2];
	size_t line = (size_t) job->in.dim[1] * channels;
	bool average = node->kind == NN_AVGPOOL;

	(void) thread;
	for (int item = begin; item < end; item++)
	{
		int picture = item / job->out.dim[0], oy = item % job->out.dim[0];
		const float *in = job->call->in[0] + (size_t) picture * job->in.dim[0] * line;
		float *out = job->call->out + (size_t) item * job->out.dim[1] * channels;
		int y0, y1, x0, x1;

		clip(oy * node->stride[0] - node->pad[0], node->kernel[0], job->in.dim[0], &y0,
			 &y1);
		for (int ox = 0; ox < job->out.dim[1]; ox++, out += channels)
		{
			clip(ox * node->stride[1] - node->pad[1], node->kernel[1], job->in.dim[1],
				 &x0, &x1);
			memcpy(out, in + (size_t) y0 * line + (size_t) x0 * channels,
				   (size_t) channels * sizeof(float));
			for (int y = y0; y < y1; y++)
				for (int x = x0 + (y == y0); x < x1; x++)
				{
					const float *from = in + (size_t) y * line + (size_t) x * channels;

					if (average)
						k->add(out, from, out, (size_t) channels);
					else
						k->maximum(from, out, channels);
				}
			if (average)
				k->scale(out, out, (size_t) channels,
						 1.0f / (float) (node->kernel[0] * node->kernel[1]));
		}
	}
}

static Job
job_of(const NnCall *call)
{
	return (Job){call, nn_kernels(), *nn_input_shape(call->graph, call->node, 0),
				 call->node->shape};
}

void
nn_maxpool_forward(const NnCall *call)
{
	Job job = job_of(call);

	nn_parallel(call->pool, call->n * job.out.dim[0], lines, &job);
}

void
nn_avgpool_forward(const NnCall *call)
{
	Job job = job_of(call);

	nn_parallel(call->pool, call->n * job.out.dim[0], lines, &job);
}

/* Items are pictures. */
static void
pictures(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	size_t channels = (size_t) job->in.dim[2];
	int area = job->in.dim[0] * job->in.dim[1];

	(void) thread;
	for (int i = begin; i < end; i++)
	{
		const float *in = job->call->in[0] + (size_t) i * (size_t) area * channels;
		float *out = job->call->out + (size_t) i * channels;

		memcpy(out, in, channels * sizeof(float));
		for (int p = 1; p < area; p++)
			job->kernels->add(out, in + (size_t) p * channels, out, channels);
		job->kernels->scale(out, out, channels, 1.0f / (float) area);
	}
}

void
nn_global_avgpool_forward(const NnCall *call)
{
	Job job = job_of(call);

	nn_parallel(call->pool, call->n, pictures, &job);
}
