/*
 * learner_parts.h
 *	  The learner on the GPU, shared by learner.cu, learner_pass.cu, learner_update.cu.
 *
 * All parameters lie one after another in one array, and their gradients, moments and
 * average in arrays of the same layout.  Values and gradients of nodes lie in one arena
 * (step_plan.h).  Everything is allocated in open; a dry run of both passes chooses the
 * plans of products and convolutions and says how much scratch memory is wanted.
 *
 * A step is queued on one stream; only what the host reads is waited for.  Pictures
 * arrive on a stream of their own, into one of two places in turn, so that a batch is
 * copied while the one before is still worked on.
 */
#ifndef GPU_LEARNER_PARTS_H
#define GPU_LEARNER_PARTS_H

#include "gpu/recorded.h"
#include "gpu/step_plan.h"
#include "nn/learner.h"

#define MAX_BLOCKS (3 * NN_MAX_NODES + 64)
#define NORM_PARTS 4096
#define SLOTS 2		/* places for pictures */
#define PIECE 32	/* parameters begin at multiples of this */
#define IN_FLIGHT 2 /* things of the host that copies may still read */

enum Flight
{
	FLIGHT_GRADIENTS, /* of the outputs */
	FLIGHT_PACE
};

/* How fast a parameter is to learn in this update. */
struct Pace
{
	double rate, decay;
	int trainable;
};

struct NnLearner
{
	NnGraph *graph;
	NnLearnerOptions options;
	Machine m;
	Stream copies; /* of pictures to the device */
	Event copied;
	int nblocks;
	void *block[MAX_BLOCKS]; /* every allocation on the device */
	size_t bytes;
	size_t *at; /* per parameter, in floats */
	size_t floats;
	float *part[NN_GRADIENT + 1];
	StepPlan plan;
	char *arena;
	void **packed, **packed_bias; /* per node: weights ready for products, or NULL */
	bool stale;					  /* the weights have moved since they were packed */
	Recorder recorder;
	/* of the batch, and what the device knows of it */
	NnBatch batch;
	const uint8_t *staged_images; /* of the host, on their way already; NULL: none */
	int staged_n;
	bool ready; /* for a backward pass, which uses up what the forward pass left */
	int slot;
	uint8_t *images[SLOTS], *host_images[SLOTS];
	Step *step, *host_step;
	float *staged[NN_MAX_OUTPUTS]; /* outputs, then their gradients */
	float *host_out[NN_MAX_OUTPUTS], *host_grad[NN_MAX_OUTPUTS];
	bool in_flight[IN_FLIGHT];
	/* of the update */
	int *owner; /* parameter of each piece */
	Pace *pace, *host_pace;
	double *sums, *host_sums; /* partial sums of squares, then the length */
	float *clip;			  /* what gradients are multiplied by */
	int *flag, *host_flag;
};

/* A piece of memory of the device, given back in close. */
extern bool learner_room(NnLearner *l, void *to, size_t bytes, const char *what,
						 NnError *err);

/* Everything queued has run: the host's memory is its own again. */
extern bool learner_wait(NnLearner *l, NnError *err);

static inline size_t
element(const NnLearner *l)
{
	return l->options.precision == NN_BF16 ? sizeof(Bf16) : sizeof(float);
}

static inline const NnNode *
output_of(const NnLearner *l, int k)
{
	return &l->graph->node[nn_graph_output_node(l->graph, k)];
}

static inline size_t
output_size(const NnLearner *l, int k, int n)
{
	return (size_t) n * nn_shape_size(&output_of(l, k)->shape);
}

static inline size_t
param_size(const NnLearner *l, int p)
{
	return nn_shape_size(&l->graph->param[p].shape);
}

/* learner_pass.cu */
extern size_t learner_saved_bytes(const NnLearner *l, int node);
extern void learner_pack(NnLearner *l);
/* Queue it; the step's pictures and numbers, or gradients, are on the device. */
extern bool learner_pass(NnLearner *l, Pass pass, bool train, NnError *err);

/* learner_update.cu */
extern bool learner_room_for_updates(NnLearner *l, NnError *err);
extern void learner_clear(NnLearner *l, float *x, size_t count);
extern int cuda_not_finite(NnLearner *l, char *name, size_t size, NnError *err);
extern bool cuda_update(NnLearner *l, const NnUpdate *u, double *norm, NnError *err);
extern bool cuda_average(NnLearner *l, double weight, bool back, NnError *err);

#endif
