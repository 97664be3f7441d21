/*
 * augment_samples.h
 *	  What the tests of augmentation share.
 */
#ifndef AUGMENT_SAMPLES_H
#define AUGMENT_SAMPLES_H

#include "training/augment/augment.h"

#define SIDE 24
#define PIXELS (SIDE * SIDE)

static inline void
noise(uint8_t *rgb, size_t n, uint64_t seed)
{
	Rng rng;

	rng_seed(&rng, seed, 1);
	for (size_t i = 0; i < n; i++)
		rgb[i] = (uint8_t) rng_next(&rng);
}

static inline AugmentRoom
new_room(int width, int height)
{
	AugmentRoom room;
	TrainError err;

	assert_true(augment_room_init(&room, width, height, &err));
	return room;
}

static inline uint8_t
rounded(double v)
{
	return (uint8_t) (v < 0 ? 0 : v > 255 ? 255 : floor(v + 0.5));
}

#endif
