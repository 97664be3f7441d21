/*
 * asymmetric.c
 *	  Distance between a code and a vector that has not been cut to bits.
 *
 * With s_k = +1 where bit k of the code is 1 and -1 where it is 0, and a vector v,
 *
 *		d(code, v) = sum over k of max(0, -s_k v_k)
 *				   = (|v|_1 - <s, v>) / 2.
 *
 * A bit that disagrees with the vector's sign costs |v_k|, so a bit of which the
 * query is unsure costs little; with all |v_k| = 1 it is the Hamming distance.  Only
 * the query is real, the stored side stays bits (Gordo, Perronnin, Gong, Lazebnik,
 * "Asymmetric distances for binary embeddings", 2014).
 */
#include "hashcode/vector.h"

#include <math.h>

PG_FUNCTION_INFO_V1(hashcode_asymmetric_distance);
PG_FUNCTION_INFO_V1(hashcode_asymmetric_distance_thresholds);

static double
asymmetric_distance(const HashCode *code, RealVector v, const float4 *thresholds)
{
	double sum = 0;

	real_vector_check_length(v, "the vector", code->nbits);
	for (int k = 0; k < v.n; k++)
	{
		double x = (double) v.x[k] - (thresholds != NULL ? thresholds[k] : 0);
		bool bit = code->bits[k / 8] & (0x80 >> k % 8);

		if (isnan(x))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the vector has no usable value for bit %d", k),
					 errdetail("Element %d is not a number, or is infinite like its "
							   "threshold.",
							   k + 1),
					 errhint("Distances to such a vector have no order.")));
		if (bit ? x < 0 : x > 0)
			sum += fabs(x);
	}
	return sum;
}

Datum
hashcode_asymmetric_distance(PG_FUNCTION_ARGS)
{
	HashCode *code = PG_GETARG_HASHCODE_P(0);
	RealVector v = real_vector(PG_GETARG_ARRAYTYPE_P(1), "the vector");

	PG_RETURN_FLOAT8(asymmetric_distance(code, v, NULL));
}

Datum
hashcode_asymmetric_distance_thresholds(PG_FUNCTION_ARGS)
{
	HashCode *code = PG_GETARG_HASHCODE_P(0);
	RealVector v = real_vector(PG_GETARG_ARRAYTYPE_P(1), "the vector");
	RealVector t = real_vector(PG_GETARG_ARRAYTYPE_P(2), "the array of thresholds");

	real_vector_check_length(t, "the array of thresholds", code->nbits);
	PG_RETURN_FLOAT8(asymmetric_distance(code, v, t.x));
}
