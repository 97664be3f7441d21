/*
 * test_train_autoencoder.c
 *	  Networks of several outputs on the tape: gradients of the whole loss by differences,
 *	  the same whatever the threads; and the attention module of AE-ViT.
 */
#include "test_nn_reference.h"

#include "training/arch/vit.h"
#include "training/loss/vae.h"
#include "training/tape/tape.h"

#define N 3

static NnGraph *
autoencoder(const char *name, int side, int latents)
{
	ArchOptions o;
	TrainError err;
	NnGraph *g;

	arch_defaults(arch_find(name), &o);
	o.height = o.width = side;
	o.outputs = latents;
	g = arch_build(arch_find(name), &o, &err);
	if (!g)
		fail_msg("%s", err.text);
	return g;
}

typedef struct Run
{
	NnGraph *g;
	Tape *tape;
	VaeOptions options;
	int size[4];
	float *grad[4];
	uint8_t *images;
} Run;

static double
step(Run *r)
{
	VaeOutputs out = {.n = N, .latents = r->size[0], .pixels = r->size[2]};

	tape_seed(r->tape, 77, 0);
	tape_forward(r->tape, r->images, N, true, 0);
	out.mu = tape_output(r->tape, 0);
	out.logvar = tape_output(r->tape, 1);
	out.logits = tape_output(r->tape, 2);
	out.picture = tape_output(r->tape, 3);
	return loss_vae(&out, &r->options, r->grad[0], r->grad[1], r->grad[2]).loss;
}

static Run
start(const char *arch, VaeReconstruction kind, int side, NnPool *pool)
{
	Run r = {.g = autoencoder(arch, side, 4), .options = {kind, 0.5}};
	uint64_t s = 9;
	TrainError err;
	int last;

	r.tape = tape_new(r.g, N, pool, true, &err);
	assert_non_null(r.tape);
	r.images = malloc((size_t) N * side * side * 3);
	for (int i = 0; i < N * side * side * 3; i++)
		r.images[i] = (uint8_t) (test_random(&s) >> 40);
	assert_int_equal(nn_graph_outputs(r.g), 4);
	for (int k = 0; k < 4; k++)
	{
		r.size[k] = (int) nn_shape_size(&r.g->node[nn_graph_output_node(r.g, k)].shape);
		r.grad[k] = calloc((size_t) (N * r.size[k]), sizeof(float));
	}
	/* the last layer as large as the others: gradients of those stand out of rounding */
	last = nn_graph_find_param(r.g, "decoder.conv4.weight");
	for (int i = 0; last >= 0 && i < (int) nn_shape_size(&r.g->param[last].shape); i++)
		r.g->param[last].data[i] *= 14;
	/* biases and shifts away from 0, where ReLU has its kink for constant maps */
	for (int p = 0; p < r.g->nparams; p++)
		if (strstr(r.g->param[p].name, ".bias"))
			for (int c = 0; c < r.g->param[p].shape.dim[0]; c++)
				r.g->param[p].data[c] = test_float(&s, 0.3f);
	return r;
}

static void
end(Run *r)
{
	for (int k = 0; k < 4; k++)
		free(r->grad[k]);
	free(r->images);
	tape_free(r->tape);
	nn_graph_free(r->g);
}

/*
 * The derivative along the gradient itself: rounding of float passes drowns single
 * parameters, but not the sum over all of one tensor.
 */
static void
check_parameter(Run *r, int p)
{
	NnParam *param = &r->g->param[p];
	size_t n = nn_shape_size(&param->shape);
	const float *grad = tape_gradient(r->tape, p);
	float *keep = malloc(n * sizeof(float)), *way = malloc(n * sizeof(float));
	double norm = 0, up, down, length, allowed, off = INFINITY;

	for (size_t i = 0; i < n; i++)
		norm += (double) grad[i] * grad[i];
	norm = sqrt(norm);
	memcpy(keep, param->data, n * sizeof(float));
	memcpy(way, grad, n * sizeof(float));
	/*
	 * So far that the loss changes by a hundredth: more than rounding does, too little
	 * for curves to show; and a fifth of that, as there may be a kink on the way.
	 */
	length = norm > 2 ? 0.01 / norm : 5e-3;
	allowed = 0.03 * norm + 3e-4 / length;
	for (int k = 0; k < 2 && off > allowed; k++, length /= 5)
	{
		for (size_t i = 0; i < n; i++)
			param->data[i] = (float) (keep[i] + length * way[i] / (norm + 1e-30));
		up = step(r);
		for (size_t i = 0; i < n; i++)
			param->data[i] = (float) (keep[i] - length * way[i] / (norm + 1e-30));
		down = step(r);
		memcpy(param->data, keep, n * sizeof(float));
		off = fabs((up - down) / (2 * length) - norm);
	}
	if (!(off <= allowed))
		fail_msg("%s: gradient of length %g is off by %g", param->name, norm, off);
	free(keep);
	free(way);
}

static void
check(const char *arch, VaeReconstruction kind, int side)
{
	Run r = start(arch, kind, side, NULL);

	for (int p = 0; p < r.g->nparams; p++)
	{
		if (!r.g->param[p].trainable)
			continue;
		step(&r);
		tape_backward_outputs(r.tape, (const float *const *) r.grad, false);
		check_parameter(&r, p);
	}
	end(&r);
}

static void
test_gradients(void **state)
{
	(void) state;
	check("vae", VAE_BCE, 16);
	check("cvae", VAE_MSE, 16);
	check("csvae", VAE_BCE, 16);
	check("vte", VAE_BCE, 16);
}

/* The seed decides what is drawn, the number of threads does not. */
static void
test_threads(void **state)
{
	NnPool *pool = nn_pool_new(3);
	Run a = start("csvae", VAE_BCE, 16, NULL), b = start("csvae", VAE_BCE, 16, pool);
	double first = step(&a);

	(void) state;
	assert_true(first == step(&b));
	assert_true(first == step(&a));
	tape_backward_outputs(a.tape, (const float *const *) a.grad, false);
	tape_backward_outputs(b.tape, (const float *const *) b.grad, false);
	for (int p = 0; p < a.g->nparams; p++)
		if (a.g->param[p].trainable)
			assert_memory_equal(tape_gradient(a.tape, p), tape_gradient(b.tape, p),
								nn_shape_size(&a.g->param[p].shape) * sizeof(float));
	tape_seed(b.tape, 78, 0);
	tape_forward(b.tape, b.images, N, true, 0);
	assert_memory_equal(tape_output(b.tape, 0), tape_output(a.tape, 0),
						N * 4 * sizeof(float));
	assert_memory_not_equal(tape_output(b.tape, 2), tape_output(a.tape, 2),
							(size_t) (N * a.size[2]) * sizeof(float));
	end(&a);
	end(&b);
	nn_pool_free(pool);
}

/* Every node of g from floats in place of its input. */
static float **
run_all(const NnGraph *g, const float *input)
{
	float **out = calloc((size_t) g->nnodes, sizeof(*out));

	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];
		const NnOp *op = &nn_op[node->kind];
		size_t size = nn_shape_size(&node->shape);
		size_t scratch = op->scratch ? op->scratch(g, node, 1, 1) : 0;
		NnCall call = {.graph = g, .node = node, .n = 1};

		call.out = out[i] = calloc(size, sizeof(float));
		if (i == 0)
		{
			memcpy(out[i], input, size * sizeof(float));
			continue;
		}
		call.scratch = aligned_alloc(64, (scratch * sizeof(float) + 127) & ~(size_t) 63);
		for (int k = 0; k < node->ninputs; k++)
			call.in[k] = out[node->input[k]];
		for (int p = 0; p < node->nparams; p++)
			call.param[p] = node->param[p] >= 0 ? g->param[node->param[p]].data : NULL;
		op->forward(&call);
		free(call.scratch);
	}
	return out;
}

static void
free_all(float **out, int n)
{
	for (int i = 0; i < n; i++)
		free(out[i]);
	free(out);
}

/* The worked example "aem", channels last. */
static void
test_attention_module(void **state)
{
	const float zero[3] = {0, 0, 0}, one[3] = {1, 1, 1};
	const float f[8] = {0.5f, 1.5f, -1.0f, 0.3f, 0.2f, -0.4f, 0.8f, 0.6f};
	const double want[8] = {0.7996740987415122, 2.2992415623248332, -1.5993481974830244,
							0.4598483124649666, 0.3198696394966049, -0.6131310832866221,
							1.2794785579864186, 0.9196966249299332};
	NnGraph *g = nn_graph_new();
	int x = nn_input(g, 2, 2, zero, one);
	float **out;
	NnError err;

	(void) state;
	g->node[0].shape.dim[2] = 2;
	x = ae_vit_attention(g, x, false, 1);
	if (!nn_graph_ok(g, &err))
		fail_msg("%s", err.text);
	memcpy(g->param[nn_graph_find_param(g, "aem.fc1.weight")].data,
		   (float[]){0.7f, -0.2f}, 8);
	g->param[nn_graph_find_param(g, "aem.fc1.bias")].data[0] = 0.1f;
	memcpy(g->param[nn_graph_find_param(g, "aem.fc2.weight")].data,
		   (float[]){0.9f, -0.6f}, 8);
	/* the example's shift of 0.2 enters twice, as ours does */
	memcpy(g->param[nn_graph_find_param(g, "aem.fc2.bias")].data, (float[]){0, 0.2f}, 8);
	out = run_all(g, f);
	for (int i = 0; i < 8; i++)
		if (!(fabs(out[x][i] - want[i]) < 1e-6))
			fail_msg("%d: %.9g instead of %.9g", i, out[x][i], want[i]);
	free_all(out, g->nnodes);
	nn_graph_free(g);
}

/* At the start both readings leave the patches nearly as they are. */
static void
test_attention_begins_as_nothing(void **state)
{
	(void) state;
	for (int spatial = 0; spatial < 2; spatial++)
	{
		const Arch *arch = arch_find("ae-vit");
		ArchOptions o;
		TrainError err;
		uint64_t s = 3;
		float *input = test_floats(&s, 32 * 32 * 3, 2), **out;
		NnGraph *g;
		int patches = 1, attended;

		arch_defaults(arch, &o);
		assert_true(arch_set(arch, &o, "size", "ti", &err));
		assert_true(arch_set(arch, &o, "aem", spatial ? "spatial" : "channel", &err));
		o.head = ARCH_HASH;
		o.outputs = 16;
		o.height = o.width = 32;
		g = arch_build(arch, &o, &err);
		if (!g)
			fail_msg("%s", err.text);
		for (attended = 1; g->node[attended].kind != NN_ADD; attended++)
			;
		out = run_all(g, input);
		for (size_t i = 0; i < nn_shape_size(&g->node[patches].shape); i++)
			assert_true(fabsf(out[attended][i] / out[patches][i] - 1.018f) < 0.003f);
		free_all(out, g->nnodes);
		free(input);
		nn_graph_free(g);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gradients),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_attention_module),
		cmocka_unit_test(test_attention_begins_as_nothing),
	};

	return cmocka_run_group_tests_name("train: autoencoders", tests, NULL, NULL);
}
