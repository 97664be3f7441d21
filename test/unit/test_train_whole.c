/*
 * test_train_whole.c
 *	  Layers that the tape runs in ways of its own (tape_whole.c, linear layers over
 *	  rows), beside a plain walk over the operations: the whole batch in every node, each
 *	  node's memory its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/graph.h"
#include "nn/op.h"
#include "training/tape/tape.h"

#define N 21
#define SIDE 16
#define OUT 6
#define MAX_NODES 32
#define SEED 11

static uint8_t images[N * SIDE * SIDE * 3];
static float grad_out[N * OUT];

static const float mean[3] = {0.5f, 0.5f, 0.5f};
static const float std[3] = {0.25f, 0.25f, 0.25f};

static void
fill(NnGraph *g)
{
	Rng rng;

	rng_seed(&rng, 5, 1);
	for (size_t i = 0; i < sizeof(images); i++)
		images[i] = (uint8_t) (256 * rng_uniform(&rng));
	for (int i = 0; i < N * OUT; i++)
		grad_out[i] = (float) (rng_uniform(&rng) - 0.5);
	for (int p = 0; p < g->nparams; p++)
	{
		size_t size = nn_shape_size(&g->param[p].shape);
		double bound = 2 / sqrt((double) size / g->param[p].shape.dim[0]);

		for (size_t i = 0; i < size; i++)
			g->param[p].data[i] = (float) ((rng_uniform(&rng) - 0.5) * bound);
	}
}

/* As AlexNet ends: a convolution over all positions, then linear layers; two of them read
 * the same values.  frozen: the first of them keeps its weights. */
static NnGraph *
classifier(bool frozen)
{
	const NnShape row = {1, {1000}};
	NnGraph *g = nn_graph_new();
	NnError err;
	int x, y;

	x = nn_input(g, SIDE, SIDE, mean, std);
	x = nn_conv2d(g, x, "features", 32, 5, 5, 2, 0, 1, true, NN_IDENTITY);
	x = nn_activation(g, x, NN_RELU);
	x = nn_maxpool(g, x, 2, 2, 0);
	x = nn_conv2d(g, x, "fc6", 1000, 3, 3, 1, 0, 1, true, NN_IDENTITY);
	x = nn_activation(g, x, NN_RELU);
	x = nn_dropout(g, x, 0.25f);
	x = nn_reshape(g, x, &row);
	y = nn_linear(g, x, "fc7", 300, true, NN_IDENTITY);
	y = nn_activation(g, y, NN_GELU);
	x = nn_linear(g, x, "branch", 300, false, NN_IDENTITY);
	x = nn_add(g, x, y);
	nn_linear(g, x, "hash", OUT, false, NN_IDENTITY);
	if (!nn_graph_ok(g, &err))
		fail_msg("%s", err.text);
	fill(g);
	if (frozen)
		g->param[nn_graph_find_param(g, "fc6.weight")].trainable = false;
	return g;
}

/* As a transformer: linear layers over the rows of a picture. */
static NnGraph *
tokens(bool frozen)
{
	const NnShape rows = {2, {16, 40}};
	NnGraph *g = nn_graph_new();
	NnError err;
	int x, y;

	x = nn_input(g, SIDE, SIDE, mean, std);
	x = nn_conv2d(g, x, "patch", 40, 4, 4, 4, 0, 1, true, NN_IDENTITY);
	x = nn_reshape(g, x, &rows);
	y = nn_layernorm(g, x, "norm1", 1e-5f);
	y = nn_linear(g, y, "qkv", 120, true, NN_IDENTITY);
	y = nn_attention(g, y, 4);
	y = nn_linear(g, y, "proj", 40, false, NN_IDENTITY);
	x = nn_add(g, x, y);
	y = nn_layernorm(g, x, "norm2", 1e-5f);
	y = nn_linear(g, y, "fc1", 72, true, NN_IDENTITY);
	y = nn_activation(g, y, NN_GELU);
	y = nn_linear(g, y, "fc2", 40, true, NN_IDENTITY);
	x = nn_add(g, x, y);
	x = nn_token(g, x, 3);
	nn_linear(g, x, "hash", OUT, false, NN_IDENTITY);
	if (!nn_graph_ok(g, &err))
		fail_msg("%s", err.text);
	fill(g);
	if (frozen)
		g->param[nn_graph_find_param(g, "fc1.weight")].trainable = false;
	return g;
}

/* ------------------------------------------------------------- the plain walk */

typedef struct Walk
{
	float *value[MAX_NODES], *grad[MAX_NODES], *saved[MAX_NODES];
	float *param[MAX_NODES]; /* gradients */
	float *scratch;
} Walk;

static NnCall
call_of(const NnGraph *g, Walk *w, int i)
{
	const NnNode *node = &g->node[i];
	NnCall call = {.graph = g,
				   .node = node,
				   .n = N,
				   .images = images,
				   .out = w->value[i],
				   .scratch = w->scratch,
				   .saved = w->saved[i],
				   .train = true,
				   .seed = SEED,
				   .grad_out = w->grad[i]};

	for (int k = 0; k < node->ninputs; k++)
	{
		call.in[k] = w->value[node->input[k]];
		call.grad_in[k] = w->grad[node->input[k]];
		call.add_grad_in[k] = true; /* all begin with zeros */
	}
	for (int p = 0; p < node->nparams; p++)
		if (node->param[p] >= 0)
		{
			call.param[p] = g->param[node->param[p]].data;
			call.grad_param[p] = w->param[node->param[p]];
		}
	return call;
}

static void
walk(const NnGraph *g, Walk *w)
{
	size_t scratch = 1;

	memset(w, 0, sizeof(*w));
	assert_true(g->nnodes <= MAX_NODES && g->nparams <= MAX_NODES);
	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];
		size_t size = nn_shape_size(&node->shape) * N;
		size_t need[2] = {
			nn_op[node->kind].scratch ? nn_op[node->kind].scratch(g, node, N, 1) : 0,
			nn_backward_op[node->kind].scratch
				? nn_backward_op[node->kind].scratch(g, node, N, 1)
				: 0};

		w->value[i] = calloc(size, sizeof(float));
		w->grad[i] = calloc(size, sizeof(float));
		if (nn_op[node->kind].saved)
			w->saved[i] = calloc(nn_op[node->kind].saved(g, node, N), sizeof(float));
		for (int k = 0; k < 2; k++)
			scratch = need[k] > scratch ? need[k] : scratch;
	}
	for (int p = 0; p < g->nparams; p++)
		w->param[p] = calloc(nn_shape_size(&g->param[p].shape), sizeof(float));
	assert_int_equal(
		posix_memalign((void **) &w->scratch, 64, (scratch + 64) * sizeof(float)), 0);
	for (int i = 0; i < g->nnodes; i++)
	{
		NnCall call = call_of(g, w, i);

		nn_op[g->node[i].kind].forward(&call);
	}
	memcpy(w->grad[g->nnodes - 1], grad_out, sizeof(grad_out));
	for (int i = g->nnodes - 1; i >= 0; i--)
	{
		NnCall call = call_of(g, w, i);

		if (nn_backward_op[g->node[i].kind].backward)
			nn_backward_op[g->node[i].kind].backward(&call);
	}
}

static void
free_walk(Walk *w)
{
	for (int i = 0; i < MAX_NODES; i++)
	{
		free(w->value[i]);
		free(w->grad[i]);
		free(w->saved[i]);
		free(w->param[i]);
	}
	free(w->scratch);
}

/* ------------------------------------------------------------------ the tests */

/* times: what the gradients are a multiple of. */
static void
compare(const NnGraph *g, const Walk *w, const Tape *tape, const float *out, float times)
{
	double most = 0, largest = 0;

	for (int i = 0; i < N * OUT; i++)
	{
		largest = fmax(largest, fabs(w->value[g->nnodes - 1][i]));
		most = fmax(most, fabs(out[i] - w->value[g->nnodes - 1][i]));
	}
	assert_true(largest > 0.1 && most <= 2e-6 * largest);
	for (int p = 0; p < g->nparams; p++)
	{
		const float *grad = tape_gradient(tape, p);
		size_t size = nn_shape_size(&g->param[p].shape);

		assert_int_equal(grad != NULL, g->param[p].trainable);
		most = largest = 0;
		for (size_t i = 0; grad && i < size; i++)
		{
			largest = fmax(largest, fabs(w->param[p][i]));
			most = fmax(most, fabs(grad[i] - times * w->param[p][i]));
		}
		if (grad && !(largest > 1e-3 && most <= 5e-6 * times * largest))
			fail_msg("%s: gradients of up to %g differ by %g", g->param[p].name, largest,
					 most);
	}
}

static void
run(NnGraph *g)
{
	const float *grads[NN_MAX_OUTPUTS] = {grad_out};
	NnPool *pool = nn_pool_new(3);
	float *first[MAX_NODES] = {0};
	Walk w;

	walk(g, &w);
	for (int use = TAPE_TRAIN; use <= TAPE_RECOMPUTE; use++)
		for (int threads = 1; threads <= 3; threads += 2)
		{
			TrainError err;
			Tape *tape =
				tape_new(g, N + 4, threads == 1 ? NULL : pool, (TapeUse) use, &err);
			const float *out;

			assert_non_null(tape);
			tape_seed(tape, SEED, 0);
			out = tape_forward(tape, images, N, true, 0.1f);
			tape_backward_outputs(tape, grads, false);
			compare(g, &w, tape, out, 1);
			/* the same bits with any threads, computed again or not */
			for (int p = 0; p < g->nparams; p++)
			{
				size_t bytes = nn_shape_size(&g->param[p].shape) * sizeof(float);

				if (!g->param[p].trainable)
					continue;
				if (first[p])
					assert_memory_equal(first[p], tape_gradient(tape, p), bytes);
				else if ((first[p] = malloc(bytes)))
					memcpy(first[p], tape_gradient(tape, p), bytes);
			}
			out = tape_forward(tape, images, N, true, 0.1f);
			tape_backward_outputs(tape, grads, true);
			compare(g, &w, tape, out, 2);
			tape_free(tape);
		}
	for (int p = 0; p < g->nparams; p++)
		free(first[p]);
	free_walk(&w);
	nn_pool_free(pool);
	nn_graph_free(g);
}

static void
test_classifier(void **state)
{
	(void) state;
	run(classifier(false));
	run(classifier(true));
}

static void
test_tokens(void **state)
{
	(void) state;
	run(tokens(false));
	run(tokens(true));
}

/* Without a backward pass nothing but the parameters of a layer is as large as they. */
static void
test_evaluation(void **state)
{
	NnGraph *g = classifier(false);
	TrainError err;
	Tape *tape = tape_new(g, N, NULL, TAPE_EVALUATE, &err);
	Tape *trains = tape_new(g, N, NULL, TAPE_TRAIN, &err);

	(void) state;
	assert_non_null(tape);
	assert_non_null(trains);
	assert_memory_equal(tape_forward(tape, images, N, false, 0),
						tape_forward(trains, images, N, false, 0),
						N * OUT * sizeof(float));
	assert_true(tape_memory(tape) < 1000 * 1000);
	tape_free(tape);
	tape_free(trains);
	nn_graph_free(g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classifier),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_evaluation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
