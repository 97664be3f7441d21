/*
 * bitops.c
 *	  Bitwise operators and the parts of a code.
 */
#include "hashcode/hashcode.h"

PG_FUNCTION_INFO_V1(hashcode_and);
PG_FUNCTION_INFO_V1(hashcode_or);
PG_FUNCTION_INFO_V1(hashcode_xor);
PG_FUNCTION_INFO_V1(hashcode_not);
PG_FUNCTION_INFO_V1(hashcode_concat);
PG_FUNCTION_INFO_V1(hashcode_length);
PG_FUNCTION_INFO_V1(hashcode_popcount);
PG_FUNCTION_INFO_V1(hashcode_get_bit);
PG_FUNCTION_INFO_V1(hashcode_set_bit);
PG_FUNCTION_INFO_V1(hashcode_substring);

/* An empty code like a, after a check that b is as long. */
static HashCode *
make_alike(const HashCode *a, const HashCode *b, const char *operation)
{
	if (a->nbits != b->nbits)
		ereport(ERROR,
				(errcode(ERRCODE_STRING_DATA_LENGTH_MISMATCH),
				 errmsg("different hashcode lengths: %d and %d bits", a->nbits, b->nbits),
				 errdetail("Bitwise %s is defined for codes of equal length.", operation),
				 errhint("Use substring() or || to change a length.")));
	return hashcode_make(a->nbits);
}

Datum
hashcode_and(PG_FUNCTION_ARGS)
{
	HashCode *a = PG_GETARG_HASHCODE_P(0);
	HashCode *b = PG_GETARG_HASHCODE_P(1);
	HashCode *c = make_alike(a, b, "AND");

	for (Size i = 0; i < hamming_bytes(c->nbits); i++)
		c->bits[i] = a->bits[i] & b->bits[i];
	PG_RETURN_HASHCODE_P(c);
}

Datum
hashcode_or(PG_FUNCTION_ARGS)
{
	HashCode *a = PG_GETARG_HASHCODE_P(0);
	HashCode *b = PG_GETARG_HASHCODE_P(1);
	HashCode *c = make_alike(a, b, "OR");

	for (Size i = 0; i < hamming_bytes(c->nbits); i++)
		c->bits[i] = a->bits[i] | b->bits[i];
	PG_RETURN_HASHCODE_P(c);
}

Datum
hashcode_xor(PG_FUNCTION_ARGS)
{
	HashCode *a = PG_GETARG_HASHCODE_P(0);
	HashCode *b = PG_GETARG_HASHCODE_P(1);
	HashCode *c = make_alike(a, b, "XOR");

	for (Size i = 0; i < hamming_bytes(c->nbits); i++)
		c->bits[i] = a->bits[i] ^ b->bits[i];
	PG_RETURN_HASHCODE_P(c);
}

Datum
hashcode_not(PG_FUNCTION_ARGS)
{
	HashCode *a = PG_GETARG_HASHCODE_P(0);
	HashCode *c = hashcode_make(a->nbits);
	Size nbytes = hamming_bytes(a->nbits);

	for (Size i = 0; i < nbytes; i++)
		c->bits[i] = ~a->bits[i];
	if (a->nbits % 8 != 0)
		c->bits[nbytes - 1] &= (uint8) (0xff << (8 - a->nbits % 8));
	PG_RETURN_HASHCODE_P(c);
}

/*
 * Copy count bits of source, from bit `from` on, to the zeroed bits of target from
 * bit `to` on.
 */
static void
copy_bits(uint8 *target, int to, const uint8 *source, int from, int count)
{
	if (to % 8 == 0 && from % 8 == 0)
	{
		memcpy(target + to / 8, source + from / 8, count / 8);
		to += count & ~7;
		from += count & ~7;
		count %= 8;
	}
	for (int i = 0; i < count; i++, from++, to++)
		if (source[from / 8] & (0x80 >> from % 8))
			target[to / 8] |= (uint8) (0x80 >> to % 8);
}

Datum
hashcode_concat(PG_FUNCTION_ARGS)
{
	HashCode *a = PG_GETARG_HASHCODE_P(0);
	HashCode *b = PG_GETARG_HASHCODE_P(1);
	HashCode *c;

	if (a->nbits + b->nbits > HAMMING_MAX_BITS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("hashcode of %d bits is too long", a->nbits + b->nbits),
				 errdetail("Codes of %d and %d bits were joined; a hashcode has at "
						   "most %d bits.",
						   a->nbits, b->nbits, HAMMING_MAX_BITS),
				 errhint("Keep the parts in columns of their own.")));
	c = hashcode_make(a->nbits + b->nbits);
	copy_bits(c->bits, 0, a->bits, 0, a->nbits);
	copy_bits(c->bits, a->nbits, b->bits, 0, b->nbits);
	PG_RETURN_HASHCODE_P(c);
}

Datum
hashcode_length(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(PG_GETARG_HASHCODE_P(0)->nbits);
}

Datum
hashcode_popcount(PG_FUNCTION_ARGS)
{
	static const uint8 zeros[HAMMING_MAX_BYTES];
	HashCode *code = PG_GETARG_HASHCODE_P(0);

	PG_RETURN_INT32((int32) hamming_kernels()->distance(code->bits, zeros,
														hamming_bytes(code->nbits)));
}

static void
check_bit_number(const HashCode *code, int32 n)
{
	if (n < 0 || n >= code->nbits)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("bit number %d out of range", n),
						errdetail("The code has %d bits, numbered from 0 to %d.",
								  code->nbits, code->nbits - 1),
						errhint("Bit 0 is the first digit of the text form.")));
}

Datum
hashcode_get_bit(PG_FUNCTION_ARGS)
{
	HashCode *code = PG_GETARG_HASHCODE_P(0);
	int32 n = PG_GETARG_INT32(1);

	check_bit_number(code, n);
	PG_RETURN_INT32(code->bits[n / 8] >> (7 - n % 8) & 1);
}

Datum
hashcode_set_bit(PG_FUNCTION_ARGS)
{
	HashCode *code = PG_GETARG_HASHCODE_P(0);
	int32 n = PG_GETARG_INT32(1);
	int32 value = PG_GETARG_INT32(2);
	HashCode *result;

	check_bit_number(code, n);
	if (value != 0 && value != 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("new value of bit %d must be 0 or 1, not %d", n, value),
						errhint("Give 0 to clear the bit, 1 to set it.")));
	result = hashcode_make(code->nbits);
	memcpy(result->bits, code->bits, hamming_bytes(code->nbits));
	if (value)
		result->bits[n / 8] |= (uint8) (0x80 >> n % 8);
	else
		result->bits[n / 8] &= (uint8) ~(0x80 >> n % 8);
	PG_RETURN_HASHCODE_P(result);
}

/*
 * substring(code, from, count): from is 1 for the first bit, as everywhere in SQL.
 * A code is never empty, so a part outside the code is an error and not cut.
 */
Datum
hashcode_substring(PG_FUNCTION_ARGS)
{
	HashCode *code = PG_GETARG_HASHCODE_P(0);
	int32 from = PG_GETARG_INT32(1);
	int32 count = PG_GETARG_INT32(2);
	HashCode *part;

	if (from < 1 || count < 1 || from > code->nbits || count > code->nbits - from + 1)
		ereport(ERROR,
				(errcode(ERRCODE_SUBSTRING_ERROR),
				 errmsg("substring of %d bits from bit %d lies outside the hashcode",
						count, from),
				 errdetail("The code has %d bits, the first of them is number 1.",
						   code->nbits),
				 errhint("Ask for at least one bit and for none past the end.")));
	part = hashcode_make(count);
	copy_bits(part->bits, 0, code->bits, from - 1, count);
	PG_RETURN_HASHCODE_P(part);
}
