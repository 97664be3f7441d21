/*
 * test_gpu_plan.c
 *	  Plans and choices of the CUDA learner (gpu/step_plan.h, choice.h, recorded.h,
 *	  dnn.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gpu_plan.h"
#include "training/arch/arch.h"

static NnGraph *
network(const Arch *arch)
{
	TrainError why = {""};
	ArchOptions o;
	NnGraph *g;

	arch_defaults(arch, &o);
	o.head = ARCH_HASH;
	o.outputs = 64;
	g = arch_build(arch, &o, &why);
	if (!g)
		fail_msg("%s: %s", arch_name_of(arch), why.text);
	return g;
}

/* Of one architecture a kind: nothing shares memory while it lives; little is lost. */
static void
test_plans(void **unused)
{
	static const char *const names[] = {"speednet", "resnet18", "squeezenet1_1",
										"vit-ti",	"swin-t",	"cvae"};

	(void) unused;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		const Arch *arch = arch_find(names[i]);
		NnGraph *g = network(arch);
		PlanFacts whole = gpu_plan(g, 8, false), less = gpu_plan(g, 8, true);

		assert_true(whole.ok && less.ok);
		assert_false(whole.overlap);
		assert_false(less.overlap);
		assert_int_equal(whole.segments, 1);
		assert_int_equal(whole.again, 0);
		/* every ReLU of this one follows a convolution of its own */
		if (strcmp(names[i], "squeezenet1_1") == 0)
			assert_int_equal(whole.joined, 25);
		assert_true(less.peak <= whole.peak);
		assert_true(whole.bytes <= whole.peak + whole.peak / 4);
		assert_true(less.bytes <= less.peak + less.peak / 4);
		print_message("%-12s %7.1f MB (%.1f at once), recomputed %7.1f MB (%.1f), "
					  "%d segments, %d of %d nodes again, %d joined\n",
					  arch_name_of(arch), (double) whole.bytes / 1e6,
					  (double) whole.peak / 1e6, (double) less.bytes / 1e6,
					  (double) less.peak / 1e6, less.segments, less.again, g->nnodes,
					  whole.joined);
		nn_graph_free(g);
	}
}

/* Deep networks of like blocks are where recomputation pays. */
static void
test_recomputation_pays(void **unused)
{
	static const char *const deep[] = {"resnet50", "vit-ti"};

	(void) unused;
	for (size_t i = 0; i < sizeof(deep) / sizeof(deep[0]); i++)
	{
		NnGraph *g = network(arch_find(deep[i]));
		PlanFacts whole = gpu_plan(g, 8, false), less = gpu_plan(g, 8, true);

		assert_true(less.segments > 2);
		assert_true(less.bytes < whole.bytes / 2);
		nn_graph_free(g);
	}
}

static void
test_choice(void **unused)
{
	const bool works[] = {false, true, true, true};
	const bool repeats[] = {true, false, true, true};
	const size_t workspace[] = {0, 10, 300, 20};

	(void) unused;
	assert_int_equal(gpu_choose(works, repeats, workspace, 4, false, 1000), 1);
	assert_int_equal(gpu_choose(works, repeats, workspace, 4, true, 1000), 2);
	assert_int_equal(gpu_choose(works, repeats, workspace, 4, true, 100), 3);
	assert_int_equal(gpu_choose(works, repeats, workspace, 4, true, 19), -1);
	assert_int_equal(gpu_choose(works, repeats, workspace, 0, false, 1000), -1);
}

/* Only what a library computes as the op set has it may be fused: not the exact GELU. */
static void
test_epilogues(void **unused)
{
	int none = gpu_epilogue(false, NN_IDENTITY), bias = gpu_epilogue(true, NN_IDENTITY);
	int relu = gpu_epilogue(false, NN_RELU), both = gpu_epilogue(true, NN_RELU);
	int refused = gpu_epilogue(true, NN_GELU);

	(void) unused;
	assert_true(none != bias && none != relu && bias != relu && both != relu &&
				both != bias && refused != both && refused != none);
	for (int act = 0; act < NN_ACTIVATION_COUNT; act++)
		if (act != NN_IDENTITY && act != NN_RELU)
		{
			assert_int_equal(gpu_epilogue(false, (NnActivation) act), refused);
			assert_int_equal(gpu_epilogue(true, (NnActivation) act), refused);
		}
}

static void
test_tables(void **unused)
{
	int refused;

	(void) unused;
	assert_int_equal(gpu_table(7, &refused), 7);
	assert_int_equal(refused, 0);
	assert_int_equal(gpu_table(9, &refused), 7);
	assert_int_equal(refused, 4);
}

static void
test_without(void **unused)
{
	(void) unused;
	assert_int_equal(gpu_parts_without(NULL), 0);
	assert_int_equal(gpu_parts_without(""), 0);
	assert_int_equal(gpu_parts_without("nothing,such"), 0);
	assert_int_equal(gpu_parts_without("cublaslt"), 1);
	assert_int_equal(gpu_parts_without("graphs,cudnn"), 6);
	assert_int_equal(gpu_parts_without(",cudnn,,cublaslt,"), 3);
}

/* Queued, then recorded, then replayed, each key for itself; past the room, queued. */
static void
test_recording(void **unused)
{
	(void) unused;
	for (int i = 0; i < 3; i++)
	{
		assert_int_equal(gpu_recorded(5, 0, true), i);
		assert_int_equal(gpu_recorded(5, 1, true), i);
		assert_int_equal(gpu_recorded(5, 0, false), i);
	}
	assert_int_equal(gpu_recorded(5, 0, true), 2);
	for (int n = 100; n < 200; n++)
		assert_int_equal(gpu_recorded(n, 0, true), 0);
	assert_int_equal(gpu_recorded(199, 0, true), 0);
}

/* Where a libcudnn is: it needs no GPU to say what shapes a convolution has. */
static void
test_cudnn(void **unused)
{
	static const int shape[][8] = {
		/* height, width, in, out, kernel, stride, pad, groups */
		{32, 32, 24, 32, 3, 1, 1, 1},	  {15, 14, 8, 12, 5, 2, 2, 4},
		{224, 224, 3, 64, 7, 2, 3, 1},	  {31, 17, 5, 7, 2, 1, 0, 1},
		{224, 224, 3, 192, 16, 16, 0, 1}, {7, 6, 40, 24, 1, 2, 0, 1}};
	const float mean[3] = {0}, deviation[3] = {1, 1, 1};
	char text[128];

	(void) unused;
	for (size_t i = 0; i < sizeof(shape) / sizeof(shape[0]); i++)
		for (int up = 0; up < 2; up++)
		{
			const int *s = shape[i];
			NnGraph *g = nn_graph_new();
			int x = nn_input(g, s[0], s[1], mean, deviation), found = 0;

			x = nn_conv2d(g, x, "wide", s[2], 1, 1, 1, 0, 1, true, NN_IDENTITY);
			if (up)
				x = nn_conv_transpose2d(g, x, "c", s[2] * 2, s[4], s[5],
										s[6] < s[4] ? s[6] : 0, s[5] - 1, s[2], true,
										NN_IDENTITY);
			else
				x = nn_conv2d(g, x, "c", s[3], s[4], s[4], s[5], s[6], s[7], true,
							  NN_IDENTITY);
			for (int way = 0; way < 3; way++)
				for (int bytes = 2; bytes <= 4; bytes += 2)
				{
					found = gpu_cudnn(g, x, 5, way, bytes, text, sizeof(text));
					if (found == 0)
						fail_msg("case %zu%s: %s says otherwise", i, up ? ", up" : "",
								 text);
				}
			nn_graph_free(g);
			if (found < 0)
			{
				print_message("%s: nothing was compared\n", text);
				skip();
			}
		}
	print_message("compared with %s\n", text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plans),	  cmocka_unit_test(test_recomputation_pays),
		cmocka_unit_test(test_choice),	  cmocka_unit_test(test_epilogues),
		cmocka_unit_test(test_tables),	  cmocka_unit_test(test_without),
		cmocka_unit_test(test_recording), cmocka_unit_test(test_cudnn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
