/*
 * alexnet.c
 *	  AlexNet.
 *
 * Krizhevsky, Sutskever, Hinton: "ImageNet Classification with Deep Convolutional
 * Neural Networks" (NIPS 2012), in the one-tower form of Krizhevsky, "One weird trick
 * for parallelizing convolutional neural networks" (2014), which torchvision has.
 */
#include "training/arch/classic.h"

static const char *const layers[] = {"features.0",	 "features.3",	"features.6",
									 "features.8",	 "features.10", "classifier.1",
									 "classifier.4", NULL};

static int
build(NnGraph *g, int x, const ArchOptions *o)
{
	x = classic_conv(g, x, "features.0", 64, 11, 4, 2);
	x = nn_maxpool(g, x, 3, 2, 0);
	x = classic_conv(g, x, "features.3", 192, 5, 1, 2);
	x = nn_maxpool(g, x, 3, 2, 0);
	x = classic_conv(g, x, "features.6", 384, 3, 1, 1);
	x = classic_conv(g, x, "features.8", 256, 3, 1, 1);
	x = classic_conv(g, x, "features.10", 256, 3, 1, 1);
	x = nn_maxpool(g, x, 3, 2, 0);
	x = classic_square(g, nn_dropout(g, x, 0.5f), "classifier.1", 6);
	x = classic_full(g, nn_dropout(g, x, 0.5f), "classifier.4");
	return arch_head(g, x, o, "classifier.6");
}

const Arch arch_alexnet = {
	.name = "alexnet",
	.about = "AlexNet with one tower: five convolutions, two full layers of 4096",
	.source = "Krizhevsky et al., NIPS 2012; Krizhevsky, 2014; torchvision alexnet",
	.size = 224,
	.least = 63,
	.resize = 256,
	.mean = IMAGENET_MEAN,
	.std = IMAGENET_STD,
	.head = "classifier.6",
	.build = build,
	.convolutions = INIT_UNIFORM,
	.linears = INIT_UNIFORM,
	.biases_uniform = true,
	.layers = layers,
};
