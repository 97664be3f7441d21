/*
 * bitcounts.h
 *	  Inside the folder: how often each bit is 1 in a group of codes.
 */
#ifndef HASHCODE_BITCOUNTS_H
#define HASHCODE_BITCOUNTS_H

#include "hashcode/hashcode.h"

#include "lib/stringinfo.h"

typedef struct BitCounts
{
	int nbits;						   /* length of the group's codes */
	int64 n;						   /* codes seen */
	int64 ones[FLEXIBLE_ARRAY_MEMBER]; /* for each bit, codes in which it is 1 */
} BitCounts;

/* Empty counts in the current memory context. */
extern BitCounts *bitcounts_make(int nbits);

/* An error if the code is not as long as the others of its group. */
extern void bitcounts_add(BitCounts *counts, const HashCode *code);

/* Add b to a; lengths are checked. */
extern void bitcounts_merge(BitCounts *a, const BitCounts *b);

extern void bitcounts_write(StringInfo out, const BitCounts *counts);
extern BitCounts *bitcounts_read(StringInfo in);

#endif
