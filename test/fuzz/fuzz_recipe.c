/*
 * fuzz_recipe.c
 *	  libFuzzer target: any bytes as a recipe, then as a setting of the command line.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "training/recipe/recipe.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read must be allowed, and read back from its own text as it is. */
static void
check_options(const Recipe *r)
{
	for (int i = 0; i < recipe_nkeys; i++)
	{
		TrainOptions copy = r->options;
		char text[KEY_TEXT_SIZE];
		char again[KEY_TEXT_SIZE];
		TrainError err;

		if (!r->given[i])
			continue;
		key_get(&recipe_keys[i], &r->options, text, sizeof(text));
		if (!key_set(&recipe_keys[i], &copy, text, &err))
			abort();
		if (strcmp(key_get(&recipe_keys[i], &copy, again, sizeof(again)), text) != 0)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static Recipe r;
	TrainError err = {""};
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	recipe_start(&r);
	if (recipe_read_text(&r, "fuzz.ini", text, size, &err))
	{
		check_options(&r);
		recipe_settle(&r);
	}
	else if (strncmp(err.text, "fuzz.ini:", 9) != 0)
		abort();
	recipe_start(&r);
	if (recipe_assign(&r, text, &err))
		check_options(&r);
	free(text);
	return 0;
}
