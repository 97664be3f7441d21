/*
 * optim.h
 *	  Optimisers, learning-rate schedule, averaging of weights.
 */
#ifndef TRAIN_OPTIM_H
#define TRAIN_OPTIM_H

#include "nn/graph.h"
#include "nn/learner.h"
#include "training/train.h"

typedef struct OptimOptions
{
	NnUpdateKind kind;
	double momentum;		  /* SGD */
	double beta1, beta2, eps; /* AdamW */
	double decay;
	double clip; /* longest gradient over all parameters; 0: any */
} OptimOptions;

/*
 * The multipliers of rate and decay (NnUpdate), graph->nparams of each.  bias_rate is
 * that of batch-norm shifts.  Parameters of one dimension (norms, biases, class tokens,
 * scales of layers), positions and tables of relative positions are not decayed.
 */
extern void optim_multipliers(const NnGraph *graph, double bias_rate, double *rate_of,
							  double *decay_of);

/* One parameter's two state arrays; SGD uses the first. */
typedef struct OptimState
{
	float *m, *v; /* NULL where not trainable or not used */
} OptimState;

typedef struct Optim
{
	NnUpdateKind kind;
	NnGraph *graph;
	OptimState *state; /* per parameter */
	double norm;	   /* of the last gradient, before clipping; 0 where it is not */
	float *clipped;	   /* room for the largest parameter's gradient */
	size_t memory;	   /* bytes */
} Optim;

extern Optim *optim_new(NnGraph *graph, NnUpdateKind kind, TrainError *err);
extern void optim_free(Optim *optim);

/* gradient(arg, i) is that of parameter i. */
extern void optim_step(Optim *optim, const NnUpdate *update,
					   const float *(*gradient)(const void *arg, int param),
					   const void *arg);

/* The arithmetic alone, n values; step counts from 1. */
extern void optim_sgd(float *p, float *m, const float *grad, size_t n, double rate,
					  double momentum, double decay);
extern void optim_adamw(float *p, float *m, float *v, const float *grad, size_t n,
						double rate, const NnUpdate *options, double decay, int64_t step);

/*
 * Rate at `step` of `total` relative to the peak: from `start` to 1 over the first
 * `warm` of training, then to `end`.
 */
typedef enum ScheduleKind
{
	SCHEDULE_LINEAR,   /* straight up, straight down */
	SCHEDULE_COSINE,   /* straight up, half a cosine down (Loshchilov, Hutter, 2017) */
	SCHEDULE_ONE_CYCLE /* half a cosine each way (Smith, Topin, 2018; as PyTorch's) */
} ScheduleKind;

typedef struct Schedule
{
	double start, warm, end;
	ScheduleKind kind;
} Schedule;
extern double schedule_rate(const Schedule *s, int64_t step, int64_t total);

/*
 * A running average of all parameters, running statistics included.  Lookahead also
 * sets the network to it: the network explores, the average decides.
 */
typedef enum AverageKind
{
	AVERAGE_NONE,
	AVERAGE_EMA,	  /* decay min(decay, (1 + t) / (10 + t)), every step */
	AVERAGE_LOOKAHEAD /* decay 0.95^5 (t / total)^3, every 5 steps, copied back */
} AverageKind;

/*
 * The weight of the network in its average after `step` of `total` steps; 0: it stays
 * as it is.  back: the network is then set to it.  decay is that of AVERAGE_EMA, 0 for
 * 0.999.
 */
extern double average_weight(AverageKind kind, double decay, int64_t step, int64_t total,
							 bool *back);

typedef struct Average
{
	float **data; /* per parameter */
	int nparams;
	size_t memory; /* bytes */
} Average;

extern bool average_init(Average *a, const NnGraph *graph, TrainError *err);
extern void average_free(Average *a);

/* average += weight (value - average); back: then value = average. */
extern void average_blend(Average *a, NnGraph *graph, double weight, bool back);

#endif
