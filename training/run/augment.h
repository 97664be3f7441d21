/*
 * augment.h
 *	  Random changes of training pictures.
 */
#ifndef TRAIN_AUGMENT_H
#define TRAIN_AUGMENT_H

#include "nn/pool.h"
#include "training/data/dataset.h"

typedef struct AugmentOptions
{
	int translate; /* shift by up to so many pixels each way, edges reflected */
	bool flip;	   /* mirror every other epoch, starting at random per picture */
	int cutout;	   /* grey square of this side; 0: none */
} AugmentOptions;

/*
 * Pictures index[0 .. n-1] of ds into out.  What happens to a picture depends on
 * (seed, epoch, its index) alone.  grey is the colour of a cutout.
 */
extern void augment_batch(const Dataset *ds, const uint32_t *index, int n,
						  const AugmentOptions *options, uint64_t seed, int epoch,
						  const uint8_t grey[3], NnPool *pool, uint8_t *out);

#endif
