/*
 * parity.h
 *	  The program that compares a device with the CPU: its run, and its parts.
 */
#ifndef GPU_PARITY_H
#define GPU_PARITY_H

#include "nn/device.h"
#include "nn/learner.h"

typedef struct Parity
{
	const NnDevice *device;
	const NnLearnerDevice *learner; /* NULL: compare no training */
	uint64_t seed;
	bool few; /* only a few random networks and no architectures */
	int cases, failures;
	double ratio; /* the largest share of a bound */
	char furthest[128];
} Parity;

/* One line about a case, counted. */
extern void parity_report(Parity *p, const char *name, bool ok, const char *text);
/* The same where it is off by that share of its bound. */
extern void parity_judge(Parity *p, const char *name, double ratio, const char *text);

/* Inference by g, which is freed (parity_infer.h). */
extern void parity_compare(Parity *p, const char *name, NnGraph *g, int draws);

extern void parity_inference(Parity *p);

#endif
