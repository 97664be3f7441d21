/*
 * bitcounts.c
 *	  How often each bit is 1, and the aggregates that need no more: majority()
 *	  and bit_means().  The state of a group is eight bytes per bit.
 */
#include "hashcode/bitcounts.h"

#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "utils/array.h"

PG_FUNCTION_INFO_V1(bitcounts_transition);
PG_FUNCTION_INFO_V1(bitcounts_combine);
PG_FUNCTION_INFO_V1(bitcounts_serialize);
PG_FUNCTION_INFO_V1(bitcounts_deserialize);
PG_FUNCTION_INFO_V1(hashcode_majority);
PG_FUNCTION_INFO_V1(hashcode_bit_means);

BitCounts *
bitcounts_make(int nbits)
{
	BitCounts *counts = palloc0(offsetof(BitCounts, ones) + sizeof(int64) * nbits);

	counts->nbits = nbits;
	return counts;
}

static void
check_length(const BitCounts *counts, int nbits)
{
	if (nbits != counts->nbits)
		ereport(ERROR,
				(errcode(ERRCODE_STRING_DATA_LENGTH_MISMATCH),
				 errmsg("different hashcode lengths in one aggregate: %d and %d bits",
						counts->nbits, nbits),
				 errdetail("Codes of a group are compared bit by bit."),
				 errhint("Group by length() or by the model that made the codes.")));
}

void
bitcounts_add(BitCounts *counts, const HashCode *code)
{
	check_length(counts, code->nbits);
	counts->n++;
	for (int i = 0; i < code->nbits; i++)
		counts->ones[i] += code->bits[i / 8] >> (7 - i % 8) & 1;
}

void
bitcounts_merge(BitCounts *a, const BitCounts *b)
{
	check_length(a, b->nbits);
	a->n += b->n;
	for (int i = 0; i < a->nbits; i++)
		a->ones[i] += b->ones[i];
}

void
bitcounts_write(StringInfo out, const BitCounts *counts)
{
	pq_sendint32(out, counts->nbits);
	pq_sendint64(out, counts->n);
	for (int i = 0; i < counts->nbits; i++)
		pq_sendint64(out, counts->ones[i]);
}

BitCounts *
bitcounts_read(StringInfo in)
{
	BitCounts *counts = bitcounts_make((int) pq_getmsgint(in, 4));

	counts->n = pq_getmsgint64(in);
	for (int i = 0; i < counts->nbits; i++)
		counts->ones[i] = pq_getmsgint64(in);
	return counts;
}

/* The memory of an aggregate's state; an error outside an aggregate. */
static MemoryContext
aggregate_memory(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	return context;
}

Datum
bitcounts_transition(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_memory(fcinfo);
	BitCounts *counts = PG_ARGISNULL(0) ? NULL : (BitCounts *) PG_GETARG_POINTER(0);
	HashCode *code;

	if (PG_ARGISNULL(1))
	{
		if (counts == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(counts);
	}
	code = PG_GETARG_HASHCODE_P(1);
	if (counts == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		counts = bitcounts_make(code->nbits);
		MemoryContextSwitchTo(old);
	}
	bitcounts_add(counts, code);
	PG_RETURN_POINTER(counts);
}

Datum
bitcounts_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_memory(fcinfo);
	BitCounts *a = PG_ARGISNULL(0) ? NULL : (BitCounts *) PG_GETARG_POINTER(0);
	BitCounts *b = PG_ARGISNULL(1) ? NULL : (BitCounts *) PG_GETARG_POINTER(1);

	if (b == NULL)
	{
		if (a == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(a);
	}
	if (a == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		a = bitcounts_make(b->nbits);
		MemoryContextSwitchTo(old);
	}
	bitcounts_merge(a, b);
	PG_RETURN_POINTER(a);
}

Datum
bitcounts_serialize(PG_FUNCTION_ARGS)
{
	StringInfoData out;

	(void) aggregate_memory(fcinfo);
	pq_begintypsend(&out);
	bitcounts_write(&out, (BitCounts *) PG_GETARG_POINTER(0));
	PG_RETURN_BYTEA_P(pq_endtypsend(&out));
}

Datum
bitcounts_deserialize(PG_FUNCTION_ARGS)
{
	bytea *bytes = PG_GETARG_BYTEA_PP(0);
	StringInfoData in;
	BitCounts *counts;

	(void) aggregate_memory(fcinfo);
	initStringInfo(&in);
	appendBinaryStringInfo(&in, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	counts = bitcounts_read(&in);
	pq_getmsgend(&in);
	PG_RETURN_POINTER(counts);
}

/*
 * The code nearest to all codes of the group together (the sum of Hamming
 * distances to it is least): each bit by majority, a tie gives 0.
 */
Datum
hashcode_majority(PG_FUNCTION_ARGS)
{
	BitCounts *counts;
	HashCode *code;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	counts = (BitCounts *) PG_GETARG_POINTER(0);
	code = hashcode_make(counts->nbits);
	for (int i = 0; i < counts->nbits; i++)
		if (counts->ones[i] > counts->n - counts->ones[i])
			code->bits[i / 8] |= (uint8) (0x80 >> i % 8);
	PG_RETURN_HASHCODE_P(code);
}

/* For each bit the share of codes in which it is 1. */
Datum
hashcode_bit_means(PG_FUNCTION_ARGS)
{
	BitCounts *counts;
	Datum *means;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	counts = (BitCounts *) PG_GETARG_POINTER(0);
	means = palloc(sizeof(Datum) * counts->nbits);
	for (int i = 0; i < counts->nbits; i++)
		means[i] = Float8GetDatum((double) counts->ones[i] / (double) counts->n);
	PG_RETURN_ARRAYTYPE_P(construct_array(means, counts->nbits, FLOAT8OID, sizeof(float8),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
