/*
 * learner.cu
 *	  Training on the GPU behind nn/learner.h: opening, closing, the passes' ends on the
 *	  host, reading and writing.
 */
#include <stdio.h>

#include "gpu/learner_parts.h"

/* --------------------------------------------------------------------- memory */

bool
learner_room(NnLearner *l, void *to, size_t bytes, const char *what, NnError *err)
{
	char text[NN_MAX_NAME + 160], advice[96];
	void *memory;

	snprintf(text, sizeof(text), "%s (batches of %d)", what, l->options.max_batch);
	snprintf(advice, sizeof(advice), "lower the batch%s",
			 l->options.recompute ? "" : " or turn recomputation on");
	if (!gpu_allocate(&memory, bytes, text, advice, err))
		return false;
	memcpy(to, &memory, sizeof(memory));
	if (memory)
		l->block[l->nblocks++] = memory;
	l->bytes += bytes;
	return true;
}

static bool
node_trainable(const NnLearner *l, int i, char *what, size_t size, NnError *err)
{
	const NnNode *node = &l->graph->node[i];
	char shape[64];

	snprintf(what, size, "node %d (%s \"%s\", %s)", i, nn_op_name(node->kind), node->name,
			 nn_shape_text(&node->shape, shape, sizeof(shape)));
	if (nn_shape_size(&node->shape) > (size_t) INT32_MAX / (size_t) l->options.max_batch)
		return nn_fail(err, "%s makes too many values for batches of %d; lower the batch",
					   what, l->options.max_batch);
	if ((node->kind == NN_CONV2D || node->kind == NN_LINEAR ||
		 node->kind == NN_CONV_TRANSPOSE2D) &&
		node->activation != NN_IDENTITY)
		return nn_fail(err,
					   "%s has an activation fused into it: training takes them as "
					   "layers of their own",
					   what);
	return true;
}

/* Values, gradients and what is saved, in one arena. */
static bool
room_of_nodes(NnLearner *l, NnError *err)
{
	const NnGraph *g = l->graph;
	size_t batch = (size_t) l->options.max_batch, most = 0;
	char what[NN_MAX_NAME + 128], text[NN_MAX_NAME + 160], largest[NN_MAX_NAME + 128];

	if (!plan_new(g, &l->plan))
		return nn_fail(err, "out of memory for the plan of %d nodes", g->nnodes);
	for (int i = 0; i < g->nnodes; i++)
	{
		PlanNode *n = &l->plan.node[i];
		size_t bytes = batch * nn_shape_size(&g->node[i].shape) * element(l);

		if (!node_trainable(l, i, what, sizeof(what), err))
			return false;
		n->value_bytes = n->grad_bytes = bytes;
		n->saved_bytes = learner_saved_bytes(l, i);
		if (bytes + n->saved_bytes > most)
		{
			most = bytes + n->saved_bytes;
			memcpy(largest, what, sizeof(largest));
		}
	}
	if (!plan_step(g, l->options.recompute, &l->plan))
		return nn_fail(err, "out of memory for the plan of %d nodes", g->nnodes);
	snprintf(text, sizeof(text), "activations and gradients, most for %s", largest);
	return learner_room(l, &l->arena, l->plan.bytes, text, err);
}

static bool
room_of_params(NnLearner *l, NnError *err)
{
	const NnGraph *g = l->graph;

	for (int p = 0; p < g->nparams; p++)
	{
		l->at[p] = l->floats;
		l->floats += (param_size(l, p) + PIECE - 1) & ~(size_t) (PIECE - 1);
	}
	for (int k = NN_VALUE; k <= NN_GRADIENT; k++)
	{
		if ((k == NN_MOMENT2 && l->options.update != NN_ADAMW) ||
			(k == NN_AVERAGE && !l->options.average))
			continue;
		if (!learner_room(l, &l->part[k], l->floats * sizeof(float), "parameters", err))
			return false;
		learner_clear(l, l->part[k], l->floats);
	}
	for (int p = 0; p < g->nparams; p++)
		for (int k = NN_VALUE; k <= NN_AVERAGE; k += NN_AVERAGE)
			if (l->part[k] && (!gpu_up(&l->m, l->part[k] + l->at[p], g->param[p].data,
									   param_size(l, p) * sizeof(float), err) ||
							   !gpu_wait(&l->m, err)))
				return false;
	return true;
}

/* Weights as products read them: in their type, convolutions' channels last. */
static bool
room_of_packed(NnLearner *l, NnError *err)
{
	for (int i = 0; i < l->graph->nnodes; i++)
	{
		const NnNode *node = &l->graph->node[i];
		size_t bias = (size_t) node->channels * element(l);

		if (node->kind != NN_CONV2D && node->kind != NN_LINEAR &&
			node->kind != NN_CONV_TRANSPOSE2D)
			continue;
		if (node->kind == NN_LINEAR && element(l) == sizeof(float))
			l->packed[i] = l->part[NN_VALUE] + l->at[node->param[0]];
		else if (!learner_room(l, &l->packed[i],
							   param_size(l, node->param[0]) * element(l), "weights",
							   err))
			return false;
		if (node->param[1] >= 0 && element(l) != sizeof(float) &&
			!learner_room(l, &l->packed_bias[i], bias, "weights", err))
			return false;
	}
	l->stale = true;
	return true;
}

static bool
room_of_batch(NnLearner *l, NnError *err)
{
	const NnGraph *g = l->graph;
	size_t pictures = (size_t) l->options.max_batch * nn_shape_size(&g->node[0].shape);

	for (int k = 0; k < SLOTS; k++)
		if (!learner_room(l, &l->images[k], pictures, "pictures", err) ||
			!gpu_allocate_host((void **) &l->host_images[k], pictures, err))
			return false;
	if (!learner_room(l, &l->step, sizeof(Step), "numbers", err) ||
		!gpu_allocate_host((void **) &l->host_step, sizeof(Step), err))
		return false;
	for (int k = 0; k < nn_graph_outputs(g); k++)
	{
		size_t bytes = output_size(l, k, l->options.max_batch) * sizeof(float);

		if (!learner_room(l, &l->staged[k], bytes, "outputs", err) ||
			!gpu_allocate_host((void **) &l->host_out[k], bytes, err) ||
			!gpu_allocate_host((void **) &l->host_grad[k], bytes, err))
			return false;
	}
	return true;
}

/* --------------------------------------------------------------- open and close */

static void
cuda_close(NnLearner *l)
{
	NnError ignored;

	if (!l)
		return;
	gpu_wait(&l->m, &ignored);
	recorder_stop(&l->m, &l->recorder);
	stream_close(l->copies);
	event_close(l->copied);
	for (int i = 0; i < l->nblocks; i++)
		gpu_free(l->block[i]);
	for (int k = 0; k < SLOTS; k++)
		gpu_free_host(l->host_images[k]);
	for (int k = 0; k < NN_MAX_OUTPUTS; k++)
	{
		gpu_free_host(l->host_out[k]);
		gpu_free_host(l->host_grad[k]);
	}
	gpu_free_host(l->host_step);
	gpu_free_host(l->host_pace);
	gpu_free_host(l->host_sums);
	gpu_free_host(l->host_flag);
	gpu_stop(&l->m);
	plan_free(&l->plan);
	free(l->at);
	free(l->packed);
	free(l->packed_bias);
	free(l);
}

/* Choose all plans and learn how much scratch memory they want. */
static bool
dry_run(NnLearner *l, NnError *err)
{
	bool ok;

	l->batch.n = l->options.max_batch;
	l->m.dry = true;
	ok = learner_pass(l, PASS_FORWARD, true, err) &&
		 learner_pass(l, PASS_BACKWARD, true, err);
	l->m.dry = false;
	return ok && learner_room(l, &l->m.scratch, l->m.most, "scratch", err);
}

static bool
prepare(NnLearner *l, NnError *err)
{
	size_t nodes = (size_t) l->graph->nnodes;

	l->at = (size_t *) calloc((size_t) l->graph->nparams + 1, sizeof(size_t));
	l->packed = (void **) calloc(nodes, sizeof(void *));
	l->packed_bias = (void **) calloc(nodes, sizeof(void *));
	if (!l->at || !l->packed || !l->packed_bias)
		return nn_fail(err, "out of memory for %zu nodes", nodes);
	if (!gpu_start(&l->m, l->options.precision == NN_TF32, rooms(), err) ||
		!stream_open(&l->copies, err) || !event_open(&l->copied, err))
		return false;
	l->m.deterministic = l->options.deterministic;
	return room_of_params(l, err) && room_of_nodes(l, err) && room_of_packed(l, err) &&
		   room_of_batch(l, err) && learner_room_for_updates(l, err) && dry_run(l, err) &&
		   gpu_wait(&l->m, err);
}

static NnLearner *
cuda_open(NnGraph *graph, const NnLearnerOptions *options, NnError *err)
{
	NnLearner *l;

	if (!nn_graph_ok(graph, err))
		return NULL;
	if (options->precision == NN_FP16)
	{
		nn_fail(err, "training in fp16 is not offered, because small gradients vanish in "
					 "it: set train.precision to float32, tf32 or bf16");
		return NULL;
	}
	l = (NnLearner *) calloc(1, sizeof(*l));
	if (!l)
	{
		nn_fail(err, "out of memory");
		return NULL;
	}
	l->graph = graph;
	l->options = *options;
	if (prepare(l, err))
		return l;
	cuda_close(l);
	return NULL;
}

/* ----------------------------------------------------------------------- passes */

bool
learner_wait(NnLearner *l, NnError *err)
{
	memset(l->in_flight, 0, sizeof(l->in_flight));
	return gpu_wait(&l->m, err);
}

#define CHUNK ((size_t) 1 << 20)

/*
 * Into the place that the last batch does not use, past memory that copies run from by
 * themselves: while one chunk is on its way the next is put there.
 */
static bool
cuda_stage(NnLearner *l, const uint8_t *images, int n, NnError *err)
{
	size_t bytes = (size_t) n * nn_shape_size(&l->graph->node[0].shape);
	int slot = (l->slot + 1) % SLOTS;

	if (n < 1 || n > l->options.max_batch)
		return nn_fail(err, "a batch of %d images: this learner was opened for 1 to %d",
					   n, l->options.max_batch);
	for (size_t at = 0; at < bytes; at += CHUNK)
	{
		size_t part = bytes - at < CHUNK ? bytes - at : CHUNK;

		memcpy(l->host_images[slot] + at, images + at, part);
		if (!stream_up(l->copies, l->images[slot] + at, l->host_images[slot] + at, part,
					   err))
			return false;
	}
	l->staged_images = images;
	l->staged_n = n;
	return stream_marks(l->copies, l->copied, err);
}

/* What is queued from here on has the batch's pictures. */
static bool
take_pictures(NnLearner *l, const NnBatch *batch, NnError *err)
{
	bool there = l->staged_images == batch->images && l->staged_n == batch->n;

	/* pictures staged for another pass may still be on their way into that place */
	if (!there && l->staged_images && !event_wait(l->copied, err))
		return false;
	if (!there && !cuda_stage(l, batch->images, batch->n, err))
		return false;
	l->staged_images = NULL;
	l->slot = (l->slot + 1) % SLOTS;
	return stream_follows(stream_of(&l->m), l->copied, err);
}

static bool
cuda_forward(NnLearner *l, const NnBatch *batch, bool train,
			 const float *out[NN_MAX_OUTPUTS], NnError *err)
{
	if (batch->n < 1 || batch->n > l->options.max_batch)
		return nn_fail(err, "a batch of %d images: this learner was opened for 1 to %d",
					   batch->n, l->options.max_batch);
	l->batch = *batch;
	*l->host_step = Step{batch->seed, batch->first, batch->momentum};
	if (!take_pictures(l, batch, err) ||
		!gpu_up(&l->m, l->step, l->host_step, sizeof(Step), err))
		return false;
	if (l->stale)
		learner_pack(l);
	l->stale = false;
	if (!learner_pass(l, PASS_FORWARD, train, err))
		return false;
	for (int k = 0; k < nn_graph_outputs(l->graph); k++)
	{
		if (!gpu_down(&l->m, l->host_out[k], l->staged[k],
					  output_size(l, k, batch->n) * sizeof(float), err))
			return false;
		out[k] = l->host_out[k];
	}
	l->ready = train;
	return learner_wait(l, err);
}

/* Returns while the pass still runs; a fault of it is told by what waits next. */
static bool
cuda_backward(NnLearner *l, const float *const *grad_out, bool accumulate, NnError *err)
{
	if (!l->ready)
		return nn_fail(err, "a backward pass without a forward pass that trains before");
	l->ready = false;
	if (l->in_flight[FLIGHT_GRADIENTS] && !learner_wait(l, err))
		return false;
	l->in_flight[FLIGHT_GRADIENTS] = true;
	if (!accumulate)
		learner_clear(l, l->part[NN_GRADIENT], l->floats);
	for (int k = 0; k < nn_graph_outputs(l->graph); k++)
	{
		size_t count = output_size(l, k, l->batch.n);

		if (!grad_out[k])
		{
			learner_clear(l, l->staged[k], count);
			continue;
		}
		memcpy(l->host_grad[k], grad_out[k], count * sizeof(float));
		if (!gpu_up(&l->m, l->staged[k], l->host_grad[k], count * sizeof(float), err))
			return false;
	}
	return learner_pass(l, PASS_BACKWARD, true, err);
}

/* ----------------------------------------------------------- reading and writing */

static bool
cuda_has(const NnLearner *l, int param, NnPart part)
{
	return l->part[part] &&
		   (part == NN_VALUE || part == NN_AVERAGE || l->graph->param[param].trainable);
}

static bool
cuda_read(NnLearner *l, int param, NnPart part, float *host, NnError *err)
{
	if (!cuda_has(l, param, part))
		return nn_fail(err, "\"%s\" has no such part", l->graph->param[param].name);
	return gpu_down(&l->m, host, l->part[part] + l->at[param],
					param_size(l, param) * sizeof(float), err) &&
		   learner_wait(l, err);
}

static bool
cuda_write(NnLearner *l, int param, NnPart part, const float *host, NnError *err)
{
	if (!cuda_has(l, param, part) || part == NN_GRADIENT)
		return nn_fail(err, "\"%s\" has no such part to write",
					   l->graph->param[param].name);
	l->stale |= part == NN_VALUE;
	return gpu_up(&l->m, l->part[part] + l->at[param], host,
				  param_size(l, param) * sizeof(float), err) &&
		   learner_wait(l, err);
}

static size_t
cuda_memory(const NnLearner *l)
{
	return l->bytes + l->m.room.product;
}

extern "C" bool gpu_probe(char *text, size_t size);
extern "C" const NnLearnerDevice *deephash_learner(void);

static const NnLearnerDevice cuda_learner = {
	NN_LEARNER_API, "cuda",		   gpu_probe,		cuda_open,	 cuda_close,
	cuda_forward,	cuda_backward, cuda_not_finite, cuda_update, cuda_average,
	cuda_has,		cuda_read,	   cuda_write,		cuda_memory, cuda_stage};

extern "C" const NnLearnerDevice *
deephash_learner(void)
{
	return &cuda_learner;
}
