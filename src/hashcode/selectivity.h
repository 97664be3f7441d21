/*
 * selectivity.h
 *	  Inside the folder: what share of a column's codes lies in a ball.
 */
#ifndef HASHCODE_SELECTIVITY_H
#define HASHCODE_SELECTIVITY_H

#include "hashcode/hashcode.h"

#include "utils/selfuncs.h"

/*
 * The ball of the estimate.  centre is NULL where the planner does not know it;
 * nbits is 0 where not even the length is known.
 */
typedef struct EstimatedBall
{
	int nbits;
	int radius;
	const uint8 *centre;
} EstimatedBall;

/*
 * The share of the rows of `column` whose code is in the ball.  Statistics are
 * looked at only if the user may run `function` on them.  Never an error.
 */
extern Selectivity ball_selectivity(VariableStatData *column, Oid function,
									EstimatedBall ball);

/* For a radius or a ball that is not known before the query runs. */
#define DEFAULT_BALL_SELECTIVITY 0.001

#endif
