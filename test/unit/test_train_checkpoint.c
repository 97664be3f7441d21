/*
 * test_train_checkpoint.c
 *	  Checkpoints: a resumed run is the same bit for bit; files that are damaged or do not
 *	  belong are refused; a full disk leaves the one before.
 */
#include "run_samples.h"

#include "training/run/checkpoint.h"

static void
test_resume(void **state)
{
	Dataset *ds = stripes(70, 24, 4, 3);
	NnPool *pool = nn_pool_new(2);
	AverageKind averages[] = {AVERAGE_EMA, AVERAGE_LOOKAHEAD};

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		TrainOptions o = small_options();
		TrainOptions back;
		TrainError err;
		Trainer *whole, *part, *rest;

		o.optim.kind = i ? NN_SGD : NN_ADAMW;
		o.rate = i ? 0.4 : 0.01;
		o.average = averages[i];
		o.augment = (AugmentOptions){.translate = 2, .flip = true};
		whole = start(&o, ds, pool);
		steps(whole, 9);
		part = start(&o, ds, pool);
		steps(part, 4);
		if (!checkpoint_write(in_folder("run"), part, &err))
			fail_msg("%s", err.text);
		trainer_free(part);
		assert_true(checkpoint_options(in_folder("run"), &back, &err));
		assert_int_equal(back.bits, o.bits);
		assert_int_equal(back.optim.kind, o.optim.kind);
		assert_true(back.rate == o.rate);
		rest = start(&back, ds, pool);
		if (!checkpoint_read(in_folder("run"), rest, &err))
			fail_msg("%s", err.text);
		assert_int_equal(rest->step, 4);
		steps(rest, 9);
		assert_same(whole, rest);
		trainer_free(whole);
		trainer_free(rest);
	}
	nn_pool_free(pool);
	dataset_free(ds);
}

static long
slurp(const char *path, uint8_t **data)
{
	FILE *f = fopen(path, "rb");
	long n;

	fseek(f, 0, SEEK_END);
	n = ftell(f);
	rewind(f);
	*data = malloc(n);
	assert_int_equal(fread(*data, 1, n, f), n);
	fclose(f);
	return n;
}

static void
spill(const char *path, const uint8_t *data, long n)
{
	FILE *f = fopen(path, "wb");

	assert_int_equal(fwrite(data, 1, n, f), n);
	fclose(f);
}

/* Damage anywhere, a cut anywhere, other data, other networks: refused, t untouched. */
static void
test_checkpoint_refusals(void **state)
{
	Dataset *ds = stripes(70, 24, 4, 3);
	Dataset *other = stripes(70, 24, 4, 4);
	TrainOptions o = small_options();
	Trainer *t = start(&o, ds, NULL);
	Trainer *same = start(&o, ds, NULL);
	Trainer *elsewhere = start(&o, other, NULL);
	Trainer *wider;
	TrainError err;
	uint8_t *data;
	long n;
	Rng rng;

	(void) state;
	assert_true(checkpoint_write(in_folder("good"), t, &err));
	n = slurp(in_folder("good"), &data);
	rng_seed(&rng, 1, 1);
	for (int i = 0; i < 60; i++)
	{
		long at = i < 20 ? i * 9 : (long) rng_below(&rng, (uint32_t) n);

		data[at] ^= 0x10;
		spill(in_folder("bad"), data, n);
		data[at] ^= 0x10;
		assert_false(checkpoint_read(in_folder("bad"), same, &err));
		spill(in_folder("bad"), data, at);
		assert_false(checkpoint_read(in_folder("bad"), same, &err));
	}
	free(data);
	assert_same(t, same);
	assert_false(checkpoint_read(in_folder("good"), elsewhere, &err));
	assert_non_null(strstr(err.text, "other pictures"));
	o.channels[1] = 24;
	wider = start(&o, ds, NULL);
	assert_false(checkpoint_read(in_folder("good"), wider, &err));
	assert_non_null(strstr(err.text, "another network"));
	assert_false(checkpoint_read(in_folder("missing"), same, &err));
	assert_false(checkpoint_read("/dev/null", same, &err));
	assert_false(checkpoint_write("/nonexistent/folder/x", t, &err));
	trainer_free(t);
	trainer_free(same);
	trainer_free(elsewhere);
	trainer_free(wider);
	dataset_free(ds);
	dataset_free(other);
}

/* A disk that is full: a clear error, nothing left behind, the old file intact. */
static void
test_disk_full(void **state)
{
	Dataset *ds = stripes(70, 24, 4, 3);
	TrainOptions o = small_options();
	Trainer *t = start(&o, ds, NULL);
	TrainError err;
	char link[300];

	(void) state;
	if (access("/dev/full", W_OK) != 0)
		skip();
	/* The temporary name leads to the full device. */
	snprintf(link, sizeof(link), "%s/full.tmp", folder);
	assert_int_equal(symlink("/dev/full", link), 0);
	assert_false(checkpoint_write(in_folder("full"), t, &err));
	assert_non_null(strstr(err.text, "No space left"));
	assert_int_not_equal(access(in_folder("full"), F_OK), 0);
	unlink(link);
	trainer_free(t);
	dataset_free(ds);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resume),
		cmocka_unit_test(test_checkpoint_refusals),
		cmocka_unit_test(test_disk_full),
	};

	return cmocka_run_group_tests_name("train checkpoint", tests, make_folder,
									   remove_folder);
}
