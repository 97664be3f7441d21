/*
 * gpu_plan.h
 *	  What gpu_host.cc tells test_gpu_plan.c of plans and choices.
 */
#ifndef TEST_GPU_PLAN_H
#define TEST_GPU_PLAN_H

#include "nn/graph.h"

#ifdef __cplusplus
extern "C"
{
#endif

	typedef struct PlanFacts
	{
		bool ok, overlap;
		size_t bytes, peak;
		int segments, joined, again;
	} PlanFacts;

	extern PlanFacts gpu_plan(const NnGraph *g, int batch, bool recompute);
	extern unsigned gpu_parts_without(const char *list);
	extern int gpu_choose(const bool *works, const bool *deterministic,
						  const size_t *workspace, int n, bool must_repeat, size_t room);
	extern int gpu_epilogue(bool bias, NnActivation act);
	extern int gpu_table(int n, int *refused);
	extern int gpu_recorded(int n, int slot, bool forward);
	extern int gpu_cudnn(const NnGraph *g, int node, int batch, int way, int bytes,
						 char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
