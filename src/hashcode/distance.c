/*
 * distance.c
 *	  Hamming distance in SQL: the operators <~> and <@, hamming_within.
 */
#include "hashcode/hashcode.h"

#include "hashcode/ball.h"

PG_FUNCTION_INFO_V1(hashcode_hamming);
PG_FUNCTION_INFO_V1(hashcode_in_ball);
PG_FUNCTION_INFO_V1(hashball_contains);
PG_FUNCTION_INFO_V1(hamming_within);

static int32
distance(const uint8 *a, int a_bits, const uint8 *b, int b_bits)
{
	if (a_bits != b_bits)
		ereport(
			ERROR,
			(errcode(ERRCODE_STRING_DATA_LENGTH_MISMATCH),
			 errmsg("different hashcode lengths: %d and %d bits", a_bits, b_bits),
			 errdetail("The Hamming distance is defined for codes of equal length."),
			 errhint("Compare codes of one encoder; a column of type hashcode(n) holds "
					 "one length only.")));
	return (int32) hamming_kernels()->distance(a, b, hamming_bytes(a_bits));
}

int32
hashcode_distance(const HashCode *a, const HashCode *b)
{
	return distance(a->bits, a->nbits, b->bits, b->nbits);
}

bool
hashball_holds(const HashBall *ball, const HashCode *code)
{
	return distance(code->bits, code->nbits, ball->bits, ball->nbits) <= ball->radius;
}

int32
hashball_centre_distance(const HashBall *a, const HashBall *b)
{
	return distance(a->bits, a->nbits, b->bits, b->nbits);
}

int
hashball_check_radius(int32 radius, int nbits)
{
	if (radius < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("negative Hamming radius: %d", radius),
						errhint("A radius counts differing bits: 0 finds equal codes.")));
	return Min(radius, nbits);
}

Datum
hashcode_hamming(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(hashcode_distance(PG_GETARG_HASHCODE_P(0), PG_GETARG_HASHCODE_P(1)));
}

Datum
hashcode_in_ball(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(hashball_holds(PG_GETARG_HASHBALL_P(1), PG_GETARG_HASHCODE_P(0)));
}

Datum
hashball_contains(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(hashball_holds(PG_GETARG_HASHBALL_P(0), PG_GETARG_HASHCODE_P(1)));
}

Datum
hamming_within(PG_FUNCTION_ARGS)
{
	HashCode *a = PG_GETARG_HASHCODE_P(0);
	int radius = hashball_check_radius(PG_GETARG_INT32(2), a->nbits);

	PG_RETURN_BOOL(hashcode_distance(a, PG_GETARG_HASHCODE_P(1)) <= radius);
}
