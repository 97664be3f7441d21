/*
 * test_nn_graph.c
 *	  Builder and shape rules, batch norm folding, the memory plan, the CPU device:
 *	  whole random networks against plain loops, and a run that allocates nothing.
 */
#include "test_nn_reference.h"

#include <stdatomic.h>

#include "nn/device.h"
#include "nn/plan.h"

/* -------------------------------------------------- counting of allocations */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

static atomic_int allocations;

#if !defined(SANITIZED) && defined(__GLIBC__)
#define COUNTING 1
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t align, size_t size);

void *
malloc(size_t size)
{
	atomic_fetch_add(&allocations, 1);
	return __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
	atomic_fetch_add(&allocations, 1);
	return __libc_calloc(n, size);
}

void *
realloc(void *p, size_t size)
{
	atomic_fetch_add(&allocations, 1);
	return __libc_realloc(p, size);
}

void *
aligned_alloc(size_t align, size_t size)
{
	atomic_fetch_add(&allocations, 1);
	return __libc_memalign(align, size);
}
#endif

static const float test_mean[3] = {0.49f, 0.48f, 0.45f};
static const float test_std[3] = {0.25f, 0.24f, 0.26f};

/* A residual convolution network with every kind of image op. */
static NnGraph *
image_network(bool norms)
{
	NnGraph *g = nn_graph_new();
	int x = nn_input(g, 17, 14, test_mean, test_std), y, z;

	x = nn_conv2d(g, x, "stem", 12, 3, 3, 1, 1, 1, false, NN_IDENTITY);
	x = nn_maxpool(g, x, 2, 2, 0);
	if (norms)
		x = nn_batchnorm(g, x, "stem_norm", 1e-5f);
	x = nn_activation(g, x, NN_GELU);
	y = nn_conv2d(g, x, "a", 24, 1, 1, 1, 0, 1, true, NN_IDENTITY);
	if (norms)
		y = nn_batchnorm(g, y, "a_norm", 1e-5f);
	y = nn_activation(g, y, NN_RELU6);
	y = nn_conv2d(g, y, "b", 24, 3, 3, 1, 1, 24, false, NN_RELU6);
	y = nn_conv2d(g, y, "c", 12, 1, 1, 1, 0, 1, false, NN_IDENTITY);
	z = y;
	if (norms)
		y = nn_batchnorm(g, y, "c_norm", 1e-5f);
	x = nn_add(g, x, y);
	x = nn_add(g, x, z);
	x = nn_avgpool(g, x, 3, 2, 1);
	x = nn_conv2d(g, x, "d", 16, 3, 3, 2, 1, 4, true, NN_SILU);
	x = nn_global_avgpool(g, x);
	x = nn_linear(g, x, "hash", 32, false, NN_IDENTITY);
	if (norms)
		x = nn_batchnorm(g, x, "hash_norm", 1e-5f);
	nn_scale(g, x, 0.5f);
	return g;
}

/* A small vision transformer. */
static NnGraph *
token_network(void)
{
	NnGraph *g = nn_graph_new();
	NnShape tokens = {2, {16, 24, 0, 0}};
	int x = nn_input(g, 16, 16, test_mean, test_std), y;

	x = nn_conv2d(g, x, "patch", 24, 4, 4, 4, 0, 1, true, NN_IDENTITY);
	x = nn_reshape(g, x, &tokens);
	x = nn_class_token(g, x, "cls");
	x = nn_position(g, x, "pos");
	for (int block = 0; block < 2; block++)
	{
		char name[32];

#define NAME(what) (snprintf(name, sizeof(name), "block%d." what, block), name)
		y = nn_layernorm(g, x, NAME("norm1"), 1e-6f);
		y = nn_linear(g, y, NAME("qkv"), 72, true, NN_IDENTITY);
		y = nn_attention(g, y, 3);
		y = nn_linear(g, y, NAME("proj"), 24, true, NN_IDENTITY);
		x = nn_add(g, x, y);
		y = nn_layernorm(g, x, NAME("norm2"), 1e-6f);
		y = nn_linear(g, y, NAME("fc1"), 48, true, NN_GELU);
		y = nn_linear(g, y, NAME("fc2"), 24, true, NN_IDENTITY);
		x = nn_add(g, x, y);
#undef NAME
	}
	x = nn_layernorm(g, x, "norm", 1e-6f);
	x = nn_token(g, x, 0);
	x = nn_linear(g, x, "head", 10, true, NN_IDENTITY);
	nn_softmax(g, x);
	return g;
}

static uint8_t *
random_pictures(const NnGraph *g, int n, uint64_t *s)
{
	size_t size = (size_t) n * nn_shape_size(&g->node[0].shape);
	uint8_t *images = malloc(size);

	for (size_t i = 0; i < size; i++)
		images[i] = (uint8_t) (test_random(s) >> 30);
	return images;
}

/* The CPU device against the reference, for several batches and thread counts. */
static void
check_device(const NnGraph *g, const NnGraph *reference, double tolerance)
{
	uint64_t s = 77;
	size_t bits = nn_shape_size(&nn_graph_output(g)->shape);
	size_t picture = nn_shape_size(&g->node[0].shape);
	uint8_t *images = random_pictures(g, 7, &s);
	float *out = malloc(7 * bits * sizeof(float));
	double *wanted[7];
	NnError err;

	assert_true(nn_graph_ok(g, &err));
	for (int i = 0; i < 7; i++)
		wanted[i] = ref_run(reference, images + (size_t) i * picture);
	for (int threads = 1; threads <= 3; threads++)
	{
		NnNet *net = nn_cpu_device.load(g, 7, threads, &err);

		assert_non_null(net);
		assert_true(nn_cpu_device.memory(net) > 0);
		for (int n = 1; n <= 7; n += 3)
		{
			assert_true(nn_cpu_device.run(net, images, n, out, &err));
			for (int i = 0; i < n; i++)
			{
				double far = test_distance(out + (size_t) i * bits, wanted[i], bits);

				if (!(far <= tolerance))
					fail_msg("picture %d of %d, %d threads: off by %g", i, n, threads,
							 far);
			}
		}
		assert_false(nn_cpu_device.run(net, images, 8, out, &err));
		assert_string_equal(err.text,
							"a batch of 8 images: this network was loaded for 1 to 7");
		assert_false(nn_cpu_device.run(net, images, 0, out, &err));
		nn_cpu_device.unload(net);
	}
	for (int i = 0; i < 7; i++)
		free(wanted[i]);
	free(images);
	free(out);
}

static void
test_image_network(void **state)
{
	uint64_t s = 1;
	NnGraph *g = image_network(true);

	(void) state;
	test_fill_params(g, &s);
	check_device(g, g, 2e-5);
	nn_graph_free(g);
}

static void
test_token_network(void **state)
{
	uint64_t s = 2;
	NnGraph *g = token_network();

	(void) state;
	test_fill_params(g, &s);
	check_device(g, g, 2e-5);
	nn_graph_free(g);
}

/* A picture's values, and so its code, do not depend on batch or threads. */
static void
test_batch_changes_nothing(void **state)
{
	uint64_t s = 12;
	NnGraph *g[2] = {image_network(true), token_network()};
	NnError err;

	(void) state;
	for (int k = 0; k < 2; k++)
	{
		size_t size = nn_shape_size(&nn_graph_output(g[k])->shape);
		size_t picture = nn_shape_size(&g[k]->node[0].shape);
		uint8_t *images = random_pictures(g[k], 7, &s);
		float *alone = malloc(7 * size * sizeof(float));
		float *together = malloc(7 * size * sizeof(float));
		NnNet *net;

		test_fill_params(g[k], &s);
		net = nn_cpu_device.load(g[k], 1, 1, &err);
		for (size_t i = 0; i < 7; i++)
			assert_true(
				nn_cpu_device.run(net, images + i * picture, 1, alone + i * size, &err));
		nn_cpu_device.unload(net);
		for (int threads = 1; threads <= 3; threads++)
		{
			net = nn_cpu_device.load(g[k], 7, threads, &err);
			for (int n = 1; n <= 7; n++)
			{
				assert_true(nn_cpu_device.run(net, images, n, together, &err));
				assert_memory_equal(alone, together, (size_t) n * size * sizeof(float));
			}
			nn_cpu_device.unload(net);
		}
		free(images);
		free(alone);
		free(together);
		nn_graph_free(g[k]);
	}
}

static int
count_kind(const NnGraph *g, NnOpKind kind)
{
	int count = 0;

	for (int i = 0; i < g->nnodes; i++)
		count += g->node[i].kind == kind;
	return count;
}

static void
test_fold(void **state)
{
	uint64_t s = 3;
	NnGraph *g = image_network(true), *folded;
	NnParam *scale;
	NnError err;

	(void) state;
	test_fill_params(g, &s);
	/* the stem's norm may pass the maximum only if no factor turns the order */
	scale = &g->param[nn_graph_find_param(g, "stem_norm.weight")];
	for (int i = 0; i < scale->shape.dim[0]; i++)
		scale->data[i] = fabsf(scale->data[i]) + 0.1f;
	folded = nn_graph_fold_batchnorm(g, &err);
	assert_non_null(folded);
	/* c's output is read twice, so its norm must stay */
	assert_int_equal(count_kind(folded, NN_BATCHNORM), 1);
	/* after the stem's pooling the activation stays; a's is fused */
	assert_int_equal(count_kind(folded, NN_ACTIVATION), 1);
	check_device(folded, g, 5e-5);
	nn_graph_free(folded);

	scale->data[3] = -scale->data[3];
	folded = nn_graph_fold_batchnorm(g, &err);
	assert_non_null(folded);
	assert_int_equal(count_kind(folded, NN_BATCHNORM), 2);
	check_device(folded, g, 5e-5);
	nn_graph_free(folded);
	nn_graph_free(g);
}

static void
test_copy(void **state)
{
	uint64_t s = 4;
	NnGraph *g = image_network(true), *copy;

	(void) state;
	test_fill_params(g, &s);
	g->param[0].trainable = false;
	copy = nn_graph_copy(g);
	assert_non_null(copy);
	assert_int_equal(copy->nnodes, g->nnodes);
	assert_int_equal(nn_graph_weights(copy), nn_graph_weights(g));
	for (int i = 0; i < g->nparams; i++)
	{
		assert_string_equal(copy->param[i].name, g->param[i].name);
		assert_int_equal(copy->param[i].trainable, g->param[i].trainable);
		assert_ptr_not_equal(copy->param[i].data, g->param[i].data);
		assert_memory_equal(copy->param[i].data, g->param[i].data,
							nn_shape_size(&g->param[i].shape) * sizeof(float));
	}
	nn_graph_free(copy);
	nn_graph_free(g);
}

/* No two activations that are alive at the same time share memory. */
static void
check_plan(const NnGraph *g, int batch)
{
	NnPlan plan;
	NnError err;
	int *last = calloc((size_t) g->nnodes, sizeof(int));
	size_t all = 0;

	assert_true(nn_plan(g, batch, &plan, &err));
	for (int i = 0; i < g->nnodes; i++)
	{
		last[i] = i;
		all += nn_shape_size(&g->node[i].shape) * (size_t) batch;
		for (int k = 0; k < g->node[i].ninputs; k++)
			last[g->node[i].input[k]] = i;
	}
	assert_true(plan.floats < all);
	for (int i = 0; i < g->nnodes - 1; i++)
	{
		size_t begin = plan.offset[i];
		size_t end = begin + nn_shape_size(&g->node[i].shape) * (size_t) batch;

		assert_int_equal(begin % 16, 0);
		assert_true(end <= plan.floats);
		for (int k = 0; k < i; k++)
		{
			size_t other = plan.offset[k];
			size_t other_end = other + nn_shape_size(&g->node[k].shape) * (size_t) batch;
			bool replaces = plan.in_place[i] && last[k] == i && other == begin;

			if (last[k] >= i && !replaces && begin < other_end && other < end)
				fail_msg("nodes %d and %d share memory", k, i);
		}
	}
	free(last);
	nn_plan_free(&plan);
}

static void
test_plan(void **state)
{
	NnGraph *g = image_network(true);
	NnError err;
	NnPlan plan;

	(void) state;
	for (int batch = 1; batch < 20; batch += 6)
		check_plan(g, batch);
	assert_false(nn_plan(g, 0, &plan, &err));
	assert_false(nn_plan(g, INT32_MAX, &plan, &err));
	assert_non_null(strstr(err.text, "lower the batch"));
	nn_graph_free(g);
	g = token_network();
	check_plan(g, 5);
	nn_graph_free(g);
}

static void
test_run_allocates_nothing(void **state)
{
	uint64_t s = 6;
	NnGraph *g[2] = {image_network(true), token_network()};
	NnError err;

	(void) state;
#ifndef COUNTING
	print_message("allocations are not counted under a sanitizer\n");
#endif
	for (int k = 0; k < 2; k++)
	{
		uint8_t *images = random_pictures(g[k], 4, &s);
		float out[4 * 64];
		NnNet *net;
		int before;

		test_fill_params(g[k], &s);
		net = nn_cpu_device.load(g[k], 4, 2, &err);
		assert_non_null(net);
		/* once before: OpenBLAS takes its buffers at the first call of a thread */
		assert_true(nn_cpu_device.run(net, images, 4, out, &err));
		before = atomic_load(&allocations);
		for (int n = 1; n <= 4; n++)
			assert_true(nn_cpu_device.run(net, images, n, out, &err));
		assert_int_equal(atomic_load(&allocations), before);
#ifdef COUNTING
		assert_true(before > 0);
#endif
		nn_cpu_device.unload(net);
		free(images);
		nn_graph_free(g[k]);
	}
}

/* ------------------------------------------------------------ builder errors */

static void
expect_error(NnGraph *g, const char *part)
{
	NnError err;

	assert_false(nn_graph_ok(g, &err));
	if (strstr(err.text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", err.text, part);
	/* sticky: nothing more is added, the first text stays */
	assert_int_equal(nn_global_avgpool(g, 0), -1);
	assert_false(nn_graph_ok(g, &err));
	assert_non_null(strstr(err.text, part));
	nn_graph_free(g);
}

static NnGraph *
begin(void)
{
	NnGraph *g = nn_graph_new();

	assert_int_equal(nn_input(g, 8, 8, test_mean, test_std), 0);
	return g;
}

static void
test_builder_errors(void **state)
{
	const float zero[3] = {0, 0, 0};
	NnShape shape = {2, {7, 7, 0, 0}}, big = {2, {NN_MAX_DIM + 1, 1, 0, 0}};
	char longest[NN_MAX_NAME + 10];
	NnGraph *g;

	(void) state;
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
#define EXPECT(call, text)                                                               \
	do                                                                                   \
	{                                                                                    \
		g = begin();                                                                     \
		call;                                                                            \
		expect_error(g, text);                                                           \
	} while (0)
	EXPECT(nn_input(g, 8, 8, test_mean, test_std), "first node and the only one");
	EXPECT(nn_conv2d(g, 0, "c", 4, 9, 9, 1, 0, 1, 0, NN_RELU), "does not fit");
	EXPECT(nn_conv2d(g, 0, "c", 4, 3, 3, 0, 0, 1, 0, NN_RELU), "make no window");
	EXPECT(nn_conv2d(g, 0, "c", 4, 3, 3, 1, 1025, 1, 0, NN_RELU), "make no window");
	EXPECT(nn_conv2d(g, 0, "c", 4, 3, 3, 1, 1, 2, 0, NN_RELU), "groups do not divide");
	EXPECT(nn_conv2d(g, 0, "c", 0, 3, 3, 1, 1, 1, 0, NN_RELU), "groups do not divide");
	EXPECT(nn_conv2d(g, 0, "c", 4, 3, 3, 1, 1, 1, 0, NN_ACTIVATION_COUNT),
		   "unknown activation");
	EXPECT(nn_conv2d(g, 0, "", 4, 3, 3, 1, 1, 1, 0, NN_RELU), "needs a name");
	EXPECT(nn_conv2d(g, 0, longest, 4, 3, 3, 1, 1, 1, 0, NN_RELU), "needs a name");
	EXPECT(nn_conv2d(g, 0, "c", NN_MAX_DIM, 200, 200, 1, 199, 1, 0, NN_RELU),
		   "too large");
	EXPECT(nn_conv2d(g, 5, "c", 4, 3, 3, 1, 1, 1, 0, NN_RELU),
		   "input 5 is not one of the 1 nodes");
	EXPECT(nn_conv2d(g, -1, "c", 4, 3, 3, 1, 1, 1, 0, NN_RELU), "input -1 is not one");
	EXPECT(nn_linear(g, 0, "l", 0, true, NN_RELU), "dimension of 0");
	EXPECT(nn_linear(g, 0, "l", INT32_MAX, true, NN_RELU), "dimension of 2147483647");
	EXPECT(nn_batchnorm(g, 0, "b", 0), "eps");
	EXPECT(nn_layernorm(g, 0, "b", NAN), "eps");
	EXPECT(nn_maxpool(g, 0, 3, 1, 2), "more than half the kernel");
	EXPECT(nn_token(g, 0, 0), "2 dimensions");
	EXPECT(nn_attention(g, 0, 1), "2 dimensions");
	EXPECT(nn_scale(g, 0, INFINITY), "not finite");
	EXPECT(nn_reshape(g, 0, &shape), "has not as many elements");
	EXPECT(nn_reshape(g, 0, &big), "dimension of");
	EXPECT(
		(nn_linear(g, 0, "l", 4, true, NN_RELU), nn_linear(g, 1, "l", 4, true, NN_RELU)),
		"two parameters called \"l.weight\"");
	EXPECT((nn_linear(g, 0, "l", 4, true, NN_RELU), nn_add(g, 0, 1)),
		   "add after \"l\", given 8x8x3 and 8x8x4: the shapes differ");
#undef EXPECT
	g = nn_graph_new();
	nn_input(g, 8, 8, test_mean, zero);
	expect_error(g, "standard deviation");
	g = nn_graph_new();
	nn_input(g, 0, 8, test_mean, test_std);
	expect_error(g, "dimension of 0");
	g = nn_graph_new();
	assert_false(nn_graph_ok(g, NULL));
	nn_graph_free(g);
}

static void
test_devices(void **state)
{
	NnError err;
	char text[256];

	(void) state;
	assert_ptr_equal(nn_device("cpu", NULL, &err), &nn_cpu_device);
	assert_true(nn_cpu_device.probe(text, sizeof(text)));
	assert_non_null(strstr(text, "OpenBLAS"));
	assert_null(nn_device("tpu", NULL, &err));
	assert_non_null(strstr(err.text, "unknown device \"tpu\""));
	assert_null(nn_device("cuda", "/nonexistent", &err));
	assert_non_null(strstr(err.text, "deephash-cuda.so"));
	assert_ptr_equal(nn_device("auto", "/nonexistent", &err), &nn_cpu_device);
}

static void
count_range(void *arg, int begin, int end, int thread)
{
	int *seen = arg;

	for (int i = begin; i < end; i++)
		seen[i] += 1 + 1000 * thread;
}

static void
test_pool(void **state)
{
	(void) state;
	for (int threads = 1; threads <= 5; threads++)
	{
		NnPool *pool = nn_pool_new(threads);

		assert_int_equal(nn_pool_threads(pool), threads);
		for (int n = 0; n < 40; n++)
		{
			int seen[40] = {0}, again[40] = {0};

			nn_parallel(pool, n, count_range, seen);
			nn_parallel(pool, n, count_range, again);
			for (int i = 0; i < 40; i++)
			{
				assert_int_equal(seen[i] % 1000, i < n);
				assert_int_equal(seen[i], again[i]); /* same thread each time */
			}
		}
		nn_pool_free(pool);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_image_network),
		cmocka_unit_test(test_token_network),
		cmocka_unit_test(test_batch_changes_nothing),
		cmocka_unit_test(test_fold),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_run_allocates_nothing),
		cmocka_unit_test(test_builder_errors),
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_pool),
	};

	return cmocka_run_group_tests_name("nn: graphs and the CPU device", tests, NULL,
									   NULL);
}
