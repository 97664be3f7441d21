/*
 * loss.h
 *	  Hash losses: from code logits U and labels to a number and dL/dU.
 *
 * U is n x bits, row-major.  Centres are nclasses x bits of +1 / -1.  The
 * arithmetic is double inside; `float` comes in and goes out.  Each loss states
 * its reduction, source (paper, equation) and the worked numbers it was checked
 * against.
 */
#ifndef TRAIN_LOSS_H
#define TRAIN_LOSS_H

#include "training/train.h"

typedef struct LossInput
{
	int n, bits, nclasses;
	const uint64_t *labels; /* n rows of label_words words */
	int label_words;
	const double *centres; /* nclasses x bits */
} LossInput;

typedef struct LossOptions
{
	double scale;	  /* OrthoHash s */
	double margin;	  /* OrthoHash m */
	double smoothing; /* label smoothing, 0 .. 1 */
	double lambda;	  /* CSQ's quantiser weight */
} LossOptions;

typedef struct Loss
{
	const char *name;  /* "orthohash", "csq" */
	const char *about; /* one line: paper and what it does */
	LossOptions defaults;
	/* An image's part depends on its own labels alone, so mixed images make sense. */
	bool mixable;
	/* Returns the loss; grad (n x bits) is written, not added to. */
	double (*eval)(const LossInput *in, const LossOptions *opt, const double *u,
				   double *grad);
} Loss;

/*
 * The loss of mixed images (mixup, cutmix): share of it for the images' own labels, the
 * rest for those of partner; NULL: not mixed.  The loss is then linear in the labels,
 * as cross entropy is in soft ones.  room: n x bits.
 */
extern double loss_eval_mixed(const Loss *loss, const LossInput *in,
							  const uint64_t *partner, double share,
							  const LossOptions *opt, const double *u, double *grad,
							  double *room);

extern const Loss *loss_find(const char *name); /* NULL: unknown */
extern const Loss *loss_at(int i);				/* NULL past the end */

/*
 * Centres for nclasses classes of `bits` bits: Hadamard rows where they exist
 * (balanced, first column not constant), else greedy with a floor
 * (methods: Gilbert-Varshamov).  Fills centres with +1 / -1.
 */
extern bool loss_centres(int nclasses, int bits, uint64_t seed, double *centres,
						 TrainError *err);

/* The same by a method of one's choice: "auto", "hadamard", "bernoulli", "greedy". */
extern bool loss_centres_by(const char *method, int nclasses, int bits, uint64_t seed,
							double *centres, TrainError *err);

/*
 * The largest distance that a greedy choice of centres reaches for certain: d
 * with (nclasses - 1) * (ball of radius d - 1) < 2^bits (Gilbert's argument).
 */
extern int loss_guaranteed_distance(int nclasses, int bits);

/*
 * The target of an image of several classes (a label row): per bit the sign of the
 * sum of its centres; where that is 0, ties[k], or loss_tie_bit(k) if ties is NULL.
 */
extern void loss_multilabel_centre(const double *centres, int nclasses, int bits,
								   const uint64_t *labels, const double *ties,
								   double *out);

/* +1 or -1: bit k of one random vector, the same for ever. */
extern int loss_tie_bit(int k);

typedef struct CentreStats
{
	double min, mean, variance; /* of pairwise Hamming distances */
} CentreStats;
extern CentreStats loss_centre_stats(const double *centres, int nclasses, int bits);

#endif
