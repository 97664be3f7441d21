/*
 * tape_plan.c
 *	  Cut a graph into segments, decide what is kept, and get the memory.
 */
#include "training/tape/tape_internal.h"

#include <stdlib.h>
#include <string.h>

/* Floats that a group's largest activation should fill: a third of a 1 MB cache. */
#define GROUP_FLOATS (80 * 1024)
#define GROUP_MAX 16

/* Does the backward pass of a node read its inputs or its output? */
static bool
reads_input(const NnNode *node)
{
	NnOpKind kind = node->kind;

	if (kind == NN_ACTIVATION)
		return !nn_activation_by_output(node->activation);
	return kind == NN_CONV2D || kind == NN_LINEAR || kind == NN_BATCHNORM ||
		   kind == NN_LAYERNORM || kind == NN_MAXPOOL || kind == NN_ATTENTION ||
		   kind == NN_MUL || kind == NN_LAYERSCALE || kind == NN_CONV_TRANSPOSE2D ||
		   kind == NN_EMBEDDING || kind == NN_SIMAM || kind == NN_REPARAMETERISE ||
		   kind == NN_WINDOW_ATTENTION;
}

static bool
reads_output(const NnNode *node)
{
	return node->kind == NN_MAXPOOL || node->kind == NN_SOFTMAX ||
		   (node->kind == NN_ACTIVATION && nn_activation_by_output(node->activation));
}

static void
find_segments(Tape *t)
{
	const NnGraph *g = t->graph;
	int s = 0;

	for (int i = 0; i < g->nnodes; i++)
	{
		if (g->node[i].kind == NN_BATCHNORM && i > t->segment[s].first)
		{
			t->segment[s].end = i;
			t->segment[++s].first = i;
		}
		t->node[i].segment = s;
		t->node[i].back_segment = g->node[i].kind == NN_BATCHNORM && s > 0 ? s - 1 : s;
	}
	t->segment[s].end = g->nnodes;
	t->nsegments = s + 1;
}

static bool
is_output(const NnGraph *g, int node)
{
	for (int k = 0; k < nn_graph_outputs(g); k++)
		if (nn_graph_output_node(g, k) == node)
			return true;
	return false;
}

static void
find_gradients(Tape *t)
{
	const NnGraph *g = t->graph;

	for (int i = 0; i < g->nnodes; i++)
	{
		TapeNode *n = &t->node[i];

		for (int p = 0; p < g->node[i].nparams; p++)
			if (g->node[i].param[p] >= 0 && g->param[g->node[i].param[p]].trainable)
				n->wants_grad = true;
		for (int k = 0; k < g->node[i].ninputs; k++)
			if (t->node[g->node[i].input[k]].wants_grad)
				n->wants_grad = n->gives_grad[k] = true;
	}
	/* Walking backwards, the first reader of a node writes its gradient; that of an
	 * output has been given. */
	for (int i = g->nnodes - 1; i >= 0; i--)
		for (int k = 0; k < g->node[i].ninputs; k++)
		{
			int from = g->node[i].input[k];

			if (!t->node[i].gives_grad[k])
				continue;
			t->node[i].grad_added[k] = is_output(g, from);
			for (int j = i; j < g->nnodes && !t->node[i].grad_added[k]; j++)
				for (int m = 0; m < g->node[j].ninputs; m++)
					if ((j > i || m < k) && g->node[j].input[m] == from)
						t->node[i].grad_added[k] = true;
		}
}

static void
find_kept(Tape *t)
{
	const NnGraph *g = t->graph;
	bool keep = t->backward && !t->recompute; /* what the backward pass reads */

	for (int k = 0; k < nn_graph_outputs(g); k++)
	{
		t->node[nn_graph_output_node(g, k)].value_kept = true;
		t->node[nn_graph_output_node(g, k)].grad_kept = true;
	}
	for (int i = 0; i < g->nnodes; i++)
	{
		TapeNode *n = &t->node[i];
		NnOpKind kind = g->node[i].kind;

		if (keep && n->wants_grad && reads_output(&g->node[i]))
			n->value_kept = true;
		if (kind == NN_BATCHNORM && n->back_segment != n->segment)
			n->grad_kept = true;
		for (int k = 0; k < g->node[i].ninputs; k++)
		{
			TapeNode *from = &t->node[g->node[i].input[k]];

			if (from->segment != n->segment ||
				(keep && n->wants_grad && reads_input(&g->node[i])))
				from->value_kept = true;
			if (from->back_segment != n->back_segment)
				from->grad_kept = true;
			if (kind == NN_BATCHNORM)
				from->feeds_batchnorm = true;
		}
	}
}

static void *
take(Tape *t, size_t bytes, bool *ok)
{
	void *p = NULL;

	if (*ok && posix_memalign(&p, 64, bytes ? (bytes + 63) / 64 * 64 : 64) != 0)
	{
		*ok = false;
		return NULL;
	}
	if (p)
		t->memory += bytes;
	return p;
}

/* Numbers in scratch: values and gradients of one segment's group, then the op's. */
static void
plan_segment(Tape *t, int s)
{
	TapeSegment *seg = &t->segment[s];
	size_t largest = 1;
	size_t at = 0;

	for (int i = seg->first; i < seg->end; i++)
		if (t->node[i].size > largest)
			largest = t->node[i].size;
	seg->group = (int) (GROUP_FLOATS / largest);
	seg->group = seg->group < 1 ? 1 : seg->group > GROUP_MAX ? GROUP_MAX : seg->group;
	for (int i = seg->first; i < seg->end; i++)
	{
		TapeNode *n = &t->node[i];
		size_t room = (n->size * seg->group + 15) / 16 * 16;

		if (!n->value_kept)
		{
			n->value_at = at;
			at += room;
		}
		if (t->backward && n->wants_grad && !n->grad_kept)
		{
			n->grad_at = at;
			at += room;
		}
		n->saved_at = at;
		if (t->recompute || !t->backward)
			at += (n->saved * seg->group + 15) / 16 * 16;
	}
	if (at > t->op_scratch_at)
		t->op_scratch_at = at;
}

static size_t
op_scratch(const Tape *t, int i)
{
	const NnGraph *g = t->graph;
	const NnNode *node = &g->node[i];
	int group = t->segment[t->node[i].segment].group;
	size_t need = 0;

	if (t->node[i].direct)
		return nn_direct_scratch(&t->node[i].conv, group);
	if (nn_op[node->kind].scratch)
		need = nn_op[node->kind].scratch(g, node, group, 1);
	if (t->backward && nn_backward_op[node->kind].scratch)
	{
		size_t back = nn_backward_op[node->kind].scratch(g, node, group, 1);

		need = back > need ? back : need;
	}
	return need;
}

static bool
take_node(Tape *t, int i)
{
	const NnNode *node = &t->graph->node[i];
	TapeNode *n = &t->node[i];
	size_t batch = n->size * t->max_batch * sizeof(float);
	bool ok = true;

	if (n->value_kept)
		n->value = take(t, batch, &ok);
	if (t->backward && n->wants_grad && n->grad_kept)
		n->grad = take(t, batch, &ok);
	if (n->saved && t->backward && !t->recompute)
		n->saved_data = take(t, n->saved * t->max_batch * sizeof(float), &ok);
	if (n->direct)
	{
		n->packed = take(t, nn_direct_pack_size(&n->conv) * sizeof(float), &ok);
		if (t->backward && n->gives_grad[0])
			n->packed_input = take(t, nn_direct_pack_size(&n->conv) * sizeof(float), &ok);
	}
	if (node->kind == NN_BATCHNORM)
	{
		size_t row = (n->channels + 15) / 16 * 16;

		n->sums = take(t, TAPE_SLICES * 2 * row * sizeof(double), &ok);
		n->mean = take(t, 4 * row * sizeof(float), &ok);
		if (ok)
		{
			n->rstd = n->mean + row;
			n->factor = n->mean + 2 * row;
			n->shift = n->mean + 3 * row;
		}
	}
	return ok;
}

/*
 * Parameters' places in sum, those of a segment side by side, and room in scratch for
 * a slice's gradients of one segment.  Batch norms gather theirs elsewhere.
 */
static void
plan_gradients(Tape *t)
{
	const NnGraph *g = t->graph;
	bool *placed = t->param_placed;
	size_t most = 0;

	for (int s = 0; s < t->nsegments; s++)
	{
		TapeSegment *seg = &t->segment[s];

		seg->grad_begin = SIZE_MAX;
		for (int i = seg->first; i < seg->end; i++)
			for (int k = 0; k < g->node[i].nparams; k++)
			{
				int p = g->node[i].param[k];
				size_t room;

				if (p < 0 || !g->param[p].trainable)
					continue;
				room = (nn_shape_size(&g->param[p].shape) + 15) / 16 * 16;
				if (!placed[p])
				{
					t->param_at[p] = t->grad_size;
					t->grad_size += room;
					placed[p] = true;
				}
				if (g->node[i].kind == NN_BATCHNORM)
					continue;
				if (t->param_at[p] < seg->grad_begin)
					seg->grad_begin = t->param_at[p];
				if (t->param_at[p] + room > seg->grad_end)
					seg->grad_end = t->param_at[p] + room;
			}
		if (seg->grad_begin > seg->grad_end)
			seg->grad_begin = seg->grad_end;
		if (seg->grad_end - seg->grad_begin > most)
			most = seg->grad_end - seg->grad_begin;
	}
	/* a trainable parameter that no node reads has a gradient too, of zeros */
	for (int p = 0; p < g->nparams; p++)
		if (g->param[p].trainable && !placed[p])
		{
			t->param_at[p] = t->grad_size;
			t->grad_size += (nn_shape_size(&g->param[p].shape) + 15) / 16 * 16;
		}
	t->slice_grad_at = t->scratch_size;
	t->scratch_size += most;
}

static bool
take_memory(Tape *t)
{
	const NnGraph *g = t->graph;
	size_t need = 0;
	bool ok = true;

	for (int i = 0; i < g->nnodes; i++)
	{
		size_t scratch = op_scratch(t, i);

		if (!take_node(t, i))
			return false;
		need = scratch > need ? scratch : need;
	}
	t->op_scratch_at = (t->op_scratch_at + 15) / 16 * 16;
	t->scratch_size = (t->op_scratch_at + need + 64 + 15) / 16 * 16;
	if (t->backward)
		plan_gradients(t);
	for (int i = 0; i < t->threads; i++)
		t->scratch[i] = take(t, t->scratch_size * sizeof(float), &ok);
	if (t->backward)
	{
		t->grad = take(t, t->grad_size * sizeof(float), &ok);
		t->sum = take(t, t->grad_size * sizeof(float), &ok);
	}
	return ok;
}

Tape *
tape_new(NnGraph *graph, int max_batch, NnPool *pool, TapeUse use, TrainError *err)
{
	Tape *t = calloc(1, sizeof(*t));
	bool ok = t != NULL;

	if (ok)
	{
		t->graph = graph;
		t->max_batch = max_batch;
		t->pool = pool;
		t->backward = use != TAPE_EVALUATE;
		t->recompute = use == TAPE_RECOMPUTE;
		t->threads = nn_pool_threads(pool);
		t->node = calloc(graph->nnodes, sizeof(*t->node));
		t->segment = calloc(graph->nnodes, sizeof(*t->segment));
		t->scratch = calloc(t->threads, sizeof(*t->scratch));
		t->param_at = calloc(graph->nparams + 1, sizeof(*t->param_at));
		t->param_placed = calloc(graph->nparams + 1, sizeof(*t->param_placed));
		ok = t->node && t->segment && t->scratch && t->param_at && t->param_placed;
		pthread_mutex_init(&t->lock, NULL);
		pthread_cond_init(&t->turned, NULL);
	}
	if (ok)
	{
		find_segments(t);
		for (int i = 0; i < graph->nnodes; i++)
		{
			TapeNode *n = &t->node[i];

			n->size = nn_shape_size(&graph->node[i].shape);
			n->channels = nn_shape_cols(&graph->node[i].shape);
			if (nn_op[graph->node[i].kind].saved && graph->node[i].kind != NN_BATCHNORM)
				n->saved = nn_op[graph->node[i].kind].saved(graph, &graph->node[i], 1);
			n->direct = graph->node[i].kind == NN_CONV2D &&
						nn_direct_geometry(graph, &graph->node[i], &n->conv);
		}
		find_gradients(t);
		find_kept(t);
		for (int s = 0; s < t->nsegments; s++)
			plan_segment(t, s);
		ok = take_memory(t);
	}
	if (!ok)
	{
		tape_free(t);
		train_fail(err,
				   "out of memory for the activations of a batch of %d pictures; "
				   "lower train.batch, or raise train.accumulate",
				   max_batch);
		return NULL;
	}
	return t;
}

void
tape_free(Tape *t)
{
	if (!t)
		return;
	for (int i = 0; t->node && i < t->graph->nnodes; i++)
	{
		TapeNode *n = &t->node[i];

		free(n->value);
		free(n->grad);
		free(n->saved_data);
		free(n->packed);
		free(n->packed_input);
		free(n->sums);
		free(n->mean);
	}
	for (int i = 0; t->scratch && i < t->threads; i++)
		free(t->scratch[i]);
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->turned);
	free(t->sum);
	free(t->grad);
	free(t->param_placed);
	free(t->param_at);
	free(t->scratch);
	free(t->segment);
	free(t->node);
	free(t);
}

size_t
tape_memory(const Tape *tape)
{
	return tape->memory;
}

const float *
tape_gradient(const Tape *t, int param)
{
	return t->graph->param[param].trainable ? t->grad + t->param_at[param] : NULL;
}

double
tape_node_macs(const NnGraph *g, int i)
{
	const NnNode *node = &g->node[i];
	double out = (double) nn_shape_size(&node->shape);

	switch (node->kind)
	{
		case NN_CONV2D:
			return out * node->kernel[0] * node->kernel[1] *
				   nn_shape_cols(nn_input_shape(g, node, 0)) /
				   (node->groups > 1 ? node->groups : 1);
		case NN_LINEAR:
			return out * nn_shape_cols(nn_input_shape(g, node, 0));
		case NN_ATTENTION:
			return 2.0 * node->shape.dim[0] * out;
		case NN_WINDOW_ATTENTION:
			return 2.0 * node->window * node->window * out;
		default:
			return 0;
	}
}

double
tape_graph_macs(const NnGraph *g)
{
	double macs = 0;

	for (int i = 0; i < g->nnodes; i++)
		macs += tape_node_macs(g, i);
	return macs;
}
