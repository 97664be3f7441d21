/*
 * judge.h
 *	  Retrieval metrics of a network or of codes, and how they are shown.
 */
#ifndef TRAIN_JUDGE_H
#define TRAIN_JUDGE_H

#include "nn/graph.h"
#include "training/metrics/metrics.h"
#include "training/run/sets.h"
#include "training/run/trainer.h"

/* Judge codes; the places of P@N are 10, 100 and 1000, and mAP@1000 is among the rest. */
extern bool judge_codes(const CodeSet *query, const CodeSet *database, int threads,
						RetrievalMetrics *out, TrainError *err);

/*
 * The codes of sets->query and sets->database by a network for inference on the CPU
 * device, judged.
 */
extern bool judge_network(const NnGraph *folded, const float *thresholds,
						  const Sets *sets, int threads, RetrievalMetrics *out,
						  TrainError *err);

/*
 * A quick look during training: mAP@all of at most 1,000 queries against at most 10,000
 * of the database, evenly taken, by the averaged weights.  Changes nothing in t.
 */
extern bool judge_training(Trainer *t, const Sets *sets, double *map, TrainError *err);

/* mAP@all and everything else, one number a line, on stdout. */
extern void judge_print(const RetrievalMetrics *m, const char *protocol);

/* The thresholds of a run's codes, from the pictures it was trained on: see
 * objective_thresholds. */
extern bool judge_thresholds(const TrainOptions *options, const NnGraph *folded,
							 const Dataset *train, int threads, float **thresholds,
							 TrainError *err);

#endif
