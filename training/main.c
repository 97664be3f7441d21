/*
 * main.c
 *	  deephash-train: picks the subcommand.
 *
 * Only this file's main() decides the exit status: 0 done, 1 failed (the reason
 * is on stderr), 2 wrong usage.
 */
#include "training/command.h"

#include <stdio.h>
#include <string.h>

static const Command commands[] = {
	{"train", "train a network on labelled pictures and write a model file", cmd_train},
	{"recipes", "list the recipes, the settings of whole experiments", cmd_recipes},
	{"import", "make a model file of weights trained elsewhere", cmd_import},
	{"images", "write the pictures of a data set as JPEG files", cmd_images},
	{"eval", "judge a model, or codes from files, by retrieval metrics", cmd_eval},
	{"classify", "name the classes of pictures, or count how many are right",
	 cmd_classify},
	{"encode", "print the codes of pictures", cmd_encode},
	{"inspect", "show what a model file holds", cmd_inspect},
	{"synth", "draw a labelled set of small pictures", cmd_synth},
	{"sheet", "write a page of queries and what was found for them", cmd_sheet},
	{NULL, NULL, NULL},
};

static void
usage(FILE *to)
{
	fprintf(to,
			"deephash-train trains and judges the networks that turn pictures into "
			"hash codes.\n\nUsage: deephash-train COMMAND [OPTION]...\n\nCommands:\n");
	for (const Command *c = commands; c->name; c++)
		fprintf(to, "  %-9s %s\n", c->name, c->about);
	fprintf(to, "\ndeephash-train COMMAND --help lists the options of a command.\n");
}

int
main(int argc, char **argv)
{
	if (argc < 2)
	{
		usage(stderr);
		return COMMAND_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
		strcmp(argv[1], "help") == 0)
	{
		usage(stdout);
		return COMMAND_OK;
	}
	if (strcmp(argv[1], "--version") == 0)
	{
		puts("deephash-train " DEEPHASH_VERSION);
		return COMMAND_OK;
	}
	for (const Command *c = commands; c->name; c++)
		if (strcmp(argv[1], c->name) == 0)
			return c->run(argc - 1, argv + 1);
	fprintf(stderr, "deephash-train: unknown command \"%s\"\n", argv[1]);
	usage(stderr);
	return COMMAND_USAGE;
}
