/*
 * shape_rules.c
 *	  The rule of each operation: what its attributes and inputs must be, and the shape
 *	  of its output.
 *
 * Files from strangers come through here: see shape.c.
 */
#include <math.h>

#include "nn/shape_rules.h"

/* ------------------------------------------------------------------ rules */

/* Every dimension in range and the product too. */
bool
nn_check_size(const NnNode *node, const NnShape *shape, const char *what, NnError *err)
{
	size_t size = 1;
	char text[64];

	for (int i = 0; i < shape->ndim; i++)
	{
		if (shape->dim[i] < 1 || shape->dim[i] > NN_MAX_DIM)
			return nn_fail(err, "%s \"%s\": %s has a dimension of %d (allowed: 1 to %d)",
						   nn_op_name(node->kind), node->name, what, shape->dim[i],
						   NN_MAX_DIM);
		size *= (size_t) shape->dim[i];
		if (size > NN_MAX_ELEMENTS)
			return nn_fail(err, "%s \"%s\": %s of shape %s is too large",
						   nn_op_name(node->kind), node->name, what,
						   nn_shape_text(shape, text, sizeof(text)));
	}
	return true;
}

static bool
want_dims(const NnNode *node, const NnShape *in, int ndim, NnError *err)
{
	char text[64];

	if (in->ndim == ndim)
		return true;
	return nn_fail(err, "%s \"%s\" wants an input of %d dimensions, not %s",
				   nn_op_name(node->kind), node->name, ndim,
				   nn_shape_text(in, text, sizeof(text)));
}

static bool
check_activation(const NnNode *node, NnError *err)
{
	if ((unsigned) node->activation < NN_ACTIVATION_COUNT)
		return true;
	return nn_fail(err, "%s \"%s\": unknown activation %d", nn_op_name(node->kind),
				   node->name, (int) node->activation);
}

/* Places of a sliding window along one axis. */
static bool
window(const NnNode *node, int axis, int size, int *out, NnError *err)
{
	int kernel = node->kernel[axis];
	int stride = node->stride[axis];
	int pad = node->pad[axis];

	if (kernel < 1 || kernel > 1024 || stride < 1 || stride > 1024 || pad < 0 ||
		pad >= kernel)
		return nn_fail(err,
					   "%s \"%s\": kernel %d, stride %d, padding %d make no window "
					   "(padding must be less than the kernel)",
					   nn_op_name(node->kind), node->name, kernel, stride, pad);
	if (size + 2 * pad < kernel)
		return nn_fail(err,
					   "%s \"%s\": a kernel of %d does not fit an input of %d + 2*%d",
					   nn_op_name(node->kind), node->name, kernel, size, pad);
	*out = (size + 2 * pad - kernel) / stride + 1;
	return true;
}

/* Pooling and convolution share the geometry; pooling keeps the channels. */
static bool
infer_window(const NnGraph *g, NnNode *node, int channels, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);
	int height, width;

	if (!window(node, 0, in->dim[0], &height, err) ||
		!window(node, 1, in->dim[1], &width, err))
		return false;
	node->shape = shape3(height, width, channels);
	return true;
}

static bool
infer_input(const NnGraph *g, NnNode *node, NnError *err)
{
	if (g->nnodes != 0)
		return nn_fail(err, "the input must be the first node and the only one");
	if (node->shape.ndim != 3 || node->shape.dim[2] != 3)
		return nn_fail(err, "the input's shape must be height x width x 3");
	for (int i = 0; i < 3; i++)
		if (!isfinite(node->mean[i]) || fabsf(node->mean[i]) > 1e6f ||
			!(node->std[i] >= 1e-6f && node->std[i] <= 1e6f))
			return nn_fail(err,
						   "input channel %d: mean %g and standard deviation %g make no "
						   "sense (deviation from 1e-6 to 1e6)",
						   i, (double) node->mean[i], (double) node->std[i]);
	return true;
}

static bool
infer_conv2d(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);
	NnParamSpec spec[NN_MAX_PARAMS];

	if (!want_dims(node, in, 3, err) || !check_activation(node, err))
		return false;
	if (node->channels < 1 || node->groups < 1 || in->dim[2] % node->groups != 0 ||
		node->channels % node->groups != 0)
		return nn_fail(err,
					   "conv2d \"%s\": %d groups do not divide %d inputs and %d outputs",
					   node->name, node->groups, in->dim[2], node->channels);
	if (!infer_window(g, node, node->channels, err))
		return false;
	nn_param_specs(g, node, spec);
	return nn_check_size(node, &spec[0].shape, "weight", err);
}

static bool
infer_linear(const NnGraph *g, NnNode *node, NnError *err)
{
	NnParamSpec spec[NN_MAX_PARAMS];

	if (!check_activation(node, err))
		return false;
	node->shape = *nn_input_shape(g, node, 0);
	node->shape.dim[node->shape.ndim - 1] = node->channels;
	nn_param_specs(g, node, spec);
	return nn_check_size(node, &spec[0].shape, "weight", err);
}

static bool
infer_norm(const NnGraph *g, NnNode *node, NnError *err)
{
	node->shape = *nn_input_shape(g, node, 0);
	if (!(node->eps > 0 && node->eps <= 1))
		return nn_fail(err, "%s \"%s\": eps %g is not in (0, 1]", nn_op_name(node->kind),
					   node->name, (double) node->eps);
	return true;
}

static bool
infer_activation(const NnGraph *g, NnNode *node, NnError *err)
{
	node->shape = *nn_input_shape(g, node, 0);
	return check_activation(node, err);
}

static bool
infer_pool(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);

	if (!want_dims(node, in, 3, err))
		return false;
	for (int i = 0; i < 2; i++)
		if (2 * node->pad[i] > node->kernel[i])
			return nn_fail(err, "%s: padding %d is more than half the kernel %d",
						   nn_op_name(node->kind), node->pad[i], node->kernel[i]);
	return infer_window(g, node, in->dim[2], err);
}

static bool
infer_global_avgpool(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);

	if (!want_dims(node, in, 3, err))
		return false;
	node->shape = shape1(in->dim[2]);
	return true;
}

static bool
infer_add(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *a = nn_input_shape(g, node, 0);
	const NnShape *b = nn_input_shape(g, node, 1);
	char at[64], bt[64];

	if (!nn_shape_equal(a, b))
		return nn_fail(err, "%s: the shapes %s and %s differ", nn_op_name(node->kind),
					   nn_shape_text(a, at, sizeof(at)),
					   nn_shape_text(b, bt, sizeof(bt)));
	node->shape = *a;
	return true;
}

static bool
infer_attention(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);

	if (!want_dims(node, in, 2, err))
		return false;
	if (node->heads < 1 || in->dim[1] % 3 != 0 || in->dim[1] / 3 % node->heads != 0)
		return nn_fail(
			err, "attention: %d values a token are not 3 x %d heads x a whole number",
			in->dim[1], node->heads);
	if ((size_t) in->dim[0] * (size_t) in->dim[0] >
		NN_MAX_ELEMENTS / (size_t) node->heads)
		return nn_fail(err, "attention: %d heads over %d tokens are too many",
					   node->heads, in->dim[0]);
	node->shape = shape2(in->dim[0], in->dim[1] / 3);
	return true;
}

static bool
infer_same(const NnGraph *g, NnNode *node, NnError *err)
{
	(void) err;
	node->shape = *nn_input_shape(g, node, 0);
	return true;
}

static bool
infer_reshape(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);
	char at[64], bt[64];

	if (node->shape.ndim < 1 || node->shape.ndim > NN_MAX_DIMS)
		return nn_fail(err, "reshape: %d dimensions (allowed: 1 to %d)", node->shape.ndim,
					   NN_MAX_DIMS);
	if (!nn_check_size(node, &node->shape, "output", err))
		return false;
	if (nn_shape_size(in) != nn_shape_size(&node->shape))
		return nn_fail(err, "reshape: %s has not as many elements as %s",
					   nn_shape_text(in, at, sizeof(at)),
					   nn_shape_text(&node->shape, bt, sizeof(bt)));
	return true;
}

static bool
infer_class_token(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);

	if (!want_dims(node, in, 2, err))
		return false;
	node->shape = shape2(in->dim[0] + 1, in->dim[1]);
	return true;
}

static bool
infer_token(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);

	if (!want_dims(node, in, 2, err))
		return false;
	if (node->index < 0 || node->index >= in->dim[0])
		return nn_fail(err, "token: there is no token %d among %d", node->index,
					   in->dim[0]);
	node->shape = shape1(in->dim[1]);
	return true;
}

static bool
infer_scale(const NnGraph *g, NnNode *node, NnError *err)
{
	if (!isfinite(node->scale))
		return nn_fail(err, "scale: the factor is not finite");
	return infer_same(g, node, err);
}

static bool
infer_dropout(const NnGraph *g, NnNode *node, NnError *err)
{
	if (!(node->rate >= 0 && node->rate < 1))
		return nn_fail(err, "dropout: a rate of %g is not in [0, 1)",
					   (double) node->rate);
	return infer_same(g, node, err);
}

static bool
check_axis(const NnNode *node, const NnShape *in, NnError *err)
{
	char text[64];

	if (node->axis >= 0 && node->axis < in->ndim)
		return true;
	return nn_fail(err, "%s: there is no axis %d in %s", nn_op_name(node->kind),
				   node->axis, nn_shape_text(in, text, sizeof(text)));
}

static bool
infer_concat(const NnGraph *g, NnNode *node, NnError *err)
{
	NnShape all = *nn_input_shape(g, node, 0);
	char at[64], bt[64];

	if (!check_axis(node, &all, err))
		return false;
	for (int i = 1; i < node->ninputs; i++)
	{
		NnShape other = *nn_input_shape(g, node, i);
		int length = other.ndim == all.ndim ? other.dim[node->axis] : 0;

		other.dim[node->axis] = all.dim[node->axis];
		if (!nn_shape_equal(&all, &other))
			return nn_fail(err, "concat: %s and %s differ in more than axis %d",
						   nn_shape_text(&all, at, sizeof(at)),
						   nn_shape_text(nn_input_shape(g, node, i), bt, sizeof(bt)),
						   node->axis);
		/* each is at most NN_MAX_DIM, and there are few */
		all.dim[node->axis] += length;
	}
	node->shape = all;
	return true;
}

static bool
infer_slice(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);

	if (!check_axis(node, in, err))
		return false;
	if (node->index < 0 || node->channels < 1 ||
		node->channels > in->dim[node->axis] - node->index)
		return nn_fail(err, "slice: %d from %d on are not among the %d of axis %d",
					   node->channels, node->index, in->dim[node->axis], node->axis);
	node->shape = *in;
	node->shape.dim[node->axis] = node->channels;
	return true;
}

static bool
infer_permute(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);
	unsigned seen = 0;

	node->shape.ndim = in->ndim;
	for (int i = 0; i < in->ndim; i++)
	{
		if (node->perm[i] < 0 || node->perm[i] >= in->ndim ||
			(seen & (1u << node->perm[i])))
			return nn_fail(err, "permute: the order does not name each of %d axes once",
						   in->ndim);
		seen |= 1u << node->perm[i];
		node->shape.dim[i] = in->dim[node->perm[i]];
	}
	return true;
}

static bool
infer_upsample(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);

	if (!want_dims(node, in, 3, err))
		return false;
	if (node->factor < 1 || node->factor > 1024)
		return nn_fail(err, "upsample: a factor of %d (allowed: 1 to 1024)",
					   node->factor);
	/* 2^20 x 2^10 at most */
	node->shape =
		shape3(in->dim[0] * node->factor, in->dim[1] * node->factor, in->dim[2]);
	return true;
}

static bool
infer_reduce(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);

	if (!check_axis(node, in, err))
		return false;
	node->shape = (NnShape){0};
	for (int i = 0; i < in->ndim; i++)
		if (i != node->axis)
			node->shape.dim[node->shape.ndim++] = in->dim[i];
	if (node->shape.ndim == 0)
		node->shape = shape1(1);
	return true;
}

static bool
infer_simam(const NnGraph *g, NnNode *node, NnError *err)
{
	return want_dims(node, nn_input_shape(g, node, 0), 3, err) &&
		   infer_norm(g, node, err);
}

static bool
infer_window_attention(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);
	int w = node->window;

	if (!want_dims(node, in, 3, err))
		return false;
	if (w < 1 || w > 64 || in->dim[0] % w != 0 || in->dim[1] % w != 0 ||
		node->shift < 0 || node->shift >= w)
		return nn_fail(err,
					   "window_attention \"%s\": windows of %d (1 to 64), shifted by %d, "
					   "do not cut a map of %d x %d",
					   node->name, w, node->shift, in->dim[0], in->dim[1]);
	if (node->heads < 1 || in->dim[2] % 3 != 0 || in->dim[2] / 3 % node->heads != 0)
		return nn_fail(
			err,
			"window_attention \"%s\": %d values a place are not 3 x %d heads x "
			"a whole number",
			node->name, in->dim[2], node->heads);
	/* probabilities of one picture: a row of the window for each place and head */
	if ((size_t) in->dim[0] * (size_t) in->dim[1] * (size_t) (w * w) >
		NN_MAX_ELEMENTS / (size_t) node->heads)
		return nn_fail(err,
					   "window_attention \"%s\": %d heads over %d x %d places in "
					   "windows of %d are too many",
					   node->name, node->heads, in->dim[0], in->dim[1], w);
	node->shape = shape3(in->dim[0], in->dim[1], in->dim[2] / 3);
	return true;
}

/* One side of a transposed convolution. */
static bool
unwindow(const NnNode *node, int axis, int size, int *out, NnError *err)
{
	int64_t kernel = node->kernel[axis];
	int64_t stride = node->stride[axis];
	int64_t pad = node->pad[axis];
	int64_t more = node->out_pad[axis];
	int64_t wanted;

	if (kernel < 1 || kernel > 1024 || stride < 1 || stride > 1024 || pad < 0 ||
		pad >= kernel || more < 0 || more >= stride)
		return nn_fail(err,
					   "%s \"%s\": kernel %d, stride %d, padding %d, output padding %d "
					   "make no window (padding must be less than the kernel, output "
					   "padding less than the stride)",
					   nn_op_name(node->kind), node->name, node->kernel[axis],
					   node->stride[axis], node->pad[axis], node->out_pad[axis]);
	wanted = (size - 1) * stride - 2 * pad + kernel + more;
	if (wanted < 1 || wanted > NN_MAX_DIM)
		return nn_fail(
			err,
			"%s \"%s\": an input of %d, kernel %d, stride %d and padding %d make "
			"an output of %lld",
			nn_op_name(node->kind), node->name, size, node->kernel[axis],
			node->stride[axis], node->pad[axis], (long long) wanted);
	*out = (int) wanted;
	return true;
}

static bool
infer_conv_transpose2d(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);
	NnParamSpec spec[NN_MAX_PARAMS];
	int height, width;

	if (!want_dims(node, in, 3, err) || !check_activation(node, err))
		return false;
	if (node->channels < 1 || node->groups < 1 || in->dim[2] % node->groups != 0 ||
		node->channels % node->groups != 0)
		return nn_fail(err, "%s \"%s\": %d groups do not divide %d inputs and %d outputs",
					   nn_op_name(node->kind), node->name, node->groups, in->dim[2],
					   node->channels);
	if (!unwindow(node, 0, in->dim[0], &height, err) ||
		!unwindow(node, 1, in->dim[1], &width, err))
		return false;
	node->shape = shape3(height, width, node->channels);
	nn_param_specs(g, node, spec);
	return nn_check_size(node, &spec[0].shape, "weight", err);
}

static bool
infer_embedding(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);
	NnParamSpec spec[NN_MAX_PARAMS];

	if (!want_dims(node, in, 1, err))
		return false;
	node->shape = shape2(in->dim[0], node->channels);
	nn_param_specs(g, node, spec);
	return nn_check_size(node, &spec[0].shape, "weight", err);
}

const NnShapeRule nn_shape_rule[NN_OP_COUNT] = {
	[NN_INPUT] = {"input", 0, infer_input},
	[NN_CONV2D] = {"conv2d", 1, infer_conv2d},
	[NN_LINEAR] = {"linear", 1, infer_linear},
	[NN_BATCHNORM] = {"batchnorm", 1, infer_norm},
	[NN_LAYERNORM] = {"layernorm", 1, infer_norm},
	[NN_ACTIVATION] = {"activation", 1, infer_activation},
	[NN_MAXPOOL] = {"maxpool", 1, infer_pool},
	[NN_AVGPOOL] = {"avgpool", 1, infer_pool},
	[NN_GLOBAL_AVGPOOL] = {"global_avgpool", 1, infer_global_avgpool},
	[NN_ADD] = {"add", 2, infer_add},
	[NN_ATTENTION] = {"attention", 1, infer_attention},
	[NN_SOFTMAX] = {"softmax", 1, infer_same},
	[NN_RESHAPE] = {"reshape", 1, infer_reshape},
	[NN_CLASS_TOKEN] = {"class_token", 1, infer_class_token},
	[NN_POSITION] = {"position", 1, infer_same},
	[NN_TOKEN] = {"token", 1, infer_token},
	[NN_SCALE] = {"scale", 1, infer_scale},
	[NN_DROPOUT] = {"dropout", 1, infer_dropout},
	[NN_CONCAT] = {"concat", 0, infer_concat},
	[NN_SLICE] = {"slice", 1, infer_slice},
	[NN_PERMUTE] = {"permute", 1, infer_permute},
	[NN_UPSAMPLE] = {"upsample", 1, infer_upsample},
	[NN_REDUCE] = {"reduce", 1, infer_reduce},
	[NN_MUL] = {"mul", 2, infer_add},
	[NN_LAYERSCALE] = {"layerscale", 1, infer_same},
	[NN_CONV_TRANSPOSE2D] = {"conv_transpose2d", 1, infer_conv_transpose2d},
	[NN_EMBEDDING] = {"embedding", 1, infer_embedding},
	[NN_SIMAM] = {"simam", 1, infer_simam},
	[NN_REPARAMETERISE] = {"reparameterise", 2, infer_add},
	[NN_WINDOW_ATTENTION] = {"window_attention", 1, infer_window_attention},
};
