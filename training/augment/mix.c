/*
 * mix.c
 *	  Mixup and cutmix: two pictures and their labels in one.
 *
 * Zhang, Cisse, Dauphin, Lopez-Paz: "mixup: Beyond Empirical Risk Minimization" (ICLR
 * 2018); Yun, Han, Oh, Chun, Choe, Yoo: "CutMix" (ICCV 2019).  One share is drawn for
 * a batch, and its mirror image is the partner, as timm does it.  Where both are asked
 * for, a coin decides each time.
 */
#include "training/augment/augment.h"

#include <math.h>
#include <string.h>

#define STREAM_MIX 0x6d697865u

/* Marsaglia, Tsang: "A simple method for generating gamma variables" (2000). */
static double
gamma_draw(Rng *rng, double alpha)
{
	double boost = 1;
	double d, c;

	if (alpha < 1)
	{
		boost = pow(1 - rng_uniform(rng), 1 / alpha);
		alpha += 1;
	}
	d = alpha - 1.0 / 3;
	c = 1 / sqrt(9 * d);
	for (;;)
	{
		double x = rng_normal(rng);
		double v = 1 + c * x;

		if (v <= 0)
			continue;
		v = v * v * v;
		if (log(1 - rng_uniform(rng)) < x * x / 2 + d - d * v + d * log(v))
			return boost * d * v;
	}
}

double
mix_beta(Rng *rng, double alpha)
{
	double a = gamma_draw(rng, alpha);
	double b = gamma_draw(rng, alpha);

	/* Tiny alphas underflow: then one of the two has it all. */
	return a + b > 0 ? a / (a + b) : (double) (rng_next(rng) >> 63);
}

/* A box of (1 - share) of the area, its centre anywhere, cut off at the edges. */
static void
draw_box(Mix *mix, Rng *rng, int width, int height)
{
	double side = sqrt(1 - mix->share);
	int w = (int) (width * side);
	int h = (int) (height * side);
	int x0 = (int) rng_below(rng, width) - w / 2;
	int y0 = (int) rng_below(rng, height) - h / 2;
	int x1 = x0 + w < width ? x0 + w : width;
	int y1 = y0 + h < height ? y0 + h : height;

	x0 = x0 < 0 ? 0 : x0;
	y0 = y0 < 0 ? 0 : y0;
	mix->box = (AugmentBox){x0, y0, x1 - x0, y1 - y0};
	mix->share =
		1 - (double) mix->box.width * mix->box.height / ((double) width * height);
}

Mix
mix_draw(const AugmentOptions *o, uint64_t seed, int64_t step, int width, int height)
{
	Mix mix = {.share = 1};
	Rng rng;

	if (!(o->mixup > 0 || o->cutmix > 0))
		return mix;
	rng_seed(&rng, seed, STREAM_MIX + ((uint64_t) step << 32));
	mix.cut = o->cutmix > 0 && (!(o->mixup > 0) || rng_next(&rng) >> 63);
	mix.share = mix_beta(&rng, mix.cut ? o->cutmix : o->mixup);
	if (mix.cut)
		draw_box(&mix, &rng, width, height);
	return mix;
}

static void
swap_box(const AugmentBox *box, uint8_t *a, uint8_t *b, int width)
{
	for (int y = box->y; y < box->y + box->height; y++)
	{
		size_t at = ((size_t) y * width + box->x) * 3;

		for (size_t i = at; i < at + (size_t) box->width * 3; i++)
		{
			uint8_t keep = a[i];

			a[i] = b[i];
			b[i] = keep;
		}
	}
}

void
mix_pair(const Mix *mix, uint8_t *a, uint8_t *b, int width, int height)
{
	size_t n = (size_t) width * height * 3;
	/* in 16-bit fractions, which is finer than a byte can show */
	uint32_t own = (uint32_t) lrint(mix->share * 65536);
	uint32_t other = 65536 - own;

	if (mix->share >= 1)
		return;
	if (mix->cut)
	{
		swap_box(&mix->box, a, b, width);
		return;
	}
	for (size_t i = 0; i < n; i++)
	{
		uint32_t va = a[i];
		uint32_t vb = b[i];

		a[i] = (uint8_t) ((own * va + other * vb + 32768) >> 16);
		b[i] = (uint8_t) ((own * vb + other * va + 32768) >> 16);
	}
}
