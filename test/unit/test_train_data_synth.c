/*
 * test_train_data_synth.c
 *	  Made-up pictures: the same bytes for a seed, readable, and not to be told apart
 *	  by their pixels alone.
 */
#include <dirent.h>
#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "training/data/dataset.h"
#include "training/data/synth.h"
#include "training/data/synth_shape.h"

static char root[64];

static int
set_up(void **state)
{
	(void) state;
	strcpy(root, "/tmp/deephash-synth-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void) st;
	(void) type;
	(void) ftw;
	return remove(path);
}

static int
tear_down(void **state)
{
	(void) state;
	return nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static char *
in_root(const char *name)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/%s", root, name);
	return path;
}

static size_t
read_whole(const char *path, uint8_t *data, size_t room)
{
	FILE *file = fopen(path, "rb");
	size_t size;

	if (file == NULL)
		fail_msg("no %s", path);
	size = fread(data, 1, room, file);
	fclose(file);
	return size;
}

static Image
render(int c, int number, int size, uint64_t seed)
{
	Image img;
	TrainError err;

	if (!synth_render(c, number, size, seed, &img, &err))
		fail_msg("%s", err.text);
	return img;
}

static double
mean_difference(const Image *a, const Image *b)
{
	double sum = 0;
	int n = a->width * a->height * 3;

	for (int i = 0; i < n; i++)
		sum += abs(a->rgb[i] - b->rgb[i]);
	return sum / n;
}

static void
a_seed_gives_a_picture(void **state)
{
	(void) state;
	for (int c = 0; c < synth_class_count(); c++)
	{
		Image first = render(c, 3, 48, 1), same = render(c, 3, 48, 1);
		Image other_seed = render(c, 3, 48, 2), other_number = render(c, 4, 48, 1);
		Image other_class = render((c + 1) % synth_class_count(), 3, 48, 1);

		assert_int_equal(first.width, 48);
		assert_int_equal(first.height, 48);
		assert_memory_equal(first.rgb, same.rgb, 48 * 48 * 3);
		assert_true(mean_difference(&first, &other_seed) > 4);
		assert_true(mean_difference(&first, &other_number) > 4);
		assert_true(mean_difference(&first, &other_class) > 4);
		image_free(&first);
		image_free(&same);
		image_free(&other_seed);
		image_free(&other_number);
		image_free(&other_class);
	}
}

/* Every shape has an inside, fits in the unit circle, and its distance field does
 * not jump. */
static void
shapes_are_shapes(void **state)
{
	(void) state;
	for (int s = 0; s < synth_nshapes; s++)
	{
		double (*distance)(double, double) = synth_shapes[s].distance;
		int inside = 0, points = 0;

		for (double y = -1.5; y <= 1.5; y += 0.02)
			for (double x = -1.5; x <= 1.5; x += 0.02)
			{
				double d = distance(x, y);

				points++;
				inside += d < 0;
				assert_true(isfinite(d));
				if (hypot(x, y) > 1.03 && d <= 0)
					fail_msg("%s reaches %g, %g", synth_shapes[s].name, x, y);
				if (fabs(distance(x + 0.001, y) - d) > 0.004 && hypot(x, y) > 0.25)
					fail_msg("%s jumps at %g, %g", synth_shapes[s].name, x, y);
			}
		assert_in_range(inside, points / 50, points / 3);
	}
}

static void
nothing_extreme(void **state)
{
	(void) state;
	double average = 0, spread = 0;

	for (int c = 0; c < 10; c++)
		for (int i = 0; i < 10; i++)
		{
			Image img = render(c, i, 32, 5);
			double sum = 0, squares = 0;

			for (int p = 0; p < 32 * 32 * 3; p++)
			{
				sum += img.rgb[p];
				squares += (double) img.rgb[p] * img.rgb[p];
			}
			sum /= 32 * 32 * 3;
			squares = squares / (32 * 32 * 3) - sum * sum;
			assert_true(squares > 60); /* no picture is flat */
			average += sum / 100;
			spread += sqrt(squares) / 100;
			image_free(&img);
		}
	assert_in_range((int) average, 80, 150);
	assert_in_range((int) spread, 25, 70);
}

/* The nearest picture by pixels is of the same class hardly more often than chance:
 * what is learnt on these is not in the pixels alone. */
static void
pixels_do_not_tell(void **state)
{
	(void) state;
	enum
	{
		CLASSES = 10,
		TRAIN = 40,
		TEST = 10,
		SIZE = 24
	};
	static uint8_t train[CLASSES * TRAIN][SIZE * SIZE * 3];
	int right = 0;

	for (int i = 0; i < CLASSES * TRAIN; i++)
	{
		Image img = render(i % CLASSES, i / CLASSES, SIZE, 11);

		memcpy(train[i], img.rgb, sizeof train[i]);
		image_free(&img);
	}
	for (int t = 0; t < CLASSES * TEST; t++)
	{
		Image img = render(t % CLASSES, TRAIN + t / CLASSES, SIZE, 11);
		int64_t nearest = INT64_MAX;
		int answer = -1;

		for (int i = 0; i < CLASSES * TRAIN; i++)
		{
			int64_t distance = 0;

			for (int p = 0; p < SIZE * SIZE * 3; p++)
			{
				int d = img.rgb[p] - train[i][p];

				distance += d * d;
			}
			if (distance < nearest)
			{
				nearest = distance;
				answer = i % CLASSES;
			}
		}
		right += answer == t % CLASSES;
		image_free(&img);
	}
	assert_true(right < 30); /* of 100; chance is 10 */
}

static SynthOptions
small_options(int threads)
{
	SynthOptions opt = synth_defaults;

	opt.classes = 3;
	opt.per_class = 4;
	opt.size = 32;
	opt.threads = threads;
	return opt;
}

static void
count_progress(int done, int total, void *arg)
{
	assert_in_range(done, 1, total);
	__atomic_add_fetch((int *) arg, 1, __ATOMIC_RELAXED);
}

static void
written_and_read_back(void **state)
{
	(void) state;
	static const ImagePreprocess pre = {32, 32, 32, IMAGE_AREA};
	uint8_t a[20000], b[20000];
	SynthOptions opt = small_options(1);
	int calls = 0;
	char what[300], path[300];
	Dataset *ds;
	TrainError err;

	opt.progress = count_progress;
	opt.progress_arg = &calls;
	assert_true(synth_write(in_root("one"), &opt, &err));
	assert_int_equal(calls, 12);
	opt = small_options(3);
	assert_true(synth_write(in_root("three"), &opt, &err));
	for (int c = 0; c < 3; c++)
		for (int i = 0; i < 4; i++)
		{
			size_t na, nb;

			snprintf(path, sizeof path, "%s/one/%s/%05d.jpg", root, synth_class_name(c),
					 i);
			na = read_whole(path, a, sizeof a);
			snprintf(path, sizeof path, "%s/three/%s/%05d.jpg", root, synth_class_name(c),
					 i);
			nb = read_whole(path, b, sizeof b);
			assert_int_equal(na, nb);
			assert_memory_equal(a, b, na);
		}
	snprintf(what, sizeof what, "folder:%s/one", root);
	ds = dataset_open(what, &pre, 2, NULL, &err);
	assert_non_null(ds);
	assert_int_equal(ds->n, 12);
	assert_int_equal(ds->nclasses, 3);
	assert_int_equal(ds->skipped, 0);
	for (int i = 0; i < ds->n; i++)
	{
		const char *name = ds->class_name[dataset_class(ds, i)];
		int c = 0, number = atoi(strchr(ds->source[i], '/') + 1);
		Image img, back = {32, 32, ds->rgb + (size_t) i * 32 * 32 * 3};

		while (strcmp(synth_class_name(c), name) != 0)
			c++;
		img = render(c, number, 32, opt.seed);
		assert_true(mean_difference(&img, &back) < 8); /* what JPEG does to noise */
		image_free(&img);
	}
	dataset_free(ds);
}

static void
full_folder_is_refused(void **state)
{
	(void) state;
	SynthOptions opt = small_options(1);
	TrainError err;
	FILE *file = fopen(in_root("precious"), "w");

	fclose(file);
	assert_false(synth_write(root, &opt, &err));
	assert_non_null(strstr(err.text, "is not empty"));
	assert_int_equal(access(in_root("disc"), F_OK), -1);
	opt.into_existing = true;
	assert_true(synth_write(root, &opt, &err));
	assert_int_equal(access(in_root("precious"), F_OK), 0);
	assert_int_equal(access(in_root("disc/00003.jpg"), F_OK), 0);
	/* again over itself, and nothing half-written is left */
	assert_true(synth_write(root, &opt, &err));
	assert_int_equal(access(in_root("disc/.00003.jpg.part"), F_OK), -1);
}

static void
check_error(SynthOptions opt, const char *dir, const char *want)
{
	TrainError err;

	assert_false(synth_write(dir, &opt, &err));
	if (!strstr(err.text, want))
		fail_msg("\"%s\" does not say \"%s\"", err.text, want);
}

static void
errors(void **state)
{
	(void) state;
	SynthOptions opt = small_options(2);
	Image img;
	TrainError err;

	opt.classes = 1;
	check_error(opt, in_root("x"), "1 classes: expected 2 to 16");
	opt.classes = 17;
	check_error(opt, in_root("x"), "17 classes");
	opt = small_options(2);
	opt.per_class = 0;
	check_error(opt, in_root("x"), "0 pictures per class");
	opt = small_options(2);
	opt.size = 8;
	check_error(opt, in_root("x"), "pictures of 8 pixels: expected 16 to 1024");
	opt = small_options(2);
	opt.quality = 101;
	check_error(opt, in_root("x"), "JPEG quality 101");
	opt = small_options(2);
	check_error(opt, in_root("a/b/c"), "cannot make the folder");
	check_error(opt, "", "empty or too long");
	/* nothing was made by any of these */
	assert_int_equal(access(in_root("x"), F_OK), -1);
	/* a class folder that cannot be written to */
	assert_int_equal(mkdir(in_root("y"), 0700), 0);
	fclose(fopen(in_root("y/ring"), "w"));
	opt.into_existing = true;
	check_error(opt, in_root("y"), "cannot make the folder");
	remove(in_root("y/ring"));
	assert_int_equal(mkdir(in_root("y/disc/00000.jpg"), 0700), 0);
	check_error(opt, in_root("y"), "cannot write");
	assert_false(synth_render(16, 0, 64, 1, &img, &err));
	assert_false(synth_render(0, -1, 64, 1, &img, &err));
	assert_false(synth_render(0, 0, 5000, 1, &img, &err));
	assert_null(synth_class_name(16));
	assert_null(synth_class_name(-1));
	assert_string_equal(synth_class_name(9), "heart");
}

/* When no more can be written, that is said and no half picture is left. */
static void
full_disk(void **state)
{
	(void) state;
	SynthOptions opt = small_options(2);
	struct rlimit before, small;
	TrainError err;
	bool ok;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 200;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	ok = synth_write(in_root("x"), &opt, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_false(ok);
	assert_non_null(strstr(err.text, "cannot write"));
	assert_non_null(strstr(err.text, "File too large"));
	assert_int_equal(access(in_root("x/disc/00000.jpg"), F_OK), -1);
	assert_int_equal(access(in_root("x/disc/.00000.jpg.part"), F_OK), -1);
}

#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_seed_gives_a_picture),
		cmocka_unit_test(shapes_are_shapes),
		cmocka_unit_test(nothing_extreme),
		cmocka_unit_test(pixels_do_not_tell),
		FILE_TEST(written_and_read_back),
		FILE_TEST(full_folder_is_refused),
		FILE_TEST(full_disk),
		FILE_TEST(errors),
	};

	return cmocka_run_group_tests_name("train_data_synth", tests, NULL, NULL);
}
