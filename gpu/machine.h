/*
 * machine.h
 *	  Loops and products of matrices on the GPU, or, for tests, on the host.
 *
 * The operations (op_*.h) are written once against this file.  Compiled by nvcc, each()
 * and each_row() are kernels and gemm() is cuBLAS; compiled by a C++ compiler they are
 * plain loops, so that a unit test runs the same arithmetic on a machine without a GPU.
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

struct Machine
{
	bool dry;	   /* only count scratch memory */
	char *scratch; /* of the operation that runs */
	size_t used;   /* of it */
	size_t most;   /* ever */
	bool tf32;
#ifdef __CUDACC__
	cudaStream_t stream;
	cublasHandle_t blas;
	cublasStatus_t status; /* the first failure of a product */
#endif
};

/* Scratch memory, until the operation ends. */
template <class T>
static T *
take(Machine *m, size_t count)
{
	size_t at = m->used;

	m->used += (count * sizeof(T) + 255) & ~(size_t) 255;
	m->most = m->used > m->most ? m->used : m->most;
	return m->dry ? NULL : (T *) (m->scratch + at);
}

/* A matrix, or `step` elements apart, many. */
template <class T> struct Matrix
{
	T *data;
	int row;	 /* elements between rows */
	bool across; /* stands for the transpose of what is stored */
	long long step;
};

template <class T>
static Matrix<T>
matrix(T *data, int row, bool across = false, long long step = 0)
{
	Matrix<T> m = {data, row, across, step};

	return m;
}

#ifdef __CUDACC__

static inline cudaDataType_t
type_of(const float *)
{
	return CUDA_R_32F;
}

static inline cudaDataType_t
type_of(const Bf16 *)
{
	return CUDA_R_16BF;
}

/*
 * c[rows][cols] = alpha a[rows][depth] b[depth][cols] + beta c.  cuBLAS counts columns
 * first and so is told the transpose, c^T = b^T a^T.
 */
template <class T, class U>
static void
gemm(Machine *m, size_t rows, int cols, size_t depth, float alpha, Matrix<const T> a,
	 Matrix<const T> b, float beta, Matrix<U> c, int batch = 1)
{
	cublasComputeType_t kind = sizeof(T) == 2 ? CUBLAS_COMPUTE_32F
							   : m->tf32	  ? CUBLAS_COMPUTE_32F_FAST_TF32
											  : CUBLAS_COMPUTE_32F_PEDANTIC;
	cublasStatus_t status;

	if (m->dry || m->status != CUBLAS_STATUS_SUCCESS)
		return;
	status = cublasGemmStridedBatchedEx(
		m->blas, b.across ? CUBLAS_OP_T : CUBLAS_OP_N,
		a.across ? CUBLAS_OP_T : CUBLAS_OP_N, cols, (int) rows, (int) depth, &alpha,
		b.data, type_of(b.data), b.row, b.step, a.data, type_of(a.data), a.row, a.step,
		&beta, c.data, type_of(c.data), c.row, c.step, batch, kind, CUBLAS_GEMM_DEFAULT);
	if (status != CUBLAS_STATUS_SUCCESS)
		m->status = status;
}

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

template <class T, class U>
static void
gemm(Machine *m, size_t rows, int cols, size_t depth, float alpha, Matrix<const T> a,
	 Matrix<const T> b, float beta, Matrix<U> c, int batch = 1)
{
	for (int k = 0; !m->dry && k < batch; k++)
		for (size_t r = 0; r < rows; r++)
			for (size_t o = 0; o < (size_t) cols; o++)
			{
				U *to = c.data + k * c.step + r * c.row + o;
				float sum = 0;

				for (size_t d = 0; d < depth; d++)
					sum += (float) a.data[k * a.step +
										  (a.across ? d * a.row + r : r * a.row + d)] *
						   (float) b.data[k * b.step +
										  (b.across ? o * b.row + d : d * b.row + o)];
				*to = alpha * sum + (beta != 0 ? beta * (float) *to : 0.0f);
			}
}

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
