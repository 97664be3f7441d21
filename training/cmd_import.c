/*
 * cmd_import.c
 *	  deephash-train import
 */
#include "nn/model.h"
#include "training/command.h"
#include "training/import/import.h"
#include "training/run/codes.h"
#include "training/run/sets.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SETTINGS 16
#define MAX_OUTPUTS 4096 /* of a model file */

typedef struct Request
{
	const char *file, *out, *head, *thresholds;
	const Arch *arch;
	const char *setting[MAX_SETTINGS];
	int nsettings;
	int outputs, size;
	float mean[3], std[3];
	bool mean_given, std_given, partial, fold;
	uint64_t seed;
} Request;

static void
usage(void)
{
	puts("Make a model file of weights trained elsewhere: a safetensors file with the\n"
		 "names of timm or torchvision, in F32, F16, BF16 or F64.  Every tensor that is\n"
		 "missing, surplus or of another shape is named, and the import refused.\n\n"
		 "Usage: deephash-train import FILE --arch NAME [OPTION]...\n\n"
		 "  --arch NAME      the architecture, see below\n"
		 "  --set KEY=VALUE  a parameter of it; what the file shows is taken from there\n"
		 "  --head KIND      classes (default), features (no head) or hash (a new head)\n"
		 "  --outputs N      classes (as the file has) or bits (64)\n"
		 "  --size N         side of the pictures (that of the architecture)\n"
		 "  --mean R,G,B     colours' mean, 0 to 1 (that of the architecture)\n"
		 "  --std R,G,B      colours' standard deviation (that of the architecture)\n"
		 "  --partial        take what fits; the rest of the network begins at random\n"
		 "  --seed N         of that beginning (1)\n"
		 "  --fold           fold batch norms into convolutions: faster, but no start "
		 "for\n"
		 "                   training\n"
		 "  --out MODEL      the model file; without it the weights are only checked\n"
		 "  --help\n\n"
		 "Architectures:");
	for (int i = 0; arch_at(i); i++)
	{
		const Arch *arch = arch_at(i);

		printf("  %-12s %s\n", arch_name_of(arch), arch_about(arch));
		for (int k = 0; arch_parameter(arch, k); k++)
		{
			const ArchParameter *p = arch_parameter(arch, k);

			printf("    %-14s %s (%s", p->name, p->about, p->choices ? p->choices : "");
			if (!p->choices)
				printf("%g to %g, usually %g", p->low, p->high, p->initial);
			puts(")");
		}
	}
}

static bool
colours(const char *text, double low, float out[3])
{
	double v[3];
	char end;

	bool good = sscanf(text, "%lf,%lf,%lf%c", &v[0], &v[1], &v[2], &end) == 3;

	for (int c = 0; good && c < 3; c++)
	{
		good = v[c] >= low && v[c] <= 1;
		out[c] = (float) v[c];
	}
	return command_want(good, low > 0
								  ? "three numbers from 0.001 to 1 with commas between"
								  : "three numbers from 0 to 1 with commas between");
}

static bool
set_option(void *arg, int option)
{
	Request *r = arg;

	switch (option)
	{
		case 'a':
			r->arch = arch_find(optarg);
			return command_want(r->arch != NULL, "one of those that --help lists");
		case 'e':
			if (r->nsettings == MAX_SETTINGS || !strchr(optarg, '='))
				return command_want(false, "KEY=VALUE, and not too many of them");
			r->setting[r->nsettings++] = optarg;
			return true;
		case 'H':
			r->head = optarg;
			return command_want(strcmp(optarg, "classes") == 0 ||
									strcmp(optarg, "features") == 0 ||
									strcmp(optarg, "hash") == 0,
								"classes, features or hash");
		case 'n':
			return command_int(optarg, 1, MAX_OUTPUTS, &r->outputs);
		case 'z':
			return command_int(optarg, 1, 4096, &r->size);
		case 'm':
			r->mean_given = true;
			return colours(optarg, 0, r->mean);
		case 'd':
			r->std_given = true;
			return colours(optarg, 1e-3, r->std);
		case 'p':
			r->partial = true;
			return true;
		case 'f':
			r->fold = true;
			return true;
		case 't':
			r->thresholds = optarg;
			return true;
		case 's':
			return command_seed(optarg, &r->seed);
		default:
			r->out = optarg;
			return true;
	}
}

static void
tell(void *arg, const char *line)
{
	(void) arg;
	fprintf(stderr, "%s\n", line);
}

static bool
take_settings(const Request *r, ArchOptions *o, TrainError *err)
{
	for (int i = 0; i < r->nsettings; i++)
	{
		const char *equals = strchr(r->setting[i], '=');
		char key[64];

		snprintf(key, sizeof(key), "%.*s", (int) (equals - r->setting[i]), r->setting[i]);
		if (!arch_set(r->arch, o, key, equals + 1, err))
			return false;
	}
	return true;
}

static bool
complete(const Request *r, ArchOptions *o, const ImportOptions *import, TrainError *err)
{
	arch_defaults(r->arch, o);
	if (r->size)
		o->height = o->width = r->size;
	if (r->mean_given)
		memcpy(o->mean, r->mean, sizeof(o->mean));
	if (r->std_given)
		memcpy(o->std, r->std, sizeof(o->std));
	o->head = strcmp(r->head, "classes") == 0 ? ARCH_CLASSES
			  : strcmp(r->head, "hash") == 0  ? ARCH_HASH
											  : ARCH_FEATURES;
	o->outputs = r->outputs ? r->outputs : o->head == ARCH_HASH ? 64 : 0;
	o->seed = r->seed;
	return take_settings(r, o, err) && import_look(r->arch, r->file, o, import, err);
}

/* Where the model comes from, as one JSON object. */
static char *
provenance(const Request *r, const ArchOptions *o)
{
	const char *slash = strrchr(r->file, '/');
	char label[128];
	json_t *object = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:b, s:b}", "tool", "deephash-train", "tool_version",
		DEEPHASH_VERSION, "imported_from", slash ? slash + 1 : r->file, "architecture",
		arch_label(r->arch, o, label, sizeof(label)), "head", r->head, "partial",
		r->partial, "folded", r->fold);
	char *text = json_dumps(object, JSON_COMPACT);

	json_decref(object);
	return text;
}

/* The mean of each output over the pictures of r->thresholds (malloc'ed). */
static float *
means_of(const Request *r, const NnGraph *g, const ImagePreprocess *pre, TrainError *err)
{
	size_t n = nn_shape_size(&nn_graph_output(g)->shape);
	int threads = command_cpus();
	Dataset *ds = dataset_open_within(r->thresholds, pre, sets_memory(0), threads,
									  command_bad_picture, err);
	float *logits = ds ? codes_device_logits(g, ds, threads, err) : NULL;
	float *means = logits ? malloc(n * sizeof(*means)) : NULL;

	if (logits && !means)
		train_fail(err, "out of memory");
	for (size_t k = 0; means && k < n; k++)
	{
		double sum = 0;

		for (int i = 0; i < ds->n; i++)
			sum += logits[(size_t) i * n + k];
		means[k] = (float) (sum / ds->n);
	}
	free(logits);
	dataset_free(ds);
	return means;
}

static bool
write_model(const Request *r, const ArchOptions *o, const NnGraph *g, TrainError *err)
{
	ImagePreprocess pre = arch_preprocess(r->arch, o);
	NnError trouble;
	NnGraph *folded = r->fold ? nn_graph_fold_batchnorm(g, &trouble) : NULL;
	NnModelInfo info = {
		.bits = (int) nn_shape_size(&nn_graph_output(g)->shape),
		.width = pre.width,
		.height = pre.height,
		.resize = pre.resize,
		.area_filter = pre.filter == IMAGE_AREA,
		.provenance = provenance(r, o),
	};
	float *means = NULL;
	bool ok = folded || !r->fold || train_fail(err, "%.500s", trouble.text);

	arch_label(r->arch, o, info.architecture, sizeof(info.architecture));
	if (ok && r->thresholds)
		ok = (means = means_of(r, folded ? folded : g, &pre, err)) != NULL;
	ok = ok && (nn_model_write(r->out, &info, folded ? folded : g, means, &trouble) ||
				train_fail(err, "%.500s", trouble.text));
	free(means);
	free(info.provenance);
	nn_graph_free(folded);
	return ok;
}

static bool
import(const Request *r, TrainError *err)
{
	ImportOptions options = {.partial = r->partial,
							 .fresh_head = strcmp(r->head, "classes") != 0,
							 .head = arch_head_layer(r->arch),
							 .told = tell};
	ArchOptions o;
	NnGraph *g;
	char label[128];
	bool ok;

	if (!complete(r, &o, &options, err))
		return false;
	g = arch_build(r->arch, &o, err);
	if (!g)
		return false;
	ok = import_weights(g, r->file, &options, err) &&
		 (!r->out || write_model(r, &o, g, err));
	if (ok)
		printf("%s: %s, %zu parameters, %zu outputs%s%s\n", r->file,
			   arch_label(r->arch, &o, label, sizeof(label)), nn_graph_weights(g),
			   nn_shape_size(&nn_graph_output(g)->shape), r->out ? ", written to " : "",
			   r->out ? r->out : "");
	nn_graph_free(g);
	return ok;
}

int
cmd_import(int argc, char **argv)
{
	static const struct option options[] = {
		{"arch", required_argument, NULL, 'a'},
		{"set", required_argument, NULL, 'e'},
		{"head", required_argument, NULL, 'H'},
		{"outputs", required_argument, NULL, 'n'},
		{"size", required_argument, NULL, 'z'},
		{"mean", required_argument, NULL, 'm'},
		{"std", required_argument, NULL, 'd'},
		{"partial", no_argument, NULL, 'p'},
		{"fold", no_argument, NULL, 'f'},
		{"seed", required_argument, NULL, 's'},
		{"thresholds", required_argument, NULL, 't'},
		{"out", required_argument, NULL, 'o'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	Request r = {.head = "classes", .seed = 1};
	TrainError err;
	int status;

	status = command_options("import", argc, argv, options, usage, set_option, &r);
	if (status >= 0)
		return status;
	if (optind + 1 != argc)
		return command_usage("import", optind < argc ? "give one file"
													 : "the file of weights is missing");
	r.file = argv[optind];
	if (!r.arch)
		return command_usage("import", "--arch is missing");
	return import(&r, &err) ? COMMAND_OK : command_failed("import", &err);
}
