/*
 * geometry.c
 *	  Where pixels come from: shift, mirror, random resized crop, affine, cutout.
 */
#include "training/augment/augment.h"

#include <math.h>
#include <string.h>

int
augment_reflect(int at, int n)
{
	if (at < 0)
		at = -at;
	if (at >= n)
		at = 2 * n - 2 - at;
	return at < 0 ? 0 : at;
}

void
augment_shifted(const Image *from, int x0, int y0, bool flip, int width, int height,
				uint8_t *out)
{
	for (int y = 0; y < height; y++)
	{
		const uint8_t *row =
			from->rgb + (size_t) augment_reflect(y + y0, from->height) * from->width * 3;

		for (int x = 0; x < width; x++)
		{
			int sx = augment_reflect((flip ? width - 1 - x : x) + x0, from->width);

			memcpy(out + ((size_t) y * width + x) * 3, row + (size_t) sx * 3, 3);
		}
	}
}

static void
mirror(uint8_t *rgb, int width, int height)
{
	for (int y = 0; y < height; y++)
		for (int x = 0; x < width / 2; x++)
		{
			uint8_t *a = rgb + ((size_t) y * width + x) * 3;
			uint8_t *b = rgb + ((size_t) y * width + width - 1 - x) * 3;
			uint8_t keep[3];

			memcpy(keep, a, 3);
			memcpy(a, b, 3);
			memcpy(b, keep, 3);
		}
}

/* -------------------------------------------------------------------- crops */

/* The largest box of a bearable aspect about the centre. */
static AugmentBox
central_box(int width, int height, double ratio)
{
	AugmentBox box = {0, 0, width, height};

	if (width > ratio * height)
		box.width = (int) lrint(height * ratio);
	else if (height > ratio * width)
		box.height = (int) lrint(width * ratio);
	box.x = (width - box.width) / 2;
	box.y = (height - box.height) / 2;
	return box;
}

AugmentBox
augment_crop_box(Rng *rng, int width, int height, double least, double ratio)
{
	double area = (double) width * height;
	double most = log(ratio);

	/* A box may stick out at any draw; ten are enough for all but odd pictures. */
	for (int i = 0; i < 10; i++)
	{
		double target = area * (least + (1 - least) * rng_uniform(rng));
		double aspect = exp(most * (2 * rng_uniform(rng) - 1));
		AugmentBox box = {.width = (int) lrint(sqrt(target * aspect)),
						  .height = (int) lrint(sqrt(target / aspect))};

		if (box.width < 1 || box.width > width || box.height < 1 || box.height > height)
			continue;
		box.x = (int) rng_below(rng, (uint32_t) (width - box.width + 1));
		box.y = (int) rng_below(rng, (uint32_t) (height - box.height + 1));
		return box;
	}
	return central_box(width, height, ratio);
}

bool
augment_crop(const Image *from, const AugmentBox *box, bool flip, int width, int height,
			 AugmentRoom *room, uint8_t *out, TrainError *err)
{
	Image part = {box->width, box->height, room->copy};
	ImagePreprocess stretch = {.width = width, .height = height, .filter = IMAGE_AREA};
	ImageError why;

	for (int y = 0; y < box->height; y++)
		memcpy(part.rgb + (size_t) y * box->width * 3,
			   from->rgb + ((size_t) (box->y + y) * from->width + box->x) * 3,
			   (size_t) box->width * 3);
	if (!image_prepare(&part, &stretch, out, &why))
		return train_fail(err, "cannot crop a picture: %s", why.text);
	if (flip)
		mirror(out, width, height);
	return true;
}

/* ------------------------------------------------------------------- affine */

/* Places are in 16-bit fractions of a pixel; 8 of the bits weigh the neighbours. */
#define ONE 65536

/* The pixel at (x, y), or grey beside the picture. */
static const uint8_t *
pixel_at(const uint8_t *rgb, int width, int height, int64_t x, int64_t y,
		 const uint8_t grey[3])
{
	return x >= 0 && x < width && y >= 0 && y < height
			   ? rgb + ((size_t) y * width + (size_t) x) * 3
			   : grey;
}

/* One colour at (x, y), which may lie between pixels or beside the picture. */
static void
sample(const uint8_t *rgb, int width, int height, int64_t x, int64_t y,
	   const uint8_t grey[3], uint8_t *out)
{
	int64_t x0 = x >> 16;
	int64_t y0 = y >> 16;
	uint32_t fx = (uint32_t) (x & (ONE - 1)) >> 8;
	uint32_t fy = (uint32_t) (y & (ONE - 1)) >> 8;
	const uint8_t *a, *b, *c, *d;

	if (x0 >= 0 && x0 + 1 < width && y0 >= 0 && y0 + 1 < height)
	{
		a = rgb + ((size_t) y0 * width + (size_t) x0) * 3;
		b = a + 3;
		c = a + (size_t) width * 3;
		d = c + 3;
	}
	else
	{
		a = pixel_at(rgb, width, height, x0, y0, grey);
		b = pixel_at(rgb, width, height, x0 + 1, y0, grey);
		c = pixel_at(rgb, width, height, x0, y0 + 1, grey);
		d = pixel_at(rgb, width, height, x0 + 1, y0 + 1, grey);
	}
	for (int k = 0; k < 3; k++)
		out[k] = (uint8_t) (((a[k] * (256 - fx) + b[k] * fx) * (256 - fy) +
							 (c[k] * (256 - fx) + d[k] * fx) * fy + ONE / 2) >>
							16);
}

void
augment_affine(uint8_t *rgb, int width, int height, const double m[6],
			   const uint8_t grey[3], AugmentRoom *room)
{
	double cx = (width - 1) / 2.0;
	double cy = (height - 1) / 2.0;
	int64_t step_x = llrint(m[0] * ONE);
	int64_t step_y = llrint(m[3] * ONE);

	memcpy(room->copy, rgb, (size_t) width * height * 3);
	for (int y = 0; y < height; y++)
	{
		double dy = y - cy;
		int64_t sx = llrint((m[0] * -cx + m[1] * dy + m[2] + cx) * ONE);
		int64_t sy = llrint((m[3] * -cx + m[4] * dy + m[5] + cy) * ONE);

		for (int x = 0; x < width; x++)
		{
			sample(room->copy, width, height, sx, sy, grey,
				   rgb + ((size_t) y * width + x) * 3);
			sx += step_x;
			sy += step_y;
		}
	}
}

void
augment_cutout(uint8_t *rgb, int width, int height, int side, int x0, int y0,
			   const uint8_t grey[3])
{
	for (int y = y0 < 0 ? 0 : y0; y < y0 + side && y < height; y++)
		for (int x = x0 < 0 ? 0 : x0; x < x0 + side && x < width; x++)
			memcpy(rgb + ((size_t) y * width + x) * 3, grey, 3);
}
