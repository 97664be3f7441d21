/*
 * gpu_host.cc
 *	  The operations of gpu/ compiled for the host, behind the CPU's calls.
 */
extern "C"
{
#include "nn/op.h"
}
#include <stdlib.h>

#include "gpu/half.h"
#include "gpu/op.h"
#include "gpu/recorded.h"
#include "gpu/step_plan.h"

static Call<float>
call_of(const NnCall *c, Machine *m, const Step *step)
{
	Call<float> to = {};

	to.m = m;
	to.graph = c->graph;
	to.node = c->node;
	to.n = c->n;
	to.images = c->images;
	to.out = c->out;
	to.train = c->train;
	to.step = step;
	to.saved = c->saved;
	to.grad_out = c->grad_out;
	for (int k = 0; k < NN_MAX_INPUTS; k++)
	{
		to.in[k] = c->in[k];
		to.grad_in[k] = c->grad_in[k];
		to.add[k] = c->add_grad_in[k];
	}
	for (int k = 0; k < NN_MAX_PARAMS; k++)
	{
		to.param[k] = c->param[k];
		to.grad_param[k] = c->grad_param[k];
	}
	return to;
}

static unsigned parts_to_leave;

/* The dry run says how much scratch memory the real one may use: no more is there. */
static void
run(const NnCall *c, void (*op)(const Call<float> *))
{
	static Dnn stand_in;
	Step step = {c->seed, c->first, c->momentum};
	Machine m = {};
	Call<float> call = call_of(c, &m, &step);

	m.room = rooms();
	m.without = parts_to_leave;
	m.dnn = m.without & WITHOUT_CUDNN ? NULL : &stand_in;
	m.dry = true;
	op(&call);
	m.dry = false;
	m.scratch = (char *) aligned_alloc(256, m.most + 256);
	op(&call);
	free(m.scratch);
}

extern "C" void gpu_host_without(unsigned parts);
extern "C" void gpu_host_forward(const NnCall *c);
extern "C" void gpu_host_backward(const NnCall *c);
extern "C" size_t gpu_host_saved(const NnGraph *g, const NnNode *node, int n);

/* Parts (choice.h) that the operations do without from now on. */
extern "C" void
gpu_host_without(unsigned parts)
{
	parts_to_leave = parts;
}

extern "C" void
gpu_host_forward(const NnCall *c)
{
	run(c, op_forward<float>);
}

extern "C" void
gpu_host_backward(const NnCall *c)
{
	run(c, op_backward<float>);
}

extern "C" size_t
gpu_host_saved(const NnGraph *g, const NnNode *node, int n)
{
	return saved_bytes<float>(g, node, n) / sizeof(float);
}

/* Half precision, there and back. */
extern "C" uint16_t gpu_host_to_fp16(float value);
extern "C" float gpu_host_of_fp16(uint16_t bits);

extern "C" uint16_t
gpu_host_to_fp16(float value)
{
	return Fp16(value).bits;
}

extern "C" float
gpu_host_of_fp16(uint16_t bits)
{
	Fp16 half;

	half.bits = bits;
	return half;
}

/* ----------------------------------------------- plans and choices, for test_gpu_plan.c
 */

#include "test/unit/gpu_plan.h"

/* Do two things that live at once share memory, or reach past the end? */
static bool
overlap(const StepPlan *plan)
{
	for (int a = 0; a < plan->nlives; a++)
	{
		const Life *x = &plan->life[a];

		if (x->end < x->begin || x->at + x->bytes > plan->bytes)
			return true;
		for (int b = a + 1; b < plan->nlives; b++)
		{
			const Life *y = &plan->life[b];

			if (x->begin <= y->end && y->begin <= x->end && x->at < y->at + y->bytes &&
				y->at < x->at + x->bytes)
				return true;
		}
	}
	return false;
}

extern "C" PlanFacts
gpu_plan(const NnGraph *g, int batch, bool recompute)
{
	PlanFacts facts = {};
	StepPlan plan;

	facts.ok = plan_new(g, &plan);
	for (int i = 0; facts.ok && i < g->nnodes; i++)
	{
		PlanNode *n = &plan.node[i];

		n->value_bytes = n->grad_bytes =
			(size_t) batch * nn_shape_size(&g->node[i].shape) * sizeof(float);
		n->saved_bytes = saved_bytes<float>(g, &g->node[i], batch);
	}
	facts.ok = facts.ok && plan_step(g, recompute, &plan);
	if (facts.ok)
	{
		facts.overlap = overlap(&plan);
		facts.bytes = plan.bytes;
		facts.peak = plan.peak;
		facts.segments = plan.nsegments;
	}
	for (int i = 0; facts.ok && i < g->nnodes; i++)
	{
		facts.joined += plan.node[i].joined;
		facts.again += plan.node[i].again;
	}
	plan_free(&plan);
	return facts;
}

extern "C" unsigned
gpu_parts_without(const char *list)
{
	return parts_to_do_without(list);
}

extern "C" int
gpu_choose(const bool *works, const bool *deterministic, const size_t *workspace, int n,
		   bool must_repeat, size_t room)
{
	Candidate list[16];

	for (int i = 0; i < n; i++)
		list[i] = Candidate{works[i], deterministic[i], workspace[i]};
	return choose(list, n, must_repeat, room);
}

extern "C" int
gpu_epilogue(bool bias, NnActivation act)
{
	return epilogue_of(bias, act);
}

/* Keys 0 .. n-1 into a table of 8 places, each asked for twice: how many were new. */
extern "C" int
gpu_table(int n, int *refused)
{
	PlanTable<ProductKey, int, 8> table = {};
	int fresh_ones = 0;

	*refused = 0;
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < n; i++)
		{
			ProductKey key;
			bool fresh;
			int *plan;

			memset((void *) &key, 0, sizeof(key));
			key.depth = (size_t) i;
			plan = table.find(key, &fresh);
			*refused += plan == NULL;
			fresh_ones += fresh;
			if (fresh)
				*plan = 100 + i;
			if (plan && *plan != 100 + i)
				return -1;
		}
	return fresh_ones;
}

extern "C" int
gpu_recorded(int n, int slot, bool forward)
{
	static Recorder recorder;
	RecordedKey key = {n, slot, forward ? PASS_FORWARD : PASS_BACKWARD, true};
	Recorded *entry;

	return recorded_turn(&recorder, key, &entry);
}

/* Does libcudnn, where there is one, take our descriptors and find our shapes? */
extern "C" int
gpu_cudnn(const NnGraph *g, int node, int batch, int way, int bytes, char *text,
		  size_t size)
{
	Machine m = {};
	DnnLibrary lib;
	DnnPlan plan = {};
	bool same;

	if (!dnn_open(&lib, text, size))
		return -1;
	same = dnn_describe(&lib,
						conv_key(&m, geometry_of(g, &g->node[node]), batch, (ConvWay) way,
								 (size_t) bytes),
						&plan);
	dnn_plan_free(&lib, &plan);
	dnn_close(&lib);
	return same;
}
