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
nn_check_size(const NnShape *shape, const char *what, NnError *err)
{
	size_t size = 1;
	char text[64];

	for (int i = 0; i < shape->ndim; i++)
	{
		if (shape->dim[i] < 1 || shape->dim[i] > NN_MAX_DIM)
			return nn_fail(err, "%s has a dimension of %d (allowed: 1 to %d)", what,
						   shape->dim[i], NN_MAX_DIM);
		size *= (size_t) shape->dim[i];
		if (size > NN_MAX_ELEMENTS)
			return nn_fail(err, "%s of shape %s is too large", what,
						   nn_shape_text(shape, text, sizeof(text)));
	}
	return true;
}

static bool
want_dims(const NnShape *in, int ndim, NnError *err)
{
	return in->ndim == ndim || nn_fail(err, "wants an input of %d dimensions", ndim);
}

static bool
check_activation(const NnNode *node, NnError *err)
{
	if ((unsigned) node->activation < NN_ACTIVATION_COUNT)
		return true;
	return nn_fail(err, "unknown activation %d", (int) node->activation);
}

/* What a convolution and a transposed one have in common. */
static bool
check_channels(const NnNode *node, const NnShape *in, NnError *err)
{
	if (!want_dims(in, 3, err) || !check_activation(node, err))
		return false;
	if (node->channels < 1 || node->groups < 1 || in->dim[2] % node->groups != 0 ||
		node->channels % node->groups != 0)
		return nn_fail(err, "%d groups do not divide %d inputs and %d outputs",
					   node->groups, in->dim[2], node->channels);
	return true;
}

/* The first parameter, once node->shape is known. */
static bool
check_weight(const NnGraph *g, const NnNode *node, NnError *err)
{
	NnParamSpec spec[NN_MAX_PARAMS];

	nn_param_specs(g, node, spec);
	return nn_check_size(&spec[0].shape, "weight", err);
}

/* Queries, keys and values of every head in a row of `cols` values. */
static bool
check_heads(const NnNode *node, int cols, NnError *err)
{
	if (node->heads >= 1 && cols % 3 == 0 && cols / 3 % node->heads == 0)
		return true;
	return nn_fail(err, "%d values a token are not 3 x %d heads x a whole number", cols,
				   node->heads);
}

/* Places of a sliding window along one axis; 0 and err: there are none. */
static int
window(const NnNode *node, int axis, int size, NnError *err)
{
	int kernel = node->kernel[axis];
	int stride = node->stride[axis];
	int pad = node->pad[axis];

	if (kernel < 1 || kernel > 1024 || stride < 1 || stride > 1024 || pad < 0 ||
		pad > 1024)
		return nn_fail(err,
					   "kernel %d, stride %d, padding %d make no window (each is at "
					   "most 1024)",
					   kernel, stride, pad);
	if (size + 2 * pad < kernel)
		return nn_fail(err, "a kernel of %d does not fit an input of %d + 2*%d", kernel,
					   size, pad);
	return (size + 2 * pad - kernel) / stride + 1;
}

/* Pooling and convolution share the geometry; pooling keeps the channels. */
static bool
infer_window(const NnGraph *g, NnNode *node, int channels, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);
	int height = window(node, 0, in->dim[0], err);
	int width = height ? window(node, 1, in->dim[1], err) : 0;

	node->shape = shape3(height, width, channels);
	return width > 0;
}

static bool
infer_input(const NnGraph *g, NnNode *node, NnError *err)
{
	if (g->nnodes != 0)
		return nn_fail(err, "must be the first node and the only one");
	if (node->shape.ndim != 3 || node->shape.dim[2] != 3)
		return nn_fail(err, "the shape must be height x width x 3");
	for (int i = 0; i < 3; i++)
		if (!isfinite(node->mean[i]) || fabsf(node->mean[i]) > 1e6f ||
			!(node->std[i] >= 1e-6f && node->std[i] <= 1e6f))
			return nn_fail(err,
						   "channel %d: mean %g and standard deviation %g make no "
						   "sense (deviation from 1e-6 to 1e6)",
						   i, (double) node->mean[i], (double) node->std[i]);
	return true;
}

static bool
infer_conv2d(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);

	if (!check_channels(node, in, err))
		return false;
	if (!infer_window(g, node, node->channels, err))
		return false;
	return check_weight(g, node, err);
}

static bool
infer_linear(const NnGraph *g, NnNode *node, NnError *err)
{
	if (!check_activation(node, err))
		return false;
	node->shape = *nn_input_shape(g, node, 0);
	node->shape.dim[node->shape.ndim - 1] = node->channels;
	return check_weight(g, node, err);
}

static bool
infer_norm(const NnGraph *g, NnNode *node, NnError *err)
{
	node->shape = *nn_input_shape(g, node, 0);
	if (!(node->eps > 0 && node->eps <= 1))
		return nn_fail(err, "eps %g is not in (0, 1]", (double) node->eps);
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

	if (!want_dims(in, 3, err))
		return false;
	for (int i = 0; i < 2; i++)
		if (2 * node->pad[i] > node->kernel[i])
			return nn_fail(err, "padding %d is more than half the kernel %d",
						   node->pad[i], node->kernel[i]);
	return infer_window(g, node, in->dim[2], err);
}

static bool
infer_global_avgpool(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);

	if (!want_dims(in, 3, err))
		return false;
	node->shape = shape1(in->dim[2]);
	return true;
}

static bool
infer_add(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *a = nn_input_shape(g, node, 0);
	const NnShape *b = nn_input_shape(g, node, 1);

	if (!nn_shape_equal(a, b))
		return nn_fail(err, "the shapes differ");
	node->shape = *a;
	return true;
}

static bool
infer_attention(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);

	if (!want_dims(in, 2, err) || !check_heads(node, in->dim[1], err))
		return false;
	if ((size_t) in->dim[0] * (size_t) in->dim[0] >
		NN_MAX_ELEMENTS / (size_t) node->heads)
		return nn_fail(err, "%d heads over %d tokens are too many", node->heads,
					   in->dim[0]);
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
	char text[64];

	if (node->shape.ndim < 1 || node->shape.ndim > NN_MAX_DIMS)
		return nn_fail(err, "%d dimensions (allowed: 1 to %d)", node->shape.ndim,
					   NN_MAX_DIMS);
	if (!nn_check_size(&node->shape, "output", err))
		return false;
	if (nn_shape_size(in) != nn_shape_size(&node->shape))
		return nn_fail(err, "has not as many elements as %s",
					   nn_shape_text(&node->shape, text, sizeof(text)));
	return true;
}

static bool
infer_class_token(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);

	if (!want_dims(in, 2, err))
		return false;
	node->shape = shape2(in->dim[0] + 1, in->dim[1]);
	return true;
}

static bool
infer_token(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);

	if (!want_dims(in, 2, err))
		return false;
	if (node->index < 0 || node->index >= in->dim[0])
		return nn_fail(err, "there is no token %d among %d", node->index, in->dim[0]);
	node->shape = shape1(in->dim[1]);
	return true;
}

static bool
infer_scale(const NnGraph *g, NnNode *node, NnError *err)
{
	if (!isfinite(node->scale))
		return nn_fail(err, "the factor is not finite");
	return infer_same(g, node, err);
}

static bool
infer_dropout(const NnGraph *g, NnNode *node, NnError *err)
{
	if (!(node->rate >= 0 && node->rate < 1))
		return nn_fail(err, "a rate of %g is not in [0, 1)", (double) node->rate);
	return infer_same(g, node, err);
}

static bool
check_axis(const NnNode *node, const NnShape *in, NnError *err)
{
	return (node->axis >= 0 && node->axis < in->ndim) ||
		   nn_fail(err, "there is no axis %d", node->axis);
}

static bool
infer_concat(const NnGraph *g, NnNode *node, NnError *err)
{
	NnShape all = *nn_input_shape(g, node, 0);

	if (!check_axis(node, &all, err))
		return false;
	for (int i = 1; i < node->ninputs; i++)
	{
		NnShape other = *nn_input_shape(g, node, i);
		int length = other.ndim == all.ndim ? other.dim[node->axis] : 0;

		other.dim[node->axis] = all.dim[node->axis];
		if (!nn_shape_equal(&all, &other))
			return nn_fail(err, "the shapes differ in more than axis %d", node->axis);
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
		return nn_fail(err, "%d from %d on are not among the %d of axis %d",
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
			return nn_fail(err, "the order does not name each of %d axes once", in->ndim);
		seen |= 1u << node->perm[i];
		node->shape.dim[i] = in->dim[node->perm[i]];
	}
	return true;
}

static bool
infer_upsample(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);

	if (!want_dims(in, 3, err))
		return false;
	if (node->factor < 1 || node->factor > 1024)
		return nn_fail(err, "a factor of %d (allowed: 1 to 1024)", node->factor);
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
	return want_dims(nn_input_shape(g, node, 0), 3, err) && infer_norm(g, node, err);
}

static bool
infer_window_attention(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);
	int w = node->window;

	if (!want_dims(in, 3, err))
		return false;
	if (w < 1 || w > 64 || in->dim[0] % w != 0 || in->dim[1] % w != 0 ||
		node->shift < 0 || node->shift >= w)
		return nn_fail(err, "windows of %d (1 to 64), shifted by %d, do not cut the map",
					   w, node->shift);
	if (!check_heads(node, in->dim[2], err))
		return false;
	/* probabilities of one picture: a row of the window for each place and head */
	if ((size_t) in->dim[0] * (size_t) in->dim[1] * (size_t) (w * w) >
		NN_MAX_ELEMENTS / (size_t) node->heads)
		return nn_fail(err, "%d heads over so many places in windows of %d are too many",
					   node->heads, w);
	node->shape = shape3(in->dim[0], in->dim[1], in->dim[2] / 3);
	return true;
}

/* One side of a transposed convolution; 0 and err: it makes none. */
static int
unwindow(const NnNode *node, int axis, int size, NnError *err)
{
	int64_t kernel = node->kernel[axis];
	int64_t stride = node->stride[axis];
	int64_t pad = node->pad[axis];
	int64_t more = node->out_pad[axis];
	int64_t wanted;

	if (kernel < 1 || kernel > 1024 || stride < 1 || stride > 1024 || pad < 0 ||
		pad > 1024 || more < 0 || more >= stride)
		return nn_fail(err,
					   "kernel %d, stride %d, padding %d, output padding %d make no "
					   "window (the first three are at most 1024, output padding less "
					   "than the stride)",
					   node->kernel[axis], node->stride[axis], node->pad[axis],
					   node->out_pad[axis]);
	wanted = (size - 1) * stride - 2 * pad + kernel + more;
	if (wanted < 1 || wanted > NN_MAX_DIM)
		return nn_fail(err,
					   "an input of %d, kernel %d, stride %d and padding %d make "
					   "an output of %lld",
					   size, node->kernel[axis], node->stride[axis], node->pad[axis],
					   (long long) wanted);
	return (int) wanted;
}

static bool
infer_conv_transpose2d(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);
	int height, width;

	if (!check_channels(node, in, err))
		return false;
	height = unwindow(node, 0, in->dim[0], err);
	width = height ? unwindow(node, 1, in->dim[1], err) : 0;
	node->shape = shape3(height, width, node->channels);
	return width > 0 && check_weight(g, node, err);
}

static bool
infer_embedding(const NnGraph *g, NnNode *node, NnError *err)
{
	const NnShape *in = nn_input_shape(g, node, 0);

	if (!want_dims(in, 1, err))
		return false;
	node->shape = shape2(in->dim[0], node->channels);
	return check_weight(g, node, err);
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
