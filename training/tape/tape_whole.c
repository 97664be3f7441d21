/*
 * tape_whole.c
 *	  Layers whose weights outweigh the batch: three products over the whole batch.
 *
 * A layer that sees a picture as one row (a linear layer after pooling, or a convolution
 * over all positions, as AlexNet and VGG begin their classifier) has millions of
 * weights and few values.  Cut into slices, each would read all weights and need a
 * gradient of its own of their size; so it is a segment of its own that runs over the
 * batch at once, reads the weights where they are and writes their gradients where they
 * belong.  Threads share blocks of fixed size, so their number does not show.
 */
#include "training/tape/tape_internal.h"

#include "nn/backward.h"
#include "nn/kernels.h"

#include <cblas.h>

#define BLOCK 64	   /* outputs of one product */
#define WIDE_BLOCK 512 /* columns of the gradient of the input */

typedef struct Whole
{
	Tape *tape;
	const NnNode *node;
	int n, depth, outputs;
	int channels, taps; /* of the input: rows are [channels][taps] */
	float *x;			/* [n][depth] as the weights have it */
	const float *weight, *dy;
	float *y, *grad_weight, *dx;
	bool add;
} Whole;

bool
tape_is_whole(const Tape *t, int i)
{
	const NnGraph *g = t->graph;
	const NnNode *node = &g->node[i];
	const NnShape *in;

	if ((node->kind != NN_LINEAR && node->kind != NN_CONV2D) || !t->node[i].useful ||
		nn_shape_size(&g->param[node->param[0]].shape) < TAPE_WHOLE_PARAMS)
		return false;
	for (int j = i + 1; j < g->nnodes; j++)
		if (g->node[j].kind == NN_BATCHNORM && g->node[j].input[0] == i)
			return false; /* its moments are gathered slice by slice */
	in = nn_input_shape(g, node, 0);
	if (node->kind == NN_LINEAR)
		return nn_shape_rows(in) == 1;
	return node->groups == 1 && node->pad[0] == 0 && node->pad[1] == 0 &&
		   node->kernel[0] == in->dim[0] && node->kernel[1] == in->dim[1];
}

/* Positions of one picture: rows of a convolution are to be turned. */
static int
taps_of(const NnGraph *g, const NnNode *node)
{
	const NnShape *in = nn_input_shape(g, node, 0);

	return node->kind == NN_CONV2D ? in->dim[0] * in->dim[1] : 1;
}

size_t
tape_whole_rows(const Tape *t, int i)
{
	const NnNode *node = &t->graph->node[i];

	return taps_of(t->graph, node) > 1 ? t->node[node->input[0]].size * t->max_batch : 0;
}

/* [taps][channels] of each picture to [channels][taps]. */
static void
turn(void *arg, int begin, int end, int thread)
{
	const Whole *w = arg;
	const float *from =
		tape_value(w->tape, w->node->input[0], 0, NULL) + (size_t) begin * w->depth;
	float *to = w->tape->rows + (size_t) begin * w->depth;

	(void) thread;
	for (int i = begin; i < end; i++, from += w->depth, to += w->depth)
		for (int t = 0; t < w->taps; t++)
			for (int c = 0; c < w->channels; c++)
				to[c * w->taps + t] = from[t * w->channels + c];
}

/* And back: the gradient of the input. */
static void
turn_back(void *arg, int begin, int end, int thread)
{
	const Whole *w = arg;
	const float *from = w->tape->rows + (size_t) begin * w->depth;
	float *to =
		tape_grad_of(w->tape, w->node->input[0], 0, NULL) + (size_t) begin * w->depth;

	(void) thread;
	for (int i = begin; i < end; i++, from += w->depth, to += w->depth)
		for (int t = 0; t < w->taps; t++)
			for (int c = 0; c < w->channels; c++)
			{
				float *dx = &to[t * w->channels + c];

				*dx = (w->add ? *dx : 0) + from[c * w->taps + t];
			}
}

static Whole
whole_of(Tape *t, int i)
{
	const NnNode *node = &t->graph->node[i];
	Whole w = {
		.tape = t,
		.node = node,
		.n = t->n,
		.depth = (int) t->node[node->input[0]].size,
		.outputs = (int) t->node[i].size,
		.taps = taps_of(t->graph, node),
		.x = tape_value(t, node->input[0], 0, NULL),
		.weight = t->graph->param[node->param[0]].data,
		.y = tape_value(t, i, 0, NULL),
	};

	w.channels = w.depth / w.taps;
	if (w.taps > 1)
	{
		nn_parallel(t->pool, w.n, turn, &w);
		w.x = t->rows;
	}
	return w;
}

static int
smaller(int a, int b)
{
	return a < b ? a : b;
}

/* Y = X Wt, blocks of outputs */
static void
forward_blocks(void *arg, int begin, int end, int thread)
{
	const Whole *w = arg;

	(void) thread;
	for (int o = begin * BLOCK; o < smaller(end * BLOCK, w->outputs); o += BLOCK)
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, w->n,
					smaller(BLOCK, w->outputs - o), w->depth, 1, w->x, w->depth,
					w->weight + (size_t) o * w->depth, w->depth, 0, w->y + o, w->outputs);
}

void
tape_whole_forward(Tape *t, int i)
{
	Whole w = whole_of(t, i);
	int bias = w.node->param[1];

	nn_parallel(t->pool, (w.outputs + BLOCK - 1) / BLOCK, forward_blocks, &w);
	nn_kernels()->bias_activate(w.y, (size_t) w.n, w.outputs,
								bias >= 0 ? t->graph->param[bias].data : NULL,
								w.node->activation);
}

/* dW (+)= dYt X, blocks of outputs */
static void
weight_blocks(void *arg, int begin, int end, int thread)
{
	const Whole *w = arg;

	(void) thread;
	for (int o = begin * BLOCK; o < smaller(end * BLOCK, w->outputs); o += BLOCK)
		cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans,
					smaller(BLOCK, w->outputs - o), w->depth, w->n, 1, w->dy + o,
					w->outputs, w->x, w->depth, w->add ? 1 : 0,
					w->grad_weight + (size_t) o * w->depth, w->depth);
}

/* dX (+)= dY W, blocks of columns */
static void
input_blocks(void *arg, int begin, int end, int thread)
{
	const Whole *w = arg;

	(void) thread;
	for (int d = begin * WIDE_BLOCK; d < smaller(end * WIDE_BLOCK, w->depth);
		 d += WIDE_BLOCK)
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, w->n,
					smaller(WIDE_BLOCK, w->depth - d), w->outputs, 1, w->dy, w->outputs,
					w->weight + d, w->depth, w->add ? 1 : 0, w->dx + d, w->depth);
}

static void
input_gradient(Tape *t, int i, Whole *w)
{
	w->dx = w->taps > 1 ? t->rows : tape_grad_of(t, w->node->input[0], 0, NULL);
	w->add = w->taps == 1 && t->node[i].grad_added[0];
	nn_parallel(t->pool, (w->depth + WIDE_BLOCK - 1) / WIDE_BLOCK, input_blocks, w);
	w->add = t->node[i].grad_added[0];
	if (w->taps > 1)
		nn_parallel(t->pool, w->n, turn_back, w);
}

void
tape_whole_backward(Tape *t, int i)
{
	Whole w = whole_of(t, i);
	float *grad[2] = {NULL, NULL};
	bool add[2] = {false, false};

	w.dy = tape_grad_of(t, i, 0, NULL);
	for (int p = 0; p < 2 && p < w.node->nparams; p++)
		if (w.node->param[p] >= 0 && t->graph->param[w.node->param[p]].trainable)
		{
			grad[p] = t->grad + t->param_at[w.node->param[p]];
			add[p] = t->accumulate || t->node[i].param_added[p];
		}
	if (grad[0])
	{
		w.grad_weight = grad[0];
		w.add = add[0];
		nn_parallel(t->pool, (w.outputs + BLOCK - 1) / BLOCK, weight_blocks, &w);
	}
	for (int r = 0; grad[1] && r < w.n; r++)
		nn_give(grad[1], w.dy + (size_t) r * w.outputs, (size_t) w.outputs,
				add[1] || r > 0);
	if (t->node[i].gives_grad[0])
		input_gradient(t, i, &w); /* last: it may overwrite the rows */
}
