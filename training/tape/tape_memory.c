/*
 * tape_memory.c
 *	  When each buffer of a tape is in use, where it lies, and the memory for all.
 */
#include "nn/memory.h"
#include "training/tape/place.h"
#include "training/tape/tape_internal.h"

#include <stdlib.h>
#include <string.h>

/* Floats that a group's largest activation should fill: a third of a 1 MB cache. */
#define GROUP_FLOATS (80 * 1024)
#define GROUP_MAX 16

/* A node's buffers, in this order in a list of spans. */
enum
{
	VALUE,
	GRADIENT,
	SAVED,
	BUFFERS
};

static size_t
rounded(size_t floats)
{
	return (floats + 15) / 16 * 16;
}

static void *
take(Tape *t, size_t bytes, bool *ok)
{
	void *p = *ok ? nn_alloc(bytes) : NULL;

	*ok = p != NULL;
	if (p)
		t->memory += bytes;
	return p;
}

static void
use_until(Span *s, int step)
{
	s->end = step > s->end ? step : s->end;
}

static void
use_from(Span *s, int step)
{
	s->begin = step < s->begin ? step : s->begin;
}

static bool
has_gradient(const Tape *t, int i)
{
	return t->backward && t->node[i].wants_grad;
}

/* Is what forward leaves for backward kept for the whole batch? */
static bool
saves_for_batch(const Tape *t, int i)
{
	return t->node[i].saved && has_gradient(t, i) && !t->recompute;
}

/* ---------------------------------------------------------- the whole batch */

/* The step at which segment s runs backward. */
static int
back_step(const Tape *t, int s)
{
	return 2 * t->nsegments - 1 - s;
}

/* Node j reads node from. */
static void
note_reader(const Tape *t, int j, int k, Span *from)
{
	const NnNode *node = &t->graph->node[j];
	const TapeNode *n = &t->node[j];

	use_until(&from[VALUE], n->segment);
	if (n->again)
		use_until(&from[VALUE], back_step(t, n->segment));
	if (has_gradient(t, j) && tape_reads_input(node))
		use_until(&from[VALUE], back_step(t, n->back_segment));
	if (n->gives_grad[k])
		use_from(&from[GRADIENT], back_step(t, n->back_segment));
}

static void
find_spans(const Tape *t, Span *span)
{
	const NnGraph *g = t->graph;
	int last = 2 * t->nsegments;

	for (int i = 0; i < g->nnodes; i++)
	{
		const TapeNode *n = &t->node[i];
		Span *s = span + BUFFERS * i;
		int back = back_step(t, n->segment);

		s[VALUE] = (Span){.begin = n->segment, .end = n->segment};
		s[GRADIENT] = (Span){.begin = last, .end = back_step(t, n->back_segment)};
		s[SAVED] = (Span){.begin = n->segment, .end = back};
		if (n->value_kept)
			s[VALUE].size = n->size * t->max_batch;
		if (n->grad_kept && has_gradient(t, i))
			s[GRADIENT].size = n->size * t->max_batch;
		if (saves_for_batch(t, i))
			s[SAVED].size = n->saved * t->max_batch;
		if (has_gradient(t, i) && tape_reads_output(&g->node[i]))
			use_until(&s[VALUE], back);
		for (int k = 0; k < g->node[i].ninputs; k++)
			note_reader(t, i, k, span + BUFFERS * g->node[i].input[k]);
	}
	for (int k = 0; k < nn_graph_outputs(g); k++)
	{
		Span *s = span + BUFFERS * nn_graph_output_node(g, k);

		use_until(&s[VALUE], last); /* the caller may look at it after backward */
		use_from(&s[GRADIENT], t->nsegments);
	}
}

static bool
take_arena(Tape *t)
{
	size_t n = BUFFERS * (size_t) t->graph->nnodes;
	Span *span = calloc(n, sizeof(*span));
	size_t floats = 0;
	bool ok = span != NULL;

	if (ok)
		find_spans(t, span);
	ok = ok && place_spans(span, (int) n, &floats);
	t->arena = take(t, floats * sizeof(float), &ok);
	for (int i = 0; ok && i < t->graph->nnodes; i++)
	{
		Span *s = span + BUFFERS * i;

		if (s[VALUE].size)
			t->node[i].value = t->arena + s[VALUE].at;
		if (s[GRADIENT].size)
			t->node[i].grad = t->arena + s[GRADIENT].at;
		if (s[SAVED].size)
			t->node[i].saved_data = t->arena + s[SAVED].at;
	}
	free(span);
	return ok;
}

/* ------------------------------------------------------------------ a group */

/*
 * Steps of a group: its nodes in order, the batch norm above, its nodes in reverse.
 * One plan serves the forward pass and the backward pass, which begins with some of the
 * nodes again.
 */
static void
note_reader_in_group(const Tape *t, const TapeSegment *seg, int j, int k, Span *from)
{
	const TapeNode *n = &t->node[j];
	int nodes = seg->end - seg->first;
	int back = j < seg->end ? 2 * nodes - (j - seg->first) : nodes;

	if (j < seg->end)
		use_until(&from[VALUE], j - seg->first);
	if (has_gradient(t, j) && tape_reads_input(&t->graph->node[j]))
		use_until(&from[VALUE], back);
	if (n->gives_grad[k])
		use_from(&from[GRADIENT], back);
}

static void
find_group_spans(const Tape *t, const TapeSegment *seg, Span *span)
{
	const NnGraph *g = t->graph;
	int nodes = seg->end - seg->first;

	for (int i = seg->first; i < seg->end; i++)
	{
		const TapeNode *n = &t->node[i];
		Span *s = span + BUFFERS * (i - seg->first);
		int at = i - seg->first;
		int back = 2 * nodes - at;

		s[VALUE] = (Span){.begin = at, .end = at};
		s[GRADIENT] = (Span){.begin = back, .end = back};
		s[SAVED] = (Span){.begin = at, .end = at};
		if (!n->value_kept)
			s[VALUE].size = n->size * seg->group;
		if (!n->grad_kept && has_gradient(t, i))
			s[GRADIENT].size = n->size * seg->group;
		if (n->saved && !saves_for_batch(t, i))
			s[SAVED].size = n->saved * seg->group;
		if (has_gradient(t, i))
			use_until(&s[SAVED], back);
		if (has_gradient(t, i) && tape_reads_output(&g->node[i]))
			use_until(&s[VALUE], back);
	}
	/* the node after the segment may be the batch norm above */
	for (int j = seg->first; j <= seg->end && j < g->nnodes; j++)
		for (int k = 0; k < g->node[j].ninputs; k++)
			if (g->node[j].input[k] >= seg->first)
				note_reader_in_group(t, seg, j, k,
									 span + BUFFERS * (g->node[j].input[k] - seg->first));
}

static bool
plan_group(Tape *t, TapeSegment *seg)
{
	size_t n = BUFFERS * (size_t) (seg->end - seg->first);
	Span *span = calloc(n, sizeof(*span));
	size_t largest = 1;
	size_t floats = 0;

	for (int i = seg->first; i < seg->end; i++)
		if (t->node[i].size > largest)
			largest = t->node[i].size;
	seg->group = (int) (GROUP_FLOATS / largest);
	seg->group = seg->group < 1 ? 1 : seg->group > GROUP_MAX ? GROUP_MAX : seg->group;
	if (span == NULL)
		return false;
	find_group_spans(t, seg, span);
	if (!place_spans(span, (int) n, &floats))
	{
		free(span);
		return false;
	}
	for (int i = seg->first; i < seg->end; i++)
	{
		Span *s = span + BUFFERS * (i - seg->first);

		t->node[i].value_at = s[VALUE].at;
		t->node[i].grad_at = s[GRADIENT].at;
		t->node[i].saved_at = s[SAVED].at;
	}
	if (floats > t->op_scratch_at)
		t->op_scratch_at = floats;
	free(span);
	return true;
}

static size_t
op_scratch(const Tape *t, int i)
{
	const NnGraph *g = t->graph;
	const NnNode *node = &g->node[i];
	int group = t->segment[t->node[i].segment].group;
	size_t need = 0;

	if (t->node[i].whole || node->kind == NN_LINEAR)
		return 0;
	if (t->node[i].direct)
		return nn_direct_scratch(&t->node[i].conv, group);
	if (nn_op[node->kind].scratch)
		need = nn_op[node->kind].scratch(g, node, group, 1);
	if (has_gradient(t, i) && nn_backward_op[node->kind].scratch)
	{
		size_t back = nn_backward_op[node->kind].scratch(g, node, group, 1);

		need = back > need ? back : need;
	}
	return need;
}

/* ------------------------------------------------------------ parameters */

/* Room for gradients of a segment's parameters, but those of batch norms. */
static void
plan_segment_gradients(Tape *t, TapeSegment *seg)
{
	const NnGraph *g = t->graph;

	for (int i = seg->first; i < seg->end; i++)
		for (int p = 0; p < g->node[i].nparams; p++)
		{
			if (!tape_gathers(t, i, p))
				continue;
			t->node[i].param_at[p] = seg->gradients;
			seg->gradients +=
				rounded(nn_shape_size(&g->param[g->node[i].param[p]].shape));
		}
}

/*
 * Room for a segment's rearranged weights: those of the backward pass over those of the
 * forward pass, unless it needs both.  Returns the floats.
 */
static size_t
plan_packed(Tape *t, const TapeSegment *seg)
{
	size_t floats = 0;

	for (int i = seg->first; i < seg->end; i++)
		if (t->node[i].direct)
		{
			size_t weights = rounded(nn_direct_pack_size(&t->node[i].conv));

			t->node[i].packed_at = floats;
			floats += t->node[i].again ? weights : 0;
			t->node[i].packed_input_at = floats;
			floats += weights;
		}
	return floats;
}

static bool
take_batchnorm(Tape *t, TapeNode *n)
{
	size_t row = rounded(n->channels);
	bool ok = true;

	n->sums = take(t, TAPE_SLICES * 2 * row * sizeof(double), &ok);
	n->mean = take(t, 4 * row * sizeof(float), &ok);
	if (ok)
	{
		n->rstd = n->mean + row;
		n->factor = n->mean + 2 * row;
		n->shift = n->mean + 3 * row;
	}
	return ok;
}

static bool
take_gradients(Tape *t)
{
	const NnGraph *g = t->graph;
	size_t all = 0;
	bool ok = true;

	for (int p = 0; p < g->nparams; p++)
		if (g->param[p].trainable)
		{
			t->param_at[p] = all;
			all += rounded(nn_shape_size(&g->param[p].shape));
		}
	t->grad = take(t, all * sizeof(float), &ok);
	if (ok) /* no node may read a parameter: its gradient is zero then */
		memset(t->grad, 0, all * sizeof(float));
	return ok;
}

bool
tape_take_memory(Tape *t)
{
	const NnGraph *g = t->graph;
	size_t need = 0;
	size_t packed = 0;
	size_t gradients = 0;
	size_t rows = 0;
	bool ok = true;

	for (int s = 0; ok && s < t->nsegments; s++)
	{
		TapeSegment *seg = &t->segment[s];
		size_t weights = plan_packed(t, seg);

		packed = weights > packed ? weights : packed;
		ok = plan_group(t, seg);
		plan_segment_gradients(t, seg);
		gradients = seg->gradients > gradients ? seg->gradients : gradients;
	}
	for (int i = 0; ok && i < g->nnodes; i++)
	{
		size_t scratch = op_scratch(t, i);

		need = scratch > need ? scratch : need;
		if (t->node[i].whole && tape_whole_rows(t, i) > rows)
			rows = tape_whole_rows(t, i);
		if (g->node[i].kind == NN_BATCHNORM)
			ok = take_batchnorm(t, &t->node[i]);
	}
	t->op_scratch_at = rounded(t->op_scratch_at);
	t->slice_grad_at = rounded(t->op_scratch_at + need + 64);
	t->scratch_size = t->slice_grad_at + gradients;
	ok = ok && take_arena(t);
	for (int i = 0; ok && i < t->threads; i++)
		t->scratch[i] = take(t, t->scratch_size * sizeof(float), &ok);
	t->rows = take(t, rows * sizeof(float), &ok);
	t->packed = take(t, packed * sizeof(float), &ok);
	t->sum = take(t, gradients * sizeof(float), &ok);
	return ok && (!t->backward || take_gradients(t));
}
