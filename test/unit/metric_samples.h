/*
 * metric_samples.h
 *	  What the tests of measures share: comparing numbers, a worked example.
 */
#ifndef METRIC_SAMPLES_H
#define METRIC_SAMPLES_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "training/metrics/metrics.h"

#define TOLERANCE 1e-12

static inline void
assert_near(double got, double want, double tolerance)
{
	if (!(fabs(got - want) <= tolerance))
		fail_msg("%.17g instead of %.17g", got, want);
}

/* Eight items, distances 0 to 3: the example that the worked numbers share. */
static const int example_distance[8] = {0, 1, 1, 1, 2, 2, 3, 3};
static const int example_relevant[8] = {1, 0, 1, 0, 1, 1, 0, 1};

#endif
