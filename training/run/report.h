/*
 * report.h
 *	  Retrieval metrics for people.
 */
#ifndef TRAIN_REPORT_H
#define TRAIN_REPORT_H

#include "training/metrics/metrics.h"

/* mAP@all and everything else, one number a line, on stdout. */
extern void report_metrics(const RetrievalMetrics *m, const char *protocol);

/* Logits of both sets, packed and judged; the places of P@N are 10, 100 and 1000. */
extern bool report_judge(const CodeSet *query, const CodeSet *database, int threads,
						 RetrievalMetrics *out, TrainError *err);

#endif
