/*
 * wrn.c
 *	  Wide residual networks for small pictures.
 *
 * Zagoruyko, Komodakis: "Wide Residual Networks" (BMVC 2016), table 1: a 3x3
 * convolution to 16 channels, three groups of (depth - 4) / 6 blocks with 16, 32 and 64
 * times `widen` channels, a last norm, the mean over positions.  A block puts norm and
 * ReLU before its convolutions; where the channels change, the shortcut is a 1x1
 * convolution of what the first norm gives.
 *
 *		conv1 -> block1 (16k) -> block2 (32k) -> block3 (64k) -> bn1 -> mean
 */
#include "training/arch/arch_internal.h"

#include <stdio.h>
#include <string.h>

#define NORM_EPS 1e-5f

enum
{
	DEPTH,
	WIDEN
};

static int
norm_relu(NnGraph *g, int x, ArchLayer name)
{
	return nn_activation(g, nn_batchnorm(g, x, name.text, NORM_EPS), NN_RELU);
}

static int
conv3(NnGraph *g, int x, ArchLayer name, int channels, int stride)
{
	return nn_conv2d(g, x, name.text, channels, 3, 3, stride, 1, 1, false, NN_IDENTITY);
}

static int
block(NnGraph *g, int x, const char *name, int channels, int stride)
{
	bool same = x >= 0 && g->node[x].shape.dim[2] == channels;
	int shortcut = x;

	x = norm_relu(g, x, arch_layer("%s.bn1", name));
	if (!same)
		shortcut = nn_conv2d(g, x, arch_layer("%s.convShortcut", name).text, channels, 1,
							 1, stride, 0, 1, false, NN_IDENTITY);
	x = conv3(g, x, arch_layer("%s.conv1", name), channels, stride);
	x = norm_relu(g, x, arch_layer("%s.bn2", name));
	x = conv3(g, x, arch_layer("%s.conv2", name), channels, 1);
	return nn_add(g, x, shortcut);
}

static int
blocks_of(const ArchOptions *o)
{
	return ((int) o->value[DEPTH] - 4) / 6;
}

static int
build(NnGraph *g, int x, const ArchOptions *o)
{
	x = conv3(g, x, arch_layer("conv1"), 16, 1);
	for (int group = 0; group < 3; group++)
		for (int b = 0; b < blocks_of(o); b++)
			x = block(g, x, arch_layer("block%d.layer.%d", group + 1, b).text,
					  (int) o->value[WIDEN] * (16 << group), group > 0 && b == 0 ? 2 : 1);
	x = norm_relu(g, x, arch_layer("bn1"));
	x = nn_global_avgpool(g, x);
	return arch_head(g, x, o, "fc");
}

static bool
check(const ArchOptions *o, TrainError *err)
{
	int depth = (int) o->value[DEPTH];

	return (depth - 4) % 6 == 0 ||
		   train_fail(err,
					  "depth of wrn is 4 more than a multiple of 6 (16, 22, 28, 40), not "
					  "%d",
					  depth);
}

static int
depths(const ArchOptions *o)
{
	return 3 * blocks_of(o) + 2;
}

static int
depth(const ArchOptions *o, const char *param)
{
	int group, b;

	if (strncmp(param, "conv1.", 6) == 0)
		return 0;
	if (sscanf(param, "block%d.layer.%d.", &group, &b) == 2)
		return 1 + (group - 1) * blocks_of(o) + b;
	return -1;
}

const Arch arch_wrn = {
	.name = "wrn",
	.about = "wide residual network for small pictures (28 layers, 10 times as wide)",
	.source = "Zagoruyko, Komodakis, BMVC 2016, table 1; names of xternalz's PyTorch",
	.size = 32,
	.least = 8,
	.resize = 32,
	.area = true,
	.head = "fc",
	.parameter = {[DEPTH] = {"depth", "layers, 4 more than a multiple of 6", NULL, 28, 10,
							 64, true},
				  [WIDEN] = {"widen", "channels, times 16, 32 and 64", NULL, 10, 1, 32,
							 true}},
	.build = build,
	.check = check,
	.convolutions = INIT_KAIMING_FAN_OUT,
	.linears = INIT_UNIFORM,
	.depth = depth,
	.depths = depths,
};
