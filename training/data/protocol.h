/*
 * protocol.h
 *	  The named ways of cutting CIFAR-10 into training, query and database sets.
 *
 *	  P54	   5,000 training (500 a class), 1,000 queries (100 a class), database the
 *			   other 54,000
 *	  P59	   the same, database all 59,000 that are not queries
 *	  Pfull	   50,000 training = database, 10,000 queries, drawn anew
 *	  Pfull-R  the official split: training set = database, test set = queries
 *
 * All but Pfull-R pool the 60,000 pictures and draw by class from the seed.  On
 * another single-label set the shares of each class are the same (1/12 and 1/60;
 * 5/6 and 1/6); Pfull-R exists only for CIFAR-10.
 */
#ifndef TRAIN_PROTOCOL_H
#define TRAIN_PROTOCOL_H

#include "training/data/dataset.h"

typedef struct Protocol
{
	const char *name;
	const char *about; /* one line */
} Protocol;

/* Ascending positions in the pooled data set; train and database may overlap. */
typedef struct ProtocolSplit
{
	uint32_t *train, *query, *database;
	int ntrain, nquery, ndatabase;
} ProtocolSplit;

extern const Protocol *protocol_at(int i); /* NULL past the end */

/*
 * Cut `pooled` as the protocol says; names are compared without regard to case.
 * Fails for an unknown name, a class too small for its shares, and pictures
 * without exactly one label.
 */
extern bool protocol_build(const char *name, const Dataset *pooled, uint64_t seed,
						   ProtocolSplit *out, TrainError *err);

extern void protocol_free(ProtocolSplit *split);

#endif
