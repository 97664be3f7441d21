/*
 * correlation.c
 *	  The aggregate bit_correlation(): how much the bits of codes say the same.
 *
 * Two bits are correlated by
 *
 *		r_ij = (n c_ij - o_i o_j) / sqrt(o_i (n - o_i) o_j (n - o_j)),
 *
 * n codes, bit i being 1 in o_i of them and bits i and j both in c_ij.  The result is
 * the mean of |r_ij| over all pairs of bits, those that never change left out.  Every
 * pair has a counter, which is what limits the length of the codes.
 */
#include "hashcode/bitcounts.h"

#include "libpq/pqformat.h"

#include <math.h>

PG_FUNCTION_INFO_V1(correlation_transition);
PG_FUNCTION_INFO_V1(correlation_combine);
PG_FUNCTION_INFO_V1(correlation_serialize);
PG_FUNCTION_INFO_V1(correlation_deserialize);
PG_FUNCTION_INFO_V1(hashcode_bit_correlation);

#define MAX_CORRELATED_BITS 1024 /* 4 MiB of counters */

typedef struct Correlation
{
	BitCounts *bits;
	int64 *both; /* pair (i, j), i < j, at pair_index(i, j) */
} Correlation;

/* Pairs are numbered by their larger bit, then by the smaller. */
static int
pair_index(int i, int j)
{
	return j * (j - 1) / 2 + i;
}

static int
number_of_pairs(int nbits)
{
	return nbits * (nbits - 1) / 2;
}

static MemoryContext
aggregate_memory(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	return context;
}

static Correlation *
make_correlation(MemoryContext context, int nbits)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Correlation *c = palloc(sizeof(Correlation));

	c->bits = bitcounts_make(nbits);
	c->both = palloc0(sizeof(int64) * Max(number_of_pairs(nbits), 1));
	MemoryContextSwitchTo(old);
	return c;
}

static void
add_code(Correlation *c, const HashCode *code)
{
	int ones[MAX_CORRELATED_BITS];
	int n = 0;

	bitcounts_add(c->bits, code);
	for (int j = 0; j < code->nbits; j++)
	{
		if (!(code->bits[j / 8] & (0x80 >> j % 8)))
			continue;
		for (int k = 0; k < n; k++)
			c->both[pair_index(ones[k], j)]++;
		ones[n++] = j;
	}
}

Datum
correlation_transition(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_memory(fcinfo);
	Correlation *c = PG_ARGISNULL(0) ? NULL : (Correlation *) PG_GETARG_POINTER(0);

	if (!PG_ARGISNULL(1))
	{
		HashCode *code = PG_GETARG_HASHCODE_P(1);

		if (code->nbits > MAX_CORRELATED_BITS)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("hashcode of %d bits is too long for bit_correlation",
							code->nbits),
					 errdetail("Every pair of bits needs a counter; at most %d bits are "
							   "supported.",
							   MAX_CORRELATED_BITS),
					 errhint("Look at parts of the codes with substring().")));
		if (c == NULL)
			c = make_correlation(context, code->nbits);
		add_code(c, code);
	}
	if (c == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(c);
}

Datum
correlation_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_memory(fcinfo);
	Correlation *a = PG_ARGISNULL(0) ? NULL : (Correlation *) PG_GETARG_POINTER(0);
	Correlation *b = PG_ARGISNULL(1) ? NULL : (Correlation *) PG_GETARG_POINTER(1);

	if (b != NULL)
	{
		if (a == NULL)
			a = make_correlation(context, b->bits->nbits);
		bitcounts_merge(a->bits, b->bits);
		for (int i = 0; i < number_of_pairs(a->bits->nbits); i++)
			a->both[i] += b->both[i];
	}
	if (a == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(a);
}

Datum
correlation_serialize(PG_FUNCTION_ARGS)
{
	Correlation *c = (Correlation *) PG_GETARG_POINTER(0);
	StringInfoData out;

	(void) aggregate_memory(fcinfo);
	pq_begintypsend(&out);
	bitcounts_write(&out, c->bits);
	for (int i = 0; i < number_of_pairs(c->bits->nbits); i++)
		pq_sendint64(&out, c->both[i]);
	PG_RETURN_BYTEA_P(pq_endtypsend(&out));
}

Datum
correlation_deserialize(PG_FUNCTION_ARGS)
{
	bytea *bytes = PG_GETARG_BYTEA_PP(0);
	StringInfoData in;
	BitCounts *bits;
	Correlation *c;

	(void) aggregate_memory(fcinfo);
	initStringInfo(&in);
	appendBinaryStringInfo(&in, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	bits = bitcounts_read(&in);
	c = make_correlation(CurrentMemoryContext, bits->nbits);
	c->bits = bits;
	for (int i = 0; i < number_of_pairs(bits->nbits); i++)
		c->both[i] = pq_getmsgint64(&in);
	pq_getmsgend(&in);
	PG_RETURN_POINTER(c);
}

Datum
hashcode_bit_correlation(PG_FUNCTION_ARGS)
{
	Correlation *c;
	double n;
	double sum = 0;
	int pairs = 0;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	c = (Correlation *) PG_GETARG_POINTER(0);
	n = (double) c->bits->n;
	for (int j = 1; j < c->bits->nbits; j++)
	{
		double oj = (double) c->bits->ones[j];

		for (int i = 0; i < j; i++)
		{
			double oi = (double) c->bits->ones[i];
			double variance = oi * (n - oi) * oj * (n - oj);

			if (variance == 0)
				continue;
			sum +=
				fabs(n * (double) c->both[pair_index(i, j)] - oi * oj) / sqrt(variance);
			pairs++;
		}
	}
	if (pairs == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(sum / pairs);
}
