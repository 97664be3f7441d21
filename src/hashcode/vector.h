/*
 * vector.h
 *	  Inside the folder: real[] arguments.
 */
#ifndef HASHCODE_VECTOR_H
#define HASHCODE_VECTOR_H

#include "hashcode/hashcode.h"

#include "utils/array.h"

/* The elements of a real[]; they belong to the array. */
typedef struct RealVector
{
	int n;
	const float4 *x;
} RealVector;

/* An error, naming the argument, for nulls and for more than one dimension. */
extern RealVector real_vector(ArrayType *array, const char *name);

/* An error unless v has one element for each of nbits bits. */
extern void real_vector_check_length(RealVector v, const char *name, int nbits);

#endif
