/*
 * loss_internal.h
 *	  The losses that loss.c lists, and what they share.
 */
#ifndef TRAIN_LOSS_INTERNAL_H
#define TRAIN_LOSS_INTERNAL_H

#include "training/loss/loss.h"

extern const Loss loss_orthohash;
extern const Loss loss_csq;

/* Has image i the class c? */
static inline bool
loss_has_label(const LossInput *in, int i, int c)
{
	return in->labels[(size_t) i * in->label_words + c / 64] >> (c % 64) & 1;
}

/* Number of classes of image i. */
static inline int
loss_label_count(const LossInput *in, int i)
{
	int count = 0;

	for (int w = 0; w < in->label_words; w++)
		count += __builtin_popcountll(in->labels[(size_t) i * in->label_words + w]);
	return count;
}

/* Number of images with a label: what every loss here divides by. */
extern int loss_labelled(const LossInput *in);

#endif
