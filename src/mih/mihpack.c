/*
 * mihpack.c
 *	  Packs a stream of entries into entry pages.
 *
 * Neighbouring entries with the same code share it where that saves space: a
 * page is written with runs as soon as runs are the smaller form, and holds as
 * many entries as fit in the smaller of the two forms.  Codes that have more
 * than one slice are written in slices, in which a scan compares them faster.
 */
#include "mih/mih.h"

struct MihPacker
{
	int nbytes;
	int ncodes; /* distinct codes, counting neighbours */
	int ntids;
	uint8 *codes; /* distinct codes */
	uint16 *ends; /* by distinct code: TIDs up to its last */
	ItemPointerData *tids;
};

/* A packer of codes of nbytes bytes; 0 packs TIDs alone. */
MihPacker *
mih_packer_make(int nbytes)
{
	MihPacker *packer = palloc(sizeof(MihPacker));

	packer->nbytes = nbytes;
	packer->ncodes = 0;
	packer->ntids = 0;
	packer->codes = palloc(BLCKSZ + HAMMING_MAX_BYTES);
	packer->ends = palloc(sizeof(uint16) * (MihMaxTidsPerPage + 1));
	packer->tids = palloc(sizeof(ItemPointerData) * (MihMaxTidsPerPage + 1));
	return packer;
}

void
mih_packer_free(MihPacker *packer)
{
	pfree(packer->codes);
	pfree(packer->ends);
	pfree(packer->tids);
	pfree(packer);
}

static int
plain_size(int nbytes, int ntids)
{
	return ntids * (nbytes + (int) sizeof(ItemPointerData));
}

static int
runs_size(int nbytes, int ncodes, int ntids)
{
	return mih_starts_size(MIH_CODES_OFFSET + ncodes * nbytes, ntids) - MIH_CODES_OFFSET +
		   ntids * (int) sizeof(ItemPointerData);
}

/* Take one entry; false, and nothing changed, if the page is full. */
bool
mih_packer_add(MihPacker *packer, const uint8 *code, ItemPointer tid)
{
	int nbytes = packer->nbytes;
	bool same = nbytes > 0 && packer->ncodes > 0 &&
				memcmp(packer->codes + (packer->ncodes - 1) * nbytes, code, nbytes) == 0;
	int ncodes = packer->ncodes + (same || nbytes == 0 ? 0 : 1);
	int ntids = packer->ntids + 1;

	if (plain_size(nbytes, ntids) > MihPageCapacity &&
		(nbytes == 0 || runs_size(nbytes, ncodes, ntids) > MihPageCapacity))
		return false;
	if (ncodes > packer->ncodes)
		memcpy(packer->codes + packer->ncodes * nbytes, code, nbytes);
	if (ncodes > 0)
		packer->ends[ncodes - 1] = ntids;
	packer->tids[packer->ntids] = *tid;
	packer->ncodes = ncodes;
	packer->ntids = ntids;
	return true;
}

bool
mih_packer_empty(const MihPacker *packer)
{
	return packer->ntids == 0;
}

/*
 * Give each TID a code of its own, back to front in place: code i moves up by
 * the TIDs that share the codes before it.  Returns the number of codes.
 */
static int
repeat_codes(MihPacker *packer)
{
	int nbytes = packer->nbytes;
	int t = packer->ntids;

	for (int i = packer->ncodes - 1; i >= 0; i--)
	{
		int from = i > 0 ? packer->ends[i - 1] : 0;

		while (t > from)
			memmove(packer->codes + --t * nbytes, packer->codes + i * nbytes, nbytes);
	}
	return packer->ntids;
}

/*
 * Write what was taken as a page of the given kind and part and start anew.
 * Returns the number of TIDs written.
 */
int
mih_packer_page(MihPacker *packer, Page page, int kind, uint32 part)
{
	int nbytes = packer->nbytes;
	int ntids = packer->ntids;
	PageHeader header = (PageHeader) page;
	ItemPointer top;
	int ncodes = packer->ncodes;
	bool runs =
		nbytes > 0 && runs_size(nbytes, ncodes, ntids) < plain_size(nbytes, ntids);
	char *at;

	mih_init_page(page, kind, part);
	at = (char *) page + MIH_CODES_OFFSET;
	if (nbytes > 0)
	{
		if (!runs)
			ncodes = repeat_codes(packer);
		if (nbytes > HAMMING_SLICE)
		{
			hamming_to_slices(packer->codes, nbytes, ncodes, (uint8 *) at);
			MihTail(page)->flags |= MIH_SLICED;
		}
		else
			memcpy(at, packer->codes, ncodes * nbytes);
		MihTail(page)->ncodes = ncodes;
		at += ncodes * nbytes;
	}
	if (runs)
	{
		uint64 *starts = (uint64 *) ((char *) page + MAXALIGN(at - (char *) page));

		for (int i = 0, t = 0; i < ncodes; t = packer->ends[i++])
			starts[t / 64] |= UINT64CONST(1) << t % 64;
		at = (char *) (starts + MihStartWords(ntids));
		MihTail(page)->flags |= MIH_RUNS;
	}
	MihTail(page)->ntids = ntids;
	header->pd_lower = at - (char *) page;
	header->pd_upper = header->pd_special - ntids * sizeof(ItemPointerData);
	top = (ItemPointer) ((char *) page + header->pd_special);
	for (int i = 0; i < ntids; i++)
		top[-1 - i] = packer->tids[i];
	packer->ncodes = 0;
	packer->ntids = 0;
	return ntids;
}
