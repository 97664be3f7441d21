/*
 * test_image_decode.c
 *	  Every kind of JPEG that is accepted, decoded to the pixels it was made of.
 */
#include "test/unit/image_samples.h"

#define W 45
#define H 37

/* ------------------------------------------------------------ ways of coding */

static void
check_round_trip(const Image *img, SampleOptions o, int tolerance)
{
	Sample s = write_sample(img->rgb, img->width, img->height, o);
	Image got = must_decode(s, 0);
	int difference = largest_difference(&got, img);

	if (difference > tolerance)
		fail_msg("differs by %d", difference);
	image_free(&got);
	free(s.data);
}

static void
test_colour(void **state)
{
	static const int sides[] = {1, 2, 7, 8, 9, 16, 17, 33};
	Image img = smooth_picture(W, H);

	(void) state;
	check_round_trip(&img, (SampleOptions){0}, 3);
	check_round_trip(&img, (SampleOptions){.space = JCS_RGB}, 3);
	check_round_trip(&img, (SampleOptions){.subsampled = true}, 12);
	check_round_trip(&img, (SampleOptions){.progressive = true}, 3);
	check_round_trip(&img, (SampleOptions){.arithmetic = true}, 3);
	check_round_trip(&img, (SampleOptions){.arithmetic = true, .progressive = true}, 3);
	check_round_trip(&img, (SampleOptions){.restart_interval = 1}, 3);
	check_round_trip(&img, (SampleOptions){.restart_interval = 5, .progressive = true},
					 3);
	check_round_trip(&img, (SampleOptions){.one_scan_per_component = true}, 3);
	check_round_trip(
		&img, (SampleOptions){.one_scan_per_component = true, .restart_interval = 3}, 3);
	image_free(&img);

	for (size_t i = 0; i < sizeof(sides) / sizeof(sides[0]); i++)
		for (size_t j = 0; j < sizeof(sides) / sizeof(sides[0]); j++)
		{
			Image small = smooth_picture(sides[i], sides[j]);

			check_round_trip(&small, (SampleOptions){0}, 4);
			check_round_trip(&small, (SampleOptions){.progressive = true}, 4);
			image_free(&small);
		}
}

static void
test_grey(void **state)
{
	static const SampleOptions ways[] = {
		{.space = JCS_GRAYSCALE},
		{.space = JCS_GRAYSCALE, .progressive = true},
		{.space = JCS_GRAYSCALE, .one_scan_per_coefficient = true},
		{.space = JCS_GRAYSCALE, .arithmetic = true},
	};
	Image img = smooth_picture(W, H);

	(void) state;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
	{
		Sample s = write_sample(img.rgb, W, H, ways[i]);
		Image got = must_decode(s, 0);

		for (int k = 0; k < W * H; k++)
		{
			const uint8_t *p = img.rgb + 3 * k;
			const uint8_t *g = got.rgb + 3 * k;
			double y = 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];

			assert_int_equal(g[0], g[1]);
			assert_int_equal(g[0], g[2]);
			assert_true(abs(g[0] - (int) y) <= 3);
		}
		image_free(&got);
		free(s.data);
	}
	image_free(&img);
}

/*
 * The inks are the complement of smooth colours, with black that grows to the
 * right; they go into the file inverted with Adobe's marker, as they are without.
 */
static void
check_cmyk(SampleOptions o, int tolerance)
{
	Image colours = smooth_picture(W, H);
	Image want = new_image(W, H);
	uint8_t *inks = malloc(W * H * 4);
	uint8_t flip = o.no_adobe_marker ? 0x00 : 0xff;
	Sample s;
	Image got;

	for (int i = 0; i < W * H; i++)
	{
		unsigned black = i % W * 2;

		for (int c = 0; c < 3; c++)
		{
			unsigned ink = 255 - colours.rgb[3 * i + c];

			inks[4 * i + c] = (uint8_t) ink ^ flip;
			want.rgb[3 * i + c] = (uint8_t) ((255 - ink) * (255 - black) / 255.0 + 0.5);
		}
		inks[4 * i + 3] = (uint8_t) black ^ flip;
	}
	o.cmyk_pixels = true;
	s = write_sample(inks, W, H, o);
	got = must_decode(s, 0);
	assert_true(largest_difference(&got, &want) <= tolerance);
	image_free(&got);
	image_free(&want);
	image_free(&colours);
	free(inks);
	free(s.data);
}

static void
test_cmyk(void **state)
{
	(void) state;
	check_cmyk((SampleOptions){.space = JCS_CMYK}, 4);
	check_cmyk((SampleOptions){.space = JCS_CMYK, .no_adobe_marker = true}, 4);
	check_cmyk((SampleOptions){.space = JCS_CMYK, .progressive = true}, 4);
	check_cmyk((SampleOptions){.space = JCS_YCCK}, 5);
	check_cmyk((SampleOptions){.space = JCS_YCCK, .restart_interval = 2}, 5);
}

/* No ink is white, not nearly white; full black is black. */
static void
test_cmyk_ends(void **state)
{
	(void) state;
	for (int level = 0; level <= 255; level += 255)
	{
		uint8_t inks[8 * 8 * 4];
		Sample s;
		Image got;

		memset(inks, level, sizeof(inks)); /* inverted: 255 is no ink */
		s = write_sample(inks, 8, 8,
						 (SampleOptions){.space = JCS_CMYK, .cmyk_pixels = true});
		got = must_decode(s, 0);
		for (int i = 0; i < 8 * 8 * 3; i++)
			assert_int_equal(got.rgb[i], level);
		image_free(&got);
		free(s.data);
	}
}

/* --------------------------------------------------------------- orientation */

/*
 * The stored picture whose upright form in this orientation is `up`, from the EXIF
 * standard's words for each: where row 0 and column 0 of the stored picture are.
 */
static Image
store_as(const Image *up, int orientation)
{
	int w = up->width;
	int h = up->height;
	Image stored = orientation >= 5 ? new_image(h, w) : new_image(w, h);

	for (int r = 0; r < stored.height; r++)
		for (int c = 0; c < stored.width; c++)
		{
			int row = 0;
			int col = 0;

			switch (orientation)
			{
				case 1: /* top, left */
					row = r, col = c;
					break;
				case 2: /* top, right */
					row = r, col = w - 1 - c;
					break;
				case 3: /* bottom, right */
					row = h - 1 - r, col = w - 1 - c;
					break;
				case 4: /* bottom, left */
					row = h - 1 - r, col = c;
					break;
				case 5: /* left, top */
					row = c, col = r;
					break;
				case 6: /* right, top */
					row = c, col = w - 1 - r;
					break;
				case 7: /* right, bottom */
					row = h - 1 - c, col = w - 1 - r;
					break;
				case 8: /* left, bottom */
					row = h - 1 - c, col = r;
					break;
			}
			memcpy(pixel_at(&stored, r, c), pixel_at(up, row, col), 3);
		}
	return stored;
}

static void
test_orientations(void **state)
{
	Image up = smooth_picture(W, H);

	(void) state;
	for (int orientation = 1; orientation <= 8; orientation++)
		for (int big_endian = 0; big_endian <= 1; big_endian++)
		{
			Image stored = store_as(&up, orientation);
			uint8_t exif[EXIF_SIZE];
			Sample s;
			Image got;

			make_exif(exif, (unsigned) orientation, big_endian);
			s = write_sample(stored.rgb, stored.width, stored.height,
							 (SampleOptions){.exif = exif, .exif_size = EXIF_SIZE});
			got = must_decode(s, 0);
			assert_true(largest_difference(&got, &up) <= 3);
			image_free(&got);
			image_free(&stored);
			free(s.data);
		}
	image_free(&up);
}

/* Orientation and CMYK take the same path. */
static void
test_orientation_of_cmyk(void **state)
{
	uint8_t inks[6 * 4] = {0};
	uint8_t exif[EXIF_SIZE];
	Sample s;
	Image got;

	(void) state;
	memset(inks, 255, sizeof(inks)); /* no ink, inverted: white */
	memset(inks, 0, 3 * 4);			 /* the upper half black */
	make_exif(exif, 6, true);
	s = write_sample(inks, 3, 2,
					 (SampleOptions){.space = JCS_CMYK,
									 .cmyk_pixels = true,
									 .exif = exif,
									 .exif_size = EXIF_SIZE});
	got = must_decode(s, 0);
	assert_int_equal(got.width, 2);
	assert_int_equal(got.height, 3);
	for (int r = 0; r < 3; r++)
	{
		assert_true(pixel_at(&got, r, 0)[1] > 250);
		assert_true(pixel_at(&got, r, 1)[1] < 5);
	}
	image_free(&got);
	free(s.data);
}

/* What is not a plain SHORT from 1 to 8 in the first directory is ignored. */
static void
test_odd_exif(void **state)
{
	uint8_t good[EXIF_SIZE];
	uint8_t exif[EXIF_SIZE];

	(void) state;
	make_exif(good, 6, false);
	assert_int_equal(exif_orientation(good, EXIF_SIZE), 6);

	for (unsigned value = 0; value < 70000; value += value < 12 ? 1 : 997)
	{
		make_exif(exif, value & 0xffff, true);
		assert_int_equal(exif_orientation(exif, EXIF_SIZE),
						 value >= 1 && value <= 8 ? (int) value : 0);
	}
	memcpy(exif, good, EXIF_SIZE);
	put_u16(exif + EXIF_ENTRY(1) + 2, 4, false); /* LONG */
	assert_int_equal(exif_orientation(exif, EXIF_SIZE), 0);
	memcpy(exif, good, EXIF_SIZE);
	put_u32(exif + EXIF_ENTRY(1) + 4, 2, false); /* two of them */
	assert_int_equal(exif_orientation(exif, EXIF_SIZE), 0);
	memcpy(exif, good, EXIF_SIZE);
	put_u16(exif + 14, 0xffff, false); /* more entries than there is room */
	assert_int_equal(exif_orientation(exif, EXIF_SIZE), 6);
	put_u16(exif + EXIF_ENTRY(1), 0x0111, false); /* and no orientation among them */
	assert_int_equal(exif_orientation(exif, EXIF_SIZE), 0);
	for (unsigned i = 0; i < 40; i++)
	{
		static const unsigned offsets[] = {
			0, 1, 7, 60, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff8, EXIF_SIZE};

		memcpy(exif, good, EXIF_SIZE);
		put_u32(exif + 10, offsets[i % 9] + i / 9, false);
		exif_orientation(exif, EXIF_SIZE); /* ASan looks on */
	}
	memcpy(exif, good, EXIF_SIZE);
	exif[7] = 'M'; /* IM: no byte order */
	assert_int_equal(exif_orientation(exif, EXIF_SIZE), 0);
	exif[0] = 'e';
	assert_int_equal(exif_orientation(exif, EXIF_SIZE), 0);
}

/* Every cut and every byte value in a block of exactly its size. */
static void
test_hostile_exif(void **state)
{
	uint8_t exif[EXIF_SIZE];

	(void) state;
	for (int big_endian = 0; big_endian <= 1; big_endian++)
	{
		make_exif(exif, 3, big_endian);
		for (size_t size = 0; size <= EXIF_SIZE; size++)
		{
			uint8_t *cut = malloc(size ? size : 1);
			bool whole = size >= EXIF_ENTRY(2);

			memcpy(cut, exif, size);
			assert_int_equal(exif_orientation(cut, size), whole ? 3 : 0);
			free(cut);
		}
		for (size_t at = 0; at < EXIF_SIZE; at++)
			for (int v = 0; v < 256; v++)
			{
				uint8_t *copy = malloc(EXIF_SIZE);
				int got;

				memcpy(copy, exif, EXIF_SIZE);
				copy[at] = (uint8_t) v;
				got = exif_orientation(copy, EXIF_SIZE);
				assert_true(got >= 0 && got <= 8);
				free(copy);
			}
	}
}

/* Other APP1 segments and APP0 come before it in real files. */
static void
test_exif_after_others(void **state)
{
	static const uint8_t before[] = {0xff, 0xd8, 0xff, 0xe1, 0x00, 0x09,
									 'h',  't',	 't',  'p',	 ':',  '/',
									 '/',  0xff, 0xff, 0xe1, 0x00, 2 + EXIF_SIZE};
	static const uint8_t after[] = {0xff, 0xc2, 0x00, 0x02, 0xff, 0xda, 0x00, 0x02};
	uint8_t file[sizeof(before) + EXIF_SIZE + sizeof(after)];
	JpegHeader header;

	(void) state;
	memcpy(file, before, sizeof(before));
	make_exif(file + sizeof(before), 8, true);
	memcpy(file + sizeof(before) + EXIF_SIZE, after, sizeof(after));
	jpeg_scan_header(file, sizeof(file), &header);
	assert_int_equal(header.orientation, 8);
	assert_int_equal(header.sof, 0xc2);
	for (size_t size = 2; size < sizeof(file); size++)
	{
		uint8_t *cut = malloc(size);

		memcpy(cut, file, size);
		jpeg_scan_header(cut, size, &header);
		assert_int_equal(header.orientation, size >= sizeof(before) + EXIF_SIZE ? 8 : 1);
		free(cut);
	}
}

/* ------------------------------------------------------------ scaled decoding */

static void
test_scaled_sizes(void **state)
{
	static const int table[][5] = {
		/* picture, wanted short side: decoded */
		{640, 480, 0, 640, 480},   {640, 480, -5, 640, 480},  {640, 480, 241, 640, 480},
		{640, 480, 240, 640, 480}, {640, 480, 120, 320, 240}, {640, 480, 121, 640, 480},
		{640, 480, 60, 160, 120},  {640, 480, 61, 320, 240},  {640, 480, 30, 80, 60},
		{640, 480, 31, 160, 120},  {640, 480, 1, 80, 60},	  {639, 479, 60, 160, 120},
		{479, 639, 30, 60, 80},	   {9, 9, 1, 2, 2},			  {2, 2, 1, 2, 2},
		{1, 1, 1, 1, 1},		   {1, 999, 1, 1, 999},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
	{
		const int *t = table[i];
		Image img = smooth_picture(t[0], t[1]);
		Sample s = write_sample(img.rgb, t[0], t[1], (SampleOptions){.quality = 90});
		Image got = must_decode(s, t[2]);

		if (got.width != t[3] || got.height != t[4])
			fail_msg("%dx%d for %d: %dx%d", t[0], t[1], t[2], got.width, got.height);
		image_free(&img);
		image_free(&got);
		free(s.data);
	}
}

/* A picture decoded at 1/d is the one decoded whole, averaged over d x d. */
static void
check_scaled(SampleOptions o, int denom)
{
	Image img = smooth_picture(256, 192);
	Sample s = write_sample(img.rgb, 256, 192, o);
	Image whole = must_decode(s, 0);
	Image small = must_decode(s, 192 / denom / 2);
	Image average = new_image(256 / denom, 192 / denom);
	ImagePreprocess pre = {256 / denom, 192 / denom, 0, IMAGE_AREA};
	ImageError err;

	assert_true(image_prepare(&whole, &pre, average.rgb, &err));
	assert_true(largest_difference(&small, &average) <= 3);
	image_free(&img);
	image_free(&whole);
	image_free(&small);
	image_free(&average);
	free(s.data);
}

static void
test_scaled_pixels(void **state)
{
	(void) state;
	for (int denom = 2; denom <= 8; denom *= 2)
	{
		check_scaled((SampleOptions){0}, denom);
		check_scaled((SampleOptions){.subsampled = true}, denom);
		check_scaled((SampleOptions){.progressive = true}, denom);
		check_scaled((SampleOptions){.space = JCS_GRAYSCALE}, denom);
	}
}

/* ------------------------------------------------------------- the whole path */

static void
test_from_jpeg(void **state)
{
	Image img = smooth_picture(300, 200);
	Sample s = write_sample(img.rgb, 300, 200, (SampleOptions){0});
	ImagePreprocess pre = {32, 32, 40, IMAGE_BICUBIC};
	Image decoded = must_decode(s, 40);
	Image direct = new_image(32, 32);
	Image at_once = new_image(32, 32);
	Image plain = new_image(32, 32);
	ImageError err = {""};

	(void) state;
	assert_int_equal(decoded.width, 150);
	assert_true(image_prepare(&decoded, &pre, direct.rgb, &err));
	assert_true(image_from_jpeg(s.data, s.size, &pre, NULL, at_once.rgb, &err));
	assert_int_equal(largest_difference(&direct, &at_once), 0);
	assert_true(image_prepare(&img, &pre, plain.rgb, &err));
	assert_true(largest_difference(&plain, &at_once) <= 4);

	pre.resize = 0; /* the larger side of the network's input decides the scale */
	assert_true(image_from_jpeg(s.data, s.size, &pre, NULL, at_once.rgb, &err));
	assert_true(image_prepare(&img, &pre, plain.rgb, &err));
	assert_true(largest_difference(&plain, &at_once) <= 4);

	assert_false(image_from_jpeg(s.data, 40, &pre, NULL, at_once.rgb, &err));
	check_error_text(&err);
	pre.width = 0;
	assert_false(image_from_jpeg(s.data, s.size, &pre, NULL, at_once.rgb, &err));
	check_error_text(&err);
	image_free(&img);
	image_free(&decoded);
	image_free(&direct);
	image_free(&at_once);
	image_free(&plain);
	free(s.data);
}

static void
test_encode(void **state)
{
	Image img = smooth_picture(W, H);
	Image bad = {0, 5, img.rgb};
	Sample first = {0};
	uint8_t *data;
	size_t size;
	ImageError err = {""};

	(void) state;
	for (int quality = 95; quality >= 5; quality -= 30)
	{
		Image got;
		Sample s;

		assert_true(image_encode_jpeg(&img, quality, &data, &size, &err));
		s = (Sample){data, size};
		got = must_decode(s, 0);
		assert_true(largest_difference(&got, &img) <= (quality > 90 ? 6 : 80));
		image_free(&got);
		if (first.data == NULL)
			first = s;
		else
		{
			assert_true(size < first.size);
			free(data);
		}
	}
	/* The same pixels give the same bytes. */
	assert_true(image_encode_jpeg(&img, 95, &data, &size, &err));
	assert_int_equal(size, first.size);
	assert_memory_equal(data, first.data, size);
	free(data);
	free(first.data);

	assert_false(image_encode_jpeg(&img, 0, &data, &size, &err));
	check_error_text(&err);
	assert_null(data);
	assert_false(image_encode_jpeg(&img, 101, &data, &size, NULL));
	assert_false(image_encode_jpeg(&bad, 95, &data, &size, &err));
	bad.width = 65501;
	assert_false(image_encode_jpeg(&bad, 95, &data, &size, &err));
	check_error_text(&err);
	image_free(&img);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_colour),
		cmocka_unit_test(test_grey),
		cmocka_unit_test(test_cmyk),
		cmocka_unit_test(test_cmyk_ends),
		cmocka_unit_test(test_orientations),
		cmocka_unit_test(test_orientation_of_cmyk),
		cmocka_unit_test(test_odd_exif),
		cmocka_unit_test(test_hostile_exif),
		cmocka_unit_test(test_exif_after_others),
		cmocka_unit_test(test_scaled_sizes),
		cmocka_unit_test(test_scaled_pixels),
		cmocka_unit_test(test_from_jpeg),
		cmocka_unit_test(test_encode),
	};

	return cmocka_run_group_tests_name("image: decode", tests, NULL, NULL);
}
