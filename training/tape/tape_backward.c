/*
 * tape_backward.c
 *	  The backward pass: segments in reverse, gradients of parameters per slice.
 */
#include "training/tape/tape_internal.h"

#include "nn/backward.h"

#include <math.h>
#include <string.h>

#define BLOCK 64 /* channels handled at once */

/* sum[c] += dy, sum_xh[c] += dy (x - mean) rstd over rows `stride` apart. */
static NN_WIDE void
moments_of_gradient(const float *x, const float *dy, size_t rows, int stride, int count,
					const float *mean, const float *rstd, float *sum, float *sum_xh)
{
	float a[BLOCK] = {0};
	float b[BLOCK] = {0};

	for (size_t r = 0; r < rows; r++)
		for (int c = 0; c < count; c++)
		{
			a[c] += dy[r * stride + c];
			b[c] += dy[r * stride + c] * ((x[r * stride + c] - mean[c]) * rstd[c]);
		}
	memcpy(sum, a, sizeof(a));
	memcpy(sum_xh, b, sizeof(b));
}

/* dx = a dy + b x + d per channel, or dx += where add */
static NN_WIDE void
combine(const float *dy, const float *x, size_t rows, int stride, int count,
		const float *a, const float *b, const float *d, float *dx, bool add)
{
	for (size_t r = 0; r < rows; r++, dy += stride, x += stride, dx += stride)
		if (add)
			for (int c = 0; c < count; c++)
				dx[c] += a[c] * dy[c] + b[c] * x[c] + d[c];
		else
			for (int c = 0; c < count; c++)
				dx[c] = a[c] * dy[c] + b[c] * x[c] + d[c];
}

static NN_WIDE void
add_to(float *to, const float *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] += from[i];
}

/*
 * Batch norm, first half: per slice the sums of dy and of dy xh, which are also the
 * gradients of bias and weight.
 */
static void
batchnorm_sums(Tape *t, int i, int slice, int first, int n, const float *scratch)
{
	TapeNode *bn = &t->node[i];
	int channels = bn->channels;
	const float *x = tape_value(t, t->graph->node[i].input[0], first, scratch);
	const float *dy = tape_grad_of(t, i, first, scratch);
	double *sum = bn->sums + (size_t) slice * 2 * channels;

	for (int c0 = 0; c0 < channels; c0 += BLOCK)
	{
		int count = channels - c0 < BLOCK ? channels - c0 : BLOCK;
		float part[2][BLOCK];

		moments_of_gradient(x + c0, dy + c0, n * bn->size / channels, channels, count,
							bn->mean + c0, bn->rstd + c0, part[0], part[1]);
		for (int c = 0; c < count; c++)
		{
			sum[c0 + c] += part[0][c];
			sum[channels + c0 + c] += part[1][c];
		}
	}
}

/* Between the halves: totals over slices, into the parameters and into row 0. */
static void
settle_batchnorm_sums(Tape *t, int i)
{
	const NnNode *node = &t->graph->node[i];
	TapeNode *bn = &t->node[i];
	int channels = bn->channels;

	for (int c = 0; c < 2 * channels; c++)
	{
		double total = 0;

		for (int s = 0; s < TAPE_SLICES; s++)
			total += bn->sums[(size_t) s * 2 * channels + c];
		bn->sums[c] = total;
	}
	for (int p = 0; p < 2; p++)
		if (t->graph->param[node->param[p]].trainable)
		{
			float *grad = t->grad + t->param_at[node->param[p]];
			const double *from = bn->sums + (p == 0 ? channels : 0);
			bool add = t->accumulate || bn->param_added[p];

			for (int c = 0; c < channels; c++)
				grad[c] = (add ? grad[c] : 0) + (float) from[c];
		}
}

/* Batch norm, second half: dx = factor (dy - mean(dy) - xh mean(dy xh)). */
static void
batchnorm_input(Tape *t, int i, int first, int n, float *scratch)
{
	TapeNode *bn = &t->node[i];
	int channels = bn->channels;
	size_t rows = n * bn->size / channels;
	double count = (double) t->n * (bn->size / channels);
	int from = t->graph->node[i].input[0];
	const float *x = tape_value(t, from, first, scratch);
	const float *dy = tape_grad_of(t, i, first, scratch);
	float *dx = tape_grad_of(t, from, first, scratch);

	for (int c0 = 0; c0 < channels; c0 += BLOCK)
	{
		int width = channels - c0 < BLOCK ? channels - c0 : BLOCK;
		float a[BLOCK], b[BLOCK], d[BLOCK];

		for (int c = 0; c < width; c++)
		{
			double mean_dy = bn->sums[c0 + c] / count;
			double mean_dyx = bn->sums[channels + c0 + c] / count;

			a[c] = bn->factor[c0 + c];
			b[c] = (float) (-(double) a[c] * mean_dyx * bn->rstd[c0 + c]);
			d[c] = (float) (-(double) a[c] * mean_dy - (double) b[c] * bn->mean[c0 + c]);
		}
		combine(dy + c0, x + c0, rows, channels, width, a, b, d, dx + c0,
				bn->grad_added[0]);
	}
}

static void
backward_node(Tape *t, int i, int first, int n, float *scratch)
{
	const NnNode *node = &t->graph->node[i];
	TapeNode *tn = &t->node[i];
	NnCall call = tape_call(t, i, first, n, scratch);

	call.grad_out = tape_grad_of(t, i, first, scratch);
	for (int k = 0; k < node->ninputs; k++)
		if (tn->gives_grad[k])
		{
			call.grad_in[k] = tape_grad_of(t, node->input[k], first, scratch);
			call.add_grad_in[k] = tn->grad_added[k];
		}
	for (int p = 0; p < node->nparams; p++)
		if (node->param[p] >= 0 && t->graph->param[node->param[p]].trainable)
			call.grad_param[p] = scratch + t->slice_grad_at + tn->param_at[p];

	if (!tn->direct)
	{
		nn_backward_op[node->kind].backward(&call);
		return;
	}
	if (node->kind == NN_LINEAR)
	{
		/* of its weights, whose layout SGEMM suits better */
		NnCall params = call;

		params.grad_in[0] = NULL;
		nn_linear_backward(&params);
		call.grad_param[0] = call.grad_param[1] = NULL;
	}
	nn_direct_backward(&tn->conv, n, call.in[0], t->packed + tn->packed_input_at,
					   call.grad_out, call.grad_in[0], call.add_grad_in[0],
					   call.grad_param[0], call.scratch);
	for (size_t r = 0; call.grad_param[1] && r < n * tn->size / tn->channels; r++)
		add_to(call.grad_param[1], call.grad_out + r * tn->channels, tn->channels);
}

/*
 * A slice's gradients into the sum, slice after slice, so that it does not depend on
 * who was faster.  Slices are handed out in this order: whoever is waited for is at
 * work.
 */
static void
add_in_turn(Tape *t, int slice, const TapeSegment *seg, const float *slice_grad)
{
	pthread_mutex_lock(&t->lock);
	while (t->turn != slice)
		pthread_cond_wait(&t->turned, &t->lock);
	pthread_mutex_unlock(&t->lock);
	if (slice == 0)
		memcpy(t->sum, slice_grad, seg->gradients * sizeof(float));
	else
		add_to(t->sum, slice_grad, seg->gradients);
	pthread_mutex_lock(&t->lock);
	t->turn = (slice + 1) % TAPE_SLICES;
	pthread_cond_broadcast(&t->turned);
	pthread_mutex_unlock(&t->lock);
}

static void
backward_slice(Tape *t, int slice, float *scratch, void *arg)
{
	const TapeSegment *seg = arg;
	int number = (int) (seg - t->segment);
	/* the batch norm whose second half opens this segment, where there is one */
	int above = number + 1 < t->nsegments ? t->segment[number + 1].first : -1;
	int begin, end;

	if (above >= 0 &&
		(t->graph->node[above].kind != NN_BATCHNORM || !t->node[above].gives_grad[0]))
		above = -1;
	tape_slice(t, slice, &begin, &end);
	memset(scratch + t->slice_grad_at, 0, seg->gradients * sizeof(float));
	for (int first = begin; first < end; first += seg->group)
	{
		int n = end - first < seg->group ? end - first : seg->group;

		for (int i = seg->first; i < seg->end; i++)
			if (t->node[i].again)
				tape_forward_node(t, i, first, n, scratch);
		if (above >= 0)
			batchnorm_input(t, above, first, n, scratch);
		for (int i = seg->end - 1; i >= seg->first; i--)
			if (!t->node[i].wants_grad)
				continue;
			else if (t->graph->node[i].kind == NN_BATCHNORM)
				batchnorm_sums(t, i, slice, first, n, scratch);
			else
				backward_node(t, i, first, n, scratch);
	}
	add_in_turn(t, slice, seg, scratch + t->slice_grad_at);
}

/* One parameter's gradient on its way from the sum over slices to its place. */
typedef struct Bringing
{
	const float *from;
	float *to;
	bool add;
} Bringing;

static void
bring_range(void *arg, int begin, int end, int thread)
{
	const Bringing *b = arg;

	(void) thread;
	if (b->add)
		add_to(b->to + begin, b->from + begin, end - begin);
	else
		memcpy(b->to + begin, b->from + begin, (end - begin) * sizeof(float));
}

/* A segment's sums to the gradients of its parameters, in their layouts. */
static void
bring_gradients(Tape *t, const TapeSegment *seg)
{
	const NnGraph *g = t->graph;

	for (int i = seg->first; i < seg->end; i++)
		for (int p = 0; p < g->node[i].nparams; p++)
		{
			const TapeNode *n = &t->node[i];
			int number = g->node[i].param[p];
			Bringing b;

			if (!tape_gathers(t, i, p))
				continue;
			b.from = t->sum + n->param_at[p];
			b.to = t->grad + t->param_at[number];
			b.add = t->accumulate || n->param_added[p];
			if (n->direct && g->node[i].kind == NN_CONV2D && p == 0)
				nn_direct_unpack_grad_by(t->pool, &n->conv, b.from, b.to, b.add);
			else
				nn_parallel(t->pool, (int) nn_shape_size(&g->param[number].shape),
							bring_range, &b);
		}
}

static void
pack_segment(Tape *t, const TapeSegment *seg)
{
	tape_pack(t, seg, true);
	for (int i = seg->first; i < seg->end; i++)
		if (t->node[i].direct && t->node[i].gives_grad[0])
			nn_direct_pack_input_by(t->pool, &t->node[i].conv,
									t->graph->param[t->graph->node[i].param[0]].data,
									t->packed + t->node[i].packed_input_at);
}

void
tape_backward(Tape *t, const float *grad_out)
{
	const float *grads[NN_MAX_OUTPUTS] = {grad_out};

	tape_backward_outputs(t, grads, false);
}

void
tape_backward_outputs(Tape *t, const float *const *grad_out, bool accumulate)
{
	t->accumulate = accumulate;
	for (int k = 0; k < nn_graph_outputs(t->graph); k++)
	{
		TapeNode *out = &t->node[nn_graph_output_node(t->graph, k)];

		if (out->grad && grad_out[k])
			memcpy(out->grad, grad_out[k], t->n * out->size * sizeof(float));
		else if (out->grad)
			memset(out->grad, 0, t->n * out->size * sizeof(float));
	}
	for (int s = t->nsegments - 1; s >= 0; s--)
	{
		TapeSegment *seg = &t->segment[s];
		bool norm = t->graph->node[seg->first].kind == NN_BATCHNORM &&
					t->node[seg->first].wants_grad;

		if (t->node[seg->first].whole)
		{
			if (t->node[seg->first].wants_grad)
				tape_whole_backward(t, seg->first);
			continue;
		}
		if (norm)
			memset(t->node[seg->first].sums, 0,
				   TAPE_SLICES * 2 * t->node[seg->first].channels * sizeof(double));
		pack_segment(t, seg);
		tape_slices(t, backward_slice, seg);
		if (norm)
			settle_batchnorm_sums(t, seg->first);
		bring_gradients(t, seg);
	}
}

const char *
tape_not_finite(const Tape *t)
{
	for (int k = 0; k < nn_graph_outputs(t->graph); k++)
	{
		int node = nn_graph_output_node(t->graph, k);
		const TapeNode *out = &t->node[node];

		for (size_t i = 0; i < t->n * out->size; i++)
			if (!isfinite(out->value[i]))
				return nn_layer_name(t->graph, &t->graph->node[node]);
	}
	for (int p = 0; t->backward && p < t->graph->nparams; p++)
	{
		const float *grad = tape_gradient(t, p);
		size_t size = nn_shape_size(&t->graph->param[p].shape);

		/* One sum finds both: it is not finite if a term is not. */
		float sum = 0;

		for (size_t i = 0; grad && i < size; i++)
			sum += grad[i] * 0.0f;
		if (grad && !isfinite(sum))
			return t->graph->param[p].name;
	}
	return NULL;
}
