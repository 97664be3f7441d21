/*
 * fold.c
 *	  From a network as it was trained to the same network for inference.
 *
 * A batch norm with fixed statistics is y = f x + s per channel, f = weight /
 * sqrt(var + eps), s = bias - mean f.  After a convolution or linear layer it goes
 * into that layer: rows of the weight times f, bias times f plus s.  It also
 * passes backwards through an average without padding, which is linear and keeps
 * constants, and through a maximum where all f are positive, which keeps order.
 *
 * Before that, what inference does not need goes: the ancestors of other outputs, and
 * what only training does.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/op.h"

typedef struct Fold
{
	const NnGraph *from;
	NnGraph *to;
	int *readers; /* per node of from: how many nodes read it */
	int *place;	  /* per node of from: its node in to */
	int *norm;	  /* per layer of from: the batch norm that it swallows, or -1 */
} Fold;

static bool
is_layer(const NnNode *node)
{
	return (node->kind == NN_CONV2D || node->kind == NN_LINEAR) &&
		   node->activation == NN_IDENTITY;
}

static float
factor_of(const NnGraph *g, const NnNode *norm, int channel)
{
	return (float) (g->param[norm->param[0]].data[channel] /
					sqrt((double) g->param[norm->param[3]].data[channel] + norm->eps));
}

static float
shift_of(const NnGraph *g, const NnNode *norm, int channel)
{
	return (float) (g->param[norm->param[1]].data[channel] -
					(double) g->param[norm->param[2]].data[channel] *
						factor_of(g, norm, channel));
}

static bool
all_positive(const NnGraph *g, const NnNode *norm)
{
	for (int c = 0; c < nn_shape_cols(&norm->shape); c++)
		if (!(factor_of(g, norm, c) > 0))
			return false;
	return true;
}

/* May the norm pass backwards through this node? */
static bool
passes(const NnGraph *g, const NnNode *node, const NnNode *norm)
{
	switch (node->kind)
	{
		case NN_MAXPOOL:
			return all_positive(g, norm);
		case NN_AVGPOOL:
			return node->pad[0] == 0 && node->pad[1] == 0;
		case NN_GLOBAL_AVGPOOL:
			return true;
		default:
			return false;
	}
}

/* The layer into which batch norm i of from can go; -1: none. */
static int
layer_for(const Fold *f, int i)
{
	const NnGraph *g = f->from;
	int at = g->node[i].input[0];

	while (f->readers[at] == 1 && passes(g, &g->node[at], &g->node[i]))
		at = g->node[at].input[0];
	return f->readers[at] == 1 && is_layer(&g->node[at]) && f->norm[at] < 0 ? at : -1;
}

/* The node after i that could be fused as its activation; -1: none. */
static int
sole_reader(const Fold *f, int i)
{
	if (f->readers[i] == 1)
		for (int k = i + 1; k < f->from->nnodes; k++)
			for (int j = 0; j < f->from->node[k].ninputs; j++)
				if (f->from->node[k].input[j] == i)
					return k;
	return -1;
}

static void
copy_params(const Fold *f, const NnNode *from, const NnNode *to)
{
	for (int p = 0; p < from->nparams; p++)
		if (from->param[p] >= 0)
		{
			const NnParam *source = &f->from->param[from->param[p]];
			NnParam *target = &f->to->param[to->param[p]];

			memcpy(target->data, source->data,
				   nn_shape_size(&source->shape) * sizeof(float));
			target->trainable = source->trainable;
		}
}

static void
apply_norm(const Fold *f, const NnNode *norm, const NnNode *layer)
{
	float *weight = f->to->param[layer->param[0]].data;
	float *bias = f->to->param[layer->param[1]].data;
	size_t row =
		nn_shape_size(&f->to->param[layer->param[0]].shape) / (size_t) layer->channels;

	for (int c = 0; c < layer->channels; c++)
	{
		float factor = factor_of(f->from, norm, c);

		for (size_t i = 0; i < row; i++)
			weight[(size_t) c * row + i] *= factor;
		bias[c] = bias[c] * factor + shift_of(f->from, norm, c);
	}
}

/* Append node i, with the norm it swallows and the activation that follows. */
static bool
append(Fold *f, int i, int fused)
{
	const NnNode *from = &f->from->node[i];
	NnNode node = *from;
	unsigned with = 0;
	int at;

	for (int k = 0; k < node.ninputs; k++)
		node.input[k] = f->place[node.input[k]];
	for (int p = 0; p < from->nparams; p++)
		if (from->param[p] >= 0)
			with |= 1u << p;
	if (f->norm[i] >= 0)
		with |= 2; /* the norm's shift needs a bias */
	if (fused >= 0)
		node.activation = f->from->node[fused].activation;
	at = nn_graph_add(f->to, &node, with);
	if (at < 0)
		return false;
	copy_params(f, from, &f->to->node[at]);
	if (f->norm[i] >= 0)
		apply_norm(f, &f->from->node[f->norm[i]], &f->to->node[at]);
	f->place[i] = at;
	return true;
}

static bool
fold_all(Fold *f)
{
	const NnGraph *g = f->from;

	for (int i = 0; i < g->nnodes; i++)
		f->norm[i] = f->place[i] = -1;
	for (int i = 0; i < g->nnodes; i++)
		for (int k = 0; k < g->node[i].ninputs; k++)
			f->readers[g->node[i].input[k]]++;
	for (int i = 0; i < g->nnodes; i++)
		if (g->node[i].kind == NN_BATCHNORM)
		{
			int layer = layer_for(f, i);

			if (layer >= 0)
			{
				f->norm[layer] = i;
				f->place[i] = 0; /* gone: stands for its input */
			}
		}
	for (int i = 0; i < g->nnodes; i++)
	{
		int next = i, fused = -1;

		if (g->node[i].kind == NN_BATCHNORM && f->place[i] == 0)
		{
			f->place[i] = f->place[g->node[i].input[0]];
			continue;
		}
		if (f->place[i] >= 0)
			continue; /* an activation that its layer has taken in */
		if (is_layer(&g->node[i]))
		{
			/* step over the norm if it follows at once */
			next = sole_reader(f, i);
			if (next >= 0 && next == f->norm[i])
				next = sole_reader(f, next);
			if (next >= 0 && g->node[next].kind == NN_ACTIVATION)
				fused = next;
		}
		if (!append(f, i, fused))
			return false;
		if (fused >= 0)
			f->place[fused] = f->place[i];
	}
	return true;
}

static bool
only_in_training(NnOpKind kind)
{
	return kind == NN_DROPOUT || kind == NN_REPARAMETERISE;
}

/* Mark what output 0 needs; false: that is everything. */
static bool
mark_needed(const NnGraph *g, bool *needed)
{
	bool less = false;

	needed[nn_graph_output_node(g, 0)] = true;
	for (int i = g->nnodes - 1; i >= 0; i--)
	{
		int inputs = only_in_training(g->node[i].kind) ? 1 : g->node[i].ninputs;

		less = less || !needed[i] || only_in_training(g->node[i].kind);
		for (int k = 0; needed[i] && k < inputs; k++)
			needed[g->node[i].input[k]] = true;
	}
	return less;
}

static NnGraph *
pruned(const NnGraph *g, const bool *needed, int *place)
{
	NnGraph *to = nn_graph_new();
	Fold f = {.from = g, .to = to};

	for (int i = 0; to && i < g->nnodes; i++)
	{
		NnNode node = g->node[i];
		unsigned with = 0;

		if (!needed[i])
			continue;
		if (only_in_training(node.kind))
		{
			place[i] = place[node.input[0]];
			continue;
		}
		for (int k = 0; k < node.ninputs; k++)
			node.input[k] = place[node.input[k]];
		for (int p = 0; p < node.nparams; p++)
			if (node.param[p] >= 0)
				with |= 1u << p;
		place[i] = nn_graph_add(to, &node, with);
		if (place[i] < 0)
			break;
		copy_params(&f, &g->node[i], &to->node[place[i]]);
	}
	return to;
}

static NnGraph *
fold_pruned(const NnGraph *g, NnError *err)
{
	Fold f = {0};
	size_t n;
	bool ok;

	if (!nn_graph_ok(g, err))
		return NULL;
	n = (size_t) g->nnodes;
	f.from = g;
	f.to = nn_graph_new();
	f.readers = calloc(n, sizeof(int));
	f.place = calloc(n, sizeof(int));
	f.norm = calloc(n, sizeof(int));
	ok = f.to && f.readers && f.place && f.norm && fold_all(&f);
	free(f.readers);
	free(f.place);
	free(f.norm);
	if (ok)
		return f.to;
	nn_fail(err, "%s", f.to && f.to->failed ? f.to->error.text : "out of memory");
	nn_graph_free(f.to);
	return NULL;
}

NnGraph *
nn_graph_fold_batchnorm(const NnGraph *g, NnError *err)
{
	NnGraph *less = NULL, *folded = NULL;
	bool *needed;
	int *place;

	if (!nn_graph_ok(g, err))
		return NULL;
	needed = calloc((size_t) g->nnodes, sizeof(bool));
	place = calloc((size_t) g->nnodes, sizeof(int));
	if (needed == NULL || place == NULL)
		nn_fail(err, "out of memory");
	else if (mark_needed(g, needed))
	{
		less = pruned(g, needed, place);
		folded = fold_pruned(less, err);
	}
	else
		folded = fold_pruned(g, err);
	nn_graph_free(less);
	free(needed);
	free(place);
	return folded;
}
