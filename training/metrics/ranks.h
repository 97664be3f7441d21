/*
 * ranks.h
 *	  Judging a classifier: the place of a class among the logits of a picture.
 */
#ifndef TRAIN_RANKS_H
#define TRAIN_RANKS_H

/* How many of n logits are above that of class c; one that ties and comes before it is.
 */
extern int ranks_of(const float *logits, int n, int c);

/* The min(n, k) largest, largest first, into top; returns how many. */
extern int ranks_top(const float *logits, int n, int k, int *top);

/* Softmax of one. */
extern double ranks_probability(const float *logits, int n, int c);

#endif
