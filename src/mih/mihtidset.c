/*
 * mihtidset.c
 *	  A set of TIDs: making it and adding to it.
 */
#include "mih/mihtidset.h"

#define FIRST_BITS 12
#define SLOT_BYTES (sizeof(uint64) + (1 << MIH_FILTER_BITS) / 8)

static void
allocate(MihTidSet *set, int bits)
{
	set->bits = bits;
	set->slots = MemoryContextAllocExtended(CurrentMemoryContext,
											sizeof(uint64) * (UINT64CONST(1) << bits),
											MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	set->filter = MemoryContextAllocExtended(
		CurrentMemoryContext, (UINT64CONST(1) << (bits + MIH_FILTER_BITS)) / 8,
		MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

static void
put(MihTidSet *set, uint64 number)
{
	uint64 hash = mih_tid_hash(number);
	uint64 bit = hash >> (64 - set->bits - MIH_FILTER_BITS);
	uint64 s = hash >> (64 - set->bits);

	set->filter[bit / 64] |= UINT64CONST(1) << (bit % 64);
	while (set->slots[s] && set->slots[s] != number)
		s = (s + 1) & ((UINT64CONST(1) << set->bits) - 1);
	set->n += set->slots[s] == 0;
	set->slots[s] = number;
}

static void
grow(MihTidSet *set)
{
	MihTidSet old = *set;

	allocate(set, old.bits + 1);
	set->n = 0;
	for (uint64 i = 0; i < UINT64CONST(1) << old.bits; i++)
		if (old.slots[i])
			put(set, old.slots[i]);
	pfree(old.slots);
	pfree(old.filter);
}

/*
 * An empty set in the current memory context that takes max TIDs in about memory
 * bytes: while it grows, two generations live.
 */
void
mih_tids_begin(MihTidSet *set, Size memory)
{
	int bits = FIRST_BITS;

	while (bits < 40 && (SLOT_BYTES * 3) << bits <= memory)
		bits++;
	set->n = 0;
	set->max = UINT64CONST(1) << (bits - 1);
	allocate(set, FIRST_BITS);
}

void
mih_tids_add(MihTidSet *set, const ItemPointerData *tid)
{
	if ((set->n + 1) * 2 > UINT64CONST(1) << set->bits)
		grow(set);
	put(set, mih_tid_number(tid));
}

void
mih_tids_clear(MihTidSet *set)
{
	set->n = 0;
	memset(set->slots, 0, sizeof(uint64) * (UINT64CONST(1) << set->bits));
	memset(set->filter, 0, (UINT64CONST(1) << (set->bits + MIH_FILTER_BITS)) / 8);
}
