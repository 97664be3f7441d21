/*
 * learner_pass.cu
 *	  The forward and the backward pass over the nodes, in the order of step_plan.h.
 */
#include <stdio.h>

#include "gpu/learner_parts.h"
#include "gpu/op.h"

#define SPOILT 0xff /* as bytes of a float or a bfloat16: not a number */

/* On the host, for tests: what nobody may read any more is nobody's to read. */
static void
spoil(NnLearner *l, int moment)
{
#ifdef __CUDACC__
	(void) l;
	(void) moment;
#else
	for (int k = 0; k < l->plan.nlives && !l->m.dry; k++)
		if (l->plan.life[k].end == moment)
			memset(l->arena + l->plan.life[k].at, SPOILT, l->plan.life[k].bytes);
#endif
}

template <class T>
static T *
value_of(const NnLearner *l, int i, Pass pass)
{
	const PlanNode *n = l->plan.node;

	return (T *) (l->arena + n[n[i].root].value[pass]);
}

/* pass: where the node's values lie; what it does may be either. */
template <class T>
static Call<T>
call_of(NnLearner *l, int i, Pass pass, bool train)
{
	const NnNode *node = &l->graph->node[i];
	const PlanNode *plan = &l->plan.node[i];
	Call<T> c;

	memset((void *) &c, 0, sizeof(c));
	c.m = &l->m;
	c.graph = l->graph;
	c.node = node;
	c.n = l->batch.n;
	c.images = l->images[l->slot];
	c.out = value_of<T>(l, i, pass);
	for (int k = 0; k < node->ninputs; k++)
		c.in[k] = value_of<T>(l, node->input[k], pass);
	for (int p = 0; p < node->nparams; p++)
		if (node->param[p] >= 0)
			c.param[p] = l->part[NN_VALUE] + l->at[node->param[p]];
	c.packed = (const T *) l->packed[i];
	c.packed_bias = (const T *) l->packed_bias[i];
	c.joined = plan->joined ? NN_RELU : NN_IDENTITY;
	c.train = train;
	c.step = l->step;
	c.saved = plan->saved_bytes ? l->arena + plan->saved[pass] : NULL;
	return c;
}

static bool
node_ok(NnLearner *l, int i, const char *doing, NnError *err)
{
	const NnNode *node = &l->graph->node[i];
	const char *trouble = gpu_trouble(&l->m);
	char in[64] = "nothing", out[64];

	if (!trouble)
		return true;
	if (node->ninputs > 0)
		nn_shape_text(&l->graph->node[node->input[0]].shape, in, sizeof(in));
	return nn_fail(err, "CUDA: node %d (%s \"%s\", %s -> %s), %s, batch of %d: %s", i,
				   nn_op_name(node->kind), node->name, in,
				   nn_shape_text(&node->shape, out, sizeof(out)), doing, l->batch.n,
				   trouble);
}

template <class T>
static bool
forward_nodes(NnLearner *l, bool train, NnError *err)
{
	for (int i = 0; i < l->graph->nnodes; i++)
	{
		if (!plan_stands(l->plan.node, i))
		{
			Call<T> c = call_of<T>(l, i, PASS_FORWARD, train);

			op_forward(&c);
			if (!node_ok(l, i, "forward", err))
				return false;
		}
		spoil(l, i);
	}
	for (int k = 0; k < nn_graph_outputs(l->graph); k++)
	{
		const T *from = value_of<T>(l, nn_graph_output_node(l->graph, k), PASS_FORWARD);
		float *to = l->staged[k];

		each(&l->m, output_size(l, k, l->batch.n),
			 [=] ON_GPU(size_t i) { to[i] = from[i]; });
	}
	spoil(l, l->graph->nnodes);
	return true;
}

/* The gradients of the outputs, from where they are staged. */
template <class T>
static void
give_gradients(NnLearner *l)
{
	for (int k = 0; k < nn_graph_outputs(l->graph); k++)
	{
		const PlanNode *n = &l->plan.node[nn_graph_output_node(l->graph, k)];
		const float *from = l->staged[k];
		T *to = (T *) (l->arena + n->grad);

		if (n->wanted)
			each(&l->m, output_size(l, k, l->batch.n),
				 [=] ON_GPU(size_t e) { to[e] = from[e]; });
	}
}

template <class T>
static bool
again_node(NnLearner *l, int i, NnError *err)
{
	Call<T> c = call_of<T>(l, i, PASS_BACKWARD, true);

	c.again = true;
	op_forward(&c);
	spoil(l, l->plan.node[i].again_at);
	return node_ok(l, i, "forward again", err);
}

template <class T>
static bool
backward_node(NnLearner *l, int i, NnError *err)
{
	const NnGraph *g = l->graph;
	const NnNode *node = &g->node[i];
	const PlanNode *n = l->plan.node;
	Call<T> c = call_of<T>(l, i, PASS_BACKWARD, true);

	c.grad_out = (const T *) (l->arena + n[i].grad);
	for (int k = 0; k < node->ninputs; k++)
	{
		int from = node->input[k];

		if (!n[from].wanted)
			continue;
		c.grad_in[k] = (T *) (l->arena + n[from].grad);
		c.add[k] = n[from].first_grad != i;
		for (int before = 0; before < k; before++)
			c.add[k] |= node->input[before] == from;
	}
	for (int p = 0; p < node->nparams; p++)
		if (node->param[p] >= 0 && g->param[node->param[p]].trainable)
			c.grad_param[p] = l->part[NN_GRADIENT] + l->at[node->param[p]];
	op_backward(&c);
	spoil(l, n[i].back_at);
	return node_ok(l, i, "backward", err);
}

template <class T>
static bool
backward_nodes(NnLearner *l, NnError *err)
{
	const StepPlan *plan = &l->plan;

	give_gradients<T>(l);
	for (int s = plan->nsegments - 1; s >= 0; s--)
	{
		for (int i = plan->cut[s]; i < plan->cut[s + 1]; i++)
			if (plan->node[i].again && !again_node<T>(l, i, err))
				return false;
		for (int i = plan->cut[s + 1] - 1; i >= plan->cut[s]; i--)
			if (plan->node[i].wanted && !backward_node<T>(l, i, err))
				return false;
	}
	return true;
}

/* ------------------------------------------------------------------ for learner.cu */

size_t
learner_saved_bytes(const NnLearner *l, int node)
{
	const NnNode *n = &l->graph->node[node];

	return l->options.precision == NN_BF16
			   ? saved_bytes<Bf16>(l->graph, n, l->options.max_batch)
			   : saved_bytes<float>(l->graph, n, l->options.max_batch);
}

template <class T>
static void
pack_nodes(NnLearner *l)
{
	for (int i = 0; i < l->graph->nnodes; i++)
	{
		Call<T> c = call_of<T>(l, i, PASS_FORWARD, false);

		if (c.packed && (const void *) c.packed != c.param[0])
			pack_weights(&c, (T *) c.packed);
		if (c.packed_bias)
			pack_bias(&c, (T *) c.packed_bias);
	}
}

void
learner_pack(NnLearner *l)
{
	if (l->options.precision == NN_BF16)
		pack_nodes<Bf16>(l);
	else
		pack_nodes<float>(l);
}

struct Passing
{
	NnLearner *l;
	Pass pass;
	bool train;
};

static bool
queue_pass(void *context, int, NnError *err)
{
	const Passing *p = (const Passing *) context;
	bool bf16 = p->l->options.precision == NN_BF16;

	if (p->pass == PASS_FORWARD)
		return bf16 ? forward_nodes<Bf16>(p->l, p->train, err)
					: forward_nodes<float>(p->l, p->train, err);
	return bf16 ? backward_nodes<Bf16>(p->l, err) : backward_nodes<float>(p->l, err);
}

bool
learner_pass(NnLearner *l, Pass pass, bool train, NnError *err)
{
	Passing passing = {l, pass, train};
	RecordedKey key = {l->batch.n, l->slot, pass, train};

	return run_recorded(&l->m, &l->recorder, key, queue_pass, &passing, err);
}
