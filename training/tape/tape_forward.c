/*
 * tape_forward.c
 *	  The forward pass, and the distribution of slices over threads.
 */
#include "training/tape/tape_internal.h"

#include "nn/kernels.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

typedef struct SliceLoop
{
	Tape *tape;
	TapeWork work;
	void *arg;
	atomic_int next;
} SliceLoop;

static void
slice_thread(void *arg, int begin, int end, int thread)
{
	SliceLoop *loop = arg;

	(void) begin;
	(void) end;
	for (int s; (s = atomic_fetch_add(&loop->next, 1)) < TAPE_SLICES;)
		loop->work(loop->tape, s, loop->tape->scratch[thread], loop->arg);
}

void
tape_slices(Tape *t, TapeWork work, void *arg)
{
	SliceLoop loop = {t, work, arg, 0};

	nn_parallel(t->pool, t->threads, slice_thread, &loop);
}

NnCall
tape_call(const Tape *t, int i, int first, int n, float *scratch)
{
	const NnGraph *g = t->graph;
	const NnNode *node = &g->node[i];
	const TapeNode *tn = &t->node[i];
	NnCall call = {
		.graph = g,
		.node = node,
		.n = n,
		.out = tape_value(t, i, first, scratch),
		.scratch = scratch + t->op_scratch_at,
		.train = t->train,
		.momentum = t->momentum,
		.seed = t->seed,
		.first = t->first + first,
	};

	if (t->train && tn->saved)
		call.saved =
			tn->saved_data ? tn->saved_data + first * tn->saved : scratch + tn->saved_at;
	if (node->kind == NN_INPUT)
		call.images = t->images + (size_t) first * tn->size;
	for (int k = 0; k < node->ninputs; k++)
		call.in[k] = tape_value(t, node->input[k], first, scratch);
	for (int p = 0; p < node->nparams; p++)
		call.param[p] = node->param[p] >= 0 ? g->param[node->param[p]].data : NULL;
	return call;
}

/* Sums of x - pivot and its square over a group, the pivot being the running mean. */
static void
gather_moments(Tape *t, int x, int slice, int first, int n, const float *scratch)
{
	const NnGraph *g = t->graph;

	for (int i = x + 1; i < g->nnodes; i++)
		if (g->node[i].kind == NN_BATCHNORM && g->node[i].input[0] == x)
		{
			TapeNode *bn = &t->node[i];
			double *sum = bn->sums + (size_t) slice * 2 * bn->channels;

			nn_kernels()->moments(tape_value(t, x, first, scratch),
								  n * bn->size / bn->channels, bn->channels,
								  g->param[g->node[i].param[2]].data, sum,
								  sum + bn->channels);
		}
}

void
tape_forward_node(Tape *t, int i, int first, int n, float *scratch)
{
	TapeNode *node = &t->node[i];
	NnCall call = tape_call(t, i, first, n, scratch);

	if (t->graph->node[i].kind == NN_BATCHNORM)
		nn_kernels()->affine(call.in[0], call.out, n * node->size / node->channels,
							 node->channels, node->factor, node->shift);
	else if (node->direct)
	{
		nn_direct_forward(&node->conv, n, call.in[0], t->packed + node->packed_at,
						  call.param[1], call.out, call.scratch);
		if (t->graph->node[i].activation != NN_IDENTITY)
			nn_activate(t->graph->node[i].activation, call.out, call.out, n * node->size);
	}
	else
		nn_op[t->graph->node[i].kind].forward(&call);
}

static void
forward_slice(Tape *t, int slice, float *scratch, void *arg)
{
	const TapeSegment *seg = arg;
	int begin, end;

	tape_slice(t, slice, &begin, &end);
	for (int first = begin; first < end; first += seg->group)
	{
		int n = end - first < seg->group ? end - first : seg->group;

		for (int i = seg->first; i < seg->end; i++)
		{
			tape_forward_node(t, i, first, n, scratch);
			if (t->train && t->node[i].feeds_batchnorm)
				gather_moments(t, i, slice, first, n, scratch);
		}
	}
}

/* mean and rstd for this pass, then the two numbers per channel that apply them. */
static void
settle_batchnorm(Tape *t, int i)
{
	const NnNode *node = &t->graph->node[i];
	TapeNode *bn = &t->node[i];
	float *param[4];
	double count = (double) t->n * (bn->size / bn->channels);

	for (int p = 0; p < 4; p++)
		param[p] = t->graph->param[node->param[p]].data;
	for (int c = 0; c < bn->channels; c++)
	{
		double mean = param[2][c];
		double var = param[3][c];

		if (t->train)
		{
			double sum = 0;
			double square = 0;

			for (int s = 0; s < TAPE_SLICES; s++)
			{
				sum += bn->sums[(size_t) s * 2 * bn->channels + c];
				square += bn->sums[((size_t) s * 2 + 1) * bn->channels + c];
			}
			mean += sum / count;
			var = square / count - sum / count * (sum / count);
			var = var > 0 ? var : 0;
			param[2][c] += t->momentum * (float) (mean - param[2][c]);
			/* The running variance estimates that of the data: n / (n - 1). */
			param[3][c] +=
				t->momentum * (float) (var * (count / (count - 1)) - param[3][c]);
		}
		bn->mean[c] = (float) mean;
		bn->rstd[c] = (float) (1 / sqrt(var + node->eps));
		bn->factor[c] = param[0][c] * bn->rstd[c];
		bn->shift[c] = param[1][c] - bn->mean[c] * bn->factor[c];
	}
}

void
tape_pack(Tape *t, const TapeSegment *seg, bool again)
{
	for (int i = seg->first; i < seg->end; i++)
		if (t->node[i].direct && (!again || t->node[i].again))
			nn_direct_pack_by(t->pool, &t->node[i].conv,
							  t->graph->param[t->graph->node[i].param[0]].data,
							  t->packed + t->node[i].packed_at);
}

/* Batch norms whose statistics this segment's values complete. */
static void
clear_moments(Tape *t, int s)
{
	for (int i = t->segment[s].end; i < t->graph->nnodes; i++)
		if (t->graph->node[i].kind == NN_BATCHNORM &&
			t->node[t->graph->node[i].input[0]].segment == s)
			memset(t->node[i].sums, 0,
				   TAPE_SLICES * 2 * t->node[i].channels * sizeof(double));
}

const float *
tape_forward(Tape *t, const uint8_t *images, int n, bool train, float momentum)
{
	t->images = images;
	t->n = n;
	t->train = train && t->backward;
	t->momentum = momentum;
	for (int s = 0; s < t->nsegments; s++)
	{
		TapeSegment *seg = &t->segment[s];

		for (int i = seg->first; i < seg->end; i++)
			if (t->graph->node[i].kind == NN_BATCHNORM)
				settle_batchnorm(t, i);
		if (t->train)
			clear_moments(t, s);
		if (t->node[seg->first].whole)
		{
			tape_whole_forward(t, seg->first);
			continue;
		}
		tape_pack(t, seg, false);
		tape_slices(t, forward_slice, seg);
	}
	return tape_output(t, 0);
}

const float *
tape_output(const Tape *t, int k)
{
	return t->node[nn_graph_output_node(t->graph, k)].value;
}

void
tape_seed(Tape *t, uint64_t seed, int first)
{
	t->seed = seed;
	t->first = first;
}
