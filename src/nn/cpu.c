/*
 * cpu.c
 *	  The CPU device: all memory at load, none at run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/device.h"
#include "nn/kernels.h"
#include "nn/op.h"
#include "nn/plan.h"

/* OpenBLAS's own; declared here because not every cblas.h does. */
extern char *openblas_get_corename(void);

struct NnNet
{
	const NnGraph *graph;
	int max_batch;
	NnPool *pool; /* shared by all networks: ten of them need no more threads than one */
	NnPlan plan;
	NnCall *call;  /* one per node, ready but for the batch */
	float *arena;  /* activations */
	float *packed; /* weights as the kernels want them */
	float *scratch;
	size_t bytes; /* of all of these */
};

static void cpu_unload(NnNet *net);

static bool
cpu_probe(char *text, size_t size)
{
	NnPool *pool = nn_pool_new(0);

	if (pool == NULL)
	{
		snprintf(text, size, "the CPU gives no threads");
		return false;
	}
	snprintf(text, size, "%d threads, %s kernels, OpenBLAS for %s", nn_pool_threads(pool),
			 nn_kernels()->name, openblas_get_corename());
	nn_pool_free(pool);
	return true;
}

static size_t
bytes_of(size_t floats)
{
	return (floats * sizeof(float) + 63) & ~(size_t) 63;
}

static bool
take(NnNet *net, float **memory, size_t floats, const char *what, NnError *err)
{
	size_t bytes = bytes_of(floats);

	*memory = bytes ? aligned_alloc(64, bytes) : NULL;
	if (bytes && *memory == NULL)
		return nn_fail(
			err, "out of memory: %.1f MB for the %s of batches of %d; lower the batch",
			(double) bytes / 1e6, what, net->max_batch);
	net->bytes += bytes;
	return true;
}

static size_t
padded(size_t floats)
{
	return (floats + 15) & ~(size_t) 15;
}

/* Sizes over all nodes, in floats: packed weights add up, scratch is shared. */
static void
sizes(const NnGraph *g, int max_batch, int threads, size_t *packed, size_t *scratch)
{
	*packed = *scratch = 0;
	for (int i = 0; i < g->nnodes; i++)
	{
		const NnOp *op = &nn_op[g->node[i].kind];
		size_t wants = op->scratch ? op->scratch(g, &g->node[i], max_batch, threads) : 0;

		if (op->pack_size)
			*packed += padded(op->pack_size(g, &g->node[i]));
		*scratch = wants > *scratch ? wants : *scratch;
	}
}

static bool
allocate(NnNet *net, NnError *err)
{
	const NnGraph *g = net->graph;
	size_t packed, scratch;

	sizes(g, net->max_batch, nn_pool_threads(net->pool), &packed, &scratch);
	net->call = calloc((size_t) g->nnodes, sizeof(NnCall));
	if (net->call == NULL)
		return nn_fail(err, "out of memory for %d nodes", g->nnodes);
	net->bytes += (size_t) g->nnodes * sizeof(NnCall);
	return take(net, &net->arena, net->plan.floats, "activations", err) &&
		   take(net, &net->packed, packed, "weights", err) &&
		   take(net, &net->scratch, scratch, "scratch", err);
}

static void
prepare_calls(NnNet *net)
{
	const NnGraph *g = net->graph;
	float *packed = net->packed;

	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];
		const NnOp *op = &nn_op[node->kind];
		NnCall *call = &net->call[i];

		call->graph = g;
		call->node = node;
		call->pool = net->pool;
		call->scratch = net->scratch;
		call->out = net->arena + net->plan.offset[i];
		for (int k = 0; k < node->ninputs; k++)
			call->in[k] = net->arena + net->plan.offset[node->input[k]];
		for (int p = 0; p < node->nparams; p++)
			call->param[p] = node->param[p] >= 0 ? g->param[node->param[p]].data : NULL;
		if (op->pack_size)
		{
			op->pack(g, node, packed);
			call->packed = packed;
			packed += padded(op->pack_size(g, node));
		}
	}
}

static NnNet *
cpu_load(const NnGraph *graph, int max_batch, int threads, NnError *err)
{
	NnNet *net;

	if (!nn_graph_ok(graph, err))
		return NULL;
	if (nn_graph_output_node(graph, 0) != graph->nnodes - 1)
	{
		nn_fail(err, "the network ends in something else than its first output; make it "
					 "one for inference first (nn_graph_fold_batchnorm)");
		return NULL;
	}
	net = calloc(1, sizeof(*net));
	if (net == NULL)
	{
		nn_fail(err, "out of memory");
		return NULL;
	}
	net->graph = graph;
	net->max_batch = max_batch;
	net->bytes = sizeof(*net);
	net->pool = nn_pool_share(threads);
	if (net->pool == NULL)
		nn_fail(err, "could not start %d threads", threads);
	if (net->pool == NULL || !nn_plan(graph, max_batch, &net->plan, err) ||
		!allocate(net, err))
	{
		cpu_unload(net);
		return NULL;
	}
	prepare_calls(net);
	return net;
}

static bool
cpu_run(NnNet *net, const uint8_t *images, int n, float *out, NnError *err)
{
	const NnGraph *g = net->graph;

	if (n < 1 || n > net->max_batch)
		return nn_fail(err, "a batch of %d images: this network was loaded for 1 to %d",
					   n, net->max_batch);
	nn_pool_begin(net->pool);
	for (int i = 0; i < g->nnodes; i++)
	{
		NnCall *call = &net->call[i];

		call->n = n;
		call->images = images;
		if (i == g->nnodes - 1)
			call->out = out;
		nn_op[g->node[i].kind].forward(call);
	}
	nn_pool_end(net->pool);
	return true;
}

static size_t
cpu_memory(const NnNet *net)
{
	return net->bytes;
}

static void
cpu_unload(NnNet *net)
{
	if (net == NULL)
		return;
	nn_pool_leave(net->pool);
	nn_plan_free(&net->plan);
	free(net->call);
	free(net->arena);
	free(net->packed);
	free(net->scratch);
	free(net);
}

static size_t
cpu_estimate(const NnGraph *graph, const NnServing *how)
{
	size_t packed, scratch, bytes;
	NnPlan plan;
	NnError err;

	if (!nn_plan(graph, how->max_batch, &plan, &err))
		return 0;
	sizes(graph, how->max_batch, how->threads > 0 ? how->threads : 1, &packed, &scratch);
	bytes = sizeof(NnNet) + (size_t) graph->nnodes * sizeof(NnCall) +
			bytes_of(plan.floats) + bytes_of(packed) + bytes_of(scratch);
	nn_plan_free(&plan);
	return bytes;
}

const NnDevice nn_cpu_device = {.api = NN_DEVICE_API,
								.name = "cpu",
								.probe = cpu_probe,
								.load = cpu_load,
								.run = cpu_run,
								.memory = cpu_memory,
								.unload = cpu_unload,
								.estimate = cpu_estimate,
								.usual = NN_FLOAT32};
