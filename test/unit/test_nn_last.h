/*
 * test_nn_last.h
 *	  A graph of one operation, and what that computes.
 */
#ifndef TEST_NN_LAST_H
#define TEST_NN_LAST_H

#include "test_nn_reference.h"

/* A graph whose input node has any shape we like, for testing one op. */
static inline NnGraph *
graph_from(NnShape shape)
{
	const float zero[3] = {0, 0, 0}, one[3] = {1, 1, 1};
	NnGraph *g = nn_graph_new();

	assert_int_equal(nn_input(g, 1, 1, zero, one), 0);
	g->node[0].shape = shape;
	return g;
}

/* Run the last node of g on in[] for n pictures; returns its output. */
static inline float *
run_last(const NnGraph *g, int n, float *const *in, NnPool *pool, bool packed)
{
	const NnNode *node = nn_graph_output(g);
	const NnOp *op = &nn_op[node->kind];
	uint64_t s = 5;
	int threads = nn_pool_threads(pool);
	size_t scratch = op->scratch ? op->scratch(g, node, n, threads) : 0;
	NnCall call = {0};
	float *weights = NULL;

	call.graph = g;
	call.node = node;
	call.n = n;
	call.pool = pool;
	call.in[0] = in[0];
	call.in[1] = in[1];
	/* memory is dirty, so that an op that reads before it writes is seen */
	call.out = test_floats(&s, (size_t) n * nn_shape_size(&node->shape), 1e9f);
	call.scratch = test_floats(&s, scratch, 1e9f);
	for (int p = 0; p < node->nparams; p++)
		call.param[p] = node->param[p] >= 0 ? g->param[node->param[p]].data : NULL;
	if (packed && op->pack)
	{
		weights = test_floats(&s, op->pack_size(g, node), 1e9f);
		op->pack(g, node, weights);
		call.packed = weights;
	}
	op->forward(&call);
	free(weights);
	free(call.scratch);
	return call.out;
}

#endif
