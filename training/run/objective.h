/*
 * objective.h
 *	  What a run minimises: from the outputs of a forward pass to a number and the
 *	  gradients of the outputs.
 *
 * Two kinds: a hash loss over codes and labels (loss/loss.h), and the loss of
 * autoencoders, which need no labels (loss/vae.h).
 */
#ifndef TRAIN_OBJECTIVE_H
#define TRAIN_OBJECTIVE_H

#include "training/run/feed.h"
#include "training/run/options.h"

typedef struct Objective Objective;

extern Objective *objective_new(const TrainOptions *options, const Dataset *ds,
								const NnGraph *graph, int batch, TrainError *err);
extern void objective_free(Objective *objective);

/*
 * The loss of a forward pass's outputs, the mean over the pictures; epoch counts those
 * done, with fraction.  share scales loss and gradients: where the step's batch passes
 * in parts, the part's share of its pictures.
 */
extern double objective_eval(Objective *objective, const float *const *out,
							 const FeedBatch *batch, double epoch, double share);

/* The gradients it left, one array per output of the graph. */
extern const float *const *objective_gradients(const Objective *objective);

/* Does the loss want an autoencoder? */
extern bool objective_is_vae(const TrainOptions *options);

/*
 * Where a bit changes: NULL (and true) for 0 everywhere, else the mean of each output
 * over the n rows of logits, malloc'ed.  Codes of autoencoders have no sign of their own.
 */
extern bool objective_thresholds(const TrainOptions *options, const float *logits, int n,
								 float **thresholds, TrainError *err);

#endif
