/*
 * cpu.c
 *	  The CPU device: all memory at load, none at run.
 *
 * A picture goes through the whole network in one thread, in memory of its own (a lane),
 * which is as fast as any batch: products of one picture fill the registers, and its
 * activations stay in the caches.  So threads meet once a batch and not once a layer, and
 * several callers may run one net at the same time.  Only where a layer's products can be
 * cut within a picture (attention) does a lone picture get all threads.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/device.h"
#include "nn/kernels.h"
#include "nn/memory.h"
#include "nn/op.h"
#include "nn/plan.h"

/* OpenBLAS's own; declared here because not every cblas.h does. */
extern char *openblas_get_corename(void);

/* What one picture needs on its way. */
typedef struct Lane
{
	struct Lane *next; /* free */
	NnCall *call;	   /* one per node, ready but for the picture */
	float *arena;	   /* activations */
	float *scratch;
} Lane;

struct NnNet
{
	const NnGraph *graph;
	int max_batch;
	NnPool *pool;  /* shared by all networks: ten of them need no more threads than one */
	NnPlan plan;   /* of one picture */
	float *packed; /* weights as the kernels want them */
	float *wide;   /* scratch of all threads for a lone picture, or NULL */
	size_t bytes;  /* of all of these */

	int nlanes;
	Lane *lane;
	pthread_mutex_t lock;
	pthread_cond_t freed;
	Lane *free;
	int busy; /* lanes in use */
};

/* Sizes in floats. */
typedef struct Sizes
{
	size_t packed;	/* all nodes' weights */
	size_t scratch; /* of one thread */
	size_t wide;	/* of all threads; 0: a picture takes one */
} Sizes;

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

	*memory = bytes ? nn_alloc(bytes) : NULL;
	if (bytes && *memory == NULL)
		return nn_fail(err, "out of memory: %.1f MB for the %s", (double) bytes / 1e6,
					   what);
	net->bytes += bytes;
	return true;
}

static size_t
padded(size_t floats)
{
	return (floats + 15) & ~(size_t) 15;
}

/* Scratch that the node wants where its weights are packed. */
static size_t
scratch_of(const NnGraph *g, const NnNode *node, int threads)
{
	const NnOp *op = &nn_op[node->kind];
	size_t wants = op->scratch ? op->scratch(g, node, 1, threads) : 0;

	/* Room to pack them at each call comes first, and is not used. */
	return op->pack_size ? wants - op->pack_size(g, node) : wants;
}

/* Packed weights add up, scratch is shared by the nodes. */
static Sizes
sizes_of(const NnGraph *g, int threads)
{
	Sizes sizes = {0};
	bool cut = false;

	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];
		size_t narrow = scratch_of(g, node, 1), wide = scratch_of(g, node, threads);

		if (nn_op[node->kind].pack_size)
			sizes.packed += padded(nn_op[node->kind].pack_size(g, node));
		sizes.scratch = narrow > sizes.scratch ? narrow : sizes.scratch;
		sizes.wide = wide > sizes.wide ? wide : sizes.wide;
		cut |= node->kind == NN_ATTENTION || node->kind == NN_WINDOW_ATTENTION;
	}
	if (!cut || threads == 1)
		sizes.wide = 0;
	else if (sizes.wide == 0)
		sizes.wide = 1;
	return sizes;
}

/* As many as there are threads, but a batch of two gets no third. */
static int
lanes_of(int max_batch, int threads)
{
	return max_batch < threads ? max_batch : threads;
}

static void
prepare_calls(NnNet *net, Lane *lane)
{
	const NnGraph *g = net->graph;
	float *packed = net->packed;

	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];
		const NnOp *op = &nn_op[node->kind];
		NnCall *call = &lane->call[i];

		call->graph = g;
		call->node = node;
		call->n = 1;
		call->out = lane->arena + net->plan.offset[i];
		for (int k = 0; k < node->ninputs; k++)
			call->in[k] = lane->arena + net->plan.offset[node->input[k]];
		for (int p = 0; p < node->nparams; p++)
			call->param[p] = node->param[p] >= 0 ? g->param[node->param[p]].data : NULL;
		if (op->pack_size)
		{
			call->packed = packed;
			packed += padded(op->pack_size(g, node));
		}
	}
}

static void
pack_weights(const NnGraph *g, float *packed)
{
	for (int i = 0; i < g->nnodes; i++)
	{
		const NnOp *op = &nn_op[g->node[i].kind];

		if (op->pack_size)
		{
			op->pack(g, &g->node[i], packed);
			packed += padded(op->pack_size(g, &g->node[i]));
		}
	}
}

static bool
make_lane(NnNet *net, Lane *lane, const Sizes *sizes, NnError *err)
{
	const NnGraph *g = net->graph;

	lane->call = calloc((size_t) g->nnodes, sizeof(NnCall));
	if (lane->call == NULL)
		return nn_fail(err, "out of memory for %d nodes", g->nnodes);
	net->bytes += sizeof(Lane) + (size_t) g->nnodes * sizeof(NnCall);
	if (!take(net, &lane->arena, net->plan.floats, "activations", err) ||
		!take(net, &lane->scratch, sizes->scratch, "scratch", err))
		return false;
	prepare_calls(net, lane);
	lane->next = net->free;
	net->free = lane;
	return true;
}

static bool
allocate(NnNet *net, NnError *err)
{
	int threads = nn_pool_threads(net->pool);
	Sizes sizes = sizes_of(net->graph, threads);

	net->nlanes = lanes_of(net->max_batch, threads);
	net->lane = calloc((size_t) net->nlanes, sizeof(Lane));
	if (net->lane == NULL)
		return nn_fail(err, "out of memory");
	if (!take(net, &net->packed, sizes.packed, "weights", err) ||
		!take(net, &net->wide, sizes.wide, "scratch", err))
		return false;
	pack_weights(net->graph, net->packed);
	for (int i = 0; i < net->nlanes; i++)
	{
		if (!make_lane(net, &net->lane[i], &sizes, err))
			return false;
	}
	return true;
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
	if (max_batch < 1)
	{
		nn_fail(err, "a batch of %d images is none", max_batch);
		return NULL;
	}
	net = calloc(1, sizeof(*net));
	if (net == NULL)
	{
		nn_fail(err, "out of memory");
		return NULL;
	}
	pthread_mutex_init(&net->lock, NULL);
	pthread_cond_init(&net->freed, NULL);
	net->graph = graph;
	net->max_batch = max_batch;
	net->bytes = sizeof(*net);
	net->pool = nn_pool_share(threads);
	if (net->pool == NULL)
		nn_fail(err, "could not start %d threads", threads);
	if (net->pool == NULL || !nn_plan(graph, 1, &net->plan, err) || !allocate(net, err))
	{
		cpu_unload(net);
		return NULL;
	}
	return net;
}

static Lane *
take_lane(NnNet *net, bool *alone)
{
	Lane *lane;

	pthread_mutex_lock(&net->lock);
	while (net->free == NULL)
		pthread_cond_wait(&net->freed, &net->lock);
	lane = net->free;
	net->free = lane->next;
	*alone = net->busy++ == 0;
	pthread_mutex_unlock(&net->lock);
	return lane;
}

static void
give_lane(NnNet *net, Lane *lane)
{
	pthread_mutex_lock(&net->lock);
	lane->next = net->free;
	net->free = lane;
	net->busy--;
	pthread_cond_signal(&net->freed);
	pthread_mutex_unlock(&net->lock);
}

/* One picture; on all threads of the pool if there is one, whose turn the caller has. */
static void
forward(NnNet *net, Lane *lane, const uint8_t *image, float *out, NnPool *pool)
{
	const NnGraph *g = net->graph;

	lane->call[g->nnodes - 1].out = out;
	for (int i = 0; i < g->nnodes; i++)
	{
		NnCall *call = &lane->call[i];

		call->images = image;
		call->pool = pool;
		call->scratch = pool ? net->wide : lane->scratch;
		nn_op[g->node[i].kind].forward(call);
	}
}

static void
run_one(NnNet *net, const uint8_t *image, float *out)
{
	bool alone;
	Lane *lane = take_lane(net, &alone);

	if (alone && net->wide && nn_pool_try(net->pool))
	{
		forward(net, lane, image, out, net->pool);
		nn_pool_end(net->pool);
	}
	else
		forward(net, lane, image, out, NULL);
	give_lane(net, lane);
}

typedef struct Batch
{
	NnNet *net;
	const uint8_t *images;
	int n;
	atomic_int next;
	float *out;
} Batch;

/* Whoever is done takes the next picture; the range is not looked at. */
static void
run_some(void *arg, int begin, int end, int thread)
{
	Batch *batch = arg;
	NnNet *net = batch->net;
	const NnGraph *g = net->graph;
	size_t image = nn_shape_size(&g->node[0].shape);
	size_t outputs = nn_shape_size(&g->node[g->nnodes - 1].shape);
	bool alone;
	Lane *lane = take_lane(net, &alone);
	int i;

	(void) begin;
	(void) end;
	(void) thread;
	while ((i = atomic_fetch_add(&batch->next, 1)) < batch->n)
		forward(net, lane, batch->images + (size_t) i * image,
				batch->out + (size_t) i * outputs, NULL);
	give_lane(net, lane);
}

static bool
cpu_run(NnNet *net, const uint8_t *images, int n, float *out, NnError *err)
{
	if (n < 1 || n > net->max_batch)
		return nn_fail(err, "a batch of %d images: this network was loaded for 1 to %d",
					   n, net->max_batch);
	if (n == 1)
		run_one(net, images, out);
	else
	{
		Batch batch = {.net = net, .images = images, .n = n, .out = out};

		nn_pool_begin(net->pool);
		nn_parallel(net->pool, n < net->nlanes ? n : net->nlanes, run_some, &batch);
		nn_pool_end(net->pool);
	}
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
	for (int i = 0; i < net->nlanes && net->lane; i++)
	{
		free(net->lane[i].call);
		free(net->lane[i].arena);
		free(net->lane[i].scratch);
	}
	free(net->lane);
	free(net->packed);
	free(net->wide);
	pthread_mutex_destroy(&net->lock);
	pthread_cond_destroy(&net->freed);
	free(net);
}

static size_t
cpu_estimate(const NnGraph *graph, const NnServing *how)
{
	int threads = how->threads > 0 ? how->threads : 1;
	Sizes sizes;
	NnPlan plan;
	NnError err;
	size_t lane;

	if (!nn_plan(graph, 1, &plan, &err))
		return 0;
	sizes = sizes_of(graph, threads);
	lane = sizeof(Lane) + (size_t) graph->nnodes * sizeof(NnCall) +
		   bytes_of(plan.floats) + bytes_of(sizes.scratch);
	nn_plan_free(&plan);
	return sizeof(NnNet) + bytes_of(sizes.packed) + bytes_of(sizes.wide) +
		   (size_t) lanes_of(how->max_batch, threads) * lane;
}

const NnDevice nn_cpu_device = {.api = NN_DEVICE_API,
								.name = "cpu",
								.probe = cpu_probe,
								.load = cpu_load,
								.run = cpu_run,
								.callers = true,
								.memory = cpu_memory,
								.unload = cpu_unload,
								.estimate = cpu_estimate,
								.usual = NN_FLOAT32};
