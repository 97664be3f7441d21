/*
 * graph.c
 *	  Building, copying and searching graphs.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/op.h"

/* Bytes of the well-formed UTF-8 character at c; 0: none is there. */
static int
utf8_length(const unsigned char *c)
{
	int more = c[0] < 0x80 ? 0 : c[0] >= 0xf0 ? 3 : c[0] >= 0xe0 ? 2 : 1;

	if (more > 0 && (c[0] < 0xc2 || c[0] > 0xf4))
		return 0;
	for (int i = 1; i <= more; i++)
		if ((c[i] & 0xc0) != 0x80) /* so is the end of the text */
			return 0;
	/* forms that are too long, halves of UTF-16 pairs, beyond Unicode */
	if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
		(c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
		return 0;
	return more + 1;
}

/*
 * One line of UTF-8, whatever was put into the text: names from files may hold line
 * feeds, and characters may have been cut in the middle.
 */
static void
make_printable(char *text)
{
	for (unsigned char *c = (unsigned char *) text; *c;)
	{
		int length = utf8_length(c);

		if (length == 0 || *c < 0x20 || *c == 0x7f)
			*c = '?';
		c += length > 0 ? length : 1;
	}
}

bool
nn_fail(NnError *err, const char *format, ...)
{
	va_list args;

	if (err == NULL)
		return false;
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	make_printable(err->text);
	return false;
}

NnGraph *
nn_graph_new(void)
{
	return calloc(1, sizeof(NnGraph));
}

void
nn_graph_clear(NnGraph *g)
{
	if (!g->borrows_data)
		for (int i = 0; i < g->nparams; i++)
			free(g->param[i].data);
	free(g->node);
	free(g->param);
	memset(g, 0, sizeof(*g));
}

void
nn_graph_free(NnGraph *g)
{
	if (g == NULL)
		return;
	nn_graph_clear(g);
	free(g);
}

bool
nn_graph_ok(const NnGraph *g, NnError *err)
{
	if (g == NULL)
		return nn_fail(err, "out of memory");
	if (g->failed)
		return nn_fail(err, "%s", g->error.text);
	if (g->nnodes == 0)
		return nn_fail(err, "the network has no nodes");
	return true;
}

static int
fail_graph(NnGraph *g)
{
	g->failed = true;
	return -1;
}

/* Room for one more element of size bytes; the array may move. */
static bool
make_room(void **array, int used, int *room, int limit, size_t size)
{
	int wanted = *room ? *room * 2 : 32;
	void *larger;

	if (used < *room)
		return true;
	if (used >= limit)
		return false;
	larger = realloc(*array, (size_t) wanted * size);
	if (larger == NULL)
		return false;
	*array = larger;
	*room = wanted;
	return true;
}

static int
add_param(NnGraph *g, const NnNode *node, const NnParamSpec *spec)
{
	NnParam *p;
	size_t size = nn_shape_size(&spec->shape);
	char name[NN_MAX_NAME + 16];

	snprintf(name, sizeof(name), "%s%s", node->name, spec->suffix);
	if (node->name[0] == '\0' || strlen(name) >= NN_MAX_NAME)
	{
		nn_fail(&g->error,
				"%s: a layer with parameters needs a name of 1 to %d characters",
				nn_op_name(node->kind), NN_MAX_NAME - 16);
		return fail_graph(g);
	}
	if (nn_graph_find_param(g, name) >= 0)
	{
		nn_fail(&g->error, "%s: there are two parameters called \"%s\"",
				nn_op_name(node->kind), name);
		return fail_graph(g);
	}
	if (!make_room((void **) &g->param, g->nparams, &g->param_room, NN_MAX_GRAPH_PARAMS,
				   sizeof(NnParam)))
	{
		nn_fail(&g->error,
				"the network has more parameters than memory or the limit of %d allow",
				NN_MAX_GRAPH_PARAMS);
		return fail_graph(g);
	}
	p = &g->param[g->nparams];
	memset(p, 0, sizeof(*p));
	memcpy(p->name, name, strlen(name) + 1);
	p->shape = spec->shape;
	p->trainable = spec->trainable;
	if (!g->borrows_data)
	{
		p->data = malloc(size * sizeof(float));
		if (p->data == NULL)
		{
			nn_fail(&g->error, "out of memory for parameter \"%s\" of %zu values", name,
					size);
			return fail_graph(g);
		}
		for (size_t i = 0; i < size; i++)
			p->data[i] = spec->initial;
	}
	return g->nparams++;
}

int
nn_graph_add(NnGraph *g, const NnNode *proto, unsigned with_param)
{
	NnNode node = *proto;
	NnParamSpec spec[NN_MAX_PARAMS];

	if (g == NULL || g->failed)
		return -1;
	if (!nn_infer(g, &node, &g->error))
		return fail_graph(g);
	if (!make_room((void **) &g->node, g->nnodes, &g->node_room, NN_MAX_NODES,
				   sizeof(NnNode)))
	{
		nn_fail(&g->error,
				"the network has more nodes than memory or the limit of %d allow",
				NN_MAX_NODES);
		return fail_graph(g);
	}
	node.nparams = nn_param_specs(g, &node, spec);
	for (int i = 0; i < NN_MAX_PARAMS; i++)
		node.param[i] = -1;
	for (int i = 0; i < node.nparams; i++)
	{
		if (spec[i].optional && !(with_param & (1u << i)))
			continue;
		node.param[i] = add_param(g, &node, &spec[i]);
		if (node.param[i] < 0)
			return -1;
	}
	g->node[g->nnodes] = node;
	return g->nnodes++;
}

/* ------------------------------------------------------------ the builder */

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

/* -------------------------------------------------------------------- outputs */

void
nn_graph_set_outputs(NnGraph *g, const int *nodes, int n)
{
	if (g == NULL || g->failed)
		return;
	if (n < 1 || n > NN_MAX_OUTPUTS)
	{
		nn_fail(&g->error, "a network of %d outputs (allowed: 1 to %d)", n,
				NN_MAX_OUTPUTS);
		fail_graph(g);
		return;
	}
	for (int i = 0; i < n; i++)
	{
		for (int k = 0; k < i; k++)
			if (nodes[k] == nodes[i])
			{
				nn_fail(&g->error, "outputs %d and %d are one node", k, i);
				fail_graph(g);
			}
		if (nodes[i] < 0 || nodes[i] >= g->nnodes)
		{
			nn_fail(&g->error, "output %d is none of the %d nodes", i, g->nnodes);
			fail_graph(g);
		}
		if (g->failed)
			return;
		g->output[i] = nodes[i];
	}
	g->noutputs = n;
}

int
nn_graph_outputs(const NnGraph *g)
{
	return g->noutputs > 0 ? g->noutputs : 1;
}

int
nn_graph_output_node(const NnGraph *g, int k)
{
	return g->noutputs > 0 ? g->output[k] : g->nnodes - 1;
}

/* ----------------------------------------------------------- reading graphs */

int
nn_graph_find_param(const NnGraph *g, const char *name)
{
	for (int i = 0; i < g->nparams; i++)
		if (strcmp(g->param[i].name, name) == 0)
			return i;
	return -1;
}

size_t
nn_graph_weights(const NnGraph *g)
{
	size_t sum = 0;

	for (int i = 0; i < g->nparams; i++)
		sum += nn_shape_size(&g->param[i].shape);
	return sum;
}

const NnNode *
nn_graph_output(const NnGraph *g)
{
	return &g->node[nn_graph_output_node(g, 0)];
}

NnGraph *
nn_graph_copy(const NnGraph *g)
{
	NnGraph *copy = nn_graph_new();

	if (copy == NULL)
		return NULL;
	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *from = &g->node[i];
		unsigned with = 0;
		int at;

		for (int p = 0; p < from->nparams; p++)
			if (from->param[p] >= 0)
				with |= 1u << p;
		at = nn_graph_add(copy, from, with);
		if (at < 0)
		{
			nn_graph_free(copy);
			return NULL;
		}
		for (int p = 0; p < from->nparams; p++)
			if (from->param[p] >= 0)
			{
				const NnParam *source = &g->param[from->param[p]];
				NnParam *target = &copy->param[copy->node[at].param[p]];

				memcpy(target->data, source->data,
					   nn_shape_size(&source->shape) * sizeof(float));
				target->trainable = source->trainable;
			}
	}
	copy->noutputs = g->noutputs;
	memcpy(copy->output, g->output, sizeof(copy->output));
	return copy;
}
