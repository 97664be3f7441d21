/*
 * learner.h
 *	  The devices that can train (nn/learner.h), by name.
 */
#ifndef TRAIN_LEARNER_H
#define TRAIN_LEARNER_H

#include "nn/learner.h"
#include "training/train.h"

typedef enum LearnerWhere
{
	LEARNER_CPU,
	LEARNER_CUDA,
	LEARNER_AUTO /* the plug-in where it and a GPU are, or the CPU */
} LearnerWhere;

extern const NnLearnerDevice learner_cpu;

/* NULL and err when it cannot be had. */
extern const NnLearnerDevice *learner_device(LearnerWhere where, TrainError *err);

#endif
