/*
 * view.h
 *	  Inside the folder: the bits of values that are compared as codes, whatever
 *	  their type: hashcode, bit, varbit, bigint, integer.
 */
#ifndef HASHCODE_VIEW_H
#define HASHCODE_VIEW_H

#include "hashcode/hashcode.h"

/* bits may point into word, so a view stays where it was made. */
typedef struct CodeView
{
	int nbits;
	const uint8 *bits;
	uint8 word[8]; /* an integer, most significant byte first */
} CodeView;

/* Look at a value of PostgreSQL's own type, or of hashcode for any other. */
extern void code_view(Oid type, Datum value, CodeView *view);

#endif
