/*
 * vae.c
 *	  VAE: an autoencoder of full layers.
 *
 * "Devised Deephashing Models", the plain variational autoencoder: pictures of 128x128
 * grey pixels, four full layers, each half as wide as the one before, mean and variance
 * of the code; the decoder is the mirror image.  Taken literally the first layer has
 * 8192 values and both halves 178 million weights each; the usual widths here are 1024,
 * 512, 256, 128.
 */
#include "training/arch/autoencoder.h"

enum
{
	WIDTHS
};

static int
build(NnGraph *g, int x, const ArchOptions *o)
{
	int grey = autoencoder_grey(g, x), pixels = o->height * o->width;
	int width = o->value[WIDTHS] == 1 ? pixels / 2 : 1024;
	AutoencoderCode code;

	x = arch_flatten(g, grey);
	for (int i = 0; i < 4; i++)
	{
		x = nn_linear(g, x, arch_layer("encoder.%d", i).text, width >> i, true,
					  NN_IDENTITY);
		x = nn_activation(g, x, NN_RELU);
	}
	code = autoencoder_code(g, x, o);
	x = code.sample;
	for (int i = 3; i >= 0; i--)
	{
		x = nn_linear(g, x, arch_layer("decoder.%d", 3 - i).text, width >> i, true,
					  NN_IDENTITY);
		x = nn_activation(g, x, NN_RELU);
	}
	x = nn_linear(g, x, "decoder.4", pixels, true, NN_IDENTITY);
	return autoencoder_outputs(g, code, x, grey);
}

static int
depth(const ArchOptions *o, const char *param)
{
	(void) o;
	return autoencoder_depth("encoder.", param);
}

static int
depths(const ArchOptions *o)
{
	(void) o;
	return 5;
}

const Arch arch_vae = {
	.name = "vae",
	.about = "variational autoencoder of full layers over grey pixels",
	.source = "\"Devised Deephashing Models\", VAE; Kingma, Welling, ICLR 2014",
	.size = 128,
	.least = 16,
	.resize = 128,
	.mean = GREY_MEAN,
	.std = GREY_STD,
	.autoencoder = true,
	.parameter = {[WIDTHS] = {"widths",
							  "1024-512-256-128, or each half of the one before",
							  "small|literal", 0, 0, 0, false}},
	.build = build,
	.convolutions = INIT_UNIFORM,
	.linears = INIT_UNIFORM,
	.biases_uniform = true,
	.finish = autoencoder_finish,
	.depth = depth,
	.depths = depths,
};
