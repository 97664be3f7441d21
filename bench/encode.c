/*
 * encode.c
 *	  The encoder without PostgreSQL: what a session's encoding is measured against.
 *
 *	encode model ARCHITECTURE FILE
 *	encode batches MODEL MANIFEST BATCH THREADS SECONDS DEVICE
 *	encode alone MODEL MANIFEST SECONDS DEVICE
 *	encode computing MODEL BATCH THREADS SECONDS DEVICE
 *
 * Model writes a network of 64 bits with random weights for pictures of 224 x 224.
 *
 * Batches decodes, resizes and encodes the files that MANIFEST names, over and over:
 *THREADS threads decode a batch, then the device computes it, on the CPU with as many
 *threads; other devices compute while the next batch is decoded.  Prints pictures a
 *second, CPU milliseconds a picture and how many of them decoding (and resizing) takes.
 *
 * Alone decodes and computes one picture at a time, in one thread, and prints each
 * picture's number in the manifest and milliseconds.
 *
 * Computing runs the network alone over full batches and prints pictures a second.
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
	NnNet *net;
	int batch;
	NnPool *pool; /* decodes */
	File *file;
	int nfiles;
	float *logits;
	uint8_t *codes;
	_Atomic int64_t decode_ns; /* CPU time of all decoding */
} Bench;

static void
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
	b->batch = batch;
	b->net = b->device->load(&b->model->graph, batch, threads, &err);
	b->pool = nn_pool_new(threads);
	if (b->net == NULL || b->pool == NULL)
		die(path, b->net ? "no threads" : err.text);
	b->logits = take((size_t) batch * info->bits * sizeof(float));
	b->codes = take((size_t) batch * hamming_bytes(info->bits));
}

static void
close_bench(Bench *b)
{
	b->device->unload(b->net);
	nn_pool_free(b->pool);
	nn_model_close(b->model);
	for (int i = 0; i < b->nfiles; i++)
		free(b->file[i].data);
	free(b->file);
	free(b->logits);
	free(b->codes);
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

/* Codes of n decoded pictures. */
static void
compute(Bench *b, const uint8_t *pixels, int n)
{
	const NnModelInfo *info = &b->model->info;
	NnError err = {""};

	if (!b->device->run(b->net, pixels, n, b->logits, &err))
		die(b->device->name, err.text);
	for (int i = 0; i < n; i++)
		hamming_pack(b->logits + (size_t) i * info->bits, b->model->thresholds,
					 info->bits, b->codes + i * hamming_bytes(info->bits));
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

static void *
decode_batch(void *arg)
{
	Decoding *d = arg;

	atomic_store(&d->next, 0);
	nn_parallel(d->bench->pool, nn_pool_threads(d->bench->pool), decode_some, d);
	return NULL;
}

/* Where the device is not the CPU, the next batch is decoded meanwhile. */
static void
one_batch(Bench *b, Decoding *now, Decoding *next)
{
	bool ahead = b->device != &nn_cpu_device;
	pthread_t thread;

	next->first = now->first + b->batch;
	if (ahead && pthread_create(&thread, NULL, decode_batch, next) != 0)
		die("decoding", "no thread");
	compute(b, now->pixels, b->batch);
	if (ahead)
		pthread_join(thread, NULL);
	else
		decode_batch(next);
}

static void
batches(Bench *b, double seconds)
{
	Decoding d[2];
	int64_t start = 0, cpu = 0, wall = 0;
	int runs = -1; /* one to warm up */

	for (int i = 0; i < 2; i++)
	{
		d[i].bench = b;
		d[i].first = 0;
		d[i].pixels = take(b->batch * b->image_bytes);
	}
	decode_batch(&d[0]);
	for (int turn = 0; runs < 1 || (double) wall < seconds * 1e9; turn ^= 1)
	{
		if (runs++ == 0)
		{
			b->decode_ns = 0;
			start = clock_ns(CLOCK_MONOTONIC);
			cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
		}
		one_batch(b, &d[turn], &d[!turn]);
		wall = clock_ns(CLOCK_MONOTONIC) - start;
	}
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;

	double images = (double) runs * b->batch;

	printf("%.3f %.4f %.4f\n", images / ((double) wall / 1e9),
		   (double) cpu / 1e6 / images, (double) b->decode_ns / 1e6 / images);
	free(d[0].pixels);
	free(d[1].pixels);
}

static void
alone(Bench *b, double seconds)
{
	uint8_t *pixels = take(b->image_bytes);
	int64_t start = 0;

	for (int i = -3;; i++)
	{
		int64_t began = clock_ns(CLOCK_MONOTONIC);

		if (i == 0)
			start = began;
		if (i > 0 && (double) (began - start) > seconds * 1e9)
			break;
		decode(b, i < 0 ? 0 : i, pixels);
		compute(b, pixels, 1);
		if (i >= 0)
			printf("%d %.4f\n", i % b->nfiles,
				   (double) (clock_ns(CLOCK_MONOTONIC) - began) / 1e6);
	}
	free(pixels);
}

static void
computing(Bench *b, double seconds)
{
	uint8_t *pixels = take(b->batch * b->image_bytes);
	int64_t start = 0, wall;
	int runs = -2; /* to warm up */

	for (size_t i = 0; i < b->batch * b->image_bytes; i++)
		pixels[i] = (uint8_t) (i * 2654435761u >> 24);
	do
	{
		if (runs++ == 0)
			start = clock_ns(CLOCK_MONOTONIC);
		compute(b, pixels, b->batch);
		wall = clock_ns(CLOCK_MONOTONIC) - start;
	} while (runs < 1 || (double) wall < seconds * 1e9);
	printf("%.3f\n", (double) runs * b->batch / ((double) wall / 1e9));
	free(pixels);
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
	else if (strcmp(what, "alone") == 0 && argc == 6)
	{
		read_files(&b, argv[3]);
		open_bench(&b, argv[2], argv[5], 1, 1);
		alone(&b, atof(argv[4]));
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
