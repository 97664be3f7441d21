/*
 * kernels.cuh
 *	  Launchers of the CUDA kernels; everything on the given stream, nothing waits.
 *
 * Arrays are float32 on the device, channels-last, as on the CPU.  n counts
 * pictures.  Launch errors are left for cudaGetLastError.
 */
#ifndef GPU_KERNELS_CUH
#define GPU_KERNELS_CUH

#include <cuda_runtime.h>

#include "nn/nn.h"

/* A sliding window over a picture. */
struct Window
{
	int height, width, channels; /* input */
	int out_height, out_width;	 /* output */
	int kernel[2], stride[2], pad[2];
};

/* y = (x / 255 - mean[c]) / std[c] over count bytes, c = i % 3 */
void gpu_input(cudaStream_t s, const uint8_t *x, float *y, size_t count,
			   const float mean[3], const float std[3]);

/*
 * Positions row .. row+rows-1, counted over all pictures, of one group's input
 * channels first .. first+group-1, as a matrix [rows][taps][group].
 */
void gpu_im2col(cudaStream_t s, const float *x, const Window &w, int first, int group,
				size_t row, size_t rows, float *matrix);

/* weight: [taps][channels]; no bias, no activation */
void gpu_depthwise(cudaStream_t s, const float *x, const Window &w, int n,
				   const float *weight, float *y);

/* y = act(y + bias[i % cols]); bias may be NULL */
void gpu_bias_activate(cudaStream_t s, float *y, size_t count, int cols,
					   const float *bias, NnActivation act);
/* y = act(x) */
void gpu_activate(cudaStream_t s, const float *x, float *y, size_t count,
				  NnActivation act);

void gpu_pool(cudaStream_t s, const float *x, const Window &w, int n, bool average,
			  float *y);
void gpu_global_avgpool(cudaStream_t s, const float *x, int n, int area, int channels,
						float *y);

/* y = x * factor[c] + shift[c] */
void gpu_affine(cudaStream_t s, const float *x, float *y, size_t count, int cols,
				const float *factor, const float *shift);
void gpu_layernorm(cudaStream_t s, const float *x, float *y, size_t rows, int cols,
				   const float *weight, const float *bias, float eps);
/* y = softmax(x * factor) over rows */
void gpu_softmax(cudaStream_t s, const float *x, float *y, size_t rows, int cols,
				 float factor);

void gpu_add(cudaStream_t s, const float *a, const float *b, float *y, size_t count);
/* y = x + p[i % size] */
void gpu_add_repeated(cudaStream_t s, const float *x, const float *p, float *y,
					  size_t count, size_t size);
void gpu_scale(cudaStream_t s, const float *x, float *y, size_t count, float factor);
void gpu_class_token(cudaStream_t s, const float *x, const float *token, float *y, int n,
					 int tokens, int dim);
void gpu_token(cudaStream_t s, const float *x, float *y, int n, int tokens, int dim,
			   int index);

/* Was this compiled for the current device?  cudaSuccess if so. */
cudaError_t gpu_kernels_usable(void);

#endif
