/*
 * mihdead.c
 *	  Rows that a backend has found dead, so that its later scans need not look
 *	  at them in the heap again.
 *
 * Other access methods mark such entries on the index page, as a hint that is
 * not logged.  Generic WAL knows no hints: a page that differs from its replayed
 * copy is a page that is wrong.  So the backend remembers them, by index.
 *
 * A TID may go to another row once VACUUM has deleted its entries.  VACUUM counts
 * in the metapage before the first deletion and after the last, and what is
 * remembered holds for one count only: a scan with another count neither uses
 * nor adds to it.  A row that takes a TID while a scan with the old count goes on
 * is newer than the scan's snapshot; for dirty snapshots nothing is remembered.
 */
#include "mih/mihscan.h"
#include "mih/mihtidset.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#define DEAD_INDEXES 8	/* remembered at a time */
#define DEAD_ROWS 16384 /* of one index; past that it is forgotten whole */

typedef struct DeadRows
{
	compat_file file;
	uint64 identity;
	uint32 vacuums;
	uint64 used; /* higher: used later; 0: free */
	HTAB *tids;	 /* uint64 */
} DeadRows;

static DeadRows remembered[DEAD_INDEXES];
static uint64 uses;

/* What is remembered of the index of a scan, as of any count of vacuums, or NULL. */
static DeadRows *
find(const MihScan *scan)
{
	for (int i = 0; i < DEAD_INDEXES; i++)
	{
		DeadRows *rows = &remembered[i];

		if (rows->used && rows->identity == scan->meta.identity &&
			compat_same_file(rows->file, compat_relation_file(scan->index)))
			return rows;
	}
	return NULL;
}

static void
forget(DeadRows *rows)
{
	rows->used = 0;
	hash_destroy(rows->tids);
	rows->tids = NULL;
}

/* Begin to remember rows of the scan's index, in place of the index used longest ago. */
static DeadRows *
begin(const MihScan *scan)
{
	DeadRows *rows = &remembered[0];
	HASHCTL control = {.keysize = sizeof(uint64),
					   .entrysize = sizeof(uint64),
					   .hcxt = CacheMemoryContext};

	for (int i = 1; i < DEAD_INDEXES; i++)
		if (remembered[i].used < rows->used)
			rows = &remembered[i];
	if (rows->used)
		forget(rows);
	rows->tids =
		hash_create("mih dead rows", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	rows->file = compat_relation_file(scan->index);
	rows->identity = scan->meta.identity;
	rows->vacuums = scan->meta.vacuums;
	rows->used = ++uses;
	return rows;
}

/* Remember that the row under the TID is dead to every snapshot. */
void
mih_dead_add(const MihScan *scan, const ItemPointerData *tid)
{
	DeadRows *rows = find(scan);
	uint64 number = mih_tid_number(tid);

	if (rows && rows->vacuums != scan->meta.vacuums)
	{
		/* This scan may be the older one: then it has nothing to say. */
		if ((int32) (scan->meta.vacuums - rows->vacuums) < 0)
			return;
		forget(rows);
		rows = NULL;
	}
	if (rows && hash_get_num_entries(rows->tids) >= DEAD_ROWS)
	{
		forget(rows);
		rows = NULL;
	}
	if (!rows)
		rows = begin(scan);
	hash_search(rows->tids, &number, HASH_ENTER, NULL);
}

/* Whether the row under the TID is known to be dead. */
bool
mih_dead_row(const MihScan *scan, const ItemPointerData *tid)
{
	DeadRows *rows = find(scan);
	uint64 number = mih_tid_number(tid);

	if (!rows || rows->vacuums != scan->meta.vacuums ||
		!hash_search(rows->tids, &number, HASH_FIND, NULL))
		return false;
	rows->used = ++uses;
	return true;
}
