/*
 * test_image_resize.c
 *	  Resize, crop and normalisation against a plain reference in double precision.
 */
#include "test/unit/image_samples.h"

#include <math.h>

/* ------------------------------------------------------------ the reference */

static double
cubic_reference(double t)
{
	t = fabs(t);
	if (t < 1)
		return (1.5 * t - 2.5) * t * t + 1;
	if (t < 2)
		return ((-0.5 * t + 2.5) * t - 4) * t + 2;
	return 0;
}

static double
weight_reference(ImageResize filter, int in, int64_t out, int64_t x, int i)
{
	double scale = (double) in / out;
	double widen = scale > 1 ? scale : 1;
	double t = (i + 0.5 - (x + 0.5) * scale) / widen;

	if (filter == IMAGE_BICUBIC)
		return cubic_reference(t);
	if (scale < 1)
		return fabs(t) < 1 ? 1 - fabs(t) : 0;
	return fmax(0, fmin(i + 1, (x + 1) * scale) - fmax(i, x * scale));
}

static int
round_to_byte(double v)
{
	v = floor(v + 0.5);
	return v < 0 ? 0 : v > 255 ? 255 : (int) v;
}

/* A line of `in` values `step` apart: position x of its resize to `out`. */
static double
exact_reference(const uint8_t *line, ptrdiff_t step, ImageResize filter, int in,
				int64_t out, int64_t x)
{
	double sum = 0;
	double total = 0;

	for (int i = 0; i < in; i++)
	{
		double w = weight_reference(filter, in, out, x, i);

		total += w;
		sum += w * line[i * step];
	}
	return sum / total;
}

static int
resample_reference(const uint8_t *line, ptrdiff_t step, ImageResize filter, int in,
				   int64_t out, int64_t x)
{
	return round_to_byte(exact_reference(line, step, filter, in, out, x));
}

/* The whole picture resized, rows first, rounded to bytes in between. */
static Image
resize_reference(const Image *img, ImageResize filter, int width, int height)
{
	Image wide = new_image(width, img->height);
	Image done = new_image(width, height);

	for (int r = 0; r < img->height; r++)
		for (int x = 0; x < width * 3; x++)
			wide.rgb[(size_t) r * width * 3 + x] = (uint8_t) resample_reference(
				pixel_at(img, r, 0) + x % 3, 3, filter, img->width, width, x / 3);
	for (int y = 0; y < height; y++)
		for (int x = 0; x < width * 3; x++)
			done.rgb[(size_t) y * width * 3 + x] = (uint8_t) resample_reference(
				wide.rgb + x, (ptrdiff_t) width * 3, filter, img->height, height, y);
	image_free(&wide);
	return done;
}

/* ------------------------------------------------------------------- weights */

/* Exact: the offsets of a doubling are quarters. */
static void
test_worked_weights(void **state)
{
	const int32_t one = 1 << RESIZE_BITS;
	ResizeAxis axis;

	(void) state;
	assert_true(resize_axis_init(&axis, IMAGE_BICUBIC, 10, 20, 10, 1));
	assert_int_equal(axis.start[0], 3);
	assert_int_equal(axis.length[0], 4);
	assert_int_equal(axis.weights[0], (int32_t) (-0.0234375 * one));
	assert_int_equal(axis.weights[1], (int32_t) (0.2265625 * one));
	assert_int_equal(axis.weights[2], (int32_t) (0.8671875 * one));
	assert_int_equal(axis.weights[3], (int32_t) (-0.0703125 * one));
	resize_axis_free(&axis);

	/* 5 pixels to 2: the middle one is shared. */
	assert_true(resize_axis_init(&axis, IMAGE_AREA, 5, 2, 0, 2));
	assert_int_equal(axis.start[0], 0);
	assert_int_equal(axis.length[0], 3);
	assert_int_equal(axis.weights[2], (one + 2) / 5);
	assert_int_equal(axis.start[1], 2);
	assert_int_equal(axis.length[1], 3);
	assert_int_equal(axis.weights[axis.max_length], (one + 2) / 5);
	resize_axis_free(&axis);
}

static void
check_axis(ImageResize filter, int in, int64_t out, int64_t first, int count)
{
	ResizeAxis axis;

	assert_true(resize_axis_init(&axis, filter, in, out, first, count));
	for (int i = 0; i < count; i++)
	{
		const int32_t *w = axis.weights + (size_t) i * axis.max_length;
		int64_t sum = 0;
		int64_t size = 0;

		assert_true(axis.length[i] >= 1 && axis.length[i] <= axis.max_length);
		assert_true(axis.start[i] >= 0 && axis.start[i] + axis.length[i] <= in);
		for (int k = 0; k < axis.length[i]; k++)
		{
			sum += w[k];
			size += llabs((long long) w[k]);
		}
		assert_int_equal(sum, 1 << RESIZE_BITS);
		/* Then no sum of 255 times the weights, and a half, leaves 32 bits. */
		assert_true(size <= (int64_t) 2 << RESIZE_BITS);
	}
	resize_axis_free(&axis);
}

static void
test_weights_add_up(void **state)
{
	uint64_t seed = 1;

	(void) state;
	for (int filter = IMAGE_BICUBIC; filter <= IMAGE_AREA; filter++)
	{
		for (int in = 1; in <= 40; in++)
			for (int out = 1; out <= 40; out++)
				check_axis(filter, in, out, 0, out);
		for (int i = 0; i < 100; i++)
		{
			int in = 1 + (int) (sample_random(&seed) % 3000);
			int out = 1 + (int) (sample_random(&seed) % 600);

			check_axis(filter, in, out, 0, out);
		}
		check_axis(filter, 65500, 1, 0, 1);
		check_axis(filter, 65500, 3, 0, 3);
		check_axis(filter, 65535, 224, 0, 224);
		check_axis(filter, 1, 4096, 0, 4096);
		check_axis(filter, 65535, INT64_C(4096) * 65535, INT64_C(2048) * 65535, 512);
		check_axis(filter, 65535, INT64_C(4096) * 65535, INT64_C(4096) * 65535 - 512,
				   512);
	}
}

/* The weights are the reference's to a few units of the last place. */
static void
test_weights_match(void **state)
{
	(void) state;
	for (int filter = IMAGE_BICUBIC; filter <= IMAGE_AREA; filter++)
		for (int in = 1; in <= 60; in += 7)
			for (int out = 1; out <= 60; out += 5)
			{
				ResizeAxis axis;

				assert_true(resize_axis_init(&axis, filter, in, out, 0, out));
				for (int x = 0; x < out; x++)
				{
					double total = 0;

					for (int i = 0; i < in; i++)
						total += weight_reference(filter, in, out, x, i);
					for (int i = 0; i < in; i++)
					{
						int k = i - axis.start[x];
						double want = weight_reference(filter, in, out, x, i) / total;
						double got = k < 0 || k >= axis.length[x]
										 ? 0
										 : axis.weights[(size_t) x * axis.max_length + k];

						assert_true(fabs(got - want * (1 << RESIZE_BITS)) < 16);
					}
				}
				resize_axis_free(&axis);
			}
}

/* ------------------------------------------------------------------ kernels */

static void
test_kernels_agree(void **state)
{
	enum
	{
		TAPS = 37,
		LINE = 208
	};
	uint8_t lines[TAPS * LINE];
	int32_t weights[TAPS];
	uint8_t a[LINE];
	uint8_t b[LINE];
	uint64_t seed = 5;

	(void) state;
	for (int round = 0; round < 300; round++)
	{
		int taps = 1 + (int) (sample_random(&seed) % TAPS);
		int n = 16 * (1 + (int) (sample_random(&seed) % (LINE / 16)));
		int32_t bound = (2 << RESIZE_BITS) / taps;

		for (size_t i = 0; i < sizeof(lines); i++)
		{
			uint32_t v = sample_random(&seed);

			lines[i] = round % 3 == 0 ? (v & 1) * 255 : (uint8_t) v;
		}
		for (int t = 0; t < taps; t++)
			weights[t] =
				(int32_t) (sample_random(&seed) % (2 * (uint32_t) bound)) - bound;
		memset(a, 1, sizeof(a));
		memset(b, 1, sizeof(b));
		sum_lines_portable(lines, LINE, weights, taps, a, n);
		sum_lines_best()(lines, LINE, weights, taps, b, n);
		assert_memory_equal(a, b, LINE);
		for (int i = n; i < LINE; i++)
			assert_int_equal(a[i], 1);
	}
}

/* -------------------------------------------------------------- whole pictures */

static void
stretch(const Image *img, ImageResize filter, Image *out)
{
	ImagePreprocess pre = {out->width, out->height, 0, filter};
	ImageError err = {""};

	if (!image_prepare(img, &pre, out->rgb, &err))
		fail_msg("%s", err.text);
}

/* One axis at a time nothing may differ but the rounding of what is nearly a half. */
static void
compare_one_axis(const Image *img, ImageResize filter, int width)
{
	Image got = new_image(width, img->height);

	stretch(img, filter, &got);
	for (int r = 0; r < img->height; r++)
		for (int x = 0; x < width * 3; x++)
		{
			double want = exact_reference(pixel_at(img, r, 0) + x % 3, 3, filter,
										  img->width, width, x / 3);
			int byte = pixel_at(&got, r, 0)[x];

			want = want < 0 ? 0 : want > 255 ? 255 : want;
			if (fabs(byte - want) > 0.501)
				fail_msg("%d to %d: %d instead of %f", img->width, width, byte, want);
		}
	image_free(&got);
}

/* Two axes: a half rounded otherwise in the first pass moves the second by one. */
static void
compare_with_reference(const Image *img, ImageResize filter, int width, int height)
{
	Image got = new_image(width, height);
	Image want = resize_reference(img, filter, width, height);
	size_t n = (size_t) width * height * 3;
	size_t few = filter == IMAGE_BICUBIC ? 50 : 5; /* halves are common in averages */
	size_t different = 0;

	stretch(img, filter, &got);
	for (size_t i = 0; i < n; i++)
		different += got.rgb[i] != want.rgb[i];
	if (largest_difference(&got, &want) > 1 || different > 2 + n / few)
		fail_msg("%dx%d to %dx%d: %zu of %zu bytes differ", img->width, img->height,
				 width, height, different, n);
	image_free(&got);
	image_free(&want);
}

static void
test_against_reference(void **state)
{
	static const int sizes[][4] = {
		{40, 30, 20, 15}, {20, 15, 40, 30}, {33, 47, 64, 65},  {33, 47, 65, 16},
		{1, 1, 5, 7},	  {1, 9, 8, 1},		{130, 70, 67, 33}, {64, 64, 63, 65},
		{100, 3, 7, 50},  {200, 150, 3, 2}, {17, 18, 129, 17}, {150, 2, 1, 1},
	};

	(void) state;
	for (int filter = IMAGE_BICUBIC; filter <= IMAGE_AREA; filter++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		{
			Image smooth = smooth_picture(sizes[i][0], sizes[i][1]);
			Image noise = noise_picture(sizes[i][0], sizes[i][1], 77 + i);

			compare_one_axis(&smooth, filter, sizes[i][2]);
			compare_one_axis(&noise, filter, sizes[i][2]);
			compare_with_reference(&smooth, filter, sizes[i][2], sizes[i][3]);
			compare_with_reference(&noise, filter, sizes[i][2], sizes[i][3]);
			image_free(&smooth);
			image_free(&noise);
		}
}

static void
test_constant_stays(void **state)
{
	(void) state;
	for (int filter = IMAGE_BICUBIC; filter <= IMAGE_AREA; filter++)
		for (int v = 0; v < 256; v += 51)
		{
			Image img = new_image(300, 7);
			Image out = new_image(31, 90);

			memset(img.rgb, v, 300 * 7 * 3);
			stretch(&img, filter, &out);
			for (int i = 0; i < 31 * 90 * 3; i++)
				assert_int_equal(out.rgb[i], v);
			image_free(&img);
			image_free(&out);
		}
}

/* A worked box average: 4x2 pixels to 2x1. */
static void
test_worked_area(void **state)
{
	Image img = new_image(4, 2);
	Image out = new_image(2, 1);

	(void) state;
	for (int i = 0; i < 8; i++)
		memset(img.rgb + 3 * i, 10 * i, 3);
	/* rows: (0+10)/2 = 5, (20+30)/2 = 25; 45, 65; columns: 25, 45 */
	stretch(&img, IMAGE_AREA, &out);
	assert_int_equal(out.rgb[0], 25);
	assert_int_equal(out.rgb[5], 45);
	image_free(&img);
	image_free(&out);
}

/* ----------------------------------------------------------------- the crop */

static void
test_crop_rule(void **state)
{
	static const int64_t table[][5] = {
		/* side, crop: first, count, pad */
		{224, 224, 0, 224, 0}, {225, 224, 0, 224, 0},			{226, 224, 1, 224, 0},
		{227, 224, 2, 224, 0}, {228, 224, 2, 224, 0},			{229, 224, 2, 224, 0},
		{231, 224, 4, 224, 0}, {256, 224, 16, 224, 0},			{341, 224, 58, 224, 0},
		{223, 224, 0, 223, 0}, {222, 224, 0, 222, 1},			{221, 224, 0, 221, 1},
		{1, 4, 0, 1, 1},	   {2560000, 224, 1279888, 224, 0},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
	{
		CropSpan s = centre_crop(table[i][0], (int) table[i][1]);

		assert_int_equal(s.first, table[i][2]);
		assert_int_equal(s.count, table[i][3]);
		assert_int_equal(s.pad, table[i][4]);
	}
}

/* Resize of the short side, then the crop, is what the reference cuts out. */
static void
test_resize_and_crop(void **state)
{
	static const int cases[][7] = {
		/* picture, crop, short side, resized */
		{90, 60, 32, 32, 40, 60, 40},	{60, 90, 32, 32, 40, 40, 60},
		{50, 50, 20, 30, 31, 31, 31},	{77, 50, 70, 66, 70, 107, 70},
		{100, 67, 32, 32, 67, 100, 67}, {13, 97, 10, 12, 12, 12, 89},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const int *c = cases[i];
		Image img = noise_picture(c[0], c[1], i + 1);
		Image whole = resize_reference(&img, IMAGE_BICUBIC, c[5], c[6]);
		Image got = new_image(c[2], c[3]);
		Image want = new_image(c[2], c[3]);
		ImagePreprocess pre = {c[2], c[3], c[4], IMAGE_BICUBIC};
		int left = (int) centre_crop(c[5], c[2]).first;
		int top = (int) centre_crop(c[6], c[3]).first;
		ImageError err = {""};

		for (int r = 0; r < c[3]; r++)
			memcpy(pixel_at(&want, r, 0), pixel_at(&whole, top + r, left),
				   (size_t) c[2] * 3);
		assert_true(image_prepare(&img, &pre, got.rgb, &err));
		assert_true(largest_difference(&got, &want) <= 1);
		image_free(&img);
		image_free(&whole);
		image_free(&got);
		image_free(&want);
	}
}

static void
test_crop_larger_than_picture(void **state)
{
	Image img = new_image(6, 3);
	Image out = new_image(9, 8);
	ImagePreprocess pre = {9, 8, 3, IMAGE_BICUBIC};
	ImageError err = {""};

	(void) state;
	memset(img.rgb, 200, 6 * 3 * 3);
	memset(out.rgb, 99, 9 * 8 * 3);
	assert_true(image_prepare(&img, &pre, out.rgb, &err));
	for (int r = 0; r < 8; r++)
		for (int c = 0; c < 9; c++)
		{
			bool inside = r >= 2 && r < 5 && c >= 1 && c < 7;

			assert_int_equal(*pixel_at(&out, r, c), inside ? 200 : 0);
		}
	image_free(&img);
	image_free(&out);
}

static void
test_extreme_shapes(void **state)
{
	static const int shapes[][2] = {{1, 10000}, {10000, 1}, {65500, 1},
									{1, 65500}, {3, 40000}, {1, 1}};

	(void) state;
	for (int filter = IMAGE_BICUBIC; filter <= IMAGE_AREA; filter++)
		for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
			for (int resize = 0; resize <= 4096; resize += 4096 / 16)
			{
				ImagePreprocess pre = {224, 224, resize, filter};
				Image img = new_image(shapes[i][0], shapes[i][1]);
				Image out = new_image(224, 224);
				ImageError err = {""};

				if (resize > 512 && resize < 4096)
					resize = 4096 - 4096 / 16;
				memset(img.rgb, 123, (size_t) img.width * img.height * 3);
				assert_true(image_prepare(&img, &pre, out.rgb, &err));
				for (size_t k = 0; k < 224 * 224 * 3; k++)
					assert_int_equal(out.rgb[k], 123);
				image_free(&img);
				image_free(&out);
			}
}

static void
test_bad_requests(void **state)
{
	static const ImagePreprocess bad[] = {
		{0, 8, 8, IMAGE_AREA},		{8, 0, 8, IMAGE_AREA},		 {8, 8, -1, IMAGE_AREA},
		{8, 4097, 8, IMAGE_AREA},	{1 << 30, 8, 8, IMAGE_AREA}, {8, 8, 4097, IMAGE_AREA},
		{8, 8, 8, (ImageResize) 7}, {-8, -8, 8, IMAGE_AREA},
	};
	static const ImagePreprocess good = {8, 8, 8, IMAGE_AREA};
	Image img = noise_picture(5, 5, 3);
	Image none = {5, 5, NULL};
	uint8_t out[8 * 8 * 3];

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		ImageError err = {""};

		assert_false(image_prepare(&img, &bad[i], out, &err));
		check_error_text(&err);
	}
	assert_false(image_prepare(&none, &good, out, NULL));
	image_free(&img);
}

/*
 * The bytes themselves: the same on every machine and in every later version, or
 * stored codes would not match new ones.
 */
static void
test_same_bytes_everywhere(void **state)
{
	static const uint64_t expected[2] = {UINT64_C(0x57dbf1247c1c35ac),
										 UINT64_C(0x1c32b03dc17b794b)};
	Image img = noise_picture(301, 203, 42);

	(void) state;
	for (int filter = IMAGE_BICUBIC; filter <= IMAGE_AREA; filter++)
	{
		ImagePreprocess pre = {96, 80, 100, filter};
		uint8_t out[96 * 80 * 3];
		uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
		ImageError err = {""};

		assert_true(image_prepare(&img, &pre, out, &err));
		for (size_t i = 0; i < sizeof(out); i++)
			hash = (hash ^ out[i]) * UINT64_C(0x100000001b3);
		if (hash != expected[filter])
			fail_msg("filter %d: hash %016llx", filter, (unsigned long long) hash);
	}
	image_free(&img);
}

static void
test_normalise(void **state)
{
	static const float mean[3] = {0.485f, 0.456f, 0.406f};
	static const float std[3] = {0.229f, 0.224f, 0.225f};
	uint8_t rgb[256 * 3];
	float out[256 * 3];

	(void) state;
	for (int i = 0; i < 256 * 3; i++)
		rgb[i] = (uint8_t) (i * 7);
	image_normalise(rgb, 256, mean, std, out);
	for (int i = 0; i < 256 * 3; i++)
	{
		double want = (rgb[i] / 255.0 - mean[i % 3]) / std[i % 3];

		assert_true(fabs(out[i] - want) < 1e-6);
	}
	assert_true(fabs(out[0] - -2.1179039) < 1e-6); /* (0 - 0.485) / 0.229 */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_worked_weights),
		cmocka_unit_test(test_weights_add_up),
		cmocka_unit_test(test_weights_match),
		cmocka_unit_test(test_kernels_agree),
		cmocka_unit_test(test_against_reference),
		cmocka_unit_test(test_constant_stays),
		cmocka_unit_test(test_worked_area),
		cmocka_unit_test(test_crop_rule),
		cmocka_unit_test(test_resize_and_crop),
		cmocka_unit_test(test_crop_larger_than_picture),
		cmocka_unit_test(test_extreme_shapes),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_same_bytes_everywhere),
		cmocka_unit_test(test_normalise),
	};

	return cmocka_run_group_tests_name("image: resize", tests, NULL, NULL);
}
