/*
 * op.h
 *	  The op set: for each kind of node its shapes, parameters and arithmetic.
 *
 * A forward or backward pass is a walk over the nodes that fills one NnCall per
 * node.  The caller owns all memory: activations, gradients, what the forward
 * pass leaves for the backward pass (saved), and scratch; ops say how much they
 * need and allocate nothing.
 *
 * Rules of gradients: grad_param is added to (zero it before a step); grad_in[i]
 * is written, or added to where add_grad_in[i] is set, so that the first reader
 * of a node writes and the others add.  Either may be NULL: not wanted.
 */
#ifndef NN_OP_H
#define NN_OP_H

#include "nn/graph.h"
#include "nn/pool.h"

typedef struct NnCall
{
	const NnGraph *graph;
	const NnNode *node;
	int n;							/* images in this batch, >= 1 */
	const uint8_t *images;			/* INPUT: n pictures */
	const float *in[NN_MAX_INPUTS]; /* outputs of node->input[i] */
	float *out;						/* may be an input where nn_may_overwrite(kind) */
	float *param[NN_MAX_PARAMS];	/* in PyTorch's layout; NULL where absent */
	const float *packed;			/* weights as NnOp.pack left them, or NULL */
	NnPool *pool;					/* NULL: this thread alone */
	float *scratch;					/* NnOp.scratch floats, 64-byte aligned */

	/* training */
	uint64_t seed; /* of this step: DROPOUT, REPARAMETERISE (random.h) */
	int first;	   /* place of the first picture in the whole batch */
	bool train;	   /* BATCHNORM takes the batch's statistics and moves the running ones */
	float momentum; /* weight of the new batch in the running statistics */
	float *saved;	/* NnOp.saved floats, forward to backward; NULL in inference */
	const float *grad_out;
	float *grad_in[NN_MAX_INPUTS];
	bool add_grad_in[NN_MAX_INPUTS];
	float *grad_param[NN_MAX_PARAMS];
} NnCall;

/* What a kind's parameter must be: its name's ending ("" for none) and shape. */
typedef struct NnParamSpec
{
	const char *suffix;
	NnShape shape;
	bool optional;
	bool trainable; /* by default; false for running statistics */
	float initial;
} NnParamSpec;

/* shape.c: what a kind's node must look like. */

/* Check attributes and inputs and fill node->shape; the trouble is named in err. */
extern bool nn_infer(const NnGraph *g, NnNode *node, NnError *err);
extern int nn_op_inputs(NnOpKind kind); /* 0 where it varies */
/* Forward may write over an input: each output needs its own row of it only. */
extern bool nn_may_overwrite(NnOpKind kind);
/* Fill spec[0 .. result-1], the kind's parameters; node->shape is known. */
extern int nn_param_specs(const NnGraph *g, const NnNode *node, NnParamSpec *spec);

typedef struct NnOp
{
	void (*forward)(const NnCall *call);

	/* Sizes in floats; NULL: none. */
	size_t (*scratch)(const NnGraph *g, const NnNode *node, int n, int threads);
	size_t (*saved)(const NnGraph *g, const NnNode *node, int n);

	/*
	 * Weights rearranged for the kernels of this CPU, done once for inference;
	 * without them forward rearranges into its scratch at each call.
	 */
	size_t (*pack_size)(const NnGraph *g, const NnNode *node);
	void (*pack)(const NnGraph *g, const NnNode *node, float *packed);
} NnOp;

extern const NnOp nn_op[NN_OP_COUNT]; /* op.c */

/* The backward passes live in *_backward.c and are linked only by training. */
typedef struct NnBackwardOp
{
	void (*backward)(const NnCall *call); /* NULL: has no gradient (INPUT) */
	size_t (*scratch)(const NnGraph *g, const NnNode *node, int n, int threads);
} NnBackwardOp;

extern const NnBackwardOp nn_backward_op[NN_OP_COUNT]; /* op_backward.c */

/* Shape of input i of node. */
static inline const NnShape *
nn_input_shape(const NnGraph *g, const NnNode *node, int i)
{
	return &g->node[node->input[i]].shape;
}

/* Product of all dimensions but the last, and the last: the view [rows][cols]. */
static inline size_t
nn_shape_rows(const NnShape *s)
{
	return nn_shape_size(s) / (size_t) s->dim[s->ndim - 1];
}

static inline int
nn_shape_cols(const NnShape *s)
{
	return s->dim[s->ndim - 1];
}

/*
 * What the forward passes leave in saved:
 *	BATCHNORM	mean[C], 1/sqrt(var + eps)[C] of this batch
 *	LAYERNORM	mean, 1/sqrt(var + eps) for each of the n * rows rows
 *	ATTENTION	probabilities [n][heads][T][T]
 *	WINDOW_ATTENTION	probabilities [n][windows][heads][w*w][w*w]
 * The others leave nothing: in and out suffice.  A fused activation must be
 * IDENTITY when training: use ACTIVATION nodes, fold and fuse at export.
 */

/* conv.c: lowering of a convolution, shared with its backward pass. */
typedef struct NnConv
{
	int height, width, channels;		/* input */
	int out_height, out_width, outputs; /* output */
	int kernel[2], stride[2], pad[2], groups;
	int group_in, group_out; /* channels of one group */
	int taps;				 /* kernel[0] * kernel[1] */
	int depth;				 /* taps * group_in: columns of the matrix */
} NnConv;

extern NnConv nn_conv_geometry(const NnGraph *g, const NnNode *node);

/*
 * Output positions row .. row+rows-1 (of out_height * out_width, in row order) of
 * one picture as a matrix [rows][taps][group_in], zeros where the window leaves
 * the picture.  A convolution is this matrix times the weights laid out
 * [outputs][taps][group_in] (nn_conv_weights), transposed.
 */
extern void nn_im2col(const NnConv *conv, const float *picture, int group, int row,
					  int rows, float *matrix);

/* The transpose of that: adds the matrix back onto the picture. */
extern void nn_col2im_add(const NnConv *conv, const float *matrix, int group, int row,
						  int rows, float *picture);

/* [outputs][group_in][kh][kw] to [outputs][kh][kw][group_in], and back (adding). */
extern void nn_conv_weights(const NnConv *conv, const float *weight, float *lowered);
extern void nn_conv_weights_add_back(const NnConv *conv, const float *lowered,
									 float *weight);

/* One input and one output channel a group: no matrix, but weights [taps][outputs]. */
extern bool nn_conv_is_depthwise(const NnConv *conv);
extern void nn_depthwise_weights(const NnConv *conv, const float *weight, float *lowered);

/* Rows of the matrix that keep it in a core's second-level cache, at least 1. */
extern int nn_conv_tile_rows(const NnConv *conv);

/*
 * Its gradient at x is that at y = act(x), bit for bit: the backward pass reads the
 * output instead of the input, so that nobody need keep both.
 */
static inline bool
nn_activation_by_output(NnActivation act)
{
	return act == NN_RELU;
}

/* kernels.c: y = act(x) and, for the backward pass, dx (+)= dy act'(x). */
extern void nn_activate(NnActivation act, const float *x, float *y, size_t n);
extern void nn_activate_backward(NnActivation act, const float *x, const float *dy,
								 float *dx, size_t n, bool add);

#endif
