/*
 * test_nn_moves.c
 *	  Operations that move, weigh and draw values, against their definitions: indexes
 *	  written out, worked numbers, counts of random numbers; several outputs.
 */
#include "test_nn_reference.h"

#include "nn/device.h"
#include "nn/model_graph.h"
#include "nn/random.h"

static NnGraph *
graph_from(int ndim, int a, int b, int c, int d)
{
	const float zero[3] = {0, 0, 0}, one[3] = {1, 1, 1};
	NnGraph *g = nn_graph_new();

	assert_int_equal(nn_input(g, 1, 1, zero, one), 0);
	g->node[0].shape = (NnShape){ndim, {a, b, c, d}};
	return g;
}

/* The last node's output for n pictures, by three threads; free it. */
static float *
run(const NnGraph *g, int n, const float *const *in, bool train)
{
	const NnNode *node = &g->node[g->nnodes - 1];
	const NnOp *op = &nn_op[node->kind];
	NnPool *pool = nn_pool_new(3);
	uint64_t s = 5;
	size_t scratch = op->scratch ? op->scratch(g, node, n, 3) : 0;
	NnCall call = {
		.graph = g, .node = node, .n = n, .pool = pool, .train = train, .seed = 3};
	NnError err;

	if (!nn_graph_ok(g, &err))
		fail_msg("%s", err.text);
	for (int k = 0; k < node->ninputs; k++)
		call.in[k] = in[k];
	for (int p = 0; p < node->nparams; p++)
		call.param[p] = g->param[node->param[p]].data;
	call.out = test_floats(&s, (size_t) n * nn_shape_size(&node->shape), 1e9f);
	call.scratch = test_floats(&s, scratch, 1e9f);
	op->forward(&call);
	free(call.scratch);
	nn_pool_free(pool);
	return call.out;
}

static void
near(double got, double want, double tolerance)
{
	if (!(fabs(got - want) <= tolerance))
		fail_msg("%.9g instead of %.9g", got, want);
}

static void
test_permute(void **state)
{
	const int perm[4] = {2, 0, 3, 1};
	NnGraph *g = graph_from(4, 2, 3, 4, 5);
	uint64_t s = 1;
	float *x = test_floats(&s, 3 * 120, 1), *y;

	(void) state;
	nn_permute(g, 0, perm);
	y = run(g, 3, (const float *const[]){x}, false);
	assert_int_equal(g->node[1].shape.dim[0], 4);
	assert_int_equal(g->node[1].shape.dim[3], 3);
	for (int n = 0; n < 3; n++)
		for (int a = 0; a < 2; a++)
			for (int b = 0; b < 3; b++)
				for (int c = 0; c < 4; c++)
					for (int d = 0; d < 5; d++)
						assert_true(x[(((n * 2 + a) * 3 + b) * 4 + c) * 5 + d] ==
									y[(((n * 4 + c) * 2 + a) * 5 + d) * 3 + b]);
	free(x);
	free(y);
	nn_graph_free(g);
}

/* Parts cut out and put together again are what they were. */
static void
test_slice_concat(void **state)
{
	uint64_t s = 2;
	float *x = test_floats(&s, 2 * 60, 1);

	(void) state;
	for (int axis = 0; axis < 3; axis++)
	{
		NnGraph *g = graph_from(3, 3, 4, 5, 0);
		const int length = g->node[0].shape.dim[axis];
		float *part[2], *whole;
		int parts[2];

		parts[0] = nn_slice(g, 0, axis, 0, length - 2);
		part[0] = run(g, 2, (const float *const[]){x}, false);
		parts[1] = nn_slice(g, 0, axis, length - 2, 2);
		part[1] = run(g, 2, (const float *const[]){x}, false);
		nn_concat(g, parts, 2, axis);
		whole = run(g, 2, (const float *const *) part, false);
		assert_memory_equal(whole, x, 2 * 60 * sizeof(float));
		if (axis == 2)
			assert_true(part[1][2 * 4 + 1] == x[5 * 4 + 4]);
		free(part[0]);
		free(part[1]);
		free(whole);
		nn_graph_free(g);
	}
	free(x);
}

static void
test_upsample(void **state)
{
	/* bilinear by 2, corners not aligned: 1/4 and 3/4 */
	const float x[4] = {1, 2, 3, 5};
	const float nearest[16] = {1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 5, 5, 3, 3, 5, 5};
	const float first[4] = {1, 1.25f, 1.75f, 2},
				second[4] = {1.5f, 1.8125f, 2.4375f, 2.75f};
	NnGraph *g = graph_from(3, 2, 2, 1, 0);
	float *y;

	(void) state;
	nn_upsample(g, 0, 2, false);
	y = run(g, 1, (const float *const[]){x}, false);
	assert_memory_equal(y, nearest, sizeof(nearest));
	free(y);
	nn_upsample(g, 0, 2, true);
	y = run(g, 1, (const float *const[]){x}, false);
	for (int i = 0; i < 4; i++)
	{
		near(y[i], first[i], 1e-6);
		near(y[4 + i], second[i], 1e-6);
	}
	free(y);
	nn_graph_free(g);
}

static void
test_reduce(void **state)
{
	NnGraph *g = graph_from(3, 2, 3, 2, 0);
	const float x[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13};
	float *y;

	(void) state;
	nn_reduce(g, 0, 1, true);
	assert_int_equal(g->node[1].shape.ndim, 2);
	y = run(g, 1, (const float *const[]){x}, false);
	near(y[0], 3, 1e-6);
	near(y[3], 31.0 / 3, 1e-6);
	free(y);
	nn_reduce(g, 0, 2, false);
	y = run(g, 1, (const float *const[]){x}, false);
	near(y[0], 3, 0);
	near(y[5], 24, 0);
	free(y);
	nn_graph_free(g);
	g = graph_from(1, 4, 0, 0, 0);
	nn_reduce(g, 0, 0, false);
	y = run(g, 1, (const float *const[]){x}, false);
	assert_int_equal(g->node[1].shape.ndim, 1);
	near(y[0], 10, 0);
	free(y);
	nn_graph_free(g);
}

static void
test_simam(void **state)
{
	/* the worked example, once in the second of two channels */
	const float x[6] = {0.2f, 1.0f, -0.5f, 0.7f, -1.2f, 0.1f};
	const double out[6] = {0.12490252495122117, 0.7007432554311251,	 -0.3248356247660199,
						   0.4621490919108617,	-0.9019749989289269, 0.0622687693556665};
	const float dy[6] = {1.0f, -0.5f, 0.3f, 0.2f, 0.8f, -1.0f};
	const double grad[6] = {0.6214693668773339,	 -0.36462219839674537,
							0.13824435503396196, 0.18421793152520102,
							0.6414815807210935,	 -0.6410770937759191};
	float two[12], d[12], dx[12], *y;
	double scratch[64];
	NnGraph *g = graph_from(3, 2, 3, 2, 0);
	NnCall call = {.graph = g, .n = 1, .grad_out = d, .grad_in = {dx}};

	(void) state;
	for (int i = 0; i < 6; i++)
	{
		two[2 * i] = (float) i;
		two[2 * i + 1] = x[i];
		d[2 * i] = 0;
		d[2 * i + 1] = dy[i];
	}
	nn_simam(g, 0, 1e-4f);
	y = run(g, 1, (const float *const[]){two}, false);
	call.node = &g->node[1];
	call.in[0] = two;
	call.scratch = (float *) scratch;
	nn_backward_op[NN_SIMAM].backward(&call);
	for (int i = 0; i < 6; i++)
	{
		near(y[2 * i + 1], out[i], 1e-6);
		near(dx[2 * i + 1], grad[i], 1e-6);
		near(dx[2 * i], 0, 0);
	}
	free(y);
	nn_graph_free(g);
}

/* A picture keeps all its values or none, as often as asked for. */
static void
test_drop_path(void **state)
{
	NnGraph *g = graph_from(1, 4, 0, 0, 0);
	uint64_t s = 4;
	float *x = test_floats(&s, 4 * 5000, 1), *y;
	double kept = 0;

	(void) state;
	assert_int_equal(nn_drop_path(g, 0, 0), 0);
	nn_drop_path(g, 0, 0.2f);
	y = run(g, 5000, (const float *const[]){x}, true);
	for (int i = 0; i < 5000; i++)
	{
		bool keep = y[4 * i] != 0;

		for (int k = 4 * i; k < 4 * i + 4; k++)
			near(y[k], keep ? x[k] / 0.8f : 0, 1e-6);
		kept += keep;
	}
	near(kept / 5000, 0.8, 0.02);
	free(y);
	y = run(g, 5000, (const float *const[]){x}, false);
	assert_memory_equal(y, x, 4 * 5000 * sizeof(float));
	free(x);
	free(y);
	nn_graph_free(g);
}

static void
test_draws(void **state)
{
	double sum = 0, square = 0, kept = 0;
	NnGraph *g = graph_from(1, 10000, 0, 0, 0);
	uint64_t s = 4;
	float *x = test_floats(&s, 20000, 1), *lv = calloc(20000, sizeof(float)), *y, *again;

	(void) state;
	for (int i = 0; i < 20000; i++)
		lv[i] = -1.3862944f; /* deviation 1/2 */
	nn_scale(g, 0, 1);
	nn_reparameterise(g, 0, 1);
	y = run(g, 2, (const float *const[]){x, lv}, false);
	assert_memory_equal(y, x, 20000 * sizeof(float));
	free(y);
	y = run(g, 2, (const float *const[]){x, lv}, true);
	again = run(g, 2, (const float *const[]){x, lv}, true);
	assert_memory_equal(y, again, 20000 * sizeof(float));
	for (int i = 0; i < 20000; i++)
	{
		sum += y[i] - x[i];
		square += (y[i] - x[i]) * (y[i] - x[i]);
	}
	near(sum / 20000, 0, 0.02);
	near(square / 20000, 0.25, 0.01);
	assert_memory_not_equal(y, y + 10000, 10000 * sizeof(float));
	free(y);
	free(again);
	nn_dropout(g, 0, 0.25f);
	y = run(g, 2, (const float *const[]){x}, false);
	assert_memory_equal(y, x, 20000 * sizeof(float));
	free(y);
	y = run(g, 2, (const float *const[]){x}, true);
	for (int i = 0; i < 20000; i++)
	{
		assert_true(y[i] == 0 || fabsf(y[i] - x[i] / 0.75f) < 1e-6f);
		kept += y[i] != 0;
	}
	near(kept / 20000, 0.75, 0.015);
	free(y);
	/* what one picture is given does not depend on the batch's cuts */
	assert_true(nn_random(1, 2, 3, 4) == nn_random(1, 2, 3, 4));
	assert_true(nn_random(1, 2, 3, 4) != nn_random(1, 3, 2, 4));
	assert_true(nn_random(1, 2, 3, 4) != nn_random(2, 2, 3, 4));
	free(x);
	free(lv);
	nn_graph_free(g);
}

/* Attention in windows by its definition, over places of the whole map. */
static void
test_window_attention(void **state)
{
	static const int cases[][6] = {/* height, width, channels, heads, window, shift */
								   {4, 4, 6, 2, 2, 0},
								   {4, 6, 4, 1, 2, 1},
								   {6, 6, 6, 3, 3, 1},
								   {7, 7, 8, 2, 7, 0}};
	uint64_t s = 6;

	(void) state;
	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++)
	{
		int h = cases[k][0], w = cases[k][1], c = cases[k][2], heads = cases[k][3];
		int win = cases[k][4], shift = cases[k][5], depth = c / heads, n = h * w;
		NnGraph *g = graph_from(3, h, w, 3 * c, 0);
		float *x = test_floats(&s, (size_t) (2 * n * 3 * c), 1), *y;
		const float *table;

		nn_window_attention(g, 0, "attn", heads, win, shift);
		test_fill_params(g, &s);
		table = g->param[0].data;
		y = run(g, 2, (const float *const[]){x}, false);
		for (int item = 0; item < 2 * n * c; item++)
		{
			int picture = item / (n * c), p = item / c % n, ch = item % c;
			int head = ch / depth;
			const float *map = x + (size_t) picture * n * 3 * c;
			/* places after the shift */
			int py = (p / w - shift + h) % h, px = (p % w - shift + w) % w;
			double sum = 0, out = 0;

			for (int q = 0; q < n; q++)
			{
				int qy = (q / w - shift + h) % h, qx = (q % w - shift + w) % w;
				double score = 0;

				if (qy / win != py / win || qx / win != px / win)
					continue;
				/* nor do places from both ends of the map meet */
				if (abs(q / w - p / w) >= win || abs(q % w - p % w) >= win)
					continue;
				for (int i = 0; i < depth; i++)
					score += (double) map[p * 3 * c + head * depth + i] *
							 map[q * 3 * c + c + head * depth + i];
				score /= sqrt(depth);
				score += table[((py - qy + win - 1) * (2 * win - 1) + px - qx + win - 1) *
								   heads +
							   head];
				sum += exp(score);
				out += exp(score) * map[q * 3 * c + 2 * c + ch];
			}
			near(y[item], out / sum, 1e-5);
		}
		free(x);
		free(y);
		nn_graph_free(g);
	}
}

/* For inference only the first output counts, and nothing is dropped or drawn. */
static void
test_outputs(void **state)
{
	const float zero[3] = {0, 0, 0}, one[3] = {1, 1, 1};
	NnGraph *g = nn_graph_new(), *folded, *copy;
	int x = nn_input(g, 4, 4, zero, one), y, mean, logvar;
	uint8_t image[48] = {7, 200, 13};
	float out[3];
	double *wanted;
	uint64_t s = 8;
	NnError err;

	(void) state;
	x = nn_conv2d(g, x, "conv", 3, 3, 3, 1, 1, 1, false, NN_IDENTITY);
	x = nn_batchnorm(g, x, "norm", 1e-5f);
	x = nn_dropout(g, nn_activation(g, x, NN_RELU), 0.5f);
	y = nn_reshape(g, x, &(NnShape){1, {48}});
	mean = nn_linear(g, y, "mean", 3, true, NN_IDENTITY);
	logvar = nn_linear(g, y, "logvar", 3, true, NN_IDENTITY);
	nn_linear(g, nn_reparameterise(g, mean, logvar), "decoder", 48, true, NN_IDENTITY);
	nn_graph_set_outputs(g, (const int[]){mean, logvar, g->nnodes - 1}, 3);
	test_fill_params(g, &s);
	assert_true(nn_graph_ok(g, &err));
	assert_int_equal(nn_graph_outputs(g), 3);
	assert_ptr_equal(nn_graph_output(g), &g->node[mean]);
	assert_null(nn_cpu_device.load(g, 1, 1, &err));
	assert_non_null(strstr(err.text, "ends in something else than its first output"));
	copy = nn_graph_copy(g);
	assert_int_equal(nn_graph_output_node(copy, 2), g->nnodes - 1);
	nn_graph_free(copy);
	folded = nn_graph_fold_batchnorm(g, &err);
	assert_non_null(folded);
	/* input, convolution with all that follows, reshape, linear */
	assert_int_equal(folded->nnodes, 4);
	assert_int_equal(nn_graph_find_param(folded, "decoder.weight"), -1);
	{
		NnNet *net = nn_cpu_device.load(folded, 1, 1, &err);

		assert_non_null(net);
		assert_true(nn_cpu_device.run(net, image, 1, out, &err));
		nn_cpu_device.unload(net);
	}
	g->nnodes = mean + 1; /* the reference ends where the first output does */
	g->node[mean].input[0] = y;
	wanted = ref_run(g, image);
	for (int i = 0; i < 3; i++)
		near(out[i], wanted[i], 1e-5);
	free(wanted);
	nn_graph_free(folded);
	nn_graph_free(g);
}

/* Every kind with attributes goes through JSON and comes back as it was. */
static void
test_json(void **state)
{
	const float zero[3] = {0, 0, 0}, one[3] = {1, 1, 1};
	const int perm[3] = {1, 2, 0};
	NnGraph *g = nn_graph_new(), back = {0};
	int x = nn_input(g, 6, 6, zero, one), parts[2];
	json_t *json;
	char *text;
	NnError err;

	(void) state;
	x = nn_upsample(g, x, 2, true);
	x = nn_upsample(g, x, 1, false);
	x = nn_window_attention(g, x, "attn", 1, 4, 3);
	x = nn_layerscale(g, nn_simam(g, x, 1e-3f), "ls");
	x = nn_mul(g, x, nn_dropout(g, x, 0.25f));
	x = nn_reparameterise(g, x,
						  nn_permute(g, nn_permute(g, x, perm), (const int[]){2, 0, 1}));
	parts[0] = nn_slice(g, x, 1, 3, 2);
	parts[1] = nn_slice(g, x, 1, 0, 7);
	x = nn_concat(g, parts, 2, 1);
	x = nn_conv_transpose2d(g, x, "up", 4, 3, 2, 1, 1, 1, true, NN_RELU);
	x = nn_reduce(g, nn_reduce(g, x, 0, true), 0, false);
	nn_embedding(g, x, "table", 11, 3);
	if (!nn_graph_ok(g, &err))
		fail_msg("%s", err.text);
	json = nn_graph_to_json(g);
	text = json_dumps(json, JSON_COMPACT);
	if (!nn_graph_from_json(text, &back, &err))
		fail_msg("%s", err.text);
	assert_int_equal(back.nnodes, g->nnodes);
	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *a = &g->node[i], *b = &back.node[i];

		assert_int_equal(a->kind, b->kind);
		assert_true(nn_shape_equal(&a->shape, &b->shape));
		assert_memory_equal(a->input, b->input, (size_t) a->ninputs * sizeof(int));
		assert_true(a->axis == b->axis && a->index == b->index && a->rate == b->rate &&
					a->factor == b->factor && a->bilinear == b->bilinear &&
					a->mean_of == b->mean_of && a->window == b->window &&
					a->shift == b->shift && a->eps == b->eps && a->heads == b->heads &&
					a->channels == b->channels && a->rows == b->rows &&
					a->groups == b->groups && a->activation == b->activation &&
					(a->param[1] < 0) == (b->param[1] < 0));
		for (int k = 0; k < 2; k++)
			assert_true(a->kernel[k] == b->kernel[k] && a->stride[k] == b->stride[k] &&
						a->pad[k] == b->pad[k] && a->out_pad[k] == b->out_pad[k]);
		if (a->kind == NN_PERMUTE)
			assert_memory_equal(a->perm, b->perm, 3 * sizeof(int));
	}
	free(text);
	json_decref(json);
	nn_graph_clear(&back);
	nn_graph_free(g);
}

static void
refuse_json(const char *node, const char *part)
{
	char text[512];
	NnGraph g = {0};
	NnError err;

	snprintf(text, sizeof(text),
			 "{\"nodes\":[{\"op\":\"input\",\"shape\":[4,4,3],\"mean\":[0,0,0],"
			 "\"std\":[1,1,1]},%s]}",
			 node);
	assert_false(nn_graph_from_json(text, &g, &err));
	if (!strstr(err.text, part))
		fail_msg("\"%s\" does not say \"%s\"", err.text, part);
	nn_graph_clear(&g);
}

static void
test_json_refusals(void **state)
{
	(void) state;
#define NODE(op, rest) "{\"op\":\"" op "\",\"input\":[0]" rest "}"
	refuse_json(NODE("permute", ""), "\"perm\" is not an array of 1 to 6 axes");
	refuse_json(NODE("permute", ",\"perm\":[0,1]"), "each of 3 axes once");
	refuse_json(NODE("permute", ",\"perm\":[0,2,1,3]"), "more axes than there are");
	refuse_json(NODE("permute", ",\"perm\":[0,2,9]"), "axes from 0 to 5");
	refuse_json(NODE("slice", ",\"axis\":0,\"index\":3,\"channels\":2"),
				"2 from 3 on are not among the 4");
	refuse_json(NODE("reduce", ",\"axis\":3"), "there is no axis 3");
	refuse_json(NODE("reduce", ",\"axis\":0,\"mean_of\":1"), "neither true nor false");
	refuse_json(NODE("concat", ",\"axis\":0"), "concat takes 2 to 4 inputs, not 1");
	refuse_json("{\"op\":\"concat\",\"input\":[0,0,0,0,0],\"axis\":0}",
				"more than 4 inputs");
	refuse_json(NODE("upsample", ",\"factor\":2000"), "from 1 to 1024");
	refuse_json(NODE("dropout", ""), "\"rate\" is not a number");
	refuse_json(NODE("window_attention", ",\"name\":\"a\",\"heads\":1,\"window\":0,"
										 "\"shift\":0"),
				"from 1 to");
#define UP ",\"name\":\"up\",\"channels\":2,\"kernel\":[3,3],\"pad\":[1,1]"
	refuse_json(NODE("conv_transpose2d", UP ",\"stride\":[2,2],\"out_pad\":[2,0]"),
				"\"up\", given 4x4x3: kernel 3, stride 2, padding 1, output padding 2 "
				"make no window");
	refuse_json(NODE("conv_transpose2d", UP ",\"stride\":[0,1],\"out_pad\":[0,0]"),
				"stride 0");
	refuse_json(NODE("conv_transpose2d", UP ",\"stride\":[1,1],\"out_pad\":[0]"),
				"\"out_pad\" is not a pair");
	refuse_json(
		NODE("conv_transpose2d", UP ",\"stride\":[1,1],\"out_pad\":[0,0],\"groups\":2"),
		"2 groups do not divide 3 inputs and 2 outputs");
#undef UP
	refuse_json(NODE("embedding", ",\"name\":\"t\",\"rows\":3,\"channels\":4"),
				"\"t\", given 4x4x3: wants an input of 1 dimensions");
	refuse_json(NODE("embedding", ",\"name\":\"t\",\"rows\":0,\"channels\":4"),
				"\"rows\" is not a whole number from 1");
	refuse_json(NODE("mul", ",\"axis\":0"), "unknown attribute \"axis\"");
#undef NODE
}

static void
expect(NnGraph *g, const char *part)
{
	NnError err;

	assert_false(nn_graph_ok(g, &err));
	if (!strstr(err.text, part))
		fail_msg("\"%s\" does not say \"%s\"", err.text, part);
	nn_graph_free(g);
}

static void
test_refusals(void **state)
{
	const int wrong[3] = {0, 0, 1};
	NnGraph *g;

	(void) state;
#define REFUSE(call, part)                                                               \
	do                                                                                   \
	{                                                                                    \
		g = graph_from(3, 4, 6, 9, 0);                                                   \
		call;                                                                            \
		expect(g, part);                                                                 \
	} while (0)
	REFUSE(nn_permute(g, 0, wrong), "does not name each of 3 axes once");
	REFUSE(nn_slice(g, 0, 3, 0, 1), "given 4x6x9: there is no axis 3");
	REFUSE(nn_slice(g, 0, 2, 5, 5), "5 from 5 on are not among the 9");
	REFUSE(nn_slice(g, 0, 2, -1, 5), "5 from -1 on");
	REFUSE(nn_reduce(g, 0, -1, false), "there is no axis -1");
	REFUSE(nn_upsample(g, 0, 0, false), "a factor of 0");
	REFUSE(nn_upsample(g, nn_upsample(g, 0, 1024, false), 2, false), "is too large");
	REFUSE(nn_dropout(g, 0, 1), "a rate of 1 is not in [0, 1)");
	REFUSE(nn_dropout(g, 0, NAN), "is not in [0, 1)");
	REFUSE(nn_simam(g, 0, 0), "eps 0 is not in (0, 1]");
	REFUSE(nn_window_attention(g, 0, "a", 1, 4, 0),
		   "\"a\", given 4x6x9: windows of 4 (1 to 64), shifted by 0, do not cut");
	REFUSE(nn_window_attention(g, 0, "a", 1, 2, 2), "shifted by 2");
	REFUSE(nn_window_attention(g, 0, "a", 2, 2, 0), "9 values a token are not 3 x 2");
	REFUSE(nn_mul(g, 0, nn_reduce(g, 0, 0, true)),
		   "mul, given 4x6x9 and 6x9: the shapes differ");
	REFUSE(nn_concat(g, (const int[]){0, nn_slice(g, 0, 0, 0, 2)}, 2, 1),
		   "4x6x9 and 2x6x9: the shapes differ in more than axis 1");
	REFUSE(nn_concat(g, (const int[]){0}, 1, 1), "concat takes 2 to 4 inputs, not 1");
	REFUSE(nn_layerscale(g, 0, ""), "needs a name");
	REFUSE(nn_graph_set_outputs(g, (const int[]){0, 0}, 2), "are one node");
	REFUSE(nn_graph_set_outputs(g, (const int[]){1}, 1), "none of the 1 nodes");
	REFUSE(nn_graph_set_outputs(g, wrong, 0), "a network of 0 outputs");
#undef REFUSE
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_permute),	  cmocka_unit_test(test_slice_concat),
		cmocka_unit_test(test_upsample),  cmocka_unit_test(test_reduce),
		cmocka_unit_test(test_simam),	  cmocka_unit_test(test_draws),
		cmocka_unit_test(test_drop_path), cmocka_unit_test(test_window_attention),
		cmocka_unit_test(test_outputs),	  cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_json),	  cmocka_unit_test(test_json_refusals),
	};

	return cmocka_run_group_tests_name("nn: moves and gates", tests, NULL, NULL);
}
