/*
 * test_train_shipped.c
 *	  The recipes that are shipped: read, without a setting in vain, and trained.
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

#include "training/arch/arch.h"
#include "training/data/synth.h"
#include "training/recipe/recipe.h"
#include "training/request.h"
#include "training/run/network.h"
#include "training/run/plan.h"
#include "training/run/trainer.h"

static char told[4096];

static void
note(const char *line)
{
	strcat(strcat(told, line), "\n");
}

static void
test_shipped(void **state)
{
	int n;
	TrainError err;
	char **name;

	(void) state;
	setenv("DEEPHASH_RECIPES", "training/recipes", 1);
	name = recipe_names(&n, &err);
	if (!name)
		fail_msg("%s", err.text);
	assert_true(n > 0);
	for (int i = 0; i < n; i++)
	{
		char path[4096];
		Recipe r;

		recipe_start(&r);
		if (!recipe_find(name[i], path, sizeof(path), &err) ||
			!recipe_read(&r, path, &err))
			fail_msg("%s", err.text);
		if (strlen(r.about) < 10)
			fail_msg("%s says nothing about itself", path);
		/* and nothing in it is in vain */
		told[0] = '\0';
		strcpy(r.options.protocol, "split");
		recipe_settle(&r);
		recipe_idle(&r, &r.options, note);
		assert_string_equal(told, "");
	}
	recipe_names_free(name, n);
	{
		char path[4096];

		assert_false(recipe_find("cpu-30mim", path, sizeof(path), &err));
		assert_non_null(strstr(err.text, "did you mean cpu-30min?"));
		assert_false(recipe_find("zzz", path, sizeof(path), &err));
		assert_true(recipe_find("./zzz", path, sizeof(path), &err));
	}
}

/* The recipe's network as small as its parameters go. */
static void
make_small(Recipe *r)
{
	static const char *const sizes[] = {"depth", "widen", "size"};
	char name[64];
	char label[256];
	ArchOptions o;
	const Arch *arch;
	TrainError err;

	snprintf(name, sizeof(name), "%.*s", (int) strcspn(r->options.arch, " "),
			 r->options.arch);
	arch = arch_find(name);
	assert_non_null(arch);
	arch_defaults(arch, &o);
	assert_non_null(arch_from_label(r->options.arch, &o, &err));
	for (int i = 0; arch_parameter(arch, i); i++)
		for (int k = 0; k < 3; k++)
			if (strcmp(arch_parameter(arch, i)->name, sizes[k]) == 0)
				o.value[i] = arch_parameter(arch, i)->low;
	arch_label(arch, &o, label, sizeof(label));
	assert_true(recipe_set(r, key_find("network", "arch"), label, &err));
}

static void
quiet(const char *line)
{
	(void) line;
}

/* Two steps of a recipe on a few small pictures. */
static void
train_shipped(const char *path, const char *data)
{
	static const char *const small[] = {
		"data.size=32",		 "data.resize=auto", "train.batch=4",
		"train.epochs=1",	 "network.bits=8",	 "network.channels=8,8,8",
		"data.workers=auto", "train.device=cpu", "train.precision=float32"};
	Recipe r;
	TrainError err;
	ImagePreprocess pre;
	NnPool *pool = nn_pool_new(2);
	Dataset *ds;
	Trainer *t;

	recipe_start(&r);
	assert_true(recipe_read(&r, path, &err));
	make_small(&r);
	for (size_t i = 0; i < sizeof(small) / sizeof(small[0]); i++)
		if (!recipe_assign(&r, small[i], &err))
			fail_msg("%s: %s", path, err.text);
	snprintf(r.options.data, sizeof(r.options.data), "%s", data);
	strcpy(r.options.protocol, "none");
	recipe_settle(&r);
	pre = network_stored(&r.options);
	ds = dataset_open(data, &pre, 2, NULL, &err);
	if (!ds || !plan_complete(&r.options, ds, pool, quiet, &err))
		fail_msg("%s: %s", path, err.text);
	t = trainer_new(&r.options, ds, pool, &err);
	if (!t)
		fail_msg("%s: %s", path, err.text);
	for (int i = 0; i < 2; i++)
		if (!trainer_step(t, &err))
			fail_msg("%s: %s", path, err.text);
	assert_true(isfinite(t->last_loss));
	trainer_free(t);
	dataset_free(ds);
	nn_pool_free(pool);
}

static void
test_shipped_train(void **state)
{
	char folder[] = "/tmp/deephash-recipes-XXXXXX";
	char data[64];
	char command[64];
	SynthOptions o = synth_defaults;
	TrainError err;
	char **name;
	int n;

	(void) state;
	assert_non_null(mkdtemp(folder));
	o.classes = 2;
	o.per_class = 6;
	o.size = 40;
	o.threads = 1;
	assert_true(synth_write(folder, &o, &err));
	snprintf(data, sizeof(data), "folder:%s", folder);
	name = recipe_names(&n, &err);
	for (int i = 0; i < n; i++)
	{
		char path[4096];

		assert_true(recipe_find(name[i], path, sizeof(path), &err));
		train_shipped(path, data);
	}
	recipe_names_free(name, n);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	assert_int_equal(system(command), 0);
}

/* The options of a command line, as the run would begin with them. */
static char *
settled(char **argv)
{
	Request r;
	int argc = 0;

	while (argv[argc])
		argc++;
	assert_int_equal(request_parse(&r, argc, argv), -1);
	return train_options_write(&r.options);
}

/* cpu-30min says what the program does without a recipe. */
static void
test_cpu_30min_is_the_default(void **state)
{
	char *plain[] = {"train", "--data",	   "folder:x", "--out",
					 "y",	  "--minutes", "30",	   NULL};
	char *recipe[] = {"train", "--data",   "folder:x",	"--out",
					  "y",	   "--recipe", "cpu-30min", NULL};
	char *over[] = {"train",	"--rate", "0.2", "--recipe", "cpu-30min",	 "--data",
					"folder:x", "--out",  "y",	 "--set",	 "train.seed=5", NULL};
	char *a = settled(plain);
	char *b = settled(recipe);
	char *c = settled(over);

	(void) state;
	assert_string_equal(a, b);
	assert_non_null(strstr(c, "\"optimiser.rate\":0.2"));
	assert_non_null(strstr(c, "\"train.seed\":\"5\""));
	assert_non_null(strstr(c, "\"train.minutes\":30"));
	free(a);
	free(b);
	free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shipped),
		cmocka_unit_test(test_shipped_train),
		cmocka_unit_test(test_cpu_30min_is_the_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
