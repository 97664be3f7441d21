/*
 * within_support.c
 *	  What the planner may know about hamming_within(a, b, r).
 *
 * The index serves "column <@ ball"; people write hamming_within(column, b, r).
 * This planner support function turns the one into the other.
 */
#include "hashcode/hashcode.h"

#include "access/stratnum.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(hamming_within_support);

#define BALL_STRATEGY 1 /* <@ in every operator family of mih over hashcode */

/*
 * hashball(centre, radius) by its identity, never by search path: the function of
 * that name and those argument types beside hamming_within itself.
 */
static Oid
ball_constructor(Oid within_function, Oid code_type)
{
	Oid argument_types[2] = {code_type, INT4OID};

	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("hashball"),
						   PointerGetDatum(buildoidvector(argument_types, 2)),
						   ObjectIdGetDatum(get_func_namespace(within_function)));
}

/* The index condition for hamming_within(a, b, r), or NIL if there is none. */
static List *
index_condition(SupportRequestIndexCondition *request)
{
	FuncExpr *call = (FuncExpr *) request->node;
	Node *column;
	Node *centre;
	Node *radius;
	Oid code_type;
	Oid constructor;
	Oid ball_type;
	Oid operator_id;
	Expr *ball;

	/* indexarg is 0 or 1: the distance is symmetric, so both sides may be the column */
	if (!IsA(call, FuncExpr) || list_length(call->args) != 3 || request->indexarg > 1)
		return NIL;
	column = list_nth(call->args, request->indexarg);
	centre = list_nth(call->args, 1 - request->indexarg);
	radius = lthird(call->args);
	if (!compat_is_pseudo_constant_for_index(request->root, centre, request->index) ||
		!compat_is_pseudo_constant_for_index(request->root, radius, request->index))
		return NIL;

	code_type = exprType(column);
	constructor = ball_constructor(request->funcid, code_type);
	if (!OidIsValid(constructor))
		return NIL;
	ball_type = get_func_rettype(constructor);
	operator_id =
		get_opfamily_member(request->opfamily, code_type, ball_type, BALL_STRATEGY);
	if (!OidIsValid(operator_id))
		return NIL;

	ball = (Expr *) makeFuncExpr(constructor, ball_type, list_make2(centre, radius),
								 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
	request->lossy = false;
	return list_make1(make_opclause(operator_id, BOOLOID, false, (Expr *) column, ball,
									InvalidOid, InvalidOid));
}

Datum
hamming_within_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);
	Node *answer = NULL;

	if (IsA(request, SupportRequestIndexCondition))
		answer = (Node *) index_condition((SupportRequestIndexCondition *) request);
	PG_RETURN_POINTER(answer);
}
