/*
 * bitstring.c
 *	  The operators of codes for PostgreSQL's own types: bit strings and integers.
 *
 * bit is binary coercible to varbit, so what is declared for varbit serves both.
 * An integer is the code of its bits, the sign bit first, as in the cast of a
 * bigint to hashcode.
 */
#include "hashcode/view.h"

#include "catalog/pg_type.h"
#include "port/pg_bitutils.h"
#include "utils/varbit.h"

#include "hashcode/ball.h"

PG_FUNCTION_INFO_V1(varbit_hamming);
PG_FUNCTION_INFO_V1(varbit_in_ball);
PG_FUNCTION_INFO_V1(hashball_contains_varbit);
PG_FUNCTION_INFO_V1(varbit_within);
PG_FUNCTION_INFO_V1(bigint_hamming);
PG_FUNCTION_INFO_V1(bigint_in_ball);
PG_FUNCTION_INFO_V1(hashball_contains_bigint);
PG_FUNCTION_INFO_V1(bigint_within);
PG_FUNCTION_INFO_V1(integer_hamming);
PG_FUNCTION_INFO_V1(integer_within);

static void
view_integer(CodeView *view, uint64 value, int nbits)
{
	view->nbits = nbits;
	view->bits = view->word;
	for (int i = 0; i < nbits / 8; i++)
		view->word[i] = (uint8) (value >> (nbits - 8 - 8 * i));
}

void
code_view(Oid type, Datum value, CodeView *view)
{
	if (type == VARBITOID || type == BITOID)
	{
		VarBit *bits = DatumGetVarBitP(value);

		view->nbits = VARBITLEN(bits);
		view->bits = VARBITS(bits);
	}
	else if (type == INT8OID)
		view_integer(view, (uint64) DatumGetInt64(value), 64);
	else if (type == INT4OID)
		view_integer(view, (uint32) DatumGetInt32(value), 32);
	else
	{
		HashCode *code = DatumGetHashCodeP(value);

		view->nbits = code->nbits;
		view->bits = code->bits;
	}
}

static int32
bits_distance(const VarBit *a, const VarBit *b)
{
	if (VARBITLEN(a) != VARBITLEN(b))
		ereport(
			ERROR,
			(errcode(ERRCODE_STRING_DATA_LENGTH_MISMATCH),
			 errmsg("different bit string lengths: %d and %d bits", VARBITLEN(a),
					VARBITLEN(b)),
			 errdetail("The Hamming distance is defined for codes of equal length."),
			 errhint("Compare codes of one encoder; a column of type bit(n) holds one "
					 "length only.")));
	return (int32) hamming_kernels()->distance(VARBITS(a), VARBITS(b), VARBITBYTES(a));
}

static bool
ball_holds(const HashBall *ball, Oid type, Datum value)
{
	CodeView view;

	code_view(type, value, &view);
	if (view.nbits != ball->nbits)
		ereport(
			ERROR,
			(errcode(ERRCODE_STRING_DATA_LENGTH_MISMATCH),
			 errmsg("different lengths: a %s of %d bits and a hashball about %d bits",
					type == INT8OID ? "bigint" : "bit string", view.nbits, ball->nbits),
			 errdetail("The Hamming distance is defined for codes of equal length.")));
	return (int) hamming_kernels()->distance(view.bits, ball->bits,
											 hamming_bytes(view.nbits)) <= ball->radius;
}

/* The number of ones is the distance, so a word needs no kernel. */
static int32
word_distance(uint64 a, uint64 b)
{
	return pg_popcount64(a ^ b);
}

Datum
varbit_hamming(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(bits_distance(PG_GETARG_VARBIT_P(0), PG_GETARG_VARBIT_P(1)));
}

Datum
varbit_in_ball(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(ball_holds(PG_GETARG_HASHBALL_P(1), VARBITOID, PG_GETARG_DATUM(0)));
}

Datum
hashball_contains_varbit(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(ball_holds(PG_GETARG_HASHBALL_P(0), VARBITOID, PG_GETARG_DATUM(1)));
}

Datum
varbit_within(PG_FUNCTION_ARGS)
{
	VarBit *a = PG_GETARG_VARBIT_P(0);
	int radius = hashball_check_radius(PG_GETARG_INT32(2), VARBITLEN(a));

	PG_RETURN_BOOL(bits_distance(a, PG_GETARG_VARBIT_P(1)) <= radius);
}

Datum
bigint_hamming(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(
		word_distance((uint64) PG_GETARG_INT64(0), (uint64) PG_GETARG_INT64(1)));
}

Datum
bigint_in_ball(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(ball_holds(PG_GETARG_HASHBALL_P(1), INT8OID, PG_GETARG_DATUM(0)));
}

Datum
hashball_contains_bigint(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(ball_holds(PG_GETARG_HASHBALL_P(0), INT8OID, PG_GETARG_DATUM(1)));
}

Datum
bigint_within(PG_FUNCTION_ARGS)
{
	int radius = hashball_check_radius(PG_GETARG_INT32(2), 64);

	PG_RETURN_BOOL(word_distance((uint64) PG_GETARG_INT64(0),
								 (uint64) PG_GETARG_INT64(1)) <= radius);
}

Datum
integer_hamming(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(
		word_distance((uint32) PG_GETARG_INT32(0), (uint32) PG_GETARG_INT32(1)));
}

Datum
integer_within(PG_FUNCTION_ARGS)
{
	int radius = hashball_check_radius(PG_GETARG_INT32(2), 32);

	PG_RETURN_BOOL(word_distance((uint32) PG_GETARG_INT32(0),
								 (uint32) PG_GETARG_INT32(1)) <= radius);
}
