/*
 * ae_vit.c
 *	  AE-ViT: a vision transformer with attention over the channels of its patches.
 *
 * The attention-enhanced vision transformer for hashing: patches by convolution, then
 * the attention module (its equations 2 and 3)
 *
 *		A = sigmoid(MLP(mean of F) + MLP(maximum of F)),	F <- A F + F
 *
 * with one MLP C -> C/16 -> C for both (channels), or A from a 7x7 convolution over mean
 * and maximum of the channels (spatial; the text leaves both readings open); then class
 * token, positions and blocks as in ViT; all tokens flattened; and the hash module of
 * VTS (ICME 2022): dropout, full layer of 1024, LeakyReLU, full layer.
 *
 * The module begins as almost nothing (A near 0.02), so that pretrained tokens are not
 * disturbed.
 */
#include "training/arch/vit.h"

#include <string.h>

#define REDUCTION 16
#define HIDDEN 1024

enum
{
	SIZE,
	PATCH,
	AEM
};

static VitSize
size_of(const ArchOptions *o)
{
	static const VitSize sizes[3] = {{.width = 192, .heads = 3, .depth = 12},
									 {.width = 384, .heads = 6, .depth = 12},
									 {.width = 768, .heads = 12, .depth = 12}};
	VitSize size = sizes[(int) o->value[SIZE]];

	size.patch = (int) o->value[PATCH];
	return size;
}

static NnShape
image(int height, int width, int channels)
{
	return (NnShape){.ndim = 3, .dim = {height, width, channels}};
}

/* The maximum over positions, [1][1][C]. */
static int
largest(NnGraph *g, int x)
{
	const NnShape *s = &g->node[x].shape;
	NnNode pool = {.kind = NN_MAXPOOL,
				   .ninputs = 1,
				   .input = {x},
				   .kernel = {s->dim[0], s->dim[1]},
				   .stride = {s->dim[0], s->dim[1]}};

	return nn_graph_add(g, &pool, 0);
}

/*
 * One MLP for both: mean and maximum are two rows, and what it gives is summed.  The
 * gates, one a channel, are spread over all positions by growing a single pixel.
 */
static int
channel_gates(NnGraph *g, int x, int hidden)
{
	int side = g->node[x].shape.dim[0], channels = g->node[x].shape.dim[2];
	NnShape row = {.ndim = 2, .dim = {1, channels}}, pixel = image(1, 1, channels);
	int both[2];
	int a;

	both[0] = nn_reshape(g, nn_global_avgpool(g, x), &row);
	both[1] = nn_reshape(g, largest(g, x), &row);
	a = nn_concat(g, both, 2, 0);
	a = nn_linear(g, a, "aem.fc1", hidden, true, NN_IDENTITY);
	a = nn_activation(g, a, NN_RELU);
	a = nn_linear(g, a, "aem.fc2", channels, true, NN_IDENTITY);
	a = nn_activation(g, nn_reduce(g, a, 0, false), NN_SIGMOID);
	return nn_upsample(g, nn_reshape(g, a, &pixel), side, false);
}

/* Gates by position, from mean and maximum over channels; the same for each channel. */
static int
place_gates(NnGraph *g, int x)
{
	int height = g->node[x].shape.dim[0], width = g->node[x].shape.dim[1];
	int channels = g->node[x].shape.dim[2];
	NnShape column = image(height * width, channels, 1), map = image(height, width, 1);
	NnNode pool = {.kind = NN_MAXPOOL,
				   .ninputs = 1,
				   .kernel = {1, channels},
				   .stride = {1, channels}};
	int both[2];
	int a;

	both[0] = nn_reshape(g, nn_reduce(g, x, 2, true), &map);
	pool.input[0] = nn_reshape(g, x, &column);
	both[1] = nn_reshape(g, nn_graph_add(g, &pool, 0), &map);
	a = nn_conv2d(g, nn_concat(g, both, 2, 2), "aem.conv", 1, 7, 7, 1, 3, 1, true,
				  NN_IDENTITY);
	a = nn_activation(g, a, NN_SIGMOID);
	/* one value to all channels: a fixed layer of ones */
	a = nn_linear(g, a, "aem.spread", channels, false, NN_IDENTITY);
	if (a >= 0)
		g->param[g->node[a].param[0]].trainable = false;
	return a;
}

int
ae_vit_attention(NnGraph *g, int x, bool spatial, int hidden)
{
	if (x < 0)
		return -1;
	return nn_add(
		g, nn_mul(g, spatial ? place_gates(g, x) : channel_gates(g, x, hidden), x), x);
}

static int
build(NnGraph *g, int x, const ArchOptions *o)
{
	VitSize size = size_of(o);

	x = ae_vit_attention(g, vit_patches(g, x, &size), o->value[AEM] == 1,
						 size.width / REDUCTION);
	x = arch_flatten(g, vit_encoder(g, x, &size));
	x = nn_dropout(g, x, 0.5f);
	x = nn_linear(g, x, "hash_fc", HIDDEN, true, NN_IDENTITY);
	x = nn_activation(g, x, NN_LEAKY_RELU);
	switch (o->head)
	{
		case ARCH_HASH:
			/* no batch norm, no squashing: the paper's loss works on these */
			return nn_linear(g, x, "hash", o->outputs, true, NN_IDENTITY);
		case ARCH_CLASSES:
			return nn_linear(g, x, "head", o->outputs, true, NN_IDENTITY);
		default:
			return x;
	}
}

static bool
check(const ArchOptions *o, TrainError *err)
{
	int patch = (int) o->value[PATCH];

	if (o->height % patch || o->width % patch)
		return train_fail(err,
						  "pictures of %dx%d pixels cannot be cut into patches of %dx%d: "
						  "size must be a multiple of patch",
						  o->width, o->height, patch, patch);
	return o->height == o->width ||
		   train_fail(err, "ae-vit takes square pictures, not %dx%d", o->width,
					  o->height);
}

static void
finish(NnGraph *g, const ArchOptions *o, Rng *rng)
{
	VitSize size = size_of(o);
	NnParam *weight, *bias;

	vit_finish(g, &size, rng);
	weight =
		arch_find_param(g, o->value[AEM] == 1 ? "aem.conv.weight" : "aem.fc2.weight");
	bias = arch_find_param(g, o->value[AEM] == 1 ? "aem.conv.bias" : "aem.fc2.bias");
	for (size_t i = 0; i < nn_shape_size(&weight->shape); i++)
		weight->data[i] = (float) (1e-3 * rng_normal(rng));
	/* enters twice where there are two rows: sigmoid(-4) is 0.02 */
	for (int i = 0; i < bias->shape.dim[0]; i++)
		bias->data[i] = o->value[AEM] == 1 ? -4 : -2;
	if (o->value[AEM] == 1)
	{
		NnParam *spread = arch_find_param(g, "aem.spread.weight");

		for (size_t i = 0; i < nn_shape_size(&spread->shape); i++)
			spread->data[i] = 1;
	}
}

static int
depth(const ArchOptions *o, const char *param)
{
	return strncmp(param, "aem.", 4) == 0 ? 0 : vit_depth(size_of(o).depth, param);
}

static int
depths(const ArchOptions *o)
{
	return size_of(o).depth + 2;
}

const Arch arch_ae_vit = {
	.name = "ae-vit",
	.about = "vision transformer with attention over channels of its patches",
	.source = "attention-enhanced vision transformer for hashing; head of VTS, ICME 2022",
	.size = 224,
	.least = 4,
	.resize = 256,
	.mean = IMAGENET_MEAN,
	.std = IMAGENET_STD,
	.head = "head|aem|hash_fc",
	.parameter = {[SIZE] = {"size", "of the transformer", "ti|s|b", 2, 0, 0, false},
				  [PATCH] = {"patch", "side of a patch in pixels", NULL, 16, 4, 64, true},
				  [AEM] = {"aem", "what attention weighs: channels or positions",
						   "channel|spatial", 0, 0, 0, false}},
	.build = build,
	.check = check,
	.convolutions = INIT_UNIFORM,
	.linears = INIT_TRUNCATED_002,
	.finish = finish,
	.depth = depth,
	.depths = depths,
};
