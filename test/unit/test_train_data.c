/*
 * test_train_data.c
 *	  Readers of labelled pictures: CIFAR-10, folders, manifests.  Every file is made
 *	  here; CIFAR-10 itself only where it is to be had.
 */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "training/data/dataset.h"

static char root[64]; /* a fresh folder for each test */

static const ImagePreprocess prepare16 = {16, 16, 16, IMAGE_AREA};
static const ImagePreprocess prepare32 = {32, 32, 32, IMAGE_AREA};

static int
set_up(void **state)
{
	(void) state;
	strcpy(root, "/tmp/deephash-data-XXXXXX");
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
	chmod(root, 0700);
	return nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *
in_root(const char *name)
{
	static char path[4][256];
	static int turn;

	turn = (turn + 1) % 4;
	snprintf(path[turn], sizeof path[turn], "%s/%s", root, name);
	return path[turn];
}

static void
write_file(const char *name, const void *data, size_t size)
{
	FILE *file = fopen(in_root(name), "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static void
make_folder(const char *name)
{
	assert_int_equal(mkdir(in_root(name), 0700), 0);
}

/* A plain-coloured JPEG. */
static void
write_picture(const char *name, int width, int height, uint8_t r, uint8_t g, uint8_t b)
{
	Image img = {width, height, malloc((size_t) width * height * 3)};
	uint8_t *data;
	size_t size;
	ImageError err;

	for (int i = 0; i < width * height; i++)
	{
		img.rgb[i * 3] = r;
		img.rgb[i * 3 + 1] = g;
		img.rgb[i * 3 + 2] = b;
	}
	assert_true(image_encode_jpeg(&img, 95, &data, &size, &err));
	write_file(name, data, size);
	free(data);
	free(img.rgb);
}

static char reports[4096]; /* "source: why" lines of on_bad */

static void
note_bad(const char *source, const char *why)
{
	size_t used = strlen(reports);

	snprintf(reports + used, sizeof reports - used, "%s: %s\n", source, why);
}

static Dataset *
open_ok(const char *kind, const char *place, const ImagePreprocess *pre, int threads)
{
	char what[512];
	TrainError err;
	Dataset *ds;

	snprintf(what, sizeof what, "%s:%s", kind, place);
	reports[0] = '\0';
	ds = dataset_open(what, pre, threads, note_bad, &err);
	if (ds == NULL)
		fail_msg("%s: %s", what, err.text);
	return ds;
}

static void
open_fails(const char *what, const ImagePreprocess *pre, const char *want)
{
	TrainError err = {""};

	reports[0] = '\0';
	assert_null(dataset_open(what, pre, 2, note_bad, &err));
	if (!strstr(err.text, want))
		fail_msg("\"%s\" does not say \"%s\"", err.text, want);
}

static void
fails_in_root(const char *kind, const char *name, const char *want)
{
	char what[512];

	snprintf(what, sizeof what, "%s:%s", kind, in_root(name));
	open_fails(what, &prepare16, want);
}

/* ---------------------------------------------------------------------- folders */

static void
make_class_folders(void)
{
	make_folder("set");
	make_folder("set/red");
	make_folder("set/blue");
	make_folder("set/red/deeper");
	make_folder("set/red/deeper/still");
	make_folder("set/.hidden");
	write_picture("set/red/2.jpg", 20, 30, 255, 0, 0);
	write_picture("set/red/10.jpg", 20, 30, 250, 0, 0);
	write_picture("set/red/deeper/still/x.JPEG", 16, 16, 245, 0, 0);
	write_picture("set/blue/a.jpg", 40, 16, 0, 0, 255);
	write_picture("set/.hidden/a.jpg", 8, 8, 0, 0, 0);
	write_picture("set/blue/.a.jpg", 8, 8, 0, 0, 0);
}

static void
folder_of_classes(void **state)
{
	(void) state;
	static const char *const sources[] = {"blue/a.jpg", "red/10.jpg", "red/2.jpg",
										  "red/deeper/still/x.JPEG"};
	Dataset *ds;

	make_class_folders();
	for (int threads = 0; threads < 4; threads += 3)
	{
		ds = open_ok("folder", in_root("set/"), &prepare16, threads);
		assert_string_equal(reports, "");
		assert_int_equal(ds->n, 4);
		assert_int_equal(ds->skipped, 0);
		assert_int_equal(ds->width, 16);
		assert_int_equal(ds->height, 16);
		assert_int_equal(ds->nclasses, 2);
		assert_string_equal(ds->class_name[0], "blue");
		assert_string_equal(ds->class_name[1], "red");
		for (int i = 0; i < 4; i++)
		{
			const uint8_t *pixel = ds->rgb + i * 16 * 16 * 3 + 300;

			assert_string_equal(ds->source[i], sources[i]);
			assert_int_equal(dataset_class(ds, i), i > 0);
			assert_true(i ? pixel[0] > 230 && pixel[2] < 10
						  : pixel[2] > 230 && pixel[0] < 10);
		}
		assert_false(dataset_relevant(ds, 0, ds, 1));
		assert_true(dataset_relevant(ds, 1, ds, 3));
		dataset_free(ds);
	}
}

static void
folder_with_trouble(void **state)
{
	(void) state;
	static const char png[] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
	Dataset *ds;

	make_class_folders();
	write_file("set/blue/b.png", png, sizeof png);
	write_file("set/blue/c.jpg", "", 0);
	write_file("set/blue/notes.txt", "hello there, this is text\n", 26);
	write_file("set/stray.jpg", "x", 1);
	assert_int_equal(mkfifo(in_root("set/red/pipe.jpg"), 0600), 0);
	assert_int_equal(symlink("..", in_root("set/red/deeper/up")), 0);
	assert_int_equal(symlink("..", in_root("set/red/top")), 0);
	assert_int_equal(symlink("nowhere", in_root("set/red/dangling.jpg")), 0);
	assert_int_equal(symlink("../blue/a.jpg", in_root("set/red/z.jpg")), 0);
	ds = open_ok("folder", in_root("set"), &prepare16, 2);
	assert_int_equal(ds->n, 5); /* the link to a picture counts as one */
	assert_string_equal(ds->source[4], "red/z.jpg");
	assert_int_equal(ds->skipped, 8);
	assert_non_null(strstr(reports, "blue/b.png: "));
	assert_non_null(strstr(reports, "PNG"));
	assert_non_null(strstr(reports, "blue/c.jpg: "));
	assert_non_null(strstr(reports, "blue/notes.txt: "));
	assert_non_null(strstr(reports, "red/pipe.jpg: not a plain file"));
	assert_non_null(strstr(reports, "red/deeper/up: a link back to a folder above it"));
	assert_non_null(strstr(reports, "red/top: a link back to a folder above it"));
	assert_non_null(strstr(reports, "red/dangling.jpg: "));
	assert_non_null(strstr(reports, "stray.jpg: lies outside the class folders"));
	dataset_free(ds);
}

static void
folder_errors(void **state)
{
	(void) state;
	fails_in_root("folder", "absent", "No such file or directory");
	make_folder("empty");
	fails_in_root("folder", "empty", "no pictures in");
	make_folder("empty/class");
	fails_in_root("folder", "empty", "expected one folder per class");
	make_folder("single");
	make_folder("single/cat");
	make_folder("single/dog");
	write_picture("single/cat/1.jpg", 16, 16, 1, 2, 3);
	fails_in_root("folder", "single", "only one class folder with pictures, \"cat\"");
	write_file("single/dog/1.jpg", "not a picture at all", 20);
	fails_in_root("folder", "single", "is of the class \"cat\"");
	assert_non_null(strstr(reports, "dog/1.jpg: "));
	write_file("single/cat/1.jpg", "neither is this one", 19);
	fails_in_root("folder", "single", "none of the 2 files could be read");
	write_file("plain", "x", 1);
	fails_in_root("folder", "plain", "Not a directory");
	open_fails("folder:", &prepare16, "describes no data set");
	open_fails("somewhere", &prepare16, "describes no data set");
	open_fails("tar:x", &prepare16, "unknown kind of data set \"tar\"");
}

/* -------------------------------------------------------------------- manifests */

static void
write_text(const char *name, const char *text)
{
	write_file(name, text, strlen(text));
}

static void
manifest_with_several_labels(void **state)
{
	(void) state;
	Dataset *ds;

	make_folder("p");
	write_picture("p/1.jpg", 16, 16, 10, 20, 30);
	write_picture("p/2.jpg", 16, 16, 200, 20, 30);
	write_text("list.tsv", "\xef\xbb\xbfp/1.jpg\tsea,beach\r\n"
						   "\n"
						   "p/absent.jpg\tsea\n"
						   "p/2.jpg\tforest,sea");
	ds = open_ok("manifest", in_root("list.tsv"), &prepare16, 2);
	assert_int_equal(ds->n, 2);
	assert_int_equal(ds->skipped, 1);
	assert_non_null(strstr(reports, "p/absent.jpg: cannot open: No such file"));
	assert_int_equal(ds->nclasses, 3);
	assert_string_equal(ds->class_name[0], "beach");
	assert_string_equal(ds->class_name[1], "forest");
	assert_string_equal(ds->class_name[2], "sea");
	assert_int_equal(ds->labels[0], 5);
	assert_int_equal(ds->labels[1], 6);
	assert_int_equal(dataset_class(ds, 1), 1);
	assert_true(dataset_relevant(ds, 0, ds, 1));
	assert_string_equal(ds->source[1], "p/2.jpg");
	assert_true(ds->rgb[16 * 16 * 3] > 190);
	dataset_free(ds);
}

static void
manifest_of_many_classes(void **state)
{
	(void) state;
	FILE *file;
	Dataset *ds;

	write_picture("1.jpg", 16, 16, 10, 20, 30);
	file = fopen(in_root("list.tsv"), "w");
	for (int c = 0; c < 300; c++)
		fprintf(file, "1.jpg\tclass%03d,class%03d\n", (c * 7) % 300, (c * 7 + 1) % 300);
	fclose(file);
	ds = open_ok("manifest", in_root("list.tsv"), &prepare16, 2);
	assert_int_equal(ds->nclasses, 300);
	assert_int_equal(ds->label_words, 5);
	assert_string_equal(ds->class_name[299], "class299");
	for (int i = 0; i < 300; i++)
	{
		int c = (i * 7) % 300, next = (i * 7 + 1) % 300;

		assert_int_equal(dataset_class(ds, i), c < next ? c : next);
		assert_true(ds->labels[i * 5 + c / 64] >> (c % 64) & 1);
		assert_true(ds->labels[i * 5 + next / 64] >> (next % 64) & 1);
	}
	dataset_free(ds);
}

static void
manifest_errors(void **state)
{
	(void) state;
	fails_in_root("manifest", "absent.tsv", "cannot open the manifest");
	write_text("m", "");
	fails_in_root("manifest", "m", "names no pictures");
	write_text("m", "a.jpg\tx\nb.jpg x\n");
	fails_in_root("manifest", "m", "m, line 2: no tab");
	write_text("m", "\n\n\tx\n");
	fails_in_root("manifest", "m", "m, line 3: the path is empty");
	write_text("m", "a.jpg\t\n");
	fails_in_root("manifest", "m", "m, line 1: an empty label");
	write_text("m", "a.jpg\tx,,y\n");
	fails_in_root("manifest", "m", "m, line 1: an empty label");
	write_text("m", "a.jpg\tx\ty\n");
	fails_in_root("manifest", "m", "m, line 1: more than one tab");
	write_file("m", "a.jpg\tx\nb\0c\ty\n", 14);
	fails_in_root("manifest", "m", "m, line 2: a zero byte");
	write_text("m", "a.jpg\tx\nb.jpg\tx\n");
	fails_in_root("manifest", "m", "only one label, \"x\"");
	make_folder("d");
	fails_in_root("manifest", "d", "Is a directory");
}

/* Whatever bytes a manifest holds, the outcome is pictures or a reason. */
static void
manifest_of_random_bytes(void **state)
{
	(void) state;
	static const char alphabet[] = "a1.jpg/\t\t,,\n\n\r\0\xef\xbb\xbf";
	char text[80], what[300];
	Rng rng;

	write_picture("a", 16, 16, 10, 20, 30);
	snprintf(what, sizeof what, "manifest:%s", in_root("m"));
	rng_seed(&rng, 3, 1);
	for (int trial = 0; trial < 1000; trial++)
	{
		size_t size = rng_below(&rng, sizeof text);
		TrainError err = {""};
		Dataset *ds;

		for (size_t i = 0; i < size; i++)
			text[i] = alphabet[rng_below(&rng, sizeof alphabet)];
		write_file("m", text, size);
		ds = dataset_open(what, &prepare16, 1, NULL, &err);
		if (ds == NULL)
			assert_true(err.text[0] != '\0');
		dataset_free(ds);
	}
}

/* --------------------------------------------------------------------- CIFAR-10 */

#define RECORD 3073

/* A whole batch of made-up records: pixel p of colour c of record r is a formula. */
static uint8_t
made_pixel(int r, int c, int p)
{
	return (uint8_t) (r * 31 + c * 7 + p * (c + 1));
}

static void
write_batch(const char *name, int bad_label_at, size_t size)
{
	uint8_t *data = malloc(RECORD * 10000 + 1);

	for (int r = 0; r < 10000; r++)
	{
		uint8_t *record = data + (size_t) r * RECORD;

		record[0] = (uint8_t) (r == bad_label_at ? 10 : r % 10);
		for (int c = 0; c < 3; c++)
			for (int p = 0; p < 1024; p++)
				record[1 + c * 1024 + p] = made_pixel(r, c, p);
	}
	write_file(name, data, size);
	free(data);
}

static void
cifar10_batches(void **state)
{
	(void) state;
	char what[128];
	Dataset *ds;

	write_batch("test_batch.bin", -1, RECORD * 10000);
	snprintf(what, sizeof what, "%s:test", root);
	ds = open_ok("cifar10", what, &prepare32, 1);
	assert_int_equal(ds->n, 10000);
	assert_int_equal(ds->nclasses, 10);
	assert_string_equal(ds->class_name[0], "airplane");
	assert_string_equal(ds->class_name[9], "truck");
	assert_string_equal(ds->source[17], "test_batch.bin:17");
	for (int r = 0; r < 10000; r += 1111)
	{
		assert_int_equal(dataset_class(ds, r), r % 10);
		for (int p = 0; p < 1024; p++)
			for (int c = 0; c < 3; c++)
				assert_int_equal(ds->rgb[((size_t) r * 1024 + p) * 3 + c],
								 made_pixel(r, c, p));
	}
	dataset_free(ds);
}

static void
cifar10_errors(void **state)
{
	(void) state;
	char what[128];

	snprintf(what, sizeof what, "cifar10:%s:test", root);
	open_fails(what, &prepare32, "neither test_batch.bin");
	open_fails(what, &prepare16,
			   "CIFAR-10 pictures are 32 x 32, but the network takes 16");
	write_batch("test_batch.bin", -1, RECORD * 10000 - 1);
	open_fails(what, &prepare32, "has 30729999 bytes, but a CIFAR-10 batch has exactly");
	write_batch("test_batch.bin", -1, RECORD * 10000 + 1);
	open_fails(what, &prepare32, "has 30730001 bytes");
	write_batch("test_batch.bin", 1234, RECORD * 10000);
	open_fails(what, &prepare32, "test_batch.bin: record 1234 has label 10");
	snprintf(what, sizeof what, "cifar10:%s", root);
	open_fails(what, &prepare32, "neither data_batch_1.bin");
	write_text("cifar10.med.xz", "this is no archive");
	open_fails(what, &prepare32, "not an xz file");
	write_text("cifar10.med.xz", "");
	open_fails(what, &prepare32, "it ends too early");
	write_file("cifar10.med.xz", "\xfd\x37zXZ\0\0\4\xe6\xd6\xb4\x46\2\0\x21\1\x16", 17);
	open_fails(what, &prepare32, "it ends too early");
	make_folder("data_batch_1.bin");
	open_fails(what, &prepare32, "data_batch_1.bin\" is not a file");
}

/* FNV-1a of the official records of the data set. */
static uint64_t
hash_records(const Dataset *ds)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (int i = 0; i < ds->n; i++)
	{
		const uint8_t *rgb = ds->rgb + (size_t) i * 1024 * 3;

		hash = (hash ^ (uint64_t) dataset_class(ds, i)) * UINT64_C(0x100000001b3);
		for (int c = 0; c < 3; c++)
			for (int p = 0; p < 1024; p++)
				hash = (hash ^ rgb[p * 3 + c]) * UINT64_C(0x100000001b3);
	}
	return hash;
}

/* The archive gives, byte for byte, the official test_batch.bin (whose sha256 is
 * 8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b). */
static void
cifar10_archive(void **state)
{
	(void) state;
	const char *data = getenv("DEEPHASH_DATA");
	char place[4096];
	Dataset *ds;

	if (data == NULL)
		data = "../shared/data";
	snprintf(place, sizeof place, "%s/cifar10.med.xz", data);
	if (access(place, R_OK) != 0)
	{
		print_message("no %s: set DEEPHASH_DATA to test with CIFAR-10 itself\n", place);
		skip();
	}
	snprintf(place, sizeof place, "%s:test", data);
	ds = open_ok("cifar10", place, &prepare32, 1);
	assert_int_equal(ds->n, 10000);
	assert_int_equal(hash_records(ds), UINT64_C(0x3fbccbebe9a2e075));
	assert_string_equal(ds->source[9999], "test_batch.bin:9999");
	dataset_free(ds);
}

#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FILE_TEST(folder_of_classes),
		FILE_TEST(folder_with_trouble),
		FILE_TEST(folder_errors),
		FILE_TEST(manifest_with_several_labels),
		FILE_TEST(manifest_of_many_classes),
		FILE_TEST(manifest_errors),
		FILE_TEST(manifest_of_random_bytes),
		FILE_TEST(cifar10_batches),
		FILE_TEST(cifar10_errors),
		cmocka_unit_test(cifar10_archive),
	};

	return cmocka_run_group_tests_name("train_data", tests, NULL, NULL);
}
