/*
 * test_nn_parity.c
 *	  Networks trained by others, from their safetensors weights, against outputs
 *	  computed elsewhere.  Needs the developers' data (DEEPHASH_DATA).
 */
#include "pretrained.h"

/* Weights of the network, or the test is skipped (and g freed). */
static void
open_weights(NnGraph *g, const char *file, NnSafetensors *st)
{
	char path[600];
	NnError err;

	if (reference.map == NULL || !data_path(file, path, sizeof(path)))
	{
		print_message("skipped: %s is not in %s (set DEEPHASH_DATA)\n", file,
					  data_folder);
		nn_graph_free(g);
		skip();
	}
	if (!nn_safetensors_open(path, st, &err))
		fail_msg("%s", err.text);
}

/* Every parameter gets the tensor of its name and size. */
static void
load_weights(NnGraph *g, const NnSafetensors *st)
{
	NnError err;

	if (!nn_graph_ok(g, &err))
		fail_msg("%s", err.text);
	for (int i = 0; i < g->nparams; i++)
	{
		NnParam *p = &g->param[i];
		const NnTensor *t = nn_safetensors_find(st, p->name);

		if (t == NULL || nn_tensor_values(t) != nn_shape_size(&p->shape))
			fail_msg("no tensor of the right size for %s", p->name);
		memcpy(p->data, t->data, t->size);
	}
}

static const float no_mean[3] = {0, 0, 0}, no_std[3] = {1, 1, 1};

static NnGraph *
deit_tiny(int *feature)
{
	NnGraph *g = nn_graph_new();
	NnShape tokens = {2, {196, 192, 0, 0}};
	int x = nn_input(g, 224, 224, no_mean, no_std), y;
	char name[64];

	x = nn_conv2d(g, x, "patch_embed.proj", 192, 16, 16, 16, 0, 1, true, NN_IDENTITY);
	x = nn_reshape(g, x, &tokens);
	x = nn_class_token(g, x, "cls_token");
	x = nn_position(g, x, "pos_embed");
	for (int b = 0; b < 12; b++)
	{
#define NAME(what) (snprintf(name, sizeof(name), "blocks.%d." what, b), name)
		y = nn_layernorm(g, x, NAME("norm1"), 1e-6f);
		y = nn_linear(g, y, NAME("attn.qkv"), 576, true, NN_IDENTITY);
		y = nn_attention(g, y, 3);
		y = nn_linear(g, y, NAME("attn.proj"), 192, true, NN_IDENTITY);
		x = nn_add(g, x, y);
		y = nn_layernorm(g, x, NAME("norm2"), 1e-6f);
		y = nn_linear(g, y, NAME("mlp.fc1"), 768, true, NN_GELU);
		y = nn_linear(g, y, NAME("mlp.fc2"), 192, true, NN_IDENTITY);
		x = nn_add(g, x, y);
#undef NAME
	}
	x = nn_layernorm(g, x, "norm", 1e-6f);
	*feature = nn_token(g, x, 0);
	nn_linear(g, *feature, "head", 1000, true, NN_IDENTITY);
	return g;
}

static NnGraph *
mobilenet_v2(void)
{
	static const int stage[7][4] = {{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2},
									{6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2},
									{6, 320, 1, 1}};
	NnGraph *g = nn_graph_new();
	int x = nn_input(g, 224, 224, no_mean, no_std), channels = 32, block = 1;
	char name[64];

	x = nn_conv2d(g, x, "features.0.0", 32, 3, 3, 2, 1, 1, true, NN_RELU6);
	for (int s = 0; s < 7; s++)
		for (int i = 0; i < stage[s][2]; i++, block++)
		{
			int stride = i == 0 ? stage[s][3] : 1, wide = channels * stage[s][0], y = x;
			bool expand = stage[s][0] != 1;

#define NAME(what) (snprintf(name, sizeof(name), "features.%d.conv." what, block), name)
			if (expand)
				y = nn_conv2d(g, y, NAME("0.0"), wide, 1, 1, 1, 0, 1, true, NN_RELU6);
			y = nn_conv2d(g, y, expand ? NAME("1.0") : NAME("0.0"), wide, 3, 3, stride, 1,
						  wide, true, NN_RELU6);
			y = nn_conv2d(g, y, expand ? NAME("2") : NAME("1"), stage[s][1], 1, 1, 1, 0,
						  1, true, NN_IDENTITY);
			x = stride == 1 && channels == stage[s][1] ? nn_add(g, x, y) : y;
			channels = stage[s][1];
#undef NAME
		}
	x = nn_conv2d(g, x, "features.18.0", 1280, 1, 1, 1, 0, 1, true, NN_RELU6);
	nn_global_avgpool(g, x);
	return g;
}

static NnGraph *
resnet18_stages1to3(void)
{
	NnGraph *g = nn_graph_new();
	int x = nn_input(g, 224, 224, no_mean, no_std);
	char name[64];

	x = nn_conv2d(g, x, "conv1", 64, 7, 7, 2, 3, 1, true, NN_RELU);
	x = nn_maxpool(g, x, 3, 2, 1);
	for (int layer = 1; layer <= 3; layer++)
		for (int b = 0; b < 2; b++)
		{
			int stride = layer > 1 && b == 0 ? 2 : 1, y;

#define NAME(what) (snprintf(name, sizeof(name), "layer%d.%d." what, layer, b), name)
			y = nn_conv2d(g, x, NAME("conv1"), 32 << layer, 3, 3, stride, 1, 1, true,
						  NN_RELU);
			y = nn_conv2d(g, y, NAME("conv2"), 32 << layer, 3, 3, 1, 1, 1, true,
						  NN_IDENTITY);
			if (stride == 2)
				x = nn_conv2d(g, x, NAME("downsample.0"), 32 << layer, 1, 1, 2, 0, 1,
							  true, NN_IDENTITY);
			x = nn_activation(g, nn_add(g, x, y), NN_RELU);
#undef NAME
		}
	nn_global_avgpool(g, x);
	return g;
}

static void
check(NnGraph *g, const char *file, const char *const *names, const int *nodes, int n)
{
	NnSafetensors st;
	NnPool *pool;
	float **out;

	open_weights(g, file, &st);
	load_weights(g, &st);
	nn_safetensors_close(&st);
	pool = nn_pool_new(2);
	out = run_graph(g, made_input(), pool);
	for (int i = 0; i < n; i++)
		compare(names[i], out[nodes[i]], nn_shape_size(&g->node[nodes[i]].shape));
	for (int i = 0; i < g->nnodes; i++)
		free(out[i]);
	free(out);
	nn_pool_free(pool);
	nn_graph_free(g);
}

static void
test_deit_tiny(void **state)
{
	const char *names[] = {"deit_tiny.feature", "deit_tiny.logits"};
	int nodes[2];
	NnGraph *g = deit_tiny(&nodes[0]);

	(void) state;
	nodes[1] = g->nnodes - 1;
	check(g, "deit_tiny_patch16_224.safetensors", names, nodes, 2);
}

static void
test_mobilenet_v2(void **state)
{
	const char *names[] = {"mobilenet_v2.feature"};
	NnGraph *g = mobilenet_v2();

	(void) state;
	check(g, "mobilenet_v2_folded.safetensors", names, (int[]){g->nnodes - 1}, 1);
}

static void
test_resnet18(void **state)
{
	const char *names[] = {"resnet18_stages1to3.feature"};
	NnGraph *g = resnet18_stages1to3();

	(void) state;
	check(g, "resnet18_stages1to3_folded.safetensors", names, (int[]){g->nnodes - 1}, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deit_tiny),
		cmocka_unit_test(test_mobilenet_v2),
		cmocka_unit_test(test_resnet18),
	};

	return cmocka_run_group_tests_name("nn: networks of others", tests, find_data,
									   close_data);
}
