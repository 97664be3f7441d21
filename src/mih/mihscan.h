/*
 * mihscan.h
 *	  State of a scan, shared by mihscan.c (interface), mihstream.c (order),
 *	  mihwalk.c (which pages) and mihprobe.c (what is on a page).
 *
 * A result is one number, its key: distance, block and offset of the TID, from
 * the most significant bits down.  Order of keys is order of results; a key is
 * never 0, because offsets begin at 1.
 */
#ifndef MIHSCAN_H
#define MIHSCAN_H

#include "mih/mih.h"

typedef uint64 MihKey;

#define MihKeyMake(distance, tid)                                                        \
	((uint64) (distance) << 48 | (uint64) ItemPointerGetBlockNumberNoCheck(tid) << 16 |  \
	 ItemPointerGetOffsetNumberNoCheck(tid))
#define MihKeyDistance(key) ((int) ((key) >> 48))
#define MihKeyLast(distance) (((uint64) (distance) << 48) | UINT64CONST(0xffffffffffff))

/*
 * Results that were found and not handed out.  The queue keeps the smallest keys
 * above a bound, unsorted; an entry that was met in several tables is in it
 * several times.  It holds up to 2 * keep keys, and when full drops all but the
 * keep smallest.  Those that are known to be complete move to ready.
 */
typedef struct MihQueue
{
	MihKey *items;
	MihKey *ready;	 /* sorted and distinct, to be handed out */
	int64 allocated; /* of items and of ready */
	int64 n;
	int64 nready;
	int64 next; /* of ready, to be handed out */
	int64 keep;
	MihKey above;	/* only keys greater than this: the others were handed out */
	MihKey upto;	/* only keys not greater than this; falls as keys are dropped */
	bool truncated; /* keys were dropped: complete only up to upto */
} MihQueue;

/* Pages of one table that a step of the walk visits: pages[from .. to - 1]. */
typedef struct MihVisit
{
	int part;
	int table;
	uint64 from;
	uint64 to;
} MihVisit;

/* What a scan did, for mih_last_scan() and mih_scans(). */
typedef struct MihScanStats
{
	Oid index;
	uint64 steps;	   /* of the walk */
	int radius;		   /* up to which everything is known */
	uint64 list_pages; /* of lists and small segments, read whole */
	uint64 walk_pages; /* visited by the walk */
	uint64 pass_pages; /* read by passes */
	uint64 passes;	   /* over what the walk had left, or over everything */
	uint64 candidates; /* entries near enough to be queued when they were met */
	uint64 results;	   /* in order, handed to the executor or known to be dead */
	uint64 dead;	   /* rows passed over because they are known to be dead */
} MihScanStats;

/* A part as the scan sees it. */
typedef struct MihScanPart
{
	MihPart part;
	Buffer head;		 /* pinned while the scan may read the part */
	MihSegment *segment; /* NULL: a list */
	bool nulls;			 /* a list of NULLs */
	bool wanted;		 /* by the present query */
	bool walk;			 /* pages are visited by radius; else it is read whole */
	uint8 *codes;		 /* query and centres of further balls, in stored order */
	uint64 *visited[MIH_MAX_CHUNKS]; /* walk: bit per page of the table */
	MihReferenceWalk *references;	 /* walk: of a segment by references, else NULL */
	int budget[MIH_MAX_CHUNKS];		 /* walk: mismatches that visited allows, -1: none */
} MihScanPart;

/* Receives what a pass over pages finds. */
typedef struct MihSink
{
	MihQueue *queue; /* ordered results, or NULL */
	TIDBitmap *tbm;	 /* else a bitmap */
	int64 ntids;	 /* given to the bitmap */
	bool recheck;	 /* the bitmap's rows are to be looked at again */
	int max_distance;
} MihSink;

typedef struct MihScan
{
	Relation index;
	BufferAccessStrategy strategy;
	MemoryContext context; /* of one query; reset by a rescan */
	MemoryContext lasting; /* parts and scratch, which rescans use again */
	MihMeta meta;
	bool started;			  /* the query was read */
	ItemPointerData returned; /* the last row, invalid if there was none */

	int nparts; /* pinned, 0: not yet */
	bool pinned;
	MihScanPart *parts;

	bool want_codes; /* entries with a code are wanted */
	bool want_nulls; /* entries of NULL are wanted, after the codes */
	bool ordered;	 /* by distance to the query */
	bool recheck;	 /* radii of the rows are not in the index: ask the operator */
	int nbits;		 /* of the query; 0: no query, all codes in any order */
	int max_distance;
	const uint8 *query;
	int nfilters;			/* further balls */
	const HashBall **balls; /* nfilters of them */

	MihQueue queue;
	int cap;			  /* the walk keeps nothing farther than this */
	int radius;			  /* all entries within it were seen, -1 at first */
	bool begun;			  /* the lists were read */
	bool free_walk;		  /* the walk may visit as many pages as it likes */
	bool seen_all;		  /* every entry was seen */
	uint64 pass_pages;	  /* of the first tables of the segments that are walked */
	uint64 visited_pages; /* by the walk */
	uint64 nodes;		  /* of tries of single tables, looked at */

	uint32 *pages; /* of a step */
	uint64 npages;
	uint64 allocated_pages;
	MihVisit *visits;
	int nvisits;
	int allocated_visits;

	int dump_part; /* next part to read without order */
	MihCursor cursor;
	bool in_part;
	ItemPointerData *tids; /* of the page being returned without order */
	int ntids;
	int next_tid;

	uint64 *mask; /* scratch: one bit per code of a page */
	MihScanStats stats;
} MihScan;

/* mihqueue.c */
extern void mih_queue_begin(MihQueue *queue, int64 keep, MihKey above, MihKey upto);
extern void mih_queue_add(MihQueue *queue, MihKey key);
extern void mih_queue_take(MihQueue *queue, MihKey bound);

/* mihprobe.c */
extern void mih_probe_page(MihScan *scan, MihScanPart *part, Buffer buf, MihSink *sink);
extern void mih_read_lists(MihScan *scan, MihSink *sink);
extern void mih_pass(MihScan *scan, MihSink *sink);

/* mihwalk.c */
extern void mih_walk_begin(MihScan *scan);
extern bool mih_walk_mark(MihScan *scan, int radius, uint64 most);
extern void mih_walk_unmark(MihScan *scan);
extern void mih_walk_visit(MihScan *scan, int radius, MihSink *sink);

/* mihstream.c */
extern void mih_stream_begin(MihScan *scan);
extern bool mih_stream_next(MihScan *scan, MihKey *key);

/* mihdead.c */
extern void mih_dead_add(const MihScan *scan, const ItemPointerData *tid);
extern bool mih_dead_row(const MihScan *scan, const ItemPointerData *tid);

/* mihreport.c */
extern void mih_report_scan(const MihScanStats *stats);

#endif
