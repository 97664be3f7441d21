/*
 * work.h
 *	  How much computing a network asks for; private to the model file's code.
 */
#ifndef NN_WORK_H
#define NN_WORK_H

#include "nn/nn.h"

/*
 * Steps that one picture takes in this node of g: multiply-adds,
 * comparisons, exponentials.  Channels count in whole lanes of NN_WORK_LANES,
 * because a window over one channel takes as long as over a few.
 */
#define NN_WORK_LANES 32
extern double nn_node_work(const NnGraph *g, const NnNode *node);

#endif
