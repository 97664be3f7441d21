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

#endif
