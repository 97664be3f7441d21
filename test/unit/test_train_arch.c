/*
 * test_train_arch.c
 *	  Architectures: parameters counted against the published ones, heads, depths, labels,
 *	  initial values, options that do not fit.
 */
#include "arch_shapes.h"

#include <stdlib.h>

#include "training/tape/tape.h"

/* Trained values: what frameworks count as parameters (running statistics are not). */
static size_t
count(const NnGraph *g)
{
	size_t sum = 0;

	for (int i = 0; i < g->nparams; i++)
		if (!strstr(g->param[i].name, ".running_"))
			sum += nn_shape_size(&g->param[i].shape);
	return sum;
}

typedef struct Published
{
	const char *label;
	size_t parameters;
	int features;
} Published;

/* With 1000 classes at the size they were made for; torchvision's and timm's numbers. */
static const Published published[] = {
	{"resnet18", 11689512, 512},  {"resnet34", 21797672, 512},
	{"resnet50", 25557032, 2048}, {"alexnet", 61100840, 4096},
	{"vgg16", 138357544, 4096},	  {"squeezenet1_1", 1235496, 512},
	{"swin-t", 28288354, 768},	  {"vit-ti", 5717416, 192},
	{"vit-s", 22050664, 384},	  {"vit-b", 86567656, 768},
};

static void
test_counts(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++)
	{
		const Published *p = &published[i];
		NnGraph *g = shapes_of(p->label, ARCH_CLASSES, 1000, 0);

		print_message("%-12s %zu parameters\n", p->label, count(g));
		assert_int_equal(count(g), p->parameters);
		assert_int_equal(nn_shape_size(&nn_graph_output(g)->shape), 1000);
		nn_graph_free(g);
		g = shapes_of(p->label, ARCH_FEATURES, 0, 0);
		assert_int_equal(nn_graph_output(g)->shape.ndim, 1);
		assert_int_equal(nn_graph_output(g)->shape.dim[0], p->features);
		nn_graph_free(g);
		g = shapes_of(p->label, ARCH_HASH, 48, 0);
		assert_int_equal(nn_graph_output(g)->shape.dim[0], 48);
		assert_true(nn_graph_find_param(g, "hash.weight") >= 0);
		nn_graph_free(g);
	}
}

static void
test_sizes(void **state)
{
	NnGraph *g;

	(void) state;
	g = shapes_of("vit-ti patch=14", ARCH_FEATURES, 0, 98);
	assert_int_equal(g->param[nn_graph_find_param(g, "pos_embed")].shape.dim[0],
					 1 + 7 * 7);
	nn_graph_free(g);
	/* the counts that papers give as 36.5 M and 2.2 M */
	g = shapes_of("wrn", ARCH_CLASSES, 10, 32);
	assert_int_equal(count(g), 36479194);
	nn_graph_free(g);
	g = shapes_of("wrn depth=40 widen=2", ARCH_CLASSES, 100, 32);
	assert_int_equal(count(g), 2255156);
	nn_graph_free(g);
	g = shapes_of("resnet18 stem=cifar", ARCH_CLASSES, 10, 32);
	/* torchvision's 11,689,512 less 990 classes of 513 and the stem's 49 - 9 taps */
	assert_int_equal(count(g), 11689512 - 990 * 513 - 64 * 3 * 40);
	/* stride 8 in all: 4x4 before the mean */
	for (int i = 0; i < g->nnodes; i++)
		if (g->node[i].kind == NN_GLOBAL_AVGPOOL)
			assert_int_equal(g->node[g->node[i].input[0]].shape.dim[0], 4);
	nn_graph_free(g);
}

/* Every branch but the first block's may be skipped in training, and none in a model. */
static void
test_drop_path(void **state)
{
	static const struct
	{
		const char *label;
		int branches;
	} nets[] = {{"vit-ti depth=4 drop-path=0.3", 6}, {"swin-t drop-path=0.3", 22}};

	(void) state;
	for (int k = 0; k < 2; k++)
	{
		NnGraph *g = shapes_of(nets[k].label, ARCH_FEATURES, 0, 0);
		float rate = 0;
		int n = 0;

		for (int i = 0; i < g->nnodes; i++)
			if (g->node[i].kind == NN_DROPOUT)
			{
				assert_true(g->node[i].whole && g->node[i].rate >= rate);
				rate = g->node[i].rate;
				n++;
			}
		assert_int_equal(n, nets[k].branches);
		assert_true(rate == 0.3f);
		nn_graph_free(g);
	}
}

/* Sums by hand: what the sources have no published number for. */
static void
test_counts_by_hand(void **state)
{
	const size_t block =
		192 * 576 + 576 + 192 * 193 + 192 * 768 + 768 + 768 * 192 + 192 + 4 * 192;
	const size_t code = 2 * 64;
	NnGraph *g;
	size_t wanted;

	(void) state;
	g = shapes_of("vit-ti layerscale=0.00001", ARCH_CLASSES, 1000, 0);
	assert_int_equal(count(g), 5717416 + 24 * 192);
	assert_true(nn_graph_find_param(g, "blocks.11.ls2.gamma") >= 0);
	nn_graph_free(g);

	/* ViT-Ti without head, the attention module, 197 tokens to 1024 to 64 */
	g = shapes_of("ae-vit size=ti", ARCH_HASH, 64, 0);
	wanted =
		5717416 - 1000 * 193 + 12 * 193 + 192 * 13 + 1024 * (197 * 192 + 1) + 64 * 1025;
	assert_int_equal(count(g), wanted);
	nn_graph_free(g);
	g = shapes_of("ae-vit size=ti aem=spatial", ARCH_HASH, 64, 0);
	assert_int_equal(count(g), wanted - 12 * 193 - 192 * 13 + 2 * 49 + 1 + 192);
	nn_graph_free(g);
	/* the first full layer of B/16 alone, as the text says: 155 million */
	g = shapes_of("ae-vit", ARCH_HASH, 64, 0);
	assert_int_equal(
		nn_shape_size(&g->param[nn_graph_find_param(g, "hash_fc.weight")].shape),
		(size_t) 1024 * 197 * 768);
	nn_graph_free(g);

	/* "178 million weights in the encoder and as many in the decoder" */
	g = shapes_of("vae widths=literal", ARCH_HASH, 64, 0);
	wanted = (size_t) 16384 * 8192 + 8192 * 4096 + 4096 * 2048 + 2048 * 1024;
	assert_int_equal(count(g), 3 + 2 * wanted + 2 * (8192 + 4096 + 2048 + 1024) + 16384 +
								   3 * 1024 * 64 + code);
	nn_graph_free(g);
	g = shapes_of("vae", ARCH_HASH, 64, 0);
	wanted = (size_t) 16384 * 1024 + 1024 * 512 + 512 * 256 + 256 * 128;
	assert_int_equal(count(g), 3 + 2 * wanted + 2 * (1024 + 512 + 256 + 128) + 16384 +
								   3 * 128 * 64 + code);
	nn_graph_free(g);

	/* encoder and decoder of CVAE; SimAM has no parameters */
	wanted = 9 * (1 * 32 + 32 * 64 + 64 * 128 + 128 * 256) + 2 * (32 + 64 + 128 + 256);
	wanted += 3 + 2 * 64 * 16384 + code + 16384 * 65;
	wanted += 9 * (256 * 128 + 128 * 64 + 64 * 32 + 32) + 2 * (128 + 64 + 32) + 1;
	g = shapes_of("cvae", ARCH_HASH, 64, 0);
	assert_int_equal(count(g), wanted);
	nn_graph_free(g);
	g = shapes_of("csvae", ARCH_HASH, 64, 0);
	assert_int_equal(count(g), wanted);
	nn_graph_free(g);

	/* VTE: six blocks over 64 tokens and the class token, that decoder */
	wanted = 3 + 192 * (256 + 1) + 66 * 192 + 6 * block + 2 * 192 + 2 * 64 * 192 + code;
	wanted +=
		16384 * 65 + 9 * (256 * 128 + 128 * 64 + 64 * 32 + 32) + 2 * (128 + 64 + 32) + 1;
	g = shapes_of("vte", ARCH_HASH, 64, 0);
	assert_int_equal(count(g), wanted);
	nn_graph_free(g);
}

/* Four outputs: mean, log variance, logits and picture; for codes only the first. */
static void
test_autoencoders(void **state)
{
	static const char *const names[] = {"vae", "cvae", "csvae", "vte"};

	(void) state;
	for (int i = 0; i < 4; i++)
	{
		const Arch *arch = arch_find(names[i]);
		ArchOptions o;
		TrainError err;
		NnError trouble;
		NnGraph *g, *folded;

		assert_true(arch_is_autoencoder(arch));
		arch_defaults(arch, &o);
		o.height = o.width = 32;
		o.outputs = 24;
		g = arch_build(arch, &o, &err);
		if (!g)
			fail_msg("%s", err.text);
		assert_int_equal(nn_graph_outputs(g), 4);
		for (int k = 0; k < 4; k++)
			assert_int_equal(g->node[nn_graph_output_node(g, k)].shape.dim[0],
							 k < 2 ? 24 : 32 * 32);
		assert_true(g->param[nn_graph_find_param(g, "grey.weight")].data[1] == 0.587f);
		folded = nn_graph_fold_batchnorm(g, &trouble);
		assert_non_null(folded);
		for (int p = 0; p < folded->nparams; p++)
			assert_null(strstr(folded->param[p].name, "decoder"));
		assert_int_equal(folded->node[folded->nnodes - 1].shape.dim[0], 24);
		nn_graph_free(folded);
		nn_graph_free(g);
		o.head = ARCH_CLASSES;
		assert_null(arch_build(arch, &o, &err));
	}
}

static void
test_colours(void **state)
{
	NnGraph *g = shapes_of("vit-s", ARCH_FEATURES, 0, 0);

	(void) state;
	assert_true(g->node[0].mean[2] == 0.406f && g->node[0].std[0] == 0.229f);
	nn_graph_free(g);
	g = shapes_of("vit-s colours=half", ARCH_FEATURES, 0, 0);
	assert_true(g->node[0].mean[2] == 0.5f && g->node[0].std[0] == 0.5f);
	nn_graph_free(g);
}

static void
expect_refusal(const char *name, const char *key, const char *value, int size,
			   const char *part)
{
	const Arch *arch = arch_find(name);
	ArchOptions o;
	TrainError err = {""};
	NnGraph *g = NULL;

	arch_defaults(arch, &o);
	o.shapes_only = true;
	o.width = o.height = size;
	if (!key || arch_set(arch, &o, key, value, &err))
		g = arch_build(arch, &o, &err);
	assert_null(g);
	if (!strstr(err.text, part))
		fail_msg("\"%s\" does not say \"%s\"", err.text, part);
}

/* CNN-F's table has no sum; convolutions and full layers counted by hand. */
static void
test_vgg_f(void **state)
{
	NnGraph *g = shapes_of("vgg-f", ARCH_CLASSES, 1000, 0);
	size_t convolutions =
		64 * (3 * 121 + 1) + 256 * (64 * 25 + 1) + 3 * 256 * (256 * 9 + 1);
	size_t full = 4096 * (256 * 36 + 1) + 4096 * 4097 + 1000 * 4097;

	(void) state;
	assert_int_equal(count(g), convolutions + full);
	nn_graph_free(g);
}

static void
test_refusals(void **state)
{
	(void) state;
	expect_refusal("vit-ti", "patch", "15", 0,
				   "224x224 pixels cannot be cut into patches of 15x15");
	expect_refusal("vit-ti", "patch", "3.5", 0,
				   "patch of vit-ti is a whole number from 4 to 64, not \"3.5\"");
	expect_refusal("vit-ti", "patch", "16x", 0, "not \"16x\"");
	expect_refusal("vit-ti", "pitch", "16", 0, "no parameter \"pitch\" (it has patch");
	expect_refusal("resnet18", "stem", "cifa", 0,
				   "stem of resnet18 is one of imagenet|cifar, not \"cifa\"");
	expect_refusal("wrn", "depth", "27", 0, "4 more than a multiple of 6");
	expect_refusal("resnet18", NULL, NULL, 4, "at least 8x8 pixels, not 4x4");
	expect_refusal("swin-t", NULL, NULL, 256,
				   "64x64 in stage 1, which cannot be cut into windows of 7x7");
	expect_refusal("swin-t", NULL, NULL, 230, "sides that are multiples of 32");
	expect_refusal("ae-vit", "size", "l", 0, "one of ti|s|b");
	expect_refusal("cvae", NULL, NULL, 40, "sides that are multiples of 16, not 40x40");
	expect_refusal("speednet", NULL, NULL, 16, "at least 24x24");
	expect_refusal("vit-ti", NULL, NULL, 1 << 20, "vit-ti at 1048576x1048576 pixels");
	expect_refusal("alexnet", NULL, NULL, 100,
				   "features of 2x2 positions are not a multiple of the 6x6 that layer "
				   "\"classifier.1\" reads");
	assert_null(arch_find("resnet19"));
}

static void
test_labels(void **state)
{
	ArchOptions o;
	TrainError err;
	char text[128];
	const Arch *arch = arch_find("resnet18");

	(void) state;
	arch_defaults(arch, &o);
	assert_string_equal(arch_label(arch, &o, text, sizeof(text)), "resnet18");
	assert_true(arch_set(arch, &o, "stem", "cifar", &err));
	assert_true(arch_set(arch, &o, "folded", "3", &err));
	assert_string_equal(arch_label(arch, &o, text, sizeof(text)),
						"resnet18 stem=cifar folded=3");
	arch_defaults(arch, &o);
	assert_ptr_equal(arch_from_label(text, &o, &err), arch);
	assert_true(arch_value(arch, &o, "stem") == 1 && arch_value(arch, &o, "folded") == 3);
	assert_null(arch_from_label("resnet18 stem", &o, &err));
	assert_null(arch_from_label("resnet18  stem=cifar", &o, &err));
	assert_null(arch_from_label("", &o, &err));
}

/* Every parameter has a depth; deeper ones come later; the head is the deepest. */
static void
test_depths(void **state)
{
	(void) state;
	for (int a = 0; arch_at(a); a++)
	{
		const Arch *arch = arch_at(a);
		ArchOptions o;
		TrainError err;
		NnGraph *g;
		int before = 0;

		arch_defaults(arch, &o);
		o.shapes_only = true;
		g = arch_build(arch, &o, &err);
		if (!g)
			fail_msg("%s", err.text);
		for (int i = 0; i < g->nparams; i++)
		{
			int depth = arch_depth_of(arch, &o, g->param[i].name);

			if (depth < before || depth > before + 1)
				fail_msg("%s: %s at depth %d after %d", arch_name_of(arch),
						 g->param[i].name, depth, before);
			before = depth;
		}
		assert_int_equal(before, arch_depths(arch, &o) - 1);
		nn_graph_free(g);
	}
}

/* Weights of one tensor: mean near 0, the deviation that the rule asks for. */
static void
expect_deviation(const NnGraph *g, const char *name, double wanted)
{
	int at = nn_graph_find_param(g, name);
	size_t n;
	double sum = 0, square = 0;

	assert_true(at >= 0);
	n = nn_shape_size(&g->param[at].shape);
	for (size_t i = 0; i < n; i++)
	{
		sum += g->param[at].data[i];
		square += (double) g->param[at].data[i] * g->param[at].data[i];
	}
	square = square / n - sum / n * (sum / n);
	if (square < wanted * wanted * 0.9 || square > wanted * wanted * 1.1)
		fail_msg("%s: variance %g, not %g", name, square, wanted * wanted);
}

static NnGraph *
drawn(const char *name, int size, uint64_t seed)
{
	const Arch *arch = arch_find(name);
	ArchOptions o;
	TrainError err;
	NnGraph *g;

	arch_defaults(arch, &o);
	o.seed = seed;
	o.width = o.height = size;
	g = arch_build(arch, &o, &err);
	if (!g)
		fail_msg("%s", err.text);
	return g;
}

static void
test_initial(void **state)
{
	NnGraph *g = drawn("resnet18", 32, 1), *h;

	(void) state;
	/* torchvision: normal, variance 2 / (outputs x taps) */
	expect_deviation(g, "layer1.0.conv1.weight", 0.058926);
	expect_deviation(g, "layer4.0.downsample.0.weight", 0.0625);
	expect_deviation(g, "fc.weight", 1 / 22.627417 / 1.7320508);
	expect_deviation(g, "fc.bias", 1 / 22.627417 / 1.7320508);
	h = drawn("resnet18", 32, 1);
	for (int i = 0; i < g->nparams; i++)
		assert_memory_equal(g->param[i].data, h->param[i].data,
							nn_shape_size(&g->param[i].shape) * sizeof(float));
	nn_graph_free(h);
	h = drawn("resnet18", 32, 2);
	assert_memory_not_equal(g->param[0].data, h->param[0].data, 64);
	nn_graph_free(g);
	nn_graph_free(h);
	g = drawn("vit-ti", 32, 1);
	expect_deviation(g, "blocks.3.attn.qkv.weight", 0.02);
	expect_deviation(g, "pos_embed", 0.02);
	expect_deviation(g, "cls_token", 1e-6);
	expect_deviation(g, "patch_embed.proj.weight", 1 / 27.712813 / 1.7320508);
	nn_graph_free(g);
}

/* A gradient for every parameter that trains: nothing is left out of the backward pass.
 */
static void
check_step(const char *label, int size, int bits)
{
	ArchOptions o;
	TrainError err;
	char name[64];
	const Arch *arch;
	NnGraph *g;
	Tape *tape;
	uint8_t *images = malloc((size_t) 2 * size * size * 3);
	float *grads[NN_MAX_OUTPUTS] = {NULL};
	Rng rng;

	snprintf(name, sizeof(name), "%.*s", (int) strcspn(label, " "), label);
	arch = arch_find(name);
	arch_defaults(arch, &o);
	if (!arch_from_label(label, &o, &err))
		fail_msg("%s", err.text);
	o.head = ARCH_HASH;
	o.outputs = bits;
	o.height = o.width = size;
	g = arch_build(arch, &o, &err);
	tape = g ? tape_new(g, 2, NULL, true, &err) : NULL;
	if (!tape)
		fail_msg("%s: %s", label, err.text);
	rng_seed(&rng, 4, 1);
	for (int i = 0; i < 2 * size * size * 3; i++)
		images[i] = (uint8_t) rng_below(&rng, 256);
	tape_seed(tape, 5, 0);
	tape_forward(tape, images, 2, true, 0.1f);
	for (int k = 0; k < nn_graph_outputs(g); k++)
	{
		size_t n = 2 * nn_shape_size(&g->node[nn_graph_output_node(g, k)].shape);

		grads[k] = malloc(n * sizeof(float));
		for (size_t i = 0; i < n; i++)
			grads[k][i] = (float) rng_normal(&rng);
	}
	tape_backward_outputs(tape, (const float *const *) grads, false);
	assert_null(tape_not_finite(tape));
	for (int p = 0; p < g->nparams; p++)
	{
		const float *grad = tape_gradient(tape, p);
		bool some = false;

		for (size_t i = 0; grad && !some && i < nn_shape_size(&g->param[p].shape); i++)
			some = grad[i] != 0;
		if (grad && !some)
			fail_msg("%s: %s has no gradient", label, g->param[p].name);
	}
	for (int k = 0; k < NN_MAX_OUTPUTS; k++)
		free(grads[k]);
	free(images);
	tape_free(tape);
	nn_graph_free(g);
}

static void
test_steps(void **state)
{
	(void) state;
	check_step("speednet", 32, 16);
	check_step("resnet18 stem=cifar", 16, 16);
	check_step("resnet50 stages=3", 32, 16);
	check_step("squeezenet1_1", 63, 16);
	check_step("vit-ti patch=8 layerscale=0.1", 32, 16);
	check_step("vit-s depth=2", 32, 16);
	check_step("ae-vit size=ti", 32, 16);
	check_step("ae-vit size=ti aem=spatial", 32, 16);
	check_step("swin-t window=2", 64, 16);
	check_step("vae", 32, 16);
	check_step("cvae", 32, 16);
	check_step("csvae", 32, 16);
	check_step("vte", 32, 16);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),		   cmocka_unit_test(test_drop_path),
		cmocka_unit_test(test_sizes),		   cmocka_unit_test(test_colours),
		cmocka_unit_test(test_counts_by_hand), cmocka_unit_test(test_autoencoders),
		cmocka_unit_test(test_vgg_f),		   cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_labels),		   cmocka_unit_test(test_depths),
		cmocka_unit_test(test_steps),		   cmocka_unit_test(test_initial),
	};

	return cmocka_run_group_tests_name("train: architectures", tests, NULL, NULL);
}
