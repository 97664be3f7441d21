/*
 * autoencoder.c
 *	  What the networks of the VAE family share (autoencoder.h).
 */
#include "training/arch/autoencoder.h"

#include <stdio.h>
#include <string.h>

#define NORM_EPS 1e-5f

int
autoencoder_grey(NnGraph *g, int x)
{
	x = nn_conv2d(g, x, "grey", 1, 1, 1, 1, 0, 1, false, NN_IDENTITY);
	if (x >= 0)
		g->param[g->node[x].param[0]].trainable = false;
	return x;
}

AutoencoderCode
autoencoder_code(NnGraph *g, int x, const ArchOptions *o)
{
	AutoencoderCode code;

	code.mean = nn_linear(g, x, "mu", o->outputs, true, NN_IDENTITY);
	code.logvar = nn_linear(g, x, "logvar", o->outputs, true, NN_IDENTITY);
	code.sample = nn_reparameterise(g, code.mean, code.logvar);
	return code;
}

int
autoencoder_outputs(NnGraph *g, AutoencoderCode code, int logits, int grey)
{
	const int outputs[4] = {code.mean, code.logvar, arch_flatten(g, logits),
							arch_flatten(g, grey)};

	nn_graph_set_outputs(g, outputs, 4);
	return code.mean;
}

int
autoencoder_decoder(NnGraph *g, int x, const ArchOptions *o)
{
	static const int channels[4] = {128, 64, 32, 1};
	NnShape map = {.ndim = 3, .dim = {o->height / 16, o->width / 16, 256}};

	x = nn_linear(g, x, "decoder.fc", map.dim[0] * map.dim[1] * map.dim[2], true,
				  NN_IDENTITY);
	x = nn_reshape(g, nn_activation(g, x, NN_RELU), &map);
	for (int i = 0; i < 4; i++)
	{
		bool last = i == 3;

		x = nn_upsample(g, x, 2, false);
		x = nn_conv2d(g, x, arch_layer("decoder.conv%d", i + 1).text, channels[i], 3, 3,
					  1, 1, 1, last, NN_IDENTITY);
		if (last)
			break;
		x = nn_batchnorm(g, x, arch_layer("decoder.bn%d", i + 1).text, NORM_EPS);
		x = nn_activation(g, x, NN_RELU);
	}
	return x;
}

void
autoencoder_finish(NnGraph *g, const ArchOptions *o, Rng *rng)
{
	static const float luma[3] = {0.299f, 0.587f, 0.114f}; /* ITU-R BT.601 */

	(void) o;
	memcpy(arch_find_param(g, "grey.weight")->data, luma, sizeof(luma));
	/* no rectifier follows, so larger values would begin with pixels that are sure and
	 * wrong: five times the loss of not knowing */
	if (arch_find_param(g, "decoder.conv4.weight"))
		arch_init_conv(g, "decoder.conv4", rng);
}

int
autoencoder_depth(const char *prefix, const char *param)
{
	size_t n = strlen(prefix);
	int layer;

	if (strncmp(param, "grey.", 5) == 0)
		return 0;
	if (strncmp(param, prefix, n) == 0 && sscanf(param + n, "%d.", &layer) == 1 &&
		layer >= 0)
		return layer;
	return -1;
}
