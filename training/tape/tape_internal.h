/*
 * tape_internal.h
 *	  The plan of a tape, shared by tape_plan.c, tape_forward.c and tape_backward.c.
 *
 * Segments.  Batch norm needs the whole batch before it can go on, so the node list
 * is cut before each batch norm; nodes between two cuts form a segment, run group by
 * group.  In the backward pass a batch norm belongs to the segment before its own: its
 * sums are complete when the segment after the cut is done.
 *
 * Memory.  A node's value is kept for the whole batch where another segment or the
 * backward pass reads it; other values, and gradients that do not cross a cut, live
 * in the scratch of the thread that works on the group.
 *
 * Recomputation.  Only values that another segment reads are kept, and the backward
 * pass begins each group by running its segment forward again: the same operations on
 * the same numbers, since batch norms were settled and random numbers are a function
 * of the picture's number.
 */
#ifndef TRAIN_TAPE_INTERNAL_H
#define TRAIN_TAPE_INTERNAL_H

#include "nn/conv_direct.h"
#include "nn/op.h"
#include "training/tape/tape.h"

#include <pthread.h>

typedef struct TapeNode
{
	size_t size; /* floats of one picture's output */
	int segment;
	int back_segment; /* where its backward pass runs; -1: never */
	bool wants_grad;  /* a trainable parameter lies at or before it */
	bool value_kept, grad_kept;
	float *value, *grad;			/* whole batch, where kept */
	size_t value_at, grad_at;		/* offsets into a thread's scratch, where not */
	bool grad_added[NN_MAX_INPUTS]; /* a later node has written that gradient */
	bool gives_grad[NN_MAX_INPUTS]; /* the input wants a gradient */
	bool feeds_batchnorm;			/* a batch norm reads it: its moments are wanted */
	size_t saved;					/* floats of one picture left by forward */
	float *saved_data;				/* whole batch, or NULL: in scratch */
	size_t saved_at;
	bool direct; /* convolution by conv_direct.c */
	NnDirect conv;
	float *packed, *packed_input;
	/* batch norm */
	int channels;
	double *sums;		   /* [TAPE_SLICES][2][channels] */
	float *mean, *rstd;	   /* of this batch, or running */
	float *factor, *shift; /* y = x factor + shift */
} TapeNode;

typedef struct TapeSegment
{
	int first, end;				 /* nodes */
	int group;					 /* pictures that run together */
	size_t grad_begin, grad_end; /* in sum: parameters that its slices gather */
} TapeSegment;

struct Tape
{
	NnGraph *graph;
	NnPool *pool;
	int max_batch;
	bool backward, recompute;
	TapeNode *node;
	int nsegments;
	TapeSegment *segment;
	int threads;
	float **scratch;	  /* per thread */
	size_t scratch_size;  /* floats */
	size_t op_scratch_at; /* where the operation's own part begins */
	size_t slice_grad_at; /* where in scratch a slice gathers gradients of its segment */
	float *sum;			  /* all parameters' gradients, one after another */
	float *grad;		  /* the same, in the parameters' layouts */
	pthread_mutex_t lock;
	pthread_cond_t turned;
	int turn;		  /* the slice that may add to sum */
	size_t *param_at; /* offset of each parameter there */
	bool *param_placed;
	size_t grad_size;
	size_t memory;
	/* of the pass under way */
	const uint8_t *images;
	const float *grad_out;
	int n;
	bool train;
	float momentum;
	uint64_t seed;
	int first;		 /* number of the first picture among those of the seed */
	bool accumulate; /* keep the gradients that are there */
};

/* Pictures begin .. end-1 of slice s. */
static inline void
tape_slice(const Tape *t, int s, int *begin, int *end)
{
	*begin = (int) ((int64_t) t->n * s / TAPE_SLICES);
	*end = (int) ((int64_t) t->n * (s + 1) / TAPE_SLICES);
}

static inline float *
tape_value(const Tape *t, int node, int image, const float *scratch)
{
	const TapeNode *n = &t->node[node];

	return n->value_kept ? n->value + image * n->size : (float *) scratch + n->value_at;
}

static inline float *
tape_grad_of(const Tape *t, int node, int image, const float *scratch)
{
	const TapeNode *n = &t->node[node];

	return n->grad_kept ? n->grad + image * n->size : (float *) scratch + n->grad_at;
}

/* Run work for every slice, threads taking the next one as they come free. */
typedef void (*TapeWork)(Tape *t, int slice, float *scratch, void *arg);
extern void tape_slices(Tape *t, TapeWork work, void *arg);

/* The call that node's operation needs for pictures first .. first+n-1. */
extern NnCall tape_call(const Tape *t, int node, int first, int n, float *scratch);

/* One operation for those pictures. */
extern void tape_forward_node(Tape *t, int node, int first, int n, float *scratch);

#endif
