/*
 * recordings.h
 *	  Which batch sizes of a network have a CUDA graph: a bounded number, least recently
 *	  used first to go.  Plain C, so that a unit test reads it, too.
 *
 * A size is recorded when it comes for the second time: what libraries do only once, such
 * as loading a kernel, has then been done outside of a recording, which may not do it;
 *	  and sizes that come once cost nothing.
 */
#ifndef GPU_RECORDINGS_H
#define GPU_RECORDINGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define MAX_RECORDINGS 32 /* a few hundred kB of the GPU's memory each */

typedef struct Recordings
{
	int largest;   /* size */
	bool *seen;	   /* per size */
	uint64_t uses; /* so far */
	int count;
	struct
	{
		int n;
		uint64_t last_use;
	} place[MAX_RECORDINGS];
} Recordings;

static inline bool
recordings_init(Recordings *r, int largest)
{
	r->largest = largest;
	r->uses = 0;
	r->count = 0;
	r->seen = (bool *) calloc((size_t) largest + 1, sizeof(bool));
	return r->seen != NULL;
}

static inline void
recordings_free(Recordings *r)
{
	free(r->seen);
	r->seen = NULL;
}

/* The place of the recording of size n; -1: there is none. */
static inline int
recordings_find(Recordings *r, int n)
{
	for (int i = 0; i < r->count; i++)
		if (r->place[i].n == n)
		{
			r->place[i].last_use = ++r->uses;
			return i;
		}
	return -1;
}

/* Is a batch of n, which has none, to be recorded?  Asked once for each batch. */
static inline bool
recordings_wanted(Recordings *r, int n)
{
	bool before = r->seen[n];

	r->seen[n] = true;
	return before;
}

/*
 * A place for that of size n; *old: the place held another, which is to be destroyed
 * first.
 */
static inline int
recordings_place(Recordings *r, int n, bool *old)
{
	int at = 0;

	*old = r->count == MAX_RECORDINGS;
	if (!*old)
		at = r->count++;
	else
		for (int i = 1; i < r->count; i++)
			if (r->place[i].last_use < r->place[at].last_use)
				at = i;
	r->place[at].n = n;
	r->place[at].last_use = ++r->uses;
	return at;
}

#endif
