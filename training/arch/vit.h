/*
 * vit.h
 *	  The vision transformer's parts, for the networks that are built on it.
 */
#ifndef TRAIN_ARCH_VIT_H
#define TRAIN_ARCH_VIT_H

#include "training/arch/arch_internal.h"

typedef struct VitSize
{
	int patch, width, heads, depth;
	float layerscale; /* where scales of branches begin; 0: there are none */
	float drop_path;  /* chance that a branch of the last block is skipped */
} VitSize;

/* [H][W][3] -> [H/patch][W/patch][width] */
extern int vit_patches(NnGraph *g, int x, const VitSize *size);
/* [h][w][width] -> [1 + hw][width]: class token first, after the last norm */
extern int vit_encoder(NnGraph *g, int x, const VitSize *size);
/* [h][w][C], h = w, to A F + F with a gate A per channel by an MLP with `hidden` values,
 * or per position (ae_vit.c). */
extern int ae_vit_attention(NnGraph *g, int x, bool spatial, int hidden);
/* Initial values of tokens and patches, after the rules for layers. */
extern void vit_finish(NnGraph *g, const VitSize *size, Rng *rng);
/* Depth of a parameter (arch.h); -1: the head's. */
extern int vit_depth(int depth, const char *param);

#endif
