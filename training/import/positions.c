/*
 * positions.c
 *	  Position embeddings for another grid of patches (import.h).
 */
#include "training/import/import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Keys, "Cubic convolution interpolation for digital image processing" (1981). */
static double
cubic(double x)
{
	const double a = -0.5;

	x = fabs(x);
	if (x < 1)
		return ((a + 2) * x - (a + 3)) * x * x + 1;
	if (x < 2)
		return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
	return 0;
}

/* Weight of source i in target t, before the division by the sum. */
static double
tap(int i, double centre, double scale)
{
	return cubic((i - centre + 0.5) / scale);
}

/* out[target][d] = sum over sources of weight x in[source][d], along one axis. */
static void
resample_line(const float *in, size_t in_step, int from, float *out, size_t out_step,
			  int to, int d)
{
	double ratio = (double) from / to;
	double scale = ratio > 1 ? ratio : 1;

	for (int t = 0; t < to; t++)
	{
		double centre = ratio * (t + 0.5);
		int low = (int) (centre - 2 * scale + 0.5),
			high = (int) (centre + 2 * scale + 0.5);
		double sum = 0;
		float *o = out + (size_t) t * out_step;

		low = low < 0 ? 0 : low;
		high = high > from ? from : high;
		for (int i = low; i < high; i++)
			sum += tap(i, centre, scale);
		memset(o, 0, (size_t) d * sizeof(float));
		for (int i = low; i < high; i++)
		{
			float weight = (float) (tap(i, centre, scale) / sum);

			for (int k = 0; k < d; k++)
				o[k] += weight * in[(size_t) i * in_step + k];
		}
	}
}

bool
import_positions(const float *from, int from_h, int from_w, float *to, int to_h, int to_w,
				 int prefix, int d)
{
	size_t row = (size_t) d;
	float *wide;

	memcpy(to, from, (size_t) prefix * row * sizeof(float));
	from += (size_t) prefix * row;
	to += (size_t) prefix * row;
	/* rows first, then columns: [from_h][to_w][d] between */
	wide = malloc((size_t) from_h * to_w * row * sizeof(float));
	if (!wide)
		return false;
	for (int y = 0; y < from_h; y++)
		resample_line(from + (size_t) y * from_w * row, row, from_w,
					  wide + (size_t) y * to_w * row, row, to_w, d);
	for (int x = 0; x < to_w; x++)
		resample_line(wide + (size_t) x * row, (size_t) to_w * row, from_h,
					  to + (size_t) x * row, (size_t) to_w * row, to_h, d);
	free(wide);
	return true;
}
