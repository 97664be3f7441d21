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
