/*
 * model_write.c
 *	  Writing model files, whole or not at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nn/model.h"
#include "nn/model_graph.h"
#include "nn/safetensors.h"

#define THRESHOLDS_TENSOR "thresholds"

/* Takes value over.  False where it is NULL: not UTF-8, or out of memory. */
static bool
set_json(json_t *metadata, const char *key, json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT);
	bool ok = text && json_object_set_new(metadata, key, json_string(text)) == 0;

	free(text);
	json_decref(value);
	return ok;
}

static bool
set_text(json_t *metadata, const char *key, const char *text)
{
	return text == NULL || json_object_set_new(metadata, key, json_string(text)) == 0;
}

static json_t *
preprocess_of(const NnModelInfo *info)
{
	return json_pack("{s:i, s:i, s:i, s:s}", "width", info->width, "height", info->height,
					 "resize", info->resize, "filter",
					 info->area_filter ? "area" : "bicubic");
}

static json_t *
metadata_of(const NnModelInfo *info, const NnGraph *graph, bool thresholds)
{
	json_t *metadata = json_object();
	char bits[16];

	snprintf(bits, sizeof(bits), "%d", info->bits);
	if (set_text(metadata, NN_KEY_VERSION, NN_MODEL_VERSION) &&
		set_text(metadata, NN_KEY_ARCHITECTURE, info->architecture) &&
		set_text(metadata, NN_KEY_BITS, bits) &&
		set_json(metadata, NN_KEY_PREPROCESS, preprocess_of(info)) &&
		set_json(metadata, NN_KEY_GRAPH, nn_graph_to_json(graph)) &&
		set_text(metadata, NN_KEY_THRESHOLDS, thresholds ? THRESHOLDS_TENSOR : NULL) &&
		set_text(metadata, NN_KEY_PROVENANCE, info->provenance) &&
		set_text(metadata, NN_KEY_METRICS, info->metrics))
		return metadata;
	json_decref(metadata);
	return NULL;
}

static void
add_tensor(json_t *root, const char *name, const NnShape *shape, size_t *at)
{
	json_t *dims = json_array();
	size_t end = *at + nn_shape_size(shape) * sizeof(float);

	for (int i = 0; i < shape->ndim; i++)
		json_array_append_new(dims, json_integer(shape->dim[i]));
	json_object_set_new(root, name,
						json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", dims,
								  "data_offsets", (json_int_t) *at, (json_int_t) end));
	*at = end;
}

/* The header's text, padded so that the data starts at a multiple of 8; free it. */
static char *
header_of(const NnModelInfo *info, const NnGraph *graph, bool thresholds, size_t *length)
{
	json_t *root = json_object();
	NnShape shape = {1, {info->bits, 0, 0, 0}};
	size_t at = 0, padded;
	char *text, *header;

	if (json_object_set_new(root, "__metadata__", metadata_of(info, graph, thresholds)) !=
		0)
	{
		json_decref(root);
		return NULL;
	}
	for (int i = 0; i < graph->nparams; i++)
		add_tensor(root, graph->param[i].name, &graph->param[i].shape, &at);
	if (thresholds)
		add_tensor(root, THRESHOLDS_TENSOR, &shape, &at);
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (text == NULL)
		return NULL;
	*length = strlen(text);
	padded = (*length + 7) & ~(size_t) 7;
	header = malloc(padded + 1);
	if (header != NULL)
		snprintf(header, padded + 1, "%-*s", (int) padded, text);
	*length = padded;
	free(text);
	return header;
}

static bool
put(int fd, const void *data, size_t size, NnError *err)
{
	const char *from = data;

	while (size > 0)
	{
		ssize_t done = write(fd, from, size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return nn_fail(err, "could not write the model: %s", strerror(errno));
		from += done;
		size -= (size_t) done;
	}
	return true;
}

static bool
write_all(int fd, const NnModelInfo *info, const NnGraph *graph, const float *thresholds,
		  NnError *err)
{
	size_t length = 0;
	char *header = header_of(info, graph, thresholds != NULL, &length);
	unsigned char prefix[8];
	bool ok = header != NULL;

	if (!ok)
		return nn_fail(err,
					   "could not make the model's header: a text is not UTF-8, or out "
					   "of memory");
	for (int i = 0; i < 8; i++)
		prefix[i] = (unsigned char) (length >> (8 * i));
	ok = put(fd, prefix, sizeof(prefix), err) && put(fd, header, length, err);
	free(header);
	for (int i = 0; ok && i < graph->nparams; i++)
		ok = put(fd, graph->param[i].data,
				 nn_shape_size(&graph->param[i].shape) * sizeof(float), err);
	if (ok && thresholds)
		ok = put(fd, thresholds, (size_t) info->bits * sizeof(float), err);
	if (ok && fsync(fd) != 0)
		ok = nn_fail(err, "could not sync the model: %s", strerror(errno));
	return ok;
}

static bool
sync_folder(const char *path, NnError *err)
{
	char copy[PATH_MAX];
	int fd;
	bool ok;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return nn_fail(err, "could not open the folder of \"%s\": %s", path,
					   strerror(errno));
	ok = fsync(fd) == 0 || errno == EINVAL ||
		 nn_fail(err, "could not sync the folder of \"%s\": %s", path, strerror(errno));
	close(fd);
	return ok;
}

/* What was written must be what the reader takes. */
static bool
read_back(const char *path, NnError *err)
{
	NnError why;
	NnModel *model = nn_model_open(path, &why);

	if (model == NULL)
		return nn_fail(err, "the model would not be readable: %.400s", why.text);
	nn_model_close(model);
	return true;
}

bool
nn_model_write(const char *path, const NnModelInfo *info, const NnGraph *graph,
			   const float *thresholds, NnError *err)
{
	char temporary[PATH_MAX];
	int fd;
	bool ok;

	if (!nn_graph_ok(graph, err))
		return false;
	if (snprintf(temporary, sizeof(temporary), "%s.%ld.tmp", path, (long) getpid()) >=
		PATH_MAX)
		return nn_fail(err, "the path of the model is too long");
	unlink(temporary); /* left by a program of the same number that was killed */
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return nn_fail(err, "could not create a file beside \"%s\": %s", path,
					   strerror(errno));
	ok = write_all(fd, info, graph, thresholds, err);
	if (close(fd) != 0 && ok)
		ok = nn_fail(err, "could not close the model: %s", strerror(errno));
	ok = ok && read_back(temporary, err);
	if (ok && rename(temporary, path) != 0)
		ok = nn_fail(err, "could not rename the model to \"%s\": %s", path,
					 strerror(errno));
	if (!ok)
		unlink(temporary);
	return ok && sync_folder(path, err);
}
