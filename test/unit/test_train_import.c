/*
 * test_train_import.c
 *	  Weights trained elsewhere: what is taken, what is refused and how it is named.
 */
#include "import_samples.h"

#include "training/metrics/ranks.h"

#define SMALL "vit-ti depth=1 patch=8"

static void
test_types(void **state)
{
	static const char *const dtypes[] = {"F32", "F16", "BF16", "F64"};

	(void) state;
	for (int i = 0; i < 4; i++)
		for (int pad = 0; pad < 3; pad++)
		{
			NnGraph *g = network(SMALL, ARCH_CLASSES, 10, 16);
			File *file = file_of(g, dtypes[i], pad);
			ImportOptions options = {0};
			TrainError err;

			write_file(file, pad);
			if (!import_weights(g, path, &options, &err))
				fail_msg("%s", err.text);
			expect_values(g, file);
			free_file(file);
			nn_graph_free(g);
		}
}

static void
test_halves(void **state)
{
	(void) state;
	for (uint32_t h = 0; h < 65536; h++)
	{
		int exponent = h >> 10 & 31, fraction = h & 1023;
		double wanted =
			exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
		float got = nn_half_to_float((uint16_t) h);

		if (exponent == 31)
		{
			assert_true(fraction ? isnan(got) : isinf(got));
			assert_true(fraction || (got < 0) == (h >= 0x8000));
			continue;
		}
		assert_true(fabsf(got) == (float) wanted);
		assert_int_equal(!!signbit(got), h >> 15);
	}
}

/* All the trouble is named, and nothing has changed. */
static void
test_strict(void **state)
{
	NnGraph *g = network(SMALL, ARCH_CLASSES, 10, 16), *before = nn_graph_copy(g);
	File *file = file_of(g, "F32", 0);
	Heard heard = {0};
	ImportOptions options = {.told = hear, .arg = &heard};
	TrainError err;
	Entry *e;

	(void) state;
	entry(file, "norm.weight")->absent = true;
	entry(file, "blocks.0.mlp.fc1.bias")->absent = true;
	e = entry(file, "blocks.0.attn.proj.weight");
	e->dim[0] = 96;
	e->dim[1] = 384;
	add(file, "dist_token", "F32", 1, (int[]){192});
	add(file, "head_dist.weight", "F16", 2, (int[]){10, 192});
	write_file(file, 0);
	assert_false(import_weights(g, path, &options, &err));
	expect_part(err.text, path);
	expect_part(err.text, "2 missing, 2 surplus, 1 of another shape (first: ");
	assert_int_equal(heard.lines, 5);
	expect_part(heard.text, "missing: norm.weight (192)\n");
	expect_part(heard.text, "missing: blocks.0.mlp.fc1.bias (768)\n");
	expect_part(heard.text, "other shape: blocks.0.attn.proj.weight is 96x384 in the "
							"file, 192x192 in the network\n");
	expect_part(heard.text, "surplus: dist_token (192)\n");
	expect_part(heard.text, "surplus: head_dist.weight (10x192)\n");
	/* another shape is refused even when asked for a part */
	options.partial = true;
	assert_false(import_weights(g, path, &options, &err));
	for (int i = 0; i < g->nparams; i++)
		assert_memory_equal(g->param[i].data, before->param[i].data,
							nn_shape_size(&g->param[i].shape) * sizeof(float));
	e->dim[0] = e->dim[1] = 192;
	write_file(file, 0);
	if (!import_weights(g, path, &options, &err))
		fail_msg("%s", err.text);
	entry(file, "norm.weight")->absent = false;
	for (int i = 0; i < 192; i++)
		entry(file, "norm.weight")->values[i] = 1;
	memset(entry(file, "blocks.0.mlp.fc1.bias")->values, 0, 768 * sizeof(float));
	expect_values(g, file);
	free_file(file);
	nn_graph_free(before);
	nn_graph_free(g);
}

static void
refuse(NnGraph *g, const char *part)
{
	ImportOptions options = {0};
	TrainError err;

	assert_false(import_weights(g, path, &options, &err));
	expect_part(err.text, part);
}

static void
test_hostile(void **state)
{
	NnGraph *g = network("resnet18 stages=1", ARCH_FEATURES, 0, 8);
	File *file = file_of(g, "F32", 0);
	Entry *e = entry(file, "layer1.1.bn2.running_var");
	TrainError err;
	ImportOptions options = {0};
	FILE *f;

	(void) state;
	/* torchvision's counters come along and are whole numbers */
	add(file, "bn1.num_batches_tracked", "I64", 0, NULL);
	write_file(file, 1);
	if (!import_weights(g, path, &options, &err))
		fail_msg("%s", err.text);
	e->values[7] = -0.25f;
	write_file(file, 0);
	refuse(g, "\"layer1.1.bn2.running_var\" has a negative variance");
	e->values[7] = INFINITY;
	write_file(file, 0);
	refuse(g, "\"layer1.1.bn2.running_var\": value 7 is not finite");
	e->dtype = "BF16";
	e->values[7] = NAN;
	write_file(file, 0);
	refuse(g, "value 7 is not finite");
	e->values[7] = 0;
	e->dtype = "I64";
	write_file(file, 0);
	refuse(g, "is I64; weights are F32, F16, BF16 or F64");
	e->dtype = "F32";
	for (int i = 0; i < file->n; i++)
		file->entry[i].name[0] ^= 1;
	write_file(file, 0);
	refuse(g, "weights of another architecture?");
	/* cut short at every place of the header and some of the data */
	for (int i = 0; i < file->n; i++)
		file->entry[i].name[0] ^= 1;
	write_file(file, 0);
	for (long size = 3000; size >= 0; size -= 13)
	{
		assert_int_equal(truncate(path, size), 0);
		assert_false(import_weights(g, path, &options, &err));
	}
	f = fopen(path, "wb");
	fwrite("\xff\xff\xff\xff\xff\xff\xff\xff{}", 1, 10, f);
	fclose(f);
	refuse(g, "not a safetensors file");
	free_file(file);
	nn_graph_free(g);
	g = network(SMALL, ARCH_CLASSES, 10, 16);
	assert_false(import_weights(g, "/nonexistent", &options, &err));
	expect_part(err.text, "\"/nonexistent\"");
	nn_graph_free(g);
}

static void
test_heads(void **state)
{
	NnGraph *whole = network(SMALL, ARCH_CLASSES, 10, 16);
	NnGraph *hash = network(SMALL, ARCH_HASH, 16, 16), *before = nn_graph_copy(hash);
	NnGraph *features = network(SMALL, ARCH_FEATURES, 0, 16);
	File *file = file_of(whole, "F32", 0);
	Heard heard = {0};
	ImportOptions options = {.told = hear, .arg = &heard, .head = "head"};
	TrainError err;
	int at = nn_graph_find_param(hash, "hash.weight");

	(void) state;
	write_file(file, 0);
	assert_false(import_weights(hash, path, &options, &err));
	options.fresh_head = true;
	heard = (Heard){0};
	if (!import_weights(hash, path, &options, &err))
		fail_msg("%s", err.text);
	assert_int_equal(heard.lines, 2);
	expect_part(heard.text, "head left out: head.weight (10x192)\n");
	assert_memory_equal(hash->param[at].data, before->param[at].data,
						16 * 192 * sizeof(float));
	assert_memory_equal(hash->param[0].data, entry(file, hash->param[0].name)->values,
						1024);
	if (!import_weights(features, path, &options, &err))
		fail_msg("%s", err.text);
	/* what is not the head stays strict */
	entry(file, "norm.bias")->absent = true;
	write_file(file, 0);
	assert_false(import_weights(hash, path, &options, &err));
	expect_part(err.text, "1 missing, 0 surplus");
	free_file(file);

	/* a head that fits comes along, whole or not at all */
	file = file_of(hash, "F32", 0);
	write_file(file, 0);
	if (!import_weights(hash, path, &options, &err))
		fail_msg("%s", err.text);
	expect_values(hash, file);
	entry(file, "hash_norm.running_mean")->absent = true;
	write_file(file, 0);
	memcpy(hash->param[at].data, before->param[at].data, 16 * 192 * sizeof(float));
	if (!import_weights(hash, path, &options, &err))
		fail_msg("%s", err.text);
	assert_memory_equal(hash->param[at].data, before->param[at].data,
						16 * 192 * sizeof(float));
	free_file(file);
	nn_graph_free(whole);
	nn_graph_free(hash);
	nn_graph_free(before);
	nn_graph_free(features);
}

/* ------------------------------------------------------------------ positions */

static void
test_positions(void **state)
{
	/* 2 -> 4: cubic(0.25) = 0.8671875, cubic(1.25) = -0.0703125; their sum is scaled to
	 * 1; 0.75 and 0.25 from the sources: cubic(0.75) = 0.2265625 */
	const double far = -0.0703125 / 0.796875, near = 0.8671875 / 0.796875;
	const double other = 0.2265625 / (0.8671875 + 0.2265625), own = 1 - other;
	const double weight[4][2] = {{near, far}, {own, other}, {other, own}, {far, near}};
	float from[1 + 4] = {9, 1, 2, 3, 5}, to[1 + 16], ramp[49], shrunk[9];

	(void) state;
	assert_true(import_positions(from, 2, 2, to, 4, 4, 1, 1));
	assert_true(to[0] == 9);
	for (int y = 0; y < 4; y++)
		for (int x = 0; x < 4; x++)
		{
			double wanted = 0;

			for (int k = 0; k < 4; k++)
				wanted += weight[y][k / 2] * weight[x][k % 2] * from[1 + k];
			assert_true(fabs(to[1 + y * 4 + x] - wanted) < 1e-5);
		}
	/* the same grid: the same values; oblong grids; several values a token */
	assert_true(import_positions(from, 2, 2, to, 2, 2, 1, 1));
	assert_memory_equal(from, to, sizeof(from));
	assert_true(import_positions(from, 1, 2, to, 3, 1, 0, 2));
	assert_true(fabsf(to[0] - (from[0] + from[2]) / 2) < 1e-6f);
	assert_true(fabsf(to[5] - (from[1] + from[3]) / 2) < 1e-6f);
	/* shrinking: the middle of a ramp stays, and it is a mean of many */
	for (int i = 0; i < 49; i++)
		ramp[i] = (float) (i % 7);
	assert_true(import_positions(ramp, 7, 7, shrunk, 3, 3, 0, 1));
	assert_true(fabsf(shrunk[4] - 3) < 1e-5f);
	assert_true(fabsf(shrunk[3] + shrunk[5] - 6) < 1e-5f);
	assert_true(shrunk[3] > 0.3f && shrunk[3] < 1.2f);
}

static void
test_other_grid(void **state)
{
	NnGraph *g = network(SMALL, ARCH_CLASSES, 10, 16);
	NnGraph *larger = network(SMALL, ARCH_CLASSES, 10, 32);
	File *file = file_of(g, "F32", 1);
	Heard heard = {0};
	ImportOptions options = {.told = hear, .arg = &heard};
	TrainError err;
	float wanted[17 * 192];
	int at = nn_graph_find_param(larger, "pos_embed");

	(void) state;
	write_file(file, 0);
	if (!import_weights(larger, path, &options, &err))
		fail_msg("%s", err.text);
	expect_part(heard.text, "pos_embed: interpolated from 2x2 to 4x4 positions\n");
	import_positions(entry(file, "pos_embed")->values, 2, 2, wanted, 4, 4, 1, 192);
	assert_memory_equal(larger->param[at].data, wanted, sizeof(wanted));
	/* no square of patches: another shape */
	entry(file, "pos_embed")->dim[1] = 4;
	entry(file, "pos_embed")->dim[0] = 1;
	entry(file, "pos_embed")->ndim = 3;
	entry(file, "pos_embed")->dim[2] = 192;
	write_file(file, 0);
	assert_false(import_weights(larger, path, &options, &err));
	expect_part(heard.text, "other shape: pos_embed is 1x4x192 in the file, 17x192");
	free_file(file);
	nn_graph_free(g);
	nn_graph_free(larger);
}

static void
test_look(void **state)
{
	NnGraph *g = network("vit-ti depth=1 patch=14", ARCH_CLASSES, 7, 28);
	File *file = file_of(g, "F32", 0);
	const Arch *arch = arch_find("vit-ti");
	Heard heard = {0};
	ImportOptions options = {.told = hear, .arg = &heard};
	ArchOptions o;
	TrainError err;

	(void) state;
	write_file(file, 0);
	arch_defaults(arch, &o);
	o.outputs = 0;
	assert_true(import_look(arch, path, &o, &options, &err));
	assert_true(arch_value(arch, &o, "patch") == 14);
	assert_int_equal(o.outputs, 7);
	expect_part(heard.text, "patch=14: the file's patches");
	/* what the user has set stays */
	arch_defaults(arch, &o);
	assert_true(arch_set(arch, &o, "patch", "8", &err));
	o.outputs = 3;
	assert_true(import_look(arch, path, &o, &options, &err));
	assert_true(arch_value(arch, &o, "patch") == 8 && o.outputs == 3);
	free_file(file);
	nn_graph_free(g);
}

/* The names that older files of Swin transformers have. */
static void
test_swin_names(void **state)
{
	NnGraph *g = network("swin-t window=8", ARCH_CLASSES, 10, 32);
	File *file = file_of(g, "F32", 0);
	ImportOptions options = {0};
	TrainError err;
	int at = nn_graph_find_param(g, "layers.2.downsample.reduction.weight");
	char name[NN_MAX_NAME];
	int stage, rest;

	(void) state;
	write_file(file, 0);
	assert_true(import_weights(g, path, &options, &err));
	expect_values(g, file);
	for (int i = 0; i < file->n; i++)
	{
		Entry *e = &file->entry[i];

		if (sscanf(e->name, "layers.%d.downsample.%n", &stage, &rest) == 1 &&
			strstr(e->name, "downsample"))
		{
			snprintf(name, sizeof(name), "layers.%d.downsample.%s", stage - 1,
					 e->name + rest);
			strcpy(e->name, name);
		}
		else if (strncmp(e->name, "head.fc.", 8) == 0)
			memmove(e->name + 5, e->name + 8, strlen(e->name + 8) + 1);
	}
	add(file, "layers.0.blocks.0.attn.relative_position_index", "I64", 2,
		(int[]){64, 64});
	entry(file, "layers.1.downsample.reduction.weight")->values[5] = 0.375f;
	write_file(file, 0);
	if (!import_weights(g, path, &options, &err))
		fail_msg("%s", err.text);
	assert_true(g->param[at].data[5] == 0.375f);
	free_file(file);
	nn_graph_free(g);
}

/* Rename all entries by a list of (ours, theirs) beginnings, first one that fits. */
static void
rename_entries(File *file, const char *const (*list)[2], int n)
{
	for (int i = 0; i < file->n; i++)
		for (int k = 0; k < n; k++)
			if (strncmp(file->entry[i].name, list[k][0], strlen(list[k][0])) == 0)
			{
				char rest[NN_MAX_NAME];

				strcpy(rest, file->entry[i].name + strlen(list[k][0]));
				snprintf(file->entry[i].name, NN_MAX_NAME, "%s%s", list[k][1], rest);
				break;
			}
}

/* Transformers as torchvision names them: the same values, and heads that are left out.
 */
static void
test_torchvision_names(void **state)
{
	static const char *const vit[][2] = {
		{"cls_token", "class_token"},
		{"pos_embed", "encoder.pos_embedding"},
		{"patch_embed.proj", "conv_proj"},
		{"norm.", "encoder.ln."},
		{"head.", "heads.head."},
		{"blocks.0.norm1", "encoder.layers.encoder_layer_0.ln_1"},
		{"blocks.0.norm2", "encoder.layers.encoder_layer_0.ln_2"},
		{"blocks.0.attn.qkv.weight",
		 "encoder.layers.encoder_layer_0.self_attention.in_proj_weight"},
		{"blocks.0.attn.qkv.bias",
		 "encoder.layers.encoder_layer_0.self_attention.in_proj_bias"},
		{"blocks.0.attn.proj", "encoder.layers.encoder_layer_0.self_attention.out_proj"},
		{"blocks.0.mlp.fc1", "encoder.layers.encoder_layer_0.mlp.linear_1"},
		{"blocks.0.mlp.fc2", "encoder.layers.encoder_layer_0.mlp.linear_2"}};
	static const char *const later[][2] = {{"encoder.layers.encoder_layer_0.mlp.linear_1",
											"encoder.layers.encoder_layer_0.mlp.0"},
										   {"encoder.layers.encoder_layer_0.mlp.linear_2",
											"encoder.layers.encoder_layer_0.mlp.3"}};
	static const char *const swin[][2] = {{"patch_embed.proj", "features.0.0"},
										  {"patch_embed.norm", "features.0.2"},
										  {"head.fc", "head"},
										  {"layers.1.downsample", "features.2"},
										  {"layers.2.downsample", "features.4"},
										  {"layers.3.downsample", "features.6"},
										  {"layers.0.blocks", "features.1"},
										  {"layers.1.blocks", "features.3"},
										  {"layers.2.blocks", "features.5"},
										  {"layers.3.blocks", "features.7"}};
	NnGraph *g = network(SMALL, ARCH_CLASSES, 10, 16), *hash;
	File *file = file_of(g, "F32", 1), *ours = file_of(g, "F32", 1);
	Heard heard = {0};
	ImportOptions options = {.told = hear, .arg = &heard, .head = "head"};
	TrainError err;

	(void) state;
	rename_entries(file, vit, 12);
	for (int round = 0; round < 2; round++)
	{
		write_file(file, 0);
		if (!import_weights(g, path, &options, &err))
			fail_msg("%s\n%s", err.text, heard.text);
		expect_values(g, ours);
		rename_entries(file, later, 2);
	}
	hash = network(SMALL, ARCH_HASH, 16, 16);
	options.fresh_head = true;
	if (!import_weights(hash, path, &options, &err))
		fail_msg("%s\n%s", err.text, heard.text);
	expect_part(heard.text, "head left out: heads.head.weight (1x10x192)\n");
	free_file(file);
	free_file(ours);
	nn_graph_free(g);
	nn_graph_free(hash);

	g = network("swin-t window=8", ARCH_CLASSES, 10, 32);
	file = file_of(g, "F32", 0);
	ours = file_of(g, "F32", 0);
	rename_entries(file, swin, 10);
	for (int i = 0; i < file->n; i++)
	{
		char *mlp = strstr(file->entry[i].name, ".mlp.fc");

		if (mlp)
		{
			char rest[NN_MAX_NAME];

			snprintf(rest, sizeof(rest), ".mlp.%d%s", mlp[7] == '1' ? 0 : 3, mlp + 8);
			strcpy(mlp, rest);
		}
	}
	write_file(file, 0);
	options.fresh_head = false;
	if (!import_weights(g, path, &options, &err))
		fail_msg("%s\n%s", err.text, heard.text);
	expect_values(g, ours);
	free_file(file);
	free_file(ours);
	nn_graph_free(g);
}

static void
test_ranks(void **state)
{
	const float logits[6] = {1, 5, 3, 5, -2, 4};
	int top[6];

	(void) state;
	assert_int_equal(ranks_of(logits, 6, 1), 0);
	assert_int_equal(ranks_of(logits, 6, 3), 1);
	assert_int_equal(ranks_of(logits, 6, 4), 5);
	assert_int_equal(ranks_top(logits, 6, 4, top), 4);
	assert_memory_equal(top, ((int[]){1, 3, 5, 2}), 4 * sizeof(int));
	assert_int_equal(ranks_top(logits, 3, 5, top), 3);
	assert_memory_equal(top, ((int[]){1, 2, 0}), 3 * sizeof(int));
	assert_true(fabs(ranks_probability(logits, 6, 5) -
					 exp(4) / (exp(1) + 2 * exp(5) + exp(3) + exp(-2) + exp(4))) < 1e-12);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),	   cmocka_unit_test(test_halves),
		cmocka_unit_test(test_strict),	   cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_heads),	   cmocka_unit_test(test_positions),
		cmocka_unit_test(test_other_grid), cmocka_unit_test(test_look),
		cmocka_unit_test(test_swin_names), cmocka_unit_test(test_torchvision_names),
		cmocka_unit_test(test_ranks),
	};

	return cmocka_run_group_tests_name("train: import", tests, begin, end);
}
