/*
 * cast.c
 *	  Between codes and what people already keep: bit strings, bytea, bigint,
 *	  and vectors of real numbers.
 */
#include "hashcode/vector.h"

#include "utils/varbit.h"

PG_FUNCTION_INFO_V1(bit_to_hashcode);
PG_FUNCTION_INFO_V1(hashcode_to_varbit);
PG_FUNCTION_INFO_V1(bytea_to_hashcode);
PG_FUNCTION_INFO_V1(hashcode_to_bytea);
PG_FUNCTION_INFO_V1(bigint_to_hashcode);
PG_FUNCTION_INFO_V1(hashcode_to_bigint);
PG_FUNCTION_INFO_V1(real_array_to_hashcode);
PG_FUNCTION_INFO_V1(real_array_to_hashcode_threshold);
PG_FUNCTION_INFO_V1(real_array_to_hashcode_thresholds);

/* An empty code for nbits bits that come from a value of another type. */
static HashCode *
make_for(int64 nbits, const char *source)
{
	if (nbits < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("cannot make a hashcode from an empty %s", source),
						errhint("A hashcode has 1 to %d bits; use NULL for no code.",
								HAMMING_MAX_BITS)));
	if (nbits > HAMMING_MAX_BITS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("hashcode of " INT64_FORMAT " bits is too long", nbits),
				 errdetail("The %s would give more than the %d bits of the longest "
						   "hashcode.",
						   source, HAMMING_MAX_BITS)));
	return hashcode_make((int) nbits);
}

/* bit and varbit are the same inside, and share our order of bits and zero padding. */
Datum
bit_to_hashcode(PG_FUNCTION_ARGS)
{
	VarBit *bits = PG_GETARG_VARBIT_P(0);
	HashCode *code = make_for(VARBITLEN(bits), "bit string");

	memcpy(code->bits, VARBITS(bits), hamming_bytes(code->nbits));
	PG_RETURN_HASHCODE_P(code);
}

Datum
hashcode_to_varbit(PG_FUNCTION_ARGS)
{
	HashCode *code = PG_GETARG_HASHCODE_P(0);
	VarBit *bits = palloc0(VARBITTOTALLEN(code->nbits));

	SET_VARSIZE(bits, VARBITTOTALLEN(code->nbits));
	VARBITLEN(bits) = code->nbits;
	memcpy(VARBITS(bits), code->bits, hamming_bytes(code->nbits));
	PG_RETURN_VARBIT_P(bits);
}

Datum
bytea_to_hashcode(PG_FUNCTION_ARGS)
{
	bytea *bytes = PG_GETARG_BYTEA_PP(0);
	HashCode *code = make_for((int64) VARSIZE_ANY_EXHDR(bytes) * 8, "bytea");

	memcpy(code->bits, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	PG_RETURN_HASHCODE_P(code);
}

Datum
hashcode_to_bytea(PG_FUNCTION_ARGS)
{
	HashCode *code = PG_GETARG_HASHCODE_P(0);
	bytea *bytes;

	if (code->nbits % 8 != 0)
		ereport(ERROR,
				(errcode(ERRCODE_STRING_DATA_LENGTH_MISMATCH),
				 errmsg("cannot cast a hashcode of %d bits to bytea", code->nbits),
				 errdetail("The length is not a multiple of 8 and would be lost."),
				 errhint("Cast to varbit instead, or make the code longer with ||.")));
	bytes = palloc(VARHDRSZ + code->nbits / 8);
	SET_VARSIZE(bytes, VARHDRSZ + code->nbits / 8);
	memcpy(VARDATA(bytes), code->bits, code->nbits / 8);
	PG_RETURN_BYTEA_P(bytes);
}

/* Bit 0 of the code is the sign bit of the bigint. */
Datum
bigint_to_hashcode(PG_FUNCTION_ARGS)
{
	uint64 value = (uint64) PG_GETARG_INT64(0);
	HashCode *code = hashcode_make(64);

	for (int i = 0; i < 8; i++)
		code->bits[i] = (uint8) (value >> (56 - 8 * i));
	PG_RETURN_HASHCODE_P(code);
}

Datum
hashcode_to_bigint(PG_FUNCTION_ARGS)
{
	HashCode *code = PG_GETARG_HASHCODE_P(0);
	uint64 value = 0;

	if (code->nbits != 64)
		ereport(ERROR,
				(errcode(ERRCODE_STRING_DATA_LENGTH_MISMATCH),
				 errmsg("cannot cast a hashcode of %d bits to bigint", code->nbits),
				 errdetail("A bigint holds exactly 64 bits."),
				 errhint("Cast to varbit or bytea instead.")));
	for (int i = 0; i < 8; i++)
		value = value << 8 | code->bits[i];
	PG_RETURN_INT64((int64) value);
}

RealVector
real_vector(ArrayType *array, const char *name)
{
	RealVector v;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("%s must be one-dimensional", name),
						errdetail("It has %d dimensions.", ARR_NDIM(array)),
						errhint("Give one row of the array, or unnest it.")));
	v.n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	v.x = (const float4 *) ARR_DATA_PTR(array);
	if (ARR_HASNULL(array) && array_contains_nulls(array))
	{
		int at = 0;
		const uint8 *bitmap = ARR_NULLBITMAP(array);

		while (bitmap[at / 8] & (1 << at % 8))
			at++;
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not contain nulls", name),
						errdetail("Element %d of %d is null.", at + 1, v.n),
						errhint("Write 0 where nothing is known.")));
	}
	return v;
}

void
real_vector_check_length(RealVector v, const char *name, int nbits)
{
	if (v.n != nbits)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("%s has %d elements, %d are expected", name, v.n, nbits),
						errhint("Give one element for each bit of the code.")));
}

static HashCode *
code_from_signs(RealVector v, const float4 *thresholds)
{
	HashCode *code = make_for(v.n, "array");

	hamming_pack(v.x, thresholds, v.n, code->bits);
	return code;
}

Datum
real_array_to_hashcode(PG_FUNCTION_ARGS)
{
	PG_RETURN_HASHCODE_P(
		code_from_signs(real_vector(PG_GETARG_ARRAYTYPE_P(0), "the array"), NULL));
}

Datum
real_array_to_hashcode_threshold(PG_FUNCTION_ARGS)
{
	RealVector v = real_vector(PG_GETARG_ARRAYTYPE_P(0), "the array");
	float4 *thresholds = palloc(sizeof(float4) * Max(v.n, 1));

	for (int i = 0; i < v.n; i++)
		thresholds[i] = PG_GETARG_FLOAT4(1);
	PG_RETURN_HASHCODE_P(code_from_signs(v, thresholds));
}

Datum
real_array_to_hashcode_thresholds(PG_FUNCTION_ARGS)
{
	RealVector v = real_vector(PG_GETARG_ARRAYTYPE_P(0), "the array");
	RealVector t = real_vector(PG_GETARG_ARRAYTYPE_P(1), "the array of thresholds");

	real_vector_check_length(t, "the array of thresholds", v.n);
	PG_RETURN_HASHCODE_P(code_from_signs(v, t.x));
}
