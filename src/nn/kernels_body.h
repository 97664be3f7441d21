/*
 * kernels_body.h
 *	  The inner loops; included by kernels_*.c with WIDTH, KERNELS, KERNELS_NAME
 *	  and KERNELS_AVAILABLE defined.
 *
 * Vectors are the compiler's own (vector_size); everything is static, so that
 * each inclusion has its own copy for its own instruction set.
 */
#include <math.h>
#include <string.h>

#include "nn/kernels.h"

typedef float V __attribute__((vector_size(4 * WIDTH)));
typedef int32_t I __attribute__((vector_size(4 * WIDTH)));
typedef float U __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE V
load(const float *p)
{
	return *(const U *) p;
}

INLINE void
store(float *p, V v)
{
	*(U *) p = v;
}

/* The last few elements of an array: count < WIDTH. */
INLINE V
load_part(const float *p, size_t count)
{
	V v = {0};

	memcpy(&v, p, count * sizeof(float));
	return v;
}

INLINE void
store_part(float *p, V v, size_t count)
{
	memcpy(p, &v, count * sizeof(float));
}

INLINE V
splat(float f)
{
	return f - (V){0};
}

INLINE V
choose(I mask, V yes, V no)
{
	return (V) ((mask & (I) yes) | (~mask & (I) no));
}

/* NaN in a comes out as NaN. */
INLINE V
at_least(V a, float low)
{
	return choose(a < splat(low), splat(low), a);
}

INLINE V
at_most(V a, float high)
{
	return choose(a > splat(high), splat(high), a);
}

INLINE V
magnitude(V a)
{
	return (V) ((I) a & 0x7fffffff);
}

INLINE float
sum_of(V v)
{
	float sum = 0;

	for (int i = 0; i < WIDTH; i++)
		sum += v[i];
	return sum;
}

/* ----------------------------------------------------------- transcendentals */

/*
 * e^x: x = k ln 2 + r, a polynomial of degree 6 on |r| <= ln(2)/2 (Chebyshev,
 * relative error 2e-9), then k into the exponent.  Below -87 it stays at e^-87
 * and above 88 at e^88: callers need no infinities and no denormals.
 */
INLINE V
exponential(V x)
{
	V k, r, p;
	I exponent;

	x = at_most(at_least(x, -87.0f), 88.0f);
	/* adding 1.5 * 2^23 rounds to the nearest whole number */
	k = x * 1.44269504f + 12582912.0f;
	exponent = (I) k << 23;
	k = k - 12582912.0f;
	r = x - k * 0.693359375f;
	r = r - k * -2.12194440e-4f;
	p = r * 1.3943221767e-3f + 8.3768185025e-3f;
	p = p * r + 4.1666327002e-2f;
	p = p * r + 1.6666394782e-1f;
	p = p * r + 5.0000000531e-1f;
	p = p * r + 1.0f;
	p = p * r + 1.0f;
	return (V) ((I) p + exponent);
}

/*
 * The normal distribution's upper tail Q(|x|) = erfc(|x| / sqrt 2) / 2, as
 * e^(-x^2/2) times a polynomial of degree 10 in t = 1 / (1 + 0.2316 |x|)
 * (Chebyshev fit of erfcx, absolute error 1.2e-9 before the exponential), so that
 * the tail keeps its relative accuracy.  density returns e^(-x^2/2).
 */
INLINE V
normal_tail(V x, V *density)
{
	V a = at_most(magnitude(x), 14.0f);
	V t = 1.0f / (a * 0.231641888266f + 1.0f);
	V p;

	*density = exponential(a * a * -0.5f);
	p = t * 2.9952142642e-2f - 1.6737053118e-1f;
	p = p * t + 3.3450874203e-1f;
	p = p * t - 3.0801850896e-1f;
	p = p * t + 2.7419089636e-1f;
	p = p * t - 3.7959624026e-2f;
	p = p * t + 1.0745622114e-1f;
	p = p * t + 8.1839913616e-2f;
	p = p * t + 9.3017597509e-2f;
	p = p * t + 9.2383150996e-2f;
	return p * t * *density;
}

INLINE V
sigmoid(V x)
{
	return 1.0f / (1.0f + exponential(-x));
}

/* Cancellation near zero is avoided by an odd polynomial below 0.625. */
INLINE V
hyperbolic_tangent(V x)
{
	V s = x * x;
	V far = 1.0f - 2.0f / (exponential(x + x) + 1.0f);
	V p = s * -5.6571351844e-3f + 2.0588191455e-2f;

	p = p * s - 5.3720107657e-2f;
	p = p * s + 1.3331114056e-1f;
	p = p * s - 3.3333259863e-1f;
	p = p * s + 0.99999999602f;
	return choose(magnitude(x) < splat(0.625f), p * x, far);
}

/* -------------------------------------------------------------- activations */

INLINE V
act_identity(V x)
{
	return x;
}

INLINE V
act_relu(V x)
{
	return at_least(x, 0.0f);
}

INLINE V
act_relu6(V x)
{
	return at_most(at_least(x, 0.0f), 6.0f);
}

INLINE V
act_leaky_relu(V x)
{
	return choose(x < splat(0.0f), x * 0.01f, x);
}

INLINE V
act_gelu(V x)
{
	V density;
	V tail = normal_tail(x, &density);

	/* left: x clamped, because the tail below is as good as zero but not zero */
	return choose(x < splat(0.0f), at_least(x, -14.0f) * tail, x - x * tail);
}

INLINE V
act_silu(V x)
{
	/* below -87 the exponential no longer grows, so neither may x */
	return at_least(x, -87.0f) * sigmoid(x);
}

INLINE V
act_tanh(V x)
{
	return hyperbolic_tangent(x);
}

INLINE V
act_sigmoid(V x)
{
	return sigmoid(x);
}

/* Derivatives at x; at the kinks that of the left side, as PyTorch takes them. */
INLINE V
slope_identity(V x)
{
	(void) x;
	return splat(1.0f);
}

INLINE V
slope_relu(V x)
{
	return choose(x > splat(0.0f), splat(1.0f), splat(0.0f));
}

INLINE V
slope_relu6(V x)
{
	return choose((x > splat(0.0f)) & (x < splat(6.0f)), splat(1.0f), splat(0.0f));
}

INLINE V
slope_leaky_relu(V x)
{
	return choose(x > splat(0.0f), splat(1.0f), splat(0.01f));
}

INLINE V
slope_gelu(V x)
{
	V density;
	V tail = normal_tail(x, &density);
	V below = choose(x < splat(0.0f), tail, 1.0f - tail);

	return below + at_most(at_least(x, -14.0f), 14.0f) * density * 0.398942280401f;
}

INLINE V
slope_silu(V x)
{
	V s = sigmoid(x);

	return s + at_most(at_least(x, -87.0f), 87.0f) * s * (1.0f - s);
}

INLINE V
slope_tanh(V x)
{
	V y = hyperbolic_tangent(x);

	return 1.0f - y * y;
}

INLINE V
slope_sigmoid(V x)
{
	V s = sigmoid(x);

	return s * (1.0f - s);
}

/* The same loop for each activation, with the choice outside it. */
#define FOR_EACH_ACTIVATION(act, LOOP)                                                   \
	switch (act)                                                                         \
	{                                                                                    \
		case NN_IDENTITY:                                                                \
			LOOP(identity);                                                              \
			break;                                                                       \
		case NN_RELU:                                                                    \
			LOOP(relu);                                                                  \
			break;                                                                       \
		case NN_RELU6:                                                                   \
			LOOP(relu6);                                                                 \
			break;                                                                       \
		case NN_LEAKY_RELU:                                                              \
			LOOP(leaky_relu);                                                            \
			break;                                                                       \
		case NN_GELU:                                                                    \
			LOOP(gelu);                                                                  \
			break;                                                                       \
		case NN_SILU:                                                                    \
			LOOP(silu);                                                                  \
			break;                                                                       \
		case NN_TANH:                                                                    \
			LOOP(tanh);                                                                  \
			break;                                                                       \
		case NN_SIGMOID:                                                                 \
			LOOP(sigmoid);                                                               \
			break;                                                                       \
		default:                                                                         \
			break;                                                                       \
	}

static void
activate(NnActivation act, const float *x, float *y, size_t n)
{
#define LOOP(f)                                                                          \
	do                                                                                   \
	{                                                                                    \
		size_t i = 0;                                                                    \
		for (; i + WIDTH <= n; i += WIDTH)                                               \
			store(y + i, act_##f(load(x + i)));                                          \
		if (i < n)                                                                       \
			store_part(y + i, act_##f(load_part(x + i, n - i)), n - i);                  \
	} while (0)
	FOR_EACH_ACTIVATION(act, LOOP)
#undef LOOP
}

static void
activate_backward(NnActivation act, const float *x, const float *dy, float *dx, size_t n,
				  bool add)
{
	float keep = add ? 1.0f : 0.0f;

#define LOOP(f)                                                                          \
	do                                                                                   \
	{                                                                                    \
		size_t i = 0;                                                                    \
		if (keep == 0.0f)                                                                \
			for (; i + WIDTH <= n; i += WIDTH)                                           \
				store(dx + i, load(dy + i) * slope_##f(load(x + i)));                    \
		else                                                                             \
			for (; i + WIDTH <= n; i += WIDTH)                                           \
				store(dx + i, load(dx + i) + load(dy + i) * slope_##f(load(x + i)));     \
		if (i < n)                                                                       \
		{                                                                                \
			V d = load_part(dy + i, n - i) * slope_##f(load_part(x + i, n - i));         \
			if (keep != 0.0f)                                                            \
				d += load_part(dx + i, n - i);                                           \
			store_part(dx + i, d, n - i);                                                \
		}                                                                                \
	} while (0)
	FOR_EACH_ACTIVATION(act, LOOP)
#undef LOOP
}

static void
bias_activate(float *y, size_t rows, int cols, const float *bias, NnActivation act)
{
	size_t n = (size_t) cols;

	if (bias == NULL)
	{
		if (act != NN_IDENTITY)
			activate(act, y, y, rows * n);
		return;
	}
#define LOOP(f)                                                                          \
	do                                                                                   \
	{                                                                                    \
		for (size_t r = 0; r < rows; r++, y += n)                                        \
		{                                                                                \
			size_t i = 0;                                                                \
			for (; i + WIDTH <= n; i += WIDTH)                                           \
				store(y + i, act_##f(load(y + i) + load(bias + i)));                     \
			if (i < n)                                                                   \
				store_part(                                                              \
					y + i,                                                               \
					act_##f(load_part(y + i, n - i) + load_part(bias + i, n - i)),       \
					n - i);                                                              \
		}                                                                                \
	} while (0)
	FOR_EACH_ACTIVATION(act, LOOP)
#undef LOOP
}

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
multiply_add(const float *x, const float *w, float *y, int n)
{
	int i = 0;

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

/* --------------------------------------------------------------- statistics */

/* Rows are added in float in short runs, and the runs in double. */
#define MOMENT_RUN 64

static void
moments(const float *x, size_t rows, int cols, const float *pivot, double *sum,
		double *square)
{
	for (size_t begin = 0; begin < rows; begin += MOMENT_RUN)
	{
		size_t end = begin + MOMENT_RUN < rows ? begin + MOMENT_RUN : rows;
		int c = 0;

		for (; c + WIDTH <= cols; c += WIDTH)
		{
			V p = load(pivot + c), s = {0}, q = {0};

			for (size_t r = begin; r < end; r++)
			{
				V d = load(x + r * (size_t) cols + c) - p;

				s += d;
				q += d * d;
			}
			for (int i = 0; i < WIDTH; i++)
			{
				sum[c + i] += s[i];
				square[c + i] += q[i];
			}
		}
		for (; c < cols; c++)
			for (size_t r = begin; r < end; r++)
			{
				double d = (double) x[r * (size_t) cols + c] - pivot[c];

				sum[c] += d;
				square[c] += d * d;
			}
	}
}

/* Two passes over each row: the variance of a constant row is exactly zero
 * where its mean is exact, and never negative. */
static void
layernorm(const float *x, float *y, size_t rows, int cols, const float *weight,
		  const float *bias, float eps, float *mean, float *rstd)
{
	size_t n = (size_t) cols;

	for (size_t r = 0; r < rows; r++, x += cols, y += cols)
	{
		V acc = {0};
		float m, s, v;
		size_t i = 0;

		for (; i + WIDTH <= n; i += WIDTH)
			acc += load(x + i) - x[0];
		m = sum_of(acc);
		for (; i < n; i++)
			m += x[i] - x[0];
		/* relative to the first value, so that a common offset costs nothing */
		m = m / (float) cols + x[0];
		acc = (V){0};
		for (i = 0; i + WIDTH <= n; i += WIDTH)
		{
			V d = load(x + i) - m;

			acc += d * d;
		}
		v = sum_of(acc);
		for (; i < n; i++)
			v += (x[i] - m) * (x[i] - m);
		s = 1.0f / sqrtf(v / (float) cols + eps);
		if (mean != NULL)
			mean[r] = m;
		if (rstd != NULL)
			rstd[r] = s;
		for (i = 0; i + WIDTH <= n; i += WIDTH)
			store(y + i, (load(x + i) - m) * s * load(weight + i) + load(bias + i));
		for (; i < n; i++)
			y[i] = (x[i] - m) * s * weight[i] + bias[i];
	}
}

static void
softmax(const float *x, float *y, size_t rows, int cols, float factor)
{
	size_t n = (size_t) cols;

	for (size_t r = 0; r < rows; r++, x += cols, y += cols)
	{
		float top = x[0] * factor, total = 0;
		V acc = {0};
		size_t i = 0;

		for (size_t c = 1; c < n; c++)
			top = x[c] * factor > top ? x[c] * factor : top;
		for (; i + WIDTH <= n; i += WIDTH)
		{
			V e = exponential(load(x + i) * factor - top);

			acc += e;
			store(y + i, e);
		}
		if (i < n)
		{
			V e = exponential(load_part(x + i, n - i) * factor - top);

			for (size_t c = i; c < n; c++)
				total += e[c - i];
			store_part(y + i, e, n - i);
		}
		total += sum_of(acc);
		total = 1.0f / total;
		for (i = 0; i + WIDTH <= n; i += WIDTH)
			store(y + i, load(y + i) * total);
		for (; i < n; i++)
			y[i] *= total;
	}
}

const NnKernels KERNELS = {
	KERNELS_NAME,  KERNELS_AVAILABLE,
	activate,	   activate_backward,
	bias_activate, add,
	scale,		   affine,
	moments,	   layernorm,
	softmax,	   maximum,
	multiply_add,  dot_products,
};
