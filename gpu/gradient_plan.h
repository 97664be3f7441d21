/*
 * gradient_plan.h
 *	  Where the gradient of each node lies during a backward pass.
 *
 * A node's gradient lives from its last reader (or the beginning, for outputs) down to
 * the node itself; gradients that do not live at once share memory.  Plain C++ without
 * CUDA.
 */
#ifndef GPU_GRADIENT_PLAN_H
#define GPU_GRADIENT_PLAN_H

#include <stdlib.h>

#include "nn/graph.h"

struct GradientPlace
{
	bool wanted; /* a trainable parameter lies at or before the node, an output after */
	int from;	 /* node whose backward pass writes it first; nnodes: an output */
	size_t begin, end; /* elements */
};

static inline void
gradients_wanted(const NnGraph *g, GradientPlace *place)
{
	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];

		place[i].from = -1;
		for (int p = 0; p < node->nparams; p++)
			place[i].wanted |= node->param[p] >= 0 && g->param[node->param[p]].trainable;
		for (int k = 0; k < node->ninputs; k++)
			place[i].wanted |= place[node->input[k]].wanted;
	}
	for (int k = 0; k < nn_graph_outputs(g); k++)
		place[nn_graph_output_node(g, k)].from = g->nnodes;
	for (int i = g->nnodes - 1; i >= 0; i--)
	{
		place[i].wanted &= place[i].from >= 0;
		for (int k = 0; k < g->node[i].ninputs && place[i].wanted; k++)
			if (place[g->node[i].input[k]].from < 0)
				place[g->node[i].input[k]].from = i;
	}
}

/* First fit, from the last node back.  Returns the elements of the arena. */
static inline size_t
plan_gradients(const NnGraph *g, int batch, GradientPlace *place)
{
	size_t all = 0;

	gradients_wanted(g, place);
	for (int i = g->nnodes - 1; i >= 0; i--)
	{
		size_t size =
			(nn_shape_size(&g->node[i].shape) * (size_t) batch + 127) & ~(size_t) 127;
		size_t at = 0;
		bool moved = place[i].wanted;

		while (moved)
		{
			moved = false;
			for (int j = i + 1; j < g->nnodes; j++)
				if (place[j].wanted && j <= place[i].from && place[j].begin < at + size &&
					at < place[j].end)
				{
					at = place[j].end;
					moved = true;
				}
		}
		if (!place[i].wanted)
			continue;
		place[i].begin = at;
		place[i].end = at + size;
		all = all > at + size ? all : at + size;
	}
	return all;
}

#endif
