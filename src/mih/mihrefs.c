/*
 * mihrefs.c
 *	  Segments ordered by reference codes: the key of an entry, the references'
 *	  pages, and which pages a walk visits.  mihseeds.c finds the references.
 *
 * The key of an entry is its nearest reference (the least index among equals)
 * and the distance to it, so one table holds cell after cell, and every cell
 * shell after shell, as in iDistance (Jagadish, Ooi, Tan, Yu, Zhang, TODS 2005).
 * Let x lie in the cell of c at distance s, the query q at distances d(c) from
 * the references, and c0 be the query's nearest one.  Then
 *
 *	  d(q, x) >= d(c) - s			by the triangle q, x, c
 *	  d(q, x) >= s - d(c0)			because d(x, c0) >= s: c is nearest to x
 *
 * so within radius r of q there are only shells d(c) - r <= s <= d(c0) + r: one
 * run of pages in each cell, and none in cells with d(c) - d(c0) > 2 r.
 */
#include "mih/mih.h"

#include <math.h>

#include "port/pg_bitutils.h"
#include "utils/memutils.h"

#define LANES 8			  /* distances that are compared at once: 16 bytes */
#define KEY_SHELL_BITS 16 /* low bits of a key: the distance to the reference */
#define REACH_SCALE 16.0  /* a byte of MihPart.reach halves the share this often */
#define NO_CELL PG_UINT16_MAX

StaticAssertDecl(MIH_MAX_REFERENCES % LANES == 0, "blocks fill the array");
StaticAssertDecl(HAMMING_MAX_BITS < PG_INT16_MAX, "distances fit int16");

/* Of GCC and clang: signed 16-bit numbers side by side. */
typedef int16 Lanes __attribute__((vector_size(2 * LANES)));

static inline uint32
make_key(int reference, int distance)
{
	return (uint32) reference << KEY_SHELL_BITS | (uint32) distance;
}

int
mih_key_reference(uint32 key)
{
	return (int) (key >> KEY_SHELL_BITS);
}

int
mih_key_shell(uint32 key)
{
	return (int) (key & ((1 << KEY_SHELL_BITS) - 1));
}

/* Room for n references of nbytes bytes; no entry has been counted in any cell. */
MihReferences *
mih_make_references(int n, int nbytes)
{
	MihReferences *refs = palloc0(offsetof(MihReferences, codes) + (Size) n * nbytes);

	refs->n = n;
	refs->nbytes = nbytes;
	for (int c = 0; c < n; c++)
		refs->least[c] = NO_CELL;
	return refs;
}

/*
 * The key of a code: its nearest reference, the least among equals, and how far.
 * Written for vector instructions, as each row of a build passes here: lane i
 * looks at references i, i + LANES, i + 2 * LANES and so on.
 */
uint32
mih_reference_key(const MihReferences *refs, const uint8 *code)
{
	uint16 d[MIH_MAX_REFERENCES];
	int16 blocks = (refs->n + LANES - 1) / LANES;
	Lanes least = (Lanes){0} + (int16) PG_INT16_MAX;
	Lanes where = {0};
	int best = MIH_MAX_REFERENCES;
	int distance = PG_INT16_MAX;

	hamming_kernels()->distances(code, refs->codes, refs->nbytes, refs->n, d);
	for (int c = refs->n; c < blocks * LANES; c++)
		d[c] = PG_INT16_MAX;
	for (int16 block = 0; block < blocks; block++)
	{
		Lanes x, less;

		memcpy(&x, d + block * LANES, sizeof(x));
		less = x < least;
		least = (x & less) | (least & ~less);
		where = (((Lanes){0} + block) & less) | (where & ~less);
	}
	for (int i = 0; i < LANES; i++)
	{
		int c = where[i] * LANES + i;

		if (least[i] < distance || (least[i] == distance && c < best))
		{
			distance = least[i];
			best = c;
		}
	}
	return make_key(best, distance);
}

/* An entry with this key was written: widen the shells of its cell. */
void
mih_reference_count(MihReferences *refs, uint32 key)
{
	int c = mih_key_reference(key);
	uint16 s = mih_key_shell(key);

	refs->least[c] = Min(refs->least[c], s);
	refs->most[c] = refs->least[c] == NO_CELL ? s : Max(refs->most[c], s);
}

/* ------------------------------------------------------------------- estimates */

/*
 * The least distance to the query that an entry in shells low .. high of a cell
 * can have: far is the query's distance to the cell's reference, near that to
 * its nearest one.  The greater of far - s and s - near is least in the middle.
 */
static int
shells_bound(int far, int near, int low, int high)
{
	int s = Max(low, Min(high, (far + near) / 2));

	return Max(far - s, s - near);
}

/* Distances of a query to the references; returns the least. */
static int
measure_query(const MihReferences *refs, const uint8 *query, uint16 *d)
{
	int near = NO_CELL;

	hamming_kernels()->distances(query, refs->codes, refs->nbytes, refs->n, d);
	for (int c = 0; c < refs->n; c++)
		near = Min(near, d[c]);
	return near;
}

/*
 * For one query, add to reached[r] the number of codes, given by their keys,
 * that a walk first meets at radius r; reached has nbits + 1 elements.
 */
void
mih_reference_reach(const MihReferences *refs, const uint8 *query, const uint32 *keys,
					int nkeys, int64 *reached)
{
	uint16 d[MIH_MAX_REFERENCES];
	int near = measure_query(refs, query, d);

	for (int i = 0; i < nkeys; i++)
	{
		int s = mih_key_shell(keys[i]);

		reached[shells_bound(d[mih_key_reference(keys[i])], near, s, s)]++;
	}
}

/* Note in a part which share of its pages a walk to each of some radii visits. */
void
mih_set_reach(MihPart *part, const double *share)
{
	for (int i = 0; i < MIH_REACH_KNOTS; i++)
		part->reach[i] = (uint8) Min(
			PG_UINT8_MAX, rint(-REACH_SCALE * log2(Max(Min(share[i], 1), 1e-6))));
}

/* The share of a part's pages that a walk to a radius is expected to visit. */
double
mih_part_reach(const MihPart *part, int nbits, int radius)
{
	double at = (double) Max(radius, 0) * MIH_REACH_STEPS / Max(nbits, 1);
	int i = (int) at;
	double low, high;

	if (i >= MIH_REACH_KNOTS)
		return 1;
	low = part->reach[i];
	high = i + 1 < MIH_REACH_KNOTS ? part->reach[i + 1] : 0;
	return exp2(-(low + (high - low) * (at - i)) / REACH_SCALE);
}

/* ----------------------------------------------------------------------- pages */

/* One reference on a page: the shells of its cell, and its code. */
#define RECORD_WIDTH(nbytes) (2 * (int) sizeof(uint16) + (nbytes))
#define RECORDS_PER_PAGE(nbytes)                                                         \
	((int) (BLCKSZ - MAXALIGN(SizeOfPageHeaderData) - MAXALIGN(sizeof(MihPageTail))) /   \
	 RECORD_WIDTH(nbytes))

/* Pages that so many references take. */
int
mih_reference_pages(int n, int nbytes)
{
	return (n + RECORDS_PER_PAGE(nbytes) - 1) / RECORDS_PER_PAGE(nbytes);
}

/* Write the references, back to front, and return the first of their pages. */
BlockNumber
mih_write_references(Relation index, uint32 id, const MihReferences *refs, bool building)
{
	int per_page = RECORDS_PER_PAGE(refs->nbytes);
	BlockNumber next = InvalidBlockNumber;
	int left = refs->n;

	while (left > 0)
	{
		PGAlignedBlock image;
		Page page = (Page) image.data;
		int n = (left - 1) % per_page + 1;
		char *at;

		left -= n;
		mih_init_page(page, MIH_PAGE_REFERENCES, id);
		MihTail(page)->next = next;
		MihTail(page)->ncodes = n;
		at = PageGetContents(page);
		for (int c = left; c < left + n; c++)
		{
			memcpy(at, &refs->least[c], sizeof(uint16));
			memcpy(at + sizeof(uint16), &refs->most[c], sizeof(uint16));
			memcpy(at + 2 * sizeof(uint16), refs->codes + (Size) c * refs->nbytes,
				   refs->nbytes);
			at += RECORD_WIDTH(refs->nbytes);
		}
		((PageHeader) page)->pd_lower = at - (char *) page;
		next = mih_put_page(index, page, building);
	}
	return next;
}

/* Take the references from one page, which follow number `from`. */
static int
read_page(Relation index, Buffer buf, MihReferences *refs, int from)
{
	Page page = BufferGetPage(buf);
	int count = MihTail(page)->ncodes;
	const char *at = PageGetContents(page);

	if (count < 1 || count > RECORDS_PER_PAGE(refs->nbytes) || count > refs->n - from)
		mih_corrupt(index, BufferGetBlockNumber(buf),
					"a page of references has a wrong number of them");
	for (int c = from; c < from + count; c++)
	{
		memcpy(&refs->least[c], at, sizeof(uint16));
		memcpy(&refs->most[c], at + sizeof(uint16), sizeof(uint16));
		memcpy(refs->codes + (Size) c * refs->nbytes, at + 2 * sizeof(uint16),
			   refs->nbytes);
		at += RECORD_WIDTH(refs->nbytes);
	}
	return count;
}

/* The references of a segment that has some, read when first asked for and kept. */
const MihReferences *
mih_segment_references(Relation index, MihSegment *segment)
{
	MemoryContext old;
	MihReferences *refs;
	BlockNumber block = segment->root.refs;
	int n = 0;

	if (segment->refs)
		return segment->refs;
	old = MemoryContextSwitchTo(GetMemoryChunkContext(segment));
	refs = mih_make_references(segment->root.nrefs,
							   hamming_bytes(segment->root.layout.nbits));
	MemoryContextSwitchTo(old);
	while (n < refs->n)
	{
		Buffer buf;

		if (block == InvalidBlockNumber)
			mih_corrupt(index, segment->root.refs, "the list of references ends early");
		buf = mih_read_page(index, block, segment->id, MIH_PAGE_REFERENCES,
							BUFFER_LOCK_SHARE, NULL);
		n += read_page(index, buf, refs, n);
		block = MihTail(BufferGetPage(buf))->next;
		UnlockReleaseBuffer(buf);
	}
	if (block != InvalidBlockNumber)
		mih_corrupt(index, block, "the list of references does not end");
	segment->refs = refs;
	return refs;
}

/* ------------------------------------------------------------------------ walk */

/* The first page whose greatest key is at least key; npages if none. */
static int64
first_page(const MihDirEntry *dir, int64 npages, uint32 key)
{
	int64 low = 0;

	while (low < npages)
	{
		int64 mid = low + (npages - low) / 2;

		if (dir[mid].last < key)
			low = mid + 1;
		else
			npages = mid;
	}
	return low;
}

/* What a scan of a segment by references needs to know of the query. */
struct MihReferenceWalk
{
	const MihReferences *refs;
	int near;						  /* distance of the query to its nearest reference */
	uint16 far[MIH_MAX_REFERENCES];	  /* to each */
	uint16 bound[MIH_MAX_REFERENCES]; /* least radius that meets the cell */
	int radius;						  /* that from and to are of; -1 at first */
	uint32 from[MIH_MAX_REFERENCES];  /* of a cell met: its first page within radius */
	uint32 to[MIH_MAX_REFERENCES];	  /* and the one after its last */
};

/* Prepare to walk a segment by references for a query in stored order. */
MihReferenceWalk *
mih_reference_walk(Relation index, MihSegment *segment, const uint8 *query)
{
	MihReferenceWalk *walk = palloc(sizeof(MihReferenceWalk));
	const MihReferences *refs = mih_segment_references(index, segment);

	walk->refs = refs;
	walk->radius = -1;
	walk->near = measure_query(refs, query, walk->far);
	for (int c = 0; c < refs->n; c++)
		walk->bound[c] =
			refs->least[c] > refs->most[c]
				? NO_CELL
				: shells_bound(walk->far[c], walk->near, refs->least[c], refs->most[c]);
	return walk;
}

/*
 * Find the pages of a cell with shells within radius, near those for the smaller
 * radius of the walk where there were some.
 */
static void
reach_cell(MihReferenceWalk *walk, const MihDirEntry *dir, uint32 npages, int c,
		   int radius)
{
	uint32 low = make_key(c, Max(walk->far[c] - radius, walk->refs->least[c]));
	uint32 high = make_key(c, Min(walk->near + radius, walk->refs->most[c]));

	if (walk->bound[c] > walk->radius)
		walk->from[c] = walk->to[c] = first_page(dir, npages, low);
	while (walk->from[c] > 0 && dir[walk->from[c] - 1].last >= low)
		walk->from[c]--;
	while (walk->to[c] < npages && dir[walk->to[c]].first <= high)
		walk->to[c]++;
}

/*
 * Set bits from .. to - 1 of visited and write the numbers of those that were not
 * set to pages; returns how many they are.
 */
static uint64
mark_range(uint64 *visited, uint32 from, uint32 to, uint32 *pages)
{
	uint64 added = 0;

	for (uint32 base = from / 64 * 64; base < to; base += 64)
	{
		uint64 fresh = ~visited[base / 64];

		if (base < from)
			fresh &= PG_UINT64_MAX << (from - base);
		if (to - base < 64)
			fresh &= (UINT64CONST(1) << (to - base)) - 1;
		visited[base / 64] |= fresh;
		for (; fresh != 0; fresh &= fresh - 1)
			pages[added++] = base + pg_rightmost_one_pos64(fresh);
	}
	return added;
}

/*
 * Mark in visited, a bit for each of npages pages, those that can hold entries
 * within radius of the query.  Those that were not marked before are written to
 * pages, in order; returns how many they are.
 */
uint64
mih_mark_references(MihReferenceWalk *walk, const MihDirEntry *dir, uint32 npages,
					int radius, uint64 *visited, uint32 *pages)
{
	uint64 added = 0;

	/* Pages found for a greater radius are of no use. */
	if (radius < walk->radius)
		walk->radius = -1;
	for (int c = 0; c < walk->refs->n; c++)
		if (walk->bound[c] <= radius)
		{
			reach_cell(walk, dir, npages, c, radius);
			added += mark_range(visited, walk->from[c], walk->to[c], pages + added);
		}
	walk->radius = radius;
	return added;
}
