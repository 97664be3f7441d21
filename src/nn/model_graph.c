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

/* What a node can have beside op, name and input, in the order in which it is written. */
typedef enum Attribute
{
	A_SHAPE,
	A_MEAN,
	A_STD,
	A_CHANNELS,
	A_KERNEL,
	A_STRIDE,
	A_PAD,
	A_GROUPS,
	A_ACTIVATION,
	A_BIAS,
	A_EPS,
	A_HEADS,
	A_INDEX,
	A_SCALE,
	A_AXIS,
	A_PERM,
	A_FACTOR,
	A_BILINEAR,
	A_MEAN_OF,
	A_OUT_PAD,
	A_ROWS,
	A_WINDOW,
	A_SHIFT,
	A_RATE,
	A_WHOLE,
	A_COUNT
} Attribute;

typedef enum AttributeType
{
	T_INT,	/* from least to most; 0 most: to NN_MAX_DIM */
	T_PAIR, /* of those from 0 */
	T_FLOAT,
	T_TRIPLE, /* of floats */
	T_FLAG,	  /* left out: false */
	T_SHAPE,
	T_PERM,
	T_ACTIVATION, /* left out: identity */
	T_BIAS		  /* a flag: is there parameter 1? */
} AttributeType;

#define AT(member) offsetof(NnNode, member)
static const struct
{
	const char *key;
	AttributeType type;
	size_t at;
	int least, most;
	int standard; /* T_INT: what it is where it is left out; 0: it must not be */
} attribute[A_COUNT] = {
	[A_SHAPE] = {"shape", T_SHAPE, AT(shape), 0, 0, 0},
	[A_MEAN] = {"mean", T_TRIPLE, AT(mean), 0, 0, 0},
	[A_STD] = {"std", T_TRIPLE, AT(std), 0, 0, 0},
	[A_CHANNELS] = {"channels", T_INT, AT(channels), 1, 0, 0},
	[A_KERNEL] = {"kernel", T_PAIR, AT(kernel), 0, 0, 0},
	[A_STRIDE] = {"stride", T_PAIR, AT(stride), 0, 0, 0},
	[A_PAD] = {"pad", T_PAIR, AT(pad), 0, 0, 0},
	[A_GROUPS] = {"groups", T_INT, AT(groups), 1, 0, 1},
	[A_ACTIVATION] = {"activation", T_ACTIVATION, AT(activation), 0, 0, 0},
	[A_BIAS] = {"bias", T_BIAS, 0, 0, 0, 0},
	[A_EPS] = {"eps", T_FLOAT, AT(eps), 0, 0, 0},
	[A_HEADS] = {"heads", T_INT, AT(heads), 1, 0, 0},
	[A_INDEX] = {"index", T_INT, AT(index), 0, 0, 0},
	[A_SCALE] = {"scale", T_FLOAT, AT(scale), 0, 0, 0},
	[A_AXIS] = {"axis", T_INT, AT(axis), 0, NN_MAX_DIMS - 1, 0},
	[A_PERM] = {"perm", T_PERM, AT(perm), 0, 0, 0},
	[A_FACTOR] = {"factor", T_INT, AT(factor), 1, 1024, 0},
	[A_BILINEAR] = {"bilinear", T_FLAG, AT(bilinear), 0, 0, 0},
	[A_MEAN_OF] = {"mean_of", T_FLAG, AT(mean_of), 0, 0, 0},
	[A_OUT_PAD] = {"out_pad", T_PAIR, AT(out_pad), 0, 0, 0},
	[A_ROWS] = {"rows", T_INT, AT(rows), 1, 0, 0},
	[A_WINDOW] = {"window", T_INT, AT(window), 1, 0, 0},
	[A_SHIFT] = {"shift", T_INT, AT(shift), 0, 0, 0},
	[A_RATE] = {"rate", T_FLOAT, AT(rate), 0, 0, 0},
	[A_WHOLE] = {"whole", T_FLAG, AT(whole), 0, 0, 0},
};

#define HAS(name) (1u << A_##name)
#define SLIDING (HAS(KERNEL) | HAS(STRIDE) | HAS(PAD))
#define LAYER (HAS(CHANNELS) | HAS(ACTIVATION) | HAS(BIAS))

static const unsigned attributes_of[NN_OP_COUNT] = {
	[NN_INPUT] = HAS(SHAPE) | HAS(MEAN) | HAS(STD),
	[NN_CONV2D] = LAYER | SLIDING | HAS(GROUPS),
	[NN_LINEAR] = LAYER,
	[NN_BATCHNORM] = HAS(EPS),
	[NN_LAYERNORM] = HAS(EPS),
	[NN_ACTIVATION] = HAS(ACTIVATION),
	[NN_MAXPOOL] = SLIDING,
	[NN_AVGPOOL] = SLIDING,
	[NN_ATTENTION] = HAS(HEADS),
	[NN_RESHAPE] = HAS(SHAPE),
	[NN_TOKEN] = HAS(INDEX),
	[NN_SCALE] = HAS(SCALE),
	[NN_DROPOUT] = HAS(RATE) | HAS(WHOLE),
	[NN_CONCAT] = HAS(AXIS),
	[NN_SLICE] = HAS(AXIS) | HAS(INDEX) | HAS(CHANNELS),
	[NN_PERMUTE] = HAS(PERM),
	[NN_UPSAMPLE] = HAS(FACTOR) | HAS(BILINEAR),
	[NN_REDUCE] = HAS(AXIS) | HAS(MEAN_OF),
	[NN_SIMAM] = HAS(EPS),
	[NN_WINDOW_ATTENTION] = HAS(HEADS) | HAS(WINDOW) | HAS(SHIFT),
	[NN_CONV_TRANSPOSE2D] = LAYER | SLIDING | HAS(OUT_PAD) | HAS(GROUPS),
	[NN_EMBEDDING] = HAS(ROWS) | HAS(CHANNELS),
};

static bool
has(const NnNode *node, int a)
{
	return attributes_of[node->kind] & (1u << a);
}

static int
most_of(int a)
{
	return attribute[a].most ? attribute[a].most : NN_MAX_DIM;
}

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
read_pair(const json_t *array, const char *key, int *pair, NnError *err)
{
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
read_triple(const json_t *array, const char *key, float *triple, NnError *err)
{
	if (json_array_size(array) != 3)
		return nn_fail(err, "\"%s\" is not an array of three numbers", key);
	for (int i = 0; i < 3; i++)
		if (!read_float(json_array_get(array, (size_t) i), key, &triple[i], err))
			return false;
	return true;
}

static bool
read_shape(const json_t *array, NnShape *shape, NnError *err)
{
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
read_perm(const json_t *array, int *perm, NnError *err)
{
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

static bool
read_flag(const json_t *value, const char *key, bool *flag, NnError *err)
{
	*flag = json_is_true(value);
	return value == NULL || json_is_boolean(value) ||
		   nn_fail(err, "\"%s\" is neither true nor false", key);
}

static bool
read_activation(const json_t *value, const NnNode *node, NnActivation *act, NnError *err)
{
	const char *name = json_string_value(value);

	*act = NN_IDENTITY;
	if (value == NULL)
		return node->kind != NN_ACTIVATION || nn_fail(err, "there is no \"activation\"");
	for (int i = 0; name != NULL && i < NN_ACTIVATION_COUNT; i++)
		if (strcmp(name, nn_activation_name((NnActivation) i)) == 0)
		{
			*act = (NnActivation) i;
			return true;
		}
	return nn_fail(err, "unknown activation \"%.32s\"", name ? name : "(not a string)");
}

static bool
read_int(const json_t *object, int a, int *value, NnError *err)
{
	*value = attribute[a].standard;
	return (*value != 0 && json_object_get(object, attribute[a].key) == NULL) ||
		   nn_json_int(object, attribute[a].key, attribute[a].least, most_of(a), value,
					   err);
}

static bool
read_attribute(const json_t *object, int a, NnNode *node, bool *bias, NnError *err)
{
	const char *key = attribute[a].key;
	const json_t *value = json_object_get(object, key);
	void *to = (char *) node + attribute[a].at;

	switch (attribute[a].type)
	{
		case T_INT:
			return read_int(object, a, to, err);
		case T_PAIR:
			return read_pair(value, key, to, err);
		case T_FLOAT:
			return read_float(value, key, to, err);
		case T_TRIPLE:
			return read_triple(value, key, to, err);
		case T_FLAG:
			return read_flag(value, key, to, err);
		case T_SHAPE:
			return read_shape(value, to, err);
		case T_PERM:
			return read_perm(value, to, err);
		case T_ACTIVATION:
			return read_activation(value, node, to, err);
		case T_BIAS:
			return read_flag(value, key, bias, err);
	}
	return false;
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
check_keys(const json_t *object, const NnNode *node, NnError *err)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *) object, key, value)
	{
		bool known = strcmp(key, "op") == 0 || strcmp(key, "name") == 0 ||
					 strcmp(key, "input") == 0;

		for (int a = 0; a < A_COUNT && !known; a++)
			known = has(node, a) && strcmp(key, attribute[a].key) == 0;
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
	bool bias = false;

	memset(&node, 0, sizeof(node));
	if (!json_is_object(object))
		return nn_fail(err, "not an object");
	if (!read_kind(object, &node, err) || !check_keys(object, &node, err) ||
		!read_name(object, &node, err) || !read_inputs(object, g->nnodes, &node, err))
		return false;
	for (int a = 0; a < A_COUNT; a++)
		if (has(&node, a) && !read_attribute(object, a, &node, &bias, err))
			return false;
	if (nn_graph_add(g, &node, bias ? 2 : 0) < 0)
		return nn_fail(err, "%s", g->error.text);
	if (has(&node, A_PERM) && json_array_size(json_object_get(object, "perm")) !=
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

/* NULL: it is what it is when left out. */
static json_t *
write_attribute(const NnNode *node, int a)
{
	const void *from = (const char *) node + attribute[a].at;
	int number;

	switch (attribute[a].type)
	{
		case T_INT:
			number = *(const int *) from;
			return attribute[a].standard && number == attribute[a].standard
					   ? NULL
					   : json_integer(number);
		case T_PAIR:
			return ints(from, 2);
		case T_FLOAT:
			return json_real((double) *(const float *) from);
		case T_TRIPLE:
			return floats(from, 3);
		case T_FLAG:
			return json_boolean(*(const bool *) from);
		case T_SHAPE:
			return ints(node->shape.dim, node->shape.ndim);
		case T_PERM:
			return ints(from, node->shape.ndim);
		case T_ACTIVATION:
			return node->activation == NN_IDENTITY
					   ? NULL
					   : json_string(nn_activation_name(node->activation));
		case T_BIAS:
			return json_boolean(node->param[1] >= 0);
	}
	return NULL;
}

static json_t *
write_node(const NnNode *node)
{
	json_t *object = json_object();

	json_object_set_new(object, "op", json_string(nn_op_name(node->kind)));
	if (node->name[0])
		json_object_set_new(object, "name", json_string(node->name));
	if (node->ninputs > 0)
		json_object_set_new(object, "input", ints(node->input, node->ninputs));
	for (int a = 0; a < A_COUNT; a++)
	{
		json_t *value = has(node, a) ? write_attribute(node, a) : NULL;

		if (value)
			json_object_set_new(object, attribute[a].key, value);
	}
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
