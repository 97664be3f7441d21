/*
 * mihdatum.c
 *	  Values of the indexed column as codes: the one place that knows that a
 *	  column may be of another type than hashcode.
 *
 * An operator class over another type names as its function 1 what makes a
 * hashcode of a value.  Without it values are hashcodes and are read as they are.
 */
#include "mih/mih.h"

#include "catalog/pg_type.h"
#include "utils/lsyscache.h"

/* The code of a value that is not NULL; in its place, or in the current context. */
HashCode *
mih_read_code(Relation index, Datum value)
{
	if (OidIsValid(index_getprocid(index, 1, MIH_CODE_PROC)))
		value = FunctionCall1(index_getprocinfo(index, 1, MIH_CODE_PROC), value);
	return DatumGetHashCodeP(value);
}

/*
 * CREATE OPERATOR CLASS takes any function of one's own; what is no hashcode would
 * be read as one.
 */
void
mih_check_opclass(Relation index)
{
	Oid opclass = get_index_column_opclass(RelationGetRelid(index), 1);

	if (!mihvalidate(opclass))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("operator class of index \"%s\" does not suit access method mih",
						RelationGetRelationName(index)),
				 errhint("amvalidate() tells what is wrong with it.")));
}

/*
 * The type of the indexed column or expression below domains, and its modifier as
 * declared, -1 if it has none.
 */
static Oid
column_type(Relation index, int32 *typmod)
{
	Form_pg_attribute column = TupleDescAttr(RelationGetDescr(index), 0);

	*typmod = column->atttypmod;
	return getBaseTypeAndTypmod(column->atttypid, typmod);
}

/* The length that the column or expression declares for its codes, 0 if none. */
int
mih_column_bits(Relation index)
{
	int32 typmod;
	Oid type = column_type(index, &typmod);

	if (type == INT8OID)
		return 64;
	/* The modifier of varbit is a bound, that of other types another matter. */
	if (type != BITOID && OidIsValid(index_getprocid(index, 1, MIH_CODE_PROC)))
		return 0;
	return Max(typmod, 0);
}

/* A code of another length than the index holds came in. */
void
mih_wrong_length(Relation index, int got, int expected)
{
	int32 typmod;
	Oid type = column_type(index, &typmod);

	ereport(
		ERROR,
		(errcode(ERRCODE_STRING_DATA_LENGTH_MISMATCH),
		 errmsg("code of %d bits does not fit index \"%s\", which holds codes of %d bits",
				got, RelationGetRelationName(index), expected),
		 errhint("Declare the column as %s(%d), or make one partial index for "
				 "each length.",
				 type == BITOID || type == VARBITOID ? "bit" : "hashcode", expected)));
}
