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

#include "hashcode/view.h"

PG_FUNCTION_INFO_V1(hamming_within_support);

#define BALL_STRATEGY 1 /* <@ in every operator family of mih over codes */

/*
 * A function by its identity, never by search path: the one of that name and those
 * argument types beside hamming_within itself.
 */
static Oid
function_beside(Oid within_function, const char *name, Oid *types, int ntypes)
{
	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
						   PointerGetDatum(buildoidvector(types, ntypes)),
						   ObjectIdGetDatum(get_func_namespace(within_function)));
}

/*
 * hashball(centre, radius), or NULL if there is no such function.  A centre of
 * another type than hashcode goes through its cast, hashcode(centre).
 */
static Expr *
make_ball(Oid within_function, Node *centre, Node *radius)
{
	Oid types[2] = {exprType(centre), INT4OID};
	Oid constructor = function_beside(within_function, "hashball", types, 2);

	if (!OidIsValid(constructor))
	{
		Oid cast = function_beside(within_function, "hashcode", types, 1);

		if (!OidIsValid(cast))
			return NULL;
		types[0] = get_func_rettype(cast);
		constructor = function_beside(within_function, "hashball", types, 2);
		if (!OidIsValid(constructor))
			return NULL;
		centre = (Node *) makeFuncExpr(cast, types[0], list_make1(centre), InvalidOid,
									   InvalidOid, COERCE_EXPLICIT_CALL);
	}
	return (Expr *) makeFuncExpr(constructor, get_func_rettype(constructor),
								 list_make2(centre, radius), InvalidOid, InvalidOid,
								 COERCE_EXPLICIT_CALL);
}

/* The index condition for hamming_within(a, b, r), or NIL if there is none. */
static List *
index_condition(SupportRequestIndexCondition *request)
{
	FuncExpr *call = (FuncExpr *) request->node;
	Node *column;
	Node *centre;
	Node *radius;
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

	ball = make_ball(request->funcid, centre, radius);
	if (ball == NULL)
		return NIL;
	operator_id = get_opfamily_member(request->opfamily, exprType(column),
									  exprType((Node *) ball), BALL_STRATEGY);
	if (!OidIsValid(operator_id))
		return NIL;
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
	CodeView view;
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
		code_view(value->consttype, value->constvalue, &view);
		ball.nbits = view.nbits;
		ball.centre = view.bits;
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
