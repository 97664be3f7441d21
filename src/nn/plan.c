/*
 * plan.c
 *	  The memory plan: first fit in order of execution, by liveness.
 */
#include <stdlib.h>
#include <string.h>

#include "nn/op.h"
#include "nn/plan.h"

/* Rounded so that every place starts on a cache line. */
#define ALIGN_FLOATS 16

typedef struct Place
{
	size_t begin, end; /* floats; end 0: not alive */
	int last_use;	   /* node that reads it last */
} Place;

/* Lowest gap of size floats among the places alive while node runs. */
static size_t
first_fit(const Place *place, int node, size_t size)
{
	size_t at = 0;
	bool moved = true;

	while (moved)
	{
		moved = false;
		for (int i = 0; i < node; i++)
			if (place[i].end > 0 && place[i].last_use >= node &&
				place[i].begin < at + size && at < place[i].end)
			{
				at = place[i].end;
				moved = true;
			}
	}
	return at;
}

static void
assign(const NnGraph *g, int max_batch, NnPlan *plan, Place *place)
{
	for (int i = 0; i < g->nnodes; i++)
		place[i].last_use = i;
	for (int i = 0; i < g->nnodes; i++)
		for (int k = 0; k < g->node[i].ninputs; k++)
			place[g->node[i].input[k]].last_use = i;

	for (int i = 0; i < g->nnodes - 1; i++)
	{
		const NnNode *node = &g->node[i];
		size_t size = nn_shape_size(&node->shape) * (size_t) max_batch;

		size = (size + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
		for (int k = 0; k < node->ninputs && nn_may_overwrite(node->kind); k++)
		{
			Place *input = &place[node->input[k]];

			if (input->last_use == i && input->end > 0)
			{
				place[i].begin = input->begin;
				place[i].end = input->end;
				input->end = 0;
				plan->in_place[i] = true;
				break;
			}
		}
		if (!plan->in_place[i])
		{
			place[i].begin = first_fit(place, i, size);
			place[i].end = place[i].begin + size;
		}
		plan->offset[i] = place[i].begin;
		if (place[i].end > plan->floats)
			plan->floats = place[i].end;
	}
}

bool
nn_plan(const NnGraph *g, int max_batch, NnPlan *plan, NnError *err)
{
	size_t nodes = g->nnodes > 0 ? (size_t) g->nnodes : 0;
	Place *place;

	memset(plan, 0, sizeof(*plan));
	if (!nn_graph_ok(g, err))
		return false;
	if (max_batch < 1)
		return nn_fail(err, "a batch of %d images is none", max_batch);
	for (int i = 0; i < g->nnodes; i++)
		if (nn_shape_size(&g->node[i].shape) > (size_t) INT32_MAX / (size_t) max_batch)
			return nn_fail(err,
						   "node %d (%s \"%s\") makes %zu values an image: too many for "
						   "batches of %d; lower the batch",
						   i, nn_op_name(g->node[i].kind), g->node[i].name,
						   nn_shape_size(&g->node[i].shape), max_batch);
	place = calloc(nodes, sizeof(*place));
	plan->offset = calloc(nodes, sizeof(*plan->offset));
	plan->in_place = calloc(nodes, sizeof(*plan->in_place));
	if (place == NULL || plan->offset == NULL || plan->in_place == NULL)
	{
		free(place);
		nn_plan_free(plan);
		return nn_fail(err, "out of memory for a plan of %d nodes", g->nnodes);
	}
	assign(g, max_batch, plan, place);
	free(place);
	return true;
}

void
nn_plan_free(NnPlan *plan)
{
	free(plan->offset);
	free(plan->in_place);
	memset(plan, 0, sizeof(*plan));
}
