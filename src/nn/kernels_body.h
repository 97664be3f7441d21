/*
 * kernels_body.h
 *	  The inner loops; included by kernels_*.c with WIDTH, KERNELS, KERNELS_NAME
 *	  and KERNELS_AVAILABLE defined.
 */
#include <math.h>
#include <string.h>

#include "nn/kernels.h"
#include "nn/kernels_vector.h"
#include "nn/kernels_activation.h"
#include "nn/kernels_rows.h"
#include "nn/kernels_backward.h"
#include "nn/kernels_simam.h"

/* ------------------------------------------------------------- elementwise */

static void
add(const float *a, const float *b, float *y, size_t n)
{
	size_t i = 0;

	for (; i + WIDTH <= n; i += WIDTH)
		store(y + i, load(a + i) + load(b + i));
	for (; i < n; i++)
		y[i] = a[i] + b[i];
}

static void
multiply(const float *a, const float *b, float *y, size_t n)
{
	size_t i = 0;

	for (; i + WIDTH <= n; i += WIDTH)
		store(y + i, load(a + i) * load(b + i));
	for (; i < n; i++)
		y[i] = a[i] * b[i];
}

static void
scale(const float *x, float *y, size_t n, float factor)
{
	size_t i = 0;

	for (; i + WIDTH <= n; i += WIDTH)
		store(y + i, load(x + i) * factor);
	for (; i < n; i++)
		y[i] = x[i] * factor;
}

static void
affine(const float *x, float *y, size_t rows, int cols, const float *factor,
	   const float *shift)
{
	for (size_t r = 0; r < rows; r++, x += cols, y += cols)
	{
		int c = 0;

		for (; c + WIDTH <= cols; c += WIDTH)
			store(y + c, load(x + c) * load(factor + c) + load(shift + c));
		for (; c < cols; c++)
			y[c] = x[c] * factor[c] + shift[c];
	}
}

static void
maximum(const float *x, float *y, int n)
{
	int i = 0;

	for (; i + WIDTH <= n; i += WIDTH)
	{
		V a = load(x + i), b = load(y + i);

		/* a NaN in either wins, as in PyTorch */
		store(y + i, choose((a > b) | (a != a), a, b));
	}
	for (; i < n; i++)
		if (x[i] > y[i] || isnan(x[i]))
			y[i] = x[i];
}

static void
multiply_add(const float *x, const float *w, float *y, size_t n)
{
	size_t i = 0;

	for (; i + WIDTH <= n; i += WIDTH)
		store(y + i, load(y + i) + load(x + i) * load(w + i));
	for (; i < n; i++)
		y[i] += x[i] * w[i];
}

/*
 * Four outputs at a time, all rows for them before the next four, so that their
 * weights stay in the first-level cache and x in the second.  What is left over of
 * four outputs goes one at a time, which sums in the same order.
 */
#define DOT_WIDE 4

INLINE void
dot_some(const float *x, const float *w, float *y, int n, int count)
{
	V acc[DOT_WIDE] = {{0}};
	int i = 0;

	for (; i + WIDTH <= n; i += WIDTH)
	{
		V v = load(x + i);

		for (int k = 0; k < count; k++)
			acc[k] += v * load(w + (size_t) k * n + i);
	}
	for (int k = 0; k < count; k++)
	{
		float sum = sum_of(acc[k]);

		for (int j = i; j < n; j++)
			sum += x[j] * w[(size_t) k * n + j];
		y[k] = sum;
	}
}

static void
dot_products(const float *x, const float *w, float *y, int rows, int n, int outputs)
{
	int o = 0;

	for (; o + DOT_WIDE <= outputs; o += DOT_WIDE)
		for (int r = 0; r < rows; r++)
			dot_some(x + (size_t) r * n, w + (size_t) o * n, y + (size_t) r * outputs + o,
					 n, DOT_WIDE);
	for (; o < outputs; o++)
		for (int r = 0; r < rows; r++)
			dot_some(x + (size_t) r * n, w + (size_t) o * n, y + (size_t) r * outputs + o,
					 n, 1);
}

const NnKernels KERNELS = {
	.name = KERNELS_NAME,
	.available = KERNELS_AVAILABLE,
	.activate = activate,
	.activate_backward = activate_backward,
	.bias_activate = bias_activate,
	.add = add,
	.multiply = multiply,
	.scale = scale,
	.affine = affine,
	.moments = moments,
	.layernorm = layernorm,
	.layernorm_backward = layernorm_backward,
	.softmax = softmax,
	.softmax_backward = softmax_backward,
	.simam = simam,
	.simam_sums = simam_sums,
	.simam_backward = simam_backward,
	.maximum = maximum,
	.multiply_add = multiply_add,
	.dot_products = dot_products,
};
