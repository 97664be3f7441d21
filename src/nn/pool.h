/*
 * pool.h
 *	  A few threads that share a loop over images.
 *
 * nn_parallel cuts 0 .. n-1 into one contiguous range per thread, always the
 * same way for the same n and thread count, so that sums gathered per thread and
 * added in thread order come out bit for bit the same in every run.  OpenBLAS
 * is told to keep to the calling thread: cutting over the batch wastes less.
 */
#ifndef NN_POOL_H
#define NN_POOL_H

#include "nn/nn.h"

typedef struct NnPool NnPool;

/* begin .. end-1 are this thread's; thread is 0 .. nn_pool_threads-1. */
typedef void (*NnRange)(void *arg, int begin, int end, int thread);

/* threads <= 0: one per CPU that this process may use.  NULL: out of resources. */
extern NnPool *nn_pool_new(int threads);
extern void nn_pool_free(NnPool *pool);
/*
 * The pool of so many threads that all who ask this way share; it lives until the last of
 * them leaves it.  They take turns: nn_parallel on it only between begin and end.
 */
extern NnPool *nn_pool_share(int threads);
extern void nn_pool_leave(NnPool *pool);
extern void nn_pool_begin(NnPool *pool);
extern bool nn_pool_try(NnPool *pool); /* begin, unless it is another's turn */
extern void nn_pool_end(NnPool *pool);
extern int nn_pool_threads(const NnPool *pool); /* 1 for a NULL pool */

/*
 * Run fn over 0 .. n-1 and return when all is done.  A NULL pool runs it here, and so
 * does any pool where n is 1.
 * One caller at a time per pool; fn must not call nn_parallel on the same pool.
 */
extern void nn_parallel(NnPool *pool, int n, NnRange fn, void *arg);

#endif
