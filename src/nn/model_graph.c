/*
 * model_graph.c
 *	  A graph as JSON and back.
 *
 * Each kind of node has a list of attributes; an attribute that is not on the
 * list is refused, so that a file from a later version is not half understood.
 */
#include <math.h>
#include <string.h>

#include "nn/model_graph.h"
#include "nn/op.h"

typedef enum Attribute
{
	A_SHAPE = 1 << 0,
	A_MEAN = 1 << 1,
	A_STD = 1 << 2,
	A_CHANNELS = 1 << 3,
	A_WINDOW = 1 << 4, /* kernel, stride, pad */
	A_GROUPS = 1 << 5,
	A_ACTIVATION = 1 << 6,
	A_BIAS = 1 << 7,
	A_EPS = 1 << 8,
	A_HEADS = 1 << 9,
	A_INDEX = 1 << 10,
	A_SCALE = 1 << 11,
	A_AXIS = 1 << 12,
	A_PERM = 1 << 13,
	A_FACTOR = 1 << 14, /* with bilinear */
	A_MEAN_OF = 1 << 15,
	A_WINDOWS = 1 << 16, /* window, shift */
	A_RATE = 1 << 17,	 /* with whole */
	A_OUT_PAD = 1 << 18,
	A_ROWS = 1 << 19
} Attribute;

static const unsigned attributes[NN_OP_COUNT] = {
	[NN_INPUT] = A_SHAPE | A_MEAN | A_STD,
	[NN_CONV2D] = A_CHANNELS | A_WINDOW | A_GROUPS | A_ACTIVATION | A_BIAS,
	[NN_LINEAR] = A_CHANNELS | A_ACTIVATION | A_BIAS,
	[NN_BATCHNORM] = A_EPS,
	[NN_LAYERNORM] = A_EPS,
	[NN_ACTIVATION] = A_ACTIVATION,
	[NN_MAXPOOL] = A_WINDOW,
	[NN_AVGPOOL] = A_WINDOW,
	[NN_ATTENTION] = A_HEADS,
	[NN_RESHAPE] = A_SHAPE,
	[NN_TOKEN] = A_INDEX,
	[NN_SCALE] = A_SCALE,
	[NN_DROPOUT] = A_RATE,
	[NN_CONCAT] = A_AXIS,
	[NN_SLICE] = A_AXIS | A_INDEX | A_CHANNELS,
	[NN_PERMUTE] = A_PERM,
	[NN_UPSAMPLE] = A_FACTOR,
	[NN_REDUCE] = A_AXIS | A_MEAN_OF,
	[NN_SIMAM] = A_EPS,
	[NN_WINDOW_ATTENTION] = A_HEADS | A_WINDOWS,
	[NN_CONV_TRANSPOSE2D] =
		A_CHANNELS | A_WINDOW | A_OUT_PAD | A_GROUPS | A_ACTIVATION | A_BIAS,
	[NN_EMBEDDING] = A_ROWS | A_CHANNELS,
};

static const struct
{
	const char *key;
	unsigned attribute;
} keys[] = {{"shape", A_SHAPE},		  {"mean", A_MEAN},		 {"std", A_STD},
			{"channels", A_CHANNELS}, {"kernel", A_WINDOW},	 {"stride", A_WINDOW},
			{"pad", A_WINDOW},		  {"groups", A_GROUPS},	 {"activation", A_ACTIVATION},
			{"bias", A_BIAS},		  {"eps", A_EPS},		 {"heads", A_HEADS},
			{"index", A_INDEX},		  {"scale", A_SCALE},	 {"axis", A_AXIS},
			{"perm", A_PERM},		  {"factor", A_FACTOR},	 {"bilinear", A_FACTOR},
			{"mean_of", A_MEAN_OF},	  {"window", A_WINDOWS}, {"shift", A_WINDOWS},
			{"rate", A_RATE},		  {"whole", A_RATE},	 {"out_pad", A_OUT_PAD},
			{"rows", A_ROWS}};

#define NKEYS (sizeof(keys) / sizeof(keys[0]))

json_t *
nn_json_object(const char *text, const char *what, NnError *err)
{
	json_error_t where;
	json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, &where);

	if (value == NULL)
		nn_fail(err, "\"%s\" is not valid JSON: %s (byte %d)", what, where.text,
				where.position);
	else if (!json_is_object(value))
	{
		nn_fail(err, "\"%s\" is not a JSON object", what);
		json_decref(value);
		value = NULL;
	}
	return value;
}

static bool
int_value(const json_t *value, int least, int most, int *result)
{
	if (!json_is_integer(value) || json_integer_value(value) < least ||
		json_integer_value(value) > most)
		return false;
	*result = (int) json_integer_value(value);
	return true;
}

bool
nn_json_int(const json_t *object, const char *key, int least, int most, int *value,
			NnError *err)
{
	if (int_value(json_object_get(object, key), least, most, value))
		return true;
	return nn_fail(err, "\"%s\" is not a whole number from %d to %d", key, least, most);
}

/* ---------------------------------------------------------------- reading */

static bool
read_pair(const json_t *object, const char *key, int *pair, NnError *err)
{
	const json_t *array = json_object_get(object, key);

	if (json_array_size(array) == 2 &&
		int_value(json_array_get(array, 0), 0, NN_MAX_DIM, &pair[0]) &&
		int_value(json_array_get(array, 1), 0, NN_MAX_DIM, &pair[1]))
		return true;
	return nn_fail(err, "\"%s\" is not a pair of whole numbers from 0 to %d", key,
				   NN_MAX_DIM);
}

static bool
read_float(const json_t *value, const char *key, float *result, NnError *err)
{
	double number = json_number_value(value);

	*result = (float) number;
	if (!json_is_number(value) || !isfinite(*result))
		return nn_fail(err, "\"%s\" is not a number that float32 holds", key);
	return true;
}

static bool
read_triple(const json_t *object, const char *key, float *triple, NnError *err)
{
	const json_t *array = json_object_get(object, key);

	if (json_array_size(array) != 3)
		return nn_fail(err, "\"%s\" is not an array of three numbers", key);
	for (int i = 0; i < 3; i++)
		if (!read_float(json_array_get(array, (size_t) i), key, &triple[i], err))
			return false;
	return true;
}

static bool
read_shape(const json_t *object, NnShape *shape, NnError *err)
{
	const json_t *array = json_object_get(object, "shape");

	if (json_array_size(array) < 1 || json_array_size(array) > NN_MAX_DIMS)
		return nn_fail(err, "\"shape\" is not an array of 1 to %d sizes", NN_MAX_DIMS);
	shape->ndim = (int) json_array_size(array);
	for (int i = 0; i < shape->ndim; i++)
		if (!int_value(json_array_get(array, (size_t) i), 1, NN_MAX_DIM, &shape->dim[i]))
			return nn_fail(err, "\"shape\" holds something else than sizes from 1 to %d",
						   NN_MAX_DIM);
	return true;
}

static bool
read_perm(const json_t *object, int *perm, NnError *err)
{
	const json_t *array = json_object_get(object, "perm");

	if (json_array_size(array) < 1 || json_array_size(array) > NN_MAX_DIMS)
		return nn_fail(err, "\"perm\" is not an array of 1 to %d axes", NN_MAX_DIMS);
	for (size_t i = 0; i < NN_MAX_DIMS; i++)
	{
		perm[i] = -1; /* so that an array that is too short names no axis */
		if (i < json_array_size(array) &&
			!int_value(json_array_get(array, i), 0, NN_MAX_DIMS - 1, &perm[i]))
			return nn_fail(err, "\"perm\" holds something else than axes from 0 to %d",
						   NN_MAX_DIMS - 1);
	}
	return true;
}

/* true or false; false where it is left out. */
static bool
read_flag(const json_t *object, const char *key, bool *flag, NnError *err)
{
	const json_t *value = json_object_get(object, key);

	*flag = json_is_true(value);
	return value == NULL || json_is_boolean(value) ||
		   nn_fail(err, "\"%s\" is neither true nor false", key);
}

/* The attributes of the operations that move and weigh values. */
static bool
read_further(const json_t *object, unsigned has, NnNode *node, NnError *err)
{
	if ((has & A_AXIS) &&
		!nn_json_int(object, "axis", 0, NN_MAX_DIMS - 1, &node->axis, err))
		return false;
	if ((has & A_PERM) && !read_perm(object, node->perm, err))
		return false;
	if ((has & A_FACTOR) &&
		(!nn_json_int(object, "factor", 1, 1024, &node->factor, err) ||
		 !read_flag(object, "bilinear", &node->bilinear, err)))
		return false;
	if ((has & A_MEAN_OF) && !read_flag(object, "mean_of", &node->mean_of, err))
		return false;
	if ((has & A_OUT_PAD) && !read_pair(object, "out_pad", node->out_pad, err))
		return false;
	if ((has & A_ROWS) && !nn_json_int(object, "rows", 1, NN_MAX_DIM, &node->rows, err))
		return false;
	if ((has & A_WINDOWS) &&
		(!nn_json_int(object, "window", 1, NN_MAX_DIM, &node->window, err) ||
		 !nn_json_int(object, "shift", 0, NN_MAX_DIM, &node->shift, err)))
		return false;
	return !(has & A_RATE) ||
		   (read_float(json_object_get(object, "rate"), "rate", &node->rate, err) &&
			read_flag(object, "whole", &node->whole, err));
}

static bool
read_activation(const json_t *object, NnActivation *act, NnError *err)
{
	const json_t *value = json_object_get(object, "activation");
	const char *name = json_string_value(value);

	*act = NN_IDENTITY;
	if (value == NULL)
		return true;
	for (int i = 0; name != NULL && i < NN_ACTIVATION_COUNT; i++)
		if (strcmp(name, nn_activation_name((NnActivation) i)) == 0)
		{
			*act = (NnActivation) i;
			return true;
		}
	return nn_fail(err, "unknown activation \"%.32s\"", name ? name : "(not a string)");
}

static bool
read_attributes(const json_t *object, unsigned has, NnNode *node, unsigned *with_param,
				NnError *err)
{
	const json_t *bias = json_object_get(object, "bias");

	node->groups = has & A_GROUPS ? 1 : 0;
	if ((has & A_SHAPE) && !read_shape(object, &node->shape, err))
		return false;
	if ((has & A_MEAN) && !read_triple(object, "mean", node->mean, err))
		return false;
	if ((has & A_STD) && !read_triple(object, "std", node->std, err))
		return false;
	if ((has & A_CHANNELS) &&
		!nn_json_int(object, "channels", 1, NN_MAX_DIM, &node->channels, err))
		return false;
	if ((has & A_WINDOW) && (!read_pair(object, "kernel", node->kernel, err) ||
							 !read_pair(object, "stride", node->stride, err) ||
							 !read_pair(object, "pad", node->pad, err)))
		return false;
	if ((has & A_GROUPS) && json_object_get(object, "groups") != NULL &&
		!nn_json_int(object, "groups", 1, NN_MAX_DIM, &node->groups, err))
		return false;
	if ((has & A_ACTIVATION) && !read_activation(object, &node->activation, err))
		return false;
	if (node->kind == NN_ACTIVATION && json_object_get(object, "activation") == NULL)
		return nn_fail(err, "there is no \"activation\"");
	if (bias != NULL && !json_is_boolean(bias))
		return nn_fail(err, "\"bias\" is neither true nor false");
	*with_param = json_is_true(bias) ? 2 : 0;
	if ((has & A_EPS) &&
		!read_float(json_object_get(object, "eps"), "eps", &node->eps, err))
		return false;
	if ((has & A_HEADS) &&
		!nn_json_int(object, "heads", 1, NN_MAX_DIM, &node->heads, err))
		return false;
	if ((has & A_INDEX) &&
		!nn_json_int(object, "index", 0, NN_MAX_DIM, &node->index, err))
		return false;
	if ((has & A_SCALE) &&
		!read_float(json_object_get(object, "scale"), "scale", &node->scale, err))
		return false;
	return read_further(object, has, node, err);
}

static bool
read_kind(const json_t *object, NnNode *node, NnError *err)
{
	const char *op = json_string_value(json_object_get(object, "op"));

	if (op == NULL)
		return nn_fail(err, "there is no \"op\"");
	for (int kind = 0; kind < NN_OP_COUNT; kind++)
		if (strcmp(op, nn_op_name((NnOpKind) kind)) == 0)
		{
			node->kind = (NnOpKind) kind;
			return true;
		}
	return nn_fail(err, "unknown operation \"%.32s\"", op);
}

static bool
check_keys(const json_t *object, unsigned has, NnError *err)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *) object, key, value)
	{
		bool known = strcmp(key, "op") == 0 || strcmp(key, "name") == 0 ||
					 strcmp(key, "input") == 0;

		for (size_t i = 0; i < NKEYS && !known; i++)
			known = (keys[i].attribute & has) && strcmp(key, keys[i].key) == 0;
		if (!known)
			return nn_fail(err, "the unknown attribute \"%.64s\"", key);
	}
	return true;
}

static bool
read_inputs(const json_t *object, int index, NnNode *node, NnError *err)
{
	const json_t *array = json_object_get(object, "input");

	if (array != NULL && !json_is_array(array))
		return nn_fail(err, "\"input\" is not an array");
	if (json_array_size(array) > NN_MAX_INPUTS)
		return nn_fail(err, "more than %d inputs", NN_MAX_INPUTS);
	node->ninputs = (int) json_array_size(array);
	for (int i = 0; i < node->ninputs; i++)
		if (!int_value(json_array_get(array, (size_t) i), 0, index - 1, &node->input[i]))
			return nn_fail(err, "input %d is not the number of an earlier node", i);
	return true;
}

static bool
read_name(const json_t *object, NnNode *node, NnError *err)
{
	const json_t *value = json_object_get(object, "name");
	const char *name = json_string_value(value);

	if (value == NULL)
		return true;
	if (name == NULL || strlen(name) >= NN_MAX_NAME)
		return nn_fail(err, "\"name\" is not a string of at most %d bytes",
					   NN_MAX_NAME - 1);
	for (const char *c = name; *c; c++)
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			return nn_fail(err, "\"name\" holds control characters");
	strcpy(node->name, name);
	return true;
}

static bool
read_node(const json_t *object, NnGraph *g, NnError *err)
{
	NnNode node;
	unsigned with_param = 0;

	memset(&node, 0, sizeof(node));
	if (!json_is_object(object))
		return nn_fail(err, "not an object");
	if (!read_kind(object, &node, err) ||
		!check_keys(object, attributes[node.kind], err) ||
		!read_name(object, &node, err) || !read_inputs(object, g->nnodes, &node, err) ||
		!read_attributes(object, attributes[node.kind], &node, &with_param, err))
		return false;
	if (nn_graph_add(g, &node, with_param) < 0)
		return nn_fail(err, "%s", g->error.text);
	if ((attributes[node.kind] & A_PERM) &&
		json_array_size(json_object_get(object, "perm")) !=
			(size_t) g->node[g->nnodes - 1].shape.ndim)
		return nn_fail(err, "\"perm\" names more axes than there are");
	return true;
}

bool
nn_graph_from_json(const char *text, NnGraph *g, NnError *err)
{
	json_t *root = nn_json_object(text, "graph", err);
	const json_t *nodes = json_object_get(root, "nodes");
	bool ok = root != NULL;

	if (ok && (!json_is_array(nodes) || json_array_size(nodes) < 2 ||
			   json_array_size(nodes) > NN_MAX_NODES || json_object_size(root) != 1))
		ok = nn_fail(err,
					 "graph: it is not an object with an array \"nodes\" of 2 to %d "
					 "nodes and nothing else",
					 NN_MAX_NODES);
	for (size_t i = 0; ok && i < json_array_size(nodes); i++)
	{
		NnError why;

		if (!read_node(json_array_get(nodes, i), g, &why))
			ok = nn_fail(err, "graph node %zu: %.480s", i, why.text);
		else if (i == 0 && g->node[0].kind != NN_INPUT)
			ok = nn_fail(err, "graph node 0 is not the input");
	}
	json_decref(root);
	return ok;
}

/* ---------------------------------------------------------------- writing */

static json_t *
ints(const int *value, int n)
{
	json_t *array = json_array();

	for (int i = 0; i < n; i++)
		json_array_append_new(array, json_integer(value[i]));
	return array;
}

static json_t *
floats(const float *value, int n)
{
	json_t *array = json_array();

	for (int i = 0; i < n; i++)
		json_array_append_new(array, json_real((double) value[i]));
	return array;
}

static void
write_further(json_t *object, unsigned has, const NnNode *node)
{
	if (has & A_AXIS)
		json_object_set_new(object, "axis", json_integer(node->axis));
	if (has & A_PERM)
		json_object_set_new(object, "perm", ints(node->perm, node->shape.ndim));
	if (has & A_FACTOR)
	{
		json_object_set_new(object, "factor", json_integer(node->factor));
		json_object_set_new(object, "bilinear", json_boolean(node->bilinear));
	}
	if (has & A_MEAN_OF)
		json_object_set_new(object, "mean_of", json_boolean(node->mean_of));
	if (has & A_OUT_PAD)
		json_object_set_new(object, "out_pad", ints(node->out_pad, 2));
	if (has & A_ROWS)
		json_object_set_new(object, "rows", json_integer(node->rows));
	if (has & A_WINDOWS)
	{
		json_object_set_new(object, "window", json_integer(node->window));
		json_object_set_new(object, "shift", json_integer(node->shift));
	}
	if (has & A_RATE)
	{
		json_object_set_new(object, "rate", json_real((double) node->rate));
		json_object_set_new(object, "whole", json_boolean(node->whole));
	}
}

static json_t *
write_node(const NnNode *node)
{
	unsigned has = attributes[node->kind];
	json_t *object = json_object();

	json_object_set_new(object, "op", json_string(nn_op_name(node->kind)));
	if (node->name[0])
		json_object_set_new(object, "name", json_string(node->name));
	if (node->ninputs > 0)
		json_object_set_new(object, "input", ints(node->input, node->ninputs));
	if (has & A_SHAPE)
		json_object_set_new(object, "shape", ints(node->shape.dim, node->shape.ndim));
	if (has & A_MEAN)
		json_object_set_new(object, "mean", floats(node->mean, 3));
	if (has & A_STD)
		json_object_set_new(object, "std", floats(node->std, 3));
	if (has & A_CHANNELS)
		json_object_set_new(object, "channels", json_integer(node->channels));
	if (has & A_WINDOW)
	{
		json_object_set_new(object, "kernel", ints(node->kernel, 2));
		json_object_set_new(object, "stride", ints(node->stride, 2));
		json_object_set_new(object, "pad", ints(node->pad, 2));
	}
	if ((has & A_GROUPS) && node->groups != 1)
		json_object_set_new(object, "groups", json_integer(node->groups));
	if ((has & A_ACTIVATION) && node->activation != NN_IDENTITY)
		json_object_set_new(object, "activation",
							json_string(nn_activation_name(node->activation)));
	if (has & A_BIAS)
		json_object_set_new(object, "bias", json_boolean(node->param[1] >= 0));
	if (has & A_EPS)
		json_object_set_new(object, "eps", json_real((double) node->eps));
	if (has & A_HEADS)
		json_object_set_new(object, "heads", json_integer(node->heads));
	if (has & A_INDEX)
		json_object_set_new(object, "index", json_integer(node->index));
	if (has & A_SCALE)
		json_object_set_new(object, "scale", json_real((double) node->scale));
	write_further(object, has, node);
	return object;
}

json_t *
nn_graph_to_json(const NnGraph *g)
{
	json_t *nodes = json_array();

	for (int i = 0; i < g->nnodes; i++)
		json_array_append_new(nodes, write_node(&g->node[i]));
	return json_pack("{s:o}", "nodes", nodes);
}
