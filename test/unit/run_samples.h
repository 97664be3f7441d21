/*
 * run_samples.h
 *	  Runs on small made-up pictures.
 */
#ifndef RUN_SAMPLES_H
#define RUN_SAMPLES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "training/run/trainer.h"

static char folder[] = "/tmp/deephash-train-XXXXXX";

/* n pictures of `classes` classes: a class is a pattern of stripes, under noise. */
static inline Dataset *
stripes(int n, int side, int classes, uint64_t seed)
{
	Dataset *ds = calloc(1, sizeof(*ds));
	Rng rng;

	rng_seed(&rng, seed, 1);
	ds->n = n;
	ds->width = ds->height = side;
	ds->rgb = malloc((size_t) n * side * side * 3);
	ds->nclasses = classes;
	ds->label_words = 1;
	ds->labels = calloc(n, sizeof(uint64_t));
	ds->class_name = calloc(classes, sizeof(char *));
	ds->source = calloc(n, sizeof(char *));
	for (int c = 0; c < classes; c++)
		ds->class_name[c] = strdup("stripes");
	for (int i = 0; i < n; i++)
	{
		int class = i % classes;
		double angle = M_PI * class / classes;
		double phase = 2 * M_PI * rng_uniform(&rng);

		ds->source[i] = strdup("made up");
		ds->labels[i] = UINT64_C(1) << class;
		for (int y = 0; y < side; y++)
			for (int x = 0; x < side; x++)
				for (int c = 0; c < 3; c++)
				{
					double v = sin(0.9 * (x * cos(angle) + y * sin(angle)) + phase);

					ds->rgb[(((size_t) i * side + y) * side + x) * 3 + c] =
						(uint8_t) (128 + 60 * v + 50 * (rng_uniform(&rng) - 0.5));
				}
	}
	return ds;
}

static inline TrainOptions
small_options(void)
{
	TrainOptions o;

	train_options_default(&o);
	strcpy(o.data, "folder:made-up");
	strcpy(o.protocol, "none");
	o.bits = 16;
	o.size = 24;
	o.channels[0] = 8;
	o.channels[1] = o.channels[2] = 16;
	o.epochs = 40;
	o.batch = 32;
	o.augment = (AugmentOptions){0};
	return o;
}

static inline Trainer *
start(const TrainOptions *o, const Dataset *ds, NnPool *pool)
{
	TrainError err;
	Trainer *t = trainer_new(o, ds, pool, &err);

	if (!t)
		fail_msg("%s", err.text);
	return t;
}

static inline void
steps(Trainer *t, int64_t until)
{
	TrainError err;

	while (t->step < until)
		if (!trainer_step(t, &err))
			fail_msg("%s", err.text);
}

static inline void
assert_same(const Trainer *a, const Trainer *b)
{
	assert_int_equal(a->step, b->step);
	for (int p = 0; p < a->graph->nparams; p++)
		assert_memory_equal(a->graph->param[p].data, b->graph->param[p].data,
							nn_shape_size(&a->graph->param[p].shape) * sizeof(float));
}

static const char *
in_folder(const char *name)
{
	static char path[2][256];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
	return path[turn];
}

static inline int
make_folder(void **state)
{
	(void) state;
	return mkdtemp(folder) ? 0 : -1;
}

static inline int
remove_folder(void **state)
{
	char command[300];

	(void) state;
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

#endif
