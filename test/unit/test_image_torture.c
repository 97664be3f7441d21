/*
 * test_image_torture.c
 *	  218 odd and broken JPEG files against what djpeg makes of them.
 *
 * The files are not part of the project: jpeg_torture.tar and its index are looked
 * for in DEEPHASH_DATA, and the test is skipped where they are absent.
 */
#include "test/unit/image_samples.h"

typedef struct Bytes
{
	uint8_t *data;
	size_t size;
} Bytes;

static Bytes archive;
static Bytes index_text;
static Bytes photographs;

static Bytes
read_whole(const char *name)
{
	const char *folder = getenv("DEEPHASH_DATA");
	char path[4096];
	Bytes b = {0};
	FILE *f;
	long size;

	snprintf(path, sizeof(path), "%s/%s", folder ? folder : "../shared/data", name);
	f = fopen(path, "rb");
	if (f == NULL)
		return b;
	if (fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0)
	{
		rewind(f);
		b.data = malloc((size_t) size + 1);
		assert_non_null(b.data);
		b.size = fread(b.data, 1, (size_t) size, f);
		b.data[b.size] = '\0';
	}
	fclose(f);
	return b;
}

/* ------------------------------------------------------------------ ustar */

#define TAR_BLOCK 512

/* The member at *at, moving *at to the next; false at the end of the archive. */
static bool
next_member(const Bytes *tar, size_t *at, char name[257], Sample *content)
{
	const char *header = (const char *) tar->data + *at;
	char digits[13] = {0};

	if (*at + TAR_BLOCK > tar->size || header[0] == '\0')
		return false;
	assert_memory_equal(header + 257, "ustar", 5);
	snprintf(name, 257, "%.155s%s%.100s", header + 345, header[345] ? "/" : "", header);
	memcpy(digits, header + 124, 12);
	content->size = strtoul(digits, NULL, 8);
	content->data = tar->data + *at + TAR_BLOCK;
	assert_true(content->size <= tar->size - *at - TAR_BLOCK);
	*at += TAR_BLOCK + (content->size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
	return true;
}

static Sample
find_member(const char *wanted)
{
	char name[257];
	Sample s = {0};
	size_t at = 0;

	while (next_member(&archive, &at, name, &s))
		if (strcmp(name, wanted) == 0)
			return s;
	fail_msg("no member %s", wanted);
	return s;
}

/* ------------------------------------------------------------------ verdicts */

/* Column 5 of the index line of a member: what djpeg does. */
static bool
verdict_of(const char *name, char verdict[200])
{
	size_t n = strlen(name);

	for (const char *line = (const char *) index_text.data; *line != '\0';)
	{
		const char *end = strchr(line, '\n');

		if (strncmp(line, name, n) == 0 && line[n] == '\t')
		{
			for (int column = 0; column < 4; column++)
				line = strchr(line, '\t') + 1;
			snprintf(verdict, 200, "%.*s", (int) strcspn(line, "\t\n"), line);
			return true;
		}
		if (end == NULL)
			break;
		line = end + 1;
	}
	return false;
}

/* The refusals of ours where djpeg goes on with grey. */
static bool
is_our_policy(const char *text)
{
	return strncmp(text, "truncated JPEG: ", 16) == 0 ||
		   strncmp(text, "corrupt JPEG: its picture data end in block row ", 48) == 0 ||
		   strstr(text, "over the limit of 100000000 pixels") != NULL;
}

static void
test_verdicts(void **state)
{
	char name[257];
	char verdict[200];
	Sample s;
	size_t at = 0;
	int files = 0;
	int decoded = 0;

	(void) state;
	while (next_member(&archive, &at, name, &s))
	{
		/* A copy of its own size: ASan sees reads past the end. */
		uint8_t *copy;
		Image img;
		ImageError err = {""};
		bool ok;

		if (!verdict_of(name, verdict))
			continue;
		files++;
		copy = malloc(s.size ? s.size : 1);
		memcpy(copy, s.data, s.size);
		ok = image_decode_jpeg(copy, s.size, 0, NULL, &img, NULL, &err);
		decoded += ok;
		if (ok && strncmp(verdict, "refused", 7) == 0)
			fail_msg("%s: decoded; djpeg: %s", name, verdict);
		if (!ok)
			check_error_text(&err);
		if (!ok && strcmp(verdict, "decodes") == 0)
			fail_msg("%s: %s; djpeg decodes it", name, err.text);
		if (!ok && strncmp(verdict, "decodes with", 12) == 0 && !is_our_policy(err.text))
			fail_msg("%s: %s; djpeg: %s", name, err.text, verdict);
		image_free(&img);
		free(copy);
	}
	assert_int_equal(files, 218);
	assert_true(decoded >= 70);
}

static void
test_named_files(void **state)
{
	static const char *const cuts[] = {"01", "10", "25", "50", "75", "95", "99"};
	char name[64];
	Image img;

	(void) state;
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++)
	{
		snprintf(name, sizeof(name), "made/cut_%s.jpg", cuts[i]);
		must_refuse(find_member(name), NULL, "truncated JPEG");
	}
	must_refuse(find_member("made/dims_65500x65500.jpg"), NULL,
				"JPEG of 65500x65500 pixels is over the limit");
	must_refuse(find_member("made/dims_30000x30000.jpg"), NULL,
				"JPEG of 30000x30000 pixels is over the limit");
	must_refuse(find_member("made/claims_12_bit.jpg"), NULL, "12 bits per sample");
	must_refuse(find_member("jd/tests__reftest__images__mozilla__jpg-size-6x6.jpg"), NULL,
				"not a JPEG: looks like PNG");
	must_refuse(find_member("jd/tests__reftest__images__lossless__2__MR4.jpg"), NULL,
				"lossless JPEG");
	must_refuse(find_member("jd/tests__crashtest__images__empty.jpg"), NULL,
				"the data are empty");
	img = must_decode(find_member("made/no_eoi.jpg"), 0);
	assert_int_equal(img.width, 700);
	image_free(&img);
}

/* One scene, stored in every orientation by others: upright all look the same. */
static void
test_landscapes(void **state)
{
	const ImagePreprocess pre = {96, 64, 0, IMAGE_AREA};
	uint8_t first[96 * 64 * 3];
	uint8_t other[96 * 64 * 3];

	(void) state;
	for (int i = 0; i <= 8; i++)
	{
		char name[64];
		Image img;
		ImageError err;
		long sum = 0;

		snprintf(name, sizeof(name), "exif/Landscape_%d.jpg", i);
		img = must_decode(find_member(name), 96);
		assert_true(img.width > img.height);
		assert_true(image_prepare(&img, &pre, i == 0 ? first : other, &err));
		image_free(&img);
		for (size_t k = 0; i > 0 && k < sizeof(first); k++)
			sum += abs(first[k] - other[k]);
		if (sum > 4 * (long) sizeof(first))
			fail_msg("%s differs by %ld on average", name, sum / (long) sizeof(first));
	}
}

/* Ordinary photographs give no warning, and a picture that is not flat. */
static void
test_photographs(void **state)
{
	static const ImagePreprocess pre = {64, 64, 72, IMAGE_BICUBIC};
	uint8_t out[64 * 64 * 3];
	char name[257];
	Sample s;
	size_t at = 0;
	int files = 0;

	(void) state;
	if (photographs.data == NULL)
	{
		print_message("imagenet_photos.tar is not in DEEPHASH_DATA\n");
		skip();
	}
	while (next_member(&photographs, &at, name, &s))
	{
		Image img;
		ImageError err = {""};
		int warnings;
		int low = 255;
		int high = 0;

		if (strstr(name, ".jpg") == NULL)
			continue;
		if (!image_decode_jpeg(s.data, s.size, 0, NULL, &img, &warnings, &err) ||
			!image_from_jpeg(s.data, s.size, &pre, NULL, out, &err))
			fail_msg("%s: %s", name, err.text);
		assert_int_equal(warnings, 0);
		assert_int_equal(img.width < img.height ? img.width : img.height, 256);
		for (size_t i = 0; i < sizeof(out); i++)
		{
			low = out[i] < low ? out[i] : low;
			high = out[i] > high ? out[i] : high;
		}
		assert_true(high - low > 60);
		image_free(&img);
		files++;
	}
	assert_int_equal(files, 250);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_named_files),
		cmocka_unit_test(test_landscapes),
		cmocka_unit_test(test_photographs),
	};
	int failed;

	archive = read_whole("jpeg_torture.tar");
	index_text = read_whole("jpeg_torture_index.tsv");
	photographs = read_whole("imagenet_photos.tar");
	if (archive.data == NULL || index_text.data == NULL)
	{
		printf("1..0 # SKIP jpeg_torture.tar and its index are not in DEEPHASH_DATA\n");
		failed = 0;
	}
	else
		failed = cmocka_run_group_tests_name("image: torture files", tests, NULL, NULL);
	free(archive.data);
	free(index_text.data);
	free(photographs.data);
	return failed;
}
