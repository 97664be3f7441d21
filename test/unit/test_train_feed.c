/*
 * test_train_feed.c
 *	  Batches: the same whoever prepares them, from memory and from files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "training/data/synth.h"
#include "training/loss/loss.h"
#include "training/run/feed.h"

#define SIDE 20

static char folder[] = "/tmp/deephash-feed-XXXXXX";

static const ImagePreprocess pre = {
	.width = SIDE, .height = SIDE, .resize = SIDE, .filter = IMAGE_AREA};

/* 60 JPEGs of 3 classes, held in so many bytes of memory; 0: all. */
static Dataset *
open_set(int64_t memory)
{
	char what[64];
	TrainError err;
	Dataset *ds;

	snprintf(what, sizeof(what), "folder:%s", folder);
	ds = dataset_open_within(what, &pre, memory, 2, NULL, &err);
	if (!ds)
		fail_msg("%s", err.text);
	assert_int_equal(ds->n, 60);
	return ds;
}

static Augment
augment_of(AugmentOptions options, int side)
{
	return (Augment){.options = options,
					 .seed = 9,
					 .width = side,
					 .height = side,
					 .grey = {90, 90, 90}};
}

static const AugmentOptions lively = {.flip = true,
									  .crop = 0.3,
									  .brightness = 0.4,
									  .jitter_chance = 1,
									  .cutout = 5,
									  .mixup = 0.4,
									  .cutmix = 1};

static Feed *
start(const Dataset *ds, const Augment *a, int batch, int workers, NnPool *pool)
{
	TrainError err;
	Feed *f = feed_new(ds, a, batch, workers, pool, &err);

	if (!f)
		fail_msg("%s", err.text);
	return f;
}

static const FeedBatch *
take(Feed *f, int64_t step)
{
	TrainError err;
	const FeedBatch *b = feed_take(f, step, &err);

	if (!b)
		fail_msg("%s", err.text);
	assert_int_equal(b->step, step);
	return b;
}

static void
same_batches(const FeedBatch *a, const FeedBatch *b, const Dataset *ds, int side)
{
	size_t labels = (size_t) a->n * ds->label_words * 8;

	assert_int_equal(a->n, b->n);
	assert_memory_equal(a->images, b->images, (size_t) a->n * side * side * 3);
	assert_memory_equal(a->labels, b->labels, labels);
	assert_true(a->share == b->share);
	assert_true((a->partner == NULL) == (b->partner == NULL));
	if (a->partner)
		assert_memory_equal(a->partner, b->partner, labels);
}

/* Any number of workers, any pool, memory or files, any order of steps. */
static void
test_same_for_all(void **state)
{
	static const int workers[] = {0, 1, 3};
	Dataset *whole = open_set(0);
	Dataset *some = open_set(20 * SIDE * SIDE * 3);
	Dataset *none = open_set(1);
	Augment a = augment_of(lively, SIDE);
	NnPool *one = nn_pool_new(1);
	NnPool *two = nn_pool_new(2);
	Feed *reference = start(whole, &a, 16, 0, one);
	int mixed = 0;

	(void) state;
	assert_non_null(whole->rgb);
	assert_non_null(some->disk);
	assert_true(dataset_checksum(whole) == dataset_checksum(some));
	assert_true(dataset_checksum(whole) == dataset_checksum(none));
	assert_int_equal(feed_steps_per_epoch(reference), 3);
	for (int w = 0; w < 3; w++)
	{
		Feed *feeds[3] = {start(whole, &a, 16, workers[w], two),
						  start(some, &a, 16, workers[w], two),
						  start(none, &a, 16, workers[w], two)};

		for (int64_t step = 0; step < 14; step++)
			for (int k = 0; k < 3; k++)
			{
				const FeedBatch *b = take(reference, step);

				mixed += b->partner != NULL;
				same_batches(b, take(feeds[k], step), whole, SIDE);
			}
		/* back, on, and the same again */
		for (int k = 0; k < 3; k++)
		{
			static const int64_t steps[] = {3, 3, 4, 100, 101, 0, 1, 2};

			for (int i = 0; i < 8; i++)
				same_batches(take(reference, steps[i]), take(feeds[k], steps[i]), whole,
							 SIDE);
			feed_free(feeds[k]);
		}
	}
	assert_true(mixed > 0);
	feed_free(reference);
	nn_pool_free(one);
	nn_pool_free(two);
	dataset_free(whole);
	dataset_free(some);
	dataset_free(none);
}

/* An epoch shows each picture once at most, and the next in another order. */
static void
test_epochs(void **state)
{
	Dataset *ds = open_set(0);
	AugmentOptions plain = {0};
	Augment a = augment_of(plain, SIDE);
	Feed *f = start(ds, &a, 10, 2, NULL);
	int seen[60] = {0};
	int first[60];
	int same = 0;
	size_t size = SIDE * SIDE * 3;

	(void) state;
	assert_int_equal(feed_steps_per_epoch(f), 6);
	for (int step = 0; step < 12; step++)
	{
		const FeedBatch *b = take(f, step);

		for (int i = 0; i < b->n; i++)
		{
			int which = -1;

			for (int k = 0; k < ds->n; k++)
				if (memcmp(ds->rgb + k * size, b->images + i * size, size) == 0)
					which = k;
			assert_true(which >= 0);
			assert_int_equal(b->labels[i], ds->labels[which]);
			seen[which]++;
			if (step < 6)
				first[step * 10 + i] = which;
			else
				same += first[(step - 6) * 10 + i] == which;
		}
		assert_null(b->partner);
	}
	for (int k = 0; k < 60; k++)
		assert_int_equal(seen[k], 2);
	assert_true(same < 15);
	feed_free(f);
	dataset_free(ds);
}

static void
test_two_views(void **state)
{
	Dataset *ds = open_set(0);
	AugmentOptions o = {.two_views = true, .brightness = 0.5, .jitter_chance = 1};
	Augment a = augment_of(o, SIDE);
	Feed *f = start(ds, &a, 16, 1, NULL);
	const FeedBatch *b = take(f, 1);
	size_t size = SIDE * SIDE * 3;

	(void) state;
	assert_int_equal(b->n, 16);
	assert_int_equal(feed_batch(f), 16);
	assert_int_equal(feed_steps_per_epoch(f), 7);
	for (int i = 0; i < 8; i++)
	{
		assert_int_equal(b->labels[i], b->labels[i + 8]);
		assert_memory_not_equal(b->images + i * size, b->images + (i + 8) * size, size);
	}
	feed_free(f);
	dataset_free(ds);
}

/* Pictures kept larger than the network's give their middle, or crops of it. */
static void
test_larger_pictures(void **state)
{
	Dataset *ds = open_set(0);
	AugmentOptions plain = {0};
	Augment a = augment_of(plain, 12);
	Feed *f = start(ds, &a, 60, 1, NULL);
	const FeedBatch *b = take(f, 0);
	uint8_t *room = malloc(60 * 12 * 12 * 3);
	const uint8_t *middle;
	TrainError err;
	int found = 0;

	(void) state;
	assert_true(dataset_needs_room(ds, 12, 12));
	middle = dataset_gather(ds, 0, 60, 12, 12, 1, room, &err);
	assert_ptr_equal(middle, room);
	assert_memory_equal(middle, ds->rgb + (4 * SIDE + 4) * 3, 12 * 3);
	for (int i = 0; i < 60; i++)
		for (int k = 0; k < 60; k++)
			found += memcmp(middle + i * 432, b->images + k * 432, 432) == 0;
	assert_int_equal(found, 60);
	feed_free(f);
	free(room);
	dataset_free(ds);
}

/* Files read again: as they were, or a reason that names the file. */
static void
test_lost_files(void **state)
{
	Dataset *whole = open_set(0);
	Dataset *ds = open_set(1);
	uint8_t *room = malloc(60 * SIDE * SIDE * 3);
	char path[4096];
	char away[4200];
	Augment a = augment_of((AugmentOptions){0}, SIDE);
	Dataset *part;
	uint32_t index[2] = {41, 7};
	TrainError err;

	(void) state;
	assert_memory_equal(dataset_gather(ds, 0, 60, SIDE, SIDE, 3, room, &err), whole->rgb,
						60 * SIDE * SIDE * 3);
	part = dataset_subset(ds, index, 2);
	assert_memory_equal(dataset_pixels(part, 0, room, &err),
						whole->rgb + 41 * SIDE * SIDE * 3, SIDE * SIDE * 3);
	snprintf(path, sizeof(path), "%s/%s", folder, ds->source[17]);
	snprintf(away, sizeof(away), "%s.away", path);
	assert_int_equal(rename(path, away), 0);
	assert_null(dataset_gather(ds, 0, 60, SIDE, SIDE, 3, room, &err));
	assert_non_null(strstr(err.text, ds->source[17]));
	assert_non_null(strstr(err.text, "no longer"));
	for (int workers = 0; workers < 3; workers++)
	{
		Feed *f = start(ds, &a, 60, workers, NULL);

		assert_null(feed_take(f, 0, &err));
		assert_non_null(strstr(err.text, ds->source[17]));
		assert_null(feed_take(f, 1, &err));
		feed_free(f);
	}
	/* another picture in its place */
	{
		char other[4096];

		snprintf(other, sizeof(other), "%s/%s", folder, ds->source[18]);
		assert_int_equal(link(other, path), 0);
		assert_null(dataset_pixels(ds, 17, room, &err));
		assert_non_null(strstr(err.text, "has changed"));
	}
	assert_int_equal(rename(away, path), 0);
	assert_non_null(dataset_pixels(ds, 17, room, &err));
	dataset_free(ds);
	/* the part lives on */
	assert_non_null(dataset_pixels(part, 1, room, &err));
	dataset_free(part);
	dataset_free(whole);
	free(room);
}

/* How many of this program's threads run, or wait for a disk; not counting the caller. */
static int
threads_at_work(void)
{
	DIR *dir = opendir("/proc/self/task");
	int n = 0;

	assert_non_null(dir);
	for (struct dirent *e = readdir(dir); e; e = readdir(dir))
	{
		char path[300], state = 'S';
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/stat", e->d_name);
		if (e->d_name[0] == '.' || atoi(e->d_name) == (int) syscall(SYS_gettid))
			continue;
		f = fopen(path, "r");
		if (f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1 && state != 'S')
			n++;
		if (f)
			fclose(f);
	}
	closedir(dir);
	return n;
}

/* Wait until the workers have nothing left to do, however slow the machine is. */
static void
wait_until_idle(void)
{
	for (int looks = 0, idle = 0; idle < 10; looks++)
	{
		assert_true(looks < 12000);
		idle = threads_at_work() == 0 ? idle + 1 : 0;
		usleep(10000);
	}
}

/* Workers go on while nothing is taken: the next batches need no files any more. */
static void
test_ahead(void **state)
{
	Dataset *ds = open_set(1);
	AugmentOptions o = {.crop = 0.3};
	Augment a = augment_of(o, SIDE);
	Feed *f = start(ds, &a, 20, 2, NULL);
	char away[64];
	TrainError err;

	(void) state;
	snprintf(away, sizeof(away), "%s.away", folder);
	take(f, 0);
	assert_true(feed_waited(f) > 0);
	wait_until_idle();
	assert_int_equal(rename(folder, away), 0);
	for (int step = 1; step < 4; step++)
		take(f, step);
	assert_null(feed_take(f, 4, &err));
	assert_int_equal(rename(away, folder), 0);
	take(f, 20);
	feed_free(f);
	/* given up at once, with workers in the middle of it */
	for (int i = 0; i < 20; i++)
	{
		f = start(ds, &a, 20, 3, NULL);
		if (i % 2)
			take(f, i);
		feed_free(f);
	}
	dataset_free(ds);
}

/* The loss of mixed labels is the same mixture of losses, its gradient too. */
static void
test_mixed_loss(void **state)
{
	enum
	{
		N = 5,
		BITS = 8,
		CLASSES = 3
	};
	uint64_t own[N] = {1, 2, 4, 3, 1};
	uint64_t partner[N] = {2, 2, 1, 4, 0};
	double u[N * BITS], grad[N * BITS], room[N * BITS], centres[CLASSES * BITS];
	Rng rng;
	TrainError err;

	(void) state;
	rng_seed(&rng, 2, 1);
	for (int i = 0; i < N * BITS; i++)
		u[i] = rng_normal(&rng);
	assert_true(loss_centres(CLASSES, BITS, 1, centres, &err));
	for (int l = 0; loss_at(l); l++)
	{
		const Loss *loss = loss_at(l);
		LossInput in = {N, BITS, CLASSES, own, 1, centres};

		if (!loss->mixable)
			continue;
		loss_eval_mixed(loss, &in, partner, 0.7, &loss->defaults, u, grad, room);
		for (int i = 0; i < N * BITS; i++)
		{
			const double h = 1e-5;
			double keep = u[i];
			double up, down;

			u[i] = keep + h;
			up = loss_eval_mixed(loss, &in, partner, 0.7, &loss->defaults, u,
								 (double[N * BITS]){0}, room);
			u[i] = keep - h;
			down = loss_eval_mixed(loss, &in, partner, 0.7, &loss->defaults, u,
								   (double[N * BITS]){0}, room);
			u[i] = keep;
			assert_true(fabs((up - down) / (2 * h) - grad[i]) < 1e-7);
		}
		/* a share of 1 is the plain loss, of 0 that of the partner */
		assert_true(
			fabs(loss_eval_mixed(loss, &in, partner, 1, &loss->defaults, u, grad, room) -
				 loss->eval(&in, &loss->defaults, u, room)) < 1e-12);
		{
			double zero =
				loss_eval_mixed(loss, &in, partner, 0, &loss->defaults, u, grad, room);

			in.labels = partner;
			assert_true(fabs(zero - loss->eval(&in, &loss->defaults, u, room)) < 1e-12);
		}
	}
}

static int
draw_pictures(void **state)
{
	SynthOptions o = synth_defaults;
	TrainError err;

	(void) state;
	o.classes = 3;
	o.per_class = 20;
	o.size = 32;
	o.threads = 2;
	return mkdtemp(folder) && synth_write(folder, &o, &err) ? 0 : -1;
}

static int
remove_pictures(void **state)
{
	char command[128];

	(void) state;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_for_all), cmocka_unit_test(test_epochs),
		cmocka_unit_test(test_two_views),	 cmocka_unit_test(test_larger_pictures),
		cmocka_unit_test(test_lost_files),	 cmocka_unit_test(test_ahead),
		cmocka_unit_test(test_mixed_loss),
	};

	return cmocka_run_group_tests(tests, draw_pictures, remove_pictures);
}
