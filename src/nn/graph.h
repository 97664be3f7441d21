/*
 * graph.h
 *	  Building graphs.
 *
 * Each builder function appends one node, infers its shape, adds the parameters
 * that its kind needs, and returns the node's index.  The first mistake is kept
 * in the graph and every later call returns -1, so a network is written down
 * without checks and asked once at the end:
 *
 *		NnGraph *g = nn_graph_new();
 *		int x = nn_input(g, 32, 32, mean, std);
 *		x = nn_conv2d(g, x, "conv1", 64, 3, 3, 1, 1, 1, true, NN_GELU);
 *		x = nn_global_avgpool(g, x);
 *		x = nn_linear(g, x, "hash", 64, false, NN_IDENTITY);
 *		if (!nn_graph_ok(g, err)) { nn_graph_free(g); return NULL; }
 *
 * Parameters are allocated here: zeros, but ones for the weight and the running
 * variance of norms.  Their names are the layer's name plus ".weight" and so on;
 * a class token or position embedding is named as the layer itself.
 */
#ifndef NN_GRAPH_H
#define NN_GRAPH_H

#include "nn/nn.h"

#ifdef __cplusplus
extern "C"
{
#endif

/* Limits of any graph, of our own making or from a file. */
#define NN_MAX_NODES 4096
#define NN_MAX_GRAPH_PARAMS 8192
#define NN_MAX_DIM (1 << 20)
#define NN_MAX_ELEMENTS ((size_t) 1 << 28) /* of one activation or parameter */

	extern NnGraph *nn_graph_new(void); /* NULL only when out of memory */
	extern void nn_graph_free(NnGraph *g);
	extern void nn_graph_clear(NnGraph *g); /* what free does, but for g itself */
	extern bool nn_graph_ok(const NnGraph *g, NnError *err);

	/* Pictures of height x width x 3; (x / 255 - mean) / std. */
	extern int nn_input(NnGraph *g, int height, int width, const float mean[3],
						const float std[3]);
	/* [H][W][C] -> [H'][W'][channels], H' = (H + 2 pad - kh) / stride + 1. */
	extern int nn_conv2d(NnGraph *g, int x, const char *name, int channels, int kh,
						 int kw, int stride, int pad, int groups, bool bias,
						 NnActivation act);
	/* [..][D] -> [..][channels] */
	extern int nn_linear(NnGraph *g, int x, const char *name, int channels, bool bias,
						 NnActivation act);
	extern int nn_batchnorm(NnGraph *g, int x, const char *name, float eps);
	extern int nn_layernorm(NnGraph *g, int x, const char *name, float eps);
	extern int nn_activation(NnGraph *g, int x, NnActivation act);
	extern int nn_maxpool(NnGraph *g, int x, int kernel, int stride, int pad);
	extern int nn_avgpool(NnGraph *g, int x, int kernel, int stride, int pad);
	extern int nn_global_avgpool(NnGraph *g, int x);
	extern int nn_add(NnGraph *g, int a, int b);
	extern int nn_attention(NnGraph *g, int x, int heads);
	extern int nn_softmax(NnGraph *g, int x);
	extern int nn_reshape(NnGraph *g, int x, const NnShape *shape);
	extern int nn_class_token(NnGraph *g, int x, const char *name);
	extern int nn_position(NnGraph *g, int x, const char *name);
	extern int nn_token(NnGraph *g, int x, int index);
	extern int nn_scale(NnGraph *g, int x, float scale);
	extern int nn_dropout(NnGraph *g, int x, float rate); /* rate 0: x itself */
	/* A branch that is skipped for a share of the pictures (stochastic depth). */
	extern int nn_drop_path(NnGraph *g, int x, float rate);
	extern int nn_concat(NnGraph *g, const int *x, int n, int axis);
	extern int nn_slice(NnGraph *g, int x, int axis, int begin, int count);
	extern int nn_permute(NnGraph *g, int x, const int *perm); /* as many as dimensions */
	extern int nn_upsample(NnGraph *g, int x, int factor, bool bilinear);
	extern int nn_reduce(NnGraph *g, int x, int axis, bool mean);
	extern int nn_mul(NnGraph *g, int a, int b);
	extern int nn_layerscale(NnGraph *g, int x, const char *name);
	/* [H][W][C] -> [H'][W'][channels], H' = (H - 1) stride - 2 pad + kernel + out_pad. */
	extern int nn_conv_transpose2d(NnGraph *g, int x, const char *name, int channels,
								   int kernel, int stride, int pad, int out_pad,
								   int groups, bool bias, NnActivation act);
	extern int nn_embedding(NnGraph *g, int x, const char *name, int rows, int channels);
	extern int nn_simam(NnGraph *g, int x, float lambda);
	extern int nn_reparameterise(NnGraph *g, int mean, int logvar);
	/* [H][W][3C] -> [H][W][C]; window divides H and W, shift < window */
	extern int nn_window_attention(NnGraph *g, int x, const char *name, int heads,
								   int window, int shift);

	/* Name the nodes that are wanted, 1 to NN_MAX_OUTPUTS different ones. */
	extern void nn_graph_set_outputs(NnGraph *g, const int *nodes, int n);
	extern int nn_graph_outputs(const NnGraph *g); /* how many: at least 1 */
	/* The index of output k, 0 the one that codes are made of. */
	extern int nn_graph_output_node(const NnGraph *g, int k);

	/*
	 * Append a node described by node's kind, name, inputs and attributes.
	 * with_param says which optional parameters it has (bit i for param[i]); those
	 * that the kind always has need no bit.  The functions above and the model
	 * reader are thin covers of this one.
	 */
	extern int nn_graph_add(NnGraph *g, const NnNode *node, unsigned with_param);

	extern int nn_graph_find_param(const NnGraph *g, const char *name); /* -1: none */
	extern size_t nn_graph_weights(const NnGraph *g); /* number of parameter values */
	extern const NnNode *nn_graph_output(const NnGraph *g); /* node of output 0 */

	extern NnGraph *nn_graph_copy(const NnGraph *g); /* with parameters of its own */

	/*
	 * The same network for inference.  A BATCHNORM goes into the CONV2D or LINEAR
	 * before it, also back through pooling where that changes nothing (fold.c), when
	 * nobody else reads what lies between; others stay.  An ACTIVATION that follows
	 * such a layer is fused into it.  What output 0 does not need, and what only training
	 * does (DROPOUT, REPARAMETERISE), is left out, so that output 0 is the last node.
	 * NULL and err on failure.
	 */
	extern NnGraph *nn_graph_fold_batchnorm(const NnGraph *g, NnError *err);

	/* The node's own name, or that of the layer nearest before it, or "input". */
	extern const char *nn_layer_name(const NnGraph *g, const NnNode *node);
	extern const char *nn_op_name(NnOpKind kind);			 /* "conv2d" */
	extern const char *nn_activation_name(NnActivation act); /* "gelu" */

	/* "32x32x3" into text; returns text. */
	extern char *nn_shape_text(const NnShape *shape, char *text, size_t size);
	extern bool nn_shape_equal(const NnShape *a, const NnShape *b);

#ifdef __cplusplus
}
#endif

#endif
