/*
 * mihmerge.c
 *	  Merge: when segments become one, and how many an inserter puts up with.
 *
 * A merge rewrites all it merges, and a large segment in several tables.  So those
 * who have time for that (VACUUM, mih_flush) keep segments levelled, while an
 * inserter only keeps them few, and packs what it merges in one table, which scans
 * read whole as they did before.  Whoever has time makes of it what it should be.
 */
#include "mih/mih.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#define MANY_SEGMENTS 16	/* an inserter merges when there are more segments, */
#define MERGE_AT_ONCE 8		/* so many of the smallest, */
#define INSERTER_PAGES 2048 /* as long as they have no more pages than this, */
#define TOO_MANY 48			/* and all of a class when there are more than these */
#define ROOM_SHARE 4		/* more than one in so many blocks are written in two steps */

/* Segments picked for a merge out of all. */
typedef struct Choice
{
	MihPart all[MIH_MAX_PARTS];
	int nall;
	MihPart chosen[MIH_MAX_PARTS];
	int n;
	uint64 pages;  /* of one table of each of the chosen */
	uint64 blocks; /* of all their tables */
	bool tables;   /* one has several tables */
	bool halfway;  /* it is one packed segment, to be written anew */
} Choice;

/* Size class of a segment: segments of one class differ less than fourfold. */
static int
size_class(const MihPart *part)
{
	int c = 0;

	for (uint32 n = part->npages; n >= MIH_MERGE_FACTOR; n /= MIH_MERGE_FACTOR)
		c++;
	return c;
}

/* Whether VACUUM has thinned the segment so far that it is worth rewriting. */
static bool
is_thin(Relation index, const MihPart *part)
{
	MihSegment *segment = mih_segment_open(index, part);
	bool thin = part->nentries * 5 <= segment->root.nentries * 4;

	pfree(segment);
	return thin;
}

static void
choose(Choice *choice, int i)
{
	choice->chosen[choice->n++] = choice->all[i];
	choice->pages += choice->all[i].npages;
	choice->blocks += (uint64) choice->all[i].npages * choice->all[i].ntables;
	choice->tables |= choice->all[i].ntables > 1;
}

static void
choose_none(Choice *choice)
{
	choice->n = 0;
	choice->pages = 0;
	choice->blocks = 0;
	choice->tables = false;
	choice->halfway = false;
}

/* The smallest class that has MIH_MERGE_FACTOR segments, with all smaller ones. */
static bool
choose_class(Choice *choice)
{
	for (int c = 0; c < 16; c++)
	{
		int in_class = 0;

		choose_none(choice);
		for (int i = 0; i < choice->nall; i++)
			if (size_class(&choice->all[i]) <= c)
			{
				in_class += size_class(&choice->all[i]) == c;
				choose(choice, i);
			}
		if (in_class >= MIH_MERGE_FACTOR)
			return true;
	}
	return false;
}

static int
by_size(const void *a, const void *b)
{
	const MihPart *x = a;
	const MihPart *y = b;

	return (x->npages > y->npages) - (x->npages < y->npages);
}

/* What an inserter cannot put off. */
static bool
choose_few(Choice *choice)
{
	if (choice->nall > TOO_MANY)
		return choose_class(choice);
	if (choice->nall <= MANY_SEGMENTS)
		return false;
	qsort(choice->all, choice->nall, sizeof(MihPart), by_size);
	choose_none(choice);
	for (int i = 0; i < MERGE_AT_ONCE; i++)
		choose(choice, i);
	return choice->pages <= INSERTER_PAGES;
}

/* One segment that VACUUM has thinned. */
static bool
choose_thin(Relation index, Choice *choice)
{
	for (int i = 0; i < choice->nall; i++)
		if (is_thin(index, &choice->all[i]))
		{
			choose_none(choice);
			choose(choice, i);
			return true;
		}
	return false;
}

/* A segment that was packed for lack of time or room, to be what it should be. */
static bool
choose_halfway(Choice *choice)
{
	for (int i = 0; i < choice->nall; i++)
		if (choice->all[i].flags & MIH_HALFWAY)
		{
			choose_none(choice);
			choose(choice, i);
			choice->halfway = true;
			return true;
		}
	return false;
}

static bool
choose_merge(Relation index, MihMergeBy by, Choice *choice)
{
	switch (by)
	{
		case MIH_BY_INSERTER:
			return choose_few(choice);
		case MIH_BY_VACUUM:
			return choose_class(choice) || choose_halfway(choice) ||
				   choose_thin(index, choice);
		case MIH_BY_DEMAND:
			choose_none(choice);
			for (int i = 0; i < choice->nall; i++)
				choose(choice, i);
			return choice->n > 1 || choose_halfway(choice) || choose_thin(index, choice);
	}
	return false;
}

/*
 * A merge writes before it frees, so one of segments with several tables would leave
 * the file twice as large for good.  Where that matters they become one packed
 * table first, which takes little room, and that is written anew in the room that
 * they leave.  In between, which takes about as long as reading and sorting the
 * entries, scans read the one table whole.
 */
static bool
packed_first(Relation index, const Choice *choice)
{
	return choice->tables && !choice->halfway &&
		   choice->blocks > RelationGetNumberOfBlocks(index) / ROOM_SHARE;
}

/*
 * Merge segments until there is nothing to gain for whoever asks; returns how
 * many were merged.  Under the maintenance lock.
 */
int
mih_merge_segments(Relation index, MihMergeBy by)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "mih merge", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	MihMeta meta;
	int merged = 0;

	while (mih_have_slots(index, &meta))
	{
		Choice *choice = palloc0(sizeof(Choice));

		choice->nall = mih_collect_parts(&meta, MIH_PART_SEGMENT, choice->all);
		if (!choose_merge(index, by, choice))
			break;
		mih_replace_segments(index, &meta, choice->chosen, choice->n,
							 by == MIH_BY_INSERTER || packed_first(index, choice));
		merged += choice->halfway ? 0 : choice->n; /* counted when it was packed */
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return merged;
}

PG_FUNCTION_INFO_V1(mih_flush);
PG_FUNCTION_INFO_V1(mih_merge);

/* mih_flush(index regclass) returns bigint: entries moved from pending lists. */
Datum
mih_flush(PG_FUNCTION_ARGS)
{
	Relation index = mih_open_index(PG_GETARG_OID(0), RowExclusiveLock, true, true);
	int64 moved;

	mih_lock_maintenance(index);
	moved = mih_flush_pending(index);
	mih_merge_segments(index, MIH_BY_VACUUM);
	mih_free_dead(index);
	mih_unlock_maintenance(index);
	index_close(index, RowExclusiveLock);
	PG_RETURN_INT64(moved);
}

/* mih_merge(index regclass) returns int: segments that were merged, 0 if there was one.
 */
Datum
mih_merge(PG_FUNCTION_ARGS)
{
	Relation index = mih_open_index(PG_GETARG_OID(0), RowExclusiveLock, true, true);
	int merged;

	mih_lock_maintenance(index);
	mih_flush_pending(index);
	merged = mih_merge_segments(index, MIH_BY_DEMAND);
	mih_free_dead(index);
	mih_unlock_maintenance(index);
	index_close(index, RowExclusiveLock);
	PG_RETURN_INT32(merged);
}
