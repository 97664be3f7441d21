/*
 * parity.c
 *	  Does a device compute what the CPU computes?  Used by gpu/check.
 *
 *		gpu-parity DEVICE [FOLDER-OF-THE-PLUG-IN] [OPTION]...
 *		gpu-parity tolerance PRECISION MODEL
 *
 *		--seed N	draw other weights, pictures and networks than those of seed 1
 *		--few		as under a checking tool: few random networks, no architectures
 *		--only PART	inference, training, serving, architectures or errors
 *
 * One line per case: every op in several shapes, whole networks, random networks, each
 * for several batches; training of every op; codes as a service wants them in all
 * precisions; every architecture all three ways; errors that must be texts.  Ends with 1
 * when anything disagrees.  The CPU itself is tested against plain loops in double by
 * test/unit/test_nn_*.c; how far apart the two may be is in parity_noise.h.
 *
 * Tolerance prints the two numbers of nn/tolerance.h for a model file: how far logits in
 * that precision may be from the CPU's.
 */
#include "gpu/parity/parity.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/parity/parity_draw.h"
#include "gpu/parity/parity_infer.h"
#include "gpu/parity/parity_networks.h"
#include "gpu/parity/parity_serve.h"
#include "gpu/parity/parity_train.h"
#include "nn/graph.h"
#include "nn/model.h"
#include "nn/pool.h"
#include "nn/tolerance.h"
#include "training/arch/arch.h"

static const char *const precisions[] = {"float32", "tf32", "bf16", "fp16"};

void
parity_report(Parity *p, const char *name, bool ok, const char *text)
{
	p->cases++;
	p->failures += !ok;
	printf("%-44s %s  %s\n", name, ok ? "ok  " : "FAIL", text);
}

void
parity_judge(Parity *p, const char *name, double ratio, const char *text)
{
	parity_report(p, name, ratio <= 1, text);
	if (ratio > p->ratio)
	{
		p->ratio = ratio;
		snprintf(p->furthest, sizeof(p->furthest), "%s", name);
	}
}

void
parity_compare(Parity *p, const char *name, NnGraph *g, int draws)
{
	char text[600];
	double ratio;

	if (parity_infer(p->device, g, draws, &ratio, text, sizeof(text)))
		parity_judge(p, name, ratio, text);
	else
		parity_report(p, name, false, text);
}

/* -------------------------------------------------------------------- training */

static void
train(Parity *p, const char *name, NnGraph *g, NnPrecision precision, bool recompute,
	  int batch, const ParityEffort *effort, NnPool *pool)
{
	NnLearnerOptions o = {.max_batch = batch,
						  .precision = precision,
						  .recompute = recompute,
						  .update = recompute ? NN_ADAMW : NN_SGD,
						  .average = true,
						  .pool = pool};
	ParityTrain found;
	char title[128], text[700];
	bool ok =
		parity_train(p->learner, g, &o, effort, p->seed, &found, text, sizeof(text));

	snprintf(title, sizeof(title), "train %s, %s%s", name, precisions[precision],
			 recompute ? ", AdamW, recomputed" : "");
	if (ok || found.ratio > 1)
		parity_judge(p, title, found.ratio, text);
	else
		parity_report(p, title, false, text);
}

/* Small networks of all ops in all precisions, with and without what may be missing. */
static void
each_training(Parity *p)
{
	static const char *const without[] = {"", "cudnn", "cublaslt,cudnn,graphs"};
	const char *had = getenv("DEEPHASH_GPU_WITHOUT"), *name;
	char title[96];
	NnGraph *g;

	for (size_t w = 0; w < sizeof(without) / sizeof(without[0]); w++)
	{
		if (w > 0)
			setenv("DEEPHASH_GPU_WITHOUT", without[w], 1);
		for (int precision = NN_FLOAT32; precision <= NN_BF16; precision++)
			for (int recompute = 0; recompute < 2; recompute++)
				for (int i = 0; (g = parity_network(i, &name)) != NULL; i++)
				{
					snprintf(title, sizeof(title), "%s%s%s", name,
							 w > 0 ? ", without " : "", without[w]);
					train(p, title, g, (NnPrecision) precision, recompute, 5,
						  &parity_thorough, NULL);
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
serve(Parity *p, const char *name, const NnGraph *g, int batch, const float *thresholds,
	  bool graphs)
{
	for (int precision = NN_FLOAT32; precision <= NN_FP16; precision++)
	{
		NnServing how = {.max_batch = batch,
						 .precision = (NnPrecision) precision,
						 .thresholds = thresholds,
						 .graphs = graphs};
		ParityServe found;
		char title[128], text[600];
		bool ok = parity_serve(p->device, g, &how, p->seed << 8 | (uint64_t) precision,
							   &found, text, sizeof(text));

		snprintf(title, sizeof(title), "serve %s, %s%s", name, precisions[precision],
				 graphs ? ", recorded" : "");
		if (ok)
			snprintf(text, sizeof(text),
					 "%.3f of the bound, %zu of %zu bits differ, %zu in doubt",
					 found.apart, found.different, found.bits, found.doubtful);
		if (ok)
			parity_judge(p, title, found.apart, text);
		else
			parity_report(p, title, false, text);
	}
}

static void
serve_filled(Parity *p, const char *name, NnGraph *g, const float *thresholds,
			 bool graphs)
{
	parity_fill(g);
	serve(p, name, g, 7, thresholds, graphs);
	nn_graph_free(g);
}

static void
each_serving(Parity *p)
{
	float thresholds[64];

	parity_begin(p->seed, 2);
	for (int k = 0; k < 64; k++)
		thresholds[k] = parity_draw(0.2f);
	for (int graphs = 0; graphs < 2; graphs++)
	{
		serve_filled(p, "convolutional network", parity_cnn(), thresholds, graphs);
		serve_filled(p, "transformer", parity_vit(32, 4, 96, 3, 2), thresholds, graphs);
	}
}

/* -------------------------------------------------------------- architectures */

/* Inference with folded norms, codes, then training in float32. */
static void
each_architecture(Parity *p)
{
	const Arch *arch;
	NnPool *pool = nn_pool_new(0);

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
		parity_begin(p->seed, 100 + (uint64_t) i);
		if (!folded)
			parity_report(p, name, false, g ? err.text : why.text);
		else
		{
			parity_fill(folded);
			if (p->device->serve)
				serve(p, name, folded, 2, NULL, true);
			parity_compare(p, name, folded, 2);
		}
		if (folded && p->learner)
			train(p, name, g, NN_FLOAT32, false, 3, &parity_quick, pool);
		else
			nn_graph_free(g);
	}
	nn_pool_free(pool);
}

/* --------------------------------------------------------------------- errors */

static void
check_errors(Parity *p)
{
	const NnDevice *device = p->device;
	NnError err = {""};
	NnGraph *g = parity_cnn();
	NnNet *net = device->load(g, 2, 1, &err);
	uint8_t image[32 * 32 * 3] = {0};
	float out[64];
	char probed[256];

	parity_report(p, "a batch that is too large is refused",
				  net && !device->run(net, image, 3, out, &err), err.text);
	if (net)
		device->unload(net);
	nn_graph_free(g);

	/* 64 activations of 8.6 GB alive at once: more than any card has */
	device->probe(probed, sizeof(probed));
	if (strcmp(device->name, "cpu") != 0 && strcmp(probed, "the host") != 0)
	{
		int x, kept[64];

		g = parity_start(64, 64, 64, &x);
		for (int i = 0; i < 64; i++)
			kept[i] = nn_scale(g, x, 0.1f * (float) i);
		for (int i = 0; i < 64; i++)
			x = nn_add(g, x, kept[i]);
		net = device->load(g, 8191, 1, &err);
		parity_report(p, "too little memory is a text",
					  net == NULL && strstr(err.text, "lower the batch"), err.text);
		if (net)
			device->unload(net);
		nn_graph_free(g);
		/* and the device works afterwards */
		parity_compare(p, "after running out of memory", parity_cnn(), PARITY_DRAWS);
	}
}

/* ----------------------------------------------------------------------- main */

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
		fprintf(stderr, "gpu-parity: %s\n", model ? "unknown precision" : err.text);
		nn_model_close(model);
		return 2;
	}
	t = nn_tolerance(&model->graph, (NnPrecision) p);
	printf("%.9g %.9g\n", t.factor, t.offset);
	nn_model_close(model);
	return 0;
}

static int
usage(void)
{
	fprintf(stderr, "usage: gpu-parity DEVICE [FOLDER] [--seed N] [--few] [--only PART]\n"
					"       gpu-parity tolerance PRECISION MODEL\n"
					"parts: inference, training, serving, architectures, errors\n");
	return 2;
}

static void
run(Parity *p, const char *only)
{
#define WANTED(part) (only == NULL || strcmp(only, part) == 0)
	if (WANTED("inference"))
		parity_inference(p);
	if (WANTED("training") && p->learner)
		each_training(p);
	if (WANTED("serving") && p->device->serve)
		each_serving(p);
	if (WANTED("architectures") && (only || !p->few))
		each_architecture(p);
	if (WANTED("errors"))
		check_errors(p);
#undef WANTED
}

/* Any option is followed by its value, but for --few. */
static bool
options(int argc, char **argv, Parity *p, const char **only)
{
	static const char *const parts[] = {"inference", "training", "serving",
										"architectures", "errors"};

	for (int i = 0; i < argc; i++)
	{
		char *end = NULL;

		if (strcmp(argv[i], "--few") == 0)
			p->few = true;
		else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
		{
			p->seed = strtoull(argv[++i], &end, 10);
			if (end == argv[i] || *end != '\0')
				return false;
		}
		else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
		{
			for (size_t k = 0; k < sizeof(parts) / sizeof(parts[0]); k++)
				if (strcmp(parts[k], argv[i + 1]) == 0)
					*only = parts[k];
			i++;
			if (*only == NULL)
				return false;
		}
		else
			return false;
	}
	return true;
}

int
main(int argc, char **argv)
{
	Parity p = {.seed = 1};
	const char *only = NULL, *folder = NULL;
	NnError err;
	char text[256];
	int given = 2;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 4 && strcmp(argv[1], "tolerance") == 0)
		return print_tolerance(argv[2], argv[3]);
	if (argc > 2 && argv[2][0] != '-')
		folder = argv[given++];
	if (argc < 2 || !options(argc - given, argv + given, &p, &only))
		return usage();
	p.device = nn_device(argv[1], folder, &err);
	if (p.device == NULL)
	{
		fprintf(stderr, "%s\n", err.text);
		return 2;
	}
	p.device->probe(text, sizeof(text));
	printf("device %s: %s\n", p.device->name, text);
	nn_cpu_device.probe(text, sizeof(text));
	printf("compared with cpu: %s\nseed %llu\n\n", text, (unsigned long long) p.seed);
	if (strcmp(p.device->name, "cpu") != 0)
	{
		p.learner = nn_plugin_learner(folder, &err);
		if (p.learner == NULL)
			parity_report(&p, "the plug-in can train", false, err.text);
	}
	run(&p, only);
	printf("\n%d cases, %d failed; seed %llu; at most %.2f of a bound (%s)\n", p.cases,
		   p.failures, (unsigned long long) p.seed, p.ratio, p.furthest);
	return p.failures ? 1 : 0;
}
