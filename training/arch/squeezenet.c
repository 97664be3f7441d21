/*
 * squeezenet.c
 *	  SqueezeNet 1.1.
 *
 * Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters" (2016),
 * in the version 1.1 of its authors, which torchvision has.  A fire module squeezes to
 * few channels by 1x1, then expands by 1x1 and by 3x3, side by side.
 */
#include "training/arch/arch_internal.h"

#include <stdio.h>

static int
conv_relu(NnGraph *g, int x, const char *name, int channels, int kernel, int stride,
		  int pad)
{
	x = nn_conv2d(g, x, name, channels, kernel, kernel, stride, pad, 1, true,
				  NN_IDENTITY);
	return nn_activation(g, x, NN_RELU);
}

static int
fire(NnGraph *g, int x, int layer, int squeeze, int expand)
{
	int both[2];

	x = conv_relu(g, x, arch_layer("features.%d.squeeze", layer).text, squeeze, 1, 1, 0);
	both[0] =
		conv_relu(g, x, arch_layer("features.%d.expand1x1", layer).text, expand, 1, 1, 0);
	both[1] =
		conv_relu(g, x, arch_layer("features.%d.expand3x3", layer).text, expand, 3, 1, 1);
	return nn_concat(g, both, 2, 2);
}

static int
build(NnGraph *g, int x, const ArchOptions *o)
{
	x = conv_relu(g, x, "features.0", 64, 3, 2, 0);
	x = nn_maxpool(g, x, 3, 2, 0);
	x = fire(g, x, 3, 16, 64);
	x = fire(g, x, 4, 16, 64);
	x = nn_maxpool(g, x, 3, 2, 0);
	x = fire(g, x, 6, 32, 128);
	x = fire(g, x, 7, 32, 128);
	x = nn_maxpool(g, x, 3, 2, 0);
	x = fire(g, x, 9, 48, 192);
	x = fire(g, x, 10, 48, 192);
	x = fire(g, x, 11, 64, 256);
	x = fire(g, x, 12, 64, 256);
	if (o->head == ARCH_CLASSES)
		/* the reference's head is a convolution; the mean comes after it */
		return nn_global_avgpool(g, conv_relu(g, x, "classifier.1", o->outputs, 1, 1, 0));
	return arch_head(g, nn_global_avgpool(g, x), o, "classifier.1");
}

static int
depth(const ArchOptions *o, const char *param)
{
	/* features.5 and .8 are pools */
	static const int depth_of[13] = {0, -1, -1, 1, 2, -1, 3, 4, -1, 5, 6, 7, 8};
	int layer;

	(void) o;
	return sscanf(param, "features.%d.", &layer) == 1 && layer >= 0 && layer < 13
			   ? depth_of[layer]
			   : -1;
}

static int
depths(const ArchOptions *o)
{
	(void) o;
	return 10;
}

static void
finish(NnGraph *g, const ArchOptions *o, Rng *rng)
{
	NnParam *head = arch_find_param(g, "classifier.1.weight");

	(void) o;
	if (head)
		arch_init_values(head, INIT_NORMAL_001, rng);
}

const Arch arch_squeezenet1_1 = {
	.name = "squeezenet1_1",
	.about = "SqueezeNet 1.1: fire modules, 1.2 million parameters",
	.source = "Iandola et al., 2016; torchvision squeezenet1_1",
	.size = 224,
	.least = 31,
	.resize = 256,
	.mean = IMAGENET_MEAN,
	.std = IMAGENET_STD,
	.head = "classifier.1",
	.build = build,
	.convolutions = INIT_KAIMING_UNIFORM,
	.linears = INIT_UNIFORM,
	.finish = finish,
	.depth = depth,
	.depths = depths,
};
