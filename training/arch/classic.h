/*
 * classic.h
 *	  What AlexNet and the VGG networks are made of: convolutions with ReLU, then full
 *	  layers of 4096 over a square of features.
 */
#ifndef TRAIN_ARCH_CLASSIC_H
#define TRAIN_ARCH_CLASSIC_H

#include "training/arch/arch_internal.h"

/* Convolution with bias, ReLU. */
extern int classic_conv(NnGraph *g, int x, const char *name, int channels, int kernel,
						int stride, int pad);

/*
 * The first full layer, with ReLU: features are averaged to side x side positions, then
 * a convolution of that size reads them all.  Its weights lie in memory as those of
 * PyTorch's linear layer over flattened features, channels first.
 */
extern int classic_square(NnGraph *g, int x, const char *name, int side);

/* A further full layer of 4096, with ReLU. */
extern int classic_full(NnGraph *g, int x, const char *name);

#endif
