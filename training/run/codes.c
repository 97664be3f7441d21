/*
 * codes.c
 *	  Codes of whole data sets.
 */
#include "training/run/codes.h"

#include "hamming/hamming.h"
#include "nn/device.h"
#include "training/tape/tape.h"

#include <stdlib.h>
#include <string.h>

#define CODES_BATCH 256
#define CODES_VALUES ((size_t) 1 << 26) /* of one layer of a batch: 256 MB */

/* How many pictures at once: as many as keep the largest layer small. */
static int
batch_of(const NnGraph *g)
{
	size_t largest = 1;

	for (int i = 0; i < g->nnodes; i++)
	{
		size_t size = nn_shape_size(&g->node[i].shape);

		largest = size > largest ? size : largest;
	}
	largest = CODES_VALUES / largest;
	return largest < 1 ? 1 : largest < CODES_BATCH ? (int) largest : CODES_BATCH;
}

static bool
pictures_fit(const NnGraph *graph, const Dataset *ds, TrainError *err)
{
	const NnShape *in = &graph->node[0].shape;

	/* Larger ones, kept for crops in training, are cut to their centre. */
	return (in->dim[0] <= ds->height && in->dim[1] <= ds->width) ||
		   train_fail(err, "the pictures are %dx%d, the network wants %dx%d", ds->width,
					  ds->height, in->dim[1], in->dim[0]);
}

/* Pictures for a network, with the room that takes them if they do not lie ready. */
typedef struct Source
{
	const Dataset *ds;
	int width, height, threads;
	uint8_t *room;
} Source;

static bool
open_source(Source *s, const NnGraph *graph, const Dataset *ds, int batch, int threads,
			TrainError *err)
{
	const NnShape *in = &graph->node[0].shape;

	*s = (Source){ds, in->dim[1], in->dim[0], threads, NULL};
	if (!pictures_fit(graph, ds, err))
		return false;
	if (dataset_needs_room(ds, s->width, s->height))
	{
		s->room = malloc((size_t) batch * s->width * s->height * 3);
		if (!s->room)
			return train_fail(err, "out of memory for %d pictures", batch);
	}
	return true;
}

static const uint8_t *
pictures(const Source *s, int first, int n, TrainError *err)
{
	return dataset_gather(s->ds, first, n, s->width, s->height, s->threads, s->room, err);
}

float *
codes_logits(NnGraph *graph, const Dataset *ds, NnPool *pool, TrainError *err)
{
	size_t bits = nn_shape_size(&nn_graph_output(graph)->shape);
	int batch = batch_of(graph);
	Source from;
	Tape *tape = NULL;
	float *logits = NULL;
	bool ok = open_source(&from, graph, ds, batch, nn_pool_threads(pool), err);

	if (ok)
		tape = tape_new(graph, batch, pool, false, err);
	if (tape && !(logits = malloc((ds->n ? ds->n : 1) * bits * sizeof(float))))
		train_fail(err, "out of memory for the codes of %d pictures", ds->n);
	ok = logits != NULL;
	for (int i = 0; ok && i < ds->n; i += batch)
	{
		int n = ds->n - i < batch ? ds->n - i : batch;
		const uint8_t *images = pictures(&from, i, n, err);

		ok = images != NULL;
		if (ok)
			memcpy(logits + i * bits, tape_forward(tape, images, n, false, 0),
				   n * bits * sizeof(float));
	}
	tape_free(tape);
	free(from.room);
	if (ok)
		return logits;
	free(logits);
	return NULL;
}

float *
codes_device_logits(const NnGraph *graph, const Dataset *ds, int threads, TrainError *err)
{
	size_t bits = nn_shape_size(&nn_graph_output(graph)->shape);
	int batch = batch_of(graph);
	Source from;
	float *logits = NULL;
	NnError trouble = {""};
	NnNet *net = NULL;
	bool ok = open_source(&from, graph, ds, batch, threads, err);

	if (ok && !(logits = malloc((ds->n ? ds->n : 1) * bits * sizeof(float))))
		ok = train_fail(err, "out of memory for the codes of %d pictures", ds->n);
	if (ok && !(net = nn_cpu_device.load(graph, batch, threads, &trouble)))
		ok = train_fail(err, "%.500s", trouble.text);
	for (int i = 0; ok && i < ds->n; i += batch)
	{
		int n = ds->n - i < batch ? ds->n - i : batch;
		const uint8_t *images = pictures(&from, i, n, err);

		ok = images && (nn_cpu_device.run(net, images, n, logits + i * bits, &trouble) ||
						train_fail(err, "%.500s", trouble.text));
	}
	if (net)
		nn_cpu_device.unload(net);
	free(from.room);
	if (ok)
		return logits;
	free(logits);
	return NULL;
}

uint8_t *
codes_pack(const float *logits, const float *thresholds, int n, int bits, TrainError *err)
{
	size_t bytes = hamming_bytes(bits);
	uint8_t *codes = malloc((n ? n : 1) * bytes);

	if (!codes)
	{
		train_fail(err, "out of memory for %d codes", n);
		return NULL;
	}
	for (int i = 0; i < n; i++)
		hamming_pack(logits + (size_t) i * bits, thresholds, bits, codes + i * bytes);
	return codes;
}

CodeSet
codes_set(const Dataset *ds, const uint8_t *codes, int bits)
{
	return (CodeSet){
		.n = ds->n,
		.bits = bits,
		.codes = codes,
		.labels = ds->labels,
		.label_words = ds->label_words,
	};
}
