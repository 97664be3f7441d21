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
 * The smallest keys above a bound: holds up to 2 * keep, and when full drops
 * all but the keep smallest.
 */
typedef struct MihQueue
{
	MihKey *items;
	int64 allocated;
	int64 n;
	int64 keep;
	MihKey above;	/* only keys greater than this */
	MihKey upto;	/* only keys not greater than this; falls as keys are dropped */
	bool truncated; /* keys were dropped: complete only up to upto */
} MihQueue;

/* What a stream reads: a sequence of results in order, filled in steps. */
typedef struct MihStream
{
	MihQueue queue;
	int64 next;	   /* first item of queue not handed out */
	MihKey done;   /* all results up to here were found */
	int radius;	   /* walk: distance up to which it went, -1 at first */
	uint64 pages;  /* walk: pages of the last step */
	uint64 walked; /* walk: pages of all steps */
	bool linear;   /* reads every page of its parts */
	bool finished; /* nothing is left beyond queue */
} MihStream;

#define MIH_STREAM_LINEAR 0 /* lists and small segments: always read whole */
#define MIH_STREAM_WALK 1	/* segments: by levels, whole when that is cheaper */

/* A part as the scan sees it. */
typedef struct MihScanPart
{
	MihPart part;
	Buffer head;		 /* pinned while the scan may read the part */
	MihSegment *segment; /* NULL: a list */
	int stream;			 /* MIH_STREAM_x; lists of NULLs: -1 */
	uint8 *codes;		 /* query and centres of further balls, in stored order */
	uint64 *visit[MIH_MAX_CHUNKS]; /* walk: bit per page of the table */
	MihReferenceWalk *references;  /* walk: of a segment by references, else NULL */
	int budget[MIH_MAX_CHUNKS];	   /* walk: mismatches by chunk, -1: none */
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
	MemoryContext context; /* of one scan; reset by a rescan */
	MihMeta meta;
	bool started; /* parts are pinned */

	int nparts;
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

	MihStream streams[2];
	int dump_part; /* next part to read without order */
	MihCursor cursor;
	bool in_part;
	ItemPointerData *tids; /* of the page being returned without order */
	int ntids;
	int next_tid;

	uint64 *mask; /* scratch: one bit per code of a page */
} MihScan;

/* mihqueue.c */
extern void mih_queue_reset(MihQueue *queue, int64 keep, MihKey above, MihKey upto);
extern void mih_queue_add(MihQueue *queue, MihKey key);
extern void mih_queue_sort(MihQueue *queue);

/* mihprobe.c */
extern void mih_probe_page(MihScan *scan, MihScanPart *part, Buffer buf, int table,
						   MihSink *sink);
extern void mih_pass(MihScan *scan, int stream, MihSink *sink);

/* mihwalk.c */
extern uint64 mih_pass_pages(MihScan *scan, int stream);
extern uint64 mih_plan_walk(MihScan *scan, int radius, uint64 limit);
extern void mih_walk(MihScan *scan, MihSink *sink);

/* mihstream.c */
extern bool mih_stream_next(MihScan *scan, MihKey *key);

#endif
