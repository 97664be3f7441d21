/*
 * test_train_vae_run.c
 *	  Runs of autoencoders: learning without labels, the same for any threads and after
 *	  a stop, codes cut at their means.
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

#include "nn/model.h"
#include "training/data/synth.h"
#include "training/run/checkpoint.h"
#include "training/run/codes.h"
#include "training/run/export.h"
#include "training/run/judge.h"

#define SIDE 32

static char folder[] = "/tmp/deephash-autoencoder-XXXXXX";
static Dataset *ds;

static TrainOptions
options_of(const char *arch)
{
	TrainOptions o;

	train_options_default(&o);
	strcpy(o.data, "folder:made-up");
	strcpy(o.protocol, "none");
	strcpy(o.arch, arch);
	strcpy(o.loss, "vae");
	o.bits = 12;
	o.size = SIDE;
	o.epochs = 6;
	o.batch = 16;
	o.optim.kind = NN_ADAMW;
	o.optim.decay = 0;
	o.rate = 0.1;
	o.bias_rate = 1;
	o.average = AVERAGE_EMA;
	o.augment = (AugmentOptions){.flip = true};
	return o;
}

static Trainer *
start(const TrainOptions *o, NnPool *pool)
{
	TrainError err;
	Trainer *t = trainer_new(o, ds, pool, &err);

	if (!t)
		fail_msg("%s", err.text);
	return t;
}

static void
steps(Trainer *t, int64_t until)
{
	TrainError err;

	while (t->step < until)
		if (!trainer_step(t, &err))
			fail_msg("%s", err.text);
}

/* Each network begins by knowing nothing, and then learns something. */
static void
test_learning(void **state)
{
	static const char *const archs[] = {"vae", "cvae", "csvae", "vte"};
	NnPool *pool = nn_pool_new(2);

	(void) state;
	for (int i = 0; i < 4; i++)
	{
		TrainOptions o = options_of(archs[i]);
		Trainer *t;
		double first;

		/* all pictures in each step, so that one's loss compares with another's */
		o.batch = ds->n;
		o.rate = 0.02;
		o.epochs = 10;
		t = start(&o, pool);
		steps(t, 1);
		first = t->last_loss;
		/* a pixel that is as likely black as white costs log 2 */
		if (!(fabs(first / (SIDE * SIDE * log(2)) - 1) < 0.25))
			fail_msg("%s: %g at first", archs[i], first);
		steps(t, t->total_steps);
		if (!(t->last_loss < 0.998 * first))
			fail_msg("%s: %g at first, %g at last", archs[i], first, t->last_loss);
		trainer_free(t);
	}
	nn_pool_free(pool);
}

/* Sampled codes are drawn from (seed, step): neither threads nor a stop show. */
static void
test_same_for_all(void **state)
{
	NnPool *two = nn_pool_new(2);
	TrainOptions o = options_of("cvae");
	TrainOptions back;
	Trainer *whole, *alone, *rest;
	char path[128];
	TrainError err;

	(void) state;
	snprintf(path, sizeof(path), "%s/run", folder);
	whole = start(&o, two);
	alone = start(&o, NULL);
	steps(alone, 2);
	if (!checkpoint_write(path, alone, &err) || !checkpoint_options(path, &back, &err))
		fail_msg("%s", err.text);
	rest = start(&back, two);
	if (!checkpoint_read(path, rest, &err))
		fail_msg("%s", err.text);
	steps(whole, 4);
	steps(alone, 4);
	steps(rest, 4);
	assert_true(whole->last_loss == alone->last_loss);
	for (int p = 0; p < whole->graph->nparams; p++)
	{
		size_t bytes = nn_shape_size(&whole->graph->param[p].shape) * sizeof(float);

		assert_memory_equal(whole->graph->param[p].data, alone->graph->param[p].data,
							bytes);
		assert_memory_equal(whole->graph->param[p].data, rest->graph->param[p].data,
							bytes);
	}
	trainer_free(whole);
	trainer_free(alone);
	trainer_free(rest);
	nn_pool_free(two);
}

/* The model is the encoder alone, with the means of its codes for thresholds. */
static void
test_export(void **state)
{
	TrainOptions o = options_of("cvae");
	Trainer *t = start(&o, NULL);
	NnGraph *folded;
	NnModel *model;
	NnError trouble;
	TrainError err;
	float *thresholds;
	float *logits;
	char path[128];

	(void) state;
	steps(t, 30);
	folded = export_graph(t, &err);
	if (!folded || !judge_thresholds(&o, folded, ds, 2, &thresholds, &err))
		fail_msg("%s", err.text);
	assert_int_equal(nn_graph_outputs(folded), 1);
	for (int p = 0; p < folded->nparams; p++)
		assert_null(strstr(folded->param[p].name, "decoder"));
	snprintf(path, sizeof(path), "%s/model", folder);
	if (!export_model(path, t, folded, thresholds, NULL, &err))
		fail_msg("%s", err.text);
	model = nn_model_open(path, &trouble);
	if (!model)
		fail_msg("%s", trouble.text);
	logits = codes_device_logits(&model->graph, ds, 1, &err);
	assert_non_null(logits);
	for (int k = 0; k < o.bits; k++)
	{
		double mean = 0;

		for (int i = 0; i < ds->n; i++)
			mean += logits[i * o.bits + k] / ds->n;
		assert_true(fabs(mean - thresholds[k]) < 1e-5 * (1 + fabs(mean)));
		assert_true(model->thresholds[k] == thresholds[k]);
	}
	free(thresholds);
	/* a code with a sign of its own has none */
	strcpy(o.loss, "orthohash");
	assert_true(judge_thresholds(&o, folded, ds, 1, &thresholds, &err));
	assert_null(thresholds);
	free(logits);
	nn_model_close(model);
	nn_graph_free(folded);
	trainer_free(t);
}

/* A loss that does not fit the network is refused with both names. */
static void
test_mismatch(void **state)
{
	TrainOptions o = options_of("cvae");
	TrainError err;

	(void) state;
	strcpy(o.loss, "csq");
	assert_null(trainer_new(&o, ds, NULL, &err));
	assert_non_null(strstr(err.text, "network.arch = cvae and loss.kind = csq"));
	o = options_of("resnet18 stem=cifar");
	assert_null(trainer_new(&o, ds, NULL, &err));
	assert_non_null(strstr(err.text, "loss.kind = vae"));
	/* pictures can be mixed without labels, but not for every loss */
	o = options_of("cvae");
	o.augment.mixup = 0.5;
	assert_true(train_options_check(&o, &err));
}

static int
draw_pictures(void **state)
{
	static const ImagePreprocess pre = {
		.width = SIDE, .height = SIDE, .resize = SIDE, .filter = IMAGE_AREA};
	SynthOptions o = synth_defaults;
	char what[160];
	char pictures[128];
	TrainError err;

	(void) state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(pictures, sizeof(pictures), "%s/pictures", folder);
	snprintf(what, sizeof(what), "folder:%s", pictures);
	o.classes = 4;
	o.per_class = 20;
	o.size = SIDE;
	o.threads = 1;
	if (!synth_write(pictures, &o, &err))
		return -1;
	ds = dataset_open(what, &pre, 1, NULL, &err);
	return ds ? 0 : -1;
}

static int
remove_pictures(void **state)
{
	char command[128];

	(void) state;
	dataset_free(ds);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_learning),
		cmocka_unit_test(test_same_for_all),
		cmocka_unit_test(test_export),
		cmocka_unit_test(test_mismatch),
	};

	return cmocka_run_group_tests(tests, draw_pictures, remove_pictures);
}
