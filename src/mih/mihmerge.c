/*
 * mihmerge.c
 *	  Merge: when segments become one, and how many an inserter puts up with.
 *
 * A merge rewrites all it merges, and a large segment in several tables.  So those
 * who have time for that (VACUUM, mih_flush) keep segments levelled, while an
 * inserter only keeps them few, and packs what it merges in one table, which scans
 * read whole as they did before.  Whoever has time makes of it what it should be.
 *
 * A merge writes before it frees.  So that this never takes more than a share of the
 * index, segments of one table stay below that share, and a greater one is rewritten
 * in pieces; several tables are rewritten by way of one.
 */
#include "mih/mih.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#define MANY_SEGMENTS 16	/* an inserter merges when there are more segments, */
#define MERGE_AT_ONCE 8		/* so many of the smallest, */
#define INSERTER_PAGES 2048 /* as long as they have no more pages than this, */
#define TOO_MANY 48			/* and all of a class when there are more than these */
#define ROOM_SHARE 4		/* more than one in so many blocks are written in two steps */
#define PIECES 8		/* one-table segments of an index that VACUUM has rewritten, */
#define LARGE_PIECE 128 /* but not more than make pieces of so many pages, */
#define FEW_PIECES 6	/* unless they are so few, */
#define LEAST_PIECE 32	/* and never smaller ones than this */

/* Segments picked for a merge out of all. */
typedef struct Choice
{
	MihPart all[MIH_MAX_PARTS]; /* the smallest first */
	int nall;
	int nfull;	/* that are large enough to be left alone */
	uint64 cap; /* pages that a merge writes at most, 0: no limit */
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

static int
by_size(const void *a, const void *b)
{
	const MihPart *x = a;
	const MihPart *y = b;

	return (x->npages > y->npages) - (x->npages < y->npages);
}

/*
 * Where there are only segments of one table: the pages of the pieces that they are
 * to be kept in.
 */
static uint64
piece_pages(const Choice *choice)
{
	uint64 total = 0;

	for (int i = 0; i < choice->nall; i++)
	{
		if (choice->all[i].ntables > 1)
			return 0;
		total += choice->all[i].npages;
	}
	return Max(LEAST_PIECE, Max(total / PIECES, Min(LARGE_PIECE, total / FEW_PIECES)));
}

/* Merging it with others would soon make more than a piece of it. */
static bool
is_full(const Choice *choice, const MihPart *part)
{
	return choice->cap > 0 && part->npages * UINT64CONST(2) > choice->cap;
}

/* What there is to choose from. */
static void
begin_choice(Choice *choice, const MihMeta *meta, MihMergeBy by)
{
	memset(choice, 0, sizeof(Choice));
	choice->nall = mih_collect_parts(meta, MIH_PART_SEGMENT, choice->all);
	qsort(choice->all, choice->nall, sizeof(MihPart), by_size);
	/* Who asks for one segment gets one. */
	if (by != MIH_BY_DEMAND)
		choice->cap = piece_pages(choice);
	for (int i = 0; i < choice->nall; i++)
		choice->nfull += is_full(choice, &choice->all[i]);
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

static void
choose_all(Choice *choice)
{
	choose_none(choice);
	for (int i = 0; i < choice->nall; i++)
		choose(choice, i);
}

/*
 * The smallest class that has MIH_MERGE_FACTOR segments, with all smaller ones, as far
 * as they go into one piece.
 */
static bool
choose_class(Choice *choice)
{
	for (int c = 0; c < 16; c++)
	{
		int in_class = 0;

		choose_none(choice);
		for (int i = 0; i < choice->nall - choice->nfull; i++)
			if (size_class(&choice->all[i]) <= c)
			{
				in_class += size_class(&choice->all[i]) == c;
				if (choice->cap == 0 ||
					choice->pages + choice->all[i].npages <= choice->cap)
					choose(choice, i);
			}
		if (in_class >= MIH_MERGE_FACTOR)
			return true;
	}
	return false;
}

/* What an inserter cannot put off. */
static bool
choose_few(Choice *choice)
{
	int few = choice->nall - choice->nfull;

	if (few > TOO_MANY)
		return choose_class(choice);
	if (few <= MANY_SEGMENTS)
		return false;
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
			choose_all(choice);
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
 * Make of the segments chosen what they should be.  Before segments of one table are
 * kept apart for good, it is asked whether the index has grown to where several tables
 * are better: then it becomes one such segment.  Asking takes a look at every entry;
 * asked says that it was done before.
 */
static void
merge(Relation index, const MihMeta *meta, MihMergeBy by, Choice *choice, bool *asked)
{
	if (by == MIH_BY_VACUUM && choice->cap > 0 && !choice->halfway && !*asked &&
		mih_deserve_tables(index, meta, choice->all, choice->nall))
		choose_all(choice);
	else if (by == MIH_BY_VACUUM && choice->cap > 0 && choice->n == 1 &&
			 choice->pages > choice->cap &&
			 !(choice->halfway && mih_deserve_tables(index, meta, choice->chosen, 1)))
	{
		uint64 pieces = (choice->pages + choice->cap - 1) / choice->cap;

		mih_replace_by_pieces(index, choice->chosen[0],
							  (choice->pages + pieces - 1) / pieces);
		return;
	}
	mih_replace_segments(index, meta, choice->chosen, choice->n,
						 by == MIH_BY_INSERTER || packed_first(index, choice));
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
	bool asked = false;

	while (mih_have_slots(index, &meta))
	{
		Choice *choice = palloc(sizeof(Choice));

		begin_choice(choice, &meta, by);
		if (!choose_merge(index, by, choice))
			break;
		merge(index, &meta, by, choice, &asked);
		asked |= !choice->halfway;
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
