/*
 * vgg.c
 *	  VGG-16 and VGG-F.
 *
 * VGG-16: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
 * Recognition" (ICLR 2015), table 1, configuration D; names and initial values of
 * torchvision's vgg16.
 *
 * VGG-F: Chatfield, Simonyan, Vedaldi, Zisserman, "Return of the Devil in the Details"
 * (BMVC 2014), table 1, CNN-F, without its local response normalisation, which has no
 * parameters and which later networks showed to be of no use.
 */
#include "training/arch/classic.h"

/* -------------------------------------------------------------------- VGG-16 */

static const char *const layers16[] = {
	"features.0",  "features.2",   "features.5",   "features.7",
	"features.10", "features.12",  "features.14",  "features.17",
	"features.19", "features.21",  "features.24",  "features.26",
	"features.28", "classifier.0", "classifier.3", NULL};

static int
build16(NnGraph *g, int x, const ArchOptions *o)
{
	static const int convolutions[5] = {2, 2, 3, 3, 3};
	static const int channels[5] = {64, 128, 256, 512, 512};
	int layer = 0;

	for (int block = 0; block < 5; block++)
	{
		for (int i = 0; i < convolutions[block]; i++)
			x = classic_conv(g, x, layers16[layer++], channels[block], 3, 1, 1);
		x = nn_maxpool(g, x, 2, 2, 0);
	}
	x = nn_dropout(g, classic_square(g, x, "classifier.0", 7), 0.5f);
	x = nn_dropout(g, classic_full(g, x, "classifier.3"), 0.5f);
	return arch_head(g, x, o, "classifier.6");
}

/* The first full layer is written as a convolution but begins as a linear layer. */
static void
finish16(NnGraph *g, const ArchOptions *o, Rng *rng)
{
	(void) o;
	arch_init_values(arch_find_param(g, "classifier.0.weight"), INIT_NORMAL_001, rng);
}

const Arch arch_vgg16 = {
	.name = "vgg16",
	.about = "VGG-16: thirteen 3x3 convolutions, two full layers of 4096",
	.source = "Simonyan, Zisserman, ICLR 2015, configuration D; torchvision vgg16",
	.size = 224,
	.least = 224,
	.resize = 256,
	.mean = IMAGENET_MEAN,
	.std = IMAGENET_STD,
	.head = "classifier.6",
	.build = build16,
	.convolutions = INIT_KAIMING_FAN_OUT,
	.linears = INIT_NORMAL_001,
	.finish = finish16,
	.layers = layers16,
};

/* --------------------------------------------------------------------- VGG-F */

static const char *const layers_f[] = {"conv1", "conv2", "conv3", "conv4",
									   "conv5", "fc6",	 "fc7",	  NULL};

static int
build_f(NnGraph *g, int x, const ArchOptions *o)
{
	x = classic_conv(g, x, "conv1", 64, 11, 4, 0);
	x = nn_maxpool(g, x, 3, 2, 1);
	x = classic_conv(g, x, "conv2", 256, 5, 1, 2);
	x = nn_maxpool(g, x, 3, 2, 0);
	x = classic_conv(g, x, "conv3", 256, 3, 1, 1);
	x = classic_conv(g, x, "conv4", 256, 3, 1, 1);
	x = classic_conv(g, x, "conv5", 256, 3, 1, 1);
	x = nn_maxpool(g, x, 3, 2, 0);
	x = nn_dropout(g, classic_square(g, x, "fc6", 6), 0.5f);
	x = nn_dropout(g, classic_full(g, x, "fc7"), 0.5f);
	return arch_head(g, x, o, "fc8");
}

static void
finish_f(NnGraph *g, const ArchOptions *o, Rng *rng)
{
	(void) o;
	arch_init_values(arch_find_param(g, "fc6.weight"), INIT_NORMAL_001, rng);
}

const Arch arch_vgg_f = {
	.name = "vgg-f",
	.about = "VGG-F (CNN-F): five convolutions, two full layers of 4096",
	.source = "Chatfield et al., BMVC 2014, table 1",
	.size = 224,
	.least = 75,
	.resize = 256,
	.mean = IMAGENET_MEAN,
	.std = IMAGENET_STD,
	.head = "fc8",
	.build = build_f,
	.convolutions = INIT_KAIMING_FAN_OUT,
	.linears = INIT_NORMAL_001,
	.finish = finish_f,
	.layers = layers_f,
};
