/*
 * test_train_data.c
 *	  Readers of labelled pictures: CIFAR-10, folders, manifests; selecting, splitting,
 *	  protocols.  Every file is made here; CIFAR-10 itself only where it is to be had.
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
#include "training/data/protocol.h"

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

/* ------------------------------------------------- selecting, splitting, protocols */

/* n 1 x 1 pictures, classes in turn; the picture is its number. */
static Dataset *
made_set(int n, int nclasses, bool cifar_names)
{
	Dataset *ds = calloc(1, sizeof *ds);
	char name[64];

	ds->n = n;
	ds->width = ds->height = 1;
	ds->nclasses = nclasses;
	ds->label_words = (nclasses + 63) / 64;
	ds->rgb = calloc((size_t) n, 3);
	ds->labels = calloc((size_t) n * ds->label_words, sizeof(uint64_t));
	ds->source = calloc((size_t) n, sizeof(char *));
	ds->class_name = calloc((size_t) nclasses, sizeof(char *));
	for (int c = 0; c < nclasses; c++)
	{
		snprintf(name, sizeof name, "c%d", c);
		ds->class_name[c] = strdup(name);
	}
	for (int i = 0; i < n; i++)
	{
		int c = i % nclasses;

		memcpy(ds->rgb + i * 3, &i, 3);
		ds->labels[i * ds->label_words + c / 64] = UINT64_C(1) << (c % 64);
		if (cifar_names && i < n * 5 / 6)
			snprintf(name, sizeof name, "data_batch_%d.bin:%d", 1 + i * 6 / n, i);
		else
			snprintf(name, sizeof name, "%s:%d", cifar_names ? "test_batch.bin" : "p", i);
		ds->source[i] = strdup(name);
	}
	return ds;
}

static int
number_of(const Dataset *ds, int i)
{
	int number = 0;

	memcpy(&number, ds->rgb + (size_t) i * 3, 3);
	return number;
}

static void
subsets(void **state)
{
	(void) state;
	static const uint32_t index[4] = {7, 0, 7, 99};
	Dataset *ds = made_set(100, 70, false);
	Dataset *part = dataset_subset(ds, index, 4);
	Dataset *none = dataset_subset(ds, index, 0);

	assert_int_equal(part->n, 4);
	assert_int_equal(none->n, 0);
	for (int i = 0; i < 4; i++)
	{
		assert_int_equal(number_of(part, i), (int) index[i]);
		assert_int_equal(dataset_class(part, i), (int) index[i] % 70);
		assert_string_equal(part->source[i], ds->source[index[i]]);
		assert_true(dataset_relevant(part, i, ds, (int) index[i]));
	}
	assert_string_equal(part->class_name[69], "c69");
	dataset_free(none);
	dataset_free(part);
	dataset_free(ds);
}

static void
stratified_split(void **state)
{
	(void) state;
	Dataset *ds = made_set(1000, 7, false);
	Dataset *a, *b, *a2, *b2;
	int seen[1000] = {0}, count[7] = {0};
	TrainError err;

	ds->labels[3] = 0; /* without a label: split like the rest */
	assert_true(dataset_split(ds, 0.1, 42, &a, &b, &err));
	assert_true(dataset_split(ds, 0.1, 42, &a2, &b2, &err));
	assert_int_equal(a->n + b->n, 1000);
	assert_memory_equal(b->rgb, b2->rgb, (size_t) b->n * 3);
	for (int i = 0; i < a->n; i++)
		seen[number_of(a, i)]++;
	for (int i = 0; i < b->n; i++)
	{
		seen[number_of(b, i)]++;
		if (dataset_class(b, i) >= 0)
			count[dataset_class(b, i)]++;
	}
	for (int i = 0; i < 1000; i++)
		assert_int_equal(seen[i], 1);
	for (int c = 0; c < 7; c++)
		assert_int_equal(count[c], 14); /* of 143 or 142 */
	dataset_free(a2);
	dataset_free(b2);
	assert_true(dataset_split(ds, 0.1, 43, &a2, &b2, &err));
	assert_memory_not_equal(b->rgb, b2->rgb, (size_t) b->n * 3);
	dataset_free(a);
	dataset_free(b);
	dataset_free(a2);
	dataset_free(b2);
	assert_false(dataset_split(ds, 0, 1, &a, &b, &err));
	assert_non_null(strstr(err.text, "must lie between 0 and 1"));
	assert_false(dataset_split(ds, 0.0001, 1, &a, &b, &err));
	assert_non_null(strstr(err.text, "leaves one part empty"));
	assert_null(a);
	dataset_free(ds);
}

static void
check_protocol(const Dataset *ds, const char *name, int ntrain, int nquery, int ndatabase,
			   bool train_in_database)
{
	ProtocolSplit split, again, other;
	uint8_t *use = calloc((size_t) ds->n, 1);
	int count[10] = {0};
	TrainError err;

	if (!protocol_build(name, ds, 1, &split, &err))
		fail_msg("%s: %s", name, err.text);
	assert_true(protocol_build(name, ds, 1, &again, &err));
	assert_true(protocol_build(name, ds, 2, &other, &err));
	assert_int_equal(split.ntrain, ntrain);
	assert_int_equal(split.nquery, nquery);
	assert_int_equal(split.ndatabase, ndatabase);
	assert_memory_equal(split.query, again.query, (size_t) nquery * sizeof *again.query);
	assert_memory_equal(split.train, again.train, (size_t) ntrain * sizeof *again.train);
	if (strcmp(name, "Pfull-R") != 0)
		assert_memory_not_equal(split.query, other.query,
								(size_t) nquery * sizeof *again.query);
	for (int i = 0; i < nquery; i++)
	{
		use[split.query[i]] |= 1;
		count[dataset_class(ds, (int) split.query[i])]++;
		assert_true(i == 0 || split.query[i] > split.query[i - 1]);
	}
	for (int i = 0; i < ntrain; i++)
		use[split.train[i]] |= 2;
	for (int i = 0; i < ndatabase; i++)
		use[split.database[i]] |= 4;
	for (int i = 0; i < ds->n; i++)
	{
		/* a query is nothing else; training pictures as the protocol says */
		if (use[i] & 1)
			assert_int_equal(use[i], 1);
		else if (use[i] & 2)
			assert_int_equal(use[i], train_in_database ? 6 : 2);
		else
			assert_int_equal(use[i], 4);
	}
	for (int c = 0; c < 10; c++)
		assert_int_equal(count[c], nquery / 10);
	protocol_free(&split);
	protocol_free(&again);
	protocol_free(&other);
	free(use);
}

static void
protocols(void **state)
{
	(void) state;
	Dataset *ds = made_set(60000, 10, true);
	Dataset *few = made_set(100, 10, false);
	ProtocolSplit split;
	TrainError err;

	check_protocol(ds, "P54", 5000, 1000, 54000, false);
	check_protocol(ds, "P59", 5000, 1000, 59000, true);
	check_protocol(ds, "Pfull", 50000, 10000, 50000, true);
	check_protocol(ds, "Pfull-R", 50000, 10000, 50000, true);
	assert_true(protocol_build("pfull-r", ds, 1, &split, &err));
	assert_int_equal(split.query[0], 50000);
	protocol_free(&split);
	for (int i = 0; protocol_at(i); i++)
	{
		assert_true(protocol_build(protocol_at(i)->name, ds, 1, &split, &err));
		protocol_free(&split);
	}
	assert_false(protocol_build("P60", ds, 1, &split, &err));
	assert_non_null(strstr(err.text, "unknown protocol \"P60\": expected P54"));
	assert_false(protocol_build("P54", few, 1, &split, &err));
	assert_non_null(strstr(err.text, "class \"c0\" has 10 pictures, too few"));
	assert_false(protocol_build("Pfull-R", few, 1, &split, &err));
	assert_non_null(strstr(err.text, "official split"));
	ds->labels[5] |= 1;
	ds->labels[6] = 0;
	assert_false(protocol_build("P54", ds, 1, &split, &err));
	assert_non_null(strstr(err.text, "has 2 labels"));
	dataset_free(few);
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
		cmocka_unit_test(subsets),
		cmocka_unit_test(stratified_split),
		cmocka_unit_test(protocols),
	};

	return cmocka_run_group_tests_name("train_data", tests, NULL, NULL);
}
