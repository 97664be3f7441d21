/*
 * cmd_encode.c
 *	  deephash-train encode
 */
#include "hamming/hamming.h"
#include "nn/device.h"
#include "nn/model.h"
#include "training/command.h"
#include "training/data/dataset.h"
#include "training/run/codefile.h"
#include "training/run/codes.h"
#include "training/run/export.h"
#include "training/run/sets.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE (256L << 20)

static void
usage(void)
{
	puts(
		"Print the codes of pictures, one line each: name, tab, code. COPY reads it.\n\n"
		"Usage: deephash-train encode --model MODEL FILE...\n"
		"       deephash-train encode --model MODEL --data DATA [OPTION]...\n\n"
		"  --model FILE  the model\n"
		"  --data DATA   cifar10:DIR[:train|:test], folder:DIR or manifest:FILE\n"
		"  --labels      a third column with the labels of --data, for eval\n"
		"  --threads N   (one per CPU)\n"
		"  --help\n\n"
		"A picture that cannot be read is named on stderr and left out; the exit status\n"
		"is then 1.");
}

static ImagePreprocess
preprocess_of(const NnModel *model)
{
	return (ImagePreprocess){.width = model->info.width,
							 .height = model->info.height,
							 .resize = model->info.resize,
							 .filter =
								 model->info.area_filter ? IMAGE_AREA : IMAGE_BICUBIC};
}

static void
put_labels(const Dataset *ds, int i)
{
	const uint64_t *row = ds->labels + (size_t) i * ds->label_words;
	bool first = true;

	putchar('\t');
	for (int c = 0; c < ds->nclasses; c++)
		if (row[c / 64] >> c % 64 & 1)
		{
			if (!first)
				putchar(',');
			codefile_put_name(stdout, ds->class_name[c]);
			first = false;
		}
}

/* A comma in a label would be read back as two labels. */
static bool
labels_can_be_written(const Dataset *ds, TrainError *err)
{
	for (int c = 0; c < ds->nclasses; c++)
		if (strchr(ds->class_name[c], ','))
			return train_fail(err,
							  "--labels separates labels by commas, but the class "
							  "\"%.200s\" has one in its name: rename it",
							  ds->class_name[c]);
	return true;
}

static bool
encode_data(const NnModel *model, const char *data, bool labels, int threads,
			int *skipped, TrainError *err)
{
	ImagePreprocess pre = preprocess_of(model);
	Dataset *ds = dataset_open_within(data, &pre, sets_memory(0), threads,
									  command_bad_picture, err);
	int bits = model->info.bits;
	char text[HAMMING_MAX_BITS + 8];
	float *logits;
	uint8_t *codes;

	if (!ds)
		return false;
	if (labels && !labels_can_be_written(ds, err))
	{
		dataset_free(ds);
		return false;
	}
	*skipped = ds->skipped;
	logits = codes_device_logits(&model->graph, ds, threads, err);
	codes = logits ? codes_pack(logits, model->thresholds, ds->n, bits, err) : NULL;
	for (int i = 0; codes && i < ds->n; i++)
	{
		codefile_format(codes + i * hamming_bytes(bits), bits, text, sizeof(text));
		codefile_put_name(stdout, ds->source[i]);
		printf("\t%s", text);
		if (labels)
			put_labels(ds, i);
		putchar('\n');
	}
	free(logits);
	dataset_free(ds);
	free(codes);
	return codes != NULL;
}

/* The prepared pixels of one file; false: on_bad has been told. */
static bool
load_picture(const char *path, const ImagePreprocess *pre, uint8_t *rgb)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = NULL;
	ImageError why;
	long size = -1;
	bool ok = false;

	if (!f || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) < 0 || size > MAX_FILE)
		command_bad_picture(path,
							size > MAX_FILE ? "larger than 256 MiB" : strerror(errno));
	else if (!(data = malloc(size ? size : 1)))
		command_bad_picture(path, "out of memory");
	else if (rewind(f), fread(data, 1, size, f) != (size_t) size)
		command_bad_picture(path, strerror(errno));
	else
	{
		ok = image_from_jpeg(data, size, pre, &image_default_limits, rgb, &why);
		if (!ok)
			command_bad_picture(path, why.text);
	}
	free(data);
	if (f)
		fclose(f);
	return ok;
}

/* One at a time: for a handful of files; --data is the way for many. */
static bool
encode_files(const NnModel *model, char **path, int n, int threads, int *skipped,
			 TrainError *err)
{
	ImagePreprocess pre = preprocess_of(model);
	uint8_t *rgb = malloc((size_t) pre.width * pre.height * 3);
	float *logits = malloc(model->info.bits * sizeof(float));
	uint8_t code[HAMMING_MAX_BYTES];
	char text[HAMMING_MAX_BITS + 8];
	NnError trouble;
	NnNet *net = nn_cpu_device.load(&model->graph, 1, threads, &trouble);
	bool ok = net && rgb && logits;

	if (!ok)
		train_fail(err, "%.500s", net ? "out of memory" : trouble.text);
	for (int i = 0; ok && i < n; i++)
	{
		if (!load_picture(path[i], &pre, rgb))
		{
			(*skipped)++;
			continue;
		}
		ok = nn_cpu_device.run(net, rgb, 1, logits, &trouble) ||
			 train_fail(err, "%.500s", trouble.text);
		if (!ok)
			break;
		hamming_pack(logits, model->thresholds, model->info.bits, code);
		codefile_format(code, model->info.bits, text, sizeof(text));
		codefile_put_name(stdout, path[i]);
		printf("\t%s\n", text);
	}
	if (net)
		nn_cpu_device.unload(net);
	free(rgb);
	free(logits);
	return ok;
}

int
cmd_encode(int argc, char **argv)
{
	static const struct option options[] = {
		{"model", required_argument, NULL, 'm'},
		{"data", required_argument, NULL, 'd'},
		{"labels", no_argument, NULL, 'l'},
		{"threads", required_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	const char *model_path = NULL;
	const char *data = NULL;
	int threads = command_cpus();
	int skipped = 0;
	bool labels = false;
	NnModel *model;
	NnError trouble;
	TrainError err;
	int option;
	bool ok;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option)
		{
			case 'm':
				model_path = optarg;
				break;
			case 'd':
				data = optarg;
				break;
			case 'l':
				labels = true;
				break;
			case 't':
				if (!command_int(optarg, 1, 1024, &threads))
					return command_refused("encode", "threads", optarg);
				break;
			case 'h':
				usage();
				return COMMAND_OK;
			default:
				return command_usage("encode", "see the message above");
		}
	if (!model_path)
		return command_usage("encode", "--model is missing");
	if ((data != NULL) == (optind < argc))
		return command_usage("encode", "give either files or --data");
	model = nn_model_open(model_path, &trouble);
	if (!model)
	{
		train_fail(&err, "%.500s", trouble.text);
		return command_failed("encode", &err);
	}
	if (data)
		ok = encode_data(model, data, labels, threads, &skipped, &err);
	else
		ok = encode_files(model, argv + optind, argc - optind, threads, &skipped, &err);
	nn_model_close(model);
	if (ok && (fflush(stdout) != 0 || ferror(stdout)))
		ok = train_fail(&err, "cannot write the codes: %s", strerror(errno));
	if (!ok)
		return command_failed("encode", &err);
	return skipped ? COMMAND_FAILED : COMMAND_OK;
}
