/*
 * mihserial.c
 *	  What serializable transactions lock: the codes that a search might have seen.
 *
 * A lock on pages would not do: every new entry goes to the same page, wherever its
 * code lies.  So locks are taken on page numbers that stand for chunks of codes.
 * Cut a code into m chunks: one that lies within m - 1 bits of a centre has one
 * chunk at least in common with it.  A search within such a radius locks the m
 * chunks of its centre, and an insert looks for locks on the m chunks of its code.
 * Searches that reach farther, or to any distance, lock the whole index.
 *
 * A search locks before it reads, an insert looks after it has written: so either the
 * search meets the entry or the insert meets the lock.
 */
#include "mih/mih.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "storage/predicate.h"

#define MIN_BITS 8 /* of a chunk; shorter ones would be shared by many codes */

/* The numbers of chunks tried, in ascending order. */
static const int cuts[] = {4, 8, 16};

/* The number that stands for chunk j of m of a packed code. */
static BlockNumber
chunk_page(const uint8 *code, int nbits, int m, int j)
{
	uint32 hash = hash_combine(m, j);

	for (int i = j * nbits / m; i < (j + 1) * nbits / m; i++)
		hash = hash_combine(hash, (code[i / 8] >> (7 - i % 8) & 1) + 1);
	return hash & 0x7fffffff;
}

/*
 * A search is about to read all entries within radius of a packed code; or any
 * entry, where code is NULL.
 */
void
mih_lock_search(Relation index, const uint8 *code, int nbits, int radius,
				Snapshot snapshot)
{
	if (!IsolationIsSerializable())
		return;
	for (int c = 0; code && c < (int) lengthof(cuts); c++)
		if (radius < cuts[c] && nbits >= cuts[c] * MIN_BITS)
		{
			for (int j = 0; j < cuts[c]; j++)
				PredicateLockPage(index, chunk_page(code, nbits, cuts[c], j), snapshot);
			return;
		}
	PredicateLockRelation(index, snapshot);
}

/* An entry with this packed code, or NULL, has been written: who might have seen it? */
void
mih_check_searches(Relation index, const uint8 *code, int nbits)
{
	if (!IsolationIsSerializable())
		return;
	CheckForSerializableConflictIn(index, NULL, InvalidBlockNumber);
	for (int c = 0; code && c < (int) lengthof(cuts); c++)
		if (nbits >= cuts[c] * MIN_BITS)
			for (int j = 0; j < cuts[c]; j++)
				CheckForSerializableConflictIn(index, NULL,
											   chunk_page(code, nbits, cuts[c], j));
}
