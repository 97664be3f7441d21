/*
 * network.h
 *	  A network for inference on the GPU: memory, weights, and the queueing of its nodes,
 *	  for a type T of activations and weights.
 *
 * A linear layer at the end, which is what makes codes, is computed in float32 whatever T
 * is: its rounding would go straight into the logits.
 *
 * lay_out() runs twice: first to count bytes, without a GPU, then to take them.
 */
#ifndef GPU_NETWORK_H
#define GPU_NETWORK_H

#include <stdio.h>

#include "gpu/half.h"
#include "gpu/memory.h"
#include "gpu/op.h"
#include "nn/plan.h"

#define MAX_BLOCKS (NN_MAX_GRAPH_PARAMS + NN_MAX_NODES + 32)

/* Memory of the GPU: taken, or only counted. */
struct Book
{
	bool counting;
	int max_batch;
	int nblocks;
	void *block[MAX_BLOCKS];
	size_t bytes;
};

static bool
room(Book *book, void *to, size_t bytes, const char *what, NnError *err)
{
	char text[NN_MAX_NAME + 64];
	void *memory = NOWHERE;

	book->bytes += bytes;
	if (!book->counting)
	{
		snprintf(text, sizeof(text), "%s (batches of %d)", what, book->max_batch);
		if (!gpu_allocate(&memory, bytes, text, "lower the batch", err))
			return false;
		if (memory)
			book->block[book->nblocks++] = memory;
	}
	memcpy(to, &memory, sizeof(memory));
	return true;
}

static void
free_book(Book *book)
{
	for (int i = 0; i < book->nblocks; i++)
		gpu_free(book->block[i]);
	book->nblocks = 0;
}

struct Network
{
	const NnGraph *graph;
	Book book;
	Machine m;
	NnPlan plan;
	void *call;	   /* Call<T> of each node, ready but for the batch and the pictures */
	void *arena;   /* T: activations */
	void *last;	   /* T: the last node's output, where that is not `result` itself */
	float *result; /* [max_batch][logits] */
	/* the last layer in float32, where T is not */
	bool single;
	Call<float> tail;
	float *tail_in;
	void *staging; /* host: weights on their way */
};

static const NnNode *
last_of(const Network *net)
{
	return &net->graph->node[net->graph->nnodes - 1];
}

static bool
has_packed_weights(const NnNode *node)
{
	return node->kind == NN_LINEAR || node->kind == NN_CONV2D ||
		   node->kind == NN_CONV_TRANSPOSE2D;
}

/* ------------------------------------------------------------------- weights */

/* As pack_weights (op_conv.h), on the host: the GPU never holds them in float32. */
template <class T>
static void
pack_on_host(const NnGraph *g, const NnNode *node, T *packed)
{
	const NnParam *p = &g->param[node->param[0]];
	size_t size = nn_shape_size(&p->shape), taps = 1, group = 1, at = 0;

	if (node->kind != NN_LINEAR)
	{
		Geometry s = geometry_of(g, node);

		taps = (size_t) s.taps;
		group = (size_t) s.group;
	}
	for (size_t o = 0; o < size / (taps * group); o++)
		for (size_t t = 0; t < taps; t++)
			for (size_t c = 0; c < group; c++)
				packed[at++] = p->data[(o * group + c) * taps + t];
}

template <class T>
static bool
load_weights(Network *net, Call<T> *call, NnError *err)
{
	const NnParam *p = &net->graph->param[call->node->param[0]];
	size_t bytes = nn_shape_size(&p->shape) * sizeof(T);
	T *packed;

	if (!room(&net->book, &packed, bytes, p->name, err))
		return false;
	call->packed = packed;
	if (net->book.counting)
		return true;
	pack_on_host(net->graph, call->node, (T *) net->staging);
	return gpu_up(&net->m, packed, net->staging, bytes, err) && gpu_wait(&net->m, err);
}

/* What is fused to a product is of the product's type. */
template <class T>
static bool
load_bias(Network *net, Call<T> *call, NnError *err)
{
	const NnParam *p = &net->graph->param[call->node->param[1]];
	size_t size = nn_shape_size(&p->shape);
	T *packed, *staging = (T *) net->staging;

	if (!room(&net->book, &packed, size * sizeof(T), p->name, err))
		return false;
	call->packed_bias = packed;
	/* bias_of looks here whether there is one */
	call->param[1] = p->data;
	if (net->book.counting)
		return true;
	for (size_t i = 0; i < size; i++)
		staging[i] = p->data[i];
	return gpu_up(&net->m, packed, staging, size * sizeof(T), err) &&
		   gpu_wait(&net->m, err);
}

/* Parameters of a node; those that products take are packed and kept in T alone. */
template <class T>
static bool
load_params(Network *net, Call<T> *call, NnError *err)
{
	const NnNode *node = call->node;

	for (int i = 0; i < node->nparams; i++)
	{
		const NnParam *p;
		size_t bytes;

		if (node->param[i] < 0)
			continue;
		if (i == 0 && has_packed_weights(node))
		{
			if (!load_weights(net, call, err))
				return false;
			continue;
		}
		if (i == 1 && has_packed_weights(node) && sizeof(T) < sizeof(float))
		{
			if (!load_bias(net, call, err))
				return false;
			continue;
		}
		p = &net->graph->param[node->param[i]];
		bytes = nn_shape_size(&p->shape) * sizeof(float);
		if (!room(&net->book, &call->param[i], bytes, p->name, err))
			return false;
		if (!net->book.counting &&
			(!gpu_up(&net->m, call->param[i], p->data, bytes, err) ||
			 !gpu_wait(&net->m, err)))
			return false;
	}
	return true;
}

/* Host memory for the largest weights of one layer. */
static bool
make_staging(Network *net, NnError *err)
{
	size_t most = 1;

	for (int i = 0; i < net->graph->nparams; i++)
	{
		size_t size = nn_shape_size(&net->graph->param[i].shape);

		most = size > most ? size : most;
	}
	net->staging = net->book.counting ? NULL : malloc(most * sizeof(float));
	return net->book.counting || net->staging || nn_fail(err, "out of memory");
}

/* -------------------------------------------------------------------- queueing */

/* What went wrong with node i, if anything. */
static bool
node_ok(Network *net, int i, int n, NnError *err)
{
	const NnNode *node = &net->graph->node[i];
	const char *trouble = net->book.counting ? NULL : gpu_trouble(&net->m);
	char in[64] = "nothing", out[64];

	if (!trouble)
		return true;
	if (node->ninputs > 0)
		nn_shape_text(&net->graph->node[node->input[0]].shape, in, sizeof(in));
	return nn_fail(err, "CUDA: node %d (%s \"%s\", %s -> %s) with a batch of %d: %s", i,
				   nn_op_name(node->kind), node->name, in,
				   nn_shape_text(&node->shape, out, sizeof(out)), n, trouble);
}

/* Queue the first node: bytes become normalised values. */
template <class T>
static bool
queue_input(Network *net, const uint8_t *images, int n, NnError *err)
{
	Call<T> *call = (Call<T> *) net->call;

	call->n = n;
	call->images = images;
	op_forward(call);
	return node_ok(net, 0, n, err);
}

/* Queue all others; the last one's values go to result. */
template <class T>
static bool
queue_rest(Network *net, int n, NnError *err)
{
	const NnGraph *g = net->graph;
	int last = g->nnodes - 1;
	size_t size = nn_shape_size(&g->node[last].shape);

	for (int i = 1; i <= last; i++)
	{
		Call<T> *call = (Call<T> *) net->call + i;

		call->n = n;
		if (net->single && i == last)
		{
			const T *from = call->in[0];
			float *to = net->tail_in;

			each(&net->m, (size_t) n * nn_shape_size(shape_in(call, 0)),
				 [=] ON_GPU(size_t k) { to[k] = from[k]; });
			net->tail.n = n;
			op_forward(&net->tail);
		}
		else
			op_forward(call);
		if (!node_ok(net, i, n, err))
			return false;
	}
	if (net->last)
	{
		const T *from = (const T *) net->last;
		float *to = net->result;

		each(&net->m, (size_t) n * size, [=] ON_GPU(size_t k) { to[k] = from[k]; });
	}
	return node_ok(net, last, n, err);
}

/* ---------------------------------------------------------------------- layout */

static bool
room_of_end(Network *net, size_t element, NnError *err)
{
	const NnNode *last = last_of(net);
	size_t batch = (size_t) net->book.max_batch, size = nn_shape_size(&last->shape);

	net->single = element < sizeof(float) && last->kind == NN_LINEAR;
	if (!room(&net->book, &net->result, batch * size * sizeof(float), "results", err))
		return false;
	if (net->single)
		return room(&net->book, &net->tail_in,
					batch * nn_shape_size(&net->graph->node[last->input[0]].shape) *
						sizeof(float),
					"the last layer's input", err);
	return element == sizeof(float) ||
		   room(&net->book, &net->last, batch * size * element, "results", err);
}

template <class T, class U>
static void
make_call(Network *net, int i, Call<U> *call)
{
	call->m = &net->m;
	call->graph = net->graph;
	call->node = &net->graph->node[i];
	for (int k = 0; k < call->node->ninputs; k++)
		call->in[k] = (U *) ((T *) net->arena + net->plan.offset[call->node->input[k]]);
}

/* All memory, and weights.  The machine has been started, or the book counts. */
template <class T>
static bool
lay_out(Network *net, NnError *err)
{
	const NnGraph *g = net->graph;
	int last = g->nnodes - 1;
	Call<T> *call;
	bool ok = true;

	if (!nn_plan(g, net->book.max_batch, &net->plan, err) ||
		!room(&net->book, &net->arena, net->plan.floats * sizeof(T), "activations",
			  err) ||
		!room_of_end(net, sizeof(T), err) || !make_staging(net, err))
		return false;
	net->call = call = (Call<T> *) calloc((size_t) g->nnodes, sizeof(*call));
	if (!call)
		return nn_fail(err, "out of memory for %d nodes", g->nnodes);
	for (int i = 0; i < last && ok; i++)
	{
		make_call<T, T>(net, i, &call[i]);
		call[i].out = (T *) net->arena + net->plan.offset[i];
		ok = load_params(net, &call[i], err);
	}
	if (!ok)
		return false;
	make_call<T, T>(net, last, &call[last]);
	if (net->single)
	{
		make_call<T, float>(net, last, &net->tail);
		net->tail.in[0] = net->tail_in;
		net->tail.out = net->result;
		ok = load_params(net, &net->tail, err);
	}
	else
	{
		call[last].out = (T *) (net->last ? net->last : net->result);
		ok = load_params(net, &call[last], err);
	}
	net->m.dry = true;
	ok = ok && queue_input<T>(net, NULL, net->book.max_batch, err) &&
		 queue_rest<T>(net, net->book.max_batch, err);
	net->m.dry = false;
	free(net->staging);
	net->staging = NULL;
	return ok && room(&net->book, &net->m.scratch, net->m.most, "scratch", err);
}

static void
free_network(Network *net)
{
	free_book(&net->book);
	nn_plan_free(&net->plan);
	free(net->call);
	free(net->staging);
}

#endif
