/*
 * model.h
 *	  The model file: safetensors with deephash's metadata in its header
 *	  (doc/model-format.md).  The reader maps the file read-only and checks
 *	  every offset, shape, type and name before anything is used.
 */
#ifndef NN_MODEL_H
#define NN_MODEL_H

#include "nn/nn.h"

typedef struct NnModelInfo
{
	char architecture[64]; /* e.g. "speednet-32-128-128" */
	int bits;			   /* code length, 1 .. 4096: the last node's size */
	/* preprocessing; the meaning is that of ImagePreprocess in image/image.h */
	int width, height, resize;
	bool area_filter; /* false: bicubic */
	char *provenance; /* JSON object text: data, protocol, seed, losses, tool; may be NULL
					   */
	char *metrics;	  /* JSON object text; may be NULL */
} NnModelInfo;

typedef struct NnModel
{
	NnModelInfo info;
	NnGraph graph;			 /* parameters point into the mapping */
	const float *thresholds; /* info.bits values, or NULL for zeros */
	void *map;
	size_t map_size;
} NnModel;

extern NnModel *nn_model_open(const char *path, NnError *err);
extern NnModel *nn_model_open_fd(int fd, NnError *err); /* fd stays the caller's */
extern void nn_model_close(NnModel *model);

/* The metadata as one JSON object (malloc'ed), as `inspect` and SQL show it. */
extern char *nn_model_describe(const NnModel *model);

/*
 * Write a model: to a temporary name beside path, synced, then renamed, so that
 * path holds the old file or the whole new one.  Give it a network for inference
 * (nn_graph_fold_batchnorm); what was written is read back before the renaming.
 */
extern bool nn_model_write(const char *path, const NnModelInfo *info,
						   const NnGraph *graph, const float *thresholds, NnError *err);

#endif
