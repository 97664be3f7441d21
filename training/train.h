/*
 * train.h
 *	  What every file of deephash-train shares: errors, random numbers, labels.
 */
#ifndef TRAIN_H
#define TRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef DEEPHASH_VERSION
#define DEEPHASH_VERSION "0.1.0"
#endif

/* Same shape as NnError and ImageError: the reason, in one line. */
typedef struct TrainError
{
	char text[512];
} TrainError;

extern bool train_fail(TrainError *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* xoshiro256**: one stream per purpose, seeded from (seed, stream), so that
 * adding a consumer does not change what the others draw. */
typedef struct Rng
{
	uint64_t s[4];
} Rng;

extern void rng_seed(Rng *rng, uint64_t seed, uint64_t stream);
extern uint64_t rng_next(Rng *rng);
extern double rng_uniform(Rng *rng);			 /* [0, 1) */
extern uint32_t rng_below(Rng *rng, uint32_t n); /* 0 .. n-1, unbiased */
extern double rng_normal(Rng *rng);				 /* mean 0, variance 1 */
extern void rng_shuffle(Rng *rng, uint32_t *v, size_t n);

#endif
