/*
 * shipped.c
 *	  Where the recipes that come with the program lie.
 */
#include "training/recipe/recipe.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
is_recipe(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return entry->d_name[0] != '.' && n > 4 && strcmp(entry->d_name + n - 4, ".ini") == 0;
}

static int
by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

bool
recipe_folder(char *path, size_t size, TrainError *err)
{
	const char *named = getenv("DEEPHASH_RECIPES");
	char program[4096];
	ssize_t n;

	if (named && *named)
	{
		snprintf(path, size, "%s", named);
		return true;
	}
	n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	if (n <= 0)
		return train_fail(err,
						  "cannot tell where this program lies: %s; name the "
						  "folder of recipes in DEEPHASH_RECIPES",
						  strerror(errno));
	program[n] = '\0';
	*strrchr(program, '/') = '\0';
	if ((size_t) snprintf(path, size, "%s/../share/deephash/recipes", program) >= size)
		return train_fail(err, "the path of the recipes is too long");
	return true;
}

char **
recipe_names(int *n, TrainError *err)
{
	char folder[4096];
	struct dirent **entry;
	char **name;
	int found;

	*n = 0;
	if (!recipe_folder(folder, sizeof(folder), err))
		return NULL;
	found = scandir(folder, &entry, is_recipe, by_bytes);
	if (found < 0)
	{
		train_fail(err,
				   "cannot read the recipes in %.300s: %s; DEEPHASH_RECIPES can name "
				   "another folder",
				   folder, strerror(errno));
		return NULL;
	}
	name = calloc((size_t) found + 1, sizeof(*name));
	for (int i = 0; i < found; i++)
	{
		char *copy = name ? strdup(entry[i]->d_name) : NULL;

		free(entry[i]);
		if (!copy)
			continue;
		copy[strlen(copy) - 4] = '\0';
		name[(*n)++] = copy;
	}
	free(entry);
	if (!name || *n < found)
	{
		train_fail(err, "out of memory");
		recipe_names_free(name, *n);
		return NULL;
	}
	return name;
}

void
recipe_names_free(char **name, int n)
{
	for (int i = 0; i < n; i++)
		free(name[i]);
	free(name);
}

/* Three letters in common at the start, or all but the end. */
static const char *
nearest(char *const *name, int n, const char *wrong)
{
	const char *best = NULL;
	size_t most = 2;

	for (int i = 0; i < n; i++)
	{
		size_t same = 0;

		while (wrong[same] && wrong[same] == name[i][same])
			same++;
		if (same > most)
		{
			most = same;
			best = name[i];
		}
	}
	return best;
}

bool
recipe_find(const char *name, char *path, size_t size, TrainError *err)
{
	size_t length = strlen(name);
	char **known;
	const char *near;
	int n;
	bool ok = false;

	if (strchr(name, '/') || (length > 4 && strcmp(name + length - 4, ".ini") == 0))
	{
		if ((size_t) snprintf(path, size, "%s", name) >= size)
			return train_fail(err, "the path of the recipe is too long");
		return true;
	}
	known = recipe_names(&n, err);
	if (!known)
		return false;
	for (int i = 0; i < n && !ok; i++)
		ok = strcmp(known[i], name) == 0;
	near = nearest(known, n, name);
	if (!ok && near)
		train_fail(err, "there is no recipe \"%.100s\"; did you mean %s?", name, near);
	else if (!ok)
		train_fail(err,
				   "there is no recipe \"%.100s\": \"deephash-train recipes\" lists "
				   "those that are shipped, and a file of your own is named with a "
				   "slash or by .ini",
				   name);
	else
	{
		recipe_folder(path, size, err);
		length = strlen(path);
		ok = (size_t) snprintf(path + length, size - length, "/%s.ini", name) <
			 size - length;
		if (!ok)
			train_fail(err, "the path of the recipe is too long");
	}
	recipe_names_free(known, n);
	return ok;
}
