/*
 * nn_forward.c
 *	  One thread: GFLOP/s of convolutions as networks have them, beside SGEMM on the
 *	  same CPU, and nanoseconds a value of the activations for each set of kernels.
 *
 * Times are of this thread's CPU, the best of several runs.
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "nn/kernels.h"
#include "nn/op.h"

#define RUNS 7
#define PICTURES 16

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static float *
floats(size_t n)
{
	float *v = aligned_alloc(64, (n * sizeof(float) + 127) & ~(size_t) 63);

	for (size_t i = 0; i < n; i++)
		v[i] = (float) (i % 13) * 0.1f - 0.6f;
	return v;
}

static double
sgemm_rate(void)
{
	const int n = 768;
	float *a = floats((size_t) n * n), *b = floats((size_t) n * n),
		  *c = floats((size_t) n * n);
	double best = 1e9;

	for (int r = 0; r < RUNS; r++)
	{
		double begin = now();

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, n, 1.0f, a, n, b, n,
					0.0f, c, n);
		best = now() - begin < best ? now() - begin : best;
	}
	free(a);
	free(b);
	free(c);
	return 2.0 * n * n * n / best / 1e9;
}

static void
convolution(int size, int channels, int outputs, int kernel, int stride, int groups,
			double sgemm)
{
	const float zero[3] = {0, 0, 0}, one[3] = {1, 1, 1};
	NnGraph *g = nn_graph_new();
	NnCall call = {.graph = g, .n = PICTURES};
	double best = 1e9, work;

	nn_input(g, 1, 1, zero, one);
	g->node[0].shape = (NnShape){3, {size, size, channels, 0}};
	nn_conv2d(g, 0, "c", outputs, kernel, kernel, stride, kernel / 2, groups, true,
			  NN_RELU);
	call.node = &g->node[1];
	call.in[0] = floats(PICTURES * nn_shape_size(&g->node[0].shape));
	call.out = floats(PICTURES * nn_shape_size(&g->node[1].shape));
	call.param[0] = g->param[0].data;
	call.param[1] = g->param[1].data;
	call.scratch = floats(nn_op[NN_CONV2D].scratch(g, call.node, PICTURES, 1));
	for (int r = 0; r < RUNS; r++)
	{
		double begin = now();

		nn_op[NN_CONV2D].forward(&call);
		best = now() - begin < best ? now() - begin : best;
	}
	work = 2.0 * PICTURES * (double) nn_shape_size(&g->node[1].shape) * kernel * kernel *
		   channels / groups;
	printf(
		"conv %dx%d/%d, %d groups, %3dx%-3d %3d to %3d  %6.1f GFLOP/s  %.2f of sgemm\n",
		kernel, kernel, stride, groups, size, size, channels, outputs, work / best / 1e9,
		work / best / 1e9 / sgemm);
	free((float *) call.in[0]);
	free(call.out);
	free(call.scratch);
	nn_graph_free(g);
}

static void
activations(const NnKernels *kernels)
{
	enum
	{
		N = 4096
	};
	float *x = floats(N), *y = floats(N);

	for (int act = NN_RELU; act < NN_ACTIVATION_COUNT; act++)
	{
		double best = 1e9;

		for (int r = 0; r < RUNS; r++)
		{
			double begin = now();

			for (int k = 0; k < 200; k++)
				kernels->activate((NnActivation) act, x, y, N);
			best = now() - begin < best ? now() - begin : best;
		}
		printf("%-8s %-10s  %.3f ns a value\n", kernels->name,
			   nn_activation_name((NnActivation) act), best / 200 / N * 1e9);
	}
	free(x);
	free(y);
}

int
main(void)
{
	double sgemm;

	nn_pool_free(nn_pool_new(1)); /* keeps OpenBLAS to this thread */
	sgemm = sgemm_rate();
	printf("sgemm 768x768x768  %.1f GFLOP/s\n", sgemm);
	convolution(32, 24, 32, 3, 1, 1, sgemm);
	convolution(16, 32, 128, 3, 1, 1, sgemm);
	convolution(8, 128, 128, 3, 1, 1, sgemm);
	convolution(56, 64, 64, 3, 1, 1, sgemm);
	convolution(14, 256, 256, 1, 1, 1, sgemm);
	convolution(56, 64, 128, 3, 2, 1, sgemm);
	convolution(56, 96, 96, 3, 1, 96, sgemm);
	for (int i = 0; nn_kernels_at(i) != NULL; i++)
		if (nn_kernels_at(i)->available())
			activations(nn_kernels_at(i));
	return 0;
}
