/*
 * mihvalidate.c
 *	  Validator of operator classes, and properties of columns.
 */
#include "mih/mih.h"

#include "access/amvalidate.h"
#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_amproc.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

/* Complain about one member; always false. */
static bool
invalid(const char *family, const char *format, const char *what)
{
	ereport(INFO, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				   errmsg("operator family \"%s\" of access method mih %s", family,
						  psprintf(format, what))));
	return false;
}

static bool
check_operator(Form_pg_amop op, const char *family)
{
	const char *name = format_operator(op->amopopr);

	if (op->amopstrategy == MIH_STRATEGY_WITHIN)
	{
		if (op->amoppurpose != AMOP_SEARCH)
			return invalid(
				family, "contains invalid ORDER BY specification for operator %s", name);
		/* A ball is no code: `=` would be taken for a search within. */
		if (op->amoplefttype == op->amoprighttype ||
			!check_amop_signature(op->amopopr, BOOLOID, op->amoplefttype,
								  op->amoprighttype))
			return invalid(family, "contains operator %s with wrong signature", name);
	}
	else if (op->amopstrategy == MIH_STRATEGY_DISTANCE)
	{
		if (op->amoppurpose != AMOP_ORDER)
			return invalid(family, "contains operator %s that is not for ORDER BY", name);
		if (op->amoplefttype != op->amoprighttype ||
			!check_amop_signature(op->amopopr, INT4OID, op->amoplefttype,
								  op->amoprighttype) ||
			!opfamily_can_sort_type(op->amopsortfamily, INT4OID))
			return invalid(family, "contains operator %s with wrong signature", name);
	}
	else
		return invalid(family, "contains operator %s with invalid strategy number", name);
	return true;
}

static char *
family_name(Oid oid)
{
	HeapTuple tuple = SearchSysCache1(OPFAMILYOID, ObjectIdGetDatum(oid));
	char *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator family %u", oid);
	name = pstrdup(NameStr(((Form_pg_opfamily) GETSTRUCT(tuple))->opfname));
	ReleaseSysCache(tuple);
	return name;
}

/* An opclass has the two operators, rightly declared, and no functions. */
bool
mihvalidate(Oid opclass)
{
	HeapTuple tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass));
	Form_pg_opclass form;
	CatCList *operators, *functions;
	char *family;
	Oid type;
	bool result = true;
	bool found[3] = {false};

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator class %u", opclass);
	form = (Form_pg_opclass) GETSTRUCT(tuple);
	type = form->opcintype;
	family = family_name(form->opcfamily);
	operators = SearchSysCacheList1(AMOPSTRATEGY, ObjectIdGetDatum(form->opcfamily));
	functions = SearchSysCacheList1(AMPROCNUM, ObjectIdGetDatum(form->opcfamily));

	for (int i = 0; i < functions->n_members; i++)
	{
		Form_pg_amproc proc = (Form_pg_amproc) GETSTRUCT(&functions->members[i]->tuple);

		result = invalid(family, "contains function %s, but has no use for any",
						 format_procedure(proc->amproc));
	}
	for (int i = 0; i < operators->n_members; i++)
	{
		Form_pg_amop op = (Form_pg_amop) GETSTRUCT(&operators->members[i]->tuple);

		if (!check_operator(op, family))
			result = false;
		else if (op->amoplefttype == type)
			found[op->amopstrategy] = true;
	}
	for (int s = 1; s <= 2; s++)
		if (!found[s])
			result =
				invalid(family, "lacks operator %s for the type of its operator class",
						s == MIH_STRATEGY_WITHIN ? "1 (within a ball)" : "2 (distance)");
	ReleaseCatCacheList(operators);
	ReleaseCatCacheList(functions);
	ReleaseSysCache(tuple);
	return result;
}

/* Columns are distance-orderable, which the server cannot know by itself. */
bool
mihproperty(Oid index_oid, int attno, IndexAMProperty prop, const char *propname,
			bool *res, bool *isnull)
{
	if (prop != AMPROP_DISTANCE_ORDERABLE || attno == 0)
		return false;
	*res = true;
	*isnull = false;
	return true;
}
