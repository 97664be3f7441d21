/*
 * peak.cu
 *	  What this GPU does at most: products of matrices (cuBLAS), copies in its memory.
 *
 *	peak [SECONDS]
 *
 * Prints one line: TFLOP/s in float32, TF32 and bf16 (the sums in float32), of random
 * matrices of 8192 x 8192, the best of three measurements of SECONDS (0.3) each, and
 * GB/s of a copy of 1 GB within the GPU's memory, read and written bytes counted.
 * Nothing else should use the GPU.
 */
#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>

#define SIDE 8192
#define COPIED ((size_t) 1 << 30)

static void
must(bool ok, const char *what, const char *why)
{
	if (ok)
		return;
	fprintf(stderr, "peak: %s: %s\n", what, why);
	exit(1);
}

static void
cuda(cudaError_t status, const char *what)
{
	must(status == cudaSuccess, what, cudaGetErrorString(status));
}

/* Zeros would be faster than anything real: fewer bits change. */
template <typename T>
__global__ void
fill(T *x, size_t n)
{
	for (size_t i = blockIdx.x * (size_t) blockDim.x + threadIdx.x; i < n;
		 i += (size_t) gridDim.x * blockDim.x)
	{
		unsigned h = (unsigned) i * 2654435761u;

		h = (h ^ h >> 15) * 2246822519u;
		h = (h ^ h >> 13) * 3266489917u;
		x[i] = (T) ((float) (h ^ h >> 16) / 2147483648.0f - 1.0f);
	}
}

struct Work
{
	cublasHandle_t blas;
	cublasComputeType_t compute;
	cudaDataType type;
	const void *a, *b;
	void *c;
};

static void
multiply(const Work *w)
{
	const float one = 1, zero = 0;
	cublasStatus_t status = cublasGemmEx(
		w->blas, CUBLAS_OP_N, CUBLAS_OP_N, SIDE, SIDE, SIDE, &one, w->a, w->type, SIDE,
		w->b, w->type, SIDE, &zero, w->c, w->type, SIDE, w->compute, CUBLAS_GEMM_DEFAULT);

	must(status == CUBLAS_STATUS_SUCCESS, "cublasGemmEx", cublasGetStatusString(status));
}

static void
copy(const Work *w)
{
	cuda(cudaMemcpyAsync(w->c, w->a, COPIED, cudaMemcpyDeviceToDevice), "cudaMemcpy");
}

/* Seconds of one run, the best of three series that take so long each. */
static double
time_of(void (*run)(const Work *w), const Work *w, double seconds)
{
	cudaEvent_t begin, end;
	float ms = 0;
	double best = 1e30;
	int runs = 1;

	cuda(cudaEventCreate(&begin), "cudaEventCreate");
	cuda(cudaEventCreate(&end), "cudaEventCreate");
	for (int series = -2; series < 3;
		 series++) /* to warm up, and to learn how many runs */
	{
		cuda(cudaEventRecord(begin), "cudaEventRecord");
		for (int i = 0; i < runs; i++)
			run(w);
		cuda(cudaEventRecord(end), "cudaEventRecord");
		cuda(cudaEventSynchronize(end), "the run");
		cuda(cudaEventElapsedTime(&ms, begin, end), "cudaEventElapsedTime");
		if (series >= 0 && 1e-3 * ms / runs < best)
			best = 1e-3 * ms / runs;
		if (series == -1)
			runs = (int) (seconds / (1e-3 * ms / runs)) + 1;
	}
	cudaEventDestroy(begin);
	cudaEventDestroy(end);
	return best;
}

template <typename T>
static double
rate(cublasHandle_t blas, cublasComputeType_t compute, cudaDataType type, double seconds)
{
	const size_t n = (size_t) SIDE * SIDE;
	T *m;
	Work w;
	double best;

	cuda(cudaMalloc(&m, 3 * n * sizeof(T)), "memory for three matrices");
	fill<<<1024, 256>>>(m, 3 * n);
	cuda(cudaGetLastError(), "fill");
	w = {blas, compute, type, m, m + n, m + 2 * n};
	best = time_of(multiply, &w, seconds);
	cudaFree(m);
	return 2e-12 * SIDE * SIDE * (double) SIDE / best;
}

static double
bandwidth(double seconds)
{
	char *m;
	Work w = {};
	double best;

	cuda(cudaMalloc(&m, 2 * COPIED), "memory for a copy");
	fill<<<1024, 256>>>((float *) m, COPIED / sizeof(float));
	cuda(cudaGetLastError(), "fill");
	w.a = m;
	w.c = m + COPIED;
	best = time_of(copy, &w, seconds);
	cudaFree(m);
	return 2e-9 * (double) COPIED / best;
}

int
main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 0.3;
	cublasHandle_t blas;
	cublasStatus_t status = cublasCreate(&blas);
	double single, tf32, bf16;

	must(status == CUBLAS_STATUS_SUCCESS, "cublasCreate", cublasGetStatusString(status));
	single = rate<float>(blas, CUBLAS_COMPUTE_32F_PEDANTIC, CUDA_R_32F, seconds);
	tf32 = rate<float>(blas, CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F, seconds);
	bf16 = rate<__nv_bfloat16>(blas, CUBLAS_COMPUTE_32F, CUDA_R_16BF, seconds);
	printf("%.1f %.1f %.1f %.0f\n", single, tf32, bf16, bandwidth(seconds));
	cublasDestroy(blas);
	return 0;
}
