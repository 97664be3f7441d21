/*
 * mihvalidate.c
 *	  Validator of operator classes, and properties of columns.
 */
#include "mih/mih.h"

#include "access/amvalidate.h"
#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
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

/* A type of this access method's schema; InvalidOid if there is none. */
static Oid
own_type(Oid am, const char *name)
{
	HeapTuple tuple = SearchSysCache1(AMOID, ObjectIdGetDatum(am));
	Oid namespace;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for access method %u", am);
	namespace = get_func_namespace(((Form_pg_am) GETSTRUCT(tuple))->amhandler);
	ReleaseSysCache(tuple);
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
						   ObjectIdGetDatum(namespace));
}

static bool
check_operator(Form_pg_amop op, const char *family, Oid ball)
{
	const char *name = format_operator(op->amopopr);

	if (op->amopstrategy == MIH_STRATEGY_WITHIN ||
		op->amopstrategy == MIH_STRATEGY_MUTUAL)
	{
		bool mutual = op->amopstrategy == MIH_STRATEGY_MUTUAL;

		if (op->amoppurpose != AMOP_SEARCH)
			return invalid(
				family, "contains invalid ORDER BY specification for operator %s", name);
		/* A scan takes the right-hand value for a ball, so it must be one. */
		if (op->amoprighttype != ball || (op->amoplefttype == ball) != mutual ||
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

/* Function 1 takes one value and returns its hashcode. */
static bool
check_function(Form_pg_amproc proc, const char *family, Oid code)
{
	const char *name = format_procedure(proc->amproc);

	if (proc->amproclefttype != proc->amprocrighttype)
		return invalid(family, "contains function %s for two types", name);
	if (proc->amprocnum != MIH_CODE_PROC)
		return invalid(family, "contains function %s with invalid support number", name);
	if (!check_amproc_signature(proc->amproc, code, true, 1, 1, proc->amproclefttype))
		return invalid(family, "contains function %s with wrong signature", name);
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

/*
 * An opclass has the two operators of codes, or the one of balls, and unless it
 * is over hashcode the function that makes one.
 */
bool
mihvalidate(Oid opclass)
{
	HeapTuple tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass));
	Form_pg_opclass form;
	CatCList *operators, *functions;
	char *family;
	Oid type, code, ball;
	bool result = true;
	bool has_function = false;
	bool found[MIH_STRATEGY_MUTUAL + 1] = {false};

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator class %u", opclass);
	form = (Form_pg_opclass) GETSTRUCT(tuple);
	type = form->opcintype;
	family = family_name(form->opcfamily);
	code = own_type(form->opcmethod, "hashcode");
	ball = own_type(form->opcmethod, "hashball");
	operators = SearchSysCacheList1(AMOPSTRATEGY, ObjectIdGetDatum(form->opcfamily));
	functions = SearchSysCacheList1(AMPROCNUM, ObjectIdGetDatum(form->opcfamily));

	for (int i = 0; i < functions->n_members; i++)
	{
		Form_pg_amproc proc = (Form_pg_amproc) GETSTRUCT(&functions->members[i]->tuple);

		if (!check_function(proc, family, code))
			result = false;
		else if (proc->amproclefttype == type)
			has_function = true;
	}
	for (int i = 0; i < operators->n_members; i++)
	{
		Form_pg_amop op = (Form_pg_amop) GETSTRUCT(&operators->members[i]->tuple);

		if (!check_operator(op, family, ball))
			result = false;
		else if (op->amoplefttype == type)
			found[op->amopstrategy] = true;
	}
	for (int s = 1; s <= MIH_STRATEGY_MUTUAL; s++)
		if (!found[s] && (s == MIH_STRATEGY_MUTUAL) == (type == ball))
			result =
				invalid(family, "lacks operator %s for the type of its operator class",
						s == MIH_STRATEGY_WITHIN	 ? "1 (within a ball)"
						: s == MIH_STRATEGY_DISTANCE ? "2 (distance)"
													 : "3 (balls hold each other)");
	if (!has_function && type != code)
		result = invalid(family, "lacks function %s for the type of its operator class",
						 "1 (hashcode of a value)");
	ReleaseCatCacheList(operators);
	ReleaseCatCacheList(functions);
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Columns of codes are distance-orderable, those of balls are not; the server
 * cannot know by itself.
 */
bool
mihproperty(Oid index_oid, int attno, IndexAMProperty prop, const char *propname,
			bool *res, bool *isnull)
{
	Oid opclass, family, type;

	if (prop != AMPROP_DISTANCE_ORDERABLE || attno == 0)
		return false;
	opclass = get_index_column_opclass(index_oid, attno);
	if (!OidIsValid(opclass) ||
		!get_opclass_opfamily_and_input_type(opclass, &family, &type))
	{
		*isnull = true;
		return true;
	}
	*res = OidIsValid(get_opfamily_member(family, type, type, MIH_STRATEGY_DISTANCE));
	*isnull = false;
	return true;
}
