/*
 * optim.h
 *	  Optimisers, learning-rate schedule, averaging of weights.
 */
#ifndef TRAIN_OPTIM_H
#define TRAIN_OPTIM_H

#include "nn/graph.h"
#include "training/train.h"

typedef enum OptimKind
{
	OPTIM_SGD,	/* Nesterov momentum, L2 in the gradient */
	OPTIM_ADAMW /* decoupled decay */
} OptimKind;

typedef struct OptimOptions
{
	OptimKind kind;
	double momentum;		  /* SGD */
	double beta1, beta2, eps; /* AdamW */
	double decay;
	double clip; /* longest gradient over all parameters; 0: any */
} OptimOptions;

/* One parameter's two state arrays; SGD uses the first. */
typedef struct OptimState
{
	float *m, *v;
	double rate;  /* multiplies the learning rate */
	double decay; /* multiplies OptimOptions.decay: 0 for norms and biases */
} OptimState;

typedef struct Optim
{
	OptimOptions options;
	NnGraph *graph;
	OptimState *state; /* per parameter; m is NULL where not trainable */
	int64_t step;	   /* steps taken */
	double norm;	   /* of the last gradient, before clipping; 0 where it is not */
	float *clipped;	   /* room for the largest parameter's gradient, if it is */
} Optim;

/*
 * bias_rate multiplies the learning rate of batch-norm shifts.  Parameters of one
 * dimension (norms, biases, class tokens) and positions are not decayed.
 */
extern Optim *optim_new(NnGraph *graph, const OptimOptions *options, double bias_rate,
						TrainError *err);
extern void optim_free(Optim *optim);

/* gradient(arg, i) is that of parameter i. */
extern void optim_step(Optim *optim, double rate,
					   const float *(*gradient)(const void *arg, int param),
					   const void *arg);

/* The arithmetic alone, n values; step counts from 1. */
extern void optim_sgd(float *p, float *m, const float *grad, size_t n, double rate,
					  double momentum, double decay);
extern void optim_adamw(float *p, float *m, float *v, const float *grad, size_t n,
						double rate, const OptimOptions *options, double decay,
						int64_t step);

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

typedef struct Average
{
	AverageKind kind;
	float **data; /* per parameter, or NULL for AVERAGE_NONE */
	int nparams;
	double decay; /* of AVERAGE_EMA; 0: 0.999 */
} Average;

extern bool average_init(Average *a, AverageKind kind, const NnGraph *graph,
						 TrainError *err);
extern void average_free(Average *a);
extern void average_update(Average *a, NnGraph *graph, int64_t step, int64_t total);

/* Exchange the network's parameters with the average: to evaluate, and back. */
extern void average_swap(Average *a, NnGraph *graph);

#endif
