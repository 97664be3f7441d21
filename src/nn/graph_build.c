/*
 * graph_build.c
 *	  The builder functions of graph.h: a node of each kind.
 */
#include <stdio.h>
#include <string.h>

#include "nn/graph.h"

static NnNode
start(NnOpKind kind, int input, const char *name)
{
	NnNode node;

	memset(&node, 0, sizeof(node));
	node.kind = kind;
	node.ninputs = kind == NN_INPUT ? 0 : 1;
	node.input[0] = input;
	if (name != NULL)
		snprintf(node.name, sizeof(node.name), "%s", name);
	return node;
}

int
nn_input(NnGraph *g, int height, int width, const float mean[3], const float std[3])
{
	NnNode node = start(NN_INPUT, 0, NULL);

	node.shape = (NnShape){3, {height, width, 3, 0}};
	memcpy(node.mean, mean, sizeof(node.mean));
	memcpy(node.std, std, sizeof(node.std));
	return nn_graph_add(g, &node, 0);
}

static void
set_window(NnNode *node, int kh, int kw, int stride, int pad)
{
	node->kernel[0] = kh;
	node->kernel[1] = kw;
	node->stride[0] = node->stride[1] = stride;
	node->pad[0] = node->pad[1] = pad;
}

int
nn_conv2d(NnGraph *g, int x, const char *name, int channels, int kh, int kw, int stride,
		  int pad, int groups, bool bias, NnActivation act)
{
	NnNode node = start(NN_CONV2D, x, name);

	set_window(&node, kh, kw, stride, pad);
	node.channels = channels;
	node.groups = groups;
	node.activation = act;
	return nn_graph_add(g, &node, bias ? 2 : 0);
}

int
nn_linear(NnGraph *g, int x, const char *name, int channels, bool bias, NnActivation act)
{
	NnNode node = start(NN_LINEAR, x, name);

	node.channels = channels;
	node.activation = act;
	return nn_graph_add(g, &node, bias ? 2 : 0);
}

int
nn_batchnorm(NnGraph *g, int x, const char *name, float eps)
{
	NnNode node = start(NN_BATCHNORM, x, name);

	node.eps = eps;
	return nn_graph_add(g, &node, 0);
}

int
nn_layernorm(NnGraph *g, int x, const char *name, float eps)
{
	NnNode node = start(NN_LAYERNORM, x, name);

	node.eps = eps;
	return nn_graph_add(g, &node, 0);
}

int
nn_activation(NnGraph *g, int x, NnActivation act)
{
	NnNode node = start(NN_ACTIVATION, x, NULL);

	node.activation = act;
	return nn_graph_add(g, &node, 0);
}

int
nn_maxpool(NnGraph *g, int x, int kernel, int stride, int pad)
{
	NnNode node = start(NN_MAXPOOL, x, NULL);

	set_window(&node, kernel, kernel, stride, pad);
	return nn_graph_add(g, &node, 0);
}

int
nn_avgpool(NnGraph *g, int x, int kernel, int stride, int pad)
{
	NnNode node = start(NN_AVGPOOL, x, NULL);

	set_window(&node, kernel, kernel, stride, pad);
	return nn_graph_add(g, &node, 0);
}

int
nn_global_avgpool(NnGraph *g, int x)
{
	NnNode node = start(NN_GLOBAL_AVGPOOL, x, NULL);

	return nn_graph_add(g, &node, 0);
}

int
nn_add(NnGraph *g, int a, int b)
{
	NnNode node = start(NN_ADD, a, NULL);

	node.ninputs = 2;
	node.input[1] = b;
	return nn_graph_add(g, &node, 0);
}

int
nn_attention(NnGraph *g, int x, int heads)
{
	NnNode node = start(NN_ATTENTION, x, NULL);

	node.heads = heads;
	return nn_graph_add(g, &node, 0);
}

int
nn_softmax(NnGraph *g, int x)
{
	NnNode node = start(NN_SOFTMAX, x, NULL);

	return nn_graph_add(g, &node, 0);
}

int
nn_reshape(NnGraph *g, int x, const NnShape *shape)
{
	NnNode node = start(NN_RESHAPE, x, NULL);

	node.shape = *shape;
	return nn_graph_add(g, &node, 0);
}

int
nn_class_token(NnGraph *g, int x, const char *name)
{
	NnNode node = start(NN_CLASS_TOKEN, x, name);

	return nn_graph_add(g, &node, 0);
}

int
nn_position(NnGraph *g, int x, const char *name)
{
	NnNode node = start(NN_POSITION, x, name);

	return nn_graph_add(g, &node, 0);
}

int
nn_token(NnGraph *g, int x, int index)
{
	NnNode node = start(NN_TOKEN, x, NULL);

	node.index = index;
	return nn_graph_add(g, &node, 0);
}

int
nn_scale(NnGraph *g, int x, float scale)
{
	NnNode node = start(NN_SCALE, x, NULL);

	node.scale = scale;
	return nn_graph_add(g, &node, 0);
}

int
nn_dropout(NnGraph *g, int x, float rate)
{
	NnNode node = start(NN_DROPOUT, x, NULL);

	if (rate == 0)
		return x;
	node.rate = rate;
	return nn_graph_add(g, &node, 0);
}

int
nn_drop_path(NnGraph *g, int x, float rate)
{
	NnNode node = start(NN_DROPOUT, x, NULL);

	if (rate == 0)
		return x;
	node.rate = rate;
	node.whole = true;
	return nn_graph_add(g, &node, 0);
}

int
nn_concat(NnGraph *g, const int *x, int n, int axis)
{
	NnNode node = start(NN_CONCAT, x[0], NULL);

	node.ninputs = n;
	for (int i = 0; i < n && i < NN_MAX_INPUTS; i++)
		node.input[i] = x[i];
	node.axis = axis;
	return nn_graph_add(g, &node, 0);
}

int
nn_slice(NnGraph *g, int x, int axis, int begin, int count)
{
	NnNode node = start(NN_SLICE, x, NULL);

	node.axis = axis;
	node.index = begin;
	node.channels = count;
	return nn_graph_add(g, &node, 0);
}

int
nn_permute(NnGraph *g, int x, const int *perm)
{
	NnNode node = start(NN_PERMUTE, x, NULL);

	if (x >= 0 && x < g->nnodes)
		memcpy(node.perm, perm, sizeof(int) * (size_t) g->node[x].shape.ndim);
	return nn_graph_add(g, &node, 0);
}

int
nn_upsample(NnGraph *g, int x, int factor, bool bilinear)
{
	NnNode node = start(NN_UPSAMPLE, x, NULL);

	node.factor = factor;
	node.bilinear = bilinear;
	return nn_graph_add(g, &node, 0);
}

int
nn_reduce(NnGraph *g, int x, int axis, bool mean)
{
	NnNode node = start(NN_REDUCE, x, NULL);

	node.axis = axis;
	node.mean_of = mean;
	return nn_graph_add(g, &node, 0);
}

int
nn_mul(NnGraph *g, int a, int b)
{
	NnNode node = start(NN_MUL, a, NULL);

	node.ninputs = 2;
	node.input[1] = b;
	return nn_graph_add(g, &node, 0);
}

int
nn_conv_transpose2d(NnGraph *g, int x, const char *name, int channels, int kernel,
					int stride, int pad, int out_pad, int groups, bool bias,
					NnActivation act)
{
	NnNode node = start(NN_CONV_TRANSPOSE2D, x, name);

	set_window(&node, kernel, kernel, stride, pad);
	node.out_pad[0] = node.out_pad[1] = out_pad;
	node.channels = channels;
	node.groups = groups;
	node.activation = act;
	return nn_graph_add(g, &node, bias ? 2 : 0);
}

int
nn_embedding(NnGraph *g, int x, const char *name, int rows, int channels)
{
	NnNode node = start(NN_EMBEDDING, x, name);

	node.rows = rows;
	node.channels = channels;
	return nn_graph_add(g, &node, 0);
}

int
nn_layerscale(NnGraph *g, int x, const char *name)
{
	NnNode node = start(NN_LAYERSCALE, x, name);

	return nn_graph_add(g, &node, 0);
}

int
nn_simam(NnGraph *g, int x, float lambda)
{
	NnNode node = start(NN_SIMAM, x, NULL);

	node.eps = lambda;
	return nn_graph_add(g, &node, 0);
}

int
nn_reparameterise(NnGraph *g, int mean, int logvar)
{
	NnNode node = start(NN_REPARAMETERISE, mean, NULL);

	node.ninputs = 2;
	node.input[1] = logvar;
	return nn_graph_add(g, &node, 0);
}

int
nn_window_attention(NnGraph *g, int x, const char *name, int heads, int window, int shift)
{
	NnNode node = start(NN_WINDOW_ATTENTION, x, name);

	node.heads = heads;
	node.window = window;
	node.shift = shift;
	return nn_graph_add(g, &node, 0);
}
