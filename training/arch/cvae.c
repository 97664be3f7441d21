/*
 * cvae.c
 *	  CVAE and CSVAE: convolutional autoencoders, without and with attention.
 *
 * "Devised Deephashing Models": four convolutions (3x3, stride 2, 32 to 256 channels,
 * batch norm, ReLU), then mean and variance of the code; the decoder doubles the size
 * four times.  CSVAE puts SimAM after the second and the third convolution (Yang et al.,
 * "SimAM: A Simple, Parameter-Free Attention Module", ICML 2021).
 */
#include "training/arch/autoencoder.h"

#define NORM_EPS 1e-5f
#define SIMAM_LAMBDA 1e-4f

static int
build(NnGraph *g, int x, const ArchOptions *o, bool simam)
{
	int grey = autoencoder_grey(g, x);
	AutoencoderCode code;

	x = grey;
	for (int i = 0; i < 4; i++)
	{
		x = nn_conv2d(g, x, arch_layer("encoder.%d.conv", i).text, 32 << i, 3, 3, 2, 1, 1,
					  false, NN_IDENTITY);
		x = nn_batchnorm(g, x, arch_layer("encoder.%d.bn", i).text, NORM_EPS);
		x = nn_activation(g, x, NN_RELU);
		if (simam && (i == 1 || i == 2))
			x = nn_simam(g, x, SIMAM_LAMBDA);
	}
	code = autoencoder_code(g, arch_flatten(g, x), o);
	return autoencoder_outputs(g, code, autoencoder_decoder(g, code.sample, o), grey);
}

static int
build_cvae(NnGraph *g, int x, const ArchOptions *o)
{
	return build(g, x, o, false);
}

static int
build_csvae(NnGraph *g, int x, const ArchOptions *o)
{
	return build(g, x, o, true);
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

#define CONVOLUTIONAL                                                                    \
	.source = "\"Devised Deephashing Models\"; widths are ours", .size = 128,            \
	.least = 16, .multiple = 16, .resize = 128, .mean = GREY_MEAN, .std = GREY_STD,      \
	.autoencoder = true, .convolutions = INIT_KAIMING_FAN_OUT, .linears = INIT_UNIFORM,  \
	.finish = autoencoder_finish, .depth = depth, .depths = depths

const Arch arch_cvae = {
	.name = "cvae",
	.about = "variational autoencoder of convolutions over grey pixels",
	.build = build_cvae,
	CONVOLUTIONAL,
};

const Arch arch_csvae = {
	.name = "csvae",
	.about = "cvae with SimAM attention in the encoder",
	.build = build_csvae,
	CONVOLUTIONAL,
};
