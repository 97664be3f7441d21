/*
 * swin.c
 *	  Swin-T, the tiny hierarchical transformer with shifted windows.
 *
 * Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows"
 * (ICCV 2021), figure 3; names and initial values of timm's
 * swin_tiny_patch4_window7_224.
 *
 *		4x4 patches -> 2 blocks (96) -> merge -> 2 (192) -> merge -> 6 (384)
 *			-> merge -> 2 (768) -> norm -> mean
 *
 * Windows of every second block are shifted by half a window.  Where a window would be
 * larger than the map it is the map, and nothing is shifted.
 */
#include "training/arch/arch_internal.h"

#include <stdio.h>
#include <string.h>

#define NORM_EPS 1e-5f
#define WIDTH 96

static const int blocks_of[4] = {2, 2, 6, 2};
#define BLOCKS 12

static int
blocks_before(int stage)
{
	int n = 0;

	for (int s = 0; s < stage; s++)
		n += blocks_of[s];
	return n;
}

enum
{
	WINDOW,
	DROP_PATH
};

static int
attention(NnGraph *g, int x, const char *name, int width, int heads, int window,
		  int shift)
{
	x = nn_layernorm(g, x, arch_layer("%s.norm1", name).text, NORM_EPS);
	x = nn_linear(g, x, arch_layer("%s.attn.qkv", name).text, 3 * width, true,
				  NN_IDENTITY);
	x = nn_window_attention(g, x, arch_layer("%s.attn", name).text, heads, window, shift);
	return nn_linear(g, x, arch_layer("%s.attn.proj", name).text, width, true,
					 NN_IDENTITY);
}

static int
mlp(NnGraph *g, int x, const char *name, int width)
{
	x = nn_layernorm(g, x, arch_layer("%s.norm2", name).text, NORM_EPS);
	x = nn_linear(g, x, arch_layer("%s.mlp.fc1", name).text, 4 * width, true,
				  NN_IDENTITY);
	x = nn_activation(g, x, NN_GELU);
	return nn_linear(g, x, arch_layer("%s.mlp.fc2", name).text, width, true, NN_IDENTITY);
}

static int
add_branch(NnGraph *g, int x, int branch, const ArchOptions *o, int block)
{
	return nn_add(g, x, arch_drop_path(g, branch, o->value[DROP_PATH], block, BLOCKS));
}

/* 2x2 neighbours side by side, (0,0) (1,0) (0,1) (1,1) in (row, column), to half. */
static int
merge(NnGraph *g, int x, int stage, int width)
{
	NnShape pairs = {.ndim = 5}, merged = {.ndim = 3};
	const int perm[5] = {0, 2, 3, 1, 4};

	if (x < 0)
		return -1;
	merged.dim[0] = pairs.dim[0] = g->node[x].shape.dim[0] / 2;
	merged.dim[1] = pairs.dim[2] = g->node[x].shape.dim[1] / 2;
	merged.dim[2] = 2 * width;
	pairs.dim[1] = pairs.dim[3] = 2;
	pairs.dim[4] = width / 2;
	x = nn_permute(g, nn_reshape(g, x, &pairs), perm);
	x = nn_reshape(g, x, &merged);
	x = nn_layernorm(g, x, arch_layer("layers.%d.downsample.norm", stage).text, NORM_EPS);
	return nn_linear(g, x, arch_layer("layers.%d.downsample.reduction", stage).text,
					 width, false, NN_IDENTITY);
}

static int
stage(NnGraph *g, int x, int stage, const ArchOptions *o)
{
	int largest = (int) o->value[WINDOW], first = blocks_before(stage);
	int width = WIDTH << stage, heads = 3 << stage, side, window;

	if (stage > 0)
		x = merge(g, x, stage, width);
	if (x < 0)
		return -1;
	side = g->node[x].shape.dim[0] < g->node[x].shape.dim[1] ? g->node[x].shape.dim[0]
															 : g->node[x].shape.dim[1];
	window = side < largest ? side : largest;
	for (int b = 0; b < blocks_of[stage]; b++)
	{
		ArchLayer name = arch_layer("layers.%d.blocks.%d", stage, b);
		int shift = b % 2 && side > window ? window / 2 : 0;

		x = add_branch(g, x, attention(g, x, name.text, width, heads, window, shift), o,
					   first + b);
		x = add_branch(g, x, mlp(g, x, name.text, width), o, first + b);
	}
	return x;
}

static int
build(NnGraph *g, int x, const ArchOptions *o)
{
	x = nn_conv2d(g, x, "patch_embed.proj", WIDTH, 4, 4, 4, 0, 1, true, NN_IDENTITY);
	x = nn_layernorm(g, x, "patch_embed.norm", NORM_EPS);
	for (int s = 0; s < 4; s++)
		x = stage(g, x, s, o);
	x = nn_layernorm(g, x, "norm", NORM_EPS);
	return arch_head(g, nn_global_avgpool(g, x), o, "head.fc");
}

/* Every map is cut into whole windows. */
static bool
check(const ArchOptions *o, TrainError *err)
{
	int window = (int) o->value[WINDOW];

	for (int s = 0; s < 4; s++)
	{
		int height = o->height / 4 >> s, width = o->width / 4 >> s;
		int w = height < width ? height : width;

		w = w < window ? w : window;
		if (height % w || width % w)
			return train_fail(err,
							  "pictures of %dx%d pixels make a map of %dx%d in stage %d, "
							  "which cannot be cut into windows of %dx%d: size should "
							  "be a multiple of 32 x window",
							  o->width, o->height, width, height, s + 1, w, w);
	}
	return true;
}

static int
depth(const ArchOptions *o, const char *param)
{
	int s, b;

	(void) o;
	if (strncmp(param, "patch_embed.", 12) == 0)
		return 0;
	if (sscanf(param, "layers.%d.", &s) != 1 || s < 0 || s > 3)
		return -1;
	/* a merging belongs to the block after it */
	if (sscanf(param, "layers.%d.blocks.%d.", &s, &b) != 2)
		b = 0;
	return 1 + blocks_before(s) + b;
}

static int
depths(const ArchOptions *o)
{
	(void) o;
	return BLOCKS + 2;
}

static void
finish(NnGraph *g, const ArchOptions *o, Rng *rng)
{
	(void) o;
	for (int i = 0; i < g->nparams; i++)
		if (strstr(g->param[i].name, "relative_position_bias_table"))
			arch_init_values(&g->param[i], INIT_TRUNCATED_002, rng);
	arch_init_conv(g, "patch_embed.proj", rng);
}

const Arch arch_swin_t = {
	.name = "swin-t",
	.about = "Swin-T: transformer with shifted windows, four stages",
	.source = "Liu et al., ICCV 2021, figure 3; timm swin_tiny_patch4_window7_224",
	.size = 224,
	.least = 32,
	.multiple = 32,
	.resize = 248,
	.mean = IMAGENET_MEAN,
	.std = IMAGENET_STD,
	.parameter = {[WINDOW] = {"window", "side of a window in tokens", NULL, 7, 1, 32,
							  true},
				  [DROP_PATH] = ARCH_DROP_PATH},
	.head = "head.fc",
	.build = build,
	.check = check,
	.convolutions = INIT_UNIFORM,
	.linears = INIT_TRUNCATED_002,
	.finish = finish,
	.depth = depth,
	.depths = depths,
};
