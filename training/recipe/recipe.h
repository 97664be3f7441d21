/*
 * recipe.h
 *	  Recipes: experiments as INI files.
 *
 *	  [recipe]
 *	  about = one line that says what it is for
 *
 *	  [optimiser]
 *	  rate = 0.4		; a comment
 *
 * Sections and keys are those of keys.h.  A recipe says what differs from the
 * defaults; what it says twice, wrongly or of an unknown key is an error that names
 * file and line.
 */
#ifndef TRAIN_RECIPE_H
#define TRAIN_RECIPE_H

#include "training/recipe/keys.h"

#include <stdio.h>

#define RECIPE_MAX_KEYS 160

typedef struct Recipe
{
	TrainOptions options;
	bool given[RECIPE_MAX_KEYS]; /* keys that were set, by place in the table */
	char about[256];
	char path[4096];		   /* of the file it was read from; "" : none */
	int line[RECIPE_MAX_KEYS]; /* of the file where the key was set, or 0 */
} Recipe;

/* The defaults. */
extern void recipe_start(Recipe *r);

/* Read a file over what r holds. */
extern bool recipe_read(Recipe *r, const char *path, TrainError *err);

/* The same from memory; name is what errors call it. */
extern bool recipe_read_text(Recipe *r, const char *name, const char *text, size_t size,
							 TrainError *err);

/* Set one key by the words of the command line: "section.name=value". */
extern bool recipe_assign(Recipe *r, const char *assignment, TrainError *err);
extern bool recipe_set(Recipe *r, int key, const char *value, TrainError *err);

/* Fill in what depends on other keys, once all have been set. */
extern void recipe_settle(Recipe *r);

/* Tell of each setting that was given and has no effect in a run with options o. */
extern void recipe_idle(const Recipe *r, const TrainOptions *o,
						void (*told)(const char *line));

/*
 * Where an error names a setting ("section.name") that the recipe's file sets, say the
 * line too.
 */
extern void recipe_explain(const Recipe *r, TrainError *err);
/* The same of one key, which the error does not name. */
extern void recipe_blame(const Recipe *r, int key, TrainError *err);

/*
 * The file of a recipe: the name itself where it has a slash or ends in .ini, else
 * NAME.ini among the shipped ones, which lie in ../share/deephash/recipes as seen from
 * the program, or in the folder that DEEPHASH_RECIPES names.
 */
extern bool recipe_find(const char *name, char *path, size_t size, TrainError *err);
extern bool recipe_folder(char *path, size_t size, TrainError *err);

/* The names of the shipped ones in order, malloc'ed with n of them; NULL: none. */
extern char **recipe_names(int *n, TrainError *err);
extern void recipe_names_free(char **name, int n);

/* The table of keys for people. */
extern void recipe_print_keys(FILE *to);

/* Help for the keys that have options of their own, as --help shows it. */
extern void recipe_print_options(FILE *to);

#endif
