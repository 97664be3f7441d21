/*
 * test_nn_ops.c
 *	  Every op against plain loops in double over many random shapes.
 */
#include "test_nn_last.h"

#define TOLERANCE 2e-6

static double *
reference_last(const NnGraph *g, int n, float *const *in)
{
	const NnNode *node = nn_graph_output(g);
	size_t size = nn_shape_size(&node->shape), in_size = nn_shape_size(&g->node[0].shape);
	double *wanted = malloc(sizeof(double) * size * (size_t) n);
	double *x[2];

	x[0] = malloc(sizeof(double) * in_size);
	x[1] = malloc(sizeof(double) * in_size);
	for (int i = 0; i < n; i++)
	{
		for (int k = 0; k < node->ninputs; k++)
			for (size_t e = 0; e < in_size; e++)
				x[k][e] = in[k][(size_t) i * in_size + e];
		ref_forward(g, node, NULL, (const double *const *) x, wanted + (size_t) i * size);
	}
	free(x[0]);
	free(x[1]);
	return wanted;
}

/* Compare the last node with the reference, for several thread counts; frees g. */
static void
check_last(NnGraph *g, int n, uint64_t *s, float range, double tolerance)
{
	const NnNode *node = nn_graph_output(g);
	size_t size = nn_shape_size(&node->shape) * (size_t) n;
	float *in[2] = {NULL, NULL};
	double *wanted;

	assert_true(nn_graph_ok(g, NULL));
	for (int k = 0; k < node->ninputs; k++)
		in[k] = test_floats(s, nn_shape_size(&g->node[0].shape) * (size_t) n, range);
	wanted = reference_last(g, n, in);
	for (int threads = 1; threads <= 3; threads++)
	{
		NnPool *pool = nn_pool_new(threads);
		float *got = run_last(g, n, in, pool, threads != 2);
		double far = test_distance(got, wanted, size);
		char a[64], b[64];

		if (!(far <= tolerance))
			fail_msg(
				"%s %s -> %s, kernel %dx%d, stride %d, pad %d, groups %d, %s: off by %g "
				"of the largest",
				nn_op_name(node->kind), nn_shape_text(&g->node[0].shape, a, sizeof(a)),
				nn_shape_text(&node->shape, b, sizeof(b)), node->kernel[0],
				node->kernel[1], node->stride[0], node->pad[0], node->groups,
				nn_activation_name(node->activation), far);
		free(got);
		nn_pool_free(pool);
	}
	free(wanted);
	free(in[0]);
	free(in[1]);
	nn_graph_free(g);
}

static NnShape
random_image(uint64_t *s)
{
	return (NnShape){3, {test_int(s, 1, 13), test_int(s, 1, 13), test_int(s, 1, 37), 0}};
}

static NnShape
random_tokens(uint64_t *s)
{
	return (NnShape){2, {test_int(s, 1, 21), test_int(s, 1, 70), 0, 0}};
}

static NnActivation
random_activation(uint64_t *s)
{
	return (NnActivation) test_int(s, 0, NN_ACTIVATION_COUNT - 1);
}

static void
test_conv(void **state)
{
	uint64_t s = 11;

	(void) state;
	for (int round = 0; round < 200; round++)
	{
		NnShape in = random_image(&s);
		int kh = test_int(&s, 1, 5), kw = test_int(&s, 1, 5);
		int pad = test_int(&s, 0, (kh < kw ? kh : kw) - 1);
		int groups = 1, channels = test_int(&s, 1, 40);
		NnGraph *g;

		if (round % 4 == 1) /* grouped */
		{
			groups = test_int(&s, 2, 4);
			in.dim[2] = groups * test_int(&s, 1, 9);
			channels = groups * test_int(&s, 1, 9);
		}
		else if (round % 4 == 2) /* depthwise */
			groups = channels = in.dim[2];
		if (in.dim[0] + 2 * pad < kh || in.dim[1] + 2 * pad < kw)
			continue;
		g = graph_from(in);
		nn_conv2d(g, 0, "conv", channels, kh, kw, test_int(&s, 1, 3), pad, groups,
				  round & 8, random_activation(&s));
		test_fill_params(g, &s);
		check_last(g, test_int(&s, 1, 4), &s, 1, TOLERANCE);
	}
}

/* Many tiles, tiles that cross pictures, a tile of one picture only. */
static void
test_conv_tiles(void **state)
{
	static const int shape[][5] = {
		/* size, channels, outputs, kernel, pictures */
		{32, 24, 16, 3, 2}, {9, 64, 32, 3, 5},	{4, 128, 8, 3, 9}, {3, 96, 20, 1, 40},
		{30, 3, 12, 2, 3},	{8, 16, 130, 3, 2}, {7, 5, 64, 3, 1}};
	uint64_t s = 12;

	(void) state;
	for (size_t i = 0; i < sizeof(shape) / sizeof(shape[0]); i++)
	{
		NnGraph *g = graph_from((NnShape){3, {shape[i][0], shape[i][0], shape[i][1], 0}});

		nn_conv2d(g, 0, "conv", shape[i][2], shape[i][3], shape[i][3], 1, shape[i][3] / 2,
				  1, true, NN_GELU);
		test_fill_params(g, &s);
		check_last(g, shape[i][4], &s, 1, TOLERANCE);
	}
}

/* <im2col(x), m> = <x, col2im(m)> for any x and m */
static void
test_col2im_is_transpose(void **state)
{
	uint64_t s = 13;

	(void) state;
	for (int round = 0; round < 60; round++)
	{
		NnShape in = random_image(&s);
		int k = test_int(&s, 1, 4), pad = test_int(&s, 0, k - 1), groups = 1 + round % 2;
		size_t size, columns;
		double left = 0, right = 0;
		float *x, *m, *lowered, *back;
		NnGraph *g;
		NnConv c;

		in.dim[2] *= groups;
		if (in.dim[0] + 2 * pad < k || in.dim[1] + 2 * pad < k)
			continue;
		g = graph_from(in);
		nn_conv2d(g, 0, "c", 4, k, k, test_int(&s, 1, 3), pad, groups, false,
				  NN_IDENTITY);
		assert_true(nn_graph_ok(g, NULL));
		c = nn_conv_geometry(g, &g->node[1]);
		size = nn_shape_size(&in);
		columns = (size_t) (c.out_height * c.out_width) * (size_t) c.depth;
		x = test_floats(&s, size, 1);
		m = test_floats(&s, columns, 1);
		lowered = test_floats(&s, columns, 1);
		back = test_floats(&s, size, 0);
		for (int group = 0; group < groups; group++)
		{
			nn_im2col(&c, x, group, 0, c.out_height * c.out_width, lowered);
			for (size_t i = 0; i < columns; i++)
				left += (double) lowered[i] * m[i];
			nn_col2im_add(&c, m, group, 0, c.out_height * c.out_width, back);
		}
		for (size_t i = 0; i < size; i++)
			right += (double) x[i] * back[i];
		assert_true(fabs(left - right) < 1e-4 * (1 + fabs(left)));
		free(x);
		free(m);
		free(lowered);
		free(back);
		nn_graph_free(g);
	}
}

static void
test_linear(void **state)
{
	uint64_t s = 14;

	(void) state;
	for (int round = 0; round < 60; round++)
	{
		NnShape in = round & 1 ? random_tokens(&s) : (NnShape){1, {test_int(&s, 1, 300)}};
		NnGraph *g = graph_from(in);

		nn_linear(g, 0, "fc", test_int(&s, 1, 90), round & 2, random_activation(&s));
		test_fill_params(g, &s);
		check_last(g, test_int(&s, 1, 40), &s, 1, TOLERANCE);
	}
}

static void
test_norms_and_rows(void **state)
{
	uint64_t s = 15;

	(void) state;
	for (int round = 0; round < 40; round++)
	{
		NnShape in = round & 1 ? random_tokens(&s) : random_image(&s);
		NnGraph *g = graph_from(in);

		nn_batchnorm(g, 0, "bn", 1e-5f);
		test_fill_params(g, &s);
		check_last(g, test_int(&s, 1, 5), &s, 3, TOLERANCE);

		g = graph_from(in);
		nn_layernorm(g, 0, "ln", 1e-6f);
		test_fill_params(g, &s);
		/* rows of two or three values may have next to no variance */
		check_last(g, test_int(&s, 1, 5), &s, 3, nn_shape_cols(&in) < 4 ? 1e-2 : 2e-5);

		g = graph_from(in);
		nn_softmax(g, 0);
		check_last(g, test_int(&s, 1, 5), &s, 20, TOLERANCE);
	}
}

static void
test_attention(void **state)
{
	uint64_t s = 16;

	(void) state;
	for (int round = 0; round < 40; round++)
	{
		int heads = test_int(&s, 1, 5), width = test_int(&s, 1, 20);
		NnGraph *g =
			graph_from((NnShape){2, {test_int(&s, 1, 30), 3 * heads * width, 0, 0}});

		nn_attention(g, 0, heads);
		check_last(g, test_int(&s, 1, 4), &s, 2, TOLERANCE);
	}
}

static void
test_pools(void **state)
{
	uint64_t s = 17;

	(void) state;
	for (int round = 0; round < 60; round++)
	{
		NnShape in = random_image(&s);
		int k = test_int(&s, 1, 4), stride = test_int(&s, 1, 3),
			pad = test_int(&s, 0, k / 2);
		NnGraph *g;

		if (in.dim[0] + 2 * pad >= k && in.dim[1] + 2 * pad >= k)
		{
			g = graph_from(in);
			nn_maxpool(g, 0, k, stride, pad);
			check_last(g, test_int(&s, 1, 4), &s, 1, 0);
			g = graph_from(in);
			nn_avgpool(g, 0, k, stride, pad);
			check_last(g, test_int(&s, 1, 4), &s, 1, TOLERANCE);
		}
		g = graph_from(in);
		nn_global_avgpool(g, 0);
		check_last(g, test_int(&s, 1, 4), &s, 1, TOLERANCE);
	}
}

static void
test_moves(void **state)
{
	uint64_t s = 18;

	(void) state;
	for (int round = 0; round < 30; round++)
	{
		NnShape in = random_tokens(&s);
		NnShape flat = {1, {in.dim[0] * in.dim[1], 0, 0, 0}};
		NnGraph *g = graph_from(in);

		nn_class_token(g, 0, "cls");
		test_fill_params(g, &s);
		check_last(g, 3, &s, 1, 0);
		g = graph_from(in);
		nn_position(g, 0, "pos");
		test_fill_params(g, &s);
		check_last(g, 3, &s, 1, TOLERANCE);
		g = graph_from(in);
		nn_token(g, 0, test_int(&s, 0, in.dim[0] - 1));
		check_last(g, 3, &s, 1, 0);
		g = graph_from(in);
		nn_scale(g, 0, test_float(&s, 3));
		check_last(g, 3, &s, 1, TOLERANCE);
		g = graph_from(in);
		nn_reshape(g, 0, &flat);
		check_last(g, 3, &s, 1, 0);
		g = graph_from(in);
		nn_add(g, 0, 0);
		check_last(g, 3, &s, 1, TOLERANCE);
		for (int act = 0; act < NN_ACTIVATION_COUNT; act++)
		{
			g = graph_from(in);
			nn_activation(g, 0, (NnActivation) act);
			check_last(g, 3, &s, 8, TOLERANCE);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conv),
		cmocka_unit_test(test_conv_tiles),
		cmocka_unit_test(test_col2im_is_transpose),
		cmocka_unit_test(test_linear),
		cmocka_unit_test(test_norms_and_rows),
		cmocka_unit_test(test_attention),
		cmocka_unit_test(test_pools),
		cmocka_unit_test(test_moves),
	};

	return cmocka_run_group_tests_name("nn: ops", tests, NULL, NULL);
}
