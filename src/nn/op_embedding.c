/*
 * op_embedding.c
 *	  Rows of a table by their numbers, and the table's gradient.
 */
#include <string.h>

#include "nn/backward.h"
#include "nn/ops.h"

/* The row that a value names; what is none names the nearest there is. */
static size_t
row_of(const NnNode *node, float value)
{
	if (!(value >= 0.5f))
		return 0;
	return value >= (float) node->rows - 0.5f ? (size_t) node->rows - 1
											  : (size_t) (value + 0.5f);
}

void
nn_embedding_forward(const NnCall *call)
{
	size_t width = (size_t) call->node->channels;
	size_t n = (size_t) call->n * (size_t) call->node->shape.dim[0];

	for (size_t i = 0; i < n; i++)
		memcpy(call->out + i * width,
			   call->param[0] + row_of(call->node, call->in[0][i]) * width,
			   width * sizeof(float));
}

/* Numbers of rows have no gradient. */
void
nn_embedding_backward(const NnCall *call)
{
	size_t width = (size_t) call->node->channels;
	size_t n = (size_t) call->n * (size_t) call->node->shape.dim[0];

	if (call->grad_in[0] && !call->add_grad_in[0])
		memset(call->grad_in[0], 0, n * sizeof(float));
	for (size_t i = 0; i < n && call->grad_param[0]; i++)
		nn_give(call->grad_param[0] + row_of(call->node, call->in[0][i]) * width,
				call->grad_out + i * width, width, true);
}
