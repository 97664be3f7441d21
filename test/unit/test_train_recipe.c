/*
 * test_train_recipe.c
 *	  Recipes: the table of settings, what files may say, what is told of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "training/recipe/recipe.h"
#include "training/run/network.h"

static char file_name[] = "/tmp/deephash-recipe-XXXXXX";

static void
put_file(const char *text, size_t size)
{
	FILE *f = fopen(file_name, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
}

/* Read a text as a recipe; NULL if it is good, else the error. */
static const char *
read_text(Recipe *r, const char *text, size_t size)
{
	static TrainError err;

	put_file(text, size);
	recipe_start(r);
	return recipe_read(r, file_name, &err) ? NULL : err.text;
}

static void
good(Recipe *r, const char *text)
{
	const char *why = read_text(r, text, strlen(text));

	if (why)
		fail_msg("%s\n%s", text, why);
}

/* The error must name the line and hold the words. */
static void
bad(const char *text, int line, const char *words)
{
	Recipe r;
	const char *why = read_text(&r, text, strlen(text));
	char place[64];

	if (!why)
		fail_msg("accepted: %s", text);
	snprintf(place, sizeof(place), "%s:%d: ", file_name, line);
	if (strncmp(why, place, strlen(place)) != 0 || !strstr(why, words))
		fail_msg("\"%s\" says \"%s\", not line %d and \"%s\"", text, why, line, words);
}

/* ------------------------------------------------------------------ the table */

static void
test_table(void **state)
{
	TrainOptions o;
	TrainError err;

	(void) state;
	assert_true(recipe_nkeys <= RECIPE_MAX_KEYS);
	train_options_default(&o);
	for (int i = 0; i < recipe_nkeys; i++)
	{
		const Key *key = &recipe_keys[i];
		char value[KEY_TEXT_SIZE];
		char again[KEY_TEXT_SIZE];

		assert_int_equal(key_find(key->section, key->name), i);
		assert_non_null(key->about);
		assert_true(key->standard || key->depends);
		/* a default is allowed, and reads back as it was written */
		if (key->standard && !key_set(key, &o, key->standard, &err))
			fail_msg("%s.%s: %s", key->section, key->name, err.text);
		key_get(key, &o, value, sizeof(value));
		if (!key_set(key, &o, value, &err))
			fail_msg("%s.%s=%s: %s", key->section, key->name, value, err.text);
		assert_string_equal(key_get(key, &o, again, sizeof(again)), value);
		/* what it wants is a setting */
		for (const char *at = key->wants; at;
			 at = strchr(at, '|') ? strchr(at, '|') + 1 : 0)
		{
			char section[64], name[64];

			assert_int_equal(sscanf(at, "%63[^.].%63[^=|]", section, name), 2);
			assert_true(key_find(section, name) >= 0);
		}
		/* no two members overlap */
		for (int k = 0; k < i; k++)
			assert_true(recipe_keys[k].at + recipe_keys[k].size <= key->at ||
						key->at + key->size <= recipe_keys[k].at);
		if (key->option)
			assert_int_equal(key_find_option(key->option), i);
		if (key->type != KEY_TEXT)
		{
			assert_false(key_set(key, &o, "", &err));
			assert_false(key_set(key, &o, "storks", &err));
			assert_false(key_set(key, &o, "1e99", &err));
			assert_false(key_set(key, &o, "-1e99", &err));
			assert_false(key_set(key, &o, "nan", &err));
		}
	}
}

/* The values, number by number, that the program had before there were recipes. */
static void
test_defaults(void **state)
{
	TrainOptions o;

	(void) state;
	train_options_default(&o);
	assert_string_equal(o.loss, "orthohash");
	assert_true(o.loss_options.scale == 8 && o.loss_options.margin == 0.2 &&
				o.loss_options.smoothing == 0.05);
	assert_true(o.bits == 64 && o.optim.kind == NN_SGD && o.optim.momentum == 0.85 &&
				o.optim.beta1 == 0.9 && o.optim.beta2 == 0.999 && o.optim.eps == 1e-8 &&
				o.optim.decay == 2e-3);
	assert_true(o.rate == 0.4 && o.bias_rate == 64 && o.schedule.start == 0.2 &&
				o.schedule.warm == 0.23 && o.schedule.end == 0.07);
	assert_true(o.average == AVERAGE_LOOKAHEAD && o.norm_momentum == 0.4);
	assert_true(o.augment.translate == 2 && o.augment.flip && o.augment.cutout == 0);
	assert_true(o.holdout == 0.1 && o.seed == 1 && o.epochs == 0 && o.batch == 0 &&
				o.channels[0] == 0 && o.minutes == 0 && o.size == 0);
}

/* ------------------------------------------------------------------- the files */

static void
test_good_files(void **state)
{
	Recipe r;

	(void) state;
	good(&r, "");
	good(&r, "; nothing but a comment\n# and another\n\n");
	good(&r,
		 "\xef\xbb\xbf[recipe]\r\nabout = one two\r\n[optimiser]\r\nrate = 0.25 ; x\r\n"
		 "  kind = AdamW\n\t[train]\nepochs=7\nseed = 18446744073709551615");
	assert_string_equal(r.about, "one two");
	assert_true(r.options.rate == 0.25 && r.options.optim.kind == NN_ADAMW &&
				r.options.epochs == 7 && r.options.seed == UINT64_MAX);
	assert_true(r.given[key_find("train", "epochs")]);
	assert_false(r.given[key_find("train", "minutes")]);
	assert_int_equal(r.line[key_find("train", "epochs")], 7);
	/* a name written otherwise is the name */
	good(&r, "[loss]\nkind = OrthoHash\n[data]\nprotocol = pfull-r\n");
	assert_string_equal(r.options.loss, "orthohash");
	assert_string_equal(r.options.protocol, "Pfull-R");
	recipe_settle(&r);
	/* a section may be opened again */
	good(&r, "[train]\nepochs = 3\n[augment]\nflip = no\n[train]\nbatch = 8\n");
	assert_true(r.options.batch == 8 && !r.options.augment.flip);
	/* the loss's numbers follow it unless they are given */
	good(&r, "[loss]\nkind = csq\nlambda = 0.5\n");
	recipe_settle(&r);
	assert_true(r.options.loss_options.lambda == 0.5 &&
				r.options.loss_options.scale == 0);
	/* and so do the rates follow the optimiser */
	good(&r, "[optimiser]\nkind = adamw\n");
	recipe_settle(&r);
	assert_true(r.options.rate == 1e-3 && r.options.bias_rate == 1);
	good(&r, "[optimiser]\nkind = adamw\nrate = 0.4\nbias-rate = 3\n");
	recipe_settle(&r);
	assert_true(r.options.rate == 0.4 && r.options.bias_rate == 3);
	good(&r, "");
	recipe_settle(&r);
	assert_true(r.options.rate == 0.4 && r.options.bias_rate == 64);
}

static void
test_bad_files(void **state)
{
	char text[5000];

	(void) state;
	bad("rate = 1\n", 1, "before the first [section]");
	bad("\n[optimiser]\nrate = fast\n", 3, "a number from 1e-12 to 1e+06");
	bad("[optimiser]\nrate =\n", 2, "a number from");
	bad("[optimiser]\nrate = 0\n", 2, "a number from");
	bad("[optimiser]\nrate = 0.1 0.2\n", 2, "a number from");
	bad("[optimiser]\nrat = 1\n", 2, "did you mean rate in [optimiser]?");
	bad("[loss]\nrate = 1\n", 2, "did you mean rate in [optimiser]?");
	bad("[optimizer]\nmomentum = 1\n", 2, "did you mean momentum in [optimiser]?");
	bad("[optimiser]\nkind = admw\n", 2, "did you mean adamw?");
	bad("[optimiser]\nxyzzyplugh = 1\n", 2, "no key xyzzyplugh in section [optimiser]");
	bad("[cooking]\nxyzzyplugh = 1\n", 2, "there is no section [cooking]");
	bad("[train]\nepochs = 1\nepochs = 1\n", 3, "given twice, first in line 2");
	bad("[recipe]\nabout = a\nabout = b\n", 3, "given twice");
	bad("[train]\nepochs = 2.5\n", 2, "a whole number from 1 to 100000, or auto");
	bad("[train]\nepochs = 0x10q\n", 2, "whole number");
	bad("[train]\nseed = -1\n", 2, "whole number");
	bad("[augment]\nflip = perhaps\n", 2, "yes or no");
	bad("[network]\nchannels = 1,2\n", 2, "three numbers");
	bad("[network]\nchannels = 0,2,3\n", 2, "three numbers");
	bad("[network]\narch = resnt18 stem=cifar\n", 2, "did you mean resnet18?");
	bad("[network]\narch = resnet18 stem=cifra\n", 2, "stem");
	bad("[train\nepochs = 1\n", 1, "expected \"[section]\" or \"key = value\"");
	bad("[train]\nepochs\n", 2, "expected \"[section]\" or \"key = value\"");
	bad("[train]\nepochs = 1\x01\n", 2, "control character");
	/* a line that continues another is a line of its own */
	bad("[train]\nepochs = 1\n 2\n", 3, "expected");
	memset(text, 'x', sizeof(text));
	memcpy(text, "[train]\nepochs = ", 17);
	text[sizeof(text) - 1] = '\0';
	bad(text, 2, "too long");
	memcpy(text, "[train]\n[", 9);
	text[4000] = ']';
	bad(text, 2, "too long");
}

static void
test_hostile_files(void **state)
{
	static const char seed_text[] =
		"[recipe]\nabout = x\n[optimiser]\nkind = sgd\nrate = 0.1\n[train]\nepochs=3\n";
	char *big = malloc(100000);
	char text[sizeof(seed_text) + 8];
	Recipe r;
	TrainError err;
	Rng rng;

	(void) state;
	recipe_start(&r);
	assert_false(recipe_read(&r, "/nonexistent/x.ini", &err));
	assert_non_null(strstr(err.text, "/nonexistent/x.ini"));
	assert_false(recipe_read(&r, "/tmp", &err));
	assert_false(recipe_read(&r, "/dev/zero", &err));
	memset(big, '\n', 100000);
	assert_non_null(strstr(read_text(&r, big, 100000), "limit"));
	free(big);
	assert_non_null(strstr(read_text(&r, "[train]\nepochs\0 = 1\n", 20), ":2:"));
	/* bytes changed, cut and put in at random: an error or a recipe, never a crash */
	rng_seed(&rng, 3, 1);
	for (int i = 0; i < 4000; i++)
	{
		size_t n = sizeof(seed_text) - 1;

		memcpy(text, seed_text, n);
		for (uint32_t k = 1 + rng_below(&rng, 4); k > 0; k--)
		{
			size_t at = rng_below(&rng, (uint32_t) n);

			switch (rng_below(&rng, 4))
			{
				case 0:
					text[at] = (char) rng_next(&rng);
					break;
				case 1:
					text[at] = "[]=;\n\r\t :.\"#\0x9-"[rng_below(&rng, 17)];
					break;
				case 2:
					memmove(text + at, text + at + 1, n - at - 1);
					n--;
					break;
				default:
					text[at] = text[rng_below(&rng, (uint32_t) n)];
			}
		}
		recipe_start(&r);
		put_file(text, n);
		if (recipe_read(&r, file_name, &err))
			recipe_settle(&r);
		else
			assert_non_null(strstr(err.text, file_name));
	}
}

static void
test_assignments(void **state)
{
	Recipe r;
	TrainError err;

	(void) state;
	recipe_start(&r);
	assert_true(recipe_assign(&r, "optimiser.rate=0.125", &err));
	assert_true(r.options.rate == 0.125);
	assert_true(recipe_assign(&r, "data.source=folder:/a=b.c", &err));
	assert_string_equal(r.options.data, "folder:/a=b.c");
	assert_false(recipe_assign(&r, "optimiser.rate", &err));
	assert_false(recipe_assign(&r, "rate=1", &err));
	assert_false(recipe_assign(&r, ".rate=1", &err));
	assert_false(recipe_assign(&r, "optimiser.=1", &err));
	assert_false(recipe_assign(&r, "optimiser.rats=1", &err));
	assert_non_null(strstr(err.text, "did you mean rate"));
	assert_false(recipe_assign(&r, "optimiser.rate=-1", &err));
	assert_non_null(strstr(err.text, "optimiser.rate cannot be \"-1\""));
}

/* Errors that come later still tell the line. */
static void
test_explanations(void **state)
{
	Recipe r;
	TrainError err = {"data.resize is 20, but must be data.size, 32, or more"};
	char want[100];

	(void) state;
	good(&r, "[data]\nsize = 32\n\nresize = 30\n[train]\nbatch = 8\n");
	recipe_explain(&r, &err);
	snprintf(want, sizeof(want), "or more (data.resize is set in %s:4)", file_name);
	assert_non_null(strstr(err.text, want));
	strcpy(err.text, "lower train.batch-size or data.sizes");
	recipe_explain(&r, &err);
	assert_string_equal(err.text, "lower train.batch-size or data.sizes");
	strcpy(err.text, "lower train.batch");
	recipe_explain(&r, &err);
	snprintf(want, sizeof(want), "lower train.batch (train.batch is set in %s:6)",
			 file_name);
	assert_string_equal(err.text, want);
	/* what the command line says over the file is not in the file */
	assert_true(recipe_assign(&r, "train.batch=4", &err));
	strcpy(err.text, "lower train.batch");
	recipe_explain(&r, &err);
	assert_string_equal(err.text, "lower train.batch");
}

static char told[4096];

static void
note(const char *line)
{
	strcat(strcat(told, line), "\n");
}

/* Settings that other settings make useless are told, where they are set too. */
static void
test_idle(void **state)
{
	Recipe r;
	TrainError err;
	char want[200];

	(void) state;
	good(&r, "[optimiser]\nkind = adamw\nmomentum = 0.9\nbeta1 = 0.8\n"
			 "[augment]\ncrop = 0.5\ncrop-ratio = 2\ntranslate = 0\n");
	recipe_idle(&r, &r.options, note);
	snprintf(want, sizeof(want),
			 "note: optimiser.momentum has no effect without optimiser.kind=sgd "
			 "(optimiser.momentum is set in %s:3)\n",
			 file_name);
	assert_string_equal(told, want);
	told[0] = '\0';
	assert_true(recipe_assign(&r, "optimiser.kind=sgd", &err));
	assert_true(recipe_assign(&r, "augment.crop=0", &err));
	assert_true(recipe_assign(&r, "augment.jitter-chance=0.5", &err));
	assert_true(recipe_assign(&r, "network.arch=vit-ti patch=14", &err));
	assert_true(recipe_assign(&r, "network.channels=8,8,8", &err));
	recipe_idle(&r, &r.options, note);
	assert_null(strstr(told, "momentum"));
	assert_non_null(strstr(told, "network.channels has no effect without "
								 "network.arch=speednet\n"));
	assert_non_null(strstr(told, "beta1 has no effect without optimiser.kind=adamw ("));
	assert_non_null(strstr(told, "crop-ratio has no effect without augment.crop ("));
	assert_non_null(strstr(told, "jitter-chance has no effect without "
								 "augment.brightness or augment.contrast or "));
	told[0] = '\0';
	assert_true(recipe_assign(&r, "network.arch=speednet width1=8", &err));
	assert_true(recipe_assign(&r, "augment.hue=0.1", &err));
	recipe_idle(&r, &r.options, note);
	assert_null(strstr(told, "channels"));
	assert_null(strstr(told, "jitter-chance"));
}

/* Layers nearer to the pixels learn more slowly. */
static void
test_layer_rates(void **state)
{
	static const struct
	{
		const char *param;
		double rate;
	} want[] = {
		{"hash.weight", 1},
		{"blocks.1.attn.qkv.weight", 0.5},
		{"blocks.0.mlp.fc2.bias", 0.25},
		{"patch_embed.proj.weight", 0.125},
		{"pos_embed", 0.125},
	};
	Recipe r;

	(void) state;
	good(&r, "[network]\narch = vit-ti depth=2\n[optimiser]\nlayer-decay = 0.5\n");
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		assert_true(network_rate_of(&r.options, want[i].param) == want[i].rate);
	good(&r, "[network]\narch = vit-ti depth=2\n");
	assert_true(network_rate_of(&r.options, "pos_embed") == 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),		  cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_good_files),	  cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_hostile_files), cmocka_unit_test(test_assignments),
		cmocka_unit_test(test_explanations),  cmocka_unit_test(test_idle),
		cmocka_unit_test(test_layer_rates),
	};
	int fd = mkstemp(file_name);
	int failed;

	if (fd < 0)
		return 1;
	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(file_name);
	return failed;
}
