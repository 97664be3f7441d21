/*
 * test_train_run.c
 *	  Whole runs on small made-up pictures: gradients through a network, learning,
 *	  determinism, options, export.
 */
#include "run_samples.h"

#include "nn/device.h"
#include "nn/model.h"
#include "training/run/codefile.h"
#include "training/run/codes.h"
#include "training/run/export.h"
#include "training/run/judge.h"
#include "training/run/plan.h"
#include "training/tape/tape.h"

/* Threads for pictures: those asked for, or as many as the device leaves idle. */
static void
test_workers(void **state)
{
	NnLearnerDevice elsewhere = learner_cpu;

	(void) state;
	assert_int_equal(trainer_workers(0, &learner_cpu, 4), 0);
	assert_int_equal(trainer_workers(3, &learner_cpu, 4), 3);
	assert_int_equal(trainer_workers(0, &elsewhere, 4), 4);
	assert_int_equal(trainer_workers(1, &elsewhere, 4), 1);
}

/* ---------------------------------------------------------- pictures sent ahead */

static struct
{
	const uint8_t *images;
	int n, staged, forward;
	uint8_t first;
} ahead;

static bool
stage(NnLearner *learner, const uint8_t *images, int n, NnError *err)
{
	(void) learner;
	(void) err;
	ahead.images = images;
	ahead.n = n;
	ahead.first = images[0];
	ahead.staged++;
	return true;
}

/* Is it given what was sent ahead of it? */
static bool
forward_staged(NnLearner *learner, const NnBatch *batch, bool train,
			   const float *out[NN_MAX_OUTPUTS], NnError *err)
{
	if (ahead.forward++ > 0 && (batch->images != ahead.images || batch->n != ahead.n ||
								batch->images[0] != ahead.first))
		return nn_fail(err, "pass %d gets other pictures", ahead.forward);
	return learner_cpu.forward(learner, batch, train, out, err);
}

/* A device that takes pictures ahead learns the same, with threads for them and without.
 */
static void
test_pictures_ahead(void **state)
{
	NnLearnerDevice device = learner_cpu;
	Dataset *ds = stripes(70, 24, 2, 9);
	NnPool *pool = nn_pool_new(2);

	(void) state;
	device.stage = stage;
	device.forward = forward_staged;
	for (int workers = 0; workers < 2; workers++)
		for (int parts = 1; parts <= 3; parts += 2)
		{
			TrainOptions o = small_options();
			Trainer *plain, *sent;

			o.epochs = 2;
			o.workers = workers;
			o.accumulate = parts;
			plain = start(&o, ds, pool);
			sent = start(&o, ds, pool);
			sent->device = &device;
			memset(&ahead, 0, sizeof(ahead));
			steps(plain, plain->total_steps);
			steps(sent, sent->total_steps);
			assert_same(plain, sent);
			/* all but the very first part of the run */
			assert_int_equal(ahead.staged, sent->total_steps * parts - 1);
			assert_int_equal(ahead.forward, sent->total_steps * parts);
			trainer_free(plain);
			trainer_free(sent);
		}
	dataset_free(ds);
	nn_pool_free(pool);
}

/* ------------------------------------------------- gradients through a network */

/*
 * A network with a branch, every value with its own gradient: the tape's sums over
 * slices, groups and segments against differences of the loss.
 */
static void
test_tape_gradients(void **state)
{
	static const float mean[3] = {0.5f, 0.5f, 0.5f};
	static const float std[3] = {0.25f, 0.25f, 0.25f};
	NnGraph *g = nn_graph_new();
	NnPool *pool = nn_pool_new(2);
	Dataset *ds = stripes(19, 8, 3, 5);
	TrainError err;
	NnError trouble;
	Rng rng;
	Tape *tape;
	float weight[19 * 6];
	int x, y;

	(void) state;
	x = nn_input(g, 8, 8, mean, std);
	x = nn_conv2d(g, x, "a", 5, 3, 3, 1, 1, 1, false, NN_IDENTITY);
	x = nn_batchnorm(g, x, "an", 1e-5f);
	x = nn_activation(g, x, NN_GELU);
	y = nn_conv2d(g, x, "b", 5, 3, 3, 1, 1, 1, true, NN_IDENTITY);
	y = nn_batchnorm(g, y, "bn", 1e-5f);
	x = nn_add(g, x, y);
	x = nn_conv2d(g, x, "c", 4, 3, 3, 2, 1, 1, true, NN_IDENTITY);
	x = nn_activation(g, x, NN_SILU);
	x = nn_global_avgpool(g, x);
	x = nn_linear(g, x, "d", 6, false, NN_IDENTITY);
	nn_batchnorm(g, x, "dn", 1e-3f);
	if (!nn_graph_ok(g, &trouble))
		fail_msg("%s", trouble.text);
	rng_seed(&rng, 8, 1);
	for (int p = 0; p < g->nparams; p++)
		for (size_t i = 0; g->param[p].trainable && i < nn_shape_size(&g->param[p].shape);
			 i++)
			g->param[p].data[i] =
				(float) (rng_uniform(&rng) - 0.5) + (g->param[p].shape.ndim == 1 ? 1 : 0);
	for (int i = 0; i < 19 * 6; i++)
		weight[i] = (float) (rng_uniform(&rng) - 0.5);
	tape = tape_new(g, 19, pool, true, &err);
	assert_non_null(tape);
	tape_forward(tape, ds->rgb, 19, true, 0);
	tape_backward(tape, weight);
	for (int p = 0; p < g->nparams; p++)
	{
		size_t size = nn_shape_size(&g->param[p].shape);
		const float *grad = tape_gradient(tape, p);

		for (size_t i = 0; grad && i<size; i += size> 40 ? 7 : 1)
		{
			float keep = g->param[p].data[i];
			double loss[2] = {0};
			double numeric;

			for (int side = 0; side < 2; side++)
			{
				const float *u;

				g->param[p].data[i] = keep + (side ? -2e-3f : 2e-3f);
				u = tape_forward(tape, ds->rgb, 19, true, 0);
				for (int k = 0; k < 19 * 6; k++)
					loss[side] += (double) weight[k] * u[k];
			}
			g->param[p].data[i] = keep;
			numeric = (loss[0] - loss[1]) / 4e-3;
			if (!(fabs(numeric - grad[i]) <= 1e-2 * fabs(numeric) + 5e-3))
				fail_msg("%s[%zu]: analytic %g, numeric %g", g->param[p].name, i, grad[i],
						 numeric);
		}
	}
	tape_free(tape);
	dataset_free(ds);
	nn_pool_free(pool);
	nn_graph_free(g);
}

/* ------------------------------------------------------------------- learning */

static double
training_map(Trainer *t, const Dataset *ds, NnPool *pool)
{
	TrainError err;
	NnGraph *network = trainer_network(t, &err);
	RetrievalMetrics m;
	float *logits;
	uint8_t *codes;
	CodeSet set;

	logits = codes_logits(network, ds, pool, &err);
	nn_graph_free(network);
	assert_non_null(logits);
	codes = codes_pack(logits, NULL, ds->n, t->options.bits, &err);
	set = codes_set(ds, codes, t->options.bits);
	assert_true(metrics_retrieval(&set, &set, true, 0, NULL, 0, 1, &m, &err));
	free(logits);
	free(codes);
	return m.map_all;
}

static void
in_range_or_fail(const char *what, double v, double low, double high)
{
	if (!(v > low && v < high))
		fail_msg("%s begins at %g, not between %g and %g", what, v, low, high);
}

/* 64 pictures by heart, with each loss; and where the loss begins. */
static void
test_overfit(void **state)
{
	Dataset *ds = stripes(64, 24, 4, 1);
	NnPool *pool = nn_pool_new(2);

	(void) state;
	for (int i = 0; loss_at(i); i++)
	{
		TrainOptions o = small_options();
		Trainer *t;
		double first, map;

		strcpy(o.loss, loss_at(i)->name);
		o.loss_options = loss_at(i)->defaults;
		o.loss_options.smoothing = 0;
		o.epochs = 100;
		t = start(&o, ds, pool);
		steps(t, 1);
		first = t->last_loss;
		/* OrthoHash log C + s m (1 - 1/C) and the spread of cosines; CSQ log 2 */
		if (strcmp(o.loss, "orthohash") == 0)
			in_range_or_fail(o.loss, first, 1.5, 6);
		if (strcmp(o.loss, "csq") == 0)
			in_range_or_fail(o.loss, first, 0.6, 1.5);
		steps(t, t->total_steps);
		map = training_map(t, ds, pool);
		if (!(map > 0.99 && t->last_loss < first))
			fail_msg("%s: training mAP %.4f after %lld steps, loss %.4f to %.4f", o.loss,
					 map, (long long) t->step, first, t->last_loss);
		trainer_free(t);
	}
	nn_pool_free(pool);
	dataset_free(ds);
}

/* ---------------------------------------------------------------- determinism */

/* Same seed, same bits, whatever the number of threads; another seed, others. */
static void
test_determinism(void **state)
{
	Dataset *ds = stripes(70, 24, 4, 2);
	NnPool *two = nn_pool_new(2);
	NnPool *three = nn_pool_new(3);
	TrainOptions o = small_options();
	Trainer *a, *b, *c;

	(void) state;
	o.augment = (AugmentOptions){.translate = 2, .flip = true, .cutout = 6};
	a = start(&o, ds, two);
	b = start(&o, ds, three);
	c = start(&o, ds, NULL);
	steps(a, 8);
	steps(b, 8);
	steps(c, 8);
	assert_same(a, b);
	assert_same(a, c);
	trainer_free(c);
	o.seed++;
	c = start(&o, ds, two);
	steps(c, 8);
	assert_memory_not_equal(
		a->graph->param[nn_graph_find_param(a->graph, "hash.weight")].data,
		c->graph->param[nn_graph_find_param(c->graph, "hash.weight")].data,
		16 * 16 * sizeof(float));
	trainer_free(a);
	trainer_free(b);
	trainer_free(c);
	nn_pool_free(two);
	nn_pool_free(three);
	dataset_free(ds);
}

/* Options survive the way through JSON; what lies in a file may be anything. */
static void
test_options(void **state)
{
	static const char *const bad[] = {
		"", "[]", "{}", "nonsense", "{\"data\": 1}",
	};
	TrainOptions o = small_options();
	TrainOptions back;
	TrainError err;
	char *good, *text;

	(void) state;
	o.rate = 1.0 / 3;
	o.seed = UINT64_MAX;
	o.loss_options.margin = -0.25;
	good = train_options_write(&o);
	if (!train_options_read(&back, good, &err))
		fail_msg("%s", err.text);
	assert_true(back.rate == o.rate && back.seed == o.seed);
	assert_true(back.loss_options.margin == -0.25);
	text = train_options_write(&back);
	assert_string_equal(text, good);
	free(text);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(train_options_read(&back, bad[i], &err));
	/* one value at a time out of its range, or of another type */
	for (char *p = strchr(good, ':'); p; p = strchr(p + 1, ':'))
	{
		char *changed = malloc(strlen(good) + 16);
		const char *end = p + strcspn(p, ",}");

		sprintf(changed, "%.*s:1e99%s", (int) (p - good), good, end);
		assert_false(train_options_read(&back, changed, &err));
		sprintf(changed, "%.*s:null%s", (int) (p - good), good, end);
		assert_false(train_options_read(&back, changed, &err));
		free(changed);
	}
	free(good);
}

/* JSON cannot hold such a name, so a checkpoint could not be read back. */
static void
test_name_not_utf8(void **state)
{
	TrainOptions o = small_options();
	TrainError err;

	(void) state;
	assert_true(train_options_check(&o, &err));
	strcpy(o.data, "folder:caf\xe9");
	assert_false(train_options_check(&o, &err));
	assert_non_null(strstr(err.text, "UTF-8"));
}

/* A run that turns out slower than measured is shortened, and always ends properly. */
static void
test_keeping_to_time(void **state)
{
	(void) state;
	/* as planned, a little late, and early */
	assert_int_equal(plan_epochs_fitting(24, 0, 1, 5, 120), 24);
	assert_int_equal(plan_epochs_fitting(24, 0, 1, 5.2, 120), 24);
	assert_int_equal(plan_epochs_fitting(24, 0, 12, 10, 120), 24);
	/* half as fast from the start; from the middle */
	assert_int_equal(plan_epochs_fitting(24, 0, 1, 10, 120), 12);
	assert_int_equal(plan_epochs_fitting(24, 0, 16, 100, 120), 19);
	/* a resumed run counts from where it began */
	assert_int_equal(plan_epochs_fitting(24, 11.5, 12, 5, 60), 17);
	/* far too late: one last epoch; done: done */
	assert_int_equal(plan_epochs_fitting(24, 0, 1, 500, 120), 2);
	assert_int_equal(plan_epochs_fitting(24, 0, 23, 500, 120), 24);
	assert_int_equal(plan_epochs_fitting(24, 0, 24, 500, 120), 24);
}

/* A rate far too high: the run stops and says where. */
static void
test_not_finite(void **state)
{
	Dataset *ds = stripes(70, 24, 4, 3);
	TrainOptions o = small_options();
	TrainError err = {""};
	Trainer *t;
	bool ok = true;

	(void) state;
	o.rate = 1e6;
	o.optim.decay = 10;
	t = start(&o, ds, NULL);
	while (ok && t->step < t->total_steps)
		ok = trainer_step(t, &err);
	assert_false(ok);
	assert_non_null(strstr(err.text, "step "));
	assert_non_null(strstr(err.text, " of "));
	assert_non_null(strstr(err.text, "is not a finite number"));
	assert_non_null(strstr(err.text, "step "));
	trainer_free(t);
	dataset_free(ds);
}

/* --------------------------------------------------------------------- export */

/* Codes of the exported model and of the training network differ only where a logit is
 * within 1e-5 of the threshold. */
static void
test_export(void **state)
{
	Dataset *ds = stripes(700, 24, 4, 6);
	NnPool *pool = nn_pool_new(2);
	TrainOptions o = small_options();
	Trainer *t;
	TrainError err;
	NnError trouble;
	NnGraph *folded, *network;
	NnModel *model;
	float *a, *b;
	int close = 0;

	(void) state;
	o.epochs = 1;
	o.bits = 37;
	t = start(&o, ds, pool);
	steps(t, t->total_steps);
	folded = export_graph(t, &err);
	if (!folded)
		fail_msg("%s", err.text);
	for (int i = 0; i < folded->nnodes; i++)
		assert_int_not_equal(folded->node[i].kind, NN_BATCHNORM);
	if (!export_model(in_folder("model"), t, folded, NULL, "{\"map_all\": 0.5}", &err))
		fail_msg("%s", err.text);
	nn_graph_free(folded);
	model = nn_model_open(in_folder("model"), &trouble);
	if (!model)
		fail_msg("%s", trouble.text);
	assert_int_equal(model->info.bits, 37);
	assert_string_equal(model->info.architecture, "speednet-8-16-16");
	assert_non_null(strstr(model->info.provenance, "orthohash"));
	assert_non_null(strstr(model->info.metrics, "map_all"));
	network = trainer_network(t, &err);
	a = codes_logits(network, ds, pool, &err);
	nn_graph_free(network);
	b = codes_device_logits(&model->graph, ds, 2, &err);
	assert_non_null(a);
	assert_non_null(b);
	for (int i = 0; i < ds->n * 37; i++)
	{
		if (fabsf(a[i]) < 1e-5f)
			close++;
		else if ((a[i] > 0) != (b[i] > 0))
			fail_msg("picture %d bit %d: %g in training, %g in the model", i / 37, i % 37,
					 a[i], b[i]);
	}
	print_message("%d of %d logits lie within 1e-5 of the threshold\n", close,
				  ds->n * 37);
	free(a);
	free(b);
	nn_model_close(model);
	trainer_free(t);
	nn_pool_free(pool);
	dataset_free(ds);
}

/* ---------------------------------------------------------------- code files */

static void
test_codefile(void **state)
{
	static const char *const good[] = {"a3f0", "b'0101101'", "7", "x'0b'"};
	static const int lengths[] = {16, 7, 4, 8};
	static const char *const bad[] = {"", "g0", "b'012'", "b'01", "0x12", " 12"};
	uint8_t code[512];
	char text[64];
	int bits;
	TrainError err;
	CodeSet q, d;
	FILE *f;

	(void) state;
	for (int i = 0; i < 4; i++)
	{
		assert_true(codefile_parse(good[i], code, &bits));
		assert_int_equal(bits, lengths[i]);
		codefile_format(code, bits, text, sizeof(text));
		assert_string_equal(text, i == 3 ? "0b" : good[i]);
	}
	for (int i = 0; i < 6; i++)
		assert_false(codefile_parse(bad[i], code, &bits));
	f = fopen(in_folder("q.tsv"), "w");
	fputs("one\tf0\tcat\ntwo\t0f\tdog,cat\r\n", f);
	fclose(f);
	f = fopen(in_folder("d.tsv"), "w");
	fputs("x\tf1\tdog\n\ny\tf0\tcat\nz\t00\t\n", f);
	fclose(f);
	if (!codefile_read_pair(in_folder("q.tsv"), in_folder("d.tsv"), &q, &d, &err))
		fail_msg("%s", err.text);
	assert_int_equal(q.n, 2);
	assert_int_equal(d.n, 3);
	assert_int_equal(q.bits, 8);
	assert_int_equal(q.codes[1], 0x0f);
	assert_true(q.labels[0] == 1 && q.labels[1] == 3);
	assert_true(d.labels[0] == 2 && d.labels[1] == 1 && d.labels[2] == 0);
	codefile_free(&q);
	codefile_free(&d);
	f = fopen(in_folder("d.tsv"), "w");
	fputs("x\tf1\tdog\ny\tf01\tcat\n", f);
	fclose(f);
	assert_false(
		codefile_read_pair(in_folder("q.tsv"), in_folder("d.tsv"), &q, &d, &err));
	assert_non_null(strstr(err.text, "line 2"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_workers),		   cmocka_unit_test(test_pictures_ahead),
		cmocka_unit_test(test_tape_gradients), cmocka_unit_test(test_overfit),
		cmocka_unit_test(test_determinism),	   cmocka_unit_test(test_options),
		cmocka_unit_test(test_name_not_utf8),  cmocka_unit_test(test_keeping_to_time),
		cmocka_unit_test(test_not_finite),	   cmocka_unit_test(test_export),
		cmocka_unit_test(test_codefile),
	};

	return cmocka_run_group_tests_name("train run", tests, make_folder, remove_folder);
}
