/*
 * metrics.h
 *	  Retrieval metrics over packed binary codes, ties by expectation.
 */
#ifndef TRAIN_METRICS_H
#define TRAIN_METRICS_H

#include "training/train.h"

/* Codes and labels of a set of pictures. */
typedef struct CodeSet
{
	int n;
	int bits;
	const uint8_t *codes;	/* n * hamming_bytes(bits), see hamming/hamming.h */
	const uint64_t *labels; /* n rows of label_words words */
	int label_words;
} CodeSet;

typedef struct RetrievalMetrics
{
	int nqueries, ndatabase;
	double map_all;				/* expected over random order inside ties, exact */
	double map_best, map_worst; /* optimistic and pessimistic tie orders */
	double map_at_k;			/* 0 when k is 0: denominators `hits` and `min` */
	double map_at_k_min;
	int k;
	int nprecision; /* P@N for each requested N */
	int precision_n[8];
	double precision[8];
	double precision_radius2; /* P@H<=2; an empty ball counts 0 */
	double empty_radius2;	  /* share of queries with an empty ball */
	double recall_radius2;
	double top1;			 /* expected 1-NN accuracy */
	double collision_shared; /* pictures whose code another picture has / pictures */
	double collision_lost;	 /* (pictures - distinct codes) / pictures */
	double collision_pairs;	 /* pairs of pictures with one code / pairs */
	double bit_balance;		 /* mean over bits of |mean of +-1| */
} RetrievalMetrics;

/*
 * threads > 1 shares the queries out.  same_set: query i is database item i and
 * is left out of its own list.  k = 0: no mAP@k.
 */
extern bool metrics_retrieval(const CodeSet *query, const CodeSet *database,
							  bool same_set, int k, const int *precision_n,
							  int nprecision, int threads, RetrievalMetrics *out,
							  TrainError *err);

/*
 * Metrics of one query from two histograms over distances 0 .. maxdist: of all
 * items and of the relevant ones.  Every value is the expectation over a uniformly
 * random order of the items at equal distance; without relevant items it is 0.
 */
extern double metrics_average_precision(const int64_t *all, const int64_t *relevant,
										int maxdist);

/* Average precision when ties are ordered best and worst. */
extern void metrics_average_precision_bounds(const int64_t *all, const int64_t *relevant,
											 int maxdist, double *best, double *worst);

/*
 * Average precision of the first k places by three denominators: *hits divides by
 * the relevant items among the k, *min by min(relevant, k), *total by the
 * relevant items.  Any may be NULL.  k past the end means all.
 */
extern void metrics_average_precision_at(const int64_t *all, const int64_t *relevant,
										 int maxdist, int64_t k, double *hits,
										 double *min, double *total);

/* Relevant items expected among the first n places, divided by n. */
extern double metrics_precision_at(const int64_t *all, const int64_t *relevant,
								   int maxdist, int64_t n);

/* What a set of codes looks like without regard to labels. */
typedef struct CodeStats
{
	int64_t distinct;	/* different codes */
	int64_t sharing;	/* pictures whose code another picture has */
	int64_t pairs;		/* pairs of pictures with one code */
	double balance;		/* mean over bits of |mean of +-1| */
	double entropy;		/* mean over bits of the entropy, 0 .. 1 bit */
	double correlation; /* mean |correlation| of different bits; constant bits excluded */
} CodeStats;

extern bool metrics_code_stats(const CodeSet *set, CodeStats *out, TrainError *err);

/* Share of pictures whose bit k is 1, for every bit. */
extern void metrics_fraction_ones(const CodeSet *set, double *fraction);

#endif
