/*
 * feed.h
 *	  Batches of augmented pictures, prepared while the network works.
 *
 * A batch is a pure function of (seed, step): its pictures are those of the epoch's
 * permutation, changed as augment.h says.  So it does not matter who prepares it, or
 * where a run was resumed.
 */
#ifndef TRAIN_FEED_H
#define TRAIN_FEED_H

#include "nn/pool.h"
#include "training/augment/augment.h"
#include "training/data/dataset.h"

typedef struct FeedBatch
{
	int64_t step;
	int n; /* pictures, both views counted: view 0 of all, then view 1 of all */
	const uint8_t *images;	 /* n * height * width * 3 */
	const uint64_t *labels;	 /* n label rows */
	const uint64_t *partner; /* label rows of what is mixed in, or NULL */
	double share;			 /* of the own labels; the partner's is 1 - share */
} FeedBatch;

typedef struct Feed Feed;

/*
 * batch pictures a step, both views counted.  workers threads prepare batches ahead; with
 * none, feed_take does it in the pool.  ds and pool must outlive the feed.
 */
extern Feed *feed_new(const Dataset *ds, const Augment *augment, int batch, int workers,
					  NnPool *pool, TrainError *err);
extern void feed_free(Feed *feed);

extern int feed_batch(const Feed *feed); /* pictures of a step */
extern int64_t feed_steps_per_epoch(const Feed *feed);

/*
 * The batch of a step, good until the next call.  Steps in order are what is prepared
 * ahead; any other order costs what was prepared.  NULL when a picture cannot be read.
 */
extern const FeedBatch *feed_take(Feed *feed, int64_t step, TrainError *err);

/* Seconds spent in feed_take so far: when the network waited for pictures. */
extern double feed_waited(const Feed *feed);

#endif
