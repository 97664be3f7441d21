/*
 * test_train_backward.c
 *	  Every backward pass against central differences of its forward pass, in full.
 *
 * The objective is a fixed random combination of the outputs, summed in double, so the
 * only rounding is that of the float forward pass: step 1e-2, tolerance 2e-3 relative
 * and 2e-4 absolute.  Values are kept away from kinks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/conv_direct.h"
#include "nn/op.h"
#include "nn/tile.h"
#include "training/train.h"

static Rng rng;

static float
draw(void)
{
	return (float) (2 * rng_uniform(&rng) - 1);
}

static float *
random_floats(size_t n)
{
	float *v = calloc(n + 32, sizeof(float));

	for (size_t i = 0; i < n; i++)
		v[i] = draw();
	return v;
}

/* One operation on inputs of any shape, with all its memory. */
typedef struct Bench
{
	NnGraph *g;
	NnCall call;
	size_t in_size[4], out_size; /* of the batch */
	float *in[4], *param[4], *weight;
} Bench;

/*
 * The last node of g is the operation, node 0 (and 1) its inputs.  Their shapes were
 * written over those of INPUT nodes; only the operation looks at them.
 */
static Bench
bench_new(NnGraph *g, int n)
{
	const NnNode *node = nn_graph_output(g);
	Bench b = {.g = g};
	NnError err;
	size_t scratch = 64;
	size_t saved = 64;

	if (!nn_graph_ok(g, &err))
		fail_msg("%s", err.text);
	b.call = (NnCall){.graph = g,
					  .node = node,
					  .n = n,
					  .train = true,
					  .momentum = 0,
					  .seed = 17,
					  .first = 5};
	for (int k = 0; k < node->ninputs; k++)
	{
		b.in_size[k] = n * nn_shape_size(nn_input_shape(g, node, k));
		b.in[k] = random_floats(b.in_size[k]);
		b.call.in[k] = b.in[k];
	}
	b.out_size = n * nn_shape_size(&node->shape);
	b.call.out = random_floats(b.out_size);
	b.weight = random_floats(b.out_size);
	b.call.grad_out = b.weight;
	for (int p = 0; p < node->nparams; p++)
		if (node->param[p] >= 0)
		{
			NnParam *param = &g->param[node->param[p]];

			b.param[p] = b.call.param[p] = param->data;
			for (size_t i = 0; i < nn_shape_size(&param->shape); i++)
				param->data[i] = param->trainable ? draw() : 0.5f + fabsf(draw());
		}
	if (nn_op[node->kind].scratch)
		scratch += nn_op[node->kind].scratch(g, node, n, 1);
	if (nn_backward_op[node->kind].scratch)
		scratch += nn_backward_op[node->kind].scratch(g, node, n, 1);
	if (nn_op[node->kind].saved)
		saved += nn_op[node->kind].saved(g, node, n);
	assert_int_equal(
		posix_memalign((void **) &b.call.scratch, 64, scratch * sizeof(float)), 0);
	b.call.saved = calloc(saved, sizeof(float));
	return b;
}

static double
objective(Bench *b)
{
	double sum = 0;

	nn_op[b->call.node->kind].forward(&b->call);
	for (size_t i = 0; i < b->out_size; i++)
		sum += (double) b->weight[i] * b->call.out[i];
	return sum;
}

static void
compare(Bench *b, float *x, size_t n, const float *grad, const float *before,
		const char *what)
{
	for (size_t i = 0; i < n; i++)
	{
		float keep = x[i];
		float up = keep + 1e-2f;
		float down = keep - 1e-2f;
		double a, c, numeric, analytic;

		x[i] = up;
		a = objective(b);
		x[i] = down;
		c = objective(b);
		x[i] = keep;
		numeric = (a - c) / ((double) up - down);
		analytic = (double) grad[i] - (before ? before[i] : 0);
		if (!(fabs(numeric - analytic) <= 2e-3 * fabs(numeric) + 2e-4))
			fail_msg("%s, %s[%zu]: analytic %g, numeric %g",
					 nn_op_name(b->call.node->kind), what, i, analytic, numeric);
	}
}

/* Kinks lie at 0; these stay 0.05 away and reach to +-3. */
static void
avoid_kinks(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = copysignf(0.05f + 2.95f * fabsf(x[i]), x[i]);
}

/* All gradients, once written and once added to what is there. */
static void
check(NnGraph *g, int n)
{
	Bench b = bench_new(g, n);
	const NnNode *node = b.call.node;
	float *grad_param[4] = {NULL};

	for (int p = 0; p < node->nparams; p++)
		if (node->param[p] >= 0 && g->param[node->param[p]].trainable)
			grad_param[p] = random_floats(nn_shape_size(&g->param[node->param[p]].shape));
	if (node->kind == NN_ACTIVATION)
		avoid_kinks(b.in[0], b.in_size[0]);
	for (int add = 0; add < 2; add++)
	{
		float *grad[4] = {NULL};
		float *before[4] = {NULL};
		float *param_before[4] = {NULL};

		for (int k = 0; k < node->ninputs; k++)
		{
			grad[k] = random_floats(b.in_size[k]);
			before[k] = malloc(b.in_size[k] * sizeof(float));
			memcpy(before[k], grad[k], b.in_size[k] * sizeof(float));
			b.call.grad_in[k] = grad[k];
			b.call.add_grad_in[k] = add;
		}
		for (int p = 0; p < 4; p++)
			if (grad_param[p])
			{
				size_t size = nn_shape_size(&g->param[node->param[p]].shape);

				param_before[p] = malloc(size * sizeof(float));
				memcpy(param_before[p], grad_param[p], size * sizeof(float));
				b.call.grad_param[p] = grad_param[p];
			}
		objective(&b);
		nn_backward_op[node->kind].backward(&b.call);
		for (int k = 0; k < node->ninputs; k++)
		{
			compare(&b, b.in[k], b.in_size[k], grad[k], add ? before[k] : NULL, "input");
			free(grad[k]);
			free(before[k]);
		}
		for (int p = 0; p < 4; p++)
			if (grad_param[p])
			{
				compare(&b, b.param[p], nn_shape_size(&g->param[node->param[p]].shape),
						grad_param[p], param_before[p], "parameter");
				free(param_before[p]);
			}
	}
	for (int p = 0; p < 4; p++)
		free(grad_param[p]);
	for (int k = 0; k < node->ninputs; k++)
		free(b.in[k]);
	free(b.call.out);
	free(b.weight);
	free(b.call.scratch);
	free(b.call.saved);
	nn_graph_free(g);
}

/* A graph whose node 0 has this shape. */
static NnGraph *
source(int ndim, int a, int b, int c)
{
	static const float mean[3] = {0, 0, 0};
	static const float std[3] = {1, 1, 1};
	NnGraph *g = nn_graph_new();

	nn_input(g, 8, 8, mean, std);
	g->node[0].shape = (NnShape){ndim, {a, b, c}};
	return g;
}

static void
test_conv(void **state)
{
	static const int cases[][9] = {
		/* h, w, in, out, kh, kw, stride, pad, groups */
		{5, 6, 3, 4, 3, 3, 1, 1, 1}, {7, 5, 4, 6, 3, 3, 2, 1, 2},
		{4, 4, 2, 3, 1, 1, 1, 0, 1}, {6, 5, 2, 2, 2, 3, 2, 0, 1},
		{5, 5, 4, 4, 3, 3, 1, 1, 4}, {6, 6, 3, 5, 5, 5, 3, 2, 1},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (int bias = 0; bias < 2; bias++)
		{
			const int *c = cases[i];
			NnGraph *g = source(3, c[0], c[1], c[2]);

			nn_conv2d(g, 0, "conv", c[3], c[4], c[5], c[6], c[7], c[8], bias,
					  NN_IDENTITY);
			check(g, 2);
		}
}

static void
test_linear(void **state)
{
	NnGraph *g = source(1, 7, 0, 0);

	(void) state;
	nn_linear(g, 0, "linear", 5, true, NN_IDENTITY);
	check(g, 3);
	g = source(2, 4, 6, 0);
	nn_linear(g, 0, "linear", 3, false, NN_IDENTITY);
	check(g, 2);
}

static void
test_norms(void **state)
{
	NnGraph *g = source(3, 3, 2, 5);

	(void) state;
	nn_batchnorm(g, 0, "norm", 1e-5f);
	check(g, 4);
	g = source(2, 3, 8, 0);
	nn_layernorm(g, 0, "norm", 1e-5f);
	check(g, 2);
}

static void
test_activations(void **state)
{
	(void) state;
	for (int act = NN_RELU; act < NN_ACTIVATION_COUNT; act++)
	{
		NnGraph *g = source(2, 5, 9, 0);
		NnNode *node;

		nn_activation(g, 0, act);
		node = &g->node[1];
		assert_int_equal(node->activation, act);
		check(g, 3);
	}
}

static void
test_pools(void **state)
{
	NnGraph *g;

	(void) state;
	g = source(3, 5, 6, 3);
	nn_avgpool(g, 0, 3, 2, 1);
	check(g, 2);
	g = source(3, 4, 3, 5);
	nn_global_avgpool(g, 0);
	check(g, 2);
}

static void
test_simple(void **state)
{
	NnGraph *g;
	NnShape flat = {1, {12}};

	(void) state;
	g = source(2, 3, 4, 0);
	nn_reshape(g, 0, &flat);
	check(g, 2);
	g = source(2, 3, 4, 0);
	nn_scale(g, 0, -1.7f);
	check(g, 2);
	g = source(2, 3, 5, 0);
	nn_softmax(g, 0);
	check(g, 2);
	g = source(2, 3, 4, 0);
	nn_class_token(g, 0, "token");
	check(g, 2);
	g = source(2, 3, 4, 0);
	nn_position(g, 0, "position");
	check(g, 2);
	g = source(2, 3, 4, 0);
	nn_token(g, 0, 1);
	check(g, 2);
	g = source(2, 5, 12, 0);
	nn_attention(g, 0, 2);
	check(g, 2);
}

static void
test_add(void **state)
{
	NnGraph *g = source(2, 3, 4, 0);
	NnNode add = {.kind = NN_ADD, .ninputs = 2, .input = {0, 1}};

	(void) state;
	nn_scale(g, 0, 1); /* only to have a second node of that shape */
	nn_graph_add(g, &add, 0);
	check(g, 2);
}

/* Move values; the parts of a concatenation differ in length. */
static void
test_moves(void **state)
{
	static const int orders[][4] = {{1, 2, 0, 0}, {0, 2, 1, 0}, {2, 0, 1, 0}};
	NnGraph *g;
	int parts[4];

	(void) state;
	for (int axis = 0; axis < 3; axis++)
	{
		g = source(3, 3, 4, 5);
		nn_slice(g, 0, axis, 1, 2);
		check(g, 2);
		g = source(3, 3, 4, 5);
		parts[0] = nn_slice(g, 0, axis, 0, 1);
		parts[1] = 0;
		parts[2] = nn_slice(g, 0, axis, 1, 2);
		nn_concat(g, parts, 3, axis);
		check(g, 2);
		g = source(3, 3, 4, 5);
		nn_reduce(g, 0, axis, axis == 1);
		check(g, 2);
		g = source(3, 3, 4, 5);
		nn_permute(g, 0, orders[axis]);
		check(g, 2);
	}
	for (int factor = 1; factor < 4; factor++)
		for (int bilinear = 0; bilinear < 2; bilinear++)
		{
			g = source(3, 3, 2, 2);
			nn_upsample(g, 0, factor, bilinear);
			check(g, 2);
		}
}

static void
test_gates(void **state)
{
	NnGraph *g = source(2, 3, 4, 0);

	(void) state;
	nn_mul(g, 0, nn_scale(g, 0, 1)); /* a second node of that shape */
	check(g, 2);
	g = source(3, 2, 3, 4);
	nn_layerscale(g, 0, "ls1");
	check(g, 2);
	g = source(3, 4, 3, 5);
	nn_simam(g, 0, 0.1f);
	check(g, 2);
	g = source(3, 1, 1, 3);
	nn_simam(g, 0, 0.1f);
	check(g, 2);
	g = source(2, 6, 7, 0);
	nn_dropout(g, 0, 0.3f);
	check(g, 3);
	g = source(1, 9, 0, 0);
	nn_reparameterise(g, 0, nn_scale(g, 0, 1));
	check(g, 3);
}

static void
test_windows(void **state)
{
	static const int cases[][5] = {/* height, width, channels, window, shift */
								   {4, 6, 4, 2, 0},
								   {4, 6, 4, 2, 1},
								   {3, 3, 6, 3, 0},
								   {6, 3, 2, 3, 1}};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const int *c = cases[i];
		NnGraph *g = source(3, c[0], c[1], 3 * c[2]);

		nn_window_attention(g, 0, "attn", 2, c[3], c[4]);
		check(g, 2);
	}
}

/* Max-pool: where the maximum is far from the others the gradient is that of a copy;
 * among equal values the first takes it. */
static void
test_maxpool(void **state)
{
	for (int k = 2; k < 4; k++)
	{
		NnGraph *g = source(3, 7, 6, 3);
		Bench b;
		float *grad;

		(void) state;
		nn_maxpool(g, 0, k, k - 1, k / 2);
		b = bench_new(g, 2);
		grad = calloc(b.in_size[0], sizeof(float));
		/* All different, 0.05 apart, in an order that jumps about. */
		for (size_t i = 0; i < b.in_size[0]; i++)
			b.in[0][i] = 0.05f * (float) (i * 101 % b.in_size[0]);
		b.call.grad_in[0] = grad;
		objective(&b);
		nn_backward_op[NN_MAXPOOL].backward(&b.call);
		compare(&b, b.in[0], b.in_size[0], grad, NULL, "input");
		free(grad);
		free(b.in[0]);
		free(b.call.out);
		free(b.weight);
		free(b.call.scratch);
		free(b.call.saved);
		nn_graph_free(g);
	}
}

static void
test_maxpool_ties(void **state)
{
	NnGraph *g = source(3, 2, 2, 1);
	float in[4] = {1, 1, 1, 1};
	float out[1];
	float dy[1] = {5};
	float dx[4];
	NnCall call;

	(void) state;
	nn_maxpool(g, 0, 2, 2, 0);
	call = (NnCall){.graph = g,
					.node = nn_graph_output(g),
					.n = 1,
					.in = {in},
					.out = out,
					.grad_out = dy,
					.grad_in = {dx}};
	nn_op[NN_MAXPOOL].forward(&call);
	nn_backward_op[NN_MAXPOOL].backward(&call);
	assert_true(dx[0] == 5 && dx[1] == 0 && dx[2] == 0 && dx[3] == 0);
	nn_graph_free(g);
}

/* ------------------------------------------------------------ direct convolution */

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
		cmocka_unit_test(test_conv),	cmocka_unit_test(test_linear),
		cmocka_unit_test(test_norms),	cmocka_unit_test(test_activations),
		cmocka_unit_test(test_pools),	cmocka_unit_test(test_simple),
		cmocka_unit_test(test_add),		cmocka_unit_test(test_moves),
		cmocka_unit_test(test_gates),	cmocka_unit_test(test_windows),
		cmocka_unit_test(test_maxpool), cmocka_unit_test(test_maxpool_ties),
		cmocka_unit_test(test_direct),	cmocka_unit_test(test_tiles),
	};

	rng_seed(&rng, 20, 1);
	return cmocka_run_group_tests_name("train backward", tests, NULL, NULL);
}
