/*
 * device.cu
 *	  The CUDA device: deephash-cuda.so.
 *
 * A net has its own stream, cuBLAS handle and memory; everything is allocated at
 * load, a run copies the pictures in, queues every node and copies the result out.
 * Matrix products are plain float32 (no TF32), so that codes agree with the CPU's
 * but for values within rounding of a threshold.
 *
 * No CUDA error ends the program: each becomes a text that names the layer.
 */
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <vector>

#include "kernels.cuh"
#include "nn/device.h"
#include "nn/graph.h"
#include "nn/plan.h"

/* The matrix of a lowered convolution is cut to about this many bytes. */
#define MATRIX_BYTES ((size_t) 128 << 20)
#define MATRIX_ROWS 256 /* but never to fewer rows */

/* One node, ready to run. */
struct Step
{
	const NnNode *node;
	float *param[NN_MAX_PARAMS]; /* on the device */
	float *weight;				 /* rearranged convolution weights; factor, shift */
	const float *in[NN_MAX_INPUTS];
	float *out;
};

struct NnNet
{
	const NnGraph *graph;
	int max_batch;
	int device;
	cudaStream_t stream;
	cublasHandle_t blas;
	std::vector<Step> step;
	std::vector<void *> memory; /* every allocation on the device */
	size_t bytes;				/* their sum */
	uint8_t *images;			/* max_batch pictures */
	float *arena;
	float *result;
	float *matrix; /* lowered convolutions, or attention's probabilities */
	NnPlan plan;
};

/* ------------------------------------------------------------------- errors */

static bool
cuda_ok(cudaError_t code, NnError *err, const char *doing)
{
	if (code == cudaSuccess)
		return true;
	cudaGetLastError(); /* or the next call reports it again */
	return nn_fail(err, "CUDA: %s: %s", doing, cudaGetErrorString(code));
}

/* "node 7 (conv2d "layer1.conv2", 32x32x64 -> 32x32x64)" */
static const char *
node_text(const NnNet *net, const NnNode *node, char *text, size_t size)
{
	char in[64] = "nothing", out[64];

	if (node->ninputs > 0)
		nn_shape_text(&net->graph->node[node->input[0]].shape, in, sizeof(in));
	snprintf(text, size, "node %d (%s \"%s\", %s -> %s)", (int) (node - net->graph->node),
			 nn_op_name(node->kind), node->name, in,
			 nn_shape_text(&node->shape, out, sizeof(out)));
	return text;
}

static bool
allocate(NnNet *net, void **memory, size_t bytes, const char *what, NnError *err)
{
	size_t free_bytes = 0, total = 0;
	cudaError_t code;

	*memory = NULL;
	if (bytes == 0)
		return true;
	code = cudaMalloc(memory, bytes);
	if (code == cudaErrorMemoryAllocation)
	{
		cudaGetLastError();
		cudaMemGetInfo(&free_bytes, &total);
		return nn_fail(
			err,
			"CUDA: out of memory: %.1f MB wanted for %s (batches of %d), %.1f MB "
			"of %.1f MB free; lower the batch",
			(double) bytes / 1e6, what, net->max_batch, (double) free_bytes / 1e6,
			(double) total / 1e6);
	}
	if (!cuda_ok(code, err, "allocating memory"))
		return false;
	net->memory.push_back(*memory);
	net->bytes += bytes;
	return true;
}

static bool
upload(NnNet *net, float **target, const float *values, size_t count, const char *name,
	   NnError *err)
{
	char what[NN_MAX_NAME + 16];

	snprintf(what, sizeof(what), "weights \"%s\"", name);
	return allocate(net, (void **) target, count * sizeof(float), what, err) &&
		   cuda_ok(
			   cudaMemcpy(*target, values, count * sizeof(float), cudaMemcpyHostToDevice),
			   err, what);
}

/* --------------------------------------------------------------------- load */

static const NnShape *
input_shape(const NnGraph *g, const NnNode *node)
{
	return &g->node[node->input[0]].shape;
}

static bool
is_depthwise(const NnNode *node, const NnShape *in)
{
	return node->groups > 1 && node->groups == in->dim[2] &&
		   node->groups == node->channels;
}

static bool
is_pointwise(const NnNode *node)
{
	return node->groups == 1 && node->kernel[0] == 1 && node->kernel[1] == 1 &&
		   node->stride[0] == 1 && node->stride[1] == 1 && node->pad[0] == 0 &&
		   node->pad[1] == 0;
}

static Window
window_of(const NnGraph *g, const NnNode *node)
{
	const NnShape *in = input_shape(g, node);
	Window w;

	w.height = in->dim[0];
	w.width = in->dim[1];
	w.channels = in->dim[2];
	w.out_height = node->shape.dim[0];
	w.out_width = node->shape.dim[1];
	for (int i = 0; i < 2; i++)
	{
		w.kernel[i] = node->kernel[i];
		w.stride[i] = node->stride[i];
		w.pad[i] = node->pad[i];
	}
	return w;
}

/* [out][group][taps] to [out][taps][group], or depthwise to [taps][out]. */
static bool
load_conv(NnNet *net, Step *step, NnError *err)
{
	const NnNode *node = step->node;
	const NnParam *param = &net->graph->param[node->param[0]];
	int outputs = node->channels, group = param->shape.dim[1];
	int taps = node->kernel[0] * node->kernel[1];
	bool depthwise = is_depthwise(node, input_shape(net->graph, node));
	std::vector<float> packed(nn_shape_size(&param->shape));

	for (int o = 0; o < outputs; o++)
		for (int c = 0; c < group; c++)
			for (int t = 0; t < taps; t++)
			{
				size_t to = depthwise ? (size_t) t * outputs + o
									  : ((size_t) o * taps + t) * group + c;

				packed[to] = param->data[((size_t) o * group + c) * taps + t];
			}
	return upload(net, &step->weight, packed.data(), packed.size(), param->name, err);
}

/* factor and shift of y = x * factor + shift, one after the other. */
static bool
load_batchnorm(NnNet *net, Step *step, NnError *err)
{
	const NnParam *p[4];
	size_t n;
	std::vector<float> both;

	for (int i = 0; i < 4; i++)
		p[i] = &net->graph->param[step->node->param[i]];
	n = nn_shape_size(&p[0]->shape);
	both.resize(2 * n);
	for (size_t c = 0; c < n; c++)
	{
		both[c] = p[0]->data[c] / sqrtf(p[3]->data[c] + step->node->eps);
		both[n + c] = p[1]->data[c] - p[2]->data[c] * both[c];
	}
	return upload(net, &step->weight, both.data(), 2 * n, p[0]->name, err);
}

static bool
load_params(NnNet *net, Step *step, NnError *err)
{
	const NnNode *node = step->node;

	if (node->kind == NN_CONV2D && !load_conv(net, step, err))
		return false;
	if (node->kind == NN_BATCHNORM)
		return load_batchnorm(net, step, err);
	for (int i = 0; i < node->nparams; i++)
	{
		const NnParam *p;

		if (node->param[i] < 0 || (node->kind == NN_CONV2D && i == 0))
			continue;
		p = &net->graph->param[node->param[i]];
		if (!upload(net, &step->param[i], p->data, nn_shape_size(&p->shape), p->name,
					err))
			return false;
	}
	return true;
}

/* Rows of the lowered matrix that are made at once. */
static size_t
matrix_rows(const NnNet *net, const NnNode *node, size_t depth)
{
	size_t all = (size_t) net->max_batch * node->shape.dim[0] * node->shape.dim[1];
	size_t rows = MATRIX_BYTES / sizeof(float) / depth;

	rows = rows < MATRIX_ROWS ? MATRIX_ROWS : rows;
	return rows < all ? rows : all;
}

static size_t
conv_depth(const NnGraph *g, const NnNode *node)
{
	return (size_t) node->kernel[0] * node->kernel[1] *
		   (size_t) (input_shape(g, node)->dim[2] / node->groups);
}

/* Floats of scratch that a node wants. */
static size_t
matrix_floats(const NnNet *net, const NnNode *node)
{
	const NnGraph *g = net->graph;
	size_t tokens;

	if (node->kind == NN_CONV2D && !is_pointwise(node) &&
		!is_depthwise(node, input_shape(g, node)))
	{
		size_t depth = conv_depth(g, node);

		return matrix_rows(net, node, depth) * depth;
	}
	if (node->kind != NN_ATTENTION)
		return 0;
	tokens = (size_t) node->shape.dim[0];
	return (size_t) net->max_batch * (size_t) node->heads * tokens * tokens;
}

static bool
allocate_buffers(NnNet *net, NnError *err)
{
	const NnGraph *g = net->graph;
	size_t batch = (size_t) net->max_batch, matrix = 0;

	for (int i = 0; i < g->nnodes; i++)
	{
		size_t wants = matrix_floats(net, &g->node[i]);

		matrix = wants > matrix ? wants : matrix;
	}
	return allocate(net, (void **) &net->images, batch * nn_shape_size(&g->node[0].shape),
					"pictures", err) &&
		   allocate(net, (void **) &net->arena, net->plan.floats * sizeof(float),
					"activations", err) &&
		   allocate(net, (void **) &net->result,
					batch * nn_shape_size(&nn_graph_output(g)->shape) * sizeof(float),
					"results", err) &&
		   allocate(net, (void **) &net->matrix, matrix * sizeof(float), "scratch", err);
}

static bool
prepare(NnNet *net, NnError *err)
{
	const NnGraph *g = net->graph;

	if (!cuda_ok(cudaGetDevice(&net->device), err, "choosing a device") ||
		!cuda_ok(cudaStreamCreateWithFlags(&net->stream, cudaStreamNonBlocking), err,
				 "making a stream"))
		return false;
	if (cublasCreate(&net->blas) != CUBLAS_STATUS_SUCCESS)
	{
		net->blas = NULL;
		return nn_fail(err,
					   "CUDA: cuBLAS could not start (too little memory, or a driver "
					   "that does not fit)");
	}
	if (cublasSetStream(net->blas, net->stream) != CUBLAS_STATUS_SUCCESS ||
		cublasSetMathMode(net->blas, CUBLAS_PEDANTIC_MATH) != CUBLAS_STATUS_SUCCESS)
		return nn_fail(err, "CUDA: cuBLAS does not take its settings");
	if (!nn_plan(g, net->max_batch, &net->plan, err) || !allocate_buffers(net, err))
		return false;
	net->step.resize((size_t) g->nnodes);
	for (int i = 0; i < g->nnodes; i++)
	{
		Step *step = &net->step[(size_t) i];

		memset(step, 0, sizeof(*step));
		step->node = &g->node[i];
		step->out = i == g->nnodes - 1 ? net->result : net->arena + net->plan.offset[i];
		for (int k = 0; k < step->node->ninputs; k++)
			step->in[k] = net->arena + net->plan.offset[step->node->input[k]];
		if (!load_params(net, step, err))
			return false;
	}
	/* copies may still be on their way, and our stream does not wait for them */
	return cuda_ok(cudaDeviceSynchronize(), err, "copying weights");
}

static void
cuda_unload(NnNet *net)
{
	if (net == NULL)
		return;
	cudaSetDevice(net->device);
	if (net->stream)
		cudaStreamSynchronize(net->stream);
	if (net->blas)
		cublasDestroy(net->blas);
	for (size_t i = 0; i < net->memory.size(); i++)
		cudaFree(net->memory[i]);
	if (net->stream)
		cudaStreamDestroy(net->stream);
	cudaGetLastError();
	nn_plan_free(&net->plan);
	delete net;
}

static NnNet *
cuda_load(const NnGraph *graph, int max_batch, int threads, NnError *err)
{
	NnNet *net = NULL;
	bool ok = false;

	(void) threads;
	if (!nn_graph_ok(graph, err))
		return NULL;
	/* the only exceptions are those of std::vector, and they must not leave here */
	try
	{
		net = new NnNet();
		net->graph = graph;
		net->max_batch = max_batch;
		ok = prepare(net, err);
	}
	catch (...)
	{
		nn_fail(err, "out of memory while loading the network");
	}
	if (ok)
		return net;
	cuda_unload(net);
	return NULL;
}

/* ---------------------------------------------------------------------- run */

/*
 * y[rows][outputs] (rows apart by stride) = x[rows][depth] w[outputs][depth]^T.
 * cuBLAS counts columns first, so it is told y^T = w x^T.
 */
static bool
multiply(NnNet *net, const float *x, const float *w, float *y, size_t rows, int depth,
		 int outputs, int stride)
{
	const float one = 1, zero = 0;

	return cublasSgemm(net->blas, CUBLAS_OP_T, CUBLAS_OP_N, outputs, (int) rows, depth,
					   &one, w, depth, x, depth, &zero, y,
					   stride) == CUBLAS_STATUS_SUCCESS;
}

static bool
run_conv(NnNet *net, const Step *step, int n)
{
	const NnNode *node = step->node;
	Window w = window_of(net->graph, node);
	size_t all = (size_t) n * w.out_height * w.out_width;
	int depth = (int) conv_depth(net->graph, node);
	int group_in = w.channels / node->groups, group_out = node->channels / node->groups;
	bool ok = true;

	if (is_depthwise(node, input_shape(net->graph, node)))
		gpu_depthwise(net->stream, step->in[0], w, n, step->weight, step->out);
	else if (is_pointwise(node))
		ok = multiply(net, step->in[0], step->weight, step->out, all, depth,
					  node->channels, node->channels);
	else
	{
		size_t most = matrix_rows(net, node, (size_t) depth);

		for (size_t row = 0; ok && row < all; row += most)
		{
			size_t rows = all - row < most ? all - row : most;

			for (int g = 0; ok && g < node->groups; g++)
			{
				gpu_im2col(net->stream, step->in[0], w, g * group_in, group_in, row, rows,
						   net->matrix);
				ok = multiply(net, net->matrix,
							  step->weight + (size_t) g * group_out * depth,
							  step->out + row * node->channels + (size_t) g * group_out,
							  rows, depth, group_out, node->channels);
			}
		}
	}
	gpu_bias_activate(net->stream, step->out, all * node->channels, node->channels,
					  step->param[1], node->activation);
	return ok;
}

static bool
run_linear(NnNet *net, const Step *step, int n)
{
	const NnNode *node = step->node;
	const NnShape *in = input_shape(net->graph, node);
	int depth = in->dim[in->ndim - 1];
	size_t rows = (size_t) n * nn_shape_size(in) / (size_t) depth;
	bool ok = multiply(net, step->in[0], step->param[0], step->out, rows, depth,
					   node->channels, node->channels);

	gpu_bias_activate(net->stream, step->out, rows * node->channels, node->channels,
					  step->param[1], node->activation);
	return ok;
}

/* Head by head over all pictures; probabilities are [heads][n][tokens][tokens]. */
static bool
run_attention(NnNet *net, const Step *step, int n)
{
	const float one = 1, zero = 0;
	int t = step->node->shape.dim[0], d = step->node->shape.dim[1];
	int heads = step->node->heads, width = d / heads;
	long long square = (long long) t * t, in_size = (long long) t * 3 * d;
	bool ok = true;

	for (int h = 0; ok && h < heads; h++)
	{
		const float *q = step->in[0] + h * width;

		ok = cublasSgemmStridedBatched(net->blas, CUBLAS_OP_T, CUBLAS_OP_N, t, t, width,
									   &one, q + d, 3 * d, in_size, q, 3 * d, in_size,
									   &zero, net->matrix + h * n * square, t, square,
									   n) == CUBLAS_STATUS_SUCCESS;
	}
	gpu_softmax(net->stream, net->matrix, net->matrix, (size_t) heads * n * t, t,
				1.0f / sqrtf((float) width));
	for (int h = 0; ok && h < heads; h++)
		ok = cublasSgemmStridedBatched(net->blas, CUBLAS_OP_N, CUBLAS_OP_N, width, t, t,
									   &one, step->in[0] + 2 * d + h * width, 3 * d,
									   in_size, net->matrix + h * n * square, t, square,
									   &zero, step->out + h * width, d, (long long) t * d,
									   n) == CUBLAS_STATUS_SUCCESS;
	return ok;
}

/* Queue one node.  False: cuBLAS refused; CUDA's own errors are asked for later. */
static bool
run_step(NnNet *net, const Step *step, int n)
{
	const NnNode *node = step->node;
	const NnShape *out = &node->shape;
	const NnShape *in = node->ninputs ? input_shape(net->graph, node) : out;
	cudaStream_t s = net->stream;
	size_t size = nn_shape_size(out), count = (size_t) n * size;
	int cols = out->dim[out->ndim - 1];

	switch (node->kind)
	{
		case NN_INPUT:
			gpu_input(s, net->images, step->out, count, node->mean, node->std);
			break;
		case NN_CONV2D:
			return run_conv(net, step, n);
		case NN_LINEAR:
			return run_linear(net, step, n);
		case NN_BATCHNORM:
			gpu_affine(s, step->in[0], step->out, count, cols, step->weight,
					   step->weight + cols);
			break;
		case NN_LAYERNORM:
			gpu_layernorm(s, step->in[0], step->out, count / cols, cols, step->param[0],
						  step->param[1], node->eps);
			break;
		case NN_ACTIVATION:
			gpu_activate(s, step->in[0], step->out, count, node->activation);
			break;
		case NN_MAXPOOL:
		case NN_AVGPOOL:
			gpu_pool(s, step->in[0], window_of(net->graph, node), n,
					 node->kind == NN_AVGPOOL, step->out);
			break;
		case NN_GLOBAL_AVGPOOL:
			gpu_global_avgpool(s, step->in[0], n, in->dim[0] * in->dim[1], cols,
							   step->out);
			break;
		case NN_ADD:
			gpu_add(s, step->in[0], step->in[1], step->out, count);
			break;
		case NN_ATTENTION:
			return run_attention(net, step, n);
		case NN_SOFTMAX:
			gpu_softmax(s, step->in[0], step->out, count / cols, cols, 1.0f);
			break;
		case NN_RESHAPE:
			if (step->out != step->in[0])
				cudaMemcpyAsync(step->out, step->in[0], count * sizeof(float),
								cudaMemcpyDeviceToDevice, s);
			break;
		case NN_CLASS_TOKEN:
			gpu_class_token(s, step->in[0], step->param[0], step->out, n, in->dim[0],
							cols);
			break;
		case NN_POSITION:
			gpu_add_repeated(s, step->in[0], step->param[0], step->out, count, size);
			break;
		case NN_TOKEN:
			gpu_token(s, step->in[0], step->out, n, in->dim[0], cols, node->index);
			break;
		case NN_SCALE:
			gpu_scale(s, step->in[0], step->out, count, node->scale);
			break;
		default:
			return false;
	}
	return true;
}

static bool
cuda_run(NnNet *net, const uint8_t *images, int n, float *out, NnError *err)
{
	const NnGraph *g = net->graph;
	char text[256];

	if (n < 1 || n > net->max_batch)
		return nn_fail(err, "a batch of %d images: this network was loaded for 1 to %d",
					   n, net->max_batch);
	if (!cuda_ok(cudaSetDevice(net->device), err, "choosing the device") ||
		!cuda_ok(cudaMemcpyAsync(net->images, images,
								 (size_t) n * nn_shape_size(&g->node[0].shape),
								 cudaMemcpyHostToDevice, net->stream),
				 err, "copying pictures"))
		return false;
	for (size_t i = 0; i < net->step.size(); i++)
	{
		cudaError_t code;

		if (!run_step(net, &net->step[i], n))
			return nn_fail(err, "CUDA: cuBLAS failed at %s with a batch of %d",
						   node_text(net, net->step[i].node, text, sizeof(text)), n);
		code = cudaGetLastError();
		if (code != cudaSuccess)
			return nn_fail(err, "CUDA: %s with a batch of %d: %s",
						   node_text(net, net->step[i].node, text, sizeof(text)), n,
						   cudaGetErrorString(code));
	}
	return cuda_ok(
			   cudaMemcpyAsync(out, net->result,
							   (size_t) n * nn_shape_size(&nn_graph_output(g)->shape) *
								   sizeof(float),
							   cudaMemcpyDeviceToHost, net->stream),
			   err, "copying results") &&
		   cuda_ok(cudaStreamSynchronize(net->stream), err, "running the network");
}

static size_t
cuda_memory(const NnNet *net)
{
	return net->bytes;
}

static bool
cuda_probe(char *text, size_t size)
{
	cudaDeviceProp device;
	cudaError_t code;
	int count = 0, driver = 0;

	code = cudaGetDeviceCount(&count);
	if (code == cudaSuccess && count > 0)
		code = cudaGetDeviceProperties(&device, 0);
	if (code == cudaSuccess && count > 0)
		code = cudaSetDevice(0);
	if (code == cudaSuccess && count > 0)
		code = gpu_kernels_usable();
	if (code != cudaSuccess || count == 0)
	{
		cudaGetLastError();
		snprintf(text, size, "%s",
				 count == 0 && code == cudaSuccess ? "no CUDA device"
												   : cudaGetErrorString(code));
		return false;
	}
	cudaDriverGetVersion(&driver);
	snprintf(text, size, "%s, %.0f GB, compute capability %d.%d, driver for CUDA %d.%d",
			 device.name, (double) device.totalGlobalMem / 1e9, device.major,
			 device.minor, driver / 1000, driver % 1000 / 10);
	return true;
}

static const NnDevice cuda_device = {NN_DEVICE_API, "cuda",		 cuda_probe, cuda_load,
									 cuda_run,		cuda_memory, cuda_unload};

extern "C" const NnDevice *deephash_device(void);

extern "C" const NnDevice *
deephash_device(void)
{
	return &cuda_device;
}
