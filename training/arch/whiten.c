/*
 * whiten.c
 *	  Statistics of pictures: colour moments and the whitening filters.
 *
 * The first layer projects every 2x2 patch on the principal axes of such patches,
 * each scaled to unit variance (after Page, "ResNet: cut the time", 2019, and the
 * CIFAR-10 speed records that followed).  It is computed once and never trained.
 */
#include "training/arch/arch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PATCH 12	  /* 2 x 2 positions of 3 colours */
#define PICTURES 5000 /* that the covariance is measured on */
#define PATCHES_EACH 64
#define EPSILON 5e-4 /* keeps the weakest axes from amplifying noise */

/* Statistics do without a picture that cannot be read: its turn to be reported is
 * when it is trained on. */
static const uint8_t *
picture_of(const Dataset *ds, int i, uint8_t *room)
{
	TrainError ignored;

	return ds->disk && !room ? NULL : dataset_pixels(ds, i, room, &ignored);
}

void
arch_colour_moments(const Dataset *ds, float mean[3], float std[3])
{
	size_t pixels = (size_t) ds->width * ds->height;
	int stride = ds->n > 10000 ? ds->n / 10000 : 1;
	uint8_t *room = ds->disk ? malloc(dataset_picture_size(ds)) : NULL;
	double sum[3] = {0};
	double square[3] = {0};
	double count = 0;

	for (int i = 0; i < ds->n; i += stride)
	{
		const uint8_t *p = picture_of(ds, i, room);

		for (size_t k = 0; p && k < pixels; k++)
			for (int c = 0; c < 3; c++)
			{
				double v = p[k * 3 + c] / 255.0;

				sum[c] += v;
				square[c] += v * v;
			}
		count += p ? (double) pixels : 0;
	}
	free(room);
	count = fmax(count, 1);
	for (int c = 0; c < 3; c++)
	{
		double m = sum[c] / count;
		double var = square[c] / count - m * m;

		mean[c] = (float) m;
		/* A colour that never varies still needs a scale. */
		std[c] = var > 1e-6 ? (float) sqrt(var) : 1.0f;
	}
}

/* Cyclic Jacobi rotations: plain, and exact enough for a dozen dimensions. */
void
arch_eigen(int n, double *a, double *values, double *vectors)
{
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			vectors[i * n + j] = i == j;
	for (int sweep = 0; sweep < 60; sweep++)
	{
		double off = 0;

		for (int p = 0; p < n; p++)
			for (int q = p + 1; q < n; q++)
				off += a[p * n + q] * a[p * n + q];
		if (off < 1e-26)
			break;
		for (int p = 0; p < n; p++)
			for (int q = p + 1; q < n; q++)
			{
				double theta, t, c, s;

				if (a[p * n + q] == 0)
					continue;
				theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
				t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1));
				c = 1 / sqrt(t * t + 1);
				s = t * c;
				for (int k = 0; k < n; k++)
				{
					double kp = a[k * n + p];
					double kq = a[k * n + q];

					a[k * n + p] = c * kp - s * kq;
					a[k * n + q] = s * kp + c * kq;
				}
				for (int k = 0; k < n; k++)
				{
					double pk = a[p * n + k];
					double qk = a[q * n + k];
					double vp = vectors[p * n + k];
					double vq = vectors[q * n + k];

					a[p * n + k] = c * pk - s * qk;
					a[q * n + k] = s * pk + c * qk;
					vectors[p * n + k] = c * vp - s * vq;
					vectors[q * n + k] = s * vp + c * vq;
				}
			}
	}
	for (int i = 0; i < n; i++)
		values[i] = a[i * n + i];
}

void
arch_whitening(const Dataset *ds, const float mean[3], const float std[3], uint64_t seed,
			   float *weight)
{
	double sum[PATCH] = {0};
	double cov[PATCH * PATCH] = {0};
	double values[PATCH];
	double vectors[PATCH * PATCH];
	int pictures = ds->n < PICTURES ? ds->n : PICTURES;
	double count = 0;
	uint8_t *room = ds->disk ? malloc(dataset_picture_size(ds)) : NULL;
	Rng rng;

	rng_seed(&rng, seed, 7);
	for (int i = 0; i < pictures; i++)
	{
		const uint8_t *p = picture_of(ds, (int) rng_below(&rng, ds->n), room);

		count += p ? PATCHES_EACH : 0;
		for (int k = 0; p && k < PATCHES_EACH; k++)
		{
			int x = rng_below(&rng, ds->width - 1);
			int y = rng_below(&rng, ds->height - 1);
			double v[PATCH];

			/* in the order of weights: colour, row, column */
			for (int c = 0; c < 3; c++)
				for (int t = 0; t < 4; t++)
				{
					int at = ((y + t / 2) * ds->width + x + t % 2) * 3 + c;

					v[c * 4 + t] = (p[at] / 255.0 - mean[c]) / std[c];
				}
			for (int a = 0; a < PATCH; a++)
			{
				sum[a] += v[a];
				for (int b = 0; b < PATCH; b++)
					cov[a * PATCH + b] += v[a] * v[b];
			}
		}
	}
	free(room);
	count = fmax(count, 1);
	for (int a = 0; a < PATCH; a++)
		for (int b = 0; b < PATCH; b++)
			cov[a * PATCH + b] =
				cov[a * PATCH + b] / count - sum[a] / count * (sum[b] / count);
	arch_eigen(PATCH, cov, values, vectors);
	for (int i = 0; i < PATCH; i++)
		for (int k = 0; k < PATCH; k++)
		{
			double w = vectors[i * PATCH + k] / sqrt(fmax(values[i], 0) + EPSILON);

			weight[i * PATCH + k] = (float) w;
			weight[(PATCH + i) * PATCH + k] = (float) -w;
		}
}
