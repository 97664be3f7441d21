/*
 * test_nn_gradients.c
 *	  Every operation, forward and backward, against double: values against plain loops,
 *	  gradients against central differences of these (step 1e-5); threads and outputs in
 *	  the place of inputs against the same without.  A kind without a case here fails.
 */
#include "test_nn_double.h"

#define PICTURES 3
#define STEP 1e-5
#define FORWARD_TOLERANCE 1e-5	/* of the largest value */
#define BACKWARD_TOLERANCE 3e-5 /* of the largest gradient */

static uint64_t state = 20;

/* A graph whose node 0 (and more) stand for inputs of any shape. */
static NnGraph *
inputs(int count, int ndim, int a, int b, int c, int d)
{
	const float zero[3] = {0, 0, 0}, one[3] = {1, 1, 1};
	NnGraph *g = nn_graph_new();
	NnShape shape = {ndim, {a, b, c, d}};

	assert_int_equal(nn_input(g, 1, 1, zero, one), 0);
	g->node[0].shape = shape;
	for (int i = 1; i < count; i++)
		nn_scale(g, 0, 1);
	return g;
}

static double *
doubles(const float *from, size_t n)
{
	double *v = malloc((n + 1) * sizeof(double));

	for (size_t i = 0; i < n; i++)
		v[i] = (double) from[i];
	return v;
}

static double
objective(const Double *d, const float *weight)
{
	double sum = 0;

	double_forward(d);
	for (size_t i = 0; i < d->n * nn_shape_size(&d->node->shape); i++)
		sum += d->out[i] * (double) weight[i];
	return sum;
}

/* Central differences of the objective by n values. */
static double *
differences(const Double *d, const float *weight, double *x, size_t n)
{
	double *grad = malloc((n + 1) * sizeof(double));

	for (size_t i = 0; i < n; i++)
	{
		double keep = x[i], up, down;

		x[i] = keep + STEP;
		up = objective(d, weight);
		x[i] = keep - STEP;
		down = objective(d, weight);
		x[i] = keep;
		grad[i] = (up - down) / (2 * STEP);
	}
	return grad;
}

/* got should be before + wanted; both relative to the largest wanted. */
static void
compare(const NnNode *node, const char *what, const float *got, const float *before,
		double *wanted, size_t n, double tolerance)
{
	double far;

	for (size_t i = 0; i < n; i++)
		wanted[i] += before ? (double) before[i] : 0;
	far = test_distance(got, wanted, n);
	if (!(far <= tolerance))
		fail_msg("%s: %s is off by %g of the largest", nn_op_name(node->kind), what, far);
}

static void
check_gradient(const Double *d, NnCall *call, const char *what, double *x, size_t n,
			   float **place, bool *add)
{
	double *wanted = differences(d, call->grad_out, x, n);
	float *before = test_floats(&state, n, 1);
	float *grad = test_floats(&state, n, 1);
	double *again = malloc((n + 1) * sizeof(double));

	memcpy(again, wanted, n * sizeof(double));
	*place = grad;
	if (add)
	{
		/* Written at first, then added to. */
		*add = false;
		nn_backward_op[d->node->kind].backward(call);
		compare(d->node, what, grad, NULL, wanted, n, BACKWARD_TOLERANCE);
		*add = true;
	}
	memcpy(grad, before, n * sizeof(float));
	nn_backward_op[d->node->kind].backward(call);
	compare(d->node, what, grad, before, again, n, BACKWARD_TOLERANCE);
	*place = NULL;
	if (add)
		*add = false;
	free(again);
	free(wanted);
	free(before);
	free(grad);
}

/*
 * In inference the values are the same bits for any number of threads, with scratch of
 * any content, and where the output may lie in the place of an input, whichever.
 */
static void
check_inference(const NnCall *training)
{
	const NnNode *node = training->node;
	const NnOp *op = &nn_op[node->kind];
	size_t size = PICTURES * nn_shape_size(&node->shape);
	NnCall call = *training;
	float *first = NULL;

	call.train = false;
	call.saved = NULL;
	for (int threads = 1; threads <= 3; threads++)
		for (int k = -1; k < (nn_may_overwrite(node->kind) ? node->ninputs : 0); k++)
		{
			size_t scratch =
				op->scratch ? op->scratch(call.graph, node, PICTURES, threads) : 0;
			float *out = test_floats(&state, size, 1e9f);

			call.pool = nn_pool_new(threads);
			call.scratch = test_floats(&state, scratch, 1e9f);
			call.out = out;
			call.in[0] = training->in[0];
			call.in[1] = training->in[1];
			if (k >= 0)
			{
				memcpy(out, training->in[k], size * sizeof(float));
				call.in[k] = out;
			}
			op->forward(&call);
			if (first && memcmp(first, out, size * sizeof(float)) != 0)
				fail_msg("%s: %d threads%s give other values", nn_op_name(node->kind),
						 threads, k >= 0 ? " in place" : "");
			nn_pool_free(call.pool);
			free(call.scratch);
			if (first)
				free(out);
			else
				first = out;
		}
	free(first);
}

/* The last node of g; frees g. */
static void
check(NnGraph *g)
{
	const NnNode *node = nn_graph_output(g);
	const NnOp *op = &nn_op[node->kind];
	const NnBackwardOp *back = &nn_backward_op[node->kind];
	size_t out_size = PICTURES * nn_shape_size(&node->shape), scratch = 64, saved = 64;
	Double d = {.g = g, .node = node, .n = PICTURES, .seed = 7, .first = 2};
	NnCall call = {.graph = g,
				   .node = node,
				   .n = PICTURES,
				   .train = true,
				   .momentum = 0,
				   .seed = 7,
				   .first = 2};
	float *in[NN_MAX_INPUTS] = {0}, *out = test_floats(&state, out_size, 1);
	float *weight = test_floats(&state, out_size, 1);
	NnError err;

	if (!nn_graph_ok(g, &err))
		fail_msg("%s", err.text);
	for (int k = 0; k < node->ninputs; k++)
	{
		size_t n = PICTURES * nn_shape_size(nn_input_shape(g, node, k));

		in[k] = test_floats(&state, n, 1);
		for (size_t i = 0; i < n && node->kind == NN_EMBEDDING; i++)
			in[k][i] = (float) test_int(&state, 0, node->rows - 1);
		call.in[k] = in[k];
		d.in[k] = doubles(in[k], n);
	}
	for (int p = 0; p < node->nparams; p++)
		if (node->param[p] >= 0)
		{
			NnParam *param = &g->param[node->param[p]];
			size_t n = nn_shape_size(&param->shape);

			for (size_t i = 0; i < n; i++)
				param->data[i] = test_float(&state, 1);
			call.param[p] = param->data;
			d.param[p] = doubles(param->data, n);
		}
	scratch += op->scratch ? op->scratch(g, node, PICTURES, 1) : 0;
	scratch += back->scratch ? back->scratch(g, node, PICTURES, 1) : 0;
	saved += op->saved ? op->saved(g, node, PICTURES) : 0;
	call.out = out;
	call.grad_out = weight;
	call.scratch = test_floats(&state, scratch, 1e9f);
	call.saved = test_floats(&state, saved, 1e9f);
	d.out = malloc(out_size * sizeof(double));

	op->forward(&call);
	double_forward(&d);
	compare(node, "a value", out, NULL, d.out, out_size, FORWARD_TOLERANCE);
	for (int k = 0; k < node->ninputs && node->kind != NN_EMBEDDING; k++)
		check_gradient(&d, &call, "a gradient of an input", d.in[k],
					   PICTURES * nn_shape_size(nn_input_shape(g, node, k)),
					   &call.grad_in[k], &call.add_grad_in[k]);
	for (int p = 0; p < node->nparams; p++)
		if (d.param[p] && g->param[node->param[p]].trainable)
			check_gradient(&d, &call, "a gradient of a parameter", d.param[p],
						   nn_shape_size(&g->param[node->param[p]].shape),
						   &call.grad_param[p], NULL);

	check_inference(&call);
	for (int k = 0; k < NN_MAX_INPUTS; k++)
	{
		free(in[k]);
		free(d.in[k]);
	}
	for (int p = 0; p < NN_MAX_PARAMS; p++)
		free(d.param[p]);
	free(d.out);
	free(out);
	free(weight);
	free(call.scratch);
	free(call.saved);
	nn_graph_free(g);
}

/* One operation on inputs of one shape. */
#define CASE(count, ndim, a, b, c, d, build)                                             \
	do                                                                                   \
	{                                                                                    \
		NnGraph *g = inputs(count, ndim, a, b, c, d);                                    \
                                                                                         \
		build;                                                                           \
		check(g);                                                                        \
	} while (0)

static void
convolutions(bool transposed)
{
	static const struct
	{
		int height, width, channels, outputs, kernel, stride, pad, out_pad, groups;
	} t[] = {{5, 4, 3, 2, 3, 1, 1, 0, 1}, {6, 5, 4, 6, 3, 2, 1, 1, 2},
			 {7, 7, 2, 3, 4, 3, 2, 2, 1}, {4, 6, 4, 4, 3, 1, 1, 0, 4},
			 {5, 5, 4, 4, 5, 2, 2, 1, 4}, {3, 3, 5, 7, 1, 1, 0, 0, 1},
			 {6, 6, 3, 2, 2, 2, 0, 0, 1}, {4, 5, 4, 6, 2, 3, 2, 1, 2},
			 {5, 5, 4, 4, 2, 2, 3, 0, 4}};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
	{
		NnGraph *g = inputs(1, 3, t[i].height, t[i].width, t[i].channels, 0);

		if (transposed)
			nn_conv_transpose2d(g, 0, "up", t[i].outputs, t[i].kernel, t[i].stride,
								t[i].pad, t[i].out_pad, t[i].groups, i % 2 == 0,
								NN_IDENTITY);
		else
			nn_conv2d(g, 0, "conv", t[i].outputs, t[i].kernel, t[i].kernel, t[i].stride,
					  t[i].pad, t[i].groups, i % 2 == 0, NN_IDENTITY);
		check(g);
	}
}

static void
case_conv(void)
{
	convolutions(false);
	CASE(1, 3, 6, 5, 2, 0, nn_conv2d(g, 0, "c", 2, 2, 3, 2, 0, 1, true, NN_IDENTITY));
	CASE(1, 3, 6, 6, 3, 0, nn_conv2d(g, 0, "c", 5, 5, 5, 3, 2, 1, true, NN_IDENTITY));
	/* windows that lie in the padding altogether, as in the last two of convolutions() */
	CASE(1, 3, 3, 4, 2, 0, nn_conv2d(g, 0, "c", 3, 1, 1, 1, 1, 1, true, NN_IDENTITY));
}

static void
case_conv_transpose(void)
{
	convolutions(true);
}

static void
case_linear(void)
{
	CASE(1, 1, 5, 0, 0, 0, nn_linear(g, 0, "l", 3, true, NN_IDENTITY));
	CASE(1, 3, 2, 3, 4, 0, nn_linear(g, 0, "l", 5, false, NN_IDENTITY));
}

static void
case_norms(void)
{
	CASE(1, 3, 3, 2, 5, 0, nn_batchnorm(g, 0, "n", 1e-3f));
	CASE(1, 2, 4, 7, 0, 0, nn_layernorm(g, 0, "n", 1e-3f));
	CASE(1, 1, 6, 0, 0, 0, nn_batchnorm(g, 0, "n", 1e-2f));
}

static void
case_activations(void)
{
	for (int act = NN_IDENTITY + 1; act < NN_ACTIVATION_COUNT; act++)
		CASE(1, 2, 5, 7, 0, 0, nn_activation(g, 0, (NnActivation) act));
}

static void
case_pools(void)
{
	CASE(1, 3, 6, 5, 3, 0, nn_maxpool(g, 0, 3, 2, 1));
	CASE(1, 3, 4, 4, 2, 0, nn_maxpool(g, 0, 2, 2, 0));
	CASE(1, 3, 5, 6, 2, 0, nn_avgpool(g, 0, 3, 2, 1));
	CASE(1, 3, 4, 5, 3, 0, nn_avgpool(g, 0, 2, 1, 0));
	CASE(1, 3, 4, 3, 5, 0, nn_global_avgpool(g, 0));
}

static void
case_pairs(void)
{
	CASE(2, 3, 2, 3, 4, 0, nn_add(g, 0, 1));
	CASE(2, 3, 2, 3, 4, 0, nn_mul(g, 0, 1));
	CASE(2, 1, 6, 0, 0, 0, nn_reparameterise(g, 0, 1));
}

static void
case_attention(void)
{
	CASE(1, 2, 5, 12, 0, 0, nn_attention(g, 0, 2));
	CASE(1, 2, 3, 9, 0, 0, nn_attention(g, 0, 1));
	CASE(1, 2, 3, 7, 0, 0, nn_softmax(g, 0));
}

static void
case_windows(void)
{
	CASE(1, 3, 4, 6, 12, 0, nn_window_attention(g, 0, "w", 2, 2, 0));
	CASE(1, 3, 4, 6, 12, 0, nn_window_attention(g, 0, "w", 2, 2, 1));
	CASE(1, 3, 6, 6, 6, 0, nn_window_attention(g, 0, "w", 1, 3, 1));
	CASE(1, 3, 3, 3, 12, 0, nn_window_attention(g, 0, "w", 2, 3, 0));
	CASE(1, 3, 6, 3, 12, 0, nn_window_attention(g, 0, "w", 2, 3, 1));
}

static void
case_tokens(void)
{
	const NnShape flat = {2, {4, 3}};

	CASE(1, 2, 4, 3, 0, 0, nn_class_token(g, 0, "cls"));
	CASE(1, 2, 4, 3, 0, 0, nn_position(g, 0, "pos"));
	CASE(1, 2, 4, 3, 0, 0, nn_token(g, 0, 2));
	CASE(1, 3, 2, 2, 3, 0, nn_reshape(g, 0, &flat));
	CASE(1, 2, 4, 3, 0, 0, nn_scale(g, 0, -0.7f));
	CASE(1, 2, 4, 3, 0, 0, nn_layerscale(g, 0, "ls"));
	CASE(1, 1, 4, 0, 0, 0, nn_embedding(g, 0, "table", 5, 3));
}

static void
case_moves(void)
{
	const int perm[4] = {2, 0, 3, 1}, three[3] = {2, 1, 0}, x[3] = {0, 1, 2};
	int parts[3] = {0}; /* of different lengths */

	CASE(1, 4, 2, 3, 4, 2, nn_permute(g, 0, perm));
	CASE(1, 3, 2, 3, 4, 0, nn_permute(g, 0, three));
	for (int axis = 0; axis < 3; axis++)
	{
		CASE(3, 3, 2, 3, 4, 0, nn_concat(g, x, 3, axis));
		CASE(1, 3, 3, 3, 4, 0, nn_slice(g, 0, axis, 1, 2));
		CASE(1, 3, 3, 4, 5, 0, parts[0] = nn_slice(g, 0, axis, 0, 1);
			 parts[2] = nn_slice(g, 0, axis, 1, 2); nn_concat(g, parts, 3, axis));
		CASE(1, 3, 2, 3, 4, 0, nn_reduce(g, 0, axis, axis == 1));
	}
	CASE(1, 3, 2, 3, 2, 0, nn_upsample(g, 0, 1, true));
	CASE(1, 3, 2, 3, 2, 0, nn_upsample(g, 0, 2, false));
	CASE(1, 3, 3, 2, 2, 0, nn_upsample(g, 0, 3, true));
	CASE(1, 3, 1, 2, 2, 0, nn_upsample(g, 0, 2, true));
}

static void
case_gates(void)
{
	CASE(1, 3, 3, 4, 3, 0, nn_simam(g, 0, 1e-2f));
	CASE(1, 3, 1, 1, 3, 0, nn_simam(g, 0, 1e-1f));
	CASE(1, 2, 6, 5, 0, 0, nn_dropout(g, 0, 0.4f));
	CASE(1, 2, 6, 5, 0, 0, nn_drop_path(g, 0, 0.4f));
}

static const struct
{
	NnOpKind kind[8];
	int n;
	void (*run)(void);
} cases[] = {
	{{NN_CONV2D}, 1, case_conv},
	{{NN_CONV_TRANSPOSE2D}, 1, case_conv_transpose},
	{{NN_LINEAR}, 1, case_linear},
	{{NN_BATCHNORM, NN_LAYERNORM}, 2, case_norms},
	{{NN_ACTIVATION}, 1, case_activations},
	{{NN_MAXPOOL, NN_AVGPOOL, NN_GLOBAL_AVGPOOL}, 3, case_pools},
	{{NN_ADD, NN_MUL, NN_REPARAMETERISE}, 3, case_pairs},
	{{NN_ATTENTION, NN_SOFTMAX}, 2, case_attention},
	{{NN_WINDOW_ATTENTION}, 1, case_windows},
	{{NN_CLASS_TOKEN, NN_POSITION, NN_TOKEN, NN_RESHAPE, NN_SCALE, NN_LAYERSCALE,
	  NN_EMBEDDING},
	 7,
	 case_tokens},
	{{NN_PERMUTE, NN_CONCAT, NN_SLICE, NN_REDUCE, NN_UPSAMPLE}, 5, case_moves},
	{{NN_SIMAM, NN_DROPOUT}, 2, case_gates},
};

#define NCASES (sizeof(cases) / sizeof(cases[0]))

static void
test_gradients(void **unused)
{
	(void) unused;
	for (size_t i = 0; i < NCASES; i++)
		cases[i].run();
}

/* Among equal values of a window the first takes the gradient. */
static void
test_maxpool_ties(void **unused)
{
	NnGraph *g = inputs(1, 3, 2, 2, 1, 0);
	float in[4] = {1, 1, 1, 1};
	float out[1];
	float dy[1] = {5};
	float dx[4];
	float saved[64]; /* the index, on devices that keep it */
	NnCall call;

	(void) unused;
	nn_maxpool(g, 0, 2, 2, 0);
	call = (NnCall){.graph = g,
					.node = nn_graph_output(g),
					.n = 1,
					.in = {in},
					.out = out,
					.saved = saved,
					.grad_out = dy,
					.grad_in = {dx}};
	nn_op[NN_MAXPOOL].forward(&call);
	nn_backward_op[NN_MAXPOOL].backward(&call);
	assert_true(dx[0] == 5 && dx[1] == 0 && dx[2] == 0 && dx[3] == 0);
	nn_graph_free(g);
}

/* INPUT alone has no gradient. */
static void
test_all_kinds(void **unused)
{
	(void) unused;
	for (int kind = 0; kind < NN_OP_COUNT; kind++)
	{
		bool found = kind == NN_INPUT;

		for (size_t i = 0; i < NCASES; i++)
			for (int k = 0; k < cases[i].n; k++)
				found |= cases[i].kind[k] == (NnOpKind) kind;
		if (!found)
			fail_msg("%s has no case", nn_op_name((NnOpKind) kind));
		if (kind != NN_INPUT && !nn_backward_op[kind].backward)
			fail_msg("%s has no gradient", nn_op_name((NnOpKind) kind));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gradients),
		cmocka_unit_test(test_maxpool_ties),
		cmocka_unit_test(test_all_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
