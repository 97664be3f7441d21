/*
 * kernels_vector.h
 *	  Vectors of WIDTH floats, their exponential, error and hyperbolic functions; part of
 *	  kernels_body.h.
 *
 * Vectors are the compiler's own (vector_size); everything is static, so that
 * each inclusion has its own copy for its own instruction set.
 */

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
