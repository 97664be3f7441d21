/*
 * norm_backward.c
 *	  Gradients through batch norm and layer norm.
 *
 * Both normalise a set of m values, xh = (x - mean) r with r = 1/sqrt(var + eps).
 * With d the gradient of xh:
 *
 *		dx = r (d - mean(d) - xh mean(d xh))
 *
 * where the means run over the same set.  Batch norm's set is a channel of the whole
 * batch, layer norm's is one row.
 */
#include "nn/backward.h"

/*
 * In training mode the statistics are those of this batch (saved); otherwise the
 * running ones, which are constants.
 */
void
nn_batchnorm_backward(const NnCall *call)
{
	const NnShape *shape = &call->node->shape;
	int channels = nn_shape_cols(shape);
	size_t rows = call->n * nn_shape_rows(shape);

	for (int c = 0; c < channels; c++)
	{
		double mean = call->train ? call->saved[c] : call->param[2][c];
		double scale =
			call->train
				? call->saved[channels + c]
				: 1 / __builtin_sqrt((double) call->param[3][c] + call->node->eps);
		double weight = call->param[0][c];
		double sum = 0;
		double sum_xh = 0;

		for (size_t r = 0; r < rows; r++)
		{
			double d = call->grad_out[r * channels + c];

			sum += d;
			sum_xh += d * (call->in[0][r * channels + c] - mean) * scale;
		}
		if (call->grad_param[0])
			call->grad_param[0][c] += (float) sum_xh;
		if (call->grad_param[1])
			call->grad_param[1][c] += (float) sum;
		if (!call->grad_in[0])
			continue;
		for (size_t r = 0; r < rows; r++)
		{
			size_t i = r * channels + c;
			double d = call->grad_out[i];
			double dx;

			if (call->train)
			{
				double xh = (call->in[0][i] - mean) * scale;

				d -= (sum + xh * sum_xh) / (double) rows;
			}
			dx = weight * scale * d;
			call->grad_in[0][i] =
				(float) (call->add_grad_in[0] ? call->grad_in[0][i] + dx : dx);
		}
	}
}

void
nn_layernorm_backward(const NnCall *call)
{
	const NnShape *shape = &call->node->shape;
	size_t rows = call->n * nn_shape_rows(shape);

	nn_kernels()->layernorm_backward(call->in[0], call->grad_out, call->grad_in[0], rows,
									 nn_shape_cols(shape), call->param[0], call->saved,
									 call->saved + rows, call->grad_param[0],
									 call->grad_param[1], call->add_grad_in[0]);
}
