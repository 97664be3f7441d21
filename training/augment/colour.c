/*
 * colour.c
 *	  What becomes of a pixel's value.
 *
 * The definitions are Pillow's (ImageEnhance, ImageOps), which RandAugment and
 * torchvision are built on; results are rounded to the nearest value.
 */
#include "training/augment/augment.h"

#include <math.h>
#include <string.h>

static uint8_t
clip(double v)
{
	return v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t) (v + 0.5);
}

/* Luma of ITU-R BT.601 in 16-bit fractions. */
static uint8_t
grey_of(const uint8_t *p)
{
	return (uint8_t) ((19595u * p[0] + 38470u * p[1] + 7471u * p[2] + 32768u) >> 16);
}

static void
by_table(uint8_t *rgb, size_t n, const uint8_t table[256])
{
	for (size_t i = 0; i < n; i++)
		rgb[i] = table[rgb[i]];
}

/* Every value moved away from `centre`, or to it. */
static void
blend_with(uint8_t *rgb, size_t npixels, double centre, double factor)
{
	uint8_t table[256];

	for (int v = 0; v < 256; v++)
		table[v] = clip(centre + factor * (v - centre));
	by_table(rgb, npixels * 3, table);
}

void
augment_brightness(uint8_t *rgb, size_t npixels, double factor)
{
	blend_with(rgb, npixels, 0, factor);
}

void
augment_contrast(uint8_t *rgb, size_t npixels, double factor)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < npixels; i++)
		sum += grey_of(rgb + i * 3);
	blend_with(rgb, npixels, floor((double) sum / (double) npixels + 0.5), factor);
}

void
augment_saturation(uint8_t *rgb, size_t npixels, double factor)
{
	for (size_t i = 0; i < npixels; i++)
	{
		uint8_t *p = rgb + i * 3;
		double grey = grey_of(p);

		for (int c = 0; c < 3; c++)
			p[c] = clip(grey + factor * (p[c] - grey));
	}
}

void
augment_grey(uint8_t *rgb, size_t npixels)
{
	for (size_t i = 0; i < npixels; i++)
		memset(rgb + i * 3, grey_of(rgb + i * 3), 3);
}

/* The hexagon of hue: which colour leads, and how far it is to the next. */
static void
turn_hue(uint8_t *p, double turn)
{
	int r = p[0], g = p[1], b = p[2];
	int high = r > g ? (r > b ? r : b) : (g > b ? g : b);
	int low = r < g ? (r < b ? r : b) : (g < b ? g : b);
	double span = high - low;
	double hue;
	double f;
	uint8_t down, up;

	if (high == low)
		return;
	hue = high == r	  ? (g - b) / span
		  : high == g ? 2 + (b - r) / span
					  : 4 + (r - g) / span;
	hue = hue / 6 + turn;
	hue = 6 * (hue - floor(hue));
	f = hue - floor(hue);
	down = clip(high - span * f);
	up = clip(low + span * f);
	switch ((int) hue % 6)
	{
		case 0:
			p[0] = (uint8_t) high, p[1] = up, p[2] = (uint8_t) low;
			break;
		case 1:
			p[0] = down, p[1] = (uint8_t) high, p[2] = (uint8_t) low;
			break;
		case 2:
			p[0] = (uint8_t) low, p[1] = (uint8_t) high, p[2] = up;
			break;
		case 3:
			p[0] = (uint8_t) low, p[1] = down, p[2] = (uint8_t) high;
			break;
		case 4:
			p[0] = up, p[1] = (uint8_t) low, p[2] = (uint8_t) high;
			break;
		default:
			p[0] = (uint8_t) high, p[1] = (uint8_t) low, p[2] = down;
	}
}

void
augment_hue(uint8_t *rgb, size_t npixels, double turn)
{
	for (size_t i = 0; i < npixels; i++)
		turn_hue(rgb + i * 3, turn);
}

void
augment_posterise(uint8_t *rgb, size_t npixels, int bits)
{
	uint8_t mask = (uint8_t) (0xff << (8 - bits));

	for (size_t i = 0; i < npixels * 3; i++)
		rgb[i] &= mask;
}

void
augment_solarise(uint8_t *rgb, size_t npixels, int threshold)
{
	for (size_t i = 0; i < npixels * 3; i++)
		if (rgb[i] >= threshold)
			rgb[i] = (uint8_t) (255 - rgb[i]);
}

static void
histogram(const uint8_t *rgb, size_t npixels, int channel, uint32_t count[256])
{
	memset(count, 0, 256 * sizeof(*count));
	for (size_t i = 0; i < npixels; i++)
		count[rgb[i * 3 + channel]]++;
}

static void
channel_by_table(uint8_t *rgb, size_t npixels, int channel, const uint8_t table[256])
{
	for (size_t i = 0; i < npixels; i++)
		rgb[i * 3 + channel] = table[rgb[i * 3 + channel]];
}

void
augment_autocontrast(uint8_t *rgb, size_t npixels)
{
	for (int c = 0; c < 3; c++)
	{
		uint32_t count[256];
		uint8_t table[256];
		int low = 0;
		int high = 255;

		histogram(rgb, npixels, c, count);
		while (low < 255 && !count[low])
			low++;
		while (high > 0 && !count[high])
			high--;
		if (high <= low)
			continue;
		for (int v = 0; v < 256; v++)
			table[v] = clip((v - low) * 255.0 / (high - low));
		channel_by_table(rgb, npixels, c, table);
	}
}

void
augment_equalise(uint8_t *rgb, size_t npixels)
{
	for (int c = 0; c < 3; c++)
	{
		uint32_t count[256];
		uint8_t table[256];
		int last = 255;
		uint64_t step;
		uint64_t n;

		histogram(rgb, npixels, c, count);
		while (last > 0 && !count[last])
			last--;
		step = (npixels - count[last]) / 255;
		if (step == 0)
			continue;
		n = step / 2;
		for (int v = 0; v < 256; v++)
		{
			table[v] = n / step > 255 ? 255 : (uint8_t) (n / step);
			n += count[v];
		}
		channel_by_table(rgb, npixels, c, table);
	}
}

void
augment_sharpness(uint8_t *rgb, int width, int height, double factor, AugmentRoom *room)
{
	const uint8_t *from = room->copy;
	size_t row = (size_t) width * 3;

	memcpy(room->copy, rgb, row * height);
	/* The smooth picture weighs the middle 5 and its eight neighbours 1. */
	for (int y = 1; y < height - 1; y++)
		for (size_t i = 3; i < row - 3; i++)
		{
			const uint8_t *p = from + y * row + i;
			int sum = 4 * p[0];
			double smooth;

			for (int k = -1; k <= 1; k++)
			{
				const uint8_t *q = p + k * (ptrdiff_t) row;

				sum += q[-3] + q[0] + q[3];
			}
			smooth = (sum + 6) / 13;
			rgb[y * row + i] = clip(smooth + factor * (p[0] - smooth));
		}
}

#define BLUR_MOST 12 /* pixels to each side */

/* Weights of a bell in 16-bit fractions that add up to 1. */
static int
bell(double sigma, int side, uint32_t weight[2 * BLUR_MOST + 1])
{
	int radius = (int) ceil(3 * sigma);
	double w[2 * BLUR_MOST + 1];
	double total = 0;
	uint32_t sum = 0;

	if (radius > BLUR_MOST)
		radius = BLUR_MOST;
	if (radius > side - 1)
		radius = side - 1;
	for (int k = -radius; k <= radius; k++)
		total += w[k + radius] = exp(-k * k / (2 * sigma * sigma));
	for (int k = 0; k <= 2 * radius; k++)
		sum += weight[k] = (uint32_t) (w[k] / total * 65536);
	weight[radius] += 65536 - sum;
	return radius;
}

void
augment_blur(uint8_t *rgb, int width, int height, double sigma, AugmentRoom *room)
{
	uint32_t weight[2 * BLUR_MOST + 1];
	int radius = bell(sigma, width < height ? width : height, weight);

	for (int pass = 0; pass < 2; pass++)
	{
		const uint8_t *from = pass ? room->copy : rgb;
		uint8_t *to = pass ? rgb : room->copy;

		for (int y = 0; y < height; y++)
			for (int x = 0; x < width; x++)
			{
				uint32_t sum[3] = {32768, 32768, 32768};

				for (int k = -radius; k <= radius; k++)
				{
					int sx = pass ? x : augment_reflect(x + k, width);
					int sy = pass ? augment_reflect(y + k, height) : y;
					const uint8_t *p = from + ((size_t) sy * width + sx) * 3;

					for (int c = 0; c < 3; c++)
						sum[c] += weight[k + radius] * p[c];
				}
				for (int c = 0; c < 3; c++)
					to[((size_t) y * width + x) * 3 + c] = (uint8_t) (sum[c] >> 16);
			}
	}
}

/* Even in [1 - strength, 1 + strength], never below 0. */
static double
factor(Rng *rng, double strength)
{
	double low = strength < 1 ? 1 - strength : 0;

	return low + (1 + strength - low) * rng_uniform(rng);
}

void
augment_jitter(const AugmentOptions *o, Rng *rng, uint8_t *rgb, size_t npixels)
{
	uint32_t order[4] = {0, 1, 2, 3};

	rng_shuffle(rng, order, 4);
	for (int i = 0; i < 4; i++)
		switch (order[i])
		{
			case 0:
				if (o->brightness > 0)
					augment_brightness(rgb, npixels, factor(rng, o->brightness));
				break;
			case 1:
				if (o->contrast > 0)
					augment_contrast(rgb, npixels, factor(rng, o->contrast));
				break;
			case 2:
				if (o->saturation > 0)
					augment_saturation(rgb, npixels, factor(rng, o->saturation));
				break;
			default:
				if (o->hue > 0)
					augment_hue(rgb, npixels, o->hue * (2 * rng_uniform(rng) - 1));
		}
}
