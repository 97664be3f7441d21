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

	return (in->dim[0] == ds->height && in->dim[1] == ds->width) ||
		   train_fail(err, "the pictures are %dx%d, the network wants %dx%d", ds->width,
					  ds->height, in->dim[1], in->dim[0]);
}

float *
codes_logits(NnGraph *graph, const Dataset *ds, NnPool *pool, TrainError *err)
{
	size_t bits = nn_shape_size(&nn_graph_output(graph)->shape);
	size_t picture = (size_t) ds->width * ds->height * 3;
	int batch = batch_of(graph);
	Tape *tape;
	float *logits;

	if (!pictures_fit(graph, ds, err))
		return NULL;
	tape = tape_new(graph, batch, pool, false, err);
	if (!tape)
		return NULL;
	logits = malloc((ds->n ? ds->n : 1) * bits * sizeof(float));
	if (!logits)
		train_fail(err, "out of memory for the codes of %d pictures", ds->n);
	for (int i = 0; logits && i < ds->n; i += batch)
	{
		int n = ds->n - i < batch ? ds->n - i : batch;

		memcpy(logits + i * bits, tape_forward(tape, ds->rgb + i * picture, n, false, 0),
			   n * bits * sizeof(float));
	}
	tape_free(tape);
	return logits;
}

float *
codes_device_logits(const NnGraph *graph, const Dataset *ds, int threads, TrainError *err)
{
	size_t bits = nn_shape_size(&nn_graph_output(graph)->shape);
	size_t picture = (size_t) ds->width * ds->height * 3;
	int batch = batch_of(graph);
	float *logits = malloc((ds->n ? ds->n : 1) * bits * sizeof(float));
	NnError trouble = {""};
	NnNet *net;
	bool ok;

	if (!logits || !pictures_fit(graph, ds, err))
	{
		if (!logits)
			train_fail(err, "out of memory for the codes of %d pictures", ds->n);
		free(logits);
		return NULL;
	}
	net = nn_cpu_device.load(graph, batch, threads, &trouble);
	ok = net != NULL;
	for (int i = 0; ok && i < ds->n; i += batch)
		ok = nn_cpu_device.run(net, ds->rgb + i * picture,
							   ds->n - i < batch ? ds->n - i : batch, logits + i * bits,
							   &trouble);
	if (net)
		nn_cpu_device.unload(net);
	if (!ok)
	{
		train_fail(err, "%.500s", trouble.text);
		free(logits);
		return NULL;
	}
	return logits;
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
