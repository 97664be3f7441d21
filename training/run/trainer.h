/*
 * trainer.h
 *	  The training loop's state, one step at a time.
 */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "training/run/feed.h"
#include "training/run/objective.h"

typedef struct Trainer
{
	TrainOptions options;
	const Dataset *ds;
	NnPool *pool;
	NnGraph *graph;
	const NnLearnerDevice *device;
	NnLearner *learner;			/* owns the values of graph */
	double *rate_of, *decay_of; /* of its parameters */
	Objective *objective;
	int batch;	  /* pictures of a step */
	int part;	  /* of one pass, where that is cut */
	int64_t step; /* steps done */
	int64_t steps_per_epoch, total_steps;
	Feed *feed;
	const FeedBatch *batch_now; /* of the step being taken */
	bool looked_ahead;			/* for the one after, while the device works: */
	int64_t ahead;
	const FeedBatch *batch_ahead; /* NULL: ahead_error says why */
	TrainError ahead_error;
	double last_loss;
	uint64_t data_sum; /* dataset_checksum */
} Trainer;

/*
 * options must be complete (channels, epochs, size chosen).  ds and pool must outlive
 * the trainer.
 */
extern Trainer *trainer_new(const TrainOptions *options, const Dataset *ds, NnPool *pool,
							TrainError *err);
extern void trainer_free(Trainer *t);

/*
 * One step.  Fails before the update when the loss or a gradient is not finite; err
 * names step and tensor.
 */
extern bool trainer_step(Trainer *t, TrainError *err);

/*
 * A copy of the network as it stands, with the averaged values where an average is
 * kept: what is judged and written.  NULL and err on failure.
 */
extern NnGraph *trainer_network(Trainer *t, TrainError *err);

/*
 * Threads that prepare pictures beside the network.  Where none were asked for: all,
 * where a GPU does the network's work; none, where the CPU does, which has no time to
 * spare.
 */
extern int trainer_workers(int asked, const NnLearnerDevice *device, int threads);

/* Seconds that one step takes, measured without learning anything; 0: an error. */
extern double trainer_calibrate(Trainer *t, int steps, TrainError *err);

#endif
