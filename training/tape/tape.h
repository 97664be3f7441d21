/*
 * tape.h
 *	  A network in training: activations, gradients, forward and backward passes.
 *
 * The graph's node list is the tape.  A batch is cut into a fixed number of slices,
 * whatever the number of threads, and each slice into groups of a few pictures; a
 * group runs through all nodes up to the next batch norm while its activations are
 * in the core's cache.  Sums over the batch (gradients of parameters, statistics of
 * batch norm) are gathered per slice and added in slice order, so results do not
 * depend on the number of threads or on their timing.  README.md tells more.
 */
#ifndef TRAIN_TAPE_H
#define TRAIN_TAPE_H

#include "nn/graph.h"
#include "nn/pool.h"
#include "training/train.h"

#define TAPE_SLICES 8

typedef struct Tape Tape;

typedef enum TapeUse
{
	TAPE_EVALUATE, /* no backward pass */
	TAPE_TRAIN,	   /* keep what the backward pass reads */
	TAPE_RECOMPUTE /* compute most of it again: less memory, the same numbers */
} TapeUse;

/*
 * graph's parameters are read and, by tape_forward in training, its running
 * statistics written; it must outlive the tape.  pool may be NULL.
 */
extern Tape *tape_new(NnGraph *graph, int max_batch, NnPool *pool, TapeUse use,
					  TrainError *err);
extern void tape_free(Tape *tape);

/*
 * Run n <= max_batch pictures; returns output 0, n rows, the tape's
 * own memory.  train: batch norms use the statistics of this batch and move the
 * running ones by `momentum`; backward may follow, and reads images again (a tape made
 * to evaluate does not train).
 */
extern const float *tape_forward(Tape *tape, const uint8_t *images, int n, bool train,
								 float momentum);

/* Output k of the last forward pass (nn_graph_output_node); 0 is what it returned. */
extern const float *tape_output(const Tape *tape, int k);

/*
 * What random numbers the forward passes from now on draw (nn/random.h): those of
 * pictures first, first + 1 and so on of the seed's batch.
 */
extern void tape_seed(Tape *tape, uint64_t seed, int first);

/*
 * Gradients of all trainable parameters from that of the last forward pass's output
 * (n rows); they replace those of the call before.
 */
extern void tape_backward(Tape *tape, const float *grad_out);

/*
 * The same from the gradients of all outputs; NULL for one that has none.  accumulate:
 * they are added to those of the call before.
 */
extern void tape_backward_outputs(Tape *tape, const float *const *grad_out,
								  bool accumulate);

/* Gradient of parameter i, in the parameter's layout; NULL if it is not trainable. */
extern const float *tape_gradient(const Tape *tape, int param);

/* The name of a node or gradient with a NaN or an infinity in it, or NULL. */
extern const char *tape_not_finite(const Tape *tape);

extern size_t tape_memory(const Tape *tape);

/* Multiply-adds of one picture's forward pass: of one node, and of all. */
extern double tape_node_macs(const NnGraph *g, int i);
extern double tape_graph_macs(const NnGraph *g);

#endif
