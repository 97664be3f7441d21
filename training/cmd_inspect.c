/*
 * cmd_inspect.c
 *	  deephash-train inspect
 */
#include "nn/graph.h"
#include "nn/model.h"
#include "training/command.h"
#include "training/tape/tape.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
usage(void)
{
	puts("Show what a model file holds: metadata, layers, parameters, multiply-adds.\n\n"
		 "Usage: deephash-train inspect [OPTION] MODEL\n\n"
		 "  --json   only the metadata, as one JSON object\n"
		 "  --help");
}

static void
show_layers(const NnGraph *g)
{
	char shape[64];

	printf("\n%-4s %-16s %-14s %12s %12s  %s\n", "node", "kind", "output", "parameters",
		   "mult-adds", "name");
	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];
		size_t weights = 0;

		for (int p = 0; p < node->nparams; p++)
			if (node->param[p] >= 0)
				weights += nn_shape_size(&g->param[node->param[p]].shape);
		printf("%-4d %-16s %-14s %12zu %12.0f  %s%s%s\n", i, nn_op_name(node->kind),
			   nn_shape_text(&node->shape, shape, sizeof(shape)), weights,
			   tape_node_macs(g, i), node->name,
			   node->activation != NN_IDENTITY ? " + " : "",
			   node->activation != NN_IDENTITY ? nn_activation_name(node->activation)
											   : "");
	}
	printf("%-4s %-16s %-14s %12zu %12.0f\n", "", "total", "", nn_graph_weights(g),
		   tape_graph_macs(g));
}

int
cmd_inspect(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	bool json = false;
	NnModel *model;
	NnError trouble;
	TrainError err;
	char *text;
	json_t *object;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option)
		{
			case 'j':
				json = true;
				break;
			case 'h':
				usage();
				return COMMAND_OK;
			default:
				return command_usage("inspect", "see the message above");
		}
	if (optind != argc - 1)
		return command_usage("inspect", "give one model file");
	model = nn_model_open(argv[optind], &trouble);
	if (!model)
	{
		train_fail(&err, "%.500s", trouble.text);
		return command_failed("inspect", &err);
	}
	text = nn_model_describe(model);
	object = text ? json_loads(text, 0, NULL) : NULL;
	free(text);
	text = object ? json_dumps(object, JSON_INDENT(2) | JSON_PRESERVE_ORDER |
										   JSON_REAL_PRECISION(12))
				  : NULL;
	puts(text ? text : "{}");
	if (!json)
		show_layers(&model->graph);
	free(text);
	json_decref(object);
	nn_model_close(model);
	return COMMAND_OK;
}
