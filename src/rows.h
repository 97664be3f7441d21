/*
 * rows.h
 *	  Rows that a set-returning function returns: what PostgreSQL 13 to 18 agree on.
 */
#ifndef DEEPHASH_ROWS_H
#define DEEPHASH_ROWS_H

#include "compat.h"

#include "utils/tuplestore.h"

typedef struct Rows
{
	Tuplestorestate *store;
	TupleDesc desc;
} Rows;

/* Begin; tuplestore_putvalues adds rows; the function returns (Datum) 0 at its end. */
extern Rows rows_begin(FunctionCallInfo fcinfo);

#endif
