/*
 * compare.c
 *	  Equality, order and hashing of codes: the btree and hash operator classes.
 *
 * The order is that of the bytes, then of the lengths: a code sorts before every
 * longer one that begins with its bytes.
 */
#include "hashcode/hashcode.h"

#include "common/hashfn.h"
#include "port/pg_bswap.h"
#include "utils/sortsupport.h"

PG_FUNCTION_INFO_V1(hashcode_eq);
PG_FUNCTION_INFO_V1(hashcode_ne);
PG_FUNCTION_INFO_V1(hashcode_lt);
PG_FUNCTION_INFO_V1(hashcode_le);
PG_FUNCTION_INFO_V1(hashcode_gt);
PG_FUNCTION_INFO_V1(hashcode_ge);
PG_FUNCTION_INFO_V1(hashcode_cmp);
PG_FUNCTION_INFO_V1(hashcode_sortsupport);
PG_FUNCTION_INFO_V1(hashcode_hash);
PG_FUNCTION_INFO_V1(hashcode_hash_extended);

static int
compare(const HashCode *a, const HashCode *b)
{
	int order = memcmp(a->bits, b->bits, hamming_bytes(Min(a->nbits, b->nbits)));

	return order != 0 ? order : (int) a->nbits - (int) b->nbits;
}

static int
compare_arguments(FunctionCallInfo fcinfo)
{
	return compare(PG_GETARG_HASHCODE_P(0), PG_GETARG_HASHCODE_P(1));
}

Datum
hashcode_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) == 0);
}

Datum
hashcode_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) != 0);
}

Datum
hashcode_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) < 0);
}

Datum
hashcode_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) <= 0);
}

Datum
hashcode_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) > 0);
}

Datum
hashcode_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) >= 0);
}

Datum
hashcode_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_arguments(fcinfo));
}

static int
compare_datums(Datum a, Datum b, SortSupport ssup)
{
	return compare(DatumGetHashCodeP(a), DatumGetHashCodeP(b));
}

/* The first bytes of a code as an unsigned number, zeros behind a short one. */
static Datum
abbreviate(Datum original, SortSupport ssup)
{
	HashCode *code = DatumGetHashCodeP(original);
	Datum key = 0;

	memcpy(&key, code->bits, Min(sizeof(key), hamming_bytes(code->nbits)));
	return DatumBigEndianToNative(key);
}

static int
compare_abbreviated(Datum a, Datum b, SortSupport ssup)
{
	return a < b ? -1 : a > b;
}

/*
 * Codes whose first 64 bits are equal are mostly equal, and equal ones cost one
 * memcmp more than without abbreviation, so it is never given up.
 */
static bool
keep_abbreviating(int memtupcount, SortSupport ssup)
{
	return false;
}

Datum
hashcode_sortsupport(PG_FUNCTION_ARGS)
{
	SortSupport ssup = (SortSupport) PG_GETARG_POINTER(0);

	ssup->comparator = compare_datums;
	if (ssup->abbreviate)
	{
		ssup->abbrev_full_comparator = compare_datums;
		ssup->comparator = compare_abbreviated;
		ssup->abbrev_converter = abbreviate;
		ssup->abbrev_abort = keep_abbreviating;
	}
	PG_RETURN_VOID();
}

/* Length and bits lie side by side, so that b'1' and b'10' hash apart. */
Datum
hashcode_hash(PG_FUNCTION_ARGS)
{
	HashCode *code = PG_GETARG_HASHCODE_P(0);

	return hash_any((unsigned char *) &code->nbits,
					(int) (HASHCODE_SIZE(code->nbits) - offsetof(HashCode, nbits)));
}

Datum
hashcode_hash_extended(PG_FUNCTION_ARGS)
{
	HashCode *code = PG_GETARG_HASHCODE_P(0);

	return hash_any_extended(
		(unsigned char *) &code->nbits,
		(int) (HASHCODE_SIZE(code->nbits) - offsetof(HashCode, nbits)),
		(uint64) PG_GETARG_INT64(1));
}
