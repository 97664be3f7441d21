/*
 * tape_internal.h
 *	  The plan of a tape, shared by the tape_*.c.
 *
 * Segments.  Batch norm needs the whole batch before it can go on, so the node list
 * is cut before each batch norm; nodes between two cuts form a segment, run group by
 * group.  In the backward pass a batch norm belongs to the segment before its own: its
 * sums are complete when the segment after the cut is done.  Where a segment would have
 * many parameters it is cut too, so that its gradients, which each thread gathers in
 * memory of its own, stay few.
 *
 * Steps.  Segment s runs forward at step s and backward at step 2 S - 1 - s, of S
 * segments.  A buffer of the whole batch is in use from the step that writes it to the
 * last that reads it; place.c lays buffers that are never in use together over one
 * another.  Within a group the steps are nodes, and the same is done in the scratch of
 * the thread that works on the group.
 *
 * Kept values.  A node's value is kept for the whole batch where another segment reads
 * it, or the backward pass does and the value cannot be had again for little: input
 * pictures, norms and activations are computed a second time, from values that are
 * there anyway, when the backward pass begins the group.
 *
 * Recomputation.  Then all values that no other segment reads are had that way: the
 * same operations on the same numbers, since batch norms were settled and random
 * numbers are a function of the picture's number.
 */
#ifndef TRAIN_TAPE_INTERNAL_H
#define TRAIN_TAPE_INTERNAL_H

#include "nn/conv_direct.h"
#include "nn/op.h"
#include "training/tape/tape.h"

#include <pthread.h>

/* Weights from which a layer that sees a picture as one row is run by tape_whole.c. */
#define TAPE_WHOLE_PARAMS (256 * 1024)

typedef struct TapeNode
{
	size_t size; /* floats of one picture's output */
	int segment;
	int back_segment; /* where its backward pass runs */
	bool useful;	  /* an output depends on it */
	bool wants_grad;  /* useful, and a trainable parameter lies at or before it */
	bool value_kept, grad_kept;
	bool at_hand;		 /* the backward pass has its value, or can compute it again */
	bool again;			 /* it does compute it again */
	float *value, *grad; /* whole batch, where kept */
	size_t value_at, grad_at;		/* offsets into a thread's scratch, where not */
	bool grad_added[NN_MAX_INPUTS]; /* a later node has written that gradient */
	bool gives_grad[NN_MAX_INPUTS]; /* the input wants a gradient */
	bool feeds_batchnorm;			/* a batch norm reads it: its moments are wanted */
	size_t saved;					/* floats of one picture left by forward */
	float *saved_data;				/* whole batch, or NULL: in scratch */
	size_t saved_at;
	size_t param_at[NN_MAX_PARAMS];	 /* of its gradients among the segment's */
	bool param_added[NN_MAX_PARAMS]; /* a later node has that parameter too */
	bool whole;						 /* run over the whole batch: a segment of its own */
	bool direct;					 /* forward and input's gradient by conv_direct.c */
	NnDirect conv;
	size_t packed_at, packed_input_at; /* its weights among those of its segment */
	/* batch norm */
	int channels;
	double *sums;		   /* [TAPE_SLICES][2][channels] */
	float *mean, *rstd;	   /* of this batch, or running */
	float *factor, *shift; /* y = x factor + shift */
} TapeNode;

typedef struct TapeSegment
{
	int first, end;	  /* nodes */
	int group;		  /* pictures that run together */
	size_t gradients; /* floats: of the parameters that its slices gather */
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
	float *arena;		  /* what is kept for the whole batch */
	float **scratch;	  /* per thread */
	size_t scratch_size;  /* floats */
	size_t op_scratch_at; /* where the operation's own part begins */
	size_t slice_grad_at; /* where in scratch a slice gathers gradients of its segment */
	float *rows;		  /* inputs of the node that tape_whole.c is at */
	float *packed;		  /* weights of the segment under way */
	float *sum;			  /* its gradients, all slices */
	float *grad;		  /* all gradients, in the parameters' layouts */
	size_t *param_at;	  /* offset of each parameter there */
	pthread_mutex_t lock;
	pthread_cond_t turned;
	int turn; /* the slice that may add to sum */
	size_t memory;
	/* of the pass under way */
	const uint8_t *images;
	int n;
	bool train;
	float momentum;
	uint64_t seed;
	int first;		 /* number of the first picture among those of the seed */
	bool accumulate; /* keep the gradients that are there */
};

/* tape_plan.c: segments, who wants gradients, what is kept. */
extern void tape_plan(Tape *t);

/* Does the backward pass of a node read its inputs, or its output? */
extern bool tape_reads_input(const NnNode *node);
extern bool tape_reads_output(const NnNode *node);

/* tape_memory.c: places for everything; false: out of memory. */
extern bool tape_take_memory(Tape *t);

/* tape_whole.c */
extern bool tape_is_whole(const Tape *t, int node);
extern size_t tape_whole_rows(const Tape *t, int node); /* floats */
extern void tape_whole_forward(Tape *t, int node);
extern void tape_whole_backward(Tape *t, int node);

/*
 * Do slices gather the gradient of node i's parameter p?  (A batch norm's are its sums;
 * those of a layer run whole are written where they belong.)
 */
static inline bool
tape_gathers(const Tape *t, int i, int p)
{
	const NnNode *node = &t->graph->node[i];

	return t->backward && t->node[i].wants_grad && node->kind != NN_BATCHNORM &&
		   !t->node[i].whole && node->param[p] >= 0 &&
		   t->graph->param[node->param[p]].trainable;
}

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

/* Rearrange weights for the forward pass over a segment, or for computing it again. */
extern void tape_pack(Tape *t, const TapeSegment *seg, bool again);

/* One operation for those pictures. */
extern void tape_forward_node(Tape *t, int node, int first, int n, float *scratch);

#endif
