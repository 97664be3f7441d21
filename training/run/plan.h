/*
 * plan.h
 *	  What the user left open: batch, width, epochs.
 */
#ifndef TRAIN_PLAN_H
#define TRAIN_PLAN_H

#include "training/run/trainer.h"

/*
 * Fill in what is zero in options: the batch by the number of pictures; widths and
 * epochs so that training fits options->minutes on this machine, measured for a few
 * seconds.  told gets one line per choice.
 */
extern bool plan_complete(TrainOptions *options, const Dataset *ds, NnPool *pool,
						  void (*told)(const char *line), TrainError *err);

/* Seconds of `minutes` that training may take; the rest is for judging and writing. */
extern double plan_training_seconds(double minutes);

/*
 * How many epochs there should be in all, at most `epochs`, when those from `first` up
 * to `done` took `seconds` out of `budget`: machines get slower than they were when
 * measured.  One more than done at least, so that the rate still comes down.
 */
extern int plan_epochs_fitting(int epochs, double first, int done, double seconds,
							   double budget);

#endif
