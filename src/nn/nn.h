/*
 * nn.h
 *	  Networks as graphs of operations: built once, run on any device.
 *
 * A graph is a list of nodes in topological order.  Each node is one operation
 * of the op set (op.h / README.md); its shape excludes the batch.  Activations
 * are channels-last and contiguous: images [N][H][W][C], token sequences
 * [N][T][D], vectors [N][D].  Parameters keep the names and layouts that
 * PyTorch checkpoints use (convolution [out][in/groups][kh][kw], linear
 * [out][in]), so that weights move in and out without surprises; a device
 * repacks them as it likes.
 *
 * The same graph serves training (every activation kept, the tape is the node
 * list walked backwards) and inference (activations share one arena planned by
 * liveness, so that a forward pass allocates nothing).
 *
 * Plain C: no PostgreSQL, no exit(), no output.  Functions that can fail return
 * false (or NULL) and fill an NnError.
 */
#ifndef NN_H
#define NN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C"
{
#endif

#define NN_MAX_DIMS 6
#define NN_MAX_INPUTS 4
#define NN_MAX_OUTPUTS 4
#define NN_MAX_PARAMS 4
#define NN_MAX_NAME 128

	typedef struct NnError
	{
		char text[512]; /* names the layer, the shapes or the offset that is wrong */
	} NnError;

	/* Fills err like printf and returns false, so that `return nn_fail(...)` reads well.
	 */
	extern bool nn_fail(NnError *err, const char *format, ...)
		__attribute__((format(printf, 2, 3)));

	typedef struct NnShape
	{
		int ndim;			  /* 1 .. NN_MAX_DIMS, without the batch */
		int dim[NN_MAX_DIMS]; /* each >= 1 */
	} NnShape;

	extern size_t nn_shape_size(const NnShape *shape); /* number of elements */

	/* What activations and the factors of products are kept in; sums are float32. */
	typedef enum NnPrecision
	{
		NN_FLOAT32,
		NN_TF32, /* float32, but products of factors rounded to 10 bits of fraction */
		NN_BF16, /* bfloat16: 7 bits of fraction, the range of float32 */
		NN_FP16	 /* 10 bits of fraction, nothing beyond 65504 */
	} NnPrecision;

	typedef enum NnOpKind
	{
		NN_INPUT,	  /* uint8 RGB image, normalised by mean and std */
		NN_CONV2D,	  /* params: weight, bias (optional) */
		NN_LINEAR,	  /* over the last dimension; params: weight, bias (optional) */
		NN_BATCHNORM, /* over the last dimension; weight, bias, running_mean, running_var
					   */
		NN_LAYERNORM, /* over the last dimension; weight, bias */
		NN_ACTIVATION,
		NN_MAXPOOL,
		NN_AVGPOOL,
		NN_GLOBAL_AVGPOOL, /* [H][W][C] -> [C] */
		NN_ADD,			   /* two inputs of one shape */
		NN_ATTENTION,	   /* [T][3D] fused q,k,v -> [T][D], `heads` heads */
		NN_SOFTMAX,		   /* over the last dimension */
		NN_RESHAPE,		   /* same number of elements */
		NN_CLASS_TOKEN,	   /* [T][D] -> [T+1][D]: the parameter goes first */
		NN_POSITION,	   /* adds a parameter of the node's own shape */
		NN_TOKEN,		   /* [T][D] -> [D]: token `index` */
		NN_SCALE,		   /* multiplies by `scale` */
		NN_DROPOUT, /* zeros a share `rate`, or `whole` pictures; the rest / (1 - rate) */
		NN_CONCAT,	/* 2 to 4 inputs one after another along `axis` */
		NN_SLICE,	/* `channels` places of `axis` from `index` on */
		NN_PERMUTE, /* dimension i of the output is dimension perm[i] of the input */
		NN_UPSAMPLE,   /* [H][W][C], `factor` times larger; nearest or `bilinear` */
		NN_REDUCE,	   /* the sum over `axis`, or the `mean` */
		NN_MUL,		   /* two inputs of one shape */
		NN_LAYERSCALE, /* over the last dimension: times a parameter; param gamma */
		NN_SIMAM,	   /* [H][W][C]: attention without parameters; `eps` is its lambda */
		NN_REPARAMETERISE,	 /* mean, log variance: a sample; in inference the mean */
		NN_WINDOW_ATTENTION, /* [H][W][3C] -> [H][W][C], `heads` heads in windows;
							  * param relative_position_bias_table */
		NN_CONV_TRANSPOSE2D, /* params: weight [in][out/groups][kh][kw], bias (optional)
							  */
		NN_EMBEDDING,		 /* [k] of row numbers -> [k][D]; param: weight [rows][D] */
		NN_OP_COUNT
	} NnOpKind;

	typedef enum NnActivation
	{
		NN_IDENTITY,
		NN_RELU,
		NN_RELU6,
		NN_LEAKY_RELU, /* slope 0.01 */
		NN_GELU,	   /* exact, erf */
		NN_SILU,
		NN_TANH,
		NN_SIGMOID,
		NN_ACTIVATION_COUNT
	} NnActivation;

	typedef struct NnParam
	{
		char name[NN_MAX_NAME]; /* as in the model file, e.g. "block1.conv1.weight" */
		NnShape shape;
		float *data;	/* owned by the graph, or pointing into a mapped file */
		bool trainable; /* false: fixed weights, running statistics */
	} NnParam;

	typedef struct NnNode
	{
		NnOpKind kind;
		char name[NN_MAX_NAME]; /* the layer's name; "" where it has no parameters */
		int ninputs;
		int input[NN_MAX_INPUTS]; /* indexes of earlier nodes */
		NnShape shape;			  /* of the output, filled by shape inference */
		int nparams;
		int param[NN_MAX_PARAMS]; /* indexes of parameters, -1 where absent */
		/* attributes; those a kind does not use are zero */
		int kernel[2], stride[2], pad[2], groups; /* height, width */
		int out_pad[2];			 /* CONV_TRANSPOSE2D: rows, columns more at the end */
		int channels;			 /* outputs of layers, EMBEDDING; SLICE */
		int rows;				 /* EMBEDDING */
		NnActivation activation; /* ACTIVATION; fused after CONV2D and LINEAR */
		int heads;				 /* ATTENTION */
		int index;				 /* TOKEN; SLICE: where it begins */
		float eps;				 /* BATCHNORM, LAYERNORM; SIMAM: lambda */
		float scale;			 /* SCALE */
		float rate;				 /* DROPOUT */
		int axis;				 /* CONCAT, SLICE, REDUCE */
		int perm[NN_MAX_DIMS];	 /* PERMUTE */
		int factor;				 /* UPSAMPLE */
		bool bilinear, mean_of;	 /* UPSAMPLE; REDUCE: mean rather than sum */
		bool whole;				 /* DROPOUT: all values of a picture alike */
		int window, shift;		 /* WINDOW_ATTENTION: side, and how far windows move */
		float mean[3], std[3];	 /* INPUT */
	} NnNode;

	typedef struct NnGraph
	{
		int nnodes;
		NnNode *node;
		int nparams;
		NnParam *param;
		/* nodes that are wanted; none named: the last one (nn_graph_output_node) */
		int noutputs, output[NN_MAX_OUTPUTS];
		/* bookkeeping of the builder (graph.h) */
		int node_room, param_room;
		bool borrows_data; /* parameters belong to somebody else, e.g. a mapped file */
		bool failed;	   /* an earlier step failed; error says which */
		NnError error;
	} NnGraph;

#ifdef __cplusplus
}
#endif

#endif
