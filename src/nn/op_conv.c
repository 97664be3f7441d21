/*
 * op_conv.c
 *	  Convolution forward.
 *
 * Three ways, by shape:
 *	- one group: directly, without a matrix (conv_direct.c), picture by
 *	  picture; on AVX-512 one thread of it outruns two of the next;
 *	- one input and one output channel a group (depthwise): taps times rows;
 *	- everything else: im2col in tiles that stay in cache, then SGEMM.
 */
#include <cblas.h>
#include <string.h>

#include "nn/conv_direct.h"
#include "nn/kernels.h"
#include "nn/ops.h"

/* A tile of the lowered matrix: about a core's second-level cache. */
#define TILE_BYTES (768 * 1024)
#define TILE_MOST 1024
#define TILE_LEAST 32
#define TILE_LIMIT (64 << 20) /* bytes that not even the least tile may pass */

NnConv
nn_conv_geometry(const NnGraph *g, const NnNode *node)
{
	const NnShape *in = nn_input_shape(g, node, 0);
	NnConv c;

	c.height = in->dim[0];
	c.width = in->dim[1];
	c.channels = in->dim[2];
	c.out_height = node->shape.dim[0];
	c.out_width = node->shape.dim[1];
	c.outputs = node->channels;
	memcpy(c.kernel, node->kernel, sizeof(c.kernel));
	memcpy(c.stride, node->stride, sizeof(c.stride));
	memcpy(c.pad, node->pad, sizeof(c.pad));
	c.groups = node->groups;
	c.group_in = c.channels / c.groups;
	c.group_out = c.outputs / c.groups;
	c.taps = c.kernel[0] * c.kernel[1];
	c.depth = c.taps * c.group_in;
	return c;
}

bool
nn_conv_is_depthwise(const NnConv *c)
{
	return c->groups > 1 && c->group_in == 1 && c->group_out == 1;
}

int
nn_conv_tile_rows(const NnConv *c)
{
	size_t row = (size_t) c->depth * sizeof(float);
	size_t rows = TILE_BYTES / row / 16 * 16;

	if (rows < TILE_LEAST)
		rows = row * TILE_LEAST <= TILE_LIMIT ? TILE_LEAST : 1;
	return rows > TILE_MOST ? TILE_MOST : (int) rows;
}

/* One row of the matrix's columns for kernel row ky, starting at picture row y. */
static void
gather(const NnConv *c, const float *line, int x0, float *to)
{
	size_t bytes = (size_t) c->group_in * sizeof(float);

	if (c->groups == 1 && x0 >= 0 && x0 + c->kernel[1] <= c->width)
	{
		/* the whole kernel row lies side by side */
		memcpy(to, line + (ptrdiff_t) x0 * c->channels, bytes * (size_t) c->kernel[1]);
		return;
	}
	for (int kx = 0; kx < c->kernel[1]; kx++, to += c->group_in)
		if (x0 + kx >= 0 && x0 + kx < c->width)
			memcpy(to, line + (ptrdiff_t) (x0 + kx) * c->channels, bytes);
		else
			memset(to, 0, bytes);
}

void
nn_im2col(const NnConv *c, const float *picture, int group, int row, int rows,
		  float *matrix)
{
	int across = c->kernel[1] * c->group_in;

	for (int r = row; r < row + rows; r++)
	{
		int y0 = r / c->out_width * c->stride[0] - c->pad[0];
		int x0 = r % c->out_width * c->stride[1] - c->pad[1];

		for (int ky = 0; ky < c->kernel[0]; ky++, matrix += across)
			if (y0 + ky >= 0 && y0 + ky < c->height)
				gather(c,
					   picture + ((size_t) (y0 + ky) * c->width) * c->channels +
						   (size_t) group * c->group_in,
					   x0, matrix);
			else
				memset(matrix, 0, (size_t) across * sizeof(float));
	}
}

void
nn_col2im_add(const NnConv *c, const float *matrix, int group, int row, int rows,
			  float *picture)
{
	const NnKernels *k = nn_kernels();

	for (int r = row; r < row + rows; r++)
	{
		int y0 = r / c->out_width * c->stride[0] - c->pad[0];
		int x0 = r % c->out_width * c->stride[1] - c->pad[1];

		for (int ky = 0; ky < c->kernel[0]; ky++)
		{
			float *line = picture + ((ptrdiff_t) (y0 + ky) * c->width) * c->channels +
						  (size_t) group * c->group_in;
			int first = x0 < 0 ? -x0 : 0;
			int last = x0 + c->kernel[1] > c->width ? c->width - x0 : c->kernel[1];

			if (y0 + ky >= 0 && y0 + ky < c->height && first < last)
			{
				if (c->groups == 1)
				{
					float *to = line + (ptrdiff_t) (x0 + first) * c->channels;

					k->add(to, matrix + (size_t) first * c->group_in, to,
						   (size_t) (last - first) * c->group_in);
				}
				else
					for (int kx = first; kx < last; kx++)
					{
						float *to = line + (ptrdiff_t) (x0 + kx) * c->channels;

						k->add(to, matrix + (size_t) kx * c->group_in, to,
							   (size_t) c->group_in);
					}
			}
			matrix += (size_t) c->kernel[1] * c->group_in;
		}
	}
}

void
nn_conv_weights(const NnConv *c, const float *weight, float *lowered)
{
	for (int o = 0; o < c->outputs; o++, weight += c->depth, lowered += c->depth)
		for (int i = 0; i < c->group_in; i++)
			for (int t = 0; t < c->taps; t++)
				lowered[t * c->group_in + i] = weight[i * c->taps + t];
}

void
nn_conv_weights_add_back(const NnConv *c, const float *lowered, float *weight)
{
	for (int o = 0; o < c->outputs; o++, weight += c->depth, lowered += c->depth)
		for (int i = 0; i < c->group_in; i++)
			for (int t = 0; t < c->taps; t++)
				weight[i * c->taps + t] += lowered[t * c->group_in + i];
}

/* Depthwise weights as [taps][channels], so that channels lie side by side. */
void
nn_depthwise_weights(const NnConv *c, const float *weight, float *packed)
{
	for (int o = 0; o < c->outputs; o++)
		for (int t = 0; t < c->taps; t++)
			packed[t * c->outputs + o] = weight[o * c->taps + t];
}

/* ------------------------------------------------------------------ forward */

typedef struct Job
{
	const NnCall *call;
	const NnKernels *kernels;
	NnConv conv;
	NnDirect direct;
	const float *weight; /* packed */
	float *tiles;		 /* one per thread */
	size_t tile_floats;
	int tile_rows;
	int tiles_each; /* tiles of one picture */
} Job;

/*
 * Items are tiles, counted over the batch.  No tile crosses from one picture to the
 * next: SGEMM rounds differently with the number of rows, and a picture's values
 * must not depend on its neighbours in the batch.
 */
static void
gemm_tiles(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	const NnConv *c = &job->conv;
	const NnCall *call = job->call;
	int area = c->out_height * c->out_width;
	size_t picture = (size_t) c->height * c->width * c->channels;
	float *matrix = job->tiles + (size_t) thread * job->tile_floats;

	for (int item = begin; item < end; item++)
	{
		size_t n = (size_t) (item / job->tiles_each);
		int row = item % job->tiles_each * job->tile_rows;
		int rows = area - row < job->tile_rows ? area - row : job->tile_rows;
		float *out = call->out + (n * area + row) * c->outputs;

		for (int group = 0; group < c->groups; group++)
		{
			nn_im2col(c, call->in[0] + n * picture, group, row, rows, matrix);
			cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, c->group_out,
						c->depth, 1.0f, matrix, c->depth,
						job->weight + (size_t) group * c->group_out * c->depth, c->depth,
						0.0f, out + group * c->group_out, c->outputs);
		}
		job->kernels->bias_activate(out, (size_t) rows, c->outputs, call->param[1],
									call->node->activation);
	}
}

/* Ranges of output lines, counted over the batch. */
static void
depthwise_lines(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	const NnConv *c = &job->conv;
	const NnCall *call = job->call;

	(void) thread;
	for (int line = begin; line < end; line++)
	{
		int picture = line / c->out_height;
		int y0 = line % c->out_height * c->stride[0] - c->pad[0];
		float *out = call->out + (size_t) line * c->out_width * c->outputs;
		const float *in =
			call->in[0] + (size_t) picture * c->height * c->width * c->channels;

		memset(out, 0, (size_t) c->out_width * c->outputs * sizeof(float));
		for (int x = 0; x < c->out_width; x++)
			for (int t = 0; t < c->taps; t++)
			{
				int yy = y0 + t / c->kernel[1];
				int xx = x * c->stride[1] - c->pad[1] + t % c->kernel[1];

				if (yy >= 0 && yy < c->height && xx >= 0 && xx < c->width)
					job->kernels->multiply_add(in + ((size_t) yy * c->width + xx) *
														c->channels,
											   job->weight + (size_t) t * c->outputs,
											   out + (size_t) x * c->outputs, c->outputs);
			}
		job->kernels->bias_activate(out, (size_t) c->out_width, c->outputs,
									call->param[1], call->node->activation);
	}
}

static void
direct_pictures(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	const NnConv *c = &job->conv;
	const NnCall *call = job->call;
	size_t in = (size_t) c->height * c->width * c->channels;
	size_t area = (size_t) c->out_height * c->out_width, out = area * c->outputs;

	for (int i = begin; i < end; i++)
	{
		nn_direct_forward(&job->direct, 1, call->in[0] + (size_t) i * in, job->weight,
						  call->param[1], call->out + (size_t) i * out,
						  job->tiles + (size_t) thread * job->tile_floats);
		job->kernels->bias_activate(call->out + (size_t) i * out, area, c->outputs, NULL,
									call->node->activation);
	}
}

/* Everything is rounded up to whole cache lines. */
static size_t
padded(size_t floats)
{
	return (floats + 15) & ~(size_t) 15;
}

size_t
nn_conv2d_pack_size(const NnGraph *g, const NnNode *node)
{
	NnConv c = nn_conv_geometry(g, node);
	NnDirect direct;

	if (nn_direct_geometry(g, node, &direct))
		return padded(nn_direct_pack_size(&direct));
	return padded((size_t) c.outputs * c.depth);
}

void
nn_conv2d_pack(const NnGraph *g, const NnNode *node, float *packed)
{
	NnConv c = nn_conv_geometry(g, node);
	const float *weight = g->param[node->param[0]].data;
	NnDirect direct;

	if (nn_direct_geometry(g, node, &direct))
		nn_direct_pack(&direct, weight, packed);
	else if (nn_conv_is_depthwise(&c))
		nn_depthwise_weights(&c, weight, packed);
	else
		nn_conv_weights(&c, weight, packed);
}

/* Scratch of one thread. */
static size_t
tile_floats(const NnGraph *g, const NnNode *node)
{
	NnConv c = nn_conv_geometry(g, node);
	NnDirect direct;

	if (nn_direct_geometry(g, node, &direct))
		return padded(nn_direct_scratch(&direct, 1));
	return nn_conv_is_depthwise(&c) ? 0
									: padded((size_t) nn_conv_tile_rows(&c) * c.depth);
}

size_t
nn_conv2d_scratch(const NnGraph *g, const NnNode *node, int n, int threads)
{
	(void) n;
	return nn_conv2d_pack_size(g, node) + (size_t) threads * tile_floats(g, node);
}

void
nn_conv2d_forward(const NnCall *call)
{
	Job job = {0};
	NnConv *c = &job.conv;

	*c = nn_conv_geometry(call->graph, call->node);
	job.call = call;
	job.kernels = nn_kernels();
	job.weight = call->packed;
	job.tiles = call->scratch;
	job.tile_floats = tile_floats(call->graph, call->node);
	if (call->packed == NULL)
	{
		nn_conv2d_pack(call->graph, call->node, call->scratch);
		job.weight = call->scratch;
		job.tiles += nn_conv2d_pack_size(call->graph, call->node);
	}
	if (nn_direct_geometry(call->graph, call->node, &job.direct))
		nn_parallel(call->pool, call->n, direct_pictures, &job);
	else if (nn_conv_is_depthwise(c))
		nn_parallel(call->pool, call->n * c->out_height, depthwise_lines, &job);
	else
	{
		job.tile_rows = nn_conv_tile_rows(c);
		job.tiles_each =
			(c->out_height * c->out_width + job.tile_rows - 1) / job.tile_rows;
		nn_parallel(call->pool, call->n * job.tiles_each, gemm_tiles, &job);
	}
}
