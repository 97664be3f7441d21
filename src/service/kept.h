/*
 * kept.h
 *	  Statistics that outlive the engine, and the server: a file in the cache folder.
 */
#ifndef SERVICE_KEPT_H
#define SERVICE_KEPT_H

#include "service/service.h"

/*
 * Since the last reset.  The file holds just this, as it is in memory; a file of another
 * layout is overwritten.
 */
typedef struct Kept
{
	uint64_t magic;
	uint64_t bytes; /* sizeof(Kept) */
	int64_t since;	/* of the reset, microseconds since 1970 */
	uint64_t restarts;
	uint64_t encode_answers;				 /* to ENCODE */
	uint64_t answers[DEEPHASH_STATUS_COUNT]; /* to anything, by status */
	EngineTimes times;						 /* under the lock of the engine */
} Kept;

/*
 * Map the file, which is made if need be, and count a restart.  Where it cannot be had
 * the statistics end with the engine, and a warning says so.  NULL: out of memory.
 */
extern Kept *kept_open(const char *cache_dir);
/* All but times. */
extern void kept_reset(Kept *kept);
extern void kept_close(Kept *kept);

extern int64_t wall_us(void); /* microseconds since 1970 */

#endif
