/*
 * progress.h
 *	  How far a long command is: a line that rewrites itself on a terminal, plain lines
 *	  now and then in a log.
 */
#ifndef TRAIN_PROGRESS_H
#define TRAIN_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Progress
{
	bool terminal;
	double started, last; /* seconds, monotonic */
	int64_t first;		  /* where this run began, for the rate */
	int64_t total;
	double every; /* seconds between lines */
} Progress;

extern double progress_now(void); /* monotonic seconds */
extern void progress_start(Progress *p, int64_t first, int64_t total);

/* text is the middle of the line; shown when it is time or when force is set. */
extern void progress_show(Progress *p, int64_t done, double unit, const char *what,
						  const char *text, bool force);
extern void progress_end(Progress *p);

/* "1 h 02 min", "3 min 20 s", "12 s" */
extern const char *progress_duration(double seconds, char *text, int size);

#endif
