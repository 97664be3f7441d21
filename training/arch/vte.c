/*
 * vte.c
 *	  VTE: an autoencoder with a vision transformer for its encoder.
 *
 * "Devised Deephashing Models": a vision transformer over the grey picture, its class
 * token to mean and variance of the code, and the convolutional decoder of CVAE.  Sizes
 * are ours: patches of 16, width 192, 6 blocks, 3 heads.
 */
#include "training/arch/autoencoder.h"
#include "training/arch/vit.h"

#include <string.h>

static const VitSize size = {.patch = 16, .width = 192, .heads = 3, .depth = 6};

static int
build(NnGraph *g, int x, const ArchOptions *o)
{
	int grey = autoencoder_grey(g, x);
	AutoencoderCode code;

	x = vit_encoder(g, vit_patches(g, grey, &size), &size);
	code = autoencoder_code(g, nn_token(g, x, 0), o);
	return autoencoder_outputs(g, code, autoencoder_decoder(g, code.sample, o), grey);
}

static int
depth(const ArchOptions *o, const char *param)
{
	(void) o;
	return strncmp(param, "grey.", 5) == 0 ? 0 : vit_depth(size.depth, param);
}

static int
depths(const ArchOptions *o)
{
	(void) o;
	return size.depth + 2;
}

static void
finish(NnGraph *g, const ArchOptions *o, Rng *rng)
{
	autoencoder_finish(g, o, rng);
	vit_finish(g, &size, rng);
}

const Arch arch_vte = {
	.name = "vte",
	.about = "variational autoencoder with a vision transformer for its encoder",
	.source = "\"Devised Deephashing Models\"; sizes are ours",
	.size = 128,
	.least = 16,
	.multiple = 16,
	.resize = 128,
	.mean = GREY_MEAN,
	.std = GREY_STD,
	.autoencoder = true,
	.build = build,
	.convolutions = INIT_KAIMING_FAN_OUT,
	.linears = INIT_TRUNCATED_002,
	.finish = finish,
	.depth = depth,
	.depths = depths,
};
