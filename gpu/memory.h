/*
 * memory.h
 *	  Memory of the GPU, copies and the end of a batch; on the host, for tests, malloc.
 */
#ifndef GPU_MEMORY_H
#define GPU_MEMORY_H

#include <stdlib.h>

#include "gpu/dnn_conv.h"
#include "nn/nn.h"

#ifdef __CUDACC__

static inline bool
cuda_ok(cudaError_t code, NnError *err, const char *doing)
{
	if (code == cudaSuccess)
		return true;
	cudaGetLastError(); /* or the next call reports it again */
	return nn_fail(err, "CUDA: %s: %s", doing, cudaGetErrorString(code));
}

/* advice: what to lower */
static inline bool
gpu_allocate(void **memory, size_t bytes, const char *what, const char *advice,
			 NnError *err)
{
	size_t free_bytes = 0, total = 0;
	cudaError_t code;

	*memory = NULL;
	if (bytes == 0)
		return true;
	code = cudaMalloc(memory, bytes);
	if (code != cudaErrorMemoryAllocation)
		return cuda_ok(code, err, "allocating memory");
	cudaGetLastError();
	*memory = NULL;
	cudaMemGetInfo(&free_bytes, &total);
	return nn_fail(err,
				   "CUDA: out of memory: %.1f MB wanted for %s, %.1f MB of %.1f MB free; "
				   "%s",
				   (double) bytes / 1e6, what, (double) free_bytes / 1e6,
				   (double) total / 1e6, advice);
}

static inline void
gpu_free(void *memory)
{
	if (memory)
		cudaFree(memory);
}

/* Memory of the host that copies run from and to by themselves. */
static inline bool
gpu_allocate_host(void **memory, size_t bytes, NnError *err)
{
	*memory = NULL;
	return cuda_ok(cudaMallocHost(memory, bytes), err, "allocating memory of the host");
}

static inline void
gpu_free_host(void *memory)
{
	if (memory)
		cudaFreeHost(memory);
}

static inline bool
gpu_up(Machine *m, void *to, const void *from, size_t bytes, NnError *err)
{
	return cuda_ok(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, m->stream),
				   err, "copying to the GPU");
}

static inline bool
gpu_down(Machine *m, void *to, const void *from, size_t bytes, NnError *err)
{
	return cuda_ok(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, m->stream),
				   err, "copying from the GPU");
}

static inline bool
gpu_wait(Machine *m, NnError *err)
{
	return cuda_ok(cudaStreamSynchronize(m->stream), err, "running the network");
}

/* Did what was queued last go in?  NULL, or why not, which is then forgotten. */
static inline const char *
gpu_trouble(Machine *m)
{
	cudaError_t code = cudaGetLastError();
	cublasStatus_t status = m->status;

	m->status = CUBLAS_STATUS_SUCCESS;
	if (status != CUBLAS_STATUS_SUCCESS)
		return cublasGetStatusString(status);
	return code == cudaSuccess ? NULL : cudaGetErrorString(code);
}

/* Libraries and their workspace; what may be done without is, where it does not start. */
static inline bool
gpu_start_libraries(Machine *m, NnError *err)
{
	char ignored[128];

	if (cublasCreate(&m->blas) != CUBLAS_STATUS_SUCCESS)
	{
		m->blas = NULL;
		return nn_fail(err, "CUDA: cuBLAS could not start (too little memory, or a "
							"driver that does not fit)");
	}
	/* its own, because a step that is recorded must find it where it was */
	if (!gpu_allocate(&m->workspace, m->room.product, "the workspace of products",
					  "end other programs that use the GPU", err))
		return false;
	/* in this order: setting the stream takes the workspace away */
	if (cublasSetStream(m->blas, m->stream) != CUBLAS_STATUS_SUCCESS ||
		cublasSetWorkspace(m->blas, m->workspace, m->room.product) !=
			CUBLAS_STATUS_SUCCESS)
		return nn_fail(err, "CUDA: cuBLAS does not take its stream");
	if (!(m->without & WITHOUT_LT))
		m->lt = lt_start();
	if (!(m->without & WITHOUT_CUDNN))
		m->dnn = dnn_start(m->stream, ignored, sizeof(ignored));
	cudaGetLastError();
	return true;
}

static inline bool
gpu_start(Machine *m, bool tf32, Rooms room, NnError *err)
{
	memset(m, 0, sizeof(*m));
	m->room = room;
	m->tf32 = tf32;
	m->deterministic = true;
	m->without = parts_to_do_without(getenv("DEEPHASH_GPU_WITHOUT"));
	return cuda_ok(cudaSetDevice(0), err, "choosing the device") &&
		   cuda_ok(cudaStreamCreateWithFlags(&m->stream, cudaStreamNonBlocking), err,
				   "making a stream") &&
		   gpu_start_libraries(m, err);
}

static inline void
gpu_stop(Machine *m)
{
	if (m->stream)
		cudaStreamSynchronize(m->stream);
	dnn_stop(m->dnn);
	lt_stop(m->lt);
	if (m->blas)
		cublasDestroy(m->blas);
	gpu_free(m->workspace);
	if (m->stream)
		cudaStreamDestroy(m->stream);
	cudaGetLastError();
}

#else

static inline bool
gpu_allocate(void **memory, size_t bytes, const char *what, const char *advice,
			 NnError *err)
{
	(void) what;
	(void) advice;
	*memory = bytes ? aligned_alloc(256, (bytes + 255) & ~(size_t) 255) : NULL;
	return bytes == 0 || *memory ? true : nn_fail(err, "out of memory");
}

static inline void
gpu_free(void *memory)
{
	free(memory);
}

static inline bool
gpu_allocate_host(void **memory, size_t bytes, NnError *err)
{
	return gpu_allocate(memory, bytes, "", "", err);
}

static inline void
gpu_free_host(void *memory)
{
	free(memory);
}

static inline bool
gpu_up(Machine *m, void *to, const void *from, size_t bytes, NnError *err)
{
	(void) m;
	(void) err;
	memcpy(to, from, bytes);
	return true;
}

static inline bool
gpu_down(Machine *m, void *to, const void *from, size_t bytes, NnError *err)
{
	return gpu_up(m, to, from, bytes, err);
}

static inline bool
gpu_wait(Machine *m, NnError *err)
{
	(void) m;
	(void) err;
	return true;
}

static inline const char *
gpu_trouble(Machine *m)
{
	(void) m;
	return NULL;
}

/* In place of cuDNN loops that stand for it. */
static inline bool
gpu_start(Machine *m, bool tf32, Rooms room, NnError *err)
{
	static Dnn stand_in;

	(void) err;
	memset(m, 0, sizeof(*m));
	m->room = room;
	m->tf32 = tf32;
	m->deterministic = true;
	m->without = parts_to_do_without(getenv("DEEPHASH_GPU_WITHOUT"));
	m->dnn = m->without & WITHOUT_CUDNN ? NULL : &stand_in;
	return true;
}

static inline void
gpu_stop(Machine *m)
{
	(void) m;
}

#endif

#endif
