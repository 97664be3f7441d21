/*
 * options.h
 *	  Everything that decides what a training run does.
 */
#ifndef TRAIN_OPTIONS_H
#define TRAIN_OPTIONS_H

#include "training/loss/loss.h"
#include "training/loss/vae.h"
#include "training/learner/learner.h"
#include "training/optim/optim.h"
#include "training/augment/augment.h"

typedef struct TrainOptions
{
	char data[1024];   /* description, see dataset.h */
	char protocol[32]; /* which pictures train and which judge, see sets.h */
	char loss[32];
	LossOptions loss_options;
	VaeOptions vae;		   /* of the loss "vae" */
	double vae_warm_up;	   /* epochs until its divergence has its whole weight */
	char arch[160];		   /* label of an architecture (arch.h): "vit-ti patch=14" */
	char pretrained[1024]; /* safetensors file to begin from; "": from the seed */
	int bits;
	int size;		 /* side of the network's input */
	int resize;		 /* short side before that is cut out; 0: the architecture's */
	int channels[3]; /* of the network's blocks; 0: to be chosen */
	int epochs;		 /* 0: to be chosen */
	double minutes;	 /* time that choices should fit; 0: no limit */
	int batch;
	int accumulate; /* parts in which a step's batch passes the network */
	bool recompute; /* values of the forward pass computed again in the backward one */
	bool deterministic;
	LearnerWhere device;
	NnPrecision precision;
	OptimOptions optim;
	double rate;	  /* peak learning rate for a batch of 512 */
	double bias_rate; /* learning rate of batch-norm shifts, relative */
	Schedule schedule;
	AverageKind average;
	double average_decay; /* of ema; 0: 0.999 */
	double layer_decay;	  /* learning rate of a layer relative to the one above it */
	double norm_momentum; /* weight of a new batch in running statistics */
	AugmentOptions augment;
	int cache;	 /* MB of pictures held in memory; 0: a third of the machine's */
	int workers; /* threads that prepare pictures ahead; 0: the network's own, in turn */
	double holdout; /* share of pictures kept for judging by protocol "split" */
	uint64_t seed;
} TrainOptions;

extern void train_options_default(TrainOptions *options);

/* As one JSON object (malloc'ed), and back; unknown members are an error. */
extern char *train_options_write(const TrainOptions *options);
extern bool train_options_read(TrainOptions *options, const char *json, TrainError *err);

/* Check ranges; names the option as the command line does. */
extern bool train_options_check(const TrainOptions *options, TrainError *err);

#endif
