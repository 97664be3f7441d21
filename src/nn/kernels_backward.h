/*
 * kernels_backward.h
 *	  Gradients through layer norm and softmax; part of kernels_body.h.
 */

/* Elements from i on, fewer than WIDTH at the end of n, read as zeros past it. */
INLINE V
load_up_to(const float *p, size_t i, size_t n)
{
	return n - i >= WIDTH ? load(p + i) : load_part(p + i, n - i);
}

INLINE void
store_up_to(float *p, size_t i, size_t n, V v)
{
	if (n - i >= WIDTH)
		store(p + i, v);
	else
		store_part(p + i, v, n - i);
}

/*
 * With h = (x - mean) rstd and d = dy weight: dx = rstd (d - mean(d) - h mean(d h)),
 * the means over the row.
 */
static void
layernorm_backward(const float *x, const float *dy, float *dx, size_t rows, int cols,
				   const float *weight, const float *mean, const float *rstd,
				   float *dweight, float *dbias, bool add)
{
	size_t n = (size_t) cols;

	for (size_t r = 0; r < rows; r++, x += n, dy += n)
	{
		float m = mean[r], s = rstd[r], sum, sum_h;
		V all = {0}, all_h = {0};

		for (size_t i = 0; i < n; i += WIDTH)
		{
			V g = load_up_to(dy, i, n), h = (load_up_to(x, i, n) - m) * s;
			V d = g * load_up_to(weight, i, n);

			/* past the end g and d are zero, and so is what they add */
			all += d;
			all_h += d * h;
			if (dweight != NULL)
				store_up_to(dweight, i, n, load_up_to(dweight, i, n) + g * h);
			if (dbias != NULL)
				store_up_to(dbias, i, n, load_up_to(dbias, i, n) + g);
		}
		if (dx == NULL)
			continue;
		sum = sum_of(all) / (float) cols;
		sum_h = sum_of(all_h) / (float) cols;
		for (size_t i = 0; i < n; i += WIDTH)
		{
			V h = (load_up_to(x, i, n) - m) * s;
			V d = load_up_to(dy, i, n) * load_up_to(weight, i, n);

			d = (d - sum - h * sum_h) * s;
			store_up_to(dx, i, n, add ? load_up_to(dx, i, n) + d : d);
		}
		dx += n;
	}
}

static void
softmax_backward(const float *y, const float *dy, float *dx, size_t rows, int cols,
				 float factor, bool add)
{
	size_t n = (size_t) cols;

	for (size_t r = 0; r < rows; r++, y += n, dy += n, dx += n)
	{
		V all = {0};
		float sum;

		for (size_t i = 0; i < n; i += WIDTH)
			all += load_up_to(dy, i, n) * load_up_to(y, i, n);
		sum = sum_of(all);
		for (size_t i = 0; i < n; i += WIDTH)
		{
			V d = (load_up_to(dy, i, n) - sum) * load_up_to(y, i, n) * factor;

			store_up_to(dx, i, n, add ? load_up_to(dx, i, n) + d : d);
		}
	}
}
