/*
 * mihsource.c
 *	  Walking the pages of parts, and parts as a source of entries.
 */
#include "mih/mih.h"

#include "miscadmin.h"

/*
 * Start walking the entry pages of a part: of a list (segment NULL) up to the
 * tail that part names, or of one table of a segment; of the first table those that
 * part says are left.
 */
void
mih_cursor_begin(MihCursor *cursor, Relation index, const MihPart *part,
				 MihSegment *segment, int table, int lockmode,
				 BufferAccessStrategy strategy)
{
	cursor->index = index;
	cursor->part = *part;
	cursor->segment = segment;
	cursor->table = table;
	cursor->lockmode = lockmode;
	cursor->strategy = strategy;
	cursor->page = segment ? part->first : 0;
	cursor->end = segment == NULL ? 0
				  : table == 0	  ? part->first + part->npages
								  : segment->root.npages[table];
	cursor->next = part->head;
}

/*
 * The next page, pinned and locked as the cursor says, or InvalidBuffer.  The
 * caller unlocks and releases it.
 */
Buffer
mih_cursor_next(MihCursor *cursor)
{
	Buffer buf;

	CHECK_FOR_INTERRUPTS();
	if (cursor->segment)
	{
		MihSegment *segment = cursor->segment;
		uint32 page = cursor->page;

		mih_segment_dir(cursor->index, segment, cursor->table);
		if (page == cursor->end)
			return InvalidBuffer;
		if (page + 1 < cursor->end)
			mih_segment_prefetch(segment, cursor->table, page + 1);
		cursor->page++;
		return mih_segment_page(cursor->index, segment, cursor->table, page,
								cursor->lockmode, cursor->strategy);
	}
	if (cursor->next == InvalidBlockNumber)
		return InvalidBuffer;
	buf = mih_read_page(cursor->index, cursor->next, cursor->part.id, MIH_PAGE_LIST,
						cursor->lockmode, cursor->strategy);
	if (cursor->next == cursor->part.tail)
		cursor->next = InvalidBlockNumber;
	else
	{
		/* The last page ends the walk; a chain that does not reach it is damage. */
		cursor->next = MihTail(BufferGetPage(buf))->next;
		if (cursor->next == InvalidBlockNumber)
			mih_corrupt(cursor->index, BufferGetBlockNumber(buf),
						"list ends before its tail");
		if (++cursor->page > RelationGetNumberOfBlocks(cursor->index))
			mih_corrupt(cursor->index, cursor->next, "list runs in a circle");
	}
	return buf;
}

typedef struct PartsSource
{
	MihSource source;
	Relation index;
	int nbits;
	int nparts;
	const MihPart *parts;
	MihSegment **segments; /* by part, NULL for lists */
	MihShuffle **shuffles; /* by part, out of the segment's order of bits */
	int at;				   /* the part that cursor walks */
	MihCursor cursor;
	Buffer buf;			 /* share-locked while a page is copied, only pinned after */
	PGAlignedBlock page; /* copy of the page being read */
	MihEntries entries;	 /* of that copy */
	int code;			 /* next code on it */
	int tid;			 /* next TID on it */
	BufferAccessStrategy strategy;
} PartsSource;

static void
start_part(PartsSource *s)
{
	if (s->at < s->nparts)
		mih_cursor_begin(&s->cursor, s->index, &s->parts[s->at], s->segments[s->at], 0,
						 BUFFER_LOCK_SHARE, s->strategy);
}

static void
parts_rewind(MihSource *source)
{
	PartsSource *s = (PartsSource *) source;

	s->at = 0;
	s->code = 0;
	s->tid = 0;
	s->entries.ntids = 0;
	start_part(s);
}

/* Copy the next page that has entries; false at the end of all parts. */
static bool
next_page(PartsSource *s)
{
	while (s->at < s->nparts)
	{
		Buffer buf = mih_cursor_next(&s->cursor);

		if (buf == InvalidBuffer)
		{
			s->at++;
			start_part(s);
			continue;
		}
		mih_page_entries(s->index, buf, hamming_bytes(s->nbits), &s->entries);
		for (int i = 0; s->entries.starts && i < s->entries.ncodes; i++)
		{
			int from, to;

			mih_run(s->index, buf, &s->entries, i, &from, &to);
		}
		memcpy(s->page.data, BufferGetPage(buf), BLCKSZ);
		s->entries.codes += s->page.data - (char *) BufferGetPage(buf);
		if (s->entries.starts)
			s->entries.starts =
				(const uint64 *) (s->page.data + ((const char *) s->entries.starts -
												  (char *) BufferGetPage(buf)));
		s->entries.top =
			(const ItemPointerData *) (s->page.data + BLCKSZ - sizeof(MihPageTail));
		UnlockReleaseBuffer(buf);
		s->code = 0;
		s->tid = 0;
		if (s->entries.ntids > 0)
			return true;
	}
	return false;
}

static bool
parts_next(MihSource *source, uint8 *code, ItemPointer tid)
{
	PartsSource *s = (PartsSource *) source;
	const MihEntries *e = &s->entries;
	uint8 buffer[HAMMING_MAX_BYTES];

	if (s->tid == e->ntids && !next_page(s))
		return false;
	if (e->starts == NULL)
		s->code = s->tid;
	else if (s->tid > 0 && (e->starts[s->tid / 64] >> s->tid % 64 & 1))
		s->code++;
	*tid = e->top[-1 - s->tid++];
	if (s->nbits > 0)
	{
		const uint8 *stored = mih_entry_code(e, s->code, buffer);

		if (s->segments[s->at])
			mih_shuffle(s->shuffles[s->at], stored, code);
		else
			memcpy(code, stored, hamming_bytes(s->nbits));
	}
	return true;
}

/*
 * The entries of parts, one after the other, read from the first table of
 * segments.  nbits 0 reads lists of NULLs.  The parts must not change under it:
 * the caller holds the maintenance lock and passes sealed lists and segments.
 */
MihSource *
mih_parts_source(Relation index, int nbits, const MihPart *parts, int nparts)
{
	PartsSource *s = palloc0(sizeof(PartsSource));
	MihPart *copy = palloc(sizeof(MihPart) * Max(nparts, 1));

	memcpy(copy, parts, sizeof(MihPart) * nparts);
	s->source.rewind = parts_rewind;
	s->source.next = parts_next;
	s->index = index;
	s->nbits = nbits;
	s->nparts = nparts;
	s->parts = copy;
	s->segments = palloc0(sizeof(MihSegment *) * Max(nparts, 1));
	s->shuffles = palloc0(sizeof(MihShuffle *) * Max(nparts, 1));
	s->strategy = GetAccessStrategy(BAS_BULKREAD);
	for (int i = 0; i < nparts; i++)
		if (parts[i].kind == MIH_PART_SEGMENT)
		{
			s->segments[i] = mih_segment_open(index, &parts[i]);
			if (s->segments[i]->root.layout.nbits != nbits)
				mih_corrupt(index, parts[i].head,
							"segment holds codes of another length");
			s->shuffles[i] = mih_shuffle_make(&s->segments[i]->root.layout, true);
		}
	return &s->source;
}

/*
 * Draw up to max codes of the source, each with the same chance, and count its
 * entries.  The draw is the same each time for the same source.
 */
int
mih_sample_source(MihSource *source, int nbytes, uint8 *sample, int max, double *nentries)
{
	uint8 code[HAMMING_MAX_BYTES];
	ItemPointerData tid;
	uint64 state = UINT64CONST(0x9e3779b97f4a7c15);
	uint64 n = 0;

	source->rewind(source);
	while (source->next(source, code, &tid))
	{
		uint64 slot = n++;

		if (slot >= (uint64) max)
		{
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			slot = state % n;
		}
		if (slot < (uint64) max)
			memcpy(sample + slot * nbytes, code, nbytes);
	}
	*nentries = n;
	return Min(n, (uint64) max);
}
