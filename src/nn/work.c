/*
 * work.c
 *	  How much computing a network asks for.
 *
 * In double: sums over hostile networks leave 64 bits.
 */
#include "nn/op.h"
#include "nn/work.h"

static double
whole_lanes(int channels)
{
	return (double) ((channels + NN_WORK_LANES - 1) / NN_WORK_LANES * NN_WORK_LANES);
}

/* Windows of a convolution or a pool: positions, taps and what one tap costs. */
static double
window_work(const NnNode *node, int groups, int group_in)
{
	double positions = (double) node->shape.dim[0] * node->shape.dim[1];
	double taps = (double) node->kernel[0] * node->kernel[1];

	return positions * taps * group_in * groups *
		   whole_lanes(node->shape.dim[2] / groups);
}

double
nn_node_work(const NnGraph *g, const NnNode *node)
{
	double size = (double) nn_shape_size(&node->shape);
	double tokens;

	switch (node->kind)
	{
		case NN_CONV2D:
			/* depthwise convolutions run over all channels at once, as pools do */
			if (node->groups == node->channels &&
				node->groups == nn_input_shape(g, node, 0)->dim[2])
				return window_work(node, 1, 1);
			return window_work(node, node->groups,
							   nn_input_shape(g, node, 0)->dim[2] / node->groups);
		case NN_MAXPOOL:
		case NN_AVGPOOL:
			return window_work(node, 1, 1);
		case NN_LINEAR:
			return size * nn_shape_cols(nn_input_shape(g, node, 0));
		case NN_ATTENTION:
			/* queries by keys, and probabilities by values */
			tokens = node->shape.dim[0];
			return 2 * tokens * tokens * node->heads *
				   whole_lanes(node->shape.dim[1] / node->heads);
		case NN_WINDOW_ATTENTION:
			/* the same within each window, and its rows twice moved */
			return size * 4 + 2 * size / node->shape.dim[2] * node->window *
								  node->window * node->heads *
								  whole_lanes(node->shape.dim[2] / node->heads);
		case NN_CONV_TRANSPOSE2D:
			return (double) nn_shape_size(nn_input_shape(g, node, 0)) * node->kernel[0] *
				   node->kernel[1] * whole_lanes(node->channels / node->groups);
		case NN_REDUCE:
			return (double) nn_shape_size(nn_input_shape(g, node, 0));
		case NN_UPSAMPLE:
		case NN_SIMAM:
			return 4 * size;
		default:
			return size;
	}
}
