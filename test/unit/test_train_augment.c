/*
 * test_train_augment.c
 *	  Augmentations: places of pixels, whole pictures, mixing: exact expectations on
 *	  small pictures, references in double, spreads of what is drawn.
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

static const uint8_t grey[3] = {100, 110, 120};

/* ------------------------------------------------------------- nothing is nothing */

/* Every operation at zero strength leaves the picture as it was. */
static void
test_identities(void **state)
{
	uint8_t from[PIXELS * 3];
	uint8_t out[PIXELS * 3];
	const double still[6] = {1, 0, 0, 0, 1, 0};
	AugmentRoom room = new_room(SIDE, SIDE);
	Image img = {SIDE, SIDE, from};
	Augment a = {.seed = 1, .width = SIDE, .height = SIDE};
	TrainError err;

	(void) state;
	noise(from, sizeof(from), 5);
	for (uint32_t picture = 0; picture < 20; picture++)
	{
		assert_true(augment_picture(&a, &img, picture, 3, 0, &room, out, &err));
		assert_memory_equal(out, from, sizeof(from));
	}
	augment_brightness(out, PIXELS, 1);
	augment_contrast(out, PIXELS, 1);
	augment_saturation(out, PIXELS, 1);
	augment_hue(out, PIXELS, 0);
	augment_posterise(out, PIXELS, 8);
	augment_solarise(out, PIXELS, 256);
	augment_sharpness(out, SIDE, SIDE, 1, &room);
	augment_blur(out, SIDE, SIDE, 0.01, &room);
	augment_affine(out, SIDE, SIDE, still, grey, &room);
	augment_cutout(out, SIDE, SIDE, 0, 5, 5, grey);
	assert_memory_equal(out, from, sizeof(from));
	for (int op = 0; op < augment_nops(); op++)
	{
		if (strcmp(augment_op_name(op), "equalise") == 0 ||
			strcmp(augment_op_name(op), "autocontrast") == 0)
			continue; /* these have no strength */
		augment_op(op, 0, 1, out, SIDE, SIDE, grey, &room);
		augment_op(op, 0, -1, out, SIDE, SIDE, grey, &room);
		assert_memory_equal(out, from, sizeof(from));
	}
	a.options.crop = 1;
	a.options.crop_ratio = 1;
	assert_true(augment_picture(&a, &img, 7, 3, 0, &room, out, &err));
	assert_memory_equal(out, from, sizeof(from));
	augment_room_free(&room);
}

/* --------------------------------------------------------------------- geometry */

static void
test_shifts(void **state)
{
	/* one row: 10 20 30 40 */
	uint8_t from[12] = {10, 0, 0, 20, 0, 0, 30, 0, 0, 40, 0, 0};
	Image img = {4, 1, from};
	uint8_t out[12];
	static const uint8_t right[4] = {20, 30, 40, 30};
	static const uint8_t left[4] = {30, 20, 10, 20};
	static const uint8_t turned[4] = {30, 40, 30, 20};

	(void) state;
	augment_shifted(&img, 1, 0, false, 4, 1, out);
	for (int i = 0; i < 4; i++)
		assert_int_equal(out[i * 3], right[i]);
	augment_shifted(&img, -2, 0, false, 4, 1, out);
	for (int i = 0; i < 4; i++)
		assert_int_equal(out[i * 3], left[i]);
	augment_shifted(&img, 1, 0, true, 4, 1, out);
	for (int i = 0; i < 4; i++)
		assert_int_equal(out[i * 3], turned[i]);
	/* a part of a larger picture */
	augment_shifted(&img, 1, 0, false, 2, 1, out);
	assert_int_equal(out[0], 20);
	assert_int_equal(out[3], 30);
}

/* Boxes of a random resized crop: inside, of bounded area and aspect, and spread. */
static void
test_crop_boxes(void **state)
{
	double area = 0;
	double aspect = 0;
	double x = 0;
	const int n = 20000;
	Rng rng;

	(void) state;
	rng_seed(&rng, 4, 1);
	for (int i = 0; i < n; i++)
	{
		AugmentBox b = augment_crop_box(&rng, 200, 200, 0.25, 4.0 / 3);
		double share = b.width * b.height / 40000.0;
		double ratio = log((double) b.width / b.height);

		assert_true(b.x >= 0 && b.y >= 0 && b.x + b.width <= 200 &&
					b.y + b.height <= 200);
		assert_true(share > 0.245 && share <= 1);
		assert_true(fabs(ratio) < log(4.0 / 3) + 0.02);
		area += share / n;
		aspect += ratio / n;
		if (b.width < 200)
			x += (double) b.x / (200 - b.width) / n;
		else
			x += 0.5 / n;
	}
	/* Boxes that stick out are drawn again, so large ones are rarer than small ones. */
	assert_true(area > 0.54 && area < 0.625);
	assert_true(fabs(aspect) < 0.01);
	assert_true(fabs(x - 0.5) < 0.01);
	/* A long picture has no room for the whole area: the middle of it is taken. */
	for (int i = 0; i < 100; i++)
	{
		AugmentBox b = augment_crop_box(&rng, 1000, 10, 1, 4.0 / 3);

		assert_true(b.height == 10 && b.width == 13 && b.x == 493);
	}
	/* A single pixel is what it is. */
	{
		AugmentBox b = augment_crop_box(&rng, 1, 1, 0.01, 4.0 / 3);

		assert_true(b.width == 1 && b.height == 1 && b.x == 0 && b.y == 0);
	}
}

/* A crop is the box resized as the image library would. */
static void
test_crop(void **state)
{
	uint8_t from[PIXELS * 3];
	uint8_t part[8 * 6 * 3];
	uint8_t want[16 * 16 * 3];
	uint8_t out[16 * 16 * 3];
	Image img = {SIDE, SIDE, from};
	Image cut = {8, 6, part};
	AugmentBox box = {5, 9, 8, 6};
	ImagePreprocess pre = {.width = 16, .height = 16, .filter = IMAGE_AREA};
	AugmentRoom room = new_room(SIDE, SIDE);
	ImageError why;
	TrainError err;

	(void) state;
	noise(from, sizeof(from), 6);
	for (int y = 0; y < 6; y++)
		memcpy(part + y * 24, from + ((9 + y) * SIDE + 5) * 3, 24);
	assert_true(image_prepare(&cut, &pre, want, &why));
	assert_true(augment_crop(&img, &box, false, 16, 16, &room, out, &err));
	assert_memory_equal(out, want, sizeof(want));
	assert_true(augment_crop(&img, &box, true, 16, 16, &room, out, &err));
	for (int y = 0; y < 16; y++)
		for (int x = 0; x < 16; x++)
			assert_memory_equal(out + (y * 16 + x) * 3, want + (y * 16 + 15 - x) * 3, 3);
	augment_room_free(&room);
}

static void
test_affine(void **state)
{
	uint8_t from[PIXELS * 3];
	uint8_t out[PIXELS * 3];
	const double quarter[6] = {0, 1, 0, -1, 0, 0};
	const double shift[6] = {1, 0, 3, 0, 1, -2};
	const double between[6] = {1, 0, 0.25, 0, 1, 0};
	AugmentRoom room = new_room(SIDE, SIDE);

	(void) state;
	noise(from, sizeof(from), 7);
	memcpy(out, from, sizeof(out));
	augment_affine(out, SIDE, SIDE, quarter, grey, &room);
	for (int y = 0; y < SIDE; y++)
		for (int x = 0; x < SIDE; x++)
			assert_memory_equal(out + (y * SIDE + x) * 3,
								from + ((SIDE - 1 - x) * SIDE + y) * 3, 3);
	memcpy(out, from, sizeof(out));
	augment_affine(out, SIDE, SIDE, shift, grey, &room);
	for (int y = 0; y < SIDE; y++)
		for (int x = 0; x < SIDE; x++)
			assert_memory_equal(
				out + (y * SIDE + x) * 3,
				x + 3 < SIDE && y >= 2 ? from + ((y - 2) * SIDE + x + 3) * 3 : grey, 3);
	memcpy(out, from, sizeof(out));
	augment_affine(out, SIDE, SIDE, between, grey, &room);
	for (int x = 0; x < SIDE; x++)
		for (int c = 0; c < 3; c++)
		{
			double next = x + 1 < SIDE ? from[(x + 1) * 3 + c] : grey[c];

			assert_int_equal(out[x * 3 + c],
							 rounded(0.75 * from[x * 3 + c] + 0.25 * next));
		}
	/* a turn by 20 degrees against sums in double */
	{
		double a = 20 * M_PI / 180;
		double turn[6] = {cos(a), sin(a), 0, -sin(a), cos(a), 0};

		memcpy(out, from, sizeof(out));
		augment_affine(out, SIDE, SIDE, turn, grey, &room);
		for (int i = 0; i < PIXELS; i++)
		{
			double dx = i % SIDE - (SIDE - 1) / 2.0;
			double dy = i / SIDE - (SIDE - 1) / 2.0;
			double sx = turn[0] * dx + turn[1] * dy + (SIDE - 1) / 2.0;
			double sy = turn[3] * dx + turn[4] * dy + (SIDE - 1) / 2.0;
			double sum = 0;

			for (int k = 0; k < 4; k++)
			{
				int px = (int) floor(sx) + k % 2;
				int py = (int) floor(sy) + k / 2;
				bool in = px >= 0 && px < SIDE && py >= 0 && py < SIDE;

				sum += (1 - fabs(sx - px)) * (1 - fabs(sy - py)) *
					   (in ? from[(py * SIDE + px) * 3] : grey[0]);
			}
			/* 8-bit weights are off by 1/256 at most, of a difference of 255 */
			assert_true(fabs(out[i * 3] - sum) < 2.6);
		}
	}
	augment_room_free(&room);
}

static void
test_cutout(void **state)
{
	uint8_t out[PIXELS * 3] = {0};
	int found = 0;

	(void) state;
	augment_cutout(out, SIDE, SIDE, 6, 20, -3, grey);
	for (int y = 0; y < SIDE; y++)
		for (int x = 0; x < SIDE; x++)
			if (memcmp(out + (y * SIDE + x) * 3, grey, 3) == 0)
			{
				assert_true(x >= 20 && y < 3);
				found++;
			}
	assert_int_equal(found, 4 * 3);
}

/* ------------------------------------------------------------------ randaugment */

/* Each operation does something at its strongest, the signed ones both ways. */
static void
test_operations(void **state)
{
	uint8_t from[PIXELS * 3];
	uint8_t up[PIXELS * 3];
	uint8_t down[PIXELS * 3];
	AugmentRoom room = new_room(SIDE, SIDE);

	(void) state;
	assert_int_equal(augment_nops(), 14);
	noise(from, sizeof(from), 11);
	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t) (40 + from[i] / 2);
	for (int op = 0; op < augment_nops(); op++)
	{
		const char *name = augment_op_name(op);
		bool still = strcmp(name, "identity") == 0;
		bool unsigned_one =
			still || strcmp(name, "posterise") == 0 || strcmp(name, "solarise") == 0 ||
			strcmp(name, "autocontrast") == 0 || strcmp(name, "equalise") == 0;

		memcpy(up, from, sizeof(up));
		memcpy(down, from, sizeof(down));
		augment_op(op, 30, 1, up, SIDE, SIDE, grey, &room);
		augment_op(op, 30, -1, down, SIDE, SIDE, grey, &room);
		if ((memcmp(up, from, sizeof(up)) == 0) != still)
			fail_msg("%s", name);
		if ((memcmp(up, down, sizeof(up)) == 0) != unsigned_one)
			fail_msg("%s", name);
	}
	augment_room_free(&room);
}

/* ----------------------------------------------------------------- whole pictures */

static AugmentOptions
everything(void)
{
	return (AugmentOptions){
		.flip = true,
		.crop = 0.3,
		.random_ops = 2,
		.random_magnitude = 9,
		.brightness = 0.4,
		.contrast = 0.4,
		.saturation = 0.4,
		.hue = 0.1,
		.jitter_chance = 0.8,
		.grey_chance = 0.2,
		.blur_chance = 0.5,
		.cutout = 6,
		.two_views = true,
	};
}

/* The same for the same (seed, epoch, picture, view), and another for any other. */
static void
test_pure(void **state)
{
	uint8_t from[PIXELS * 3];
	uint8_t out[5][PIXELS * 3];
	Augment a = {.options = everything(),
				 .seed = 3,
				 .width = SIDE,
				 .height = SIDE,
				 .grey = {1, 2, 3}};
	Image img = {SIDE, SIDE, from};
	AugmentRoom room = new_room(SIDE, SIDE);
	TrainError err;

	(void) state;
	noise(from, sizeof(from), 12);
	for (uint32_t picture = 0; picture < 30; picture++)
	{
		assert_true(augment_picture(&a, &img, picture, 2, 0, &room, out[0], &err));
		assert_true(augment_picture(&a, &img, picture, 3, 0, &room, out[1], &err));
		assert_true(augment_picture(&a, &img, picture, 2, 1, &room, out[2], &err));
		assert_true(augment_picture(&a, &img, picture + 1, 2, 0, &room, out[3], &err));
		a.seed = 4;
		assert_true(augment_picture(&a, &img, picture, 2, 0, &room, out[4], &err));
		a.seed = 3;
		for (int i = 1; i < 5; i++)
			assert_memory_not_equal(out[0], out[i], sizeof(out[0]));
		memset(room.copy, (int) picture, room.size);
		assert_true(augment_picture(&a, &img, picture, 2, 0, &room, out[4], &err));
		assert_memory_equal(out[0], out[4], sizeof(out[0]));
	}
	augment_room_free(&room);
}

/* How often chances come true, and that mirroring takes turns. */
static void
test_chances(void **state)
{
	uint8_t from[3 * 3 * 3];
	uint8_t out[3 * 3 * 3];
	Augment a = {.seed = 5, .width = 3, .height = 3};
	Image img = {3, 3, from};
	AugmentRoom room = new_room(3, 3);
	const uint32_t n = 20000;
	uint32_t greys = 0;
	uint32_t mirrored = 0;
	TrainError err;

	(void) state;
	noise(from, sizeof(from), 13);
	a.options.grey_chance = 0.2;
	for (uint32_t i = 0; i < n; i++)
	{
		assert_true(augment_picture(&a, &img, i, 0, 0, &room, out, &err));
		greys += memcmp(out, from, sizeof(out)) != 0;
	}
	assert_true(fabs((double) greys / n - 0.2) < 0.012);
	a.options = (AugmentOptions){.flip = true};
	for (uint32_t i = 0; i < n; i++)
	{
		bool first, second;

		assert_true(augment_picture(&a, &img, i, 0, 0, &room, out, &err));
		first = memcmp(out, from, sizeof(out)) != 0;
		assert_true(augment_picture(&a, &img, i, 1, 0, &room, out, &err));
		second = memcmp(out, from, sizeof(out)) != 0;
		assert_true(first != second);
		mirrored += first;
	}
	assert_true(fabs((double) mirrored / n - 0.5) < 0.015);
	augment_room_free(&room);
}

/* ------------------------------------------------------------------------ mixing */

/* Mean and variance of Beta(a, a) are 1/2 and 1 / (4 (2a + 1)). */
static void
test_beta(void **state)
{
	static const double alphas[] = {0.01, 0.2, 0.8, 1, 4};
	const int n = 40000;

	(void) state;
	for (size_t k = 0; k < 5; k++)
	{
		double sum = 0;
		double square = 0;
		double want = 1 / (4 * (2 * alphas[k] + 1));
		Rng rng;

		rng_seed(&rng, 6, k);
		for (int i = 0; i < n; i++)
		{
			double v = mix_beta(&rng, alphas[k]);

			assert_true(v >= 0 && v <= 1);
			sum += v / n;
			square += (v - 0.5) * (v - 0.5) / n;
		}
		assert_true(fabs(sum - 0.5) < 0.01);
		assert_true(fabs(square - want) < 0.02 * want + 0.001);
	}
}

static void
test_mixing(void **state)
{
	uint8_t a[PIXELS * 3], b[PIXELS * 3], x[PIXELS * 3], y[PIXELS * 3];
	AugmentOptions o = {.mixup = 0.4};
	int cuts = 0;

	(void) state;
	noise(a, sizeof(a), 14);
	noise(b, sizeof(b), 15);
	assert_true(mix_draw(&(AugmentOptions){0}, 1, 5, SIDE, SIDE).share == 1);
	for (int step = 0; step < 300; step++)
	{
		Mix mix = mix_draw(&o, 1, step, SIDE, SIDE);
		Mix again = mix_draw(&o, 1, step, SIDE, SIDE);

		assert_true(mix.share == again.share && !mix.cut);
		memcpy(x, a, sizeof(x));
		memcpy(y, b, sizeof(y));
		mix_pair(&mix, x, y, SIDE, SIDE);
		for (size_t i = 0; i < sizeof(x); i++)
		{
			assert_true(fabs(x[i] - (mix.share * a[i] + (1 - mix.share) * b[i])) < 0.51);
			assert_true(fabs(y[i] - (mix.share * b[i] + (1 - mix.share) * a[i])) < 0.51);
		}
	}
	o = (AugmentOptions){.mixup = 1, .cutmix = 1};
	for (int step = 0; step < 2000; step++)
	{
		Mix mix = mix_draw(&o, 2, step, SIDE, SIDE);
		int own = 0;

		cuts += mix.cut;
		if (!mix.cut)
			continue;
		memcpy(x, a, sizeof(x));
		memcpy(y, b, sizeof(y));
		mix_pair(&mix, x, y, SIDE, SIDE);
		for (int i = 0; i < PIXELS; i++)
		{
			bool mine = memcmp(x + i * 3, a + i * 3, 3) == 0;

			own += mine;
			assert_memory_equal(x + i * 3, (mine ? a : b) + i * 3, 3);
			assert_memory_equal(y + i * 3, (mine ? b : a) + i * 3, 3);
		}
		assert_true(fabs(mix.share - (double) own / PIXELS) < 1e-12);
	}
	assert_true(cuts > 900 && cuts < 1100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identities), cmocka_unit_test(test_shifts),
		cmocka_unit_test(test_crop_boxes), cmocka_unit_test(test_crop),
		cmocka_unit_test(test_affine),	   cmocka_unit_test(test_cutout),
		cmocka_unit_test(test_operations), cmocka_unit_test(test_pure),
		cmocka_unit_test(test_chances),	   cmocka_unit_test(test_beta),
		cmocka_unit_test(test_mixing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
