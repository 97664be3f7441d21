/*
 * product.h
 *	  Products of matrices: by cuBLASLt with what follows them fused, by cuBLAS where that
 *	  refuses, by plain loops on the host.
 *
 * Matrices are in row order.
 */
#ifndef GPU_PRODUCT_H
#define GPU_PRODUCT_H

#include "gpu/choice.h"
#include "gpu/op_activation.h"

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

/* c[rows][cols] = epilogue(alpha a[rows][depth] b[depth][cols] + beta c) */
template <class T, class U> struct Product
{
	size_t rows, depth;
	int cols, batch;
	float alpha, beta;
	Matrix<const T> a, b;
	Matrix<U> c;
	Epilogue epilogue;
	/* EPILOGUE_BIAS..: cols values that are read; EPILOGUE_SUM: rows that are written */
	U *bias;
};

/*
 * May its bias be fused?  cuBLASLt is told how the matrices are aligned, but not the
 * bias, which some kernels read 16 bytes at a time.
 */
template <class T, class U>
static bool
fusible(const Product<T, U> &p)
{
	return !p.bias || alignment_of(p.bias) >= 16;
}

#ifdef __CUDACC__

#include "gpu/product_lt.h"

/* cuBLAS counts columns first and so is told the transpose, c^T = b^T a^T. */
template <class T, class U>
static void
product_blas(Machine *m, const Product<T, U> &p)
{
	cublasComputeType_t kind = sizeof(T) == 2 ? CUBLAS_COMPUTE_32F
							   : m->tf32	  ? CUBLAS_COMPUTE_32F_FAST_TF32
											  : CUBLAS_COMPUTE_32F_PEDANTIC;
	cublasStatus_t status;

	if (m->dry || m->status != CUBLAS_STATUS_SUCCESS)
		return;
	status = cublasGemmStridedBatchedEx(
		m->blas, p.b.across ? CUBLAS_OP_T : CUBLAS_OP_N,
		p.a.across ? CUBLAS_OP_T : CUBLAS_OP_N, p.cols, (int) p.rows, (int) p.depth,
		&p.alpha, p.b.data, type_of(p.b.data), p.b.row, p.b.step, p.a.data,
		type_of(p.a.data), p.a.row, p.a.step, &p.beta, p.c.data, type_of(p.c.data),
		p.c.row, p.c.step, p.batch, kind, CUBLAS_GEMM_DEFAULT);
	if (status != CUBLAS_STATUS_SUCCESS)
		m->status = status;
}

/* False: the epilogue is refused, and nothing was done. */
template <class T, class U>
static bool
product(Machine *m, const Product<T, U> &p)
{
	if (m->lt && m->status == CUBLAS_STATUS_SUCCESS && product_lt(m, p))
		return true;
	if (p.epilogue != EPILOGUE_NONE)
		return false;
	product_blas(m, p);
	return true;
}

#else

template <class T>
static float
element_of(const Matrix<const T> &x, int k, size_t r, size_t c)
{
	return (float) x.data[k * x.step + (x.across ? c * x.row + r : r * x.row + c)];
}

template <class T, class U>
static bool
product(Machine *m, const Product<T, U> &p)
{
	bool bias = p.epilogue == EPILOGUE_BIAS || p.epilogue == EPILOGUE_BIAS_RELU;
	bool relu = p.epilogue == EPILOGUE_RELU || p.epilogue == EPILOGUE_BIAS_RELU;

	if (p.epilogue != EPILOGUE_NONE && ((m->without & WITHOUT_LT) || !fusible(p)))
		return false;
	for (int k = 0; !m->dry && k < p.batch; k++)
		for (size_t r = 0; r < p.rows; r++)
			for (size_t o = 0; o < (size_t) p.cols; o++)
			{
				U *to = p.c.data + k * p.c.step + r * p.c.row + o;
				float sum = 0;

				for (size_t d = 0; d < p.depth; d++)
					sum += element_of(p.a, k, r, d) * element_of(p.b, k, d, o);
				sum = p.alpha * sum + (p.beta != 0 ? p.beta * (float) *to : 0.0f);
				sum += bias ? (float) p.bias[o] : 0.0f;
				*to = relu ? activate(NN_RELU, sum) : sum;
			}
	for (size_t r = 0; !m->dry && p.epilogue == EPILOGUE_SUM && r < p.rows; r++)
	{
		float sum = 0;

		for (size_t d = 0; d < p.depth; d++)
			sum += element_of(p.a, 0, r, d);
		p.bias[r] = sum;
	}
	return true;
}

#endif

template <class T, class U>
static void
gemm(Machine *m, size_t rows, int cols, size_t depth, float alpha, Matrix<const T> a,
	 Matrix<const T> b, float beta, Matrix<U> c, int batch = 1)
{
	product(m, Product<T, U>{rows, depth, cols, batch, alpha, beta, a, b, c,
							 EPILOGUE_NONE, NULL});
}

/* y = act(y + bias): rows `row` elements apart; bias NULL: none */
template <class T>
static void
finish(Machine *m, T *y, size_t rows, int cols, int row, const T *bias, NnActivation act)
{
	size_t width = (size_t) cols;

	if (bias || act != NN_IDENTITY)
		each(m, rows * width,
			 [=] ON_GPU(size_t i)
			 {
				 T *to = y + i / width * row + i % width;

				 *to =
					 activate(act, (float) *to + (bias ? (float) bias[i % width] : 0.0f));
			 });
}

/* c = act(a b + beta c + bias), bias one value a column or NULL */
template <class T>
static void
affine(Machine *m, size_t rows, int cols, size_t depth, Matrix<const T> a,
	   Matrix<const T> b, float beta, const T *bias, NnActivation act, Matrix<T> c)
{
	Epilogue e = epilogue_of(bias != NULL, act);

	/* What overflowed shall be seen in the end, and cuBLASLt's ReLU may swallow NaN. */
	if (m->fp16 && act == NN_RELU)
		e = EPILOGUE_REFUSE;
	if (e != EPILOGUE_REFUSE &&
		product(m, Product<T, T>{rows, depth, cols, 1, 1, beta, a, b, c, e, (T *) bias}))
		return;
	gemm<T, T>(m, rows, cols, depth, 1, a, b, beta, c);
	finish(m, c.data, rows, cols, c.row, bias, act);
}

/* grad[cols] += the sums of x's columns: the gradient of a bias */
template <class T>
static void
bias_sums(Machine *m, const T *x, size_t rows, int cols, float *grad)
{
	column_sums(
		m, rows, cols, [=] ON_GPU(size_t r, int c) { return (float) x[r * cols + c]; },
		[=] ON_GPU(int c, double sum) { grad[c] += (float) sum; });
}

/*
 * grad[outputs][depth] = dy^T x + beta grad, over rows of dy [outputs] and x [depth];
 * bias[outputs], where not NULL, += the sums of dy's columns.
 */
template <class T>
static void
weight_product(Machine *m, size_t rows, int outputs, int depth, const T *dy, const T *x,
			   float beta, float *grad, float *bias)
{
	size_t keep = m->used;
	float *sum = bias ? take<float>(m, (size_t) outputs) : NULL;
	Product<T, float> p = {(size_t) outputs,
						   rows,
						   depth,
						   1,
						   1,
						   beta,
						   matrix<const T>(dy, outputs, true),
						   matrix<const T>(x, depth),
						   matrix<float>(grad, depth),
						   EPILOGUE_SUM,
						   sum};
	bool summed = bias && product(m, p);

	p.epilogue = EPILOGUE_NONE;
	if (!summed)
		product(m, p);
	else
		each(m, (size_t) outputs, [=] ON_GPU(size_t i) { bias[i] += sum[i]; });
	if (bias && (!summed || m->dry)) /* its memory counts, should that be refused later */
		bias_sums(m, dy, rows, outputs, bias);
	m->used = keep;
}

#endif
