/*
 * ball_estimators.c
 *	  RESTRICT and JOIN of the operators <@ and @>: from the planner's expressions
 *	  to a column and a ball.
 */
#include "hashcode/ball.h"
#include "hashcode/selectivity.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(hashcode_in_ball_sel);
PG_FUNCTION_INFO_V1(hashcode_in_ball_joinsel);
PG_FUNCTION_INFO_V1(hashball_contains_sel);
PG_FUNCTION_INFO_V1(hashball_contains_joinsel);

/*
 * What the planner knows of a ball: all of a constant; the radius of
 * hashball(something, constant).  False: nothing.  *empty is set for a ball that
 * is null, which holds no code.
 */
static bool
known_ball(Node *expression, EstimatedBall *ball, bool *empty)
{
	*ball = (EstimatedBall){0};
	*empty = false;
	while (IsA(expression, RelabelType))
		expression = (Node *) ((RelabelType *) expression)->arg;
	if (IsA(expression, Const))
	{
		Const *value = (Const *) expression;
		HashBall *constant;

		*empty = value->constisnull;
		if (value->constisnull)
			return true;
		constant = DatumGetHashBallP(value->constvalue);
		*ball = (EstimatedBall){constant->nbits, constant->radius, constant->bits};
		return true;
	}
	if (IsA(expression, FuncExpr) && list_length(((FuncExpr *) expression)->args) == 2)
	{
		FuncExpr *call = (FuncExpr *) expression;
		Node *centre = linitial(call->args);
		Node *radius = lsecond(call->args);

		if (IsA(radius, Const) && ((Const *) radius)->consttype == INT4OID &&
			!((Const *) radius)->constisnull &&
			DatumGetInt32(((Const *) radius)->constvalue) >= 0)
		{
			ball->radius = DatumGetInt32(((Const *) radius)->constvalue);
			ball->nbits = Max(exprTypmod(centre), 0);
			return true;
		}
	}
	return false;
}

static Selectivity
estimate(VariableStatData *column, Oid operator_id, Node *ball_expression)
{
	EstimatedBall ball;
	bool empty;

	if (!known_ball(ball_expression, &ball, &empty))
		return DEFAULT_BALL_SELECTIVITY;
	if (empty)
		return 0;
	return ball_selectivity(column, get_opcode(operator_id), ball);
}

/*
 * code_on_left: true for <@, false for @>.  The other side may be the column too
 * (a table of balls searched with one code); of that nothing is known.
 */
static Selectivity
restriction(FunctionCallInfo fcinfo, bool code_on_left)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	Oid operator_id = PG_GETARG_OID(1);
	List *args = (List *) PG_GETARG_POINTER(2);
	int relation = PG_GETARG_INT32(3);
	VariableStatData column;
	Node *other;
	bool on_left;
	Selectivity answer = DEFAULT_BALL_SELECTIVITY;

	if (!get_restriction_variable(root, args, relation, &column, &other, &on_left))
		return answer;
	if (on_left == code_on_left)
		answer = estimate(&column, operator_id, other);
	ReleaseVariableStats(column);
	return answer;
}

static Selectivity
join(FunctionCallInfo fcinfo, bool code_on_left)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	Oid operator_id = PG_GETARG_OID(1);
	List *args = (List *) PG_GETARG_POINTER(2);
	VariableStatData column;
	Selectivity answer;

	if (list_length(args) != 2)
		return DEFAULT_BALL_SELECTIVITY;
	examine_variable(root, code_on_left ? linitial(args) : lsecond(args), 0, &column);
	answer =
		estimate(&column, operator_id, code_on_left ? lsecond(args) : linitial(args));
	ReleaseVariableStats(column);
	return answer;
}

Datum
hashcode_in_ball_sel(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(restriction(fcinfo, true));
}

Datum
hashcode_in_ball_joinsel(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(join(fcinfo, true));
}

Datum
hashball_contains_sel(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(restriction(fcinfo, false));
}

Datum
hashball_contains_joinsel(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(join(fcinfo, false));
}
