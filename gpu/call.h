/*
 * call.h
 *	  One operation on one batch on the GPU; rules of gradients as in nn/op.h.
 *
 * T is the type of activations and of their gradients; parameters, their gradients and
 * statistics are float32.
 */
#ifndef GPU_CALL_H
#define GPU_CALL_H

#include "gpu/machine.h"
#include "nn/graph.h"

/*
 * What changes from step to step.  It lies in the memory of the GPU, so that a step
 * recorded once is right for the next.
 */
struct Step
{
	uint64_t seed;
	int first;
	float momentum;
};

template <class T> struct Call
{
	Machine *m;
	const NnGraph *graph;
	const NnNode *node;
	int n;
	const uint8_t *images;
	const T *in[NN_MAX_INPUTS];
	T *out;
	float *param[NN_MAX_PARAMS];
	const T *packed;	  /* weights ready for products, or NULL */
	const T *packed_bias; /* likewise; may be NULL where packed is not */
	NnActivation joined;  /* the activation that follows is done with the operation */

	bool train;
	bool again;		  /* recomputed: the batch's statistics are in saved */
	const Step *step; /* train: on the device */
	void *saved;	  /* saved_bytes() */
	const T *grad_out;
	T *grad_in[NN_MAX_INPUTS];
	bool add[NN_MAX_INPUTS];
	float *grad_param[NN_MAX_PARAMS]; /* added to */
};

template <class T>
static const NnShape *
shape_in(const Call<T> *c, int k)
{
	return &c->graph->node[c->node->input[k]].shape;
}

static inline int
cols_of(const NnShape *shape)
{
	return shape->dim[shape->ndim - 1];
}

/* Elements of the output, all pictures. */
template <class T>
static size_t
count_of(const Call<T> *c)
{
	return (size_t) c->n * nn_shape_size(&c->node->shape);
}

template <class T> void op_forward(const Call<T> *c);
template <class T> void op_backward(const Call<T> *c);
/* Bytes from forward to backward, for n pictures. */
template <class T> size_t saved_bytes(const NnGraph *g, const NnNode *node, int n);

/* Where element i of a channels-last map of pictures is. */
typedef struct Pixel
{
	size_t at; /* the pixel's number, over all pictures */
	size_t picture;
	int y, x, c;
} Pixel;

static inline ON_BOTH Pixel
pixel_of(size_t i, int height, int width, int channels)
{
	Pixel p;

	p.at = i / (size_t) channels;
	p.picture = p.at / (size_t) width / (size_t) height;
	p.y = (int) (p.at / (size_t) width % (size_t) height);
	p.x = (int) (p.at % (size_t) width);
	p.c = (int) (i % (size_t) channels);
	return p;
}

/* Which of `count` windows along an axis has its tap at `at`; -1: none. */
static inline ON_BOTH int
window_with(int at, int tap, int pad, int stride, int count)
{
	int from = at + pad - tap;

	return from < 0 || from % stride || from / stride >= count ? -1 : from / stride;
}

#endif
