/*
 * trainer.h
 *	  The training loop's state, one step at a time.
 */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "training/run/options.h"
#include "training/tape/tape.h"

typedef struct Trainer
{
	TrainOptions options;
	const Dataset *ds;
	NnPool *pool;
	NnGraph *graph;
	Tape *tape;
	Optim *optim;
	Average average;
	const Loss *loss;
	double *centres; /* nclasses x bits */
	int batch;		 /* pictures of a step */
	int64_t step;	 /* steps done */
	int64_t steps_per_epoch, total_steps;
	double last_loss;
	uint64_t data_sum; /* CRC-64 of the labels and pictures */
	/* buffers of a step */
	uint32_t *order; /* this epoch's permutation */
	int order_epoch; /* -1: none yet */
	uint8_t *images;
	uint64_t *labels;
	double *u, *grad;
	float *grad_out;
	uint8_t grey[3];
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

/* Seconds that one step takes, measured without learning anything. */
extern double trainer_calibrate(Trainer *t, int steps);

#endif
