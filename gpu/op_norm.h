/*
 * op_norm.h
 *	  Batch norm, layer norm, softmax.
 *
 * Gradients as src/nn/norm_backward.c derives them.  Statistics are float32, in two
 * passes.
 */
#ifndef GPU_OP_NORM_H
#define GPU_OP_NORM_H

#include "gpu/call.h"

/* saved: mean, 1 / deviation per channel */
template <class T>
static void
batchnorm_statistics(const Call<T> *call, float *mean, float *rstd)
{
	int cols = cols_of(&call->node->shape);
	size_t rows = count_of(call) / cols;
	float eps = call->node->eps;
	const Step *step = call->step;
	float *running_mean = call->param[2], *running_var = call->param[3];
	const T *x = call->in[0];

	/* relative to the first row, so that a common offset costs no digits */
	column_sums(
		call->m, rows, cols,
		[=] ON_GPU(size_t r, int c) { return (float) x[r * cols + c] - (float) x[c]; },
		[=] ON_GPU(int c, double sum)
		{ mean[c] = (float) (sum / (double) rows + (double) (float) x[c]); });
	column_sums(
		call->m, rows, cols,
		[=] ON_GPU(size_t r, int c)
		{
			float d = (float) x[r * cols + c] - mean[c];

			return d * d;
		},
		[=] ON_GPU(int c, double sum)
		{
			double var = sum / (double) rows;
			double unbiased = rows > 1 ? sum / (double) (rows - 1) : var;

			float momentum = step->momentum;

			rstd[c] = (float) (1 / sqrt(var + eps));
			if (momentum > 0)
			{
				running_mean[c] += momentum * (mean[c] - running_mean[c]);
				running_var[c] += momentum * ((float) unbiased - running_var[c]);
			}
		});
}

template <class T>
static void
batchnorm_forward(const Call<T> *call)
{
	int cols = cols_of(&call->node->shape);
	bool train = call->train;
	float eps = call->node->eps;
	const float *weight = call->param[0], *bias = call->param[1];
	const float *running_mean = call->param[2], *running_var = call->param[3];
	float *mean = (float *) call->saved, *rstd = train ? mean + cols : NULL;
	const T *x = call->in[0];
	T *y = call->out;

	if (train && !call->again)
		batchnorm_statistics(call, mean, rstd);
	each(call->m, count_of(call),
		 [=] ON_GPU(size_t i)
		 {
			 int c = (int) (i % (size_t) cols);
			 float centre = train ? mean[c] : running_mean[c];
			 float scale = train ? rstd[c] : 1.0f / sqrtf(running_var[c] + eps);

			 y[i] = ((float) x[i] - centre) * scale * weight[c] + bias[c];
		 });
}

template <class T>
static void
batchnorm_backward(const Call<T> *call)
{
	int cols = cols_of(&call->node->shape);
	size_t rows = count_of(call) / cols;
	const float *weight = call->param[0];
	const float *mean = (const float *) call->saved, *rstd = mean + cols;
	float *grad_weight = call->grad_param[0], *grad_bias = call->grad_param[1];
	float *sum_d = take<float>(call->m, cols), *sum_dx = take<float>(call->m, cols);
	const T *x = call->in[0], *dy = call->grad_out;
	T *dx = call->grad_in[0];
	bool add = call->add[0];

	column_sums(
		call->m, rows, cols,
		[=] ON_GPU(size_t r, int c) { return (float) dy[r * cols + c]; },
		[=] ON_GPU(int c, double sum)
		{
			sum_d[c] = (float) (sum / (double) rows);
			if (grad_bias)
				grad_bias[c] += (float) sum;
		});
	column_sums(
		call->m, rows, cols,
		[=] ON_GPU(size_t r, int c)
		{
			size_t i = r * cols + c;

			return (float) dy[i] * ((float) x[i] - mean[c]) * rstd[c];
		},
		[=] ON_GPU(int c, double sum)
		{
			sum_dx[c] = (float) (sum / (double) rows);
			if (grad_weight)
				grad_weight[c] += (float) sum;
		});
	if (dx)
		each(call->m, count_of(call),
			 [=] ON_GPU(size_t i)
			 {
				 int c = (int) (i % (size_t) cols);
				 float xh = ((float) x[i] - mean[c]) * rstd[c];

				 give(&dx[i],
					  weight[c] * rstd[c] * ((float) dy[i] - sum_d[c] - xh * sum_dx[c]),
					  add);
			 });
}

/* saved, where training: mean of every row, then 1 / deviation */
template <class T>
static void
layernorm_forward(const Call<T> *call)
{
	int cols = cols_of(&call->node->shape);
	size_t rows = count_of(call) / cols;
	float eps = call->node->eps, *saved = (float *) call->saved;
	const float *weight = call->param[0], *bias = call->param[1];
	const T *in = call->in[0];
	T *out = call->out;

	each_row(call->m, rows,
			 [=] ON_GPU(size_t r, Lanes lanes)
			 {
				 const T *x = in + r * cols;
				 float first = x[0], sum = 0, mean, rstd;

				 for (int c = lanes.at; c < cols; c += GPU_LANES)
					 sum += (float) x[c] - first;
				 mean = first + lanes.sum(sum) / (float) cols;
				 sum = 0;
				 for (int c = lanes.at; c < cols; c += GPU_LANES)
					 sum += ((float) x[c] - mean) * ((float) x[c] - mean);
				 rstd = 1.0f / sqrtf(lanes.sum(sum) / (float) cols + eps);
				 if (saved && lanes.at == 0)
				 {
					 saved[r] = mean;
					 saved[rows + r] = rstd;
				 }
				 for (int c = lanes.at; c < cols; c += GPU_LANES)
					 out[r * cols + c] =
						 ((float) x[c] - mean) * rstd * weight[c] + bias[c];
			 });
}

template <class T>
static void
layernorm_backward(const Call<T> *call)
{
	int cols = cols_of(&call->node->shape);
	size_t rows = count_of(call) / cols;
	const float *mean = (const float *) call->saved, *rstd = mean + rows;
	const float *weight = call->param[0];
	float *grad_weight = call->grad_param[0], *grad_bias = call->grad_param[1];
	const T *x = call->in[0], *dy = call->grad_out;
	T *dx = call->grad_in[0];
	bool add = call->add[0];

	if (grad_weight)
		column_sums(
			call->m, rows, cols,
			[=] ON_GPU(size_t r, int c)
			{
				size_t i = r * cols + c;

				return (float) dy[i] * ((float) x[i] - mean[r]) * rstd[r];
			},
			[=] ON_GPU(int c, double sum) { grad_weight[c] += (float) sum; });
	if (grad_bias)
		column_sums(
			call->m, rows, cols,
			[=] ON_GPU(size_t r, int c) { return (float) dy[r * cols + c]; },
			[=] ON_GPU(int c, double sum) { grad_bias[c] += (float) sum; });
	if (dx)
		each_row(call->m, rows,
				 [=] ON_GPU(size_t r, Lanes lanes)
				 {
					 float sum = 0, sum_xh = 0;

					 for (int c = lanes.at; c < cols; c += GPU_LANES)
					 {
						 float d = (float) dy[r * cols + c] * weight[c];

						 sum += d;
						 sum_xh += d * ((float) x[r * cols + c] - mean[r]) * rstd[r];
					 }
					 sum = lanes.sum(sum) / (float) cols;
					 sum_xh = lanes.sum(sum_xh) / (float) cols;
					 for (int c = lanes.at; c < cols; c += GPU_LANES)
					 {
						 size_t i = r * cols + c;
						 float xh = ((float) x[i] - mean[r]) * rstd[r];

						 give(&dx[i],
							  rstd[r] * ((float) dy[i] * weight[c] - sum - xh * sum_xh),
							  add);
					 }
				 });
}

/* y = softmax(x) over rows; y may be x */
template <class T>
static void
softmax_rows(Machine *m, const T *in, T *out, size_t rows, int cols)
{
	each_row(m, rows,
			 [=] ON_GPU(size_t r, Lanes lanes)
			 {
				 const T *x = in + r * cols;
				 T *y = out + r * cols;
				 float top = -INFINITY, sum = 0;

				 for (int c = lanes.at; c < cols; c += GPU_LANES)
					 top = fmaxf(top, (float) x[c]);
				 top = lanes.most(top);
				 for (int c = lanes.at; c < cols; c += GPU_LANES)
					 sum += expf((float) x[c] - top);
				 sum = 1.0f / lanes.sum(sum);
				 for (int c = lanes.at; c < cols; c += GPU_LANES)
					 y[c] = expf((float) x[c] - top) * sum;
			 });
}

/* dx = or += y (dy - sum(dy y)); dx may be dy */
template <class T>
static void
softmax_rows_backward(Machine *m, const T *out, const T *grad, T *to, size_t rows,
					  int cols, bool add)
{
	each_row(m, rows,
			 [=] ON_GPU(size_t r, Lanes lanes)
			 {
				 const T *y = out + r * cols, *dy = grad + r * cols;
				 float sum = 0;

				 for (int c = lanes.at; c < cols; c += GPU_LANES)
					 sum += (float) y[c] * (float) dy[c];
				 sum = lanes.sum(sum);
				 for (int c = lanes.at; c < cols; c += GPU_LANES)
					 give(&to[r * cols + c], (float) y[c] * ((float) dy[c] - sum), add);
			 });
}

template <class T>
static void
softmax_forward(const Call<T> *c)
{
	int cols = cols_of(&c->node->shape);

	softmax_rows(c->m, c->in[0], c->out, count_of(c) / cols, cols);
}

template <class T>
static void
softmax_backward(const Call<T> *c)
{
	int cols = cols_of(&c->node->shape);

	if (c->grad_in[0])
		softmax_rows_backward(c->m, (const T *) c->out, c->grad_out, c->grad_in[0],
							  count_of(c) / cols, cols, c->add[0]);
}

#endif
