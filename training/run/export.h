/*
 * export.h
 *	  From a trained network to a model file.
 */
#ifndef TRAIN_EXPORT_H
#define TRAIN_EXPORT_H

#include "image/image.h"
#include "training/metrics/metrics.h"
#include "training/run/trainer.h"

/*
 * Fold the batch norms into the weights.  The network's averaged weights are used
 * where it keeps an average.
 */
extern NnGraph *export_graph(Trainer *t, TrainError *err);

/* thresholds (one per bit) and metrics (JSON object text) may be NULL. */
extern bool export_model(const char *path, const Trainer *t, const NnGraph *folded,
						 const float *thresholds, const char *metrics, TrainError *err);

/* RetrievalMetrics as a JSON object (malloc'ed); protocol names the sets. */
extern char *export_metrics(const RetrievalMetrics *m, const char *protocol);

#endif
