/*
 * mihdelete.c
 *	  Deleting entries from a page.
 */
#include "mih/mihtidset.h"

/* The TIDs of a page that live: stretches [from, to) of their numbers. */
typedef struct Living
{
	int n;	  /* stretches */
	int tids; /* in all of them */
	uint16 from[MihMaxTidsPerPage + 1];
	uint16 to[MihMaxTidsPerPage + 1];
} Living;

static void
find_living(const MihEntries *entries, const MihTidSet *dead, Living *living)
{
	bool alive = false;

	living->n = 0;
	living->tids = 0;
	for (int t = 0; t < entries->ntids; t++)
	{
		if (mih_tids_has(dead, &entries->top[-1 - t]))
			alive = false;
		else
		{
			if (!alive)
				living->from[living->n++] = t;
			alive = true;
			living->to[living->n - 1] = t + 1;
			living->tids++;
		}
	}
}

/* Copy codes of a page on which code i has TID i. */
static int
copy_plain(const MihEntries *entries, const Living *living, uint8 *codes)
{
	int nbytes = entries->nbytes;
	int n = 0;

	for (int k = 0; k < living->n; k++)
	{
		int count = living->to[k] - living->from[k];

		memcpy(codes + n * nbytes, entries->codes + living->from[k] * nbytes,
			   count * nbytes);
		n += count;
	}
	return n;
}

/*
 * Copy the codes that still have a TID, and where their runs begin, into codes and
 * starts, which is zero.  Returns how many there are.
 */
static int
copy_codes(Relation index, Buffer buf, MihEntries *entries, const Living *living,
		   uint8 *codes, uint64 *starts)
{
	uint8 buffer[HAMMING_MAX_BYTES];
	int tids = 0;
	int n = 0;
	int k = 0;

	for (int i = 0; i < entries->ncodes; i++)
	{
		int before = tids;
		int from, to;

		mih_run(index, buf, entries, i, &from, &to);
		for (; k < living->n && living->from[k] < to; k++)
		{
			tids += Min(living->to[k], to) - Max(living->from[k], from);
			if (living->to[k] > to)
				break; /* the stretch goes on under the next code */
		}
		if (tids == before)
			continue;
		memcpy(codes + n * entries->nbytes, mih_entry_code(entries, i, buffer),
			   entries->nbytes);
		starts[before / 64] |= UINT64CONST(1) << before % 64;
		n++;
	}
	return n;
}

/* Make image the page in buf with the living TIDs alone, in the same form. */
static void
make_image(Relation index, Buffer buf, MihEntries *entries, const Living *living,
		   Page image)
{
	const MihPageTail *before = MihTail(BufferGetPage(buf));
	PageHeader header = (PageHeader) image;
	MihPageTail *tail;
	uint8 *codes = (uint8 *) image + MIH_CODES_OFFSET;
	PGAlignedBlock rows; /* codes on their way into slices */
	uint64 starts[MihStartWords(MihMaxTidsPerPage)] = {0};
	int lower;
	char *at;
	int n;

	mih_init_page(image, before->kind, before->part);
	tail = MihTail(image);
	if (!entries->starts && !entries->sliced)
		n = copy_plain(entries, living, codes);
	else
		n = copy_codes(index, buf, entries, living,
					   entries->sliced ? (uint8 *) rows.data : codes, starts);
	if (entries->sliced)
		hamming_to_slices((const uint8 *) rows.data, entries->nbytes, n, codes);
	lower = MIH_CODES_OFFSET + n * entries->nbytes;
	if (entries->starts)
	{
		memcpy(image + MAXALIGN(lower), starts,
			   MihStartWords(living->tids) * sizeof(uint64));
		lower = mih_starts_size(lower, living->tids);
	}
	at = image + header->pd_special;
	for (int k = 0; k < living->n; k++)
	{
		int size = (living->to[k] - living->from[k]) * sizeof(ItemPointerData);

		at -= size;
		memcpy(at, entries->top - living->to[k], size);
	}
	header->pd_lower = lower;
	header->pd_upper = at - image;
	tail->next = before->next;
	tail->flags = before->flags;
	tail->ncodes = entries->ncodes > 0 ? n : 0;
	tail->ntids = living->tids;
}

/*
 * Write the page in buf, exclusively locked, with codes of nbytes bytes (0: a list
 * of NULLs), without its dead entries, if it has any.  Returns how many went.
 */
int
mih_delete_entries(Relation index, Buffer buf, int nbytes, const MihTidSet *dead)
{
	PGAlignedBlock image;
	MihEntries entries;
	Living living;

	mih_page_entries(index, buf, nbytes, &entries);
	find_living(&entries, dead, &living);
	if (living.tids == entries.ntids)
		return 0;
	make_image(index, buf, &entries, &living, (Page) image.data);
	mih_write_image(index, buf, image.data);
	return entries.ntids - living.tids;
}
