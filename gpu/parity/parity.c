/*
 * parity.c
 *	  Does a device compute what the CPU computes?  Used by gpu/check.
 *
 *		parity DEVICE [FOLDER-OF-THE-PLUG-IN [short]]
 *		parity tolerance PRECISION MODEL
 *
 * One line per case: every op in several shapes, whole networks, random networks, each
 * for several batches; then training of every op, codes as a service wants them in all
 * precisions, and every architecture all three ways; errors that must be texts.  With
 * "short", as under a checking tool, only a few random networks and no architectures.
 * Ends with 1 when anything disagrees.  The CPU itself is tested against plain loops in
 * double by test/unit/test_nn_*.c.
 *
 * Tolerance prints the two numbers of nn/tolerance.h for a model file: how far logits in
 * that precision may be from the CPU's.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/parity/parity_serve.h"
#include "gpu/parity/parity_train.h"
#include "nn/device.h"
#include "nn/graph.h"
#include "nn/model.h"
#include "nn/tolerance.h"
#include "training/arch/arch.h"

#define TOLERANCE 2e-5		/* of the largest value of an output */
#define DEEP_TOLERANCE 1e-3 /* whole architectures with random weights */
#define BATCH 5

static uint64_t seed = 88172645463325252u;
static const char *const precisions[] = {"float32", "tf32", "bf16", "fp16"};
static int cases, failures;
static double tolerance = TOLERANCE;

static uint64_t
draw(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static int
between(int least, int most)
{
	return least + (int) (draw() % (uint64_t) (most - least + 1));
}

static float
draw_float(float range)
{
	return ((float) (draw() >> 40) / 8388608.0f - 1.0f) * range;
}

static void
fill(NnGraph *g)
{
	for (int i = 0; i < g->nparams; i++)
	{
		NnParam *p = &g->param[i];
		size_t n = nn_shape_size(&p->shape);
		size_t fan = p->shape.ndim > 1 ? n / (size_t) p->shape.dim[0] : 1;
		bool variance = strstr(p->name, "running_var") != NULL;

		for (size_t k = 0; k < n; k++)
			p->data[k] = variance ? 1.0f + draw_float(0.5f)
								  : draw_float(1.7f / sqrtf((float) fan));
	}
}

static uint8_t *
pictures(const NnGraph *g, int n)
{
	size_t size = (size_t) n * nn_shape_size(&g->node[0].shape);
	uint8_t *images = malloc(size);

	for (size_t i = 0; i < size; i++)
		images[i] = (uint8_t) (draw() >> 30);
	return images;
}

static double
distance(const float *a, const float *b, size_t n)
{
	double far = 0, top = 1e-30;

	for (size_t i = 0; i < n; i++)
	{
		double d = fabs((double) a[i] - b[i]);

		if (!(d <= far))
			far = isnan(d) ? INFINITY : d;
		top = fabs(a[i]) > top ? fabs(a[i]) : top;
	}
	return far / top;
}

static void
report(const char *name, bool ok, const char *text)
{
	cases++;
	failures += !ok;
	printf("%-44s %s  %s\n", name, ok ? "ok  " : "FAIL", text);
}

/* Run g on both devices; frees g. */
static void
compare(const NnDevice *device, const char *name, NnGraph *g)
{
	NnError err = {""};
	NnNet *cpu = NULL, *other = NULL;
	uint8_t *images;
	float *a, *b;
	size_t size;
	double worst = 0;
	char text[600];
	bool ok;

	if (!nn_graph_ok(g, &err))
	{
		report(name, false, err.text);
		nn_graph_free(g);
		return;
	}
	fill(g);
	size = nn_shape_size(&nn_graph_output(g)->shape);
	images = pictures(g, BATCH);
	a = malloc(BATCH * size * sizeof(float));
	b = malloc(BATCH * size * sizeof(float));
	ok = (cpu = nn_cpu_device.load(g, BATCH, 0, &err)) != NULL &&
		 (other = device->load(g, BATCH, 0, &err)) != NULL;
	for (int n = 1; ok && n <= BATCH; n += 2)
	{
		ok = nn_cpu_device.run(cpu, images, n, a, &err) &&
			 device->run(other, images, n, b, &err);
		if (ok)
			worst = fmax(worst, distance(a, b, (size_t) n * size));
	}
	snprintf(text, sizeof(text), "off by %.1e of the largest value", worst);
	report(name, ok && worst <= tolerance, ok ? text : err.text);
	nn_cpu_device.unload(cpu);
	if (other)
		device->unload(other);
	free(images);
	free(a);
	free(b);
	nn_graph_free(g);
}

/* ------------------------------------------------------------------ networks */

static const float mean[3] = {0.49f, 0.48f, 0.45f}, deviation[3] = {0.25f, 0.24f, 0.26f};

static NnGraph *
start(int height, int width, int *x)
{
	NnGraph *g = nn_graph_new();

	*x = nn_input(g, height, width, mean, deviation);
	return g;
}

/* A picture of some channels, as a start for ops that want more than three. */
static NnGraph *
start_wide(int height, int width, int channels, int *x)
{
	NnGraph *g = start(height, width, x);

	*x = nn_conv2d(g, *x, "wide", channels, 1, 1, 1, 0, 1, true, NN_IDENTITY);
	return g;
}

static NnGraph *
start_tokens(int side, int dim, int *x)
{
	NnGraph *g = start_wide(side, side, dim, x);
	NnShape shape = {2, {side * side, dim, 0, 0}};

	*x = nn_reshape(g, *x, &shape);
	return g;
}

static void
each_conv(const NnDevice *device)
{
	static const int shape[][8] = {
		/* height, width, in, out, kernel, stride, pad, groups */
		{8, 8, 3, 16, 3, 1, 1, 1},	  {32, 32, 24, 32, 3, 1, 1, 1},
		{31, 17, 5, 7, 2, 1, 0, 1},	  {15, 14, 8, 12, 5, 2, 2, 4},
		{9, 9, 33, 33, 3, 2, 1, 33},  {7, 7, 40, 24, 1, 1, 0, 1},
		{7, 6, 40, 24, 1, 2, 0, 1},	  {16, 16, 3, 192, 4, 4, 0, 1},
		{64, 64, 16, 16, 7, 2, 3, 1}, {1, 1, 64, 10, 1, 1, 0, 2}};
	char name[64];

	for (size_t i = 0; i < sizeof(shape) / sizeof(shape[0]); i++)
		for (int bias = 0; bias < 2; bias++)
		{
			const int *s = shape[i];
			int x;
			NnGraph *g = start_wide(s[0], s[1], s[2], &x);

			nn_conv2d(g, x, "conv", s[3], s[4], s[4], s[5], s[6], s[7], bias,
					  bias ? (NnActivation) (i % NN_ACTIVATION_COUNT) : NN_IDENTITY);
			snprintf(name, sizeof(name), "conv2d %dx%dx%d to %d, %dx%d/%d+%d, %d groups",
					 s[0], s[1], s[2], s[3], s[4], s[4], s[5], s[6], s[7]);
			compare(device, name, g);
		}
}

static void
each_other(const NnDevice *device)
{
	NnGraph *g;
	char name[64];
	int x;

	compare(device, "input", start(5, 4, &x));
	for (int act = 0; act < NN_ACTIVATION_COUNT; act++)
	{
		g = start_wide(9, 7, 13, &x);
		x = nn_scale(g, x, 5.0f);
		nn_activation(g, x, (NnActivation) act);
		snprintf(name, sizeof(name), "activation %s",
				 nn_activation_name((NnActivation) act));
		compare(device, name, g);
	}
	for (int cols = 1; cols < 400; cols = cols * 3 + 1)
	{
		g = start_wide(3, 5, cols, &x);
		nn_linear(g, x, "fc", cols + 5, cols & 1, NN_TANH);
		compare(device, "linear", g);
		g = start_wide(3, 5, cols, &x);
		nn_batchnorm(g, x, "bn", 1e-5f);
		compare(device, "batchnorm", g);
		if (cols > 1)
		{
			g = start_wide(3, 5, cols, &x);
			nn_layernorm(g, x, "ln", 1e-3f);
			compare(device, "layernorm", g);
		}
		g = start_wide(3, 5, cols, &x);
		nn_softmax(g, nn_scale(g, x, 30.0f));
		compare(device, "softmax", g);
	}
	for (int kernel = 1; kernel <= 4; kernel++)
		for (int stride = 1; stride <= 3; stride++)
		{
			g = start_wide(13, 10, 9, &x);
			nn_maxpool(g, x, kernel, stride, kernel / 2);
			compare(device, "maxpool", g);
			g = start_wide(13, 10, 9, &x);
			nn_avgpool(g, x, kernel, stride, kernel / 2);
			compare(device, "avgpool", g);
		}
	g = start_wide(13, 10, 9, &x);
	nn_global_avgpool(g, x);
	compare(device, "global_avgpool", g);
	g = start_wide(4, 4, 9, &x);
	nn_add(g, x, nn_scale(g, x, -0.3f));
	compare(device, "add, scale", g);
	g = start_tokens(4, 12, &x);
	nn_class_token(g, x, "cls");
	compare(device, "reshape, class_token", g);
	g = start_tokens(4, 12, &x);
	nn_position(g, x, "pos");
	compare(device, "position", g);
	g = start_tokens(4, 12, &x);
	nn_token(g, x, 7);
	compare(device, "token", g);
	for (int heads = 1; heads <= 6; heads++)
	{
		g = start_tokens(heads + 2, 3 * heads * 8, &x);
		nn_attention(g, x, heads);
		snprintf(name, sizeof(name), "attention, %d heads", heads);
		compare(device, name, g);
	}
}

/* A ViT block or two after patches. */
static NnGraph *
transformer(int size, int patch, int dim, int heads, int blocks)
{
	int side = size / patch, x, y;
	NnGraph *g = start(size, size, &x);
	NnShape tokens = {2, {side * side, dim, 0, 0}};
	char name[32];

	x = nn_conv2d(g, x, "patch", dim, patch, patch, patch, 0, 1, true, NN_IDENTITY);
	x = nn_reshape(g, x, &tokens);
	x = nn_class_token(g, x, "cls");
	x = nn_position(g, x, "pos");
	for (int b = 0; b < blocks; b++)
	{
#define NAME(what) (snprintf(name, sizeof(name), "%d." what, b), name)
		y = nn_layernorm(g, x, NAME("norm1"), 1e-6f);
		y = nn_linear(g, y, NAME("qkv"), 3 * dim, true, NN_IDENTITY);
		y = nn_attention(g, y, heads);
		y = nn_linear(g, y, NAME("proj"), dim, true, NN_IDENTITY);
		x = nn_add(g, x, y);
		y = nn_layernorm(g, x, NAME("norm2"), 1e-6f);
		y = nn_linear(g, y, NAME("fc1"), 4 * dim, true, NN_GELU);
		y = nn_linear(g, y, NAME("fc2"), dim, true, NN_IDENTITY);
		x = nn_add(g, x, y);
#undef NAME
	}
	x = nn_layernorm(g, x, "norm", 1e-6f);
	x = nn_token(g, x, 0);
	nn_linear(g, x, "head", 64, true, NN_IDENTITY);
	return g;
}

static NnGraph *
convolutional(void)
{
	int x;
	NnGraph *g = start(32, 32, &x);
	const int width[3] = {32, 128, 128};
	char name[32];

	x = nn_conv2d(g, x, "first", 24, 2, 2, 1, 0, 1, true, NN_GELU);
	for (int b = 0; b < 3; b++)
	{
		snprintf(name, sizeof(name), "%d.conv1", b);
		x = nn_conv2d(g, x, name, width[b], 3, 3, 1, 1, 1, false, NN_IDENTITY);
		x = nn_maxpool(g, x, 2, 2, 0);
		snprintf(name, sizeof(name), "%d.norm", b);
		x = nn_batchnorm(g, x, name, 1e-5f);
		x = nn_activation(g, x, NN_GELU);
		snprintf(name, sizeof(name), "%d.conv2", b);
		x = nn_conv2d(g, x, name, width[b], 3, 3, 1, 1, 1, true, NN_GELU);
	}
	x = nn_maxpool(g, x, 3, 3, 0);
	x = nn_global_avgpool(g, x);
	nn_linear(g, x, "hash", 64, false, NN_IDENTITY);
	return g;
}

/* Ops drawn at random while the picture lasts, then a head. */
static NnGraph *
random_network(void)
{
	int x, size = between(8, 40), channels = between(1, 40);
	NnGraph *g = start_wide(size, size, channels, &x);
	char name[32];

	for (int i = 0, n = between(3, 10); i < n; i++)
	{
		int y = x;

		snprintf(name, sizeof(name), "layer%d", i);
		switch (between(0, 6))
		{
			case 0:
				channels = between(1, 60);
				x = nn_conv2d(g, x, name, channels, 3, 3, 1, 1, 1, true, NN_GELU);
				break;
			case 1:
				x = nn_conv2d(g, x, name, channels, 3, 3, 1, 1, channels, false,
							  NN_RELU6);
				break;
			case 2:
				x = nn_batchnorm(g, x, name, 1e-5f);
				break;
			case 3:
				x = nn_activation(g, x,
								  (NnActivation) between(0, NN_ACTIVATION_COUNT - 1));
				break;
			case 4:
				y = nn_conv2d(g, x, name, channels, 1, 1, 1, 0, 1, true, NN_SILU);
				x = nn_add(g, x, y);
				break;
			case 5:
				if (size >= 6)
				{
					x = between(0, 1) ? nn_maxpool(g, x, 2, 2, 0)
									  : nn_avgpool(g, x, 2, 2, 0);
					size /= 2;
				}
				break;
			default:
				x = nn_layernorm(g, x, name, 1e-2f);
		}
	}
	x = nn_global_avgpool(g, x);
	nn_linear(g, x, "head", between(1, 128), true, NN_IDENTITY);
	return g;
}

/* -------------------------------------------------------------------- training */

static void
train(const NnLearnerDevice *learner, const char *name, NnGraph *g, NnPrecision precision,
	  bool recompute, int batch)
{
	NnLearnerOptions o = {.max_batch = batch,
						  .precision = precision,
						  .recompute = recompute,
						  .update = recompute ? NN_ADAMW : NN_SGD,
						  .average = true};
	char title[128], text[700];
	bool ok = parity_train(learner, g, &o, text, sizeof(text));

	snprintf(title, sizeof(title), "train %s, %s%s", name, precisions[precision],
			 recompute ? ", AdamW, recomputed" : "");
	report(title, ok, text);
}

/* Small networks of all ops in all precisions, with and without what may be missing. */
static void
each_training(const NnLearnerDevice *learner)
{
	static const char *const without[] = {"", "cudnn", "cublaslt,cudnn,graphs"};
	const char *had = getenv("DEEPHASH_GPU_WITHOUT"), *name;
	char title[96];
	NnGraph *g;

	for (size_t w = 0; w < sizeof(without) / sizeof(without[0]); w++)
	{
		if (w > 0)
			setenv("DEEPHASH_GPU_WITHOUT", without[w], 1);
		for (int p = NN_FLOAT32; p <= NN_BF16; p++)
			for (int recompute = 0; recompute < 2; recompute++)
				for (int i = 0; (g = parity_network(i, &name)) != NULL; i++)
				{
					snprintf(title, sizeof(title), "%s%s%s", name,
							 w > 0 ? ", without " : "", without[w]);
					train(learner, title, g, (NnPrecision) p, recompute, 5);
				}
	}
	if (had)
		setenv("DEEPHASH_GPU_WITHOUT", had, 1);
	else
		unsetenv("DEEPHASH_GPU_WITHOUT");
}

/* ------------------------------------------------------------------- serving */

/* Codes by a filled graph in all precisions. */
static void
serve(const NnDevice *device, const char *name, const NnGraph *g, int batch,
	  const float *thresholds, bool graphs)
{
	for (int p = NN_FLOAT32; p <= NN_FP16; p++)
	{
		NnServing how = {.max_batch = batch,
						 .precision = (NnPrecision) p,
						 .thresholds = thresholds,
						 .graphs = graphs};
		ParityServe found;
		char title[128], text[600];
		bool ok =
			parity_serve(device, g, &how, (uint64_t) cases, &found, text, sizeof(text));

		snprintf(title, sizeof(title), "serve %s, %s%s", name, precisions[p],
				 graphs ? ", recorded" : "");
		if (ok)
			snprintf(text, sizeof(text),
					 "%zu of %zu bits differ, %zu in doubt; off by %.2f of the tolerance",
					 found.different, found.bits, found.doubtful, found.apart);
		report(title, ok, text);
	}
}

static void
each_serving(const NnDevice *device)
{
	float thresholds[64];
	NnGraph *g;

	for (int k = 0; k < 64; k++)
		thresholds[k] = draw_float(0.2f);
	for (int graphs = 0; graphs < 2; graphs++)
	{
		g = convolutional();
		fill(g);
		serve(device, "convolutional network", g, 7, thresholds, graphs);
		nn_graph_free(g);
		g = transformer(32, 4, 96, 3, 2);
		fill(g);
		serve(device, "transformer", g, 7, thresholds, graphs);
		nn_graph_free(g);
	}
}

/* Inference with folded norms, codes, then training in float32. */
static void
each_architecture(const NnDevice *device, const NnLearnerDevice *learner)
{
	const Arch *arch;

	tolerance = DEEP_TOLERANCE;
	for (int i = 0; (arch = arch_at(i)) != NULL; i++)
	{
		const char *name = arch_name_of(arch);
		TrainError why = {""};
		NnError err = {""};
		ArchOptions o;
		NnGraph *g, *folded;

		arch_defaults(arch, &o);
		o.head = ARCH_HASH;
		o.outputs = 64;
		g = arch_build(arch, &o, &why);
		folded = g ? nn_graph_fold_batchnorm(g, &err) : NULL;
		if (!folded)
			report(name, false, g ? err.text : why.text);
		else
		{
			fill(folded);
			if (device->serve)
				serve(device, name, folded, 2, NULL, true);
			compare(device, name, folded);
		}
		if (folded && learner)
			train(learner, name, g, NN_FLOAT32, false, 3);
		else
			nn_graph_free(g);
	}
	tolerance = TOLERANCE;
}

/* --------------------------------------------------------------------- errors */

static void
check_errors(const NnDevice *device)
{
	NnError err = {""};
	NnGraph *g = convolutional();
	NnNet *net = device->load(g, 2, 1, &err);
	uint8_t image[32 * 32 * 3] = {0};
	float out[64];
	char probed[256];

	report("a batch that is too large is refused",
		   net && !device->run(net, image, 3, out, &err), err.text);
	if (net)
		device->unload(net);
	nn_graph_free(g);

	/* 64 activations of 8.6 GB alive at once: more than any card has */
	device->probe(probed, sizeof(probed));
	if (strcmp(device->name, "cpu") != 0 && strcmp(probed, "the host") != 0)
	{
		int x, kept[64];

		g = start_wide(64, 64, 64, &x);
		for (int i = 0; i < 64; i++)
			kept[i] = nn_scale(g, x, 0.1f * (float) i);
		for (int i = 0; i < 64; i++)
			x = nn_add(g, x, kept[i]);
		net = device->load(g, 8191, 1, &err);
		report("too little memory is a text",
			   net == NULL && strstr(err.text, "lower the batch"), err.text);
		if (net)
			device->unload(net);
		nn_graph_free(g);
		/* and the device works afterwards */
		compare(device, "after running out of memory", convolutional());
	}
}

static int
print_tolerance(const char *precision, const char *path)
{
	NnError err = {""};
	NnModel *model = nn_model_open(path, &err);
	NnTolerance t;
	int p = NN_FLOAT32;

	while (p <= NN_FP16 && strcmp(precisions[p], precision) != 0)
		p++;
	if (model == NULL || p > NN_FP16)
	{
		fprintf(stderr, "parity: %s\n", model ? "unknown precision" : err.text);
		nn_model_close(model);
		return 2;
	}
	t = nn_tolerance(&model->graph, (NnPrecision) p);
	printf("%.9g %.9g\n", t.factor, t.offset);
	nn_model_close(model);
	return 0;
}

int
main(int argc, char **argv)
{
	const NnDevice *device;
	const NnLearnerDevice *learner = NULL;
	NnError err;
	char text[256];
	bool quick = argc > 3 && strcmp(argv[3], "short") == 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 2)
	{
		fprintf(stderr, "usage: parity DEVICE [FOLDER [short]]\n"
						"       parity tolerance PRECISION MODEL\n");
		return 2;
	}
	if (argc == 4 && strcmp(argv[1], "tolerance") == 0)
		return print_tolerance(argv[2], argv[3]);
	device = nn_device(argv[1], argc > 2 ? argv[2] : NULL, &err);
	if (device == NULL)
	{
		fprintf(stderr, "%s\n", err.text);
		return 2;
	}
	device->probe(text, sizeof(text));
	printf("device %s: %s\n", device->name, text);
	nn_cpu_device.probe(text, sizeof(text));
	printf("compared with cpu: %s\n\n", text);
	each_conv(device);
	each_other(device);
	compare(device, "convolutional network", convolutional());
	compare(device, "transformer", transformer(32, 4, 96, 3, 2));
	for (int i = 0; i < (quick ? 10 : 100); i++)
		compare(device, "random network", random_network());
	if (strcmp(device->name, "cpu") != 0)
	{
		learner = nn_plugin_learner(argc > 2 ? argv[2] : NULL, &err);
		if (learner)
			each_training(learner);
		else
			report("the plug-in can train", false, err.text);
	}
	if (device->serve)
		each_serving(device);
	if (!quick)
		each_architecture(device, learner);
	check_errors(device);
	printf("\n%d cases, %d failed\n", cases, failures);
	return failures ? 1 : 0;
}
