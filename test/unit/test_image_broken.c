/*
 * test_image_broken.c
 *	  Files that are cut, damaged, or too large: an error text or pixels, always.
 */
#include "test/unit/image_samples.h"

#define W 45
#define H 37

static Sample
sample(SampleOptions o)
{
	Image img = smooth_picture(W, H);
	Sample s = write_sample(img.rgb, W, H, o);

	image_free(&img);
	return s;
}

static Sample
cmyk_sample(void)
{
	static const uint8_t inks[W * H * 4] = {7};
	uint8_t exif[EXIF_SIZE];

	make_exif(exif, 6, true);
	return write_sample(inks, W, H,
						(SampleOptions){.space = JCS_YCCK,
										.cmyk_pixels = true,
										.restart_interval = 4,
										.quality = 75,
										.exif = exif,
										.exif_size = EXIF_SIZE});
}

/* -------------------------------------------------------------------- cut off */

/* Where the coded picture ends: the EOI marker is the last thing a sample has. */
static void
check_every_cut(Sample s)
{
	for (size_t size = 0; size < s.size; size++)
	{
		Sample cut = {malloc(size ? size : 1), size};
		ImageError err = {""};
		Image img;
		int warnings = -1;

		memcpy(cut.data, s.data, size);
		if (size + 2 < s.size)
			must_refuse(cut, NULL,
						size < 2	? "not a JPEG"
						: size < 20 ? "truncated JPEG: its data end inside the header"
									: "truncated JPEG");
		else if (image_decode_jpeg(cut.data, size, 0, NULL, &img, &warnings, &err))
		{
			/* Only the marker is missing: the picture is all there. */
			Image whole = must_decode(s, 0);

			assert_int_equal(largest_difference(&img, &whole), 0);
			assert_int_equal(warnings, 1);
			image_free(&whole);
			image_free(&img);
		}
		else
			assert_non_null(strstr(err.text, "truncated JPEG"));
		free(cut.data);
	}
	free(s.data);
}

static void
test_truncated(void **state)
{
	(void) state;
	check_every_cut(sample((SampleOptions){.quality = 75}));
	check_every_cut(sample((SampleOptions){.quality = 75, .subsampled = true}));
	check_every_cut(sample((SampleOptions){.quality = 75, .progressive = true}));
	check_every_cut(sample((SampleOptions){.quality = 75, .restart_interval = 2}));
	check_every_cut(
		sample((SampleOptions){.quality = 75, .one_scan_per_component = true}));
	check_every_cut(sample((SampleOptions){.quality = 75, .space = JCS_GRAYSCALE}));
	check_every_cut(cmyk_sample());
}

/* Without EOI the end of an arithmetic-coded picture cannot be told from a cut. */
static void
test_truncated_arithmetic(void **state)
{
	Sample s = sample((SampleOptions){.quality = 75, .arithmetic = true});

	(void) state;
	for (size_t size = 2; size + 1 < s.size; size++)
		must_refuse((Sample){s.data, size}, NULL, "truncated JPEG");
	free(s.data);
}

/* A frame header that promises more rows than there are. */
static void
test_early_end(void **state)
{
	Sample s = sample((SampleOptions){.quality = 75});
	Image img;
	ImageError err = {""};
	size_t at = 2;

	(void) state;
	while (s.data[at + 1] != 0xc0)
		at += 2 + ((size_t) s.data[at + 2] << 8 | s.data[at + 3]);
	s.data[at + 5] = 2; /* H was 37, in five rows of blocks; now it is 2 * 256 + 37 */
	must_refuse(s, NULL, "corrupt JPEG: its picture data end in block row 6 of 69");
	s.data[at + 5] = 0;
	s.data[at + 6] = 30; /* and fewer: the rest is ignored */
	assert_true(image_decode_jpeg(s.data, s.size, 0, NULL, &img, NULL, &err));
	assert_int_equal(img.height, 30);
	image_free(&img);
	free(s.data);
}

/* ------------------------------------------------------------------- tolerated */

static void
check_tolerated(Sample s, int min_warnings)
{
	Image img;
	ImageError err = {""};
	int warnings = -1;

	if (!image_decode_jpeg(s.data, s.size, 0, NULL, &img, &warnings, &err))
		fail_msg("refused: %s", err.text);
	assert_true(warnings >= min_warnings);
	if (min_warnings == 0)
		assert_int_equal(warnings, 0);
	image_free(&img);
}

static Sample
insert_bytes(Sample s, size_t at, const char *bytes, size_t n)
{
	Sample out = {malloc(s.size + n), s.size + n};

	memcpy(out.data, s.data, at);
	memcpy(out.data + at, bytes, n);
	memcpy(out.data + at + n, s.data + at, s.size - at);
	return out;
}

static void
test_tolerated(void **state)
{
	Sample s = sample((SampleOptions){.quality = 75});
	Sample between = insert_bytes(s, 20, "abcdef", 6); /* after APP0 */
	Sample behind = insert_bytes(s, s.size, "anything\xff\xd8\xff\xda", 12);
	Sample fill = insert_bytes(s, s.size - 2, "\xff\xff\xff", 3);
	Sample extra = insert_bytes(s, s.size - 2, "\x55\x55\x55\x55\x55\x55\x55\x55", 8);

	(void) state;
	check_tolerated(s, 0);
	check_tolerated(between, 1);
	check_tolerated(behind, 0);
	check_tolerated(fill, 0);
	check_tolerated(extra, 1);
	free(s.data);
	free(between.data);
	free(behind.data);
	free(fill.data);
	free(extra.data);
}

/* ---------------------------------------------------------- not to be accepted */

static void
patch_frame(Sample s, int offset, uint8_t value)
{
	size_t at = 2;

	while (s.data[at + 1] != 0xc0)
		at += 2 + ((size_t) s.data[at + 2] << 8 | s.data[at + 3]);
	s.data[at + offset] = value;
}

static void
test_kinds_refused(void **state)
{
	static const int frames[] = {0xc3, 0xc5, 0xc6, 0xc7, 0xcb, 0xcd, 0xce, 0xcf};
	Image img = smooth_picture(W, H);
	uint8_t two[W * H * 2] = {0};
	Sample s;

	(void) state;
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++)
	{
		s = write_sample(img.rgb, W, H, (SampleOptions){0});
		patch_frame(s, 1, (uint8_t) frames[i]);
		must_refuse(s, NULL, frames[i] == 0xc3 ? "lossless JPEG" : "JPEG (SOF type 0x");
		must_refuse(s, NULL, "only baseline, extended and progressive JPEG are accepted");
		free(s.data);
	}
	s = write_sample(img.rgb, W, H, (SampleOptions){0});
	patch_frame(s, 4, 12);
	must_refuse(s, NULL, "JPEG with 12 bits per sample: only 8 are accepted");
	patch_frame(s, 4, 8);
	patch_frame(s, 5, 0);
	patch_frame(s, 6, 0);
	must_refuse(s, NULL, "corrupt JPEG: empty JPEG image");
	patch_frame(s, 5, 0xff);
	patch_frame(s, 6, 0xff);
	must_refuse(s, NULL, "JPEG has a side of more than 65500 pixels");
	free(s.data);

	/* Two components: a grey file of twice the width will do for a scan. */
	{
		struct jpeg_compress_struct cinfo;
		struct jpeg_error_mgr errors;
		JSAMPROW row = two;

		s = (Sample){0};
		cinfo.err = jpeg_std_error(&errors);
		jpeg_create_compress(&cinfo);
		jpeg_mem_dest(&cinfo, &s.data, &s.size);
		cinfo.image_width = W;
		cinfo.image_height = H;
		cinfo.input_components = 2;
		cinfo.in_color_space = JCS_UNKNOWN;
		jpeg_set_defaults(&cinfo);
		jpeg_start_compress(&cinfo, TRUE);
		while (cinfo.next_scanline < H)
			jpeg_write_scanlines(&cinfo, &row, 1);
		jpeg_finish_compress(&cinfo);
		jpeg_destroy_compress(&cinfo);
	}
	must_refuse(s, NULL, "JPEG with 2 colour components");
	free(s.data);
	image_free(&img);
}

/* --------------------------------------------------------------------- limits */

static void
test_pixel_limit(void **state)
{
	ImageLimits limits = image_default_limits;
	Sample s = sample((SampleOptions){0});
	Image img;

	(void) state;
	limits.max_pixels = W * H;
	assert_true(image_decode_jpeg(s.data, s.size, 0, &limits, &img, NULL, NULL));
	image_free(&img);
	limits.max_pixels = W * H - 1;
	must_refuse(s, &limits, "JPEG of 45x37 pixels is over the limit of 1664 pixels");
	patch_frame(s, 5, 0xff); /* 65500 x 65500, before anything is allocated */
	patch_frame(s, 6, 0xdc);
	patch_frame(s, 7, 0xff);
	patch_frame(s, 8, 0xdc);
	must_refuse(s, NULL,
				"JPEG of 65500x65500 pixels is over the limit of 100000000 pixels");
	free(s.data);
}

static void
test_scan_limit(void **state)
{
	ImageLimits limits = image_default_limits;
	Sample s =
		sample((SampleOptions){.space = JCS_GRAYSCALE, .one_scan_per_coefficient = true});
	Image img;

	(void) state;
	limits.max_scans = 64;
	assert_true(image_decode_jpeg(s.data, s.size, 0, &limits, &img, NULL, NULL));
	image_free(&img);
	limits.max_scans = 63;
	must_refuse(s, &limits, "JPEG has more scans than the limit of 63");

	/* The whole work is limited too: here 20 scans are. */
	limits.max_scans = 64;
	limits.max_pixels = W * H;
	must_refuse(s, &limits,
				"JPEG of 45x37 pixels has more scans than the limit of 20 for its size");
	free(s.data);
}

static void
test_memory_limit(void **state)
{
	ImageLimits limits = image_default_limits;
	Image img = smooth_picture(1000, 700);
	Sample baseline = write_sample(img.rgb, 1000, 700, (SampleOptions){0});
	Sample progressive =
		write_sample(img.rgb, 1000, 700, (SampleOptions){.progressive = true});
	Image got;
	ImageError err = {""};

	(void) state;
	limits.max_memory = 3 << 20; /* room for the pixels, not for the coefficients */
	assert_true(
		image_decode_jpeg(baseline.data, baseline.size, 0, &limits, &got, NULL, &err));
	image_free(&got);
	must_refuse(progressive, &limits, "JPEG of 1000x700 pixels needs");
	limits.max_memory = 1000 * 700 * 3 - 1;
	must_refuse(baseline, &limits, "over the limit of 2 MB");
	/* Scaled down by eight it fits. */
	assert_true(
		image_decode_jpeg(baseline.data, baseline.size, 1, &limits, &got, NULL, &err));
	image_free(&got);
	limits.max_memory = 8 << 20;
	assert_true(image_decode_jpeg(progressive.data, progressive.size, 0, &limits, &got,
								  NULL, &err));
	image_free(&got);
	image_free(&img);
	free(baseline.data);
	free(progressive.data);
}

/* --------------------------------------------------------------------- damage */

static void
check_outcome(const uint8_t *data, size_t size, const ImageLimits *limits)
{
	static const ImagePreprocess pre = {24, 24, 28, IMAGE_BICUBIC};
	uint8_t out[24 * 24 * 3];
	ImageError err = {""};
	Image img;
	int warnings = -1;

	if (image_decode_jpeg(data, size, 0, limits, &img, &warnings, &err))
	{
		assert_true(warnings >= 0);
		assert_true((int64_t) img.width * img.height <= limits->max_pixels);
		assert_true(image_prepare(&img, &pre, out, &err));
		image_free(&img);
	}
	else
	{
		check_error_text(&err);
		assert_null(img.rgb);
	}
	if (!image_from_jpeg(data, size, &pre, limits, out, &err))
		check_error_text(&err);
}

/* In exactly as much memory as there are bytes, so that ASan sees every overrun. */
static void
damage(Sample s, uint64_t seed, int rounds)
{
	ImageLimits limits = {.max_pixels = 200000, .max_scans = 50, .max_memory = 4 << 20};
	uint8_t *copy = malloc(s.size);

	for (int i = 0; i < rounds; i++)
	{
		int flips = 1 + (int) (sample_random(&seed) % 8);

		memcpy(copy, s.data, s.size);
		while (flips-- > 0)
			copy[sample_random(&seed) % s.size] = (uint8_t) sample_random(&seed);
		check_outcome(copy, s.size, &limits);
	}
	free(copy);
	free(s.data);
}

static void
test_random_damage(void **state)
{
	(void) state;
	damage(sample((SampleOptions){.quality = 50}), 1, 2000);
	damage(sample((SampleOptions){.quality = 50, .progressive = true}), 2, 2000);
	damage(sample((SampleOptions){.quality = 50, .arithmetic = true}), 3, 500);
	damage(cmyk_sample(), 4, 1000);
}

/* Every byte of the headers with some telling values. */
static void
test_header_damage(void **state)
{
	static const uint8_t values[] = {0x00, 0x01, 0x02, 0x7f, 0x80,
									 0xd8, 0xd9, 0xfe, 0xff};
	ImageLimits limits = {.max_pixels = 200000, .max_scans = 50, .max_memory = 4 << 20};
	Sample s = cmyk_sample();
	size_t header = s.size < 700 ? s.size : 700;

	(void) state;
	for (size_t at = 2; at < header; at++)
		for (size_t v = 0; v < sizeof(values); v++)
		{
			uint8_t old = s.data[at];

			s.data[at] = values[v];
			check_outcome(s.data, s.size, &limits);
			s.data[at] = old;
		}
	free(s.data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truncated),	  cmocka_unit_test(test_truncated_arithmetic),
		cmocka_unit_test(test_early_end),	  cmocka_unit_test(test_tolerated),
		cmocka_unit_test(test_kinds_refused), cmocka_unit_test(test_pixel_limit),
		cmocka_unit_test(test_scan_limit),	  cmocka_unit_test(test_memory_limit),
		cmocka_unit_test(test_random_damage), cmocka_unit_test(test_header_damage),
	};

	return cmocka_run_group_tests_name("image: broken files", tests, NULL, NULL);
}
