/*
 * stats.h
 *	  Histograms of times and sizes, of constant size and with percentiles that are
 *	  right to 1/16.
 */
#ifndef SERVICE_STATS_H
#define SERVICE_STATS_H

#include <stdint.h>

enum
{
	HISTOGRAM_SPLIT = 8, /* buckets of each power of two */
	HISTOGRAM_BUCKETS = HISTOGRAM_SPLIT * 62
};

/* Values below 8 have a bucket each; above, every power of two is cut into 8. */
typedef struct Histogram
{
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint64_t bucket[HISTOGRAM_BUCKETS];
} Histogram;

/* Negative values, which a clock might give, count as 0. */
extern void histogram_add(Histogram *histogram, int64_t value);
/* The value that a share p (0 to 1) of all do not exceed; 0 if there are none. */
extern uint64_t histogram_percentile(const Histogram *histogram, double p);

#endif
