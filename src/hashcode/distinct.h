/*
 * distinct.h
 *	  Inside the folder: how often each code of a group occurs, in bounded memory.
 *
 * Codes are known by a 64-bit hash.  Up to DISTINCT_LIMIT different ones all are kept
 * and every answer is exact.  Past it the level rises and only hashes with that
 * many zero bits at their end are kept, one code in 2^level: a uniform sample of
 * the different codes, each with its true count (Gibbons, "Distinct sampling for
 * highly-accurate answers to distinct values queries", 2001).  Between half the
 * limit and the limit are then kept, so a number of codes is known to a relative
 * standard error of at most 1/sqrt(32768), about 0.6 %.
 */
#ifndef HASHCODE_DISTINCT_H
#define HASHCODE_DISTINCT_H

#include "hashcode/hashcode.h"

#include "lib/stringinfo.h"

#define DISTINCT_LIMIT 65536

typedef struct DistinctEntry
{
	uint64 hash;
	int64 count; /* 0: the slot is free */
} DistinctEntry;

typedef struct DistinctCounts
{
	int level;			  /* hashes kept end in this many zero bits */
	int used;			  /* entries in use, at most half of the slots */
	int nslots;			  /* a power of two */
	DistinctEntry *slots; /* open addressing */
	MemoryContext context;
} DistinctCounts;

typedef struct DistinctSummary
{
	bool exact;
	double distinct; /* different codes */
	double single;	 /* codes that occur once */
	double pairs;	 /* pairs of rows with one code; only if exact */
} DistinctSummary;

extern DistinctCounts *distinct_make(MemoryContext context);
extern void distinct_add(DistinctCounts *counts, const HashCode *code);
extern void distinct_merge(DistinctCounts *a, const DistinctCounts *b);
extern DistinctSummary distinct_summary(const DistinctCounts *counts);
extern void distinct_write(StringInfo out, const DistinctCounts *counts);
extern DistinctCounts *distinct_read(StringInfo in);

#endif
