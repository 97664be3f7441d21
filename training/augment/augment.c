/*
 * augment.c
 *	  What happens to one picture, in its order.
 *
 * Geometry first, while the pixels are as they came; then colours; the cutout last,
 * so that its grey stays grey.
 */
#include "training/augment/augment.h"

#include <math.h>
#include <stdlib.h>

bool
augment_room_init(AugmentRoom *room, int width, int height, TrainError *err)
{
	room->size = (size_t) width * height * 3;
	room->copy = malloc(room->size);
	return room->copy ||
		   train_fail(err, "out of memory for a picture of %dx%d pixels", width, height);
}

void
augment_room_free(AugmentRoom *room)
{
	free(room->copy);
	*room = (AugmentRoom){0};
}

/* Mirroring in turns shows both sides evenly, which chance does not (Jordan, 2024). */
static bool
mirrored(const Augment *a, uint32_t picture, int epoch)
{
	Rng rng;

	rng_seed(&rng, a->seed, 0x666c6970u + ((uint64_t) picture << 32));
	return ((rng_next(&rng) >> 63) + epoch) % 2 != 0;
}

static bool
place(const Augment *a, const Image *from, bool flip, Rng *rng, AugmentRoom *room,
	  uint8_t *out, TrainError *err)
{
	const AugmentOptions *o = &a->options;
	int x = (from->width - a->width) / 2;
	int y = (from->height - a->height) / 2;

	if (o->crop > 0)
	{
		AugmentBox box = augment_crop_box(rng, from->width, from->height, o->crop,
										  o->crop_ratio > 0 ? o->crop_ratio : 4.0 / 3);

		return augment_crop(from, &box, flip, a->width, a->height, room, out, err);
	}
	if (o->translate > 0)
	{
		x += (int) rng_below(rng, 2 * o->translate + 1) - o->translate;
		y += (int) rng_below(rng, 2 * o->translate + 1) - o->translate;
	}
	augment_shifted(from, x, y, flip, a->width, a->height, out);
	return true;
}

static void
recolour(const AugmentOptions *o, Rng *rng, int width, int height, AugmentRoom *room,
		 uint8_t *out)
{
	size_t npixels = (size_t) width * height;
	bool jitter = o->brightness > 0 || o->contrast > 0 || o->saturation > 0 || o->hue > 0;

	if (jitter && rng_uniform(rng) < o->jitter_chance)
		augment_jitter(o, rng, out, npixels);
	if (o->grey_chance > 0 && rng_uniform(rng) < o->grey_chance)
		augment_grey(out, npixels);
	/* SimCLR's range of blurs (Chen et al., 2020, appendix A) */
	if (o->blur_chance > 0 && rng_uniform(rng) < o->blur_chance)
		augment_blur(out, width, height, 0.1 + 1.9 * rng_uniform(rng), room);
}

bool
augment_picture(const Augment *a, const Image *from, uint32_t picture, int epoch,
				int view, AugmentRoom *room, uint8_t *out, TrainError *err)
{
	const AugmentOptions *o = &a->options;
	bool flip = false;
	Rng rng;

	rng_seed(&rng, a->seed ^ ((uint64_t) epoch << 40),
			 1 + (uint64_t) picture + ((uint64_t) view << 34));
	/* In turns both views would always be the two sides. */
	if (o->flip)
		flip = view ? rng_next(&rng) >> 63 : mirrored(a, picture, epoch);
	if (!place(a, from, flip, &rng, room, out, err))
		return false;
	for (int i = 0; i < o->random_ops; i++)
	{
		int op = (int) rng_below(&rng, (uint32_t) augment_nops());
		int sign = rng_next(&rng) >> 63 ? 1 : -1;

		augment_op(op, o->random_magnitude, sign, out, a->width, a->height, a->grey,
				   room);
	}
	recolour(o, &rng, a->width, a->height, room, out);
	if (o->cutout > 0)
	{
		int x = (int) rng_below(&rng, a->width) - o->cutout / 2;
		int y = (int) rng_below(&rng, a->height) - o->cutout / 2;

		augment_cutout(out, a->width, a->height, o->cutout, x, y, a->grey);
	}
	return true;
}
