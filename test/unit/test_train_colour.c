/*
 * test_train_colour.c
 *	  Augmentations of colour: worked pictures, definitions in double.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "test/unit/augment_samples.h"

/* ----------------------------------------------------------------------- colours */

static double
luma(const uint8_t *p)
{
	return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
}

/* Blends against their definitions in double. */
static void
test_blends(void **state)
{
	static const double factors[] = {0, 0.3, 1.7, 2.5};
	uint8_t from[PIXELS * 3];
	uint8_t out[PIXELS * 3];

	(void) state;
	noise(from, sizeof(from), 8);
	for (size_t f = 0; f < 4; f++)
	{
		double k = factors[f];
		double mean = 0;

		for (int i = 0; i < PIXELS; i++)
			mean += luma(from + i * 3) / PIXELS;
		memcpy(out, from, sizeof(out));
		augment_brightness(out, PIXELS, k);
		for (int i = 0; i < PIXELS * 3; i++)
			assert_int_equal(out[i], rounded(k * from[i]));
		memcpy(out, from, sizeof(out));
		augment_contrast(out, PIXELS, k);
		for (int i = 0; i < PIXELS * 3; i++)
			assert_true(fabs((double) out[i] -
							 rounded(floor(mean + 0.5) +
									 k * (from[i] - floor(mean + 0.5)))) <= fabs(1 - k));
		memcpy(out, from, sizeof(out));
		augment_saturation(out, PIXELS, k);
		for (int i = 0; i < PIXELS * 3; i++)
		{
			double l = luma(from + i / 3 * 3);

			/* the grey is a whole number: half of one is left out, twice at most */
			assert_true(fabs(out[i] - fmin(255, fmax(0, l + k * (from[i] - l)))) <=
						0.5 + 0.51 * fabs(1 - k));
		}
	}
	memcpy(out, from, sizeof(out));
	augment_grey(out, PIXELS);
	for (int i = 0; i < PIXELS; i++)
	{
		assert_true(fabs(out[i * 3] - luma(from + i * 3)) <= 0.51);
		assert_true(out[i * 3] == out[i * 3 + 1] && out[i * 3] == out[i * 3 + 2]);
	}
}

/* A third of the circle turns red to green to blue; a whole turn changes nothing. */
static void
test_hue(void **state)
{
	uint8_t p[6] = {200, 50, 50, 10, 10, 10};
	uint8_t from[PIXELS * 3];
	uint8_t out[PIXELS * 3];

	(void) state;
	augment_hue(p, 2, 1.0 / 3);
	assert_true(p[0] == 50 && p[1] == 200 && p[2] == 50);
	augment_hue(p, 2, 1.0 / 3);
	assert_true(p[0] == 50 && p[1] == 50 && p[2] == 200);
	augment_hue(p, 2, -0.5);
	assert_true(p[0] == 200 && p[1] == 200 && p[2] == 50);
	assert_true(p[3] == 10 && p[4] == 10 && p[5] == 10);
	noise(from, sizeof(from), 9);
	memcpy(out, from, sizeof(out));
	augment_hue(out, PIXELS, 1);
	for (int i = 0; i < PIXELS * 3; i++)
		assert_true(abs(out[i] - from[i]) <= 1);
	/* The lightest and the darkest value of a pixel stay. */
	augment_hue(out, PIXELS, 0.137);
	for (int i = 0; i < PIXELS; i++)
	{
		int high = 0, low = 255, high2 = 0, low2 = 255;

		for (int c = 0; c < 3; c++)
		{
			high = from[i * 3 + c] > high ? from[i * 3 + c] : high;
			low = from[i * 3 + c] < low ? from[i * 3 + c] : low;
			high2 = out[i * 3 + c] > high2 ? out[i * 3 + c] : high2;
			low2 = out[i * 3 + c] < low2 ? out[i * 3 + c] : low2;
		}
		assert_int_equal(high, high2);
		assert_int_equal(low, low2);
	}
}

static void
test_tables(void **state)
{
	uint8_t p[12] = {0, 1, 127, 128, 200, 255, 50, 60, 70, 99, 100, 101};
	static const uint8_t posterised[12] = {0, 0, 64, 128, 192, 192, 0, 0, 64, 64, 64, 64};
	static const uint8_t solarised[12] = {0,  1,  127, 127, 55,	 0,
										  50, 60, 70,  99,	100, 101};
	uint8_t q[12];
	/* red 50 to 150, green constant, blue already full */
	uint8_t r[12] = {50, 9, 0, 100, 9, 255, 150, 9, 128, 75, 9, 3};
	static const uint8_t stretched[12] = {0, 9, 0, 128, 9, 255, 255, 9, 128, 64, 9, 3};

	(void) state;
	memcpy(q, p, 12);
	augment_posterise(q, 4, 2);
	assert_memory_equal(q, posterised, 12);
	memcpy(q, p, 12);
	augment_solarise(q, 4, 128);
	assert_memory_equal(q, solarised, 12);
	augment_autocontrast(r, 4);
	assert_memory_equal(r, stretched, 12);
}

/* Equalised values are spread evenly: Pillow's rule worked for 256 values twice. */
static void
test_equalise(void **state)
{
	static uint8_t rgb[512 * 3];
	static uint8_t same[512 * 3];

	(void) state;
	for (int i = 0; i < 512; i++)
		memset(rgb + i * 3, i / 2, 3);
	memcpy(same, rgb, sizeof(rgb));
	augment_equalise(rgb, 512);
	/* step (512 - 2) / 255 = 2, table[v] = (1 + 2 v) / 2 = v: even stays even */
	assert_memory_equal(rgb, same, sizeof(rgb));
	/* 510 of value 7, one of 200, one of 201: step 511 / 255 = 2; 7 -> (1 + 0) / 2,
	 * 200 -> (1 + 510) / 2, 201 -> (1 + 511) / 2 capped */
	for (int i = 0; i < 512; i++)
		memset(rgb + i * 3, i < 510 ? 7 : 200 + (i - 510), 3);
	augment_equalise(rgb, 512);
	assert_int_equal(rgb[0], 0);
	assert_int_equal(rgb[510 * 3], 255);
	assert_int_equal(rgb[511 * 3], 255);
	/* too few pixels to spread */
	memset(rgb, 9, 30);
	augment_equalise(rgb, 10);
	assert_int_equal(rgb[0], 9);
}

static void
test_smooth(void **state)
{
	uint8_t from[PIXELS * 3];
	uint8_t out[PIXELS * 3];
	AugmentRoom room = new_room(SIDE, SIDE);

	(void) state;
	noise(from, sizeof(from), 10);
	for (int s = 0; s < 3; s++)
	{
		double k = s * 0.9;

		memcpy(out, from, sizeof(out));
		augment_sharpness(out, SIDE, SIDE, k, &room);
		for (int y = 1; y < SIDE - 1; y++)
			for (int x = 1; x < SIDE - 1; x++)
				for (int c = 0; c < 3; c++)
				{
					double sum = 0;
					double own = from[(y * SIDE + x) * 3 + c];

					for (int j = -1; j <= 1; j++)
						for (int i = -1; i <= 1; i++)
							sum += (i || j ? 1 : 5) *
								   from[((y + j) * SIDE + x + i) * 3 + c] / 13.0;
					assert_true(fabs(out[(y * SIDE + x) * 3 + c] -
									 fmin(255, fmax(0, sum + k * (own - sum)))) <=
								0.5 + 0.51 * fabs(1 - k));
				}
		/* the edge has no neighbours and stays */
		assert_memory_equal(out, from, SIDE * 3);
	}
	/* Gaussian blur against sums in double, away from the edges */
	memcpy(out, from, sizeof(out));
	augment_blur(out, SIDE, SIDE, 1.1, &room);
	for (int y = 6; y < SIDE - 6; y++)
		for (int x = 6; x < SIDE - 6; x++)
		{
			double sum = 0;
			double total = 0;

			for (int j = -4; j <= 4; j++)
				for (int i = -4; i <= 4; i++)
				{
					double w = exp(-(i * i + j * j) / (2 * 1.1 * 1.1));

					total += w;
					sum += w * from[((y + j) * SIDE + x + i) * 3];
				}
			assert_true(fabs(out[(y * SIDE + x) * 3] - sum / total) < 1.1);
		}
	/* A plain picture stays plain, edges too. */
	memset(out, 77, sizeof(out));
	augment_blur(out, SIDE, SIDE, 2, &room);
	for (size_t i = 0; i < sizeof(out); i++)
		assert_int_equal(out[i], 77);
	augment_room_free(&room);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blends), cmocka_unit_test(test_hue),
		cmocka_unit_test(test_tables), cmocka_unit_test(test_equalise),
		cmocka_unit_test(test_smooth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
