/*
 * quality.c
 *	  The aggregate quality(): what a set of codes looks like to a searcher.
 *	  README.md defines each figure.
 */
#include "hashcode/bitcounts.h"
#include "hashcode/distinct.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "libpq/pqformat.h"

#include <math.h>

PG_FUNCTION_INFO_V1(quality_transition);
PG_FUNCTION_INFO_V1(quality_combine);
PG_FUNCTION_INFO_V1(quality_serialize);
PG_FUNCTION_INFO_V1(quality_deserialize);
PG_FUNCTION_INFO_V1(hashcode_quality);

typedef struct Quality
{
	BitCounts *bits;
	DistinctCounts *codes;
} Quality;

static Quality *
make_quality(MemoryContext context, int nbits)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Quality *q = palloc(sizeof(Quality));

	q->bits = bitcounts_make(nbits);
	q->codes = distinct_make(context);
	MemoryContextSwitchTo(old);
	return q;
}

static MemoryContext
aggregate_memory(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	return context;
}

Datum
quality_transition(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_memory(fcinfo);
	Quality *q = PG_ARGISNULL(0) ? NULL : (Quality *) PG_GETARG_POINTER(0);

	if (!PG_ARGISNULL(1))
	{
		HashCode *code = PG_GETARG_HASHCODE_P(1);

		if (q == NULL)
			q = make_quality(context, code->nbits);
		bitcounts_add(q->bits, code);
		distinct_add(q->codes, code);
	}
	if (q == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(q);
}

Datum
quality_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_memory(fcinfo);
	Quality *a = PG_ARGISNULL(0) ? NULL : (Quality *) PG_GETARG_POINTER(0);
	Quality *b = PG_ARGISNULL(1) ? NULL : (Quality *) PG_GETARG_POINTER(1);

	if (b != NULL)
	{
		if (a == NULL)
			a = make_quality(context, b->bits->nbits);
		bitcounts_merge(a->bits, b->bits);
		distinct_merge(a->codes, b->codes);
	}
	if (a == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(a);
}

Datum
quality_serialize(PG_FUNCTION_ARGS)
{
	Quality *q = (Quality *) PG_GETARG_POINTER(0);
	StringInfoData out;

	(void) aggregate_memory(fcinfo);
	pq_begintypsend(&out);
	bitcounts_write(&out, q->bits);
	distinct_write(&out, q->codes);
	PG_RETURN_BYTEA_P(pq_endtypsend(&out));
}

Datum
quality_deserialize(PG_FUNCTION_ARGS)
{
	bytea *bytes = PG_GETARG_BYTEA_PP(0);
	StringInfoData in;
	Quality *q;

	(void) aggregate_memory(fcinfo);
	initStringInfo(&in);
	appendBinaryStringInfo(&in, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	q = palloc(sizeof(Quality));
	q->bits = bitcounts_read(&in);
	q->codes = distinct_read(&in);
	pq_getmsgend(&in);
	PG_RETURN_POINTER(q);
}

/* Entropy in bits of a coin that shows 1 with probability p. */
static double
coin_entropy(double p)
{
	if (p <= 0 || p >= 1)
		return 0;
	return -(p * log2(p) + (1 - p) * log2(1 - p));
}

Datum
hashcode_quality(PG_FUNCTION_ARGS)
{
	Quality *q;
	DistinctSummary codes;
	TupleDesc desc;
	Datum values[11];
	bool nulls[11] = {false};
	double n;
	double balance = 0;
	double entropy = 0;
	int constant = 0;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	q = (Quality *) PG_GETARG_POINTER(0);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != lengthof(values))
		elog(ERROR, "hashcode_quality has another result type than this library expects");

	n = (double) q->bits->n;
	for (int i = 0; i < q->bits->nbits; i++)
	{
		double p = (double) q->bits->ones[i] / n;

		balance += fabs(2 * p - 1);
		entropy += coin_entropy(p);
		constant += p == 0 || p == 1;
	}
	codes = distinct_summary(q->codes);
	/* an estimate may overshoot what is possible */
	codes.distinct = Min(codes.distinct, n);
	codes.single = Min(codes.single, codes.distinct);

	values[0] = Int64GetDatum(q->bits->n);
	values[1] = Int32GetDatum(q->bits->nbits);
	values[2] = Float8GetDatum(balance / q->bits->nbits);
	values[3] = Float8GetDatum(entropy / q->bits->nbits);
	values[4] = Float8GetDatum(entropy);
	values[5] = Int32GetDatum(constant);
	values[6] = Int64GetDatum((int64) codes.distinct);
	values[7] = Float8GetDatum((n - codes.single) / n);
	values[8] = Float8GetDatum((n - codes.distinct) / n);
	values[9] = Float8GetDatum(codes.pairs);
	nulls[9] = !codes.exact;
	values[10] = BoolGetDatum(codes.exact);
	PG_RETURN_DATUM(
		HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
