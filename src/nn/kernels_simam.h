/*
 * kernels_simam.h
 *	  SimAM over the places of a picture, forward and backward; part of kernels_body.h.
 */

static void
simam(const float *x, float *y, size_t places, int cols, const float *mean,
	  const float *share)
{
	size_t n = (size_t) cols;

	for (size_t p = 0; p < places; p++, x += n, y += n)
		for (size_t i = 0; i < n; i += WIDTH)
		{
			V v = load_up_to(x, i, n), d = v - load_up_to(mean, i, n);

			store_up_to(y, i, n,
						v * sigmoid(d * d * load_up_to(share, i, n) + splat(0.5f)));
		}
}

/* Added in float in runs of MOMENT_RUN places, and the runs in double. */
static void
simam_sums(const float *x, const float *dy, size_t places, int cols, const float *mean,
		   const float *share, double *square, double *linear)
{
	size_t n = (size_t) cols;

	for (size_t begin = 0; begin < places; begin += MOMENT_RUN)
	{
		size_t end = begin + MOMENT_RUN < places ? begin + MOMENT_RUN : places;

		for (size_t i = 0; i < n; i += WIDTH)
		{
			V m = load_up_to(mean, i, n), s = load_up_to(share, i, n);
			V two = {0}, one = {0};

			for (size_t p = begin; p < end; p++)
			{
				V v = load_up_to(x + p * n, i, n), d = v - m;
				V gate = sigmoid(d * d * s + splat(0.5f));
				V e = load_up_to(dy + p * n, i, n) * v * gate * (1.0f - gate);

				two += e * d * d;
				one += e * d;
			}
			for (size_t k = 0; k < WIDTH && i + k < n; k++)
			{
				square[i + k] += (double) two[k];
				linear[i + k] += (double) one[k];
			}
		}
	}
}

static void
simam_backward(const float *x, const float *dy, float *dx, size_t places, int cols,
			   const float *mean, const float *share, const float *slope,
			   const float *shift, bool add)
{
	size_t n = (size_t) cols;

	for (size_t p = 0; p < places; p++, x += n, dy += n, dx += n)
		for (size_t i = 0; i < n; i += WIDTH)
		{
			V v = load_up_to(x, i, n), d = v - load_up_to(mean, i, n);
			V s = load_up_to(share, i, n), g = load_up_to(dy, i, n);
			V gate = sigmoid(d * d * s + splat(0.5f));
			V e = g * v * gate * (1.0f - gate);
			V q = g * gate + 2.0f * s * e * d - load_up_to(slope, i, n) * d -
				  load_up_to(shift, i, n);

			store_up_to(dx, i, n, add ? load_up_to(dx, i, n) + q : q);
		}
}
