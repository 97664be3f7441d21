/*
 * tape.c
 *	  Making and freeing a tape.
 */
#include "training/tape/tape_internal.h"

#include <stdlib.h>

/* Rows of a picture from which a linear layer runs as a direct convolution. */
#define LINEAR_ROWS 8

static bool
find_direct(const NnGraph *g, const NnNode *node, NnDirect *d)
{
	const NnShape *shape = &node->shape;

	if (node->kind == NN_CONV2D)
		return nn_direct_geometry(g, node, d);
	if (node->kind != NN_LINEAR || nn_shape_rows(shape) < LINEAR_ROWS)
		return false;
	nn_direct_linear(d, (int) nn_shape_rows(shape),
					 nn_shape_cols(nn_input_shape(g, node, 0)), nn_shape_cols(shape));
	return true;
}

static void
describe_nodes(Tape *t)
{
	const NnGraph *g = t->graph;

	for (int i = 0; i < g->nnodes; i++)
	{
		TapeNode *n = &t->node[i];

		n->size = nn_shape_size(&g->node[i].shape);
		n->channels = nn_shape_cols(&g->node[i].shape);
		if (nn_op[g->node[i].kind].saved && g->node[i].kind != NN_BATCHNORM)
			n->saved = nn_op[g->node[i].kind].saved(g, &g->node[i], 1);
		n->direct = find_direct(g, &g->node[i], &n->conv);
	}
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
		ok = t->node && t->segment && t->scratch && t->param_at;
		pthread_mutex_init(&t->lock, NULL);
		pthread_cond_init(&t->turned, NULL);
	}
	if (ok)
	{
		describe_nodes(t);
		tape_plan(t);
		ok = tape_take_memory(t);
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
		free(t->node[i].sums);
		free(t->node[i].mean);
	}
	for (int i = 0; t->scratch && i < t->threads; i++)
		free(t->scratch[i]);
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->turned);
	free(t->arena);
	free(t->rows);
	free(t->packed);
	free(t->sum);
	free(t->grad);
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
