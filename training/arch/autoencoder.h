/*
 * autoencoder.h
 *	  What the networks of the VAE family share.
 *
 * Their pictures become grey, 0 to 1; their graphs have four outputs, in this order:
 * the code's mean, the logarithm of its variance, the logits of the reconstruction, and
 * the grey picture that it should be (loss/vae.h).
 */
#ifndef TRAIN_ARCH_AUTOENCODER_H
#define TRAIN_ARCH_AUTOENCODER_H

#include "training/arch/arch_internal.h"

/* [H][W][3] -> [H][W][1]: 0.299 R + 0.587 G + 0.114 B, fixed. */
extern int autoencoder_grey(NnGraph *g, int x);

/* From the encoder's vector x: mean and log variance, and a sample of the code. */
typedef struct AutoencoderCode
{
	int mean, logvar, sample;
} AutoencoderCode;

extern AutoencoderCode autoencoder_code(NnGraph *g, int x, const ArchOptions *o);

/* Name the outputs; logits and grey in one order. */
extern int autoencoder_outputs(NnGraph *g, AutoencoderCode code, int logits, int grey);

/* The decoder of CVAE: code -> [H/16][W/16][256] -> four times twice as large. */
extern int autoencoder_decoder(NnGraph *g, int x, const ArchOptions *o);

/* Initial values that do not follow the rules for layers. */
extern void autoencoder_finish(NnGraph *g, const ArchOptions *o, Rng *rng);

/* Depths: the encoder's layers by `prefix` and number, then code and decoder. */
extern int autoencoder_depth(const char *prefix, const char *param);

#define GREY_MEAN                                                                        \
	{                                                                                    \
		0, 0, 0                                                                          \
	}
#define GREY_STD                                                                         \
	{                                                                                    \
		1, 1, 1                                                                          \
	}

#endif
