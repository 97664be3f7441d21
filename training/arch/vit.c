/*
 * vit.c
 *	  Vision transformers ViT-Ti, -S and -B.
 *
 * Dosovitskiy et al., "An Image is Worth 16x16 Words" (ICLR 2021), figure 1; Ti and S
 * from Touvron et al., "Training data-efficient image transformers" (DeiT, ICML 2021),
 * table 1; LayerScale from Touvron et al., "Going deeper with Image Transformers" (ICCV
 * 2021), which DINOv2 has.  Names, initial values and the eps of norms are those of timm.
 *
 *		patches -> linear -> [class; tokens] + positions
 *			-> 12 x ( + scale attention(norm), + scale mlp(norm) ) -> norm -> class token
 */
#include "training/arch/vit.h"

#include <stdio.h>
#include <string.h>

#define NORM_EPS 1e-6f

enum
{
	PATCH,
	DEPTH,
	COLOURS,
	LAYERSCALE,
	DROP_PATH
};

#define PARAMETERS                                                                       \
	{                                                                                    \
		[PATCH] = {"patch", "side of a patch in pixels", NULL, 16, 4, 64, true},         \
		[DEPTH] = {"depth", "blocks", NULL, 12, 1, 64, true}, [COLOURS] = ARCH_COLOURS,  \
		[LAYERSCALE] = {"layerscale",                                                    \
						"where scales of branches begin; 0: there are none",             \
						NULL,                                                            \
						0,                                                               \
						0,                                                               \
						1,                                                               \
						false},                                                          \
		[DROP_PATH] = ARCH_DROP_PATH,                                                    \
	}

static int
attention(NnGraph *g, int x, const VitSize *size, const char *name)
{
	x = nn_layernorm(g, x, arch_layer("%s.norm1", name).text, NORM_EPS);
	x = nn_linear(g, x, arch_layer("%s.attn.qkv", name).text, 3 * size->width, true,
				  NN_IDENTITY);
	x = nn_attention(g, x, size->heads);
	return nn_linear(g, x, arch_layer("%s.attn.proj", name).text, size->width, true,
					 NN_IDENTITY);
}

static int
mlp(NnGraph *g, int x, const VitSize *size, const char *name)
{
	x = nn_layernorm(g, x, arch_layer("%s.norm2", name).text, NORM_EPS);
	x = nn_linear(g, x, arch_layer("%s.mlp.fc1", name).text, 4 * size->width, true,
				  NN_IDENTITY);
	x = nn_activation(g, x, NN_GELU);
	return nn_linear(g, x, arch_layer("%s.mlp.fc2", name).text, size->width, true,
					 NN_IDENTITY);
}

/* x + branch, scaled, and in training skipped for some of the pictures. */
static int
add_branch(NnGraph *g, int x, int branch, const VitSize *size, int block, int number)
{
	if (size->layerscale != 0)
		branch =
			nn_layerscale(g, branch, arch_layer("blocks.%d.ls%d", block, number).text);
	return nn_add(g, x, arch_drop_path(g, branch, size->drop_path, block, size->depth));
}

int
vit_patches(NnGraph *g, int x, const VitSize *size)
{
	return nn_conv2d(g, x, "patch_embed.proj", size->width, size->patch, size->patch,
					 size->patch, 0, 1, true, NN_IDENTITY);
}

int
vit_encoder(NnGraph *g, int x, const VitSize *size)
{
	NnShape tokens = {.ndim = 2};

	if (x < 0)
		return -1;
	tokens.dim[0] = g->node[x].shape.dim[0] * g->node[x].shape.dim[1];
	tokens.dim[1] = size->width;
	x = nn_reshape(g, x, &tokens);
	x = nn_class_token(g, x, "cls_token");
	x = nn_position(g, x, "pos_embed");
	for (int b = 0; b < size->depth; b++)
	{
		ArchLayer name = arch_layer("blocks.%d", b);

		x = add_branch(g, x, attention(g, x, size, name.text), size, b, 1);
		x = add_branch(g, x, mlp(g, x, size, name.text), size, b, 2);
	}
	return nn_layernorm(g, x, "norm", NORM_EPS);
}

void
vit_finish(NnGraph *g, const VitSize *size, Rng *rng)
{
	NnParam *class = arch_find_param(g, "cls_token");

	arch_init_values(arch_find_param(g, "pos_embed"), INIT_TRUNCATED_002, rng);
	for (int i = 0; i < class->shape.dim[0]; i++)
		class->data[i] = (float) (rng_normal(rng) * 1e-6);
	for (int i = 0; i < g->nparams; i++)
		for (int c = 0; strstr(g->param[i].name, ".gamma") && c < size->width; c++)
			g->param[i].data[c] = size->layerscale;
	/* timm leaves the patches' convolution as PyTorch begins it, bias included */
	arch_init_conv(g, "patch_embed.proj", rng);
}

int
vit_depth(int depth, const char *param)
{
	int b;

	if (strcmp(param, "cls_token") == 0 || strcmp(param, "pos_embed") == 0 ||
		strncmp(param, "patch_embed.", 12) == 0)
		return 0;
	return sscanf(param, "blocks.%d.", &b) == 1 && b >= 0 && b < depth ? b + 1 : -1;
}

/* ------------------------------------------------------------- Ti, S and B */

static VitSize
size_of(const ArchOptions *o, int width, int heads)
{
	return (VitSize){.patch = (int) o->value[PATCH],
					 .depth = (int) o->value[DEPTH],
					 .width = width,
					 .heads = heads,
					 .layerscale = (float) o->value[LAYERSCALE],
					 .drop_path = (float) o->value[DROP_PATH]};
}

static int
build(NnGraph *g, int x, const ArchOptions *o, int width, int heads)
{
	VitSize size = size_of(o, width, heads);

	x = vit_encoder(g, vit_patches(g, x, &size), &size);
	x = nn_token(g, x, 0);
	return arch_head(g, x, o, "head");
}

static bool
check(const ArchOptions *o, TrainError *err)
{
	int patch = (int) o->value[PATCH];

	return (o->height % patch == 0 && o->width % patch == 0) ||
		   train_fail(err,
					  "pictures of %dx%d pixels cannot be cut into patches of %dx%d: "
					  "size must be a multiple of patch",
					  o->width, o->height, patch, patch);
}

static int
depth(const ArchOptions *o, const char *param)
{
	return vit_depth((int) o->value[DEPTH], param);
}

static int
depths(const ArchOptions *o)
{
	return (int) o->value[DEPTH] + 2;
}

#define VIT(symbol, label, letters, width, heads)                                        \
	static int build_##symbol(NnGraph *g, int x, const ArchOptions *o)                   \
	{                                                                                    \
		return build(g, x, o, width, heads);                                             \
	}                                                                                    \
	static void finish_##symbol(NnGraph *g, const ArchOptions *o, Rng *rng)              \
	{                                                                                    \
		VitSize size = size_of(o, width, heads);                                         \
                                                                                         \
		vit_finish(g, &size, rng);                                                       \
	}                                                                                    \
	const Arch arch_vit_##symbol = {                                                     \
		.name = label,                                                                   \
		.about = "vision transformer " letters ": width " #width ", " #heads " heads",   \
		.source = "Dosovitskiy et al., ICLR 2021; Touvron et al., ICML 2021; timm",      \
		.size = 224,                                                                     \
		.least = 4,                                                                      \
		.resize = 256,                                                                   \
		.mean = IMAGENET_MEAN,                                                           \
		.std = IMAGENET_STD,                                                             \
		.parameter = PARAMETERS,                                                         \
		.head = "head",                                                                  \
		.build = build_##symbol,                                                         \
		.check = check,                                                                  \
		.convolutions = INIT_UNIFORM,                                                    \
		.linears = INIT_TRUNCATED_002,                                                   \
		.finish = finish_##symbol,                                                       \
		.depth = depth,                                                                  \
		.depths = depths,                                                                \
	}

VIT(ti, "vit-ti", "Ti", 192, 3);
VIT(s, "vit-s", "S", 384, 6);
VIT(b, "vit-b", "B", 768, 12);
