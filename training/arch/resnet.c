/*
 * resnet.c
 *	  ResNet-18, -34 and -50.
 *
 * He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition" (CVPR 2016),
 * table 1; as torchvision has it, with the stride of a bottleneck in its 3x3
 * convolution.  The stem for CIFAR is a 3x3 convolution with stride 1 and no pooling.
 *
 *		stem -> layer1 (64) -> layer2 (128) -> layer3 (256) -> layer4 (512) -> mean
 *
 * Networks with batch norms folded into their convolutions (weights from ONNX files)
 * are told how many of the four stages are so, the stem with the first.
 */
#include "training/arch/arch_internal.h"

#include <stdio.h>
#include <string.h>

#define NORM_EPS 1e-5f

enum
{
	STEM, /* 0 ImageNet, 1 CIFAR */
	FOLDED,
	STAGES
};

#define PARAMETERS                                                                       \
	{                                                                                    \
		[STEM] = {"stem",                                                                \
				  "first layers: 7x7 with pooling, or 3x3 for small pictures",           \
				  "imagenet|cifar",                                                      \
				  0,                                                                     \
				  0,                                                                     \
				  0,                                                                     \
				  false},                                                                \
		[FOLDED] = {"folded", "stages whose batch norms are folded into convolutions",   \
					NULL,	  0,                                                         \
					0,		  4,                                                         \
					true},                                                               \
		[STAGES] = {"stages", "stages before the mean over positions", NULL, 4, 1, 4,    \
					true},                                                               \
	}

typedef struct Plan
{
	int blocks[4];
	bool bottleneck; /* 1x1, 3x3, 1x1 with four times the channels at the end */
} Plan;

static const Plan plan18 = {{2, 2, 2, 2}, false};
static const Plan plan34 = {{3, 4, 6, 3}, false};
static const Plan plan50 = {{3, 4, 6, 3}, true};

/* Convolution and batch norm, or the convolution with its norm folded in. */
static int
conv_norm(NnGraph *g, int x, ArchLayer conv, ArchLayer norm, int channels, int kernel,
		  int stride, bool folded)
{
	x = nn_conv2d(g, x, conv.text, channels, kernel, kernel, stride, kernel / 2, 1,
				  folded, NN_IDENTITY);
	return folded ? x : nn_batchnorm(g, x, norm.text, NORM_EPS);
}

/* The branch of a block: 3x3, 3x3. */
static int
basic(NnGraph *g, int x, const char *name, int channels, int stride, bool folded)
{
	x = conv_norm(g, x, arch_layer("%s.conv1", name), arch_layer("%s.bn1", name),
				  channels, 3, stride, folded);
	x = nn_activation(g, x, NN_RELU);
	return conv_norm(g, x, arch_layer("%s.conv2", name), arch_layer("%s.bn2", name),
					 channels, 3, 1, folded);
}

/* 1x1, 3x3, 1x1. */
static int
bottleneck(NnGraph *g, int x, const char *name, int channels, int stride, bool folded)
{
	x = conv_norm(g, x, arch_layer("%s.conv1", name), arch_layer("%s.bn1", name),
				  channels, 1, 1, folded);
	x = nn_activation(g, x, NN_RELU);
	x = conv_norm(g, x, arch_layer("%s.conv2", name), arch_layer("%s.bn2", name),
				  channels, 3, stride, folded);
	x = nn_activation(g, x, NN_RELU);
	return conv_norm(g, x, arch_layer("%s.conv3", name), arch_layer("%s.bn3", name),
					 4 * channels, 1, 1, folded);
}

static int
block(NnGraph *g, int x, const Plan *plan, int stage, int b, bool folded)
{
	ArchLayer name = arch_layer("layer%d.%d", stage + 1, b);
	int channels = 64 << stage;
	int outputs = plan->bottleneck ? 4 * channels : channels;
	int stride = stage > 0 && b == 0 ? 2 : 1;
	int shortcut = x;

	if (x >= 0 && (stride > 1 || g->node[x].shape.dim[2] != outputs))
		shortcut = conv_norm(g, x, arch_layer("%s.downsample.0", name.text),
							 arch_layer("%s.downsample.1", name.text), outputs, 1, stride,
							 folded);
	x = plan->bottleneck ? bottleneck(g, x, name.text, channels, stride, folded)
						 : basic(g, x, name.text, channels, stride, folded);
	return nn_activation(g, nn_add(g, x, shortcut), NN_RELU);
}

static int
build(NnGraph *g, int x, const ArchOptions *o, const Plan *plan)
{
	bool small = o->value[STEM] == 1;
	int folded = (int) o->value[FOLDED];

	x = conv_norm(g, x, arch_layer("conv1"), arch_layer("bn1"), 64, small ? 3 : 7,
				  small ? 1 : 2, folded > 0);
	x = nn_activation(g, x, NN_RELU);
	if (!small)
		x = nn_maxpool(g, x, 3, 2, 1);
	for (int stage = 0; stage < (int) o->value[STAGES]; stage++)
		for (int b = 0; b < plan->blocks[stage]; b++)
			x = block(g, x, plan, stage, b, stage < folded);
	x = nn_global_avgpool(g, x);
	return arch_head(g, x, o, "fc");
}

static int
depths(const ArchOptions *o, const Plan *plan)
{
	int depths = 2;

	for (int stage = 0; stage < (int) o->value[STAGES]; stage++)
		depths += plan->blocks[stage];
	return depths;
}

static int
depth(const Plan *plan, const char *param)
{
	int stage, b, depth = 1;

	if (strncmp(param, "conv1.", 6) == 0 || strncmp(param, "bn1.", 4) == 0)
		return 0;
	if (sscanf(param, "layer%d.%d.", &stage, &b) != 2 || stage < 1 || stage > 4)
		return -1;
	for (int s = 0; s < stage - 1; s++)
		depth += plan->blocks[s];
	return depth + b;
}

/* A folded stage that begins at random needs branches that begin as nothing. */
static void
finish(NnGraph *g, const ArchOptions *o, const Plan *plan)
{
	for (int stage = 0; stage < (int) o->value[FOLDED] && stage < (int) o->value[STAGES];
		 stage++)
		for (int b = 0; b < plan->blocks[stage]; b++)
		{
			ArchLayer last = arch_layer("layer%d.%d.conv%d.weight", stage + 1, b,
										plan->bottleneck ? 3 : 2);
			NnParam *p = arch_find_param(g, last.text);

			memset(p->data, 0, nn_shape_size(&p->shape) * sizeof(float));
		}
}

#define RESNET(n, words)                                                                 \
	static int build##n(NnGraph *g, int x, const ArchOptions *o)                         \
	{                                                                                    \
		return build(g, x, o, &plan##n);                                                 \
	}                                                                                    \
	static int depth##n(const ArchOptions *o, const char *param)                         \
	{                                                                                    \
		(void) o;                                                                        \
		return depth(&plan##n, param);                                                   \
	}                                                                                    \
	static int depths##n(const ArchOptions *o)                                           \
	{                                                                                    \
		return depths(o, &plan##n);                                                      \
	}                                                                                    \
	static void finish##n(NnGraph *g, const ArchOptions *o, Rng *rng)                    \
	{                                                                                    \
		(void) rng;                                                                      \
		finish(g, o, &plan##n);                                                          \
	}                                                                                    \
	const Arch arch_resnet##n = {                                                        \
		.name = "resnet" #n,                                                             \
		.about = words,                                                                  \
		.source = "He et al., CVPR 2016, table 1; torchvision resnet" #n,                \
		.size = 224,                                                                     \
		.least = 8,                                                                      \
		.resize = 256,                                                                   \
		.mean = IMAGENET_MEAN,                                                           \
		.std = IMAGENET_STD,                                                             \
		.parameter = PARAMETERS,                                                         \
		.head = "fc",                                                                    \
		.build = build##n,                                                               \
		.convolutions = INIT_KAIMING_FAN_OUT,                                            \
		.linears = INIT_UNIFORM,                                                         \
		.biases_uniform = true,                                                          \
		.finish = finish##n,                                                             \
		.depth = depth##n,                                                               \
		.depths = depths##n,                                                             \
	}

RESNET(18, "ResNet-18: residual blocks of two 3x3 convolutions");
RESNET(34, "ResNet-34: residual blocks of two 3x3 convolutions");
RESNET(50, "ResNet-50: residual blocks of 1x1, 3x3, 1x1 convolutions");
