/*
 * linear_backward.c
 *	  Y = X Wt + b over the last dimension: dX = dY W, dW = dYt X, db = column sums.
 */
#include "nn/backward.h"

#include <cblas.h>

void
nn_linear_backward(const NnCall *call)
{
	const NnShape *in = nn_input_shape(call->graph, call->node, 0);
	int rows = (int) (call->n * nn_shape_rows(in));
	int depth = nn_shape_cols(in);
	int outputs = call->node->channels;

	if (call->grad_param[0])
		cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, outputs, depth, rows, 1,
					call->grad_out, outputs, call->in[0], depth, 1, call->grad_param[0],
					depth);
	if (call->grad_param[1])
		for (int r = 0; r < rows; r++)
			nn_give(call->grad_param[1], call->grad_out + (size_t) r * outputs, outputs,
					true);
	if (call->grad_in[0])
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, depth, outputs, 1,
					call->grad_out, outputs, call->param[0], depth,
					call->add_grad_in[0] ? 1 : 0, call->grad_in[0], depth);
}
