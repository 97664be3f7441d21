/*
 * test_train_memory.c
 *	  How much memory a step of training plans for known networks, and how buffers are
 *	  laid over one another.
 *
 * Planned bytes are a count, the same in every run.  Only room for rearranged weights
 * depends on the CPU, by less than one per cent here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "training/arch/arch.h"
#include "training/tape/place.h"
#include "training/tape/tape.h"

#define SPANS 200

/* Nothing in use at the same time overlaps, and the block is as small as it can be
 * nearly. */
static void
test_place(void **state)
{
	Rng rng;

	(void) state;
	rng_seed(&rng, 1, 2);
	for (int round = 0; round < 50; round++)
	{
		Span span[SPANS];
		int n = round == 0 ? 0 : 1 + (int) (rng_uniform(&rng) * (SPANS - 1));
		size_t floats;

		for (int i = 0; i < n; i++)
		{
			int length = (int) (rng_uniform(&rng) * 20);

			span[i].begin = (int) (rng_uniform(&rng) * 100);
			span[i].end = span[i].begin + length;
			span[i].size = (size_t) (rng_uniform(&rng) * 1000);
		}
		assert_true(place_spans(span, n, &floats));
		assert_true(floats >= place_least(span, n));
		assert_true((double) floats <= 1.5 * (double) place_least(span, n));
		for (int i = 0; i < n; i++)
		{
			if (span[i].size == 0)
				continue;
			assert_int_equal(span[i].at % 16, 0);
			assert_true(span[i].at + span[i].size <= floats);
			for (int k = 0; k < i; k++)
				if (span[k].size && span[i].begin <= span[k].end &&
					span[k].begin <= span[i].end)
					assert_true(span[i].at + span[i].size <= span[k].at ||
								span[k].at + span[k].size <= span[i].at);
		}
	}
}

/* MB of the tape for a batch, two threads. */
static double
planned(const char *label, int side, int batch, TapeUse use)
{
	ArchOptions o = {0};
	TrainError err;
	const Arch *arch = arch_from_label(label, &o, &err);
	NnPool *pool = nn_pool_new(2);
	NnGraph *g;
	Tape *tape;
	double mb;

	assert_non_null(arch);
	o.height = o.width = side;
	o.head = ARCH_CLASSES;
	o.outputs = 10;
	for (int c = 0; c < 3; c++)
		o.std[c] = 1;
	g = arch_build(arch, &o, &err);
	assert_non_null(g);
	tape = tape_new(g, batch, pool, use, &err);
	assert_non_null(tape);
	mb = (double) tape_memory(tape) / 1e6;
	tape_free(tape);
	nn_graph_free(g);
	nn_pool_free(pool);
	return mb;
}

static void
test_planned(void **state)
{
	static const struct
	{
		const char *label;
		int side, batch;
		TapeUse use;
		double most; /* MB */
	} cases[] = {
		{"resnet18 stem=cifar", 32, 64, TAPE_TRAIN, 333},
		{"vit-ti", 224, 8, TAPE_TRAIN, 235},
		{"vit-ti", 224, 8, TAPE_RECOMPUTE, 67},
		{"speednet width1=48 width2=160 width3=160", 32, 512, TAPE_TRAIN, 297},
		{"speednet width1=48 width2=160 width3=160", 32, 512, TAPE_EVALUATE, 5},
		{"alexnet", 224, 32, TAPE_TRAIN, 337},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		double mb = planned(cases[i].label, cases[i].side, cases[i].batch, cases[i].use);

		if (!(mb <= cases[i].most && mb >= 0.5 * cases[i].most))
			fail_msg("%s: a step takes %.1f MB, stated are %.0f", cases[i].label, mb,
					 cases[i].most);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_place),
		cmocka_unit_test(test_planned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
