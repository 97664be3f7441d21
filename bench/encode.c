/*
 * encode.c
 *	  The encoder without PostgreSQL: what a session's encoding is measured against.
 *
 *	encode model ARCHITECTURE FILE
 *	encode batches MODEL MANIFEST BATCH THREADS SECONDS DEVICE
 *	encode alone MODEL MANIFEST THREADS SECONDS DEVICE
 *	encode computing MODEL BATCH THREADS SECONDS DEVICE
 *
 * Model writes a network of 64 bits with random weights for pictures of 224 x 224.
 *
 * Batches decodes, resizes and encodes the files that MANIFEST names, over and over.
 * Its threads decode a batch, then the device computes it, the CPU with as many threads;
 * a device that works beside the CPU computes while the next batch is decoded.  Prints
 * pictures a second, CPU milliseconds a picture and how many of them decoding (and
 * resizing) takes.
 *
 * Alone decodes and computes one picture at a time, as a lone request is, and prints the
 * milliseconds of each.
 *
 * Computing runs the network alone over full batches and prints pictures a second and the
 * precision.
 *
 * Networks run as in the service (service/service.h, Runner).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pthread.h>
#include <stdatomic.h>

#include "hamming/hamming.h"
#include "image/image.h"
#include "nn/device.h"
#include "nn/model.h"
#include "nn/pool.h"
#include "service/service.h"
#include "training/arch/arch.h"

typedef struct File
{
	uint8_t *data;
	size_t size;
} File;

typedef struct Bench
{
	NnModel *model;
	ImagePreprocess pre;
	size_t image_bytes;
	const NnDevice *device;
	bool beside; /* it works beside the CPU */
	Runner *runner;
	NnStage stage[2];
	int batch;
	NnPool *pool; /* decodes */
	File *file;
	int nfiles;
	_Atomic int64_t decode_ns; /* CPU time of all decoding */
} Bench;

static _Noreturn void
die(const char *what, const char *why)
{
	fprintf(stderr, "encode: %s: %s\n", what, why);
	exit(1);
}

static int64_t
clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void *
take(size_t size)
{
	void *memory = malloc(size);

	if (memory == NULL)
		die("memory", "there is none left");
	return memory;
}

/* ------------------------------------------------------------------- models */

static void
write_model(const char *label, const char *path)
{
	ArchOptions options = {0};
	TrainError trouble = {""};
	NnError err = {""};
	const Arch *arch = arch_from_label(label, &options, &trouble);
	NnModelInfo info = {.bits = 64, .provenance = "{\"tool\": \"bench/encode\"}"};
	ImagePreprocess pre;
	NnGraph *graph, *folded;

	if (arch == NULL)
		die(label, trouble.text);
	options.height = options.width = 224;
	options.head = ARCH_HASH;
	options.outputs = info.bits;
	options.seed = 1;
	for (int c = 0; c < 3; c++)
	{
		options.mean[c] = 0.5f;
		options.std[c] = 0.25f;
	}
	pre = arch_preprocess(arch, &options);
	info.width = pre.width;
	info.height = pre.height;
	info.resize = pre.resize;
	info.area_filter = pre.filter == IMAGE_AREA;
	snprintf(info.architecture, sizeof(info.architecture), "%s", label);
	graph = arch_build(arch, &options, &trouble);
	if (graph == NULL)
		die(label, trouble.text);
	folded = nn_graph_fold_batchnorm(graph, &err);
	if (folded == NULL || !nn_model_write(path, &info, folded, NULL, &err))
		die(path, err.text);
	nn_graph_free(folded);
	nn_graph_free(graph);
}

/* -------------------------------------------------------------------- files */

static File
read_file(const char *path)
{
	FILE *stream = fopen(path, "rb");
	File file;
	long size;

	if (stream == NULL || fseek(stream, 0, SEEK_END) != 0 || (size = ftell(stream)) < 0)
		die(path, "cannot be read");
	rewind(stream);
	file.size = (size_t) size;
	file.data = take(file.size + 1);
	if (fread(file.data, 1, file.size, stream) != file.size)
		die(path, "cannot be read");
	fclose(stream);
	return file;
}

/* MANIFEST: a path a line. */
static void
read_files(Bench *b, const char *manifest)
{
	FILE *stream = fopen(manifest, "r");
	char path[4096];

	if (stream == NULL)
		die(manifest, "cannot be read");
	while (fgets(path, sizeof(path), stream))
	{
		path[strcspn(path, "\n")] = '\0';
		b->file = realloc(b->file, (b->nfiles + 1) * sizeof(File));
		if (b->file == NULL)
			die("memory", "there is none left");
		b->file[b->nfiles++] = read_file(path);
	}
	fclose(stream);
	if (b->nfiles == 0)
		die(manifest, "names no pictures");
}

static NnStage
make_stage(const Bench *b)
{
	int bits = b->model->info.bits;

	return (NnStage){.images = take(b->batch * b->image_bytes),
					 .codes = take(b->batch * hamming_bytes(bits)),
					 .logits = take(b->batch * bits * sizeof(float)),
					 .doubts = take(b->batch * sizeof(uint32_t))};
}

static void
open_bench(Bench *b, const char *path, const char *device, int batch, int threads)
{
	NnError err = {""};
	const NnModelInfo *info;

	b->model = nn_model_open(path, &err);
	if (b->model == NULL)
		die(path, err.text);
	info = &b->model->info;
	b->pre = (ImagePreprocess){.width = info->width,
							   .height = info->height,
							   .resize = info->resize,
							   .filter = info->area_filter ? IMAGE_AREA : IMAGE_BICUBIC};
	b->image_bytes = (size_t) info->width * info->height * 3;
	/* Beside this program there is no plug-in. */
	b->device = nn_device(device, "build/lib", &err);
	if (b->device == NULL)
		die(device, err.text);
	b->beside = device_has_stages(b->device);
	b->batch = batch;
	b->runner =
		runner_open(b->device, b->model,
					&(NnServing){.max_batch = batch,
								 .threads = threads,
								 .precision = device_precision(b->device, PRECISION_AUTO),
								 .thresholds = b->model->thresholds,
								 .graphs = true},
					&err);
	b->pool = nn_pool_new(threads);
	if (b->runner == NULL || b->pool == NULL)
		die(path, b->runner ? "no threads" : err.text);
	for (int k = 0; k < 2; k++)
		b->stage[k] = b->beside ? *runner_stage(b->runner, k) : make_stage(b);
}

static void
close_bench(Bench *b)
{
	for (int k = 0; k < 2 && !b->beside; k++)
	{
		free(b->stage[k].images);
		free(b->stage[k].codes);
		free(b->stage[k].logits);
		free(b->stage[k].doubts);
	}
	runner_close(b->runner);
	nn_pool_free(b->pool);
	nn_model_close(b->model);
	for (int i = 0; i < b->nfiles; i++)
		free(b->file[i].data);
	free(b->file);
}

/* ------------------------------------------------------------------ encoding */

static void
decode(Bench *b, int i, uint8_t *pixels)
{
	const File *file = &b->file[i % b->nfiles];
	ImageError err = {""};

	if (!image_from_jpeg(file->data, file->size, &b->pre, &image_default_limits, pixels,
						 &err))
		die("a picture", err.text);
}

/* Codes of the n decoded pictures in stage k: begin, and be done. */
static void
begin(Bench *b, int k, int n)
{
	NnError err = {""};

	if (b->beside && !runner_submit(b->runner, k, n, false, &err))
		die(b->device->name, err.text);
}

static void
end(Bench *b, int k, int n)
{
	NnError err = {""};

	if (b->beside ? !runner_wait(b->runner, k, &err)
				  : !runner_run(b->runner, &b->stage[k], n, &err))
		die(b->device->name, err.text);
}

typedef struct Decoding
{
	Bench *bench;
	int first; /* number of the batch's first picture */
	atomic_int next;
	uint8_t *pixels;
} Decoding;

/* Pictures differ, so each thread takes the next; the range is not looked at. */
static void
decode_some(void *arg, int begin, int end, int thread)
{
	Decoding *d = arg;
	int64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	int i;

	(void) begin;
	(void) end;
	(void) thread;
	while ((i = atomic_fetch_add(&d->next, 1)) < d->bench->batch)
		decode(d->bench, d->first + i, d->pixels + (size_t) i * d->bench->image_bytes);
	d->bench->decode_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
}

/* The next batch into stage k. */
static void
decode_batch(Bench *b, int k, int first)
{
	Decoding d = {.bench = b, .first = first, .pixels = b->stage[k].images};

	nn_parallel(b->pool, nn_pool_threads(b->pool), decode_some, &d);
}

static void
batches(Bench *b, double seconds)
{
	int64_t start = 0, cpu = 0, wall = 0;
	int runs = -1; /* one to warm up */
	int first = 0;

	decode_batch(b, 0, first);
	for (int k = 0; runs < 1 || (double) wall < seconds * 1e9; k ^= 1)
	{
		if (runs++ == 0)
		{
			b->decode_ns = 0;
			start = clock_ns(CLOCK_MONOTONIC);
			cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
		}
		begin(b, k, b->batch);
		decode_batch(b, k ^ 1, first += b->batch);
		end(b, k, b->batch);
		wall = clock_ns(CLOCK_MONOTONIC) - start;
	}
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;

	double images = (double) runs * b->batch;

	printf("%.3f %.4f %.4f\n", images / ((double) wall / 1e9),
		   (double) cpu / 1e6 / images, (double) b->decode_ns / 1e6 / images);
}

static void
alone(Bench *b, double seconds)
{
	int64_t start = 0;

	for (int i = -3;; i++)
	{
		int64_t began = clock_ns(CLOCK_MONOTONIC);

		if (i == 0)
			start = began;
		if (i > 0 && (double) (began - start) > seconds * 1e9)
			break;
		decode(b, i < 0 ? 0 : i, b->stage[0].images);
		begin(b, 0, 1);
		end(b, 0, 1);
		if (i >= 0)
			printf("%.4f\n", (double) (clock_ns(CLOCK_MONOTONIC) - began) / 1e6);
	}
}

/* Two batches are under way where the device is beside the CPU. */
static void
computing(Bench *b, double seconds)
{
	int64_t start = 0, wall;
	int runs = -3; /* to warm up */

	for (int k = 0; k < 2; k++)
	{
		for (size_t i = 0; i < b->batch * b->image_bytes; i++)
			b->stage[k].images[i] = (uint8_t) ((i + k) * 2654435761u >> 24);
	}
	begin(b, 0, b->batch);
	for (int k = 0;; k ^= 1)
	{
		if (runs++ == 0)
			start = clock_ns(CLOCK_MONOTONIC);
		begin(b, k ^ 1, b->batch);
		end(b, k, b->batch);
		wall = clock_ns(CLOCK_MONOTONIC) - start;
		if (runs > 0 && (double) wall > seconds * 1e9)
		{
			end(b, k ^ 1, b->batch);
			break;
		}
	}
	printf("%.3f %s\n", (double) runs * b->batch / ((double) wall / 1e9),
		   precision_name(device_precision(b->device, PRECISION_AUTO)));
}

int
main(int argc, char **argv)
{
	Bench b = {0};
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "model") == 0 && argc == 4)
	{
		write_model(argv[2], argv[3]);
		return 0;
	}
	if (strcmp(what, "batches") == 0 && argc == 8)
	{
		read_files(&b, argv[3]);
		open_bench(&b, argv[2], argv[7], atoi(argv[4]), atoi(argv[5]));
		batches(&b, atof(argv[6]));
	}
	else if (strcmp(what, "alone") == 0 && argc == 7)
	{
		read_files(&b, argv[3]);
		open_bench(&b, argv[2], argv[6], 1, atoi(argv[4]));
		alone(&b, atof(argv[5]));
	}
	else if (strcmp(what, "computing") == 0 && argc == 7)
	{
		open_bench(&b, argv[2], argv[6], atoi(argv[3]), atoi(argv[4]));
		computing(&b, atof(argv[5]));
	}
	else
		die("usage", "the head of bench/encode.c says what it takes");
	close_bench(&b);
	return 0;
}
