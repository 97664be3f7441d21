/*
 * sets.h
 *	  The pictures of a run by role, as a protocol says.
 *
 *	none	all pictures train, nothing is judged
 *	split	a share of each class are queries, the rest train and are the database
 *	others	as data/protocol.h lists them
 */
#ifndef TRAIN_SETS_H
#define TRAIN_SETS_H

#include "training/data/dataset.h"

typedef struct Sets
{
	Dataset *train;
	Dataset *query, *database; /* NULL for protocol "none" */
	bool database_is_train;	   /* one object under two names */
} Sets;

/* The protocol that suits a description when none is named. */
extern const char *sets_default_protocol(const char *data);

/* CIFAR-10 is 32x32; other pictures are brought to 48 unless told otherwise. */
extern int sets_default_size(const char *data);

/* memory: see dataset_open_within. */
extern bool sets_open(Sets *sets, const char *data, const char *protocol, double holdout,
					  uint64_t seed, const ImagePreprocess *pre, int64_t memory,
					  int threads, TrainError *err);

/* Bytes that pictures may take: so many MB, or with 0 a third of the machine's, as
 * cutting a set in two holds it twice for a moment. */
extern int64_t sets_memory(int megabytes);
extern void sets_free(Sets *sets);

/* "none, split, P54, ..." for help texts. */
extern const char *sets_protocols(char *text, int size);

#endif
