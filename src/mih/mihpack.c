/*
 * mihpack.c
 *	  Packs a stream of entries into entry pages.
 *
 * Neighbouring entries with the same code share it where that saves space: a
 * page is written with runs as soon as runs are the smaller form, and holds as
 * many entries as fit in the smaller of the two forms.
 */
#include "mih/mih.h"

struct MihPacker
{
	int nbytes;
	int ncodes; /* distinct codes, counting neighbours */
	int ntids;
	uint8 *codes; /* distinct codes */
	uint16 *ends; /* by distinct code */
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

static int
plain_size(int nbytes, int ntids)
{
	return ntids * (nbytes + (int) sizeof(ItemPointerData));
}

static int
runs_size(int nbytes, int ncodes, int ntids)
{
	return SHORTALIGN(MIH_CODES_OFFSET + ncodes * nbytes) - MIH_CODES_OFFSET +
		   ncodes * (int) sizeof(uint16) + ntids * (int) sizeof(ItemPointerData);
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
	char *at;

	mih_init_page(page, kind, part);
	at = (char *) page + MIH_CODES_OFFSET;
	if (nbytes > 0 &&
		runs_size(nbytes, packer->ncodes, ntids) < plain_size(nbytes, ntids))
	{
		memcpy(at, packer->codes, packer->ncodes * nbytes);
		at = (char *) page + SHORTALIGN(MIH_CODES_OFFSET + packer->ncodes * nbytes);
		memcpy(at, packer->ends, packer->ncodes * sizeof(uint16));
		at += packer->ncodes * sizeof(uint16);
		MihTail(page)->flags |= MIH_RUNS;
		MihTail(page)->ncodes = packer->ncodes;
	}
	else if (nbytes > 0)
	{
		int t = 0;

		for (int i = 0; i < packer->ncodes; i++)
			for (; t < packer->ends[i]; t++, at += nbytes)
				memcpy(at, packer->codes + i * nbytes, nbytes);
		MihTail(page)->ncodes = ntids;
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
