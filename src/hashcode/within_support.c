/*
 * within_support.c
 *	  What the planner may know about hamming_within(a, b, r).
 *
 * The index serves "column <@ ball"; people write hamming_within(column, b, r).
 * This planner support function turns the one into the other.
 */
#include "hashcode/selectivity.h"

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
	/* A constant for the index's cost estimate; a wrong radius is for the executor. */
	if (IsA(radius, Const) && DatumGetInt32(((Const *) radius)->constvalue) >= 0)
		ball = (Expr *) eval_const_expressions(request->root, (Node *) ball);
	request->lossy = false;
	return list_make1(make_opclause(operator_id, BOOLOID, false, (Expr *) column, ball,
									InvalidOid, InvalidOid));
}

/*
 * The share of rows for which hamming_within(a, b, r) is true.  False where the
 * planner should use its default.
 */
static bool
selectivity(SupportRequestSelectivity *request)
{
	EstimatedBall ball = {0};
	VariableStatData column;
	Node *centre = NULL;
	Node *radius;

	if (list_length(request->args) != 3)
		return false;
	radius = estimate_expression_value(request->root, lthird(request->args));
	if (!IsA(radius, Const) || ((Const *) radius)->constisnull ||
		DatumGetInt32(((Const *) radius)->constvalue) < 0)
		return false;
	ball.radius = DatumGetInt32(((Const *) radius)->constvalue);

	if (request->is_join)
		examine_variable(request->root, linitial(request->args), 0, &column);
	else
	{
		bool on_left;

		if (!get_restriction_variable(
				request->root,
				list_make2(linitial(request->args), lsecond(request->args)),
				request->varRelid, &column, &centre, &on_left))
			return false;
	}
	if (centre != NULL && IsA(centre, Const))
	{
		Const *value = (Const *) centre;

		if (value->constisnull)
		{
			ReleaseVariableStats(column);
			request->selectivity = 0;
			return true;
		}
		ball.nbits = DatumGetHashCodeP(value->constvalue)->nbits;
		ball.centre = DatumGetHashCodeP(value->constvalue)->bits;
	}
	request->selectivity = ball_selectivity(&column, request->funcid, ball);
	ReleaseVariableStats(column);
	return true;
}

Datum
hamming_within_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);
	Node *answer = NULL;

	if (IsA(request, SupportRequestIndexCondition))
		answer = (Node *) index_condition((SupportRequestIndexCondition *) request);
	else if (IsA(request, SupportRequestSelectivity))
		answer = selectivity((SupportRequestSelectivity *) request) ? request : NULL;
	PG_RETURN_POINTER(answer);
}
