/*
 * plan.h
 *	  Where each activation of an inference pass lives in one arena.
 */
#ifndef NN_PLAN_H
#define NN_PLAN_H

#include "nn/nn.h"

#ifdef __cplusplus
extern "C"
{
#endif

	typedef struct NnPlan
	{
		size_t *offset; /* per node, in floats, a multiple of 16; unused for the last */
		bool *in_place; /* per node: shares its input's place */
		size_t floats;	/* size of the arena */
	} NnPlan;

	/*
	 * Plan for batches of up to max_batch.  A place is free again after the last node
	 * that reads it; a node that may write over an input that nobody reads later
	 * takes over its place.  The last node writes to the caller's buffer.
	 */
	extern bool nn_plan(const NnGraph *g, int max_batch, NnPlan *plan, NnError *err);
	extern void nn_plan_free(NnPlan *plan);

#ifdef __cplusplus
}
#endif

#endif
