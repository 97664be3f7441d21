/*
 * test_gpu_serving.c
 *	  The CUDA device as a server of codes, compiled for the host (gpu/machine.h): stages,
 *	  recordings, memory, half precision, codes beside the CPU's and bits in doubt.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gpu/parity/parity_draw.h"
#include "gpu/parity/parity_networks.h"
#include "gpu/parity/parity_serve.h"
#include "gpu/recordings.h"
#include "hamming/hamming.h"
#include "nn/random.h"

extern const NnDevice *deephash_device(void);
extern uint16_t gpu_host_to_fp16(float value);
extern float gpu_host_of_fp16(uint16_t bits);

/* As in gpu/stream.h. */
extern struct HostRecordings
{
	int to_fail, made, replayed, forgotten;
} gpu_host_recordings;

static const char *const precision_name[] = {"float32", "tf32", "bf16", "fp16"};

/* A small network of small pictures, folded. */
static NnGraph *
small_network(void)
{
	static const float mean[3] = {0.5f, 0.4f, 0.3f}, std[3] = {0.2f, 0.3f, 0.25f};
	NnError err = {""};
	NnGraph *g = nn_graph_new(), *folded;
	int x = nn_input(g, 8, 8, mean, std);

	x = nn_conv2d(g, x, "conv", 16, 3, 3, 1, 1, 1, false, NN_IDENTITY);
	x = nn_batchnorm(g, x, "norm", 1e-5f);
	x = nn_activation(g, x, NN_RELU);
	x = nn_global_avgpool(g, x);
	nn_linear(g, x, "hash", 19, true, NN_IDENTITY);
	assert_true(nn_graph_ok(g, &err));
	parity_fill(g);
	folded = nn_graph_fold_batchnorm(g, &err);
	assert_non_null(folded);
	nn_graph_free(g);
	return folded;
}

/* ------------------------------------------------------------------------ halves */

/* To the nearest multiple of the last place, in double. */
static double
rounded_to_half(double x)
{
	int exponent = x == 0 ? -14 : ilogb(x);
	double place = ldexp(1, (exponent < -14 ? -14 : exponent) - 10);
	double value = rint(x / place) * place;

	return fabs(value) >= 65520 ? copysign(INFINITY, x) : value;
}

static void
test_fp16(void **state)
{
	(void) state;
	for (uint32_t bits = 0; bits < 65536; bits++)
	{
		float value = gpu_host_of_fp16((uint16_t) bits);

		if (isnan(value))
		{
			assert_true((bits & 0x7fff) > 0x7c00);
			assert_true((gpu_host_to_fp16(value) & 0x7fff) > 0x7c00);
			continue;
		}
		assert_int_equal(gpu_host_to_fp16(value), bits);
	}
	for (uint64_t i = 0; i < 2000000; i++)
	{
		uint32_t bits = (uint32_t) nn_mix(i);
		float value, half;

		/* Mostly of the exponents that halves have. */
		if (i % 4)
			bits = (bits & 0x807fffffu) | (100 + bits % 46) << 23;
		memcpy(&value, &bits, sizeof(value));
		half = gpu_host_of_fp16(gpu_host_to_fp16(value));
		if (isnan(value))
			assert_true(isnan(half));
		else if ((double) half != rounded_to_half(value))
			fail_msg("%.9g became %.9g, not %.9g", value, half, rounded_to_half(value));
	}
	/* Halfway cases go to the even one. */
	assert_int_equal(gpu_host_to_fp16(1.0f + 0x1p-11f), 0x3c00);
	assert_int_equal(gpu_host_to_fp16(1.0f + 3 * 0x1p-11f), 0x3c02);
	assert_int_equal(gpu_host_to_fp16(0x1p-25f), 0);
	assert_int_equal(gpu_host_to_fp16(0x1.8p-24f), 2);
	assert_int_equal(gpu_host_to_fp16(65519.0f), 0x7bff);
	assert_int_equal(gpu_host_to_fp16(65520.0f), 0x7c00);
}

/* ------------------------------------------------------------------------- codes */

/* Every operation, in every precision; thresholds now and then. */
static void
test_codes(void **state)
{
	const char *name;
	NnGraph *g;

	(void) state;
	for (int i = 0; (g = parity_network(i, &name)) != NULL; i++)
	{
		NnError err = {""};
		NnGraph *folded;
		float thresholds[4096];

		parity_fill(g);
		folded = nn_graph_fold_batchnorm(g, &err);
		assert_non_null(folded);
		for (int k = 0; k < 4096; k++)
			thresholds[k] = parity_draw(0.1f);
		for (int p = NN_FLOAT32; p <= NN_FP16; p++)
		{
			NnServing how = {.max_batch = 3,
							 .threads = 1,
							 .precision = (NnPrecision) p,
							 .thresholds = i % 2 ? thresholds : NULL,
							 .graphs = p % 2 == 0,
							 .memory = i % 3 ? 0 : 1};
			ParityServe found;
			char text[700];

			if (!parity_serve(deephash_device(), folded, &how, 7 + (uint64_t) i, &found,
							  text, sizeof(text)))
				fail_msg("%s in %s: %s", name, precision_name[p], text);
			/* The tolerance has room for trained networks, which these are not. */
			if (found.apart > 0.25)
				fail_msg("%s in %s: logits are off by %g of the tolerance", name,
						 precision_name[p], found.apart);
			print_message("%-28s %-8s %5zu bits, %zu doubtful, %zu differ, logits within "
						  "%.3f of the tolerance\n",
						  name, precision_name[p], found.bits, found.doubtful,
						  found.different, found.apart);
		}
		nn_graph_free(folded);
		nn_graph_free(g);
	}
}

/* A value beyond 65504 is said to mean nothing, in fp16 alone, and of its picture alone.
 */
static void
test_not_finite(void **state)
{
	NnGraph *g = small_network();
	const NnDevice *device = deephash_device();
	NnError err = {""};

	(void) state;
	/* A weight that a bright picture carries over the limit, and a dark one does not. */
	for (size_t k = 0; k < nn_shape_size(&g->param[0].shape); k++)
		g->param[0].data[k] = 1200.0f;
	for (int p = NN_FLOAT32; p <= NN_FP16; p++)
	{
		NnServing how = {.max_batch = 2, .precision = (NnPrecision) p};
		NnNet *net = device->serve(g, &how, &err);
		NnStage *stage;

		assert_non_null(net);
		stage = device->stage(net, 0);
		memset(stage->images, 100, 192);
		memset(stage->images + 192, 255, 192);
		assert_true(device->submit(net, 0, 2, false, &err));
		assert_true(device->wait(net, 0, &err));
		assert_int_not_equal(stage->doubts[0], NN_NOT_FINITE);
		if (p == NN_FP16)
			assert_int_equal(stage->doubts[1], NN_NOT_FINITE);
		else
			assert_int_not_equal(stage->doubts[1], NN_NOT_FINITE);
		device->unload(net);
	}
	nn_graph_free(g);
}

/* ------------------------------------------------------------------------ memory */

/* Halves halve weights and activations; what is estimated is what is taken. */
static void
test_memory(void **state)
{
	static const float mean[3] = {0, 0, 0}, std[3] = {1, 1, 1};
	const NnDevice *device = deephash_device();
	size_t bytes[NN_FP16 + 1];
	NnGraph *g = nn_graph_new();
	NnError err = {""};
	int x = nn_input(g, 16, 16, mean, std);

	(void) state;
	x = nn_reshape(g, x, &(NnShape){.ndim = 1, .dim = {768}});
	x = nn_linear(g, x, "wide", 1024, false, NN_RELU);
	nn_linear(g, x, "hash", 16, false, NN_IDENTITY);
	assert_true(nn_graph_ok(g, &err));
	for (int p = NN_FLOAT32; p <= NN_FP16; p++)
	{
		NnServing how = {.max_batch = 4, .precision = (NnPrecision) p, .memory = 1};
		NnNet *net = device->serve(g, &how, &err);

		assert_non_null(net);
		/* beside the least workspace */
		bytes[p] = device->memory(net) - ((size_t) 1 << 20);
		assert_int_equal(device->estimate(g, &how), device->memory(net));
		device->unload(net);
	}
	/* All but pictures, the last layer and results. */
	assert_int_equal(bytes[NN_BF16], bytes[NN_FP16]);
	assert_int_equal(bytes[NN_FLOAT32], bytes[NN_TF32]);
	assert_true(bytes[NN_FLOAT32] > 768 * 1024 * sizeof(float));
	assert_true(bytes[NN_FP16] < 0.55 * bytes[NN_FLOAT32]);
	nn_graph_free(g);
}

/*
 * A limit of 16 MB, the least that may be set, is enough for a small network, and what
 * a convolution may take is known beforehand, whoever computes it.
 */
static void
test_little_memory(void **state)
{
	const NnDevice *device = deephash_device();
	const size_t mb = (size_t) 1 << 20;
	NnGraph *g = small_network();
	NnError err = {""};
	size_t whole, last = 0;

	(void) state;
	for (size_t memory = 16 * mb; memory <= 1024 * mb; memory *= 2)
	{
		NnServing how = {
			.max_batch = 256, .precision = NN_FP16, .memory = memory, .graphs = true};
		size_t estimate = device->estimate(g, &how);

		assert_true(estimate > 0 && estimate <= memory);
		assert_true(estimate >= last);
		last = estimate;
		for (int without = 0; without < 2; without++)
		{
			NnNet *net;

			if (without)
				setenv("DEEPHASH_GPU_WITHOUT", "cudnn", 1);
			net = device->serve(g, &how, &err);
			unsetenv("DEEPHASH_GPU_WITHOUT");
			assert_non_null(net);
			assert_int_equal(device->memory(net), estimate);
			device->unload(net);
		}
	}
	/* Nobody said how much: as with plenty. */
	whole = device->estimate(g, &(NnServing){.max_batch = 256, .precision = NN_FP16});
	assert_int_equal(whole, last);
	nn_graph_free(g);
}

/* A probe loads, serves and leaves a network, and leaves nothing behind. */
static void
test_probe(void **state)
{
	char text[256] = "";

	(void) state;
	memset(&gpu_host_recordings, 0, sizeof(gpu_host_recordings));
	assert_true(deephash_device()->probe(text, sizeof(text)));
	assert_string_equal(text, "the host");
	assert_true(gpu_host_recordings.replayed > 0);
	assert_int_equal(gpu_host_recordings.forgotten, gpu_host_recordings.made);
	memset(&gpu_host_recordings, 0, sizeof(gpu_host_recordings));
	assert_true(deephash_device()->probe(text, sizeof(text)));
	assert_int_equal(gpu_host_recordings.made, 0);
}

/* -------------------------------------------------------------------- recordings */

static bool
serve_one(NnNet *net, int k, int n)
{
	const NnDevice *device = deephash_device();
	NnError err = {""};

	memset(device->stage(net, k)->images, n, (size_t) n * 192);
	return device->submit(net, k, n, false, &err) && device->wait(net, k, &err);
}

static void
test_recordings(void **state)
{
	enum
	{
		SIZES = MAX_RECORDINGS + 8
	};
	NnGraph *g = small_network();
	NnServing how = {.max_batch = SIZES, .graphs = true};
	NnError err = {""};
	NnNet *net = deephash_device()->serve(g, &how, &err);

	(void) state;
	assert_non_null(net);
	memset(&gpu_host_recordings, 0, sizeof(gpu_host_recordings));
	for (int n = 1; n <= SIZES; n++)
		assert_true(serve_one(net, n % 2, n));
	assert_int_equal(gpu_host_recordings.made, 0);
	for (int n = 1; n <= SIZES; n++)
		assert_true(serve_one(net, n % 2, n));
	assert_int_equal(gpu_host_recordings.made, SIZES);
	assert_int_equal(gpu_host_recordings.replayed, SIZES);
	assert_int_equal(gpu_host_recordings.forgotten, SIZES - MAX_RECORDINGS);
	/* The latest are there, the earliest are made again. */
	for (int n = SIZES - MAX_RECORDINGS + 1; n <= SIZES; n++)
		assert_true(serve_one(net, n % 2, n));
	assert_int_equal(gpu_host_recordings.made, SIZES);
	assert_true(serve_one(net, 0, 1));
	assert_int_equal(gpu_host_recordings.made, SIZES + 1);
	deephash_device()->unload(net);
	assert_int_equal(gpu_host_recordings.forgotten, SIZES + 1);
	nn_graph_free(g);
}

/* Where a recording fails everything goes on without. */
static void
test_recordings_that_fail(void **state)
{
	NnGraph *g = small_network();

	(void) state;
	for (int off = 0; off < 2; off++)
	{
		NnServing how = {.max_batch = 4, .threads = 1, .graphs = !off};
		ParityServe found;
		char text[700];

		memset(&gpu_host_recordings, 0, sizeof(gpu_host_recordings));
		gpu_host_recordings.to_fail = 1;
		if (!parity_serve(deephash_device(), g, &how, 3, &found, text, sizeof(text)))
			fail_msg("%s", text);
		assert_int_equal(gpu_host_recordings.made, 0);
		assert_int_equal(gpu_host_recordings.replayed, 0);
		assert_int_equal(gpu_host_recordings.to_fail, off ? 1 : 0);
	}
	nn_graph_free(g);
}

/* The one used longest ago goes. */
static void
test_which_recording_goes(void **state)
{
	Recordings r;
	bool old;
	int at;

	(void) state;
	assert_true(recordings_init(&r, 1000));
	assert_int_equal(recordings_find(&r, 5), -1);
	assert_false(recordings_wanted(&r, 5));
	assert_true(recordings_wanted(&r, 5));
	assert_false(recordings_wanted(&r, 1000));
	for (int i = 0; i < MAX_RECORDINGS; i++)
	{
		assert_int_equal(recordings_place(&r, 100 + i, &old), i);
		assert_false(old);
	}
	assert_int_equal(recordings_find(&r, 100), 0);
	assert_int_equal(recordings_find(&r, 102), 2);
	at = recordings_place(&r, 7, &old);
	assert_true(old);
	assert_int_equal(at, 1);
	assert_int_equal(recordings_find(&r, 101), -1);
	assert_int_equal(recordings_find(&r, 7), 1);
	at = recordings_place(&r, 8, &old);
	assert_int_equal(at, 3);
	recordings_free(&r);
}

/* ------------------------------------------------------------------------ stages */

static void
test_stages(void **state)
{
	const NnDevice *device = deephash_device();
	NnGraph *g = small_network();
	NnServing how = {.max_batch = 2};
	NnError err = {""};
	NnNet *net = device->serve(g, &how, &err);
	NnStage *first, *second;
	uint8_t code[3];

	(void) state;
	assert_non_null(net);
	first = device->stage(net, 0);
	second = device->stage(net, 1);
	assert_ptr_not_equal(first->images, second->images);
	assert_false(device->wait(net, 0, &err));
	assert_string_equal(err.text, "stage 0 was not sent");
	assert_false(device->submit(net, 0, 0, false, &err));
	assert_false(device->submit(net, 0, 3, false, &err));
	assert_string_equal(err.text,
						"a batch of 3 images: this network was loaded for 1 to 2");
	memset(first->images, 10, 2 * 192);
	memset(second->images, 200, 2 * 192);
	/* Logits that nobody asked for do not come. */
	for (int i = 0; i < 2 * 19; i++)
		first->logits[i] = second->logits[i] = -77;
	assert_true(device->submit(net, 0, 2, false, &err));
	assert_false(device->submit(net, 0, 1, false, &err));
	assert_string_equal(err.text, "stage 0 was sent and not awaited");
	assert_true(device->submit(net, 1, 1, true, &err));
	assert_true(device->wait(net, 0, &err));
	assert_true(device->wait(net, 1, &err));
	assert_float_equal(first->logits[0], -77, 0);
	assert_float_equal(second->logits[19], -77, 0);
	hamming_pack(second->logits, NULL, 19, code);
	assert_memory_equal(second->codes, code, 3);
	assert_memory_not_equal(first->codes, code, 3);
	assert_memory_equal(first->codes, first->codes + 3, 3);
	device->unload(net);

	/* What is too large is a text; what cannot be loaded has no size. */
	assert_int_equal(device->estimate(g, &(NnServing){.max_batch = 0}), 0);
	assert_null(device->serve(g, &(NnServing){.max_batch = 0}, &err));
	nn_graph_free(g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fp16),
		cmocka_unit_test(test_codes),
		cmocka_unit_test(test_not_finite),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_little_memory),
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_recordings),
		cmocka_unit_test(test_recordings_that_fail),
		cmocka_unit_test(test_which_recording_goes),
		cmocka_unit_test(test_stages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
