/*
 * kernels_rows.h
 *	  Sums, norms and softmax over rows; part of kernels_body.h.
 */

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
