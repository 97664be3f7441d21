/*
 * mihtable.c
 *	  Writing one table of a segment, range of keys by range of keys.
 *
 * Reading the entries again costs less than writing sorted runs and merging them.
 * So a table that does not fit in memory is sorted in ranges of its keys, of
 * which each takes from the source what is its own; ranges are also what several
 * processes share a build by.  A range of more entries than its share (equal
 * keys) is sorted by runs.
 */
#include "mih/mih.h"

#include <math.h>

#include "miscadmin.h"
#include "port/pg_bswap.h"

#define KEY_TABLE_BYTES 32 /* longest code whose keys are looked up by byte */

/*
 * Put a finished image on a page of its own.  While the index is being built
 * nobody else sees it and the caller logs it as a whole; later each page is
 * logged.
 */
BlockNumber
mih_put_page(Relation index, Page image, bool building)
{
	Buffer buf = building ? mih_extend(index) : mih_new_page(index);
	BlockNumber block = BufferGetBlockNumber(buf);

	if (building)
	{
		memcpy(BufferGetPage(buf), image, BLCKSZ);
		MarkBufferDirty(buf);
	}
	else
		mih_write_image(index, buf, image);
	UnlockReleaseBuffer(buf);
	return block;
}

/* Start a table of segment id; building as for mih_put_page. */
void
mih_table_begin(MihTableWriter *writer, Relation index, uint32 id, int nbits,
				bool building)
{
	memset(writer, 0, sizeof(MihTableWriter));
	writer->index = index;
	writer->id = id;
	writer->nbytes = hamming_bytes(nbits);
	writer->building = building;
	writer->packer = mih_packer_make(writer->nbytes);
	writer->maxpages = 64;
	writer->dir = palloc(sizeof(MihDirEntry) * writer->maxpages);
}

static void
write_entries(MihTableWriter *writer)
{
	PGAlignedBlock image;
	MihDirEntry *entry;

	CHECK_FOR_INTERRUPTS();
	mih_packer_page(writer->packer, (Page) image.data, MIH_PAGE_ENTRIES, writer->id);
	if (writer->npages == writer->maxpages)
	{
		writer->maxpages *= 2;
		writer->dir = repalloc_huge(writer->dir, sizeof(MihDirEntry) * writer->maxpages);
	}
	entry = &writer->dir[writer->npages++];
	entry->first = writer->first;
	entry->last = writer->last;
	entry->block = mih_put_page(writer->index, (Page) image.data, writer->building);
}

/*
 * A record to sort: key of the chunk, whole code, TID, all most significant
 * byte first, so that records order by their bytes.
 */
static inline void
make_record(uint8 *record, uint32 key, const uint8 *stored, int nbytes, ItemPointer tid)
{
	uint32 block = pg_hton32(ItemPointerGetBlockNumberNoCheck(tid));
	uint16 offset = pg_hton16(ItemPointerGetOffsetNumberNoCheck(tid));

	key = pg_hton32(key);
	memcpy(record, &key, sizeof(key));
	memcpy(record + 4, stored, nbytes);
	memcpy(record + 4 + nbytes, &block, sizeof(block));
	memcpy(record + 8 + nbytes, &offset, sizeof(offset));
}

static inline void
read_record(const uint8 *record, int nbytes, uint32 *key, ItemPointer tid)
{
	uint32 block;
	uint16 offset;

	memcpy(key, record, sizeof(*key));
	*key = pg_ntoh32(*key);
	memcpy(&block, record + 4 + nbytes, sizeof(block));
	memcpy(&offset, record + 8 + nbytes, sizeof(offset));
	ItemPointerSet(tid, pg_ntoh32(block), pg_ntoh16(offset));
}

/*
 * Keys by byte of a code and its value: their union over the bytes of a code is its
 * key, as a key is some of its bits.  So most entries are passed over that are not
 * of a range, without a shuffle.  NULL where that is not worth it.
 */
static uint32 *
make_key_table(const MihDesign *design, int table, const MihShuffle *shuffle)
{
	int nbytes = hamming_bytes(design->layout.nbits);
	uint8 code[HAMMING_MAX_BYTES] = {0};
	uint8 stored[HAMMING_MAX_BYTES];
	uint32 *keys;

	if (design->refs || nbytes > KEY_TABLE_BYTES)
		return NULL;
	keys = palloc(sizeof(uint32) * 256 * nbytes);
	for (int i = 0; i < nbytes; i++)
	{
		for (int v = 0; v < 256; v++)
		{
			code[i] = v;
			mih_shuffle(shuffle, code, stored);
			keys[i * 256 + v] = mih_key(&design->layout, table, stored);
		}
		code[i] = 0;
	}
	return keys;
}

static inline uint32
look_up_key(const uint32 *keys, const uint8 *code, int nbytes)
{
	uint32 key = 0;

	for (int i = 0; i < nbytes; i++)
		key |= keys[i * 256 + code[i]];
	return key;
}

/* Put the entries of the source that have keys from .. to into a sort. */
static MihSort *
sort_range(const MihTableWriter *writer, MihSource *source, const MihDesign *design,
		   int table, uint32 from, uint32 to, Size memory)
{
	int nbytes = writer->nbytes;
	MihSort *sort = mih_sort_begin(4 + nbytes + 6, memory);
	MihShuffle *shuffle = mih_shuffle_make(&design->layout, false);
	uint8 code[HAMMING_MAX_BYTES];
	uint8 stored[HAMMING_MAX_BYTES];
	uint8 record[HAMMING_MAX_BYTES + 10];
	bool whole = from == 0 && to == PG_UINT32_MAX;
	uint32 *keys = whole ? NULL : make_key_table(design, table, shuffle);
	ItemPointerData tid;

	source->rewind(source);
	while (source->next(source, code, &tid))
	{
		uint32 key;

		if (keys)
		{
			key = look_up_key(keys, code, nbytes);
			if (key < from || key > to)
				continue;
			mih_shuffle(shuffle, code, stored);
		}
		else
		{
			mih_shuffle(shuffle, code, stored);
			key = mih_entry_key(&design->layout, design->refs, table, stored);
			if (key < from || key > to)
				continue;
		}
		make_record(record, key, stored, nbytes, &tid);
		mih_sort_put(sort, record);
	}
	if (keys)
		pfree(keys);
	mih_shuffle_free(shuffle);
	mih_sort_finish(sort);
	return sort;
}

/*
 * Add the entries of the source whose keys are in range r of nranges, which begin
 * at start; ranges come in order.  Sorts in about memory bytes.
 */
void
mih_table_add(MihTableWriter *writer, MihSource *source, const MihDesign *design,
			  int table, const uint32 *start, int nranges, int r, Size memory)
{
	int nbytes = writer->nbytes;
	uint32 from = start[r];
	uint32 to = r + 1 < nranges ? start[r + 1] - 1 : PG_UINT32_MAX;
	const uint8 *record;
	MihSort *sort;

	/* Where many keys are equal, ranges are empty. */
	if (r + 1 < nranges && start[r + 1] == from)
		return;
	sort = sort_range(writer, source, design, table, from, to, memory);
	while ((record = mih_sort_next(sort)) != NULL)
	{
		ItemPointerData tid;
		uint32 key;

		read_record(record, nbytes, &key, &tid);
		if (!mih_packer_add(writer->packer, record + 4, &tid))
		{
			write_entries(writer);
			mih_packer_add(writer->packer, record + 4, &tid);
			writer->first = key;
		}
		else if (writer->n == 0)
			writer->first = key;
		if (design->refs && (writer->n == 0 || key != writer->last))
			mih_reference_count(design->refs, key);
		writer->last = key;
		writer->n++;
	}
	mih_sort_end(sort);
}

/* Write the page that is not full yet. */
void
mih_table_end(MihTableWriter *writer)
{
	if (!mih_packer_empty(writer->packer))
		write_entries(writer);
	mih_packer_free(writer->packer);
}

/* Write the directory back to front, so that each page knows the next. */
BlockNumber
mih_table_directory(const MihTableWriter *writer)
{
	BlockNumber next = InvalidBlockNumber;
	uint32 left = writer->npages;

	while (left > 0)
	{
		PGAlignedBlock image;
		Page page = (Page) image.data;
		uint32 n = (left - 1) % MihDirPerPage + 1;

		left -= n;
		mih_init_page(page, MIH_PAGE_DIRECTORY, writer->id);
		MihTail(page)->next = next;
		MihTail(page)->ncodes = n;
		memcpy(MihPageGetDir(page), writer->dir + left, n * sizeof(MihDirEntry));
		((PageHeader) page)->pd_lower =
			(char *) (MihPageGetDir(page) + n) - (char *) page;
		next = mih_put_page(writer->index, page, writer->building);
	}
	return next;
}

static int
compare_keys(const void *a, const void *b)
{
	uint32 x = *(const uint32 *) a;
	uint32 y = *(const uint32 *) b;

	return (x > y) - (x < y);
}

/*
 * Where n ranges of a table begin that hold about as many entries each, by the
 * sample of codes; start[0] is 0.
 */
void
mih_table_ranges(const MihDesign *design, int table, const uint8 *sample, int nsample,
				 int n, uint32 *start)
{
	MihShuffle *shuffle = mih_shuffle_make(&design->layout, false);
	uint32 *keys = palloc(sizeof(uint32) * Max(nsample, 1));
	int nbytes = hamming_bytes(design->layout.nbits);
	uint8 stored[HAMMING_MAX_BYTES];

	for (int i = 0; i < nsample; i++)
	{
		mih_shuffle(shuffle, sample + (Size) i * nbytes, stored);
		keys[i] = mih_entry_key(&design->layout, design->refs, table, stored);
	}
	qsort(keys, nsample, sizeof(uint32), compare_keys);
	start[0] = 0;
	for (int r = 1; r < n; r++)
		start[r] = nsample > 0 ? keys[(Size) r * nsample / n] : 0;
	pfree(keys);
	mih_shuffle_free(shuffle);
}

/*
 * So many ranges to a table that each fits in memory.  To find the key of an entry
 * among references costs more than to merge runs, so they are not asked for again.
 */
int
mih_range_count(const MihDesign *design, double nentries, Size memory)
{
	double size = nentries * (hamming_bytes(design->layout.nbits) + 10);

	/* The sample does not cut evenly. */
	if (design->refs || size <= memory)
		return 1;
	return (int) Min(MIH_MAX_RANGES, ceil(size / (memory * 0.85)));
}
