/*
 * stats.c
 *	  Histograms whose buckets grow with the values, as in HdrHistogram.
 */
#include "service/stats.h"

/* Below 8 the value itself; else its highest bit and the three bits after it. */
static int
bucket_of(uint64_t value)
{
	int top;

	if (value < HISTOGRAM_SPLIT)
		return (int) value;
	top = 63 - __builtin_clzll(value);
	return HISTOGRAM_SPLIT * (top - 2) + (int) (value >> (top - 3) & 7);
}

static uint64_t
middle_of(int bucket)
{
	int top = bucket / HISTOGRAM_SPLIT + 2;
	uint64_t width;

	if (bucket < HISTOGRAM_SPLIT)
		return (uint64_t) bucket;
	width = UINT64_C(1) << (top - 3);
	return (UINT64_C(8) + bucket % HISTOGRAM_SPLIT) * width + (width - 1) / 2;
}

void
histogram_add(Histogram *histogram, int64_t value)
{
	uint64_t v = value > 0 ? (uint64_t) value : 0;

	histogram->count++;
	histogram->sum += v;
	histogram->max = v > histogram->max ? v : histogram->max;
	histogram->bucket[bucket_of(v)]++;
}

uint64_t
histogram_percentile(const Histogram *histogram, double p)
{
	double wanted = p * (double) histogram->count;
	uint64_t seen = 0;

	for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
	{
		seen += histogram->bucket[i];
		if (seen > 0 && (double) seen >= wanted)
			return middle_of(i) < histogram->max ? middle_of(i) : histogram->max;
	}
	return histogram->max;
}
