/*
 * distinct.c
 *	  How often each code of a group occurs, in bounded memory; see distinct.h.
 */
#include "hashcode/distinct.h"

#include "common/hashfn.h"
#include "libpq/pqformat.h"

#define FIRST_SLOTS 64

static bool
at_level(uint64 hash, int level)
{
	return (hash & ((UINT64CONST(1) << level) - 1)) == 0;
}

DistinctCounts *
distinct_make(MemoryContext context)
{
	DistinctCounts *counts = MemoryContextAllocZero(context, sizeof(DistinctCounts));

	counts->context = context;
	counts->nslots = FIRST_SLOTS;
	counts->slots =
		MemoryContextAllocZero(context, sizeof(DistinctEntry) * counts->nslots);
	return counts;
}

/* The slot of a hash: its own or the free one where it belongs. */
static DistinctEntry *
find_slot(DistinctEntry *slots, int nslots, uint64 hash)
{
	/* the low bits tell nothing once the level has risen */
	uint64 at = hash >> 32;

	while (slots[at & (nslots - 1)].count != 0 && slots[at & (nslots - 1)].hash != hash)
		at++;
	return &slots[at & (nslots - 1)];
}

/* Move the entries that are at the level into a table of nslots slots. */
static void
rebuild(DistinctCounts *counts, int nslots)
{
	DistinctEntry *slots =
		MemoryContextAllocZero(counts->context, sizeof(DistinctEntry) * nslots);

	counts->used = 0;
	for (int i = 0; i < counts->nslots; i++)
	{
		DistinctEntry *entry = &counts->slots[i];

		if (entry->count != 0 && at_level(entry->hash, counts->level))
		{
			*find_slot(slots, nslots, entry->hash) = *entry;
			counts->used++;
		}
	}
	pfree(counts->slots);
	counts->slots = slots;
	counts->nslots = nslots;
}

static void
add_hash(DistinctCounts *counts, uint64 hash, int64 count)
{
	DistinctEntry *slot;

	if (!at_level(hash, counts->level))
		return;
	slot = find_slot(counts->slots, counts->nslots, hash);
	if (slot->count == 0)
	{
		slot->hash = hash;
		counts->used++;
	}
	slot->count += count;

	if (counts->used > DISTINCT_LIMIT)
		while (counts->used > DISTINCT_LIMIT)
		{
			counts->level++;
			rebuild(counts, counts->nslots);
		}
	else if (counts->used > counts->nslots / 2)
		rebuild(counts, counts->nslots * 2);
}

void
distinct_add(DistinctCounts *counts, const HashCode *code)
{
	uint64 hash = DatumGetUInt64(
		hash_any_extended(code->bits, (int) hamming_bytes(code->nbits), 0));

	add_hash(counts, hash, 1);
}

void
distinct_merge(DistinctCounts *a, const DistinctCounts *b)
{
	if (b->level > a->level)
	{
		a->level = b->level;
		rebuild(a, a->nslots);
	}
	for (int i = 0; i < b->nslots; i++)
		if (b->slots[i].count != 0)
			add_hash(a, b->slots[i].hash, b->slots[i].count);
}

DistinctSummary
distinct_summary(const DistinctCounts *counts)
{
	DistinctSummary summary = {.exact = counts->level == 0};
	double scale = (double) (UINT64CONST(1) << counts->level);

	for (int i = 0; i < counts->nslots; i++)
	{
		double c = (double) counts->slots[i].count;

		summary.distinct += (c > 0) * scale;
		summary.single += (c == 1) * scale;
		summary.pairs += c * (c - 1) / 2;
	}
	return summary;
}

void
distinct_write(StringInfo out, const DistinctCounts *counts)
{
	pq_sendint32(out, counts->level);
	pq_sendint32(out, counts->used);
	for (int i = 0; i < counts->nslots; i++)
		if (counts->slots[i].count != 0)
		{
			pq_sendint64(out, (int64) counts->slots[i].hash);
			pq_sendint64(out, counts->slots[i].count);
		}
}

DistinctCounts *
distinct_read(StringInfo in)
{
	DistinctCounts *counts = distinct_make(CurrentMemoryContext);
	int used;

	counts->level = (int) pq_getmsgint(in, 4);
	used = (int) pq_getmsgint(in, 4);
	while (used-- > 0)
	{
		uint64 hash = (uint64) pq_getmsgint64(in);

		add_hash(counts, hash, pq_getmsgint64(in));
	}
	return counts;
}
