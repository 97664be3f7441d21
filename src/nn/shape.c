/*
 * shape.c
 *	  Shape inference, attribute checks and parameter shapes of every op.
 *
 * The model reader feeds nodes from untrusted files through here, so each rule
 * is complete: after nn_infer has accepted a node, no size computed from it can
 * overflow and no index leaves its array.
 */
#include <stdio.h>
#include <string.h>
#include <math.h>

#include "nn/shape_rules.h"

size_t
nn_shape_size(const NnShape *shape)
{
	size_t size = 1;

	for (int i = 0; i < shape->ndim; i++)
		size *= (size_t) shape->dim[i];
	return size;
}

bool
nn_shape_equal(const NnShape *a, const NnShape *b)
{
	if (a->ndim != b->ndim)
		return false;
	for (int i = 0; i < a->ndim; i++)
		if (a->dim[i] != b->dim[i])
			return false;
	return true;
}

char *
nn_shape_text(const NnShape *shape, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (int i = 0; i < shape->ndim && used < size; i++)
		used +=
			(size_t) snprintf(text + used, size - used, i ? "x%d" : "%d", shape->dim[i]);
	return text;
}

static const char *const activation_name[NN_ACTIVATION_COUNT] = {
	"identity", "relu", "relu6", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"};

const char *
nn_activation_name(NnActivation act)
{
	return (unsigned) act < NN_ACTIVATION_COUNT ? activation_name[act] : "unknown";
}

const char *
nn_op_name(NnOpKind kind)
{
	return (unsigned) kind < NN_OP_COUNT ? nn_shape_rule[kind].name : "unknown";
}

int
nn_op_inputs(NnOpKind kind)
{
	return nn_shape_rule[kind].ninputs;
}

const char *
nn_layer_name(const NnGraph *g, const NnNode *node)
{
	while (node->name[0] == '\0' && node->ninputs > 0)
	{
		int last = node->input[0];

		for (int i = 1; i < node->ninputs; i++)
			last = node->input[i] > last ? node->input[i] : last;
		node = &g->node[last];
	}
	return node->name[0] ? node->name : nn_op_name(node->kind);
}

/*
 * Say of which node `what` is true: conv2d "stem", given 32x32x3: ...  Additions, pools
 * and the like have no name: add after "block1", given ...
 */
static bool
blame(const NnGraph *g, const NnNode *node, const char *what, NnError *err)
{
	const char *before = nn_layer_name(g, node);
	char given[NN_MAX_INPUTS * 64] = "";
	char shape[64];
	size_t at = 0;

	for (int i = 0; i < node->ninputs; i++)
		at += (size_t) snprintf(
			given + at, sizeof(given) - at, "%s%s", i ? " and " : ", given ",
			nn_shape_text(nn_input_shape(g, node, i), shape, sizeof(shape)));
	if (strcmp(before, nn_op_name(NN_INPUT)) == 0)
		return nn_fail(err, "%s%s: %s", nn_op_name(node->kind), given, what);
	return nn_fail(err, "%s %s\"%s\"%s: %s", nn_op_name(node->kind),
				   node->name[0] ? "" : "after ", before, given, what);
}

/* As many inputs as the kind takes, each of them there. */
static bool
check_inputs(const NnGraph *g, const NnNode *node, NnError *err)
{
	int wanted = nn_shape_rule[node->kind].ninputs;

	if (node->kind == NN_CONCAT && (node->ninputs < 2 || node->ninputs > NN_MAX_INPUTS))
		return nn_fail(err, "concat takes 2 to %d inputs, not %d", NN_MAX_INPUTS,
					   node->ninputs);
	if (node->kind != NN_CONCAT && node->ninputs != wanted)
		return nn_fail(err, "%s \"%s\" takes %d inputs, not %d", nn_op_name(node->kind),
					   node->name, wanted, node->ninputs);
	for (int i = 0; i < node->ninputs; i++)
		if (node->input[i] < 0 || node->input[i] >= g->nnodes)
			return nn_fail(err,
						   "%s \"%s\": input %d is not one of the %d nodes before it",
						   nn_op_name(node->kind), node->name, node->input[i], g->nnodes);
	return true;
}

bool
nn_infer(const NnGraph *g, NnNode *node, NnError *err)
{
	NnError why;

	if ((unsigned) node->kind >= NN_OP_COUNT)
		return nn_fail(err, "unknown operation %d", (int) node->kind);
	if (!check_inputs(g, node, err))
		return false;
	return (nn_shape_rule[node->kind].infer(g, node, &why) &&
			nn_check_size(&node->shape, "output", &why)) ||
		   blame(g, node, why.text, err);
}

bool
nn_may_overwrite(NnOpKind kind)
{
	switch (kind)
	{
		case NN_BATCHNORM:
		case NN_LAYERNORM:
		case NN_ACTIVATION:
		case NN_ADD:
		case NN_SOFTMAX:
		case NN_RESHAPE:
		case NN_POSITION:
		case NN_SCALE:
		case NN_DROPOUT:
		case NN_MUL:
		case NN_LAYERSCALE:
		case NN_REPARAMETERISE:
			return true;
		default:
			return false;
	}
}

/* ------------------------------------------------------------- parameters */

int
nn_param_specs(const NnGraph *g, const NnNode *node, NnParamSpec *spec)
{
	const NnShape *in = node->ninputs > 0 ? nn_input_shape(g, node, 0) : NULL;
	int cols = in ? nn_shape_cols(in) : 0;

	switch (node->kind)
	{
		case NN_CONV2D:
			spec[0] = (NnParamSpec){".weight",
									shape4(node->channels, cols / node->groups,
										   node->kernel[0], node->kernel[1]),
									false, true, 0};
			spec[1] = (NnParamSpec){".bias", shape1(node->channels), true, true, 0};
			return 2;
		case NN_LINEAR:
			spec[0] =
				(NnParamSpec){".weight", shape2(node->channels, cols), false, true, 0};
			spec[1] = (NnParamSpec){".bias", shape1(node->channels), true, true, 0};
			return 2;
		case NN_BATCHNORM:
			spec[0] = (NnParamSpec){".weight", shape1(cols), false, true, 1};
			spec[1] = (NnParamSpec){".bias", shape1(cols), false, true, 0};
			spec[2] = (NnParamSpec){".running_mean", shape1(cols), false, false, 0};
			spec[3] = (NnParamSpec){".running_var", shape1(cols), false, false, 1};
			return 4;
		case NN_LAYERNORM:
			spec[0] = (NnParamSpec){".weight", shape1(cols), false, true, 1};
			spec[1] = (NnParamSpec){".bias", shape1(cols), false, true, 0};
			return 2;
		case NN_CLASS_TOKEN:
			spec[0] = (NnParamSpec){"", shape1(cols), false, true, 0};
			return 1;
		case NN_POSITION:
			spec[0] = (NnParamSpec){"", node->shape, false, true, 0};
			return 1;
		case NN_CONV_TRANSPOSE2D:
			spec[0] = (NnParamSpec){".weight",
									shape4(cols, node->channels / node->groups,
										   node->kernel[0], node->kernel[1]),
									false, true, 0};
			spec[1] = (NnParamSpec){".bias", shape1(node->channels), true, true, 0};
			return 2;
		case NN_EMBEDDING:
			spec[0] = (NnParamSpec){".weight", shape2(node->rows, node->channels), false,
									true, 0};
			return 1;
		case NN_LAYERSCALE:
			spec[0] = (NnParamSpec){".gamma", shape1(cols), false, true, 1};
			return 1;
		case NN_WINDOW_ATTENTION:
			spec[0] = (NnParamSpec){
				".relative_position_bias_table",
				shape2((2 * node->window - 1) * (2 * node->window - 1), node->heads),
				false, true, 0};
			return 1;
		default:
			return 0;
	}
}
