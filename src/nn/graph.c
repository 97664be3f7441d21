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
