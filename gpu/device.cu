/*
 * device.cu
 *	  The CUDA device, deephash-cuda.so: probing, loading, unloading.
 *
 * A net has its own stream, cuBLAS handle and memory; everything is allocated at
 * load, a run (run.cu) copies the pictures in, queues every node and copies the
 * result out.  Matrix products are plain float32 (no TF32), so that codes agree
 * with the CPU's but for values within rounding of a threshold.
 *
 * No CUDA error ends the program: each becomes a text.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "net.cuh"

bool
cuda_ok(cudaError_t code, NnError *err, const char *doing)
{
	if (code == cudaSuccess)
		return true;
	cudaGetLastError(); /* or the next call reports it again */
	return nn_fail(err, "CUDA: %s: %s", doing, cudaGetErrorString(code));
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

	if (node->kind > NN_SCALE)
		return nn_fail(err,
					   "layer \"%s\": the CUDA device has no operation \"%s\"; use "
					   "the CPU",
					   node->name, nn_op_name(node->kind));
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

/* ------------------------------------------------------------------- device */

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
