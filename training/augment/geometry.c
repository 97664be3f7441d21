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

/* One colour at (x, y), which may lie between pixels or beside the picture. */
static void
sample(const uint8_t *rgb, int width, int height, double x, double y,
	   const uint8_t grey[3], uint8_t *out)
{
	int x0 = (int) floor(x);
	int y0 = (int) floor(y);
	double fx = x - x0;
	double fy = y - y0;

	for (int c = 0; c < 3; c++)
	{
		double sum = 0;

		for (int k = 0; k < 4; k++)
		{
			int px = x0 + (k & 1);
			int py = y0 + (k >> 1);
			double weight = (k & 1 ? fx : 1 - fx) * (k >> 1 ? fy : 1 - fy);
			bool inside = px >= 0 && px < width && py >= 0 && py < height;

			sum += weight * (inside ? rgb[((size_t) py * width + px) * 3 + c] : grey[c]);
		}
		out[c] = (uint8_t) (sum + 0.5);
	}
}

void
augment_affine(uint8_t *rgb, int width, int height, const double m[6],
			   const uint8_t grey[3], AugmentRoom *room)
{
	double cx = (width - 1) / 2.0;
	double cy = (height - 1) / 2.0;

	memcpy(room->copy, rgb, (size_t) width * height * 3);
	for (int y = 0; y < height; y++)
		for (int x = 0; x < width; x++)
		{
			double dx = x - cx;
			double dy = y - cy;
			double sx = m[0] * dx + m[1] * dy + m[2] + cx;
			double sy = m[3] * dx + m[4] * dy + m[5] + cy;

			sample(room->copy, width, height, sx, sy, grey,
				   rgb + ((size_t) y * width + x) * 3);
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
