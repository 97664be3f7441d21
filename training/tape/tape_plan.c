/*
 * tape_plan.c
 *	  Cut a graph into segments and decide what is kept.
 */
#include "training/tape/tape_internal.h"

/* Trainable floats after which a segment ends, where it can. */
#define SEGMENT_PARAMS (256 * 1024)

/* Multiply-adds a value that the backward pass would rather repeat than have kept. */
#define CHEAP_MACS 16

bool
tape_reads_input(const NnNode *node)
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

bool
tape_reads_output(const NnNode *node)
{
	return node->kind == NN_MAXPOOL || node->kind == NN_SOFTMAX ||
		   (node->kind == NN_ACTIVATION && nn_activation_by_output(node->activation));
}

/* ---------------------------------------------------------------- gradients */

static bool
is_output(const NnGraph *g, int node)
{
	for (int k = 0; k < nn_graph_outputs(g); k++)
		if (nn_graph_output_node(g, k) == node)
			return true;
	return false;
}

static bool
is_trainable(const Tape *t, int node, int param)
{
	int p = t->graph->node[node].param[param];

	return p >= 0 && t->graph->param[p].trainable;
}

static void
find_wanted(Tape *t)
{
	const NnGraph *g = t->graph;

	for (int i = g->nnodes - 1; i >= 0; i--)
	{
		t->node[i].useful = t->node[i].useful || is_output(g, i);
		for (int k = 0; t->node[i].useful && k < g->node[i].ninputs; k++)
			t->node[g->node[i].input[k]].useful = true;
	}
	for (int i = 0; i < g->nnodes; i++)
	{
		TapeNode *n = &t->node[i];

		for (int p = 0; n->useful && p < g->node[i].nparams; p++)
			if (is_trainable(t, i, p))
				n->wants_grad = true;
		for (int k = 0; n->useful && k < g->node[i].ninputs; k++)
			if (t->node[g->node[i].input[k]].wants_grad)
				n->wants_grad = n->gives_grad[k] = true;
	}
}

/* Does a node after i, or an input of i before its input k, give to that node too? */
static bool
given_before(const Tape *t, int i, int k, int from)
{
	const NnGraph *g = t->graph;

	for (int j = i; j < g->nnodes; j++)
		for (int m = 0; m < g->node[j].ninputs; m++)
			if ((j > i || m < k) && g->node[j].input[m] == from &&
				t->node[j].gives_grad[m])
				return true;
	return false;
}

/* Does a node after i give to its parameter p too? */
static bool
param_given_before(const Tape *t, int i, int p)
{
	const NnGraph *g = t->graph;

	for (int j = i + 1; j < g->nnodes; j++)
		for (int q = 0; t->node[j].wants_grad && q < g->node[j].nparams; q++)
			if (g->node[j].param[q] == g->node[i].param[p])
				return true;
	return false;
}

/*
 * Walking backwards, the first reader of a node writes its gradient and the others add
 * to it; that of an output has been given.  The same for parameters.
 */
static void
find_first_writers(Tape *t)
{
	const NnGraph *g = t->graph;

	for (int i = g->nnodes - 1; i >= 0; i--)
	{
		for (int k = 0; k < g->node[i].ninputs; k++)
			t->node[i].grad_added[k] =
				t->node[i].gives_grad[k] && (is_output(g, g->node[i].input[k]) ||
											 given_before(t, i, k, g->node[i].input[k]));
		for (int p = 0; p < g->node[i].nparams; p++)
			t->node[i].param_added[p] =
				is_trainable(t, i, p) && param_given_before(t, i, p);
	}
}

/* ----------------------------------------------------------------- segments */

/* Is the value of one node all that nodes from i on read of those before? */
static bool
is_narrow(const NnGraph *g, int i)
{
	int only = -1;

	for (int j = i; j < g->nnodes; j++)
		for (int k = 0; k < g->node[j].ninputs; k++)
		{
			int from = g->node[j].input[k];

			if (from < i && only >= 0 && from != only)
				return false;
			if (from < i)
				only = from;
		}
	return true;
}

static size_t
trainable_floats(const Tape *t, int i)
{
	const NnNode *node = &t->graph->node[i];
	size_t floats = 0;

	for (int p = 0; t->node[i].wants_grad && p < node->nparams; p++)
		if (is_trainable(t, i, p))
			floats += nn_shape_size(&t->graph->param[node->param[p]].shape);
	return floats;
}

/* Is there a cut before node i, which is not the first of all?  params: since the last.
 */
static bool
begins_segment(const Tape *t, int i, size_t params)
{
	const NnNode *node = &t->graph->node[i];

	if (t->node[i].whole || t->node[i - 1].whole)
		return true;
	return t->backward &&
		   (node->kind == NN_BATCHNORM ||
			(params > SEGMENT_PARAMS && node->nparams > 0 && is_narrow(t->graph, i)));
}

static void
find_segments(Tape *t)
{
	const NnGraph *g = t->graph;
	size_t params = 0;
	int s = 0;

	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];

		if (i > t->segment[s].first && begins_segment(t, i, params))
		{
			t->segment[s].end = i;
			t->segment[++s].first = i;
			params = 0;
		}
		params += trainable_floats(t, i);
		t->node[i].segment = s;
		t->node[i].back_segment = node->kind == NN_BATCHNORM && s > 0 ? s - 1 : s;
	}
	t->segment[s].end = g->nnodes;
	t->nsegments = s + 1;
}

/* --------------------------------------------------------------- what is kept */

/* Can the backward pass compute node i again, if its inputs are there? */
static bool
may_compute_again(const Tape *t, int i)
{
	const NnNode *node = &t->graph->node[i];

	if (t->recompute)
		return true;
	switch (node->kind)
	{
		case NN_INPUT:
		case NN_BATCHNORM:
		case NN_LAYERNORM:
		case NN_ACTIVATION:
		case NN_ADD:
		case NN_MUL:
		case NN_SCALE:
		case NN_LAYERSCALE:
		case NN_POSITION:
		case NN_RESHAPE:
			return true;
		case NN_CONV2D:
			return tape_node_macs(t->graph, i) <= CHEAP_MACS * (double) t->node[i].size;
		default:
			return false;
	}
}

/* Does the backward pass read node i's value? */
static bool
is_read_again(const Tape *t, int i)
{
	const NnGraph *g = t->graph;

	if (!t->backward)
		return false;
	if (t->node[i].wants_grad && tape_reads_output(&g->node[i]))
		return true;
	for (int j = i + 1; j < g->nnodes; j++)
		for (int k = 0; t->node[j].wants_grad && k < g->node[j].ninputs; k++)
			if (g->node[j].input[k] == i && tape_reads_input(&g->node[j]))
				return true;
	return false;
}

static void
keep_what_crosses(Tape *t)
{
	const NnGraph *g = t->graph;

	for (int k = 0; k < nn_graph_outputs(g); k++)
	{
		t->node[nn_graph_output_node(g, k)].value_kept = true;
		t->node[nn_graph_output_node(g, k)].grad_kept = true;
	}
	for (int i = 0; i < g->nnodes; i++)
	{
		TapeNode *n = &t->node[i];

		if (n->back_segment != n->segment)
			n->grad_kept = true;
		for (int k = 0; k < g->node[i].ninputs; k++)
		{
			TapeNode *from = &t->node[g->node[i].input[k]];

			if (from->segment != n->segment)
				from->value_kept = true;
			if (from->back_segment != n->back_segment)
				from->grad_kept = true;
			if (g->node[i].kind == NN_BATCHNORM)
				from->feeds_batchnorm = true;
		}
	}
}

/* Keep what the backward pass reads, or mark it to be computed again. */
static void
keep_what_is_read_again(Tape *t)
{
	const NnGraph *g = t->graph;

	for (int i = 0; i < g->nnodes; i++)
	{
		TapeNode *n = &t->node[i];
		bool again = may_compute_again(t, i);

		for (int k = 0; k < g->node[i].ninputs; k++)
			again = again && t->node[g->node[i].input[k]].at_hand;
		if (!n->value_kept && is_read_again(t, i))
		{
			n->again = again;
			n->value_kept = !again;
		}
		if (t->recompute && n->wants_grad && n->saved)
			n->again = true; /* for what forward leaves, which is not kept either */
		n->at_hand = n->value_kept || again;
	}
	for (int i = g->nnodes - 1; i >= 0; i--)
		for (int k = 0; t->node[i].again && k < g->node[i].ninputs; k++)
			if (!t->node[g->node[i].input[k]].value_kept)
				t->node[g->node[i].input[k]].again = true;
}

void
tape_plan(Tape *t)
{
	find_wanted(t);
	for (int i = 0; i < t->graph->nnodes; i++)
	{
		t->node[i].whole = tape_is_whole(t, i);
		t->node[i].direct = t->node[i].direct && !t->node[i].whole;
	}
	find_segments(t);
	find_first_writers(t);
	keep_what_crosses(t);
	keep_what_is_read_again(t);
}
