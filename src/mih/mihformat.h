/*
 * mihformat.h
 *	  What lies on the pages of an index of access method mih.  README.md in this
 *	  folder explains it; MIH_VERSION changes with it.
 *
 * An index is a metapage (block 0) and parts.  A part is a set of pages that
 * carry its id: a list (pages chained, entries in order of arrival: pending
 * codes, or the TIDs of NULLs) or a segment (sorted, packed, immutable but for
 * the deletions of VACUUM).
 *
 *	 any page
 *	 +------------+-----------------------------------------+--------------+
 *	 | PageHeader | contents by kind              (hole)    | MihPageTail  |
 *	 +------------+-----------------------------------------+--------------+
 *	 0            24                                        BLCKSZ-16   BLCKSZ
 *
 *	 entry page (MIH_PAGE_ENTRIES, MIH_PAGE_LIST)
 *	 +----+-----------------+---------------+ - - - - +----------------+----+
 *	 | .. | code 0, 1, 2 .. | starts (runs) |  hole   | .. TID 1, TID 0|tail|
 *	 +----+-----------------+---------------+ - - - - +----------------+----+
 *	      64                                pd_lower  pd_upper         pd_special
 *
 *	 Without MIH_RUNS code i has TID i.  With MIH_RUNS the codes are distinct, and
 *	 the TIDs of code i begin at the i-th TID whose bit of starts is set.  With
 *	 MIH_SLICED the same bytes of codes lie in slices; lists never have them.
 */
#ifndef MIHFORMAT_H
#define MIHFORMAT_H

#include "compat.h"

#include "storage/block.h"
#include "storage/bufpage.h"
#include "storage/itemptr.h"

#if BLCKSZ < 8192
#error "mih needs blocks of at least 8 kB"
#endif

#define MIH_MAGIC 0x4D494831 /* "MIH1" */
#define MIH_VERSION 2		 /* of the on-disk format */
#define MIH_META_BLKNO 0
#define MIH_PAGE_ID 0xFF9D	   /* last two bytes of every page, for pg_filedump */
#define MIH_CODES_OFFSET 64	   /* codes begin on a cache line */
#define MIH_MAX_PARTS 96	   /* slots in the metapage */
#define MIH_MAX_CHUNKS 16	   /* chunk tables of a segment */
#define MIH_MAX_REFERENCES 256 /* of a segment; 16 bits of a key say which */
#define MIH_KEY_BITS 32		   /* leading bits of a chunk that order and find pages */
#define MIH_MAX_PERM_BITS 2048 /* longer codes keep their order of bits */
#define MIH_HIST_BINS 64	   /* of the sampled distances in the metapage */

/* Kinds of pages. */
#define MIH_PAGE_META 1
#define MIH_PAGE_FREE 2
#define MIH_PAGE_LIST 3		  /* of a list */
#define MIH_PAGE_ROOT 4		  /* head of a segment */
#define MIH_PAGE_DIRECTORY 5  /* of one chunk table */
#define MIH_PAGE_ENTRIES 6	  /* of one chunk table */
#define MIH_PAGE_REFERENCES 7 /* of a segment ordered by references */

/* Flags of a page. */
#define MIH_RUNS 0x01	/* each code once, with a run of TIDs */
#define MIH_SLICED 0x02 /* codes in slices (hamming.h) */
#define MIH_FULL 0x04	/* tail of a list that grows no more */

/* The last 16 bytes of a page. */
typedef struct MihPageTail
{
	uint32 part;	  /* id of the part that owns the page, 0: none */
	BlockNumber next; /* next page of the list or directory, or Invalid */
	uint16 ncodes;	  /* codes on the page, or directory entries */
	uint16 ntids;	  /* TIDs on the page */
	uint8 kind;		  /* MIH_PAGE_x */
	uint8 flags;	  /* MIH_RUNS, MIH_SLICED, MIH_FULL */
	uint16 page_id;	  /* MIH_PAGE_ID */
} MihPageTail;

#define MihTail(page) ((MihPageTail *) PageGetSpecialPointer(page))
#define MihPageCapacity (BLCKSZ - MIH_CODES_OFFSET - (int) MAXALIGN(sizeof(MihPageTail)))
#define MihMaxTidsPerPage ((int) (MihPageCapacity / sizeof(ItemPointerData)))

/* What a part is at present. */
#define MIH_PART_UNUSED 0
#define MIH_PART_PENDING 1		/* list of codes, grows at its tail; at most one */
#define MIH_PART_SEALED 2		/* list of codes, grows no more, to be flushed */
#define MIH_PART_NULLS 3		/* list of TIDs of NULLs, grows; at most one */
#define MIH_PART_SEALED_NULLS 4 /* list of TIDs of NULLs, grows no more */
#define MIH_PART_SEGMENT 5
#define MIH_PART_DEAD 6 /* replaced; pages wait for the last scan to leave */

/* What the entries of a segment are ordered by. */
#define MIH_BY_CHUNKS 0		/* a table for each chunk of the code, or one in all */
#define MIH_BY_REFERENCES 1 /* one table, by nearest reference and distance to it */

/*
 * The share of a segment's pages that a walk is expected to visit is noted for
 * the radii 0/32, 1/32, .. 7/32 of a code's length.
 */
#define MIH_REACH_STEPS 32
#define MIH_REACH_KNOTS 8

typedef struct MihPart
{
	uint32 id;		  /* stamped on its pages, never used again */
	uint16 kind;	  /* MIH_PART_x */
	uint16 ntables;	  /* segment: chunk tables */
	BlockNumber head; /* first page of the list, root of the segment */
	BlockNumber tail; /* list: its last page */
	uint32 npages;	  /* list: pages; segment: entry pages of one table */
	uint16 order;	  /* segment: MIH_BY_x */
	uint16 flags;	  /* MIH_HALFWAY */
	uint64 nentries;  /* segment: as of its birth or the last VACUUM; list: as of the
						 last VACUUM */
	uint8 reach[MIH_REACH_KNOTS]; /* segment by references: see mih_part_reach */
	uint32 first; /* segment of one table: entry pages before it were moved to others */
	uint32 unused;
} MihPart;

/* A segment packed for lack of time or room, to be written anew: see mihmerge.c. */
#define MIH_HALFWAY 0x01

/* A VACUUM has begun to delete and not ended: tables of a segment may differ. */
#define MIH_VACUUMING 0x01
/* Pages are being written or freed, or someone died at it: some may be of no part. */
#define MIH_UNFINISHED 0x02

typedef struct MihMeta
{
	uint32 magic;				/* MIH_MAGIC */
	uint32 version;				/* MIH_VERSION */
	uint16 nbits;				/* length of every code, 0: no code seen yet */
	uint16 flags;				/* MIH_VACUUMING, MIH_UNFINISHED */
	uint32 next_id;				/* id for the next part */
	uint32 vacuums;				/* counts before and after each one's deletions */
	uint64 identity;			/* random, tells this file from any other */
	uint32 hist_pairs;			/* pairs of codes in hist, 0: no sample */
	uint32 hist[MIH_HIST_BINS]; /* distances of sampled pairs, in bins of
								   ceil((nbits + 1) / MIH_HIST_BINS) */
	MihPart parts[MIH_MAX_PARTS];
} MihMeta;

#define MihPageGetMeta(page) ((MihMeta *) PageGetContents(page))

/* How the bits of a code are cut into chunks. */
typedef struct MihLayout
{
	uint16 nbits;
	uint16 nchunks;					  /* 1 .. MIH_MAX_CHUNKS */
	uint16 nperm;					  /* nbits, or 0: bits keep their order */
	uint16 start[MIH_MAX_CHUNKS + 1]; /* chunk j: stored bits start[j] .. start[j+1]-1 */
	uint16 perm[MIH_MAX_PERM_BITS];	  /* stored bit i is bit perm[i] of the code */
} MihLayout;

/* Contents of a segment's root page. */
typedef struct MihRoot
{
	uint64 nentries; /* at birth */
	uint16 ntables;	 /* chunk tables stored: 1 or layout.nchunks */
	uint16 order;	 /* MIH_BY_x */
	uint16 nrefs;	 /* references, 0 where ordered by chunks */
	uint16 unused;
	BlockNumber refs;				 /* first page of references, or Invalid */
	uint32 npages[MIH_MAX_CHUNKS];	 /* entry pages by table */
	BlockNumber dir[MIH_MAX_CHUNKS]; /* first directory page by table */
	MihLayout layout;
} MihRoot;

#define MihPageGetRoot(page) ((MihRoot *) PageGetContents(page))

/* One entry of a directory: an entry page and the range of its keys. */
typedef struct MihDirEntry
{
	uint32 first;
	uint32 last;
	BlockNumber block;
} MihDirEntry;

#define MihPageGetDir(page) ((MihDirEntry *) PageGetContents(page))
#define MihDirPerPage                                                                    \
	((int) ((BLCKSZ - MAXALIGN(SizeOfPageHeaderData) - MAXALIGN(sizeof(MihPageTail))) /  \
			sizeof(MihDirEntry)))

StaticAssertDecl(sizeof(MihPageTail) == 16, "tail of a page is 16 bytes");
StaticAssertDecl(sizeof(MihMeta) + SizeOfPageHeaderData + 24 <= BLCKSZ,
				 "metapage fits a block");
StaticAssertDecl(sizeof(MihRoot) + SizeOfPageHeaderData + 24 <= BLCKSZ,
				 "root fits a block");

#endif
