/*
 * codes.h
 *	  Codes of whole data sets.
 */
#ifndef TRAIN_CODES_H
#define TRAIN_CODES_H

#include "nn/graph.h"
#include "nn/pool.h"
#include "training/data/dataset.h"
#include "training/metrics/metrics.h"

/*
 * Logits of all pictures by the training network in evaluation mode; ds->n rows of
 * the output's size, malloc'ed.  NULL and err on failure.
 */
extern float *codes_logits(NnGraph *graph, const Dataset *ds, NnPool *pool,
						   TrainError *err);

/* The same by the CPU device, as the server will compute them; graph is folded. */
extern float *codes_device_logits(const NnGraph *graph, const Dataset *ds, int threads,
								  TrainError *err);

/* Pack logits (threshold 0, or thresholds) into n codes, malloc'ed. */
extern uint8_t *codes_pack(const float *logits, const float *thresholds, int n, int bits,
						   TrainError *err);

/* Codes and labels of ds as metrics_retrieval wants them. */
extern CodeSet codes_set(const Dataset *ds, const uint8_t *codes, int bits);

#endif
