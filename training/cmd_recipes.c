/*
 * cmd_recipes.c
 *	  deephash-train recipes
 */
#include "training/command.h"
#include "training/recipe/recipe.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
usage(void)
{
	puts("List the recipes that come with deephash-train, or show one.\n\n"
		 "Usage: deephash-train recipes [NAME|FILE]\n"
		 "       deephash-train recipes --check FILE...\n"
		 "       deephash-train recipes --keys\n\n"
		 "  --check   read the files and say what is wrong with them\n"
		 "  --keys    every section and key that a recipe can have\n"
		 "  --help\n\n"
		 "A recipe is an INI file of settings for \"deephash-train train --recipe\".\n"
		 "Copy one to a file, change it, and name the file in place of the name.");
}

/* Read a recipe for its sake alone. */
static bool
read_one(const char *name, Recipe *r, TrainError *err)
{
	char path[4096];

	recipe_start(r);
	return recipe_find(name, path, sizeof(path), err) && recipe_read(r, path, err);
}

static int
list(void)
{
	TrainError err;
	int n;
	char **name = recipe_names(&n, &err);
	int status = COMMAND_OK;

	if (!name)
		return command_failed("recipes", &err);
	for (int i = 0; i < n; i++)
	{
		Recipe r;

		if (read_one(name[i], &r, &err))
			printf("%-20s %s\n", name[i], r.about);
		else
			status = command_failed("recipes", &err);
	}
	recipe_names_free(name, n);
	return status;
}

static int
show(const char *name)
{
	char path[4096];
	char text[4096];
	TrainError err;
	FILE *file;
	size_t n;

	if (!recipe_find(name, path, sizeof(path), &err))
		return command_failed("recipes", &err);
	file = fopen(path, "r");
	if (!file)
	{
		train_fail(&err, "cannot open the recipe %.300s: %s", path, strerror(errno));
		return command_failed("recipes", &err);
	}
	while ((n = fread(text, 1, sizeof(text), file)) > 0)
		fwrite(text, 1, n, stdout);
	n = (size_t) ferror(file);
	fclose(file);
	if (n)
	{
		train_fail(&err, "cannot read the recipe %.300s", path);
		return command_failed("recipes", &err);
	}
	return COMMAND_OK;
}

static int
check(char **name, int n)
{
	int status = COMMAND_OK;

	for (int i = 0; i < n; i++)
	{
		TrainError err;
		Recipe r;

		if (read_one(name[i], &r, &err))
			printf("%s: %s\n", name[i], r.about);
		else
			status = command_failed("recipes", &err);
	}
	return status;
}

int
cmd_recipes(int argc, char **argv)
{
	static const struct option options[] = {
		{"check", no_argument, NULL, 'c'},
		{"keys", no_argument, NULL, 'k'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	bool checking = false;
	int option;
	int status;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option)
		{
			case 'c':
				checking = true;
				break;
			case 'k':
				recipe_print_keys(stdout);
				return COMMAND_OK;
			case 'h':
				usage();
				return COMMAND_OK;
			default:
				return command_usage("recipes", "see the message above");
		}
	if (checking && optind == argc)
		return command_usage("recipes", "--check needs a file");
	if (!checking && argc - optind > 1)
		return command_usage("recipes", "one recipe at a time");
	status = checking		 ? check(argv + optind, argc - optind)
			 : optind < argc ? show(argv[optind])
							 : list();
	if (fflush(stdout) != 0 || ferror(stdout))
	{
		TrainError err;

		train_fail(&err, "cannot write the list: %s", strerror(errno));
		return command_failed("recipes", &err);
	}
	return status;
}
