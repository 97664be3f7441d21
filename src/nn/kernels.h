/*
 * kernels.h
 *	  Inner loops, compiled once per vector width and chosen at run time.
 *
 * kernels_body.h holds the code, in the compiler's vector extension; the files
 * kernels_portable.c, kernels_avx2.c and kernels_avx512.c compile it for four,
 * eight and sixteen floats.  Nothing is built for the building machine alone.
 * All matrices are row-major and contiguous; cols is the number of channels.
 */
#ifndef NN_KERNELS_H
#define NN_KERNELS_H

#include "nn/nn.h"

typedef struct NnKernels
{
	const char *name;
	bool (*available)(void); /* does this CPU have the instructions? */

	/* y = act(x); y may be x */
	void (*activate)(NnActivation act, const float *x, float *y, size_t n);
	/* dx = dy act'(x), or dx += where add; dx may be dy */
	void (*activate_backward)(NnActivation act, const float *x, const float *dy,
							  float *dx, size_t n, bool add);
	/* y = act(y + bias), bias NULL: none */
	void (*bias_activate)(float *y, size_t rows, int cols, const float *bias,
						  NnActivation act);
	void (*add)(const float *a, const float *b, float *y, size_t n);
	/* y = a * b; y may be a or b */
	void (*multiply)(const float *a, const float *b, float *y, size_t n);
	void (*scale)(const float *x, float *y, size_t n, float factor);
	/* y = x * factor[c] + shift[c] */
	void (*affine)(const float *x, float *y, size_t rows, int cols, const float *factor,
				   const float *shift);
	/* sum[c] += sum of x - pivot[c]; square[c] += sum of (x - pivot[c])^2 */
	void (*moments)(const float *x, size_t rows, int cols, const float *pivot,
					double *sum, double *square);
	/* y = (x - mean) rstd * weight + bias over each row; mean, rstd: NULL or kept */
	void (*layernorm)(const float *x, float *y, size_t rows, int cols,
					  const float *weight, const float *bias, float eps, float *mean,
					  float *rstd);
	/*
	 * Its gradients from mean and rstd: dx (NULL: not wanted) is written, or added to
	 * where add; dweight and dbias (NULL: not wanted) are added to.
	 */
	void (*layernorm_backward)(const float *x, const float *dy, float *dx, size_t rows,
							   int cols, const float *weight, const float *mean,
							   const float *rstd, float *dweight, float *dbias, bool add);
	/* y = softmax(x * factor) over each row; y may be x */
	void (*softmax)(const float *x, float *y, size_t rows, int cols, float factor);
	/* from y = softmax(x * factor): dx = or += factor y (dy - sum(dy y)); dx may be dy */
	void (*softmax_backward)(const float *y, const float *dy, float *dx, size_t rows,
							 int cols, float factor, bool add);
	/*
	 * SimAM (op_gate.c) over the places of one picture: with d = x - mean[c],
	 * y = x gate(d), gate = sigmoid(d^2 share[c] + 1/2).
	 */
	void (*simam)(const float *x, float *y, size_t places, int cols, const float *mean,
				  const float *share);
	/* with e = dy x gate': square[c] += sum of e d^2, linear[c] += sum of e d */
	void (*simam_sums)(const float *x, const float *dy, size_t places, int cols,
					   const float *mean, const float *share, double *square,
					   double *linear);
	/* dx = or += dy gate + 2 share e d - slope[c] d - shift[c] */
	void (*simam_backward)(const float *x, const float *dy, float *dx, size_t places,
						   int cols, const float *mean, const float *share,
						   const float *slope, const float *shift, bool add);
	/* y = max(y, x) */
	void (*maximum)(const float *x, float *y, int n);
	/* y += x * w: one tap of a depthwise convolution or an average */
	void (*multiply_add)(const float *x, const float *w, float *y, size_t n);
	/* y[rows][outputs] = x[rows][n] w[outputs][n]^T; each value the same sum always */
	void (*dot_products)(const float *x, const float *w, float *y, int rows, int n,
						 int outputs);
} NnKernels;

extern const NnKernels nn_kernels_portable;
#if defined(__x86_64__)
extern const NnKernels nn_kernels_avx2;
extern const NnKernels nn_kernels_avx512;
#endif

extern const NnKernels *nn_kernels(void); /* the best that this CPU has */
extern const NnKernels *
nn_kernels_at(int i); /* all that are compiled in; NULL past the end */

#endif
