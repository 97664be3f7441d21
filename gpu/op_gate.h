/*
 * op_gate.h
 *	  Operations that weigh values: sums, products, LayerScale, SimAM, dropout, samples.
 */
#ifndef GPU_OP_GATE_H
#define GPU_OP_GATE_H

#include "gpu/op_move.h"
#include "nn/random.h"

template <class T>
static void
pair_forward(const Call<T> *call)
{
	const T *a = call->in[0], *b = call->in[1];
	T *y = call->out;
	bool product = call->node->kind == NN_MUL;

	each(call->m, count_of(call),
		 [=] ON_GPU(size_t i)
		 { y[i] = product ? (float) a[i] * (float) b[i] : (float) a[i] + (float) b[i]; });
}

template <class T>
static void
pair_backward(const Call<T> *call)
{
	for (int k = 0; k < 2; k++)
	{
		const T *dy = call->grad_out, *other = call->in[1 - k];
		T *dx = call->grad_in[k];
		bool add = call->add[k];

		if (call->node->kind == NN_ADD)
			copy(call->m, dy, dx, count_of(call), 1, add);
		else if (dx)
			each(call->m, count_of(call),
				 [=] ON_GPU(size_t i)
				 { give(&dx[i], (float) dy[i] * (float) other[i], add); });
	}
}

template <class T>
static void
layerscale(const Call<T> *call, bool backward)
{
	int cols = cols_of(&call->node->shape);
	const float *gamma = call->param[0];
	const T *x = call->in[0], *from = backward ? call->grad_out : x;
	T *to = backward ? call->grad_in[0] : call->out;
	float *grad = call->grad_param[0];
	bool add = backward && call->add[0];

	if (backward && grad)
		column_sums(
			call->m, count_of(call) / cols, cols,
			[=] ON_GPU(size_t r, int c)
			{ return (float) from[r * cols + c] * (float) x[r * cols + c]; },
			[=] ON_GPU(int c, double sum) { grad[c] += (float) sum; });
	if (to)
		each(call->m, count_of(call),
			 [=] ON_GPU(size_t i)
			 { give(&to[i], (float) from[i] * gamma[i % (size_t) cols], add); });
}

/* One channel of one picture a thread; formulas in src/nn/op_gate.c, gate_backward.c. */
template <class T>
static void
simam(const Call<T> *call, bool backward)
{
	size_t channels = (size_t) cols_of(&call->node->shape);
	size_t places = nn_shape_size(&call->node->shape) / channels;
	double lambda = call->node->eps, degrees = places > 1 ? (double) places - 1 : 1;
	const T *in = call->in[0], *grad = call->grad_out;
	T *out = backward ? call->grad_in[0] : call->out;
	bool add = backward && call->add[0];

	if (!out)
		return;
	each(call->m, (size_t) call->n * channels,
		 [=] ON_GPU(size_t i)
		 {
			 size_t from = i / channels * places * channels + i % channels;
			 const T *x = in + from;
			 double mean = 0, var = 0, den, sum = 0, mean_q = 0;

			 for (size_t p = 0; p < places; p++)
				 mean += (double) (float) x[p * channels];
			 mean /= (double) places;
			 for (size_t p = 0; p < places; p++)
			 {
				 double d = (double) (float) x[p * channels] - mean;

				 var += d * d;
			 }
			 den = 4 * (var / degrees + lambda);
			 for (int pass = backward ? 0 : 1; pass < 2; pass++)
				 for (size_t p = 0; p < places; p++)
				 {
					 double v = (double) (float) x[p * channels], d = v - mean;
					 double gate = 1 / (1 + exp(-(d * d / den + 0.5)));
					 T *to = out + from + p * channels;
					 double dy, e;

					 if (!backward)
					 {
						 *to = (float) (v * gate);
						 continue;
					 }
					 dy = (double) (float) grad[from + p * channels];
					 e = dy * v * gate * (1 - gate);
					 if (pass == 0)
					 {
						 sum += e * d * d / (den * den);
						 mean_q += 2 * e * d / den / (double) places;
					 }
					 else
						 give(to,
							  (float) (dy * gate + 2 * e * d / den -
									   8 * d / degrees * sum - mean_q),
							  add);
				 }
		 });
}

template <class T>
static void
dropout(const Call<T> *call, bool backward)
{
	size_t size = nn_shape_size(&call->node->shape);
	int node = (int) (call->node - call->graph->node);
	float rate = call->node->rate, keep = 1 / (1 - rate);
	const Step *step = call->step;
	const T *x = backward ? call->grad_out : call->in[0];
	T *y = backward ? call->grad_in[0] : call->out;
	bool add = backward && call->add[0], whole = call->node->whole;

	if (!call->train)
		copy(call->m, x, y, count_of(call), 1, add);
	else if (y)
		each(call->m, count_of(call),
			 [=] ON_GPU(size_t i)
			 {
				 uint64_t r = nn_random(step->seed, node, step->first + (int) (i / size),
										whole ? 0 : i % size);

				 give(&y[i], nn_random_uniform(r) < rate ? 0.0f : (float) x[i] * keep,
					  add);
			 });
}

template <class T>
static void
reparameterise(const Call<T> *call, bool backward)
{
	size_t size = nn_shape_size(&call->node->shape);
	int node = (int) (call->node - call->graph->node);
	const Step *step = call->step;
	const T *mean = call->in[0], *logvar = call->in[1], *dy = call->grad_out;
	T *y = backward ? call->grad_in[1] : call->out;
	bool add = backward && call->add[1];

	if (!call->train)
	{
		copy(call->m, mean, call->out, count_of(call), 1, false);
		return;
	}
	if (backward)
		copy(call->m, dy, call->grad_in[0], count_of(call), 1, call->add[0]);
	if (y)
		each(call->m, count_of(call),
			 [=] ON_GPU(size_t i)
			 {
				 uint64_t r = nn_random(step->seed, node, step->first + (int) (i / size),
										i % size);
				 float noise = nn_random_normal(r) * expf(0.5f * (float) logvar[i]);

				 if (backward)
					 give(&y[i], (float) dy[i] * 0.5f * noise, add);
				 else
					 y[i] = (float) mean[i] + noise;
			 });
}

#endif
