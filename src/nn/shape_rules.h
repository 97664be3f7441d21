/*
 * shape_rules.h
 *	  What shape.c and the rules of the operations share.
 */
#ifndef NN_SHAPE_RULES_H
#define NN_SHAPE_RULES_H

#include "nn/op.h"

static inline NnShape
shape1(int a)
{
	return (NnShape){1, {a, 0, 0, 0}};
}

static inline NnShape
shape2(int a, int b)
{
	return (NnShape){2, {a, b, 0, 0}};
}

static inline NnShape
shape3(int a, int b, int c)
{
	return (NnShape){3, {a, b, c, 0}};
}

static inline NnShape
shape4(int a, int b, int c, int d)
{
	return (NnShape){4, {a, b, c, d}};
}

typedef struct NnShapeRule
{
	const char *name;
	int ninputs;
	/* Check attributes and inputs and fill node->shape; err says what is wrong, nn_infer
	 * with which node. */
	bool (*infer)(const NnGraph *g, NnNode *node, NnError *err);
} NnShapeRule;

extern const NnShapeRule nn_shape_rule[NN_OP_COUNT];

/* Every dimension in range and the product too; what is a word for the error. */
extern bool nn_check_size(const NnShape *shape, const char *what, NnError *err);

#endif
