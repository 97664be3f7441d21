/*
 * checkpoint.h
 *	  A training run on disk, to go on with later (format: training/README.md).
 */
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include "training/run/trainer.h"

/* Written beside path, synced and renamed: path holds the old or the new one whole. */
extern bool checkpoint_write(const char *path, const Trainer *t, TrainError *err);

/* The options that a checkpoint's run was started with. */
extern bool checkpoint_options(const char *path, TrainOptions *options, TrainError *err);

/*
 * Put a checkpoint's state into t, which was made from the same options.  Fails
 * without touching t when the file is damaged or is of other data or another network.
 */
extern bool checkpoint_read(const char *path, Trainer *t, TrainError *err);

#endif
