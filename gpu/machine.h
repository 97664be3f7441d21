/*
 * machine.h
 *	  Loops and sums on the GPU, or, for tests, on the host.
 *
 * The operations (op_*.h) are written once against this file and product.h.  Compiled by
 * nvcc, each() and each_row() are kernels; compiled by a C++ compiler they are plain
 * loops, so that a unit test runs the same arithmetic on a machine without a GPU.
 *
 * Matrices are in row order.  Everything is queued on one stream; nothing here waits.
 * Sums run in a fixed order: no operation uses atomics.
 */
#ifndef GPU_MACHINE_H
#define GPU_MACHINE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#include <cublas_v2.h>
#include <cuda_runtime.h>
#define ON_GPU __device__
#define ON_BOTH __host__ __device__
#define GPU_LANES 32
#else
#define ON_GPU
#define ON_BOTH
#define GPU_LANES 1
#endif

/* bfloat16, rounded to nearest even; the layout is CUDA's. */
struct Bf16
{
	uint16_t bits;

	Bf16() = default;
	ON_BOTH
	Bf16(float value)
	{
		uint32_t v;

		memcpy(&v, &value, sizeof(v));
		if ((v & 0x7fffffffu) > 0x7f800000u)
			bits = (uint16_t) (v >> 16 | 64); /* stays NaN */
		else
			bits = (uint16_t) ((v + 0x7fffu + (v >> 16 & 1)) >> 16);
	}
	ON_BOTH operator float() const
	{
		uint32_t v = (uint32_t) bits << 16;
		float value;

		memcpy(&value, &v, sizeof(v));
		return value;
	}
};

/* What to do without, by choice or because it is not there. */
#define WITHOUT_LT 1u	  /* products with something fused to them, by cuBLASLt */
#define WITHOUT_CUDNN 2u  /* convolutions by cuDNN */
#define WITHOUT_GRAPHS 4u /* steps recorded once and replayed */

/*
 * Memory for what libraries want on the way, decided before anything is loaded: the
 * workspace of products, and the scratch memory of one convolution, be it cuDNN's
 * workspace or a matrix of windows.
 */
struct Rooms
{
	size_t product, conv;
	bool reserved; /* a convolution gets it whoever computes it: memory can be told before
					*/
};

struct Lt;	/* product_lt.h */
struct Dnn; /* dnn.h */

struct Machine
{
	bool dry;	   /* only choose plans and count scratch memory */
	char *scratch; /* of the operation that runs */
	size_t used;   /* of it */
	size_t most;   /* ever: after the dry run, what there is */
	bool tf32;
	bool fp16;			/* values of two bytes are Fp16, not Bf16 */
	bool deterministic; /* only algorithms that give the same bits each time */
	unsigned without;
	Dnn *dnn; /* NULL: without */
	Rooms room;
#ifdef __CUDACC__
	cudaStream_t stream;
	cublasHandle_t blas;
	cublasStatus_t status; /* the first failure of a product */
	Lt *lt;				   /* NULL: without */
	void *workspace;	   /* of products, room.product bytes */
#endif
};

/* Where scratch memory would begin in a dry run: never touched, only counted from. */
#define NOWHERE ((char *) 4096)

/* Scratch memory, until the operation ends. */
template <class T>
static T *
take(Machine *m, size_t count)
{
	size_t at = m->used;

	m->used += (count * sizeof(T) + 255) & ~(size_t) 255;
	m->most = m->used > m->most ? m->used : m->most;
	return (T *) ((m->dry ? NOWHERE : m->scratch) + at);
}

#ifdef __CUDACC__

/* What the lanes of one row share. */
struct Lanes
{
	int at;

	__device__ float
	sum(float v) const
	{
		for (int d = 16; d > 0; d /= 2)
			v += __shfl_xor_sync(0xffffffffu, v, d);
		return v;
	}
	__device__ float
	most(float v) const
	{
		for (int d = 16; d > 0; d /= 2)
			v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, d));
		return v;
	}
};

#define GPU_THREADS 256

template <class F>
__global__ static void
each_kernel(size_t n, F f)
{
	for (size_t i = (size_t) blockIdx.x * blockDim.x + threadIdx.x; i < n;
		 i += (size_t) gridDim.x * blockDim.x)
		f(i);
}

/* All 32 lanes of a warp take the same rows. */
template <class F>
__global__ static void
each_row_kernel(size_t n, F f)
{
	Lanes lanes = {(int) (threadIdx.x % GPU_LANES)};

	for (size_t r = ((size_t) blockIdx.x * blockDim.x + threadIdx.x) / GPU_LANES; r < n;
		 r += (size_t) gridDim.x * blockDim.x / GPU_LANES)
		f(r, lanes);
}

static inline unsigned
blocks_of(size_t threads)
{
	size_t blocks = (threads + GPU_THREADS - 1) / GPU_THREADS;

	return (unsigned) (blocks > 65535 ? 65535 : blocks);
}

template <class F>
static void
each(Machine *m, size_t n, F f)
{
	if (!m->dry && n > 0)
		each_kernel<<<blocks_of(n), GPU_THREADS, 0, m->stream>>>(n, f);
}

template <class F>
static void
each_row(Machine *m, size_t n, F f)
{
	if (!m->dry && n > 0)
		each_row_kernel<<<blocks_of(n * GPU_LANES), GPU_THREADS, 0, m->stream>>>(n, f);
}

#else

struct Lanes
{
	int at;

	float
	sum(float v) const
	{
		return v;
	}
	float
	most(float v) const
	{
		return v;
	}
};

template <class F>
static void
each(Machine *m, size_t n, F f)
{
	for (size_t i = 0; !m->dry && i < n; i++)
		f(i);
}

template <class F>
static void
each_row(Machine *m, size_t n, F f)
{
	Lanes lanes = {0};

	for (size_t i = 0; !m->dry && i < n; i++)
		f(i, lanes);
}

#endif

/* Written, or added to. */
template <class T>
static inline ON_BOTH void
give(T *to, float value, bool add)
{
	*to = add ? (float) *to + value : value;
}

/* ------------------------------------------------------------ sums of columns */

template <class V> struct ColumnPart
{
	size_t rows, per;
	int cols;
	V value;
	float *part;

	ON_GPU void
	operator()(size_t i) const
	{
		int c = (int) (i % (size_t) cols);
		size_t begin = i / (size_t) cols * per;
		size_t end = begin + per < rows ? begin + per : rows;
		float sum = 0;

		for (size_t r = begin; r < end; r++)
			sum += value(r, c);
		part[i] = sum;
	}
};

template <class D> struct ColumnEnd
{
	size_t chunks;
	int cols;
	const float *part;
	D done;

	ON_GPU void
	operator()(size_t c) const
	{
		double sum = 0;

		for (size_t k = 0; k < chunks; k++)
			sum += part[k * (size_t) cols + c];
		done((int) c, sum);
	}
};

/* done(column, sum over rows of value(row, column)), in two stages. */
template <class V, class D>
static void
column_sums(Machine *m, size_t rows, int cols, V value, D done)
{
	size_t most = (size_t) 65536 / (size_t) cols, per, chunks;
	size_t keep = m->used;
	float *part;

	most = most < 1 ? 1 : most;
	chunks = rows < most ? rows : most;
	part = take<float>(m, chunks * (size_t) cols);
	per = (rows + chunks - 1) / chunks;
	chunks = (rows + per - 1) / per;
	each(m, chunks * (size_t) cols, ColumnPart<V>{rows, per, cols, value, part});
	each(m, (size_t) cols, ColumnEnd<D>{chunks, cols, part, done});
	m->used = keep; /* what follows on the stream waits for these */
}

#endif
