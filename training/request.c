/*
 * request.c
 *	  What deephash-train train is asked to do.
 *
 * A recipe first, then the options over it in their order, so that it does not matter
 * where on the command line the recipe is named.
 */
#include "training/request.h"

#include "training/command.h"
#include "training/run/network.h"
#include "training/run/sets.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static void
usage(void)
{
	printf("Train a network that turns pictures into hash codes.\n\n"
		   "Usage: deephash-train train --data DATA --out MODEL [OPTION]...\n\n"
		   "  --out FILE            the model file to write\n"
		   "  --recipe NAME|FILE    the settings of a recipe (\"deephash-train recipes\" "
		   "lists\n"
		   "                        them); the options below change what it says\n"
		   "  --set SECTION.KEY=VALUE\n"
		   "                        one setting of a recipe; \"deephash-train recipes "
		   "--keys\"\n"
		   "                        lists them all\n"
		   "  --validate N          every N epochs, show the mAP of some queries (0: "
		   "never)\n"
		   "  --threads N           (one per CPU)\n");
	recipe_print_options(stdout);
	printf("  --no-flip             do not mirror pictures\n"
		   "\nStopping and going on:\n"
		   "  --checkpoint FILE     (the model's name with .checkpoint)\n"
		   "  --checkpoint-every N  minutes between checkpoints (5)\n"
		   "  --resume FILE         go on from a checkpoint, with the options it was\n"
		   "                        started with; --data may name a new place\n"
		   "  --stop-after N        stop with a checkpoint when N steps are done in all\n"
		   "  --help\n\n"
		   "An interrupt (Ctrl-C) or SIGTERM leaves a checkpoint too.\n");
}

enum
{
	OPT_OUT = 256,
	OPT_RECIPE,
	OPT_SET,
	OPT_NO_FLIP,
	OPT_THREADS,
	OPT_VALIDATE,
	OPT_CHECKPOINT,
	OPT_CHECKPOINT_EVERY,
	OPT_RESUME,
	OPT_STOP_AFTER,
	OPT_HELP,
	OPT_KEYS = 1000 /* from here on: places in the table of keys */
};

static const struct option own_options[] = {
	{"out", required_argument, NULL, OPT_OUT},
	{"recipe", required_argument, NULL, OPT_RECIPE},
	{"set", required_argument, NULL, OPT_SET},
	{"no-flip", no_argument, NULL, OPT_NO_FLIP},
	{"threads", required_argument, NULL, OPT_THREADS},
	{"validate", required_argument, NULL, OPT_VALIDATE},
	{"checkpoint", required_argument, NULL, OPT_CHECKPOINT},
	{"checkpoint-every", required_argument, NULL, OPT_CHECKPOINT_EVERY},
	{"resume", required_argument, NULL, OPT_RESUME},
	{"stop-after", required_argument, NULL, OPT_STOP_AFTER},
	{"help", no_argument, NULL, OPT_HELP},
};

#define NOWN (sizeof(own_options) / sizeof(own_options[0]))

/* Those of this file and those of the keys, as getopt wants them. */
static void
all_options(struct option out[NOWN + RECIPE_MAX_KEYS + 1])
{
	int n = 0;

	for (size_t i = 0; i < NOWN; i++)
		out[n++] = own_options[i];
	for (int i = 0; i < recipe_nkeys; i++)
		if (recipe_keys[i].option)
			out[n++] = (struct option){recipe_keys[i].option, required_argument, NULL,
									   OPT_KEYS + i};
	out[n] = (struct option){0};
}

/* An option that is no key; false: the value cannot be. */
static bool
set_own(Request *r, int option, const char *v)
{
	switch (option)
	{
		case OPT_OUT:
			r->out = v;
			return command_want(*v != '\0', "the name of a file");
		case OPT_THREADS:
			return command_int(v, 1, 1024, &r->threads);
		case OPT_VALIDATE:
			return command_int(v, 0, 100000, &r->validate);
		case OPT_CHECKPOINT:
			r->checkpoint = v;
			return command_want(*v != '\0', "the name of a file");
		case OPT_CHECKPOINT_EVERY:
			return command_double(v, 0.001, 1e6, &r->checkpoint_every);
		case OPT_RESUME:
			r->resume = v;
			return command_want(*v != '\0', "the name of a file");
		case OPT_STOP_AFTER:
			return command_int(v, 1, 1 << 30, &r->stop_after);
		default:
			return true;
	}
}

/* The recipe that the command line names, wherever it does. */
static int
read_recipe(Request *r, int argc, char **argv, const struct option *options)
{
	const char *name = NULL;
	char path[4096];
	TrainError err;
	int option;

	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (option == OPT_RECIPE)
		{
			if (name)
				return command_usage("train", "--recipe is given twice");
			name = optarg;
		}
	opterr = 1;
	optind = 1;
	if (!name)
		return -1;
	if (!recipe_find(name, path, sizeof(path), &err) ||
		!recipe_read(&r->recipe, path, &err))
	{
		command_failed("train", &err);
		return COMMAND_USAGE;
	}
	return -1;
}

static int
set_option(Request *r, int option, const char *name, const char *value)
{
	TrainError err;

	if (option == OPT_SET)
		return recipe_assign(&r->recipe, value, &err)
				   ? -1
				   : command_usage("train", "--set: %s", err.text);
	if (option == OPT_NO_FLIP)
	{
		recipe_set(&r->recipe, key_find("augment", "flip"), "no", &err);
		return -1;
	}
	if (option >= OPT_KEYS)
		return recipe_set(&r->recipe, option - OPT_KEYS, value, &err)
				   ? -1
				   : command_usage("train", "--%s cannot be \"%s\": it %s", name, value,
								   err.text);
	return set_own(r, option, value) ? -1 : command_refused("train", name, value);
}

/* What a resumed run was asked to do otherwise, though it cannot; NULL: nothing. */
static const char *
unchangeable(const Request *r, char *text, size_t size)
{
	for (int i = 0; i < recipe_nkeys; i++)
		if (r->recipe.given[i] && !recipe_keys[i].changeable)
		{
			if (recipe_keys[i].option)
				snprintf(text, size, "%s", recipe_keys[i].option);
			else
				snprintf(text, size, "set %s.%s", recipe_keys[i].section,
						 recipe_keys[i].name);
			return text;
		}
	return NULL;
}

/* What depends on the data. */
static void
settle(Request *r)
{
	TrainOptions *o = &r->options;

	recipe_settle(&r->recipe);
	*o = r->recipe.options;
	if (o->size == 0)
		o->size = network_default_size(o);
	if (o->protocol[0] == '\0')
		strcpy(o->protocol, sets_default_protocol(o->data));
}

int
request_parse(Request *r, int argc, char **argv)
{
	struct option options[NOWN + RECIPE_MAX_KEYS + 1];
	char text[128];
	int option;
	int index = 0;
	int status;

	*r = (Request){.checkpoint_every = 5};
	recipe_start(&r->recipe);
	all_options(options);
	status = read_recipe(r, argc, argv, options);
	while (status < 0 && (option = getopt_long(argc, argv, "", options, &index)) != -1)
	{
		if (option == '?')
			return command_usage("train", "see the message above");
		if (option == OPT_HELP)
		{
			usage();
			return COMMAND_OK;
		}
		status = set_option(r, option, options[index].name, optarg);
	}
	if (status >= 0)
		return status;
	if (optind < argc)
		return command_usage("train", "unexpected argument \"%s\"", argv[optind]);
	if (!r->out)
		return command_usage("train", "--out is missing");
	if (r->resume && unchangeable(r, text, sizeof(text)))
		return command_usage("train",
							 "--%s cannot change in a resumed run: its checkpoint says "
							 "what it is",
							 text);
	if (r->resume)
		return -1;
	if (r->recipe.options.data[0] == '\0')
		return command_usage("train", "--data is missing");
	settle(r);
	return -1;
}

void
request_change(Request *r)
{
	for (int i = 0; i < recipe_nkeys; i++)
	{
		const Key *key = &recipe_keys[i];

		if (r->recipe.given[i] && key->changeable)
			memcpy((char *) &r->options + key->at, (char *) &r->recipe.options + key->at,
				   key->size);
	}
}
