/*
 * names.c
 *	  What a parameter is called in a file from elsewhere (names.h).
 *
 * Our names of convolutional networks are torchvision's, of transformers timm's.  A
 * tensor that only one way of naming has tells which a file follows.
 */
#include "training/import/names.h"

#include <stdio.h>
#include <string.h>

#define NAME_SIZE (2 * NN_MAX_NAME)

typedef struct Renaming
{
	const char *ours, *theirs; /* beginnings, or whole names */
} Renaming;

/* name with the beginning that fits replaced; false: none does. */
static bool
rename_by(const Renaming *list, const char *name, const char *before, char *out)
{
	for (; list->ours; list++)
	{
		size_t n = strlen(list->ours);

		if (strncmp(name, list->ours, n) != 0)
			continue;
		snprintf(out, NAME_SIZE, "%s%s%s", before, list->theirs, name + n);
		return true;
	}
	return false;
}

/* ------------------------------------------------- vision transformers, torchvision */

static bool
torchvision_vit(const NnSafetensors *st, const char *name, char *out)
{
	static const Renaming outside[] = {{"cls_token", "class_token"},
									   {"pos_embed", "encoder.pos_embedding"},
									   {"patch_embed.proj.", "conv_proj."},
									   {"norm.", "encoder.ln."},
									   {"head.", "heads.head."},
									   {NULL, NULL}};
	static const Renaming inside[] = {{"norm1.", "ln_1."},
									  {"attn.qkv.", "self_attention.in_proj_"},
									  {"attn.proj.", "self_attention.out_proj."},
									  {"norm2.", "ln_2."},
									  {"mlp.fc1.", "mlp.0."},
									  {"mlp.fc2.", "mlp.3."},
									  {NULL, NULL}};
	static const Renaming inside_before[] = {
		{"mlp.fc1.", "mlp.linear_1."}, {"mlp.fc2.", "mlp.linear_2."}, {NULL, NULL}};
	char before[64];
	int block, at = 0;

	if (!nn_safetensors_find(st, "conv_proj.weight"))
		return false;
	if (sscanf(name, "blocks.%d.%n", &block, &at) != 1 || at == 0)
		return rename_by(outside, name, "", out);
	snprintf(before, sizeof(before), "encoder.layers.encoder_layer_%d.", block);
	return (rename_by(inside_before, name + at, before, out) &&
			nn_safetensors_find(st, out)) ||
		   rename_by(inside, name + at, before, out);
}

/* ------------------------------------------------------------- Swin transformers */

static bool
torchvision_swin(const NnSafetensors *st, const char *name, char *out)
{
	static const Renaming outside[] = {{"patch_embed.proj.", "features.0.0."},
									   {"patch_embed.norm.", "features.0.2."},
									   {"head.fc.", "head."},
									   {NULL, NULL}};
	static const Renaming inside[] = {{"mlp.fc1.", "mlp.0."},
									  {"mlp.fc2.", "mlp.3."},
									  {"norm", "norm"},
									  {"attn.", "attn."},
									  {NULL, NULL}};
	char before[64];
	int stage, block, at = 0;

	if (!nn_safetensors_find(st, "features.1.0.attn.qkv.weight"))
		return false;
	if (sscanf(name, "layers.%d.downsample.%n", &stage, &at) == 1 && at > 0)
	{
		snprintf(out, NAME_SIZE, "features.%d.%s", 2 * stage, name + at);
		return true;
	}
	if (sscanf(name, "layers.%d.blocks.%d.%n", &stage, &block, &at) != 2 || at == 0)
		return rename_by(outside, name, "", out);
	snprintf(before, sizeof(before), "features.%d.%d.", 2 * stage + 1, block);
	return rename_by(inside, name + at, before, out);
}

/* The authors and older versions of timm count a merging to the stage before it. */
static bool
older_swin(const NnSafetensors *st, const char *name, char *out)
{
	static const Renaming outside[] = {{"head.fc.", "head."}, {NULL, NULL}};
	int stage, at = 0;

	if (!nn_safetensors_find(st, "layers.0.downsample.reduction.weight"))
		return false;
	if (sscanf(name, "layers.%d.downsample.%n", &stage, &at) != 1 || at == 0)
		return rename_by(outside, name, "", out);
	snprintf(out, NAME_SIZE, "layers.%d.downsample.%s", stage - 1, name + at);
	return true;
}

const NnTensor *
import_tensor(const NnSafetensors *st, const char *param)
{
	char other[NAME_SIZE];
	const char *name = param;

	if (torchvision_vit(st, param, other) || torchvision_swin(st, param, other) ||
		older_swin(st, param, other))
		name = other;
	return nn_safetensors_find(st, name);
}
