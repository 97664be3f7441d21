/*
 * test_nn_direct.c
 *	  Direct convolution and its register tiles against their definitions in double.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/conv_direct.h"
#include "nn/tile.h"
#include "training/train.h"

static Rng rng;

static float *
random_floats(size_t n)
{
	float *v = calloc(n + 32, sizeof(float));

	for (size_t i = 0; i < n; i++)
		v[i] = (float) (2 * rng_uniform(&rng) - 1);
	return v;
}

static void
near(const char *what, size_t i, double got, double want, double scale)
{
	if (!(fabs(got - want) <= 1e-5 * scale))
		fail_msg("%s[%zu]: %.9g, expected %.9g", what, i, got, want);
}

/* Definition of the convolution and of its gradients, in double. */
static void
reference(const NnDirect *d, int n, const float *x, const float *w, const float *dy,
		  double *y, double *dx, double *dw)
{
	for (int i = 0; i < n; i++)
		for (int oy = 0; oy < d->out_height; oy++)
			for (int ox = 0; ox < d->out_width; ox++)
				for (int o = 0; o < d->outputs; o++)
				{
					size_t at = (((size_t) i * d->out_height + oy) * d->out_width + ox) *
									d->outputs +
								o;

					for (int kh = 0; kh < d->kh; kh++)
						for (int kw = 0; kw < d->kw; kw++)
							for (int c = 0; c < d->channels; c++)
							{
								int sy = oy * d->stride_h + kh - d->pad_h;
								int sx = ox * d->stride_w + kw - d->pad_w;
								size_t from, weight;

								if (sy < 0 || sy >= d->height || sx < 0 || sx >= d->width)
									continue;
								from = (((size_t) i * d->height + sy) * d->width + sx) *
										   d->channels +
									   c;
								weight = (((size_t) o * d->channels + c) * d->kh + kh) *
											 d->kw +
										 kw;
								y[at] += (double) x[from] * w[weight];
								dx[from] += (double) dy[at] * w[weight];
								dw[weight] += (double) dy[at] * x[from];
							}
				}
}

static void
check_direct(NnDirect d, int n)
{
	size_t in = (size_t) n * d.height * d.width * d.channels;
	size_t out, weights = (size_t) d.kh * d.kw * d.channels * d.outputs;
	float *x, *w, *dy, *y, *dx, *dw, *lowered, *packed, *scratch, *bias;
	double *ry, *rdx, *rdw;
	double scale = d.kh * d.kw * (d.channels > d.outputs ? d.channels : d.outputs);

	d.out_height = (d.height + 2 * d.pad_h - d.kh) / d.stride_h + 1;
	d.out_width = (d.width + 2 * d.pad_w - d.kw) / d.stride_w + 1;
	out = (size_t) n * d.out_height * d.out_width * d.outputs;
	x = random_floats(in);
	w = random_floats(weights);
	dy = random_floats(out);
	y = random_floats(out);
	dx = random_floats(in);
	bias = random_floats(d.outputs);
	dw = calloc(weights, sizeof(float));
	lowered = calloc(weights, sizeof(float));
	packed = calloc(nn_direct_pack_size(&d), sizeof(float));
	/* The slack after the end is never written into: a guard says so. */
	scratch = malloc((nn_direct_scratch(&d, n) + 4) * sizeof(float));
	for (int i = 0; i < 4; i++)
		scratch[nn_direct_scratch(&d, n) + i] = 12345;
	ry = calloc(out, sizeof(double));
	rdx = calloc(in, sizeof(double));
	rdw = calloc(weights, sizeof(double));
	reference(&d, n, x, w, dy, ry, rdx, rdw);

	nn_direct_pack(&d, w, packed);
	nn_direct_forward(&d, n, x, packed, NULL, y, scratch);
	for (size_t i = 0; i < out; i++)
		near("output", i, y[i], ry[i], scale);
	nn_direct_forward(&d, n, x, packed, bias, y, scratch);
	for (size_t i = 0; i < out; i++)
		near("output with bias", i, y[i], ry[i] + bias[i % d.outputs], scale);
	nn_direct_pack_input(&d, w, packed);
	nn_direct_backward(&d, n, x, packed, dy, dx, false, lowered, scratch);
	nn_direct_unpack_grad(&d, lowered, dw);
	for (size_t i = 0; i < in; i++)
		near("input gradient", i, dx[i], rdx[i], scale);
	for (size_t i = 0; i < weights; i++)
		near("weight gradient", i, dw[i], rdw[i], n * d.out_height * d.out_width);
	nn_direct_backward(&d, n, x, packed, dy, dx, true, NULL, scratch);
	for (size_t i = 0; i < in; i++)
		near("added input gradient", i, dx[i], 2 * rdx[i], 2 * scale);
	for (int i = 0; i < 4; i++)
		assert_true(scratch[nn_direct_scratch(&d, n) + i] == 12345);
	free(x);
	free(w);
	free(dy);
	free(y);
	free(dx);
	free(bias);
	free(dw);
	free(lowered);
	free(packed);
	free(scratch);
	free(ry);
	free(rdx);
	free(rdw);
}

static void
test_direct(void **state)
{
	static const int cases[][11] = {
		/* n, h, w, in, out, kh, kw, pad h, pad w, stride h, stride w */
		{1, 5, 6, 3, 24, 2, 2, 0, 0, 1, 1},	  {2, 31, 31, 24, 32, 3, 3, 1, 1, 1, 1},
		{3, 7, 7, 16, 40, 3, 3, 1, 1, 1, 1},  {9, 3, 3, 33, 17, 3, 3, 1, 1, 1, 1},
		{2, 4, 15, 5, 1, 1, 1, 0, 0, 1, 1},	  {1, 6, 5, 2, 65, 5, 3, 2, 1, 1, 1},
		{16, 1, 2, 7, 9, 3, 3, 1, 1, 1, 1},	  {2, 6, 9, 4, 33, 4, 2, 3, 1, 1, 1},
		{2, 32, 32, 5, 40, 3, 3, 1, 1, 2, 2}, {9, 8, 8, 7, 33, 3, 3, 1, 1, 2, 2},
		{3, 9, 7, 6, 20, 1, 1, 0, 0, 2, 2},	  {2, 33, 34, 3, 17, 16, 16, 0, 0, 16, 16},
		{2, 13, 12, 3, 9, 7, 7, 3, 3, 2, 2},  {1, 14, 11, 4, 8, 5, 4, 0, 3, 3, 2},
		{2, 10, 11, 3, 8, 2, 3, 1, 0, 5, 4},  {1, 4, 4, 2, 3, 3, 3, 2, 2, 4, 3},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const int *c = cases[i];

		check_direct((NnDirect){.height = c[1],
								.width = c[2],
								.channels = c[3],
								.outputs = c[4],
								.kh = c[5],
								.kw = c[6],
								.pad_h = c[7],
								.pad_w = c[8],
								.stride_h = c[9],
								.stride_w = c[10]},
					 c[0]);
	}
}

/* Every kernel that this CPU runs, every number of rows and columns. */
static void
test_tiles(void **state)
{
	enum
	{
		OUTER = 2,
		SEGMENTS = 3,
		DEPTH = 5
	};

	(void) state;
	for (int i = 0; nn_tile_kernel_at(i); i++)
	{
		const NnTileKernel *kernel = nn_tile_kernel_at(i);

		for (int rows = 1; rows <= kernel->max_rows; rows++)
			for (int columns = 1; columns <= kernel->lanes; columns++)
				for (int add = 0; add < 2; add++)
				{
					int am = 37;
					int step = kernel->lanes + 1;
					float *a = random_floats(2048);
					float *b =
						random_floats(OUTER * SEGMENTS * DEPTH * step + kernel->lanes);
					float *c = random_floats(16 * 64);
					float *before = malloc(16 * 64 * sizeof(float));
					NnTileArgs t = {a,
									am,
									700,
									11,
									2,
									b,
									SEGMENTS * DEPTH * step,
									DEPTH * step,
									step,
									OUTER,
									SEGMENTS,
									DEPTH,
									c,
									64,
									add};

					memcpy(before, c, 16 * 64 * sizeof(float));
					kernel->run(&t, rows, columns);
					for (int m = 0; m < 16; m++)
						for (int n = 0; n < 64; n++)
						{
							double want = before[m * 64 + n];
							bool inside = m < rows && n < columns;

							if (inside && !add)
								want = 0;
							for (int o = 0; inside && o < OUTER; o++)
								for (int s = 0; s < SEGMENTS; s++)
									for (int k = 0; k < DEPTH; k++)
										want +=
											(double)
												a[m * am + o * 700 + s * 11 + k * 2] *
											b[((o * SEGMENTS + s) * DEPTH + k) * step +
											  n];
							near(kernel->name, m * 64 + n, c[m * 64 + n], want, 1);
						}
					free(a);
					free(b);
					free(c);
					free(before);
				}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_tiles),
	};

	rng_seed(&rng, 20, 1);
	return cmocka_run_group_tests_name("nn: direct convolution", tests, NULL, NULL);
}
