/*
 * hashcode.h
 *	  The type hashcode: 1 to 4096 bits, and hashball: a code and a radius.
 *
 * Both are varlenas with storage plain (never compressed, never given a short
 * header) and alignment int4, so the bits begin at offset 8 and a datum that
 * comes from a heap page can be used where it lies.
 */
#ifndef HASHCODE_H
#define HASHCODE_H

#include "compat.h"
#include "hamming/hamming.h"

typedef struct HashCode
{
	int32 vl_len_;					   /* varlena header (do not touch directly!) */
	uint16 nbits;					   /* length in bits, 1 .. HAMMING_MAX_BITS */
	uint16 zero;					   /* always 0 */
	uint8 bits[FLEXIBLE_ARRAY_MEMBER]; /* hamming_bytes(nbits) bytes, see hamming.h */
} HashCode;

typedef struct HashBall
{
	int32 vl_len_;					   /* varlena header */
	uint16 nbits;					   /* length of the centre in bits */
	uint16 radius;					   /* 0 .. HAMMING_MAX_BITS, inclusive */
	uint8 bits[FLEXIBLE_ARRAY_MEMBER]; /* the centre */
} HashBall;

#define HASHCODE_SIZE(nbits) (offsetof(HashCode, bits) + hamming_bytes(nbits))

#define DatumGetHashCodeP(d) ((HashCode *) PG_DETOAST_DATUM(d))
#define PG_GETARG_HASHCODE_P(n) DatumGetHashCodeP(PG_GETARG_DATUM(n))
#define PG_RETURN_HASHCODE_P(x) return PointerGetDatum(x)
#define DatumGetHashBallP(d) ((HashBall *) PG_DETOAST_DATUM(d))
#define PG_GETARG_HASHBALL_P(n) DatumGetHashBallP(PG_GETARG_DATUM(n))

/* A zeroed code of nbits bits in the current memory context. */
extern HashCode *hashcode_make(int nbits);

/*
 * The distance of two codes; an ERROR (ERRCODE_DATA_EXCEPTION class, naming both
 * lengths) when their lengths differ.
 */
extern int32 hashcode_distance(const HashCode *a, const HashCode *b);

#endif
