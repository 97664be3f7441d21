/*
 * device.cu
 *	  Inference on the GPU, deephash-cuda.so's first symbol: probing, loading, running.
 *
 * Everything is allocated at load; a run copies the pictures in, queues every node on
 * one stream and copies the result out.  Products are plain float32 (no TF32), so that
 * codes agree with the CPU's but for values within rounding of a threshold.
 *
 * No CUDA error ends the program: each becomes a text.
 */
#include <stdio.h>

#include "gpu/memory.h"
#include "gpu/op.h"
#include "nn/device.h"
#include "nn/plan.h"

#define MAX_BLOCKS (NN_MAX_GRAPH_PARAMS + NN_MAX_NODES + 8)

struct NnNet
{
	const NnGraph *graph;
	int max_batch;
	Machine m;
	NnPlan plan;
	Call<float> *call; /* one per node, ready but for the batch */
	int nblocks;
	void *block[MAX_BLOCKS]; /* every allocation on the device */
	size_t bytes;
	uint8_t *images;
	float *arena, *result;
};

static bool
room(NnNet *net, void *to, size_t bytes, const char *what, NnError *err)
{
	char text[NN_MAX_NAME + 64];
	void *memory;

	snprintf(text, sizeof(text), "%s (batches of %d)", what, net->max_batch);
	if (!gpu_allocate(&memory, bytes, text, "lower the batch", err))
		return false;
	memcpy(to, &memory, sizeof(memory));
	if (memory)
		net->block[net->nblocks++] = memory;
	net->bytes += bytes;
	return true;
}

static bool
load_params(NnNet *net, Call<float> *call, NnError *err)
{
	const NnNode *node = call->node;

	for (int i = 0; i < node->nparams; i++)
	{
		const NnParam *p;
		size_t bytes;

		if (node->param[i] < 0)
			continue;
		p = &net->graph->param[node->param[i]];
		bytes = nn_shape_size(&p->shape) * sizeof(float);
		if (!room(net, &call->param[i], bytes, p->name, err) ||
			!gpu_up(&net->m, call->param[i], p->data, bytes, err) ||
			!gpu_wait(&net->m, err))
			return false;
	}
	if (node->kind == NN_LINEAR)
		call->packed = call->param[0];
	if (node->kind == NN_CONV2D || node->kind == NN_CONV_TRANSPOSE2D)
	{
		const NnParam *p = &net->graph->param[node->param[0]];
		float *packed;

		if (!room(net, &packed, nn_shape_size(&p->shape) * sizeof(float), p->name, err))
			return false;
		pack_weights(call, packed);
		call->packed = packed;
	}
	return true;
}

/* Queue node i; false and err where that failed. */
static bool
queue(NnNet *net, int i, int n, NnError *err)
{
	const NnNode *node = &net->graph->node[i];
	const char *trouble;
	char in[64] = "nothing", out[64];

	net->call[i].n = n;
	op_forward(&net->call[i]);
	trouble = gpu_trouble(&net->m);
	if (!trouble)
		return true;
	if (node->ninputs > 0)
		nn_shape_text(&net->graph->node[node->input[0]].shape, in, sizeof(in));
	return nn_fail(err, "CUDA: node %d (%s \"%s\", %s -> %s) with a batch of %d: %s", i,
				   nn_op_name(node->kind), node->name, in,
				   nn_shape_text(&node->shape, out, sizeof(out)), n, trouble);
}

static bool
prepare(NnNet *net, NnError *err)
{
	const NnGraph *g = net->graph;
	size_t batch = (size_t) net->max_batch;

	if (!gpu_start(&net->m, false, err) || !nn_plan(g, net->max_batch, &net->plan, err) ||
		!room(net, &net->images, batch * nn_shape_size(&g->node[0].shape), "pictures",
			  err) ||
		!room(net, &net->arena, net->plan.floats * sizeof(float), "activations", err) ||
		!room(net, &net->result,
			  batch * nn_shape_size(&nn_graph_output(g)->shape) * sizeof(float),
			  "results", err))
		return false;
	net->call = (Call<float> *) calloc((size_t) g->nnodes, sizeof(*net->call));
	if (!net->call)
		return nn_fail(err, "out of memory for %d nodes", g->nnodes);
	for (int i = 0; i < g->nnodes; i++)
	{
		Call<float> *call = &net->call[i];

		call->m = &net->m;
		call->graph = g;
		call->node = &g->node[i];
		call->images = net->images;
		call->out = i == g->nnodes - 1 ? net->result : net->arena + net->plan.offset[i];
		for (int k = 0; k < call->node->ninputs; k++)
			call->in[k] = net->arena + net->plan.offset[call->node->input[k]];
		if (!load_params(net, call, err))
			return false;
	}
	net->m.dry = true;
	for (int i = 0; i < g->nnodes; i++)
		if (!queue(net, i, net->max_batch, err))
			return false;
	net->m.dry = false;
	return room(net, &net->m.scratch, net->m.most, "scratch", err) &&
		   gpu_wait(&net->m, err);
}

static void
cuda_unload(NnNet *net)
{
	NnError ignored;

	if (!net)
		return;
	gpu_wait(&net->m, &ignored);
	for (int i = 0; i < net->nblocks; i++)
		gpu_free(net->block[i]);
	gpu_stop(&net->m);
	nn_plan_free(&net->plan);
	free(net->call);
	free(net);
}

static NnNet *
cuda_load(const NnGraph *graph, int max_batch, int threads, NnError *err)
{
	NnNet *net;

	(void) threads;
	if (!nn_graph_ok(graph, err))
		return NULL;
	if (nn_graph_output_node(graph, 0) != graph->nnodes - 1)
	{
		nn_fail(err, "the network ends in something else than its first output; make it "
					 "one for inference first (nn_graph_fold_batchnorm)");
		return NULL;
	}
	net = (NnNet *) calloc(1, sizeof(*net));
	if (!net)
	{
		nn_fail(err, "out of memory while loading the network");
		return NULL;
	}
	net->graph = graph;
	net->max_batch = max_batch;
	if (prepare(net, err))
		return net;
	cuda_unload(net);
	return NULL;
}

static bool
cuda_run(NnNet *net, const uint8_t *images, int n, float *out, NnError *err)
{
	const NnGraph *g = net->graph;

	if (n < 1 || n > net->max_batch)
		return nn_fail(err, "a batch of %d images: this network was loaded for 1 to %d",
					   n, net->max_batch);
	if (!gpu_up(&net->m, net->images, images,
				(size_t) n * nn_shape_size(&g->node[0].shape), err))
		return false;
	for (int i = 0; i < g->nnodes; i++)
		if (!queue(net, i, n, err))
			return false;
	return gpu_down(&net->m, out, net->result,
					(size_t) n * nn_shape_size(&nn_graph_output(g)->shape) *
						sizeof(float),
					err) &&
		   gpu_wait(&net->m, err);
}

static size_t
cuda_memory(const NnNet *net)
{
	return net->bytes;
}

extern "C" bool gpu_probe(char *text, size_t size);
extern "C" const NnDevice *deephash_device(void);

#ifdef __CUDACC__

__global__ static void
nothing(void)
{
}

/* The first GPU that CUDA shows, and whether this was compiled for it. */
extern "C" bool
gpu_probe(char *text, size_t size)
{
	cudaDeviceProp device;
	cudaFuncAttributes attributes;
	cudaError_t code;
	int count = 0, driver = 0;

	code = cudaGetDeviceCount(&count);
	if (code == cudaSuccess && count > 0)
		code = cudaGetDeviceProperties(&device, 0);
	if (code == cudaSuccess && count > 0)
		code = cudaSetDevice(0);
	if (code == cudaSuccess && count > 0)
		code = cudaFuncGetAttributes(&attributes, nothing);
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

#else

extern "C" bool
gpu_probe(char *text, size_t size)
{
	snprintf(text, size, "the host");
	return true;
}

#endif

/* Its activations: no more is known before. */
static size_t
cuda_estimate(const NnGraph *graph, const NnServing *how)
{
	NnPlan plan;
	NnError err;
	size_t bytes;

	if (!nn_plan(graph, how->max_batch, &plan, &err))
		return 0;
	bytes = plan.floats * sizeof(float);
	nn_plan_free(&plan);
	return bytes;
}

static const NnDevice cuda_device = {
	NN_DEVICE_API, "cuda", gpu_probe, cuda_load, cuda_run, cuda_memory, cuda_unload,
	cuda_estimate, NULL,   NULL,	  NULL,		 NULL,	   NN_FLOAT32};

extern "C" const NnDevice *
deephash_device(void)
{
	return &cuda_device;
}
