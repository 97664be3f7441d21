/*
 * step_plan.h
 *	  Where every value and gradient of a training step lies in one arena.
 *
 * A step is a list of moments: each node forward, the outputs read, their gradients
 * given, then segment by segment from the last one, its nodes forward again where that is
 * wanted, and backward.  A value lives from the moment that makes it to the last that
 * reads it, forward or backward; what does not live at once shares memory.
 *
 * Recomputation, as on the CPU (training/tape): the node list is cut into segments, only
 * values that another segment reads live on, and the backward pass begins each segment by
 * making its values again: the same operations on the same numbers, since batch norms
 * keep their statistics and random numbers are a function of the picture's number.  The
 * last segment's values are still there.  A GPU takes a segment's whole batch at once, so
 * the cuts lie where little crosses them (between residual blocks), as many as leave the
 * step smallest.
 *
 * Sizes are bytes.  Plain C++ without CUDA.
 */
#ifndef GPU_STEP_PLAN_H
#define GPU_STEP_PLAN_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nn/graph.h"

enum Pass
{
	PASS_FORWARD,
	PASS_BACKWARD,
	PASSES
};

struct PlanNode
{
	/* given */
	size_t value_bytes, saved_bytes, grad_bytes;
	/* found */
	int root;	 /* whose value this node's is: its own, or its input's */
	bool joined; /* ReLU, the next node, is done with it */
	bool wanted; /* has a gradient that somebody wants */
	bool kept;	 /* another segment reads the value */
	bool again;	 /* made again in the backward pass */
	int segment;
	int first_grad; /* node whose backward pass gives the gradient first; nnodes: output
					 */
	int again_at, back_at;					   /* moments; -1: never */
	size_t value[PASSES], saved[PASSES], grad; /* places in the arena */
};

/* A piece of the arena from one moment to another, both included. */
struct Life
{
	int begin, end;
	size_t bytes, at;
	size_t *to[PASSES]; /* who wants to know where */
};

struct StepPlan
{
	PlanNode *node;
	int nsegments;
	int *cut; /* first node of each segment, then nnodes */
	int nlives;
	Life *life;
	size_t bytes, peak; /* of the arena; of what lives at once */
};

/* ------------------------------------------------------------- who reads what */

/* Does the backward pass of a node read its inputs, or its output? */
static inline bool
back_reads_input(const NnNode *node)
{
	switch (node->kind)
	{
		case NN_ACTIVATION:
			return node->activation != NN_RELU;
		case NN_CONV2D:
		case NN_CONV_TRANSPOSE2D:
		case NN_LINEAR:
		case NN_BATCHNORM:
		case NN_LAYERNORM:
		case NN_ATTENTION:
		case NN_WINDOW_ATTENTION:
		case NN_MUL:
		case NN_LAYERSCALE:
		case NN_SIMAM:
		case NN_REPARAMETERISE:
		case NN_EMBEDDING:
			return true;
		default:
			return false;
	}
}

static inline bool
back_reads_output(const NnNode *node)
{
	return node->kind == NN_SOFTMAX ||
		   (node->kind == NN_ACTIVATION && node->activation == NN_RELU);
}

/* What a node saves is little: it lives on when values are made again. */
static inline bool
saves_little(const NnNode *node)
{
	return node->kind == NN_BATCHNORM || node->kind == NN_LAYERNORM;
}

static inline bool
plan_is_output(const NnGraph *g, int node)
{
	for (int k = 0; k < nn_graph_outputs(g); k++)
		if (nn_graph_output_node(g, k) == node)
			return true;
	return false;
}

/* The only reader of a node; -1: none or several, or somebody outside. */
static inline int
only_reader(const NnGraph *g, int node)
{
	int reader = -1;

	if (plan_is_output(g, node))
		return -1;
	for (int j = node + 1; j < g->nnodes; j++)
		for (int k = 0; k < g->node[j].ninputs; k++)
			if (g->node[j].input[k] == node)
			{
				if (reader >= 0)
					return -1;
				reader = j;
			}
	return reader;
}

/* A layer and the ReLU that alone reads it are one operation; a reshape is none. */
static inline void
plan_roots(const NnGraph *g, PlanNode *n)
{
	for (int i = 0; i < g->nnodes; i++)
		n[i].root = i;
	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];

		if (node->kind == NN_RESHAPE)
			n[i].root = n[node->input[0]].root;
		if (node->kind == NN_ACTIVATION && node->activation == NN_RELU)
		{
			int from = node->input[0];
			NnOpKind kind = g->node[from].kind;

			if ((kind == NN_CONV2D || kind == NN_CONV_TRANSPOSE2D || kind == NN_LINEAR) &&
				g->node[from].activation == NN_IDENTITY && only_reader(g, from) == i)
			{
				n[from].joined = true;
				n[i].root = from;
			}
		}
	}
}

static inline void
plan_wanted(const NnGraph *g, PlanNode *n)
{
	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];

		n[i].first_grad = -1;
		n[i].wanted = false;
		for (int p = 0; p < node->nparams; p++)
			n[i].wanted |= node->param[p] >= 0 && g->param[node->param[p]].trainable;
		for (int k = 0; k < node->ninputs; k++)
			n[i].wanted |= n[node->input[k]].wanted;
	}
	for (int k = 0; k < nn_graph_outputs(g); k++)
		n[nn_graph_output_node(g, k)].first_grad = g->nnodes;
	for (int i = g->nnodes - 1; i >= 0; i--)
	{
		n[i].wanted &= n[i].first_grad >= 0;
		for (int k = 0; k < g->node[i].ninputs && n[i].wanted; k++)
			if (n[g->node[i].input[k]].first_grad < 0)
				n[g->node[i].input[k]].first_grad = i;
	}
}

/* --------------------------------------------------------- what is made again */

/* Does node j read the value of root r? */
static inline bool
plan_reads(const NnGraph *g, const PlanNode *n, int j, int r)
{
	for (int k = 0; k < g->node[j].ninputs; k++)
		if (n[g->node[j].input[k]].root == r)
			return true;
	return false;
}

static inline bool
plan_back_reads(const NnGraph *g, const PlanNode *n, int j, int r)
{
	return n[j].wanted && ((back_reads_input(&g->node[j]) && plan_reads(g, n, j, r)) ||
						   (back_reads_output(&g->node[j]) && n[j].root == r));
}

/* Is nothing done for node j, because its value is another's? */
static inline bool
plan_stands(const PlanNode *n, int j)
{
	return n[j].root != j;
}

static inline void
plan_again(const NnGraph *g, StepPlan *plan)
{
	PlanNode *n = plan->node;

	for (int s = 0; s < plan->nsegments; s++)
		for (int i = plan->cut[s]; i < plan->cut[s + 1]; i++)
		{
			n[i].segment = s;
			n[i].kept = n[i].again = false;
		}
	for (int i = g->nnodes - 1; i >= 0; i--)
	{
		bool needed = false;

		if (plan_stands(n, i))
			continue;
		for (int j = i; j < g->nnodes; j++)
		{
			bool reads = j > i && plan_reads(g, n, j, i);

			n[i].kept |= reads && n[j].segment != n[i].segment;
			needed |= plan_back_reads(g, n, j, i) || (reads && n[j].again);
		}
		if (n[i].segment == plan->nsegments - 1)
			continue;
		n[i].again = (needed && !n[i].kept) ||
					 (n[i].wanted && n[i].saved_bytes > 0 && !saves_little(&g->node[i]));
	}
}

/* -------------------------------------------------------------------- lives */

static inline void
plan_live(StepPlan *plan, int begin, int end, size_t bytes, size_t *to, size_t *too)
{
	Life *life;

	if (bytes == 0)
		return;
	life = &plan->life[plan->nlives++];
	life->begin = begin;
	life->end = end > begin ? end : begin;
	life->bytes = (bytes + 255) & ~(size_t) 255;
	life->to[0] = to;
	life->to[1] = too;
}

static inline void
plan_moments(const NnGraph *g, StepPlan *plan)
{
	PlanNode *n = plan->node;
	int now = g->nnodes + 2;

	for (int i = 0; i < g->nnodes; i++)
		n[i].again_at = n[i].back_at = -1;
	for (int s = plan->nsegments - 1; s >= 0; s--)
	{
		for (int i = plan->cut[s]; i < plan->cut[s + 1]; i++)
			if (n[i].again)
				n[i].again_at = now++;
		for (int i = plan->cut[s + 1] - 1; i >= plan->cut[s]; i--)
			if (n[i].wanted)
				n[i].back_at = now++;
	}
}

static inline int
later(int a, int b)
{
	return a > b ? a : b;
}

static inline void
plan_value_lives(const NnGraph *g, StepPlan *plan, int i)
{
	PlanNode *n = plan->node, *me = &n[i];
	bool once = me->kept || me->segment == plan->nsegments - 1;
	int end = i, back_end = -1;

	for (int j = i; j < g->nnodes; j++)
	{
		if (n[j].root == i && plan_is_output(g, j))
			end = later(end, g->nnodes);
		if (j > i && plan_reads(g, n, j, i))
		{
			end = later(end, j);
			back_end = later(back_end, n[j].again_at);
		}
		if (plan_back_reads(g, n, j, i))
			back_end = later(back_end, n[j].back_at);
	}
	if (once)
		plan_live(plan, i, later(end, back_end), me->value_bytes, &me->value[0],
				  &me->value[1]);
	else
	{
		plan_live(plan, i, end, me->value_bytes, &me->value[0], NULL);
		if (me->again)
			plan_live(plan, me->again_at, back_end, me->value_bytes, &me->value[1], NULL);
	}
}

static inline void
plan_lives(const NnGraph *g, StepPlan *plan)
{
	PlanNode *n = plan->node;

	plan->nlives = 0;
	plan_moments(g, plan);
	for (int i = 0; i < g->nnodes; i++)
	{
		PlanNode *me = &n[i];

		if (!plan_stands(n, i))
			plan_value_lives(g, plan, i);
		if (!me->again || saves_little(&g->node[i]))
			plan_live(plan, i, later(me->again_at, me->back_at), me->saved_bytes,
					  &me->saved[0], &me->saved[1]);
		else
		{
			plan_live(plan, i, i, me->saved_bytes, &me->saved[0], NULL);
			plan_live(plan, me->again_at, me->back_at, me->saved_bytes, &me->saved[1],
					  NULL);
		}
		if (me->wanted)
			plan_live(plan,
					  me->first_grad == g->nnodes ? g->nnodes + 1
												  : n[me->first_grad].back_at,
					  me->back_at, me->grad_bytes, &me->grad, NULL);
	}
}

/* The most that lives at one moment. */
static inline size_t
plan_peak(const NnGraph *g, const StepPlan *plan)
{
	int moments = 3 * g->nnodes + 3;
	long long *change = (long long *) calloc((size_t) moments + 1, sizeof(*change));
	long long now = 0, peak = 0;

	if (!change)
		return SIZE_MAX;
	for (int k = 0; k < plan->nlives; k++)
	{
		change[plan->life[k].begin] += (long long) plan->life[k].bytes;
		change[plan->life[k].end + 1] -= (long long) plan->life[k].bytes;
	}
	for (int t = 0; t <= moments; t++)
	{
		now += change[t];
		peak = now > peak ? now : peak;
	}
	free(change);
	return (size_t) peak;
}

/* ------------------------------------------------------------------- placing */

static inline int
longest_first(const void *a, const void *b)
{
	const Life *x = *(const Life *const *) a, *y = *(const Life *const *) b;
	int p = x->end - x->begin, q = y->end - y->begin;

	if (p != q)
		return p > q ? -1 : 1;
	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return x < y ? -1 : x > y;
}

static inline int
largest_first(const void *a, const void *b)
{
	const Life *x = *(const Life *const *) a, *y = *(const Life *const *) b;

	return x->bytes == y->bytes ? longest_first(a, b) : x->bytes > y->bytes ? -1 : 1;
}

static inline int
lowest_first(const void *a, const void *b)
{
	const Life *x = *(const Life *const *) a, *y = *(const Life *const *) b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/* Each at the lowest place that is free for as long as it lives.  Returns the bytes. */
static inline size_t
plan_place(StepPlan *plan, Life **order, Life **beside,
		   int (*before)(const void *, const void *))
{
	size_t all = 0;

	for (int k = 0; k < plan->nlives; k++)
		order[k] = &plan->life[k];
	qsort(order, (size_t) plan->nlives, sizeof(*order), before);
	for (int k = 0; k < plan->nlives; k++)
	{
		int n = 0;
		size_t at = 0;

		for (int j = 0; j < k; j++)
			if (order[j]->begin <= order[k]->end && order[k]->begin <= order[j]->end)
				beside[n++] = order[j];
		qsort(beside, (size_t) n, sizeof(*beside), lowest_first);
		for (int j = 0; j < n && beside[j]->at < at + order[k]->bytes; j++)
			if (beside[j]->at + beside[j]->bytes > at)
				at = beside[j]->at + beside[j]->bytes;
		order[k]->at = at;
		all = at + order[k]->bytes > all ? at + order[k]->bytes : all;
	}
	return all;
}

static inline bool
plan_arena(StepPlan *plan)
{
	Life **order = (Life **) calloc(2 * (size_t) plan->nlives + 2, sizeof(*order));
	Life **beside = order + plan->nlives + 1;
	size_t bytes;

	if (!order)
		return false;
	bytes = plan_place(plan, order, beside, largest_first);
	plan->bytes = plan_place(plan, order, beside, longest_first);
	if (bytes < plan->bytes)
		plan->bytes = plan_place(plan, order, beside, largest_first);
	for (int k = 0; k < plan->nlives; k++)
		for (size_t *to : plan->life[k].to)
			if (to)
				*to = plan->life[k].at;
	free(order);
	return true;
}

/* ------------------------------------------------------------------- cutting */

/* crossing[i]: bytes of values made before node i that i or a later one reads */
static inline void
plan_crossing(const NnGraph *g, const PlanNode *n, size_t *crossing)
{
	memset(crossing, 0, (size_t) g->nnodes * sizeof(*crossing));
	for (int i = 0; i < g->nnodes; i++)
	{
		int last = i;

		if (plan_stands(n, i))
			continue;
		for (int j = i + 1; j < g->nnodes; j++)
			if (plan_reads(g, n, j, i))
				last = j;
		for (int c = i + 1; c <= last; c++)
			crossing[c] += n[i].value_bytes;
	}
}

/* Segments that fill `room` bytes or more, cut where least crosses. */
static inline void
plan_cut(const NnGraph *g, StepPlan *plan, const size_t *crossing, size_t room)
{
	const PlanNode *n = plan->node;
	size_t filled = 0;
	int first = 0;

	plan->nsegments = 1;
	plan->cut[0] = 0;
	for (int i = 0; i < g->nnodes; i++)
	{
		int best = i;

		filled += (plan_stands(n, i) ? 0 : n[i].value_bytes) + n[i].saved_bytes;
		if (filled <= room || i == first)
			continue;
		for (int c = i; c > first; c--)
			if (crossing[c] < crossing[best])
				best = c;
		plan->cut[plan->nsegments++] = first = best;
		filled = 0;
		for (int c = best; c <= i; c++)
			filled += (plan_stands(n, c) ? 0 : n[c].value_bytes) + n[c].saved_bytes;
	}
	plan->cut[plan->nsegments] = g->nnodes;
}

#define PLAN_TRIALS 24

/* The cuts that leave the least alive at once. */
static inline bool
plan_segments(const NnGraph *g, StepPlan *plan)
{
	size_t *crossing = (size_t *) calloc((size_t) g->nnodes + 1, sizeof(*crossing));
	size_t all = 0, best_room = SIZE_MAX, best = SIZE_MAX;
	double room;

	if (!crossing)
		return false;
	plan_crossing(g, plan->node, crossing);
	for (int i = 0; i < g->nnodes; i++)
		all += plan->node[i].value_bytes + plan->node[i].saved_bytes;
	room = (double) all;
	for (int k = 0; k < PLAN_TRIALS; k++, room *= 0.8)
	{
		size_t peak;

		plan_cut(g, plan, crossing, (size_t) room);
		plan_again(g, plan);
		plan_lives(g, plan);
		peak = plan_peak(g, plan);
		if (peak < best)
		{
			best = peak;
			best_room = (size_t) room;
		}
	}
	plan_cut(g, plan, crossing, best_room);
	free(crossing);
	return true;
}

static inline void
plan_free(StepPlan *plan)
{
	free(plan->node);
	free(plan->cut);
	free(plan->life);
	memset(plan, 0, sizeof(*plan));
}

/*
 * Begin: room for the plan of g; the caller then fills in the sizes of plan->node and
 * calls plan_step.  False: out of memory.
 */
static inline bool
plan_new(const NnGraph *g, StepPlan *plan)
{
	size_t nodes = (size_t) g->nnodes;

	memset(plan, 0, sizeof(*plan));
	plan->node = (PlanNode *) calloc(nodes, sizeof(PlanNode));
	plan->cut = (int *) calloc(nodes + 2, sizeof(int));
	plan->life = (Life *) calloc(5 * nodes, sizeof(Life));
	return plan->node && plan->cut && plan->life;
}

static inline bool
plan_step(const NnGraph *g, bool recompute, StepPlan *plan)
{
	plan_roots(g, plan->node);
	plan_wanted(g, plan->node);
	plan->nsegments = 1;
	plan->cut[0] = 0;
	plan->cut[1] = g->nnodes;
	if (recompute && !plan_segments(g, plan))
		return false;
	plan_again(g, plan);
	plan_lives(g, plan);
	plan->peak = plan_peak(g, plan);
	return plan_arena(plan);
}

#endif
