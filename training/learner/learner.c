/*
 * learner.c
 *	  The devices that can train, by name.
 */
#include "training/learner/learner.h"

const NnLearnerDevice *
learner_device(LearnerWhere where, TrainError *err)
{
	const NnLearnerDevice *plugin;
	NnError trouble;

	if (where == LEARNER_CPU)
		return &learner_cpu;
	plugin = nn_plugin_learner(NULL, &trouble);
	if (plugin)
		return plugin;
	if (where == LEARNER_AUTO)
		return &learner_cpu;
	train_fail(err,
			   "train.device: %.380s; \"cpu\" (with float32 for train.precision) trains "
			   "on this machine's processors",
			   trouble.text);
	return NULL;
}
