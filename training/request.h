/*
 * request.h
 *	  The command line of deephash-train train.
 */
#ifndef TRAIN_REQUEST_H
#define TRAIN_REQUEST_H

#include "training/recipe/recipe.h"

typedef struct Request
{
	TrainOptions options; /* settled, unless the run is resumed */
	Recipe recipe;		  /* what was said, and where */
	const char *out;
	const char *resume;
	const char *checkpoint;
	double checkpoint_every; /* minutes */
	int stop_after;			 /* steps; 0: run to the end */
	int validate;			 /* epochs between looks at mAP; 0: none */
	int threads;
} Request;

/* -1: go on; otherwise the exit status, and the user has been told why. */
extern int request_parse(Request *r, int argc, char **argv);

/* After the options of a checkpoint were read: those that may change, as asked. */
extern void request_change(Request *r);

#endif
