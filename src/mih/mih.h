/*
 * mih.h
 *	  Private header of the index access method mih: exact search in Hamming
 *	  space.  README.md in this folder explains algorithm and locks, mihformat.h
 *	  has what lies on pages.
 */
#ifndef MIH_H
#define MIH_H

#include "compat.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/generic_xlog.h"
#include "access/itup.h"
#include "nodes/execnodes.h"
#include "nodes/tidbitmap.h"
#include "storage/bufmgr.h"
#include "port/atomics.h"
#include "storage/buffile.h"
#include "utils/rel.h"

#include "hamming/hamming.h"
#include "hashcode/hashcode.h"
#include "mih/mihformat.h"

#define MIH_STRATEGY_WITHIN 1	/* code <@ hashball, search */
#define MIH_STRATEGY_DISTANCE 2 /* code <~> code, order */
#define MIH_STRATEGY_MUTUAL 3	/* hashball <@> hashball, search, for EXCLUDE */

#define MIH_CODE_PROC 1 /* hashcode of a value of another type */

/* Results that a scan keeps in its first refill, and how that number grows. */
#define MIH_FIRST_KEEP 128
#define MIH_KEEP_GROWTH 8

/*
 * Pages that a walk over several tables may visit, as a share of a pass.  They lie
 * all over the index, so that each costs about two of those that a pass reads in
 * order.  A pass may follow, so this bounds what a walk can waste: 0.3 of a pass.
 */
#define MIH_WALK_SHARE 0.15

/* A walk over single tables should visit less than this share to be worth it. */
#define MIH_WALK_GAIN 0.5

/* Rows that a scan of unknown LIMIT is expected to be asked for. */
#define MIH_USUAL_ROWS 10

#define MIH_DEFAULT_PENDING_PAGES 128
#define MIH_MERGE_FACTOR 4 /* so many segments of one size class become one */

typedef struct MihOptions
{
	int32 vl_len_;	   /* varlena header */
	int chunks;		   /* 0: choose */
	int pending_pages; /* an inserter flushes past so many */
	int layout;		   /* MihLayoutOption */
} MihOptions;

/* What the owner wants segments to be ordered by. */
typedef enum MihLayoutOption
{
	MIH_LAYOUT_AUTO,
	MIH_LAYOUT_CHUNKS,
	MIH_LAYOUT_REFERENCES,
	MIH_LAYOUT_PACKED
} MihLayoutOption;

/*
 * Reference codes and, by reference, the least and the greatest distance to it
 * in its cell (least > most: the cell is empty).
 */
typedef struct MihReferences
{
	int n;
	int nbytes; /* of a code */
	uint16 least[MIH_MAX_REFERENCES];
	uint16 most[MIH_MAX_REFERENCES];
	uint8 codes[FLEXIBLE_ARRAY_MEMBER]; /* n packed codes, in stored order */
} MihReferences;

typedef struct MihReferenceWalk MihReferenceWalk;

/* How a segment is to be written. */
typedef struct MihDesign
{
	MihLayout layout;
	int ntables;
	MihReferences *refs;		   /* order by these; NULL: by chunks */
	double reach[MIH_REACH_KNOTS]; /* by references: see MihPart */
} MihDesign;

/* A segment as a backend knows it. */
typedef struct MihSegment
{
	uint32 id;
	MihRoot root;
	MihDirEntry *dir[MIH_MAX_CHUNKS]; /* loaded when first asked for */
	Buffer *recent[MIH_MAX_CHUNKS];	  /* with dir: where each page was last, 0: unknown */
	const MihReferences *refs;		  /* loaded when first asked for */
	uint32 reads;					  /* of entry pages */
	int wanted; /* bytes of an entry page that a comparison reads in any case */
} MihSegment;

/* The entries of a page, to be read in place. */
typedef struct MihEntries
{
	int ncodes;
	int ntids;
	int nbytes;					/* of a code */
	bool sliced;				/* codes lie in slices */
	const uint8 *codes;			/* ncodes of them, packed or in slices */
	const uint64 *starts;		/* bit t: a run begins at TID t; NULL: code i has TID i */
	const ItemPointerData *top; /* TID i is top[-1 - i] */
	int at_code, at_tid;		/* a code, and where its run begins: mih_run's */
} MihEntries;

/* Words of a bit for each of n TIDs. */
#define MihStartWords(n) (((n) + 63) / 64)

/* Bits of starts that a page can have, also a damaged one. */
#define MIH_MAX_RUNS (MihStartWords(MihMaxTidsPerPage) * 64)

/* Code i; buffer, of HAMMING_MAX_BYTES, is for one that has to be put together. */
static inline const uint8 *
mih_entry_code(const MihEntries *entries, int i, uint8 *buffer)
{
	if (!entries->sliced)
		return entries->codes + i * entries->nbytes;
	hamming_from_slices(entries->codes, entries->nbytes, entries->ncodes, i, buffer);
	return buffer;
}

/* Which codes lie within radius of query: HammingKernels.within. */
static inline size_t
mih_entries_within(const MihEntries *entries, const uint8 *query, uint32 radius,
				   uint64 *mask)
{
	const HammingKernels *kernels = hamming_kernels();

	return (entries->sliced ? kernels->within_slices : kernels->within)(
		query, entries->codes, entries->nbytes, entries->ncodes, radius, mask);
}

/* Walks the entry pages of a list, or of one table of a segment. */
typedef struct MihCursor
{
	Relation index;
	MihPart part;
	MihSegment *segment; /* NULL: a list */
	int table;
	int lockmode;
	BufferAccessStrategy strategy;
	uint32 page;	  /* segment: next entry of the directory, */
	uint32 end;		  /* and the one after the last to be walked */
	BlockNumber next; /* list: next page */
} MihCursor;

/* Yields codes (bits in the column's order) and TIDs, as often as rewound. */
typedef struct MihSource MihSource;
struct MihSource
{
	void (*rewind)(MihSource *source);
	bool (*next)(MihSource *source, uint8 *code, ItemPointer tid);
};

typedef struct MihShuffle MihShuffle;
typedef struct MihSort MihSort;
typedef struct MihPacker MihPacker;

/* A temporary file being written: see mihspool.c. */
typedef struct MihSpool
{
	BufFile *file;
	uint8 *buffer;
	int used;
	uint64 n; /* records */
} MihSpool;

/* One participant of a build while it scans the heap: see mihbuild.c. */
typedef struct MihBuilder
{
	Relation index;
	MemoryContext context;	 /* for each code, reset after it */
	pg_atomic_uint32 *nbits; /* of every participant, 0 until known */
	MihSpool codes;
	MihSpool nulls;
} MihBuilder;

/* What a scan of the heap found. */
typedef struct MihFound
{
	int nbits; /* 0: no code */
	uint64 ncodes;
	uint64 nnulls;
	MihSource *codes;
	MihSource *nulls;
} MihFound;

/* Leader and workers of a parallel build: see mihparallel.c. */
typedef struct MihCrew MihCrew;

#define MIH_MAX_RANGES 32 /* of keys, that a table is written in */

/* One table of a segment being written: see mihtable.c. */
typedef struct MihTableWriter
{
	Relation index;
	uint32 id;
	int nbytes;
	bool building;
	MihPacker *packer; /* the page being filled, */
	uint32 first;	   /* its least key */
	uint32 last;	   /* and its greatest */
	MihDirEntry *dir;  /* one entry per page written */
	uint32 npages;
	uint32 maxpages;
	uint64 n; /* entries */
} MihTableWriter;

/* Tables that have been written. */
typedef struct MihTables
{
	uint64 nentries[MIH_MAX_CHUNKS];
	uint32 npages[MIH_MAX_CHUNKS];
	BlockNumber dir[MIH_MAX_CHUNKS];
} MihTables;

/* Who merges segments decides how much: see mihmerge.c. */
typedef enum MihMergeBy
{
	MIH_BY_INSERTER,
	MIH_BY_VACUUM,
	MIH_BY_DEMAND
} MihMergeBy;

/* What changed on a page, as generic WAL wants it: see mihwal.c. */
#define MIH_FRAGMENT_HEADER ((int) (2 * sizeof(uint16)))

typedef struct MihDelta
{
	int size;
	char bytes[HAMMING_MAX_BYTES + 64]; /* an insert: code, TID, header, tail */
} MihDelta;

/* mih.c */
extern int mih_pending_limit(Relation index);
extern int mih_chunks_option(Relation index);
extern MihLayoutOption mih_layout_option(Relation index);
extern bytea *mihoptions(Datum reloptions, bool validate);

/* mihpage.c */
extern void mih_init_page(Page page, int kind, uint32 part);
extern void mih_corrupt(Relation index, BlockNumber block, const char *what)
	pg_attribute_noreturn();
extern void mih_check_page(Relation index, Buffer buf);
extern Buffer mih_pin_page(Relation index, BlockNumber block,
						   BufferAccessStrategy strategy);
extern Buffer mih_read_page(Relation index, BlockNumber block, uint32 part, int kind,
							int lockmode, BufferAccessStrategy strategy);
extern void mih_lock_page(Relation index, Buffer buf, uint32 part, int kind,
						  int lockmode);
extern Buffer mih_new_page(Relation index);
extern Buffer mih_extend(Relation index);
extern void mih_return_page(Relation index, Buffer buf);
extern void mih_free_page(Relation index, BlockNumber block, uint32 part);
extern void mih_page_entries(Relation index, Buffer buf, int nbytes, MihEntries *entries);
extern void mih_run(Relation index, Buffer buf, MihEntries *entries, int i, int *from,
					int *to);
extern void mih_runs(Relation index, Buffer buf, const MihEntries *entries, uint16 *from);
extern int mih_starts_size(int lower, int ntids);
extern void mih_check_tid(Relation index, Buffer buf, const ItemPointerData *tid);
extern bool mih_list_has_room(Page page, int nbytes);
extern void mih_list_add(Page page, const uint8 *code, int nbytes, ItemPointer tid);

/* mihwal.c */
extern void mih_delta_add(MihDelta *delta, Page page, const void *at, uint16 length);
extern void mih_log_delta(Relation index, Buffer buf, MihDelta *delta);
extern void mih_write_image(Relation index, Buffer buf, const char *image);

/* mihpack.c */
extern MihPacker *mih_packer_make(int nbytes);
extern bool mih_packer_add(MihPacker *packer, const uint8 *code, ItemPointer tid);
extern void mih_packer_free(MihPacker *packer);
extern bool mih_packer_empty(const MihPacker *packer);
extern int mih_packer_page(MihPacker *packer, Page page, int kind, uint32 part);

/* mihmeta.c */
extern Buffer mih_read_meta(Relation index, int lockmode);
extern void mih_init_meta(Page page, int nbits);
extern void mih_copy_meta(Relation index, MihMeta *meta);
extern int mih_find_part(const MihMeta *meta, int kind);
extern MihPart *mih_add_part(MihMeta *meta);
extern uint32 mih_take_id(Relation index, MihMeta *meta);
extern int mih_free_slots(const MihMeta *meta);
extern void mih_lock_maintenance(Relation index);
extern bool mih_try_lock_maintenance(Relation index);
extern void mih_unlock_maintenance(Relation index);

/* mihdatum.c */
extern HashCode *mih_read_code(Relation index, Datum value);
extern void mih_check_opclass(Relation index);
extern int mih_column_bits(Relation index);
extern void mih_wrong_length(Relation index, int got, int expected)
	pg_attribute_noreturn();

/* mihlayout.c */
extern void mih_cut_layout(MihLayout *layout, int nbits, int nchunks, const uint8 *sample,
						   int nsample);
extern void mih_to_stored(const MihLayout *layout, const uint8 *code, uint8 *stored);
extern void mih_from_stored(const MihLayout *layout, const uint8 *stored, uint8 *code);
extern MihShuffle *mih_shuffle_make(const MihLayout *layout, bool inverse);
extern void mih_shuffle_free(MihShuffle *shuffle);
extern void mih_shuffle(const MihShuffle *shuffle, const uint8 *in, uint8 *out);
extern int mih_key_bits(const MihLayout *layout, int chunk);
extern uint32 mih_key(const MihLayout *layout, int chunk, const uint8 *stored);
extern uint32 mih_entry_key(const MihLayout *layout, const MihReferences *refs, int table,
							const uint8 *stored);
extern int mih_bit_distance(const uint8 *a, const uint8 *b, int from, int to);
extern void mih_sample_histogram(const uint8 *sample, int nsample, int nbits,
								 MihMeta *meta);

/* mihdesign.c */
extern void mih_choose_design(MihDesign *design, MihLayoutOption option, int chunks,
							  int nbits, double nentries, const uint8 *sample,
							  int nsample);

/* mihseeds.c */
extern MihReferences *mih_find_references(const uint8 *sample, int nsample, int nbits,
										  int want);

/* mihrefs.c */
extern MihReferences *mih_make_references(int n, int nbytes);
extern int mih_key_reference(uint32 key);
extern int mih_key_shell(uint32 key);
extern uint32 mih_reference_key(const MihReferences *refs, const uint8 *code);
extern void mih_reference_count(MihReferences *refs, uint32 key);
extern void mih_reference_reach(const MihReferences *refs, const uint8 *query,
								const uint32 *keys, int nkeys, int64 *reached);
extern void mih_set_reach(MihPart *part, const double *share);
extern double mih_part_reach(const MihPart *part, int nbits, int radius);
extern int mih_reference_pages(int n, int nbytes);
extern BlockNumber mih_write_references(Relation index, uint32 id,
										const MihReferences *refs, bool building);
extern const MihReferences *mih_segment_references(Relation index, MihSegment *segment);
extern MihReferenceWalk *mih_reference_walk(Relation index, MihSegment *segment,
											const uint8 *query);
extern uint64 mih_mark_references(MihReferenceWalk *walk, const MihDirEntry *dir,
								  uint32 npages, int radius, uint64 *visited,
								  uint32 *pages);

/* mihsort.c */
extern MihSort *mih_sort_begin(int width, Size memory);
extern void mih_sort_put(MihSort *sort, const uint8 *record);
extern void mih_sort_finish(MihSort *sort);
extern const uint8 *mih_sort_next(MihSort *sort);
extern void mih_sort_end(MihSort *sort);

/* mihspool.c */
extern void mih_spool_begin(MihSpool *spool, BufFile *file);
extern void mih_spool_put(MihSpool *spool, const uint8 *code, int nbytes,
						  const ItemPointerData *tid);
extern void mih_spool_finish(MihSpool *spool);
extern MihSource *mih_spool_source(BufFile *const *files, const uint64 *counts,
								   int nfiles, int nbytes);
extern void mih_spool_close(MihSource *source);

/* mihtable.c */
extern BlockNumber mih_put_page(Relation index, Page image, bool building);
extern void mih_table_begin(MihTableWriter *writer, Relation index, uint32 id, int nbits,
							bool building);
extern void mih_table_add(MihTableWriter *writer, MihSource *source,
						  const MihDesign *design, int table, const uint32 *start,
						  int nranges, int r, Size memory);
extern void mih_table_end(MihTableWriter *writer);
extern BlockNumber mih_table_directory(const MihTableWriter *writer);
extern void mih_table_ranges(const MihDesign *design, int table, const uint8 *sample,
							 int nsample, int n, uint32 *start);
extern int mih_range_count(const MihDesign *design, double nentries, Size memory);

/* mihparallel.c */
extern MihCrew *mih_crew_start(Relation heap, Relation index, IndexInfo *info,
							   int nworkers);
extern double mih_crew_scan(MihCrew *crew, Relation heap, Relation index, IndexInfo *info,
							MihFound *found);
extern void mih_crew_write(MihCrew *crew, Relation index, uint32 id, MihDesign *design,
						   double nentries, const uint8 *sample, int nsample,
						   MihTables *tables);
extern void mih_crew_end(MihCrew *crew);

/* mihsegment.c */
extern MihSegment *mih_segment_open(Relation index, const MihPart *part);
extern void mih_check_range(Relation index, const MihSegment *segment,
							const MihPart *part);
extern const MihDirEntry *mih_segment_dir(Relation index, MihSegment *segment, int table);
extern Buffer mih_segment_page(Relation index, MihSegment *segment, int table,
							   uint32 page, int lockmode, BufferAccessStrategy strategy);
extern void mih_segment_prefetch(const MihSegment *segment, int table, uint32 page);
extern MihPart mih_write_root(Relation index, uint32 id, const MihDesign *design,
							  const MihTables *tables, bool building, bool packed);
extern void mih_end_table(MihTables *tables, int j, MihTableWriter *writer);
extern MihPart mih_write_segment(Relation index, uint32 id, MihSource *source,
								 double nentries, int nbits, const uint8 *sample,
								 int nsample, MihCrew *crew, bool building, bool packed);

/* mihcache.c */
extern MihSegment *mih_cache_open(Relation index, uint64 identity, const MihPart *part);
extern void mih_cache_close(MihSegment *segment);

/* mihsource.c */
extern void mih_cursor_begin(MihCursor *cursor, Relation index, const MihPart *part,
							 MihSegment *segment, int table, int lockmode,
							 BufferAccessStrategy strategy);
extern Buffer mih_cursor_next(MihCursor *cursor);
extern MihSource *mih_parts_source(Relation index, int nbits, const MihPart *parts,
								   int nparts);
extern int mih_sample_source(MihSource *source, int nbytes, uint8 *sample, int max,
							 double *nentries);

/* mihbuild.c */
extern void mih_builder_begin(MihBuilder *builder, Relation index,
							  pg_atomic_uint32 *nbits, BufFile *codes, BufFile *nulls);
extern void mih_builder_end(MihBuilder *builder);
extern void mih_build_callback(Relation index, ItemPointer tid, Datum *values,
							   bool *isnull, bool alive, void *arg);
extern IndexBuildResult *mihbuild(Relation heap, Relation index, IndexInfo *info);
extern void mihbuildempty(Relation index);
extern char *mihbuildphasename(int64 phase);

/* mihinsert.c */
extern bool mihinsert(Relation index, Datum *values, bool *isnull, ItemPointer tid,
					  Relation heap, IndexUniqueCheck check,
					  COMPAT_INDEX_UNCHANGED IndexInfo *info);

/* mihserial.c */
extern void mih_lock_search(Relation index, const uint8 *code, int nbits, int radius,
							Snapshot snapshot);
extern void mih_check_searches(Relation index, const uint8 *code, int nbits);

/* mihflush.c */
extern int64 mih_flush_pending(Relation index);
extern void mih_compact_nulls(Relation index);
extern void mih_free_dead(Relation index);
extern bool mih_have_slots(Relation index, MihMeta *meta);
extern int mih_collect_parts(const MihMeta *meta, int kind, MihPart *parts);
extern void mih_replace_segments(Relation index, const MihMeta *meta, MihPart *parts,
								 int nparts, bool packed);
extern void mih_replace_by_pieces(Relation index, MihPart part, uint32 pages);
extern bool mih_deserve_tables(Relation index, const MihMeta *meta, const MihPart *parts,
							   int nparts);

/* mihmerge.c */
extern int mih_merge_segments(Relation index, MihMergeBy by);

/* mihsweep.c */
extern void mih_finished(Relation index);
extern BlockNumber mih_sweep(Relation index, BufferAccessStrategy strategy);

/* mihstats.c */
extern Relation mih_open_index(Oid oid, LOCKMODE lockmode, bool owner, bool write);

/* mihvacuum.c */
extern IndexBulkDeleteResult *mihbulkdelete(IndexVacuumInfo *info,
											IndexBulkDeleteResult *stats,
											IndexBulkDeleteCallback callback,
											void *state);
extern IndexBulkDeleteResult *mihvacuumcleanup(IndexVacuumInfo *info,
											   IndexBulkDeleteResult *stats);

/* mihscan.c */
extern IndexScanDesc mihbeginscan(Relation index, int nkeys, int norderbys);
extern void mihrescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys,
					  int norderbys);
extern bool mihgettuple(IndexScanDesc scan, ScanDirection dir);
extern int64 mihgetbitmap(IndexScanDesc scan, TIDBitmap *tbm);
extern void mihendscan(IndexScanDesc scan);

/* mihcheck.c */
extern uint64 mih_check_structure(Relation index, const MihMeta *meta);

/* mihcost.c */
extern void mihcostestimate(struct PlannerInfo *root, struct IndexPath *path,
							double loop_count, Cost *startup, Cost *total,
							Selectivity *selectivity, double *correlation, double *pages);

extern double mih_walk_pages(const MihMeta *meta, int radius, double *several);
extern int mih_expected_radius(const MihMeta *meta, double entries, double rows);

/* mihvalidate.c */
extern bool mihvalidate(Oid opclass);
extern bool mihproperty(Oid index_oid, int attno, IndexAMProperty prop,
						const char *propname, bool *res, bool *isnull);

#endif
