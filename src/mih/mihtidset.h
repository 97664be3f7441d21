/*
 * mihtidset.h
 *	  A set of TIDs that is asked far more often than it grows.
 *
 * VACUUM asks it for every entry of every table, and nine in ten are not in it.
 * So a bit map goes before the hash table: eight bits for every slot, small enough
 * for the processor's cache where the table is not.  At most half of the slots
 * are taken, hence one in sixteen TIDs that are not in the set gets past it.
 */
#ifndef MIHTIDSET_H
#define MIHTIDSET_H

#include "mih/mih.h"

typedef struct MihTidSet
{
	uint64 *slots;	/* open addressing over TIDs as numbers, 0: empty */
	uint64 *filter; /* bits */
	int bits;		/* there are 2^bits slots, and 2^(bits + 3) bits in filter */
	uint64 n;
	uint64 max; /* fits the memory allowed */
} MihTidSet;

#define MIH_FILTER_BITS 3 /* 2^3 bits of the filter for each slot */

extern void mih_tids_begin(MihTidSet *set, Size memory);
extern void mih_tids_add(MihTidSet *set, const ItemPointerData *tid);
extern void mih_tids_clear(MihTidSet *set);

/* mihdelete.c */
extern int mih_delete_entries(Relation index, Buffer buf, int nbytes,
							  const MihTidSet *dead);

static inline uint64
mih_tid_number(const ItemPointerData *tid)
{
	return (uint64) ItemPointerGetBlockNumberNoCheck(tid) << 16 |
		   ItemPointerGetOffsetNumberNoCheck(tid);
}

static inline void
mih_tid_from_number(ItemPointer tid, uint64 number)
{
	ItemPointerSet(tid, (BlockNumber) (number >> 16), (OffsetNumber) (number & 0xffff));
}

static inline uint64
mih_tid_hash(uint64 number)
{
	return number * UINT64CONST(0x9e3779b97f4a7c15);
}

static inline bool
mih_tids_has(const MihTidSet *set, const ItemPointerData *tid)
{
	uint64 number = mih_tid_number(tid);
	uint64 hash = mih_tid_hash(number);
	uint64 bit = hash >> (64 - set->bits - MIH_FILTER_BITS);

	if (likely((set->filter[bit / 64] >> (bit % 64) & 1) == 0))
		return false;
	for (uint64 s = hash >> (64 - set->bits); set->slots[s];)
	{
		if (set->slots[s] == number)
			return true;
		s = (s + 1) & ((UINT64CONST(1) << set->bits) - 1);
	}
	return false;
}

#endif
