/*
 * test_train_arch_names.c
 *	  Parameters of architectures have the names of timm's and torchvision's, all of them
 *	  and no others.
 */
#include "arch_shapes.h"

/* The names, in the order of the reference's state_dict. */
static void
expect_names(const NnGraph *g, const char *const *names)
{
	int n = 0;

	for (; names[n]; n++)
		if (nn_graph_find_param(g, names[n]) < 0)
			fail_msg("there is no parameter %s", names[n]);
	assert_int_equal(g->nparams, n);
}

static void
test_names_resnet(void **state)
{
	static char text[200][64];
	const char *names[200];
	NnGraph *g = shapes_of("resnet18", ARCH_CLASSES, 1000, 0);
	int n = 0;

	(void) state;
#define NORM(...)                                                                        \
	for (int i = 0; i < 4; i++)                                                          \
	snprintf(text[n++], 64, __VA_ARGS__,                                                 \
			 (const char *[]){"weight", "bias", "running_mean", "running_var"}[i])
	snprintf(text[n++], 64, "conv1.weight");
	NORM("bn1.%s");
	for (int layer = 1; layer <= 4; layer++)
		for (int b = 0; b < 2; b++)
		{
			for (int k = 1; k <= 2; k++)
			{
				snprintf(text[n++], 64, "layer%d.%d.conv%d.weight", layer, b, k);
				NORM("layer%d.%d.bn%d.%s", layer, b, k);
			}
			if (layer > 1 && b == 0)
			{
				snprintf(text[n++], 64, "layer%d.0.downsample.0.weight", layer);
				NORM("layer%d.0.downsample.1.%s", layer);
			}
		}
#undef NORM
	snprintf(text[n++], 64, "fc.weight");
	snprintf(text[n++], 64, "fc.bias");
	/* state_dict has 122 entries, 20 of which are num_batches_tracked */
	assert_int_equal(n, 122 - 20);
	for (int i = 0; i < n; i++)
		names[i] = text[i];
	names[n] = NULL;
	expect_names(g, names);
	nn_graph_free(g);
}

static void
test_names_vit(void **state)
{
	static const char *const of_block[] = {
		"norm1.weight",		"norm1.bias",	  "attn.qkv.weight", "attn.qkv.bias",
		"attn.proj.weight", "attn.proj.bias", "norm2.weight",	 "norm2.bias",
		"mlp.fc1.weight",	"mlp.fc1.bias",	  "mlp.fc2.weight",	 "mlp.fc2.bias"};
	static const char *const others[] = {"cls_token",
										 "pos_embed",
										 "patch_embed.proj.weight",
										 "patch_embed.proj.bias",
										 "norm.weight",
										 "norm.bias",
										 "head.weight",
										 "head.bias"};
	static char text[200][64];
	const char *names[200];
	NnGraph *g = shapes_of("vit-ti", ARCH_CLASSES, 1000, 0);
	int n = 0;

	(void) state;
	for (int i = 0; i < 8; i++)
		names[n++] = others[i];
	for (int b = 0; b < 12; b++)
		for (int i = 0; i < 12; i++, n++)
		{
			snprintf(text[n], 64, "blocks.%d.%s", b, of_block[i]);
			names[n] = text[n];
		}
	names[n] = NULL;
	assert_int_equal(n, 152);
	expect_names(g, names);
	nn_graph_free(g);
}

static void
test_names_classic(void **state)
{
	static const int convolutions[] = {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28};
	static const int alex[] = {0, 3, 6, 8, 10};
	static char text[64][64];
	const char *names[64];
	int n = 0;
	NnGraph *g;

	(void) state;
	for (int bias = 0; bias < 2; bias++)
	{
		for (int i = 0; i < 13; i++)
			snprintf(text[n++], 64, "features.%d.%s", convolutions[i],
					 bias ? "bias" : "weight");
		for (int i = 0; i < 3; i++)
			snprintf(text[n++], 64, "classifier.%d.%s", 3 * i, bias ? "bias" : "weight");
	}
	for (int i = 0; i < n; i++)
		names[i] = text[i];
	names[n] = NULL;
	g = shapes_of("vgg16", ARCH_CLASSES, 1000, 0);
	expect_names(g, names);
	nn_graph_free(g);
	n = 0;
	for (int bias = 0; bias < 2; bias++)
	{
		for (int i = 0; i < 5; i++)
			snprintf(text[n++], 64, "features.%d.%s", alex[i], bias ? "bias" : "weight");
		for (int i = 1; i <= 6; i = i == 1 ? 4 : i + 2)
			snprintf(text[n++], 64, "classifier.%d.%s", i, bias ? "bias" : "weight");
	}
	names[n] = NULL;
	g = shapes_of("alexnet", ARCH_CLASSES, 1000, 0);
	expect_names(g, names);
	nn_graph_free(g);
}

static void
test_names_swin(void **state)
{
	static const int blocks[4] = {2, 2, 6, 2};
	static const char *const of_block[] = {
		"norm1.weight",	   "norm1.bias",	"attn.relative_position_bias_table",
		"attn.qkv.weight", "attn.qkv.bias", "attn.proj.weight",
		"attn.proj.bias",  "norm2.weight",	"norm2.bias",
		"mlp.fc1.weight",  "mlp.fc1.bias",	"mlp.fc2.weight",
		"mlp.fc2.bias"};
	static const char *const others[] = {
		"patch_embed.proj.weight", "patch_embed.proj.bias", "patch_embed.norm.weight",
		"patch_embed.norm.bias",   "norm.weight",			"norm.bias",
		"head.fc.weight",		   "head.fc.bias"};
	static char text[200][64];
	const char *names[200];
	int n = 0;
	NnGraph *g = shapes_of("swin-t", ARCH_CLASSES, 1000, 0);

	(void) state;
	for (int i = 0; i < 8; i++)
		snprintf(text[n++], 64, "%s", others[i]);
	for (int s = 0; s < 4; s++)
	{
		for (int b = 0; b < blocks[s]; b++)
			for (int i = 0; i < 13; i++)
				snprintf(text[n++], 64, "layers.%d.blocks.%d.%s", s, b, of_block[i]);
		if (s == 0)
			continue;
		snprintf(text[n++], 64, "layers.%d.downsample.norm.weight", s);
		snprintf(text[n++], 64, "layers.%d.downsample.norm.bias", s);
		snprintf(text[n++], 64, "layers.%d.downsample.reduction.weight", s);
	}
	/* state_dict has 173 */
	assert_int_equal(n, 173);
	for (int i = 0; i < n; i++)
		names[i] = text[i];
	names[n] = NULL;
	expect_names(g, names);
	/* every second block of the first three stages is shifted by half a window */
	n = 0;
	for (int i = 0; i < g->nnodes; i++)
		if (g->node[i].kind == NN_WINDOW_ATTENTION)
		{
			assert_int_equal(g->node[i].window, 7);
			n += g->node[i].shift == 3;
		}
	assert_int_equal(n, 1 + 1 + 3);
	nn_graph_free(g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_resnet),
		cmocka_unit_test(test_names_vit),
		cmocka_unit_test(test_names_classic),
		cmocka_unit_test(test_names_swin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
