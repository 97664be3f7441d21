/*
 * kernels_activation.h
 *	  The activations, their slopes, and the loops over them; part of kernels_body.h.
 */

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
