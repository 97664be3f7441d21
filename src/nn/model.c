/*
 * model.c
 *	  Opening and describing model files.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nn/model.h"
#include "nn/model_graph.h"
#include "nn/safetensors.h"
#include "nn/work.h"

#define MAX_BITS 4096
#define MAX_SIDE 4096 /* what image_prepare takes, for the resize too */

/*
 * Steps of one picture (work.h).  ViT-H/14 takes six tenths of it, ResNet-50 a sixtieth;
 * on one core it is some ten seconds.
 */
#define MAX_WORK 274877906944.0 /* 2^38 */

static const char *
required(const NnSafetensors *st, const char *key, NnError *err)
{
	const char *text = nn_safetensors_metadata(st, key);

	if (text == NULL)
		nn_fail(err, "the header has no metadata \"%s\"", key);
	return text;
}

static bool
check_version(const NnSafetensors *st, NnError *err)
{
	const char *version = nn_safetensors_metadata(st, NN_KEY_VERSION);

	if (version == NULL)
		return nn_fail(err, "the header has no metadata \"" NN_KEY_VERSION
							"\": a safetensors file, but not a deephash model");
	if (strcmp(version, NN_MODEL_VERSION) != 0)
		return nn_fail(
			err, "model format \"%.16s\"; this version reads \"" NN_MODEL_VERSION "\"",
			version);
	return true;
}

static bool
read_preprocess(const NnSafetensors *st, NnModelInfo *info, NnError *err)
{
	const char *text = required(st, NN_KEY_PREPROCESS, err), *filter;
	json_t *object = text ? nn_json_object(text, NN_KEY_PREPROCESS, err) : NULL;
	bool ok = object != NULL &&
			  nn_json_int(object, "width", 1, MAX_SIDE, &info->width, err) &&
			  nn_json_int(object, "height", 1, MAX_SIDE, &info->height, err) &&
			  nn_json_int(object, "resize", 0, MAX_SIDE, &info->resize, err);

	if (ok)
	{
		filter = json_string_value(json_object_get(object, "filter"));
		info->area_filter = filter != NULL && strcmp(filter, "area") == 0;
		if (filter == NULL || (!info->area_filter && strcmp(filter, "bicubic") != 0))
			ok = nn_fail(err,
						 "preprocess: the filter is neither \"area\" nor \"bicubic\"");
		else if (json_object_size(object) != 4)
			ok = nn_fail(err, "preprocess: something else than width, height, resize and "
							  "filter");
		else if (info->resize != 0 &&
				 (info->resize < info->width || info->resize < info->height))
			ok = nn_fail(err,
						 "preprocess: a short side of %d does not hold a crop of %d x %d",
						 info->resize, info->width, info->height);
	}
	json_decref(object);
	return ok;
}

/* Exactly the text of a whole number, without sign, blanks or leading zeros. */
static bool
read_bits(const NnSafetensors *st, NnModelInfo *info, NnError *err)
{
	const char *text = required(st, NN_KEY_BITS, err);
	size_t length = text ? strlen(text) : 0;

	if (text == NULL)
		return false;
	info->bits = 0;
	for (size_t i = 0; i < length && length <= 4; i++)
		if (text[i] < '0' + (i == 0) || text[i] > '9')
			length = 0;
		else
			info->bits = info->bits * 10 + (text[i] - '0');
	if (length < 1 || length > 4 || info->bits > MAX_BITS)
		return nn_fail(err, "bits \"%.16s\" is not a whole number from 1 to %d", text,
					   MAX_BITS);
	return true;
}

static bool
keep_object(const NnSafetensors *st, const char *key, char **kept, NnError *err)
{
	const char *text = nn_safetensors_metadata(st, key);
	json_t *object;

	if (text == NULL)
		return true;
	object = nn_json_object(text, key, err);
	if (object == NULL)
		return false;
	json_decref(object);
	*kept = strdup(text);
	return *kept != NULL || nn_fail(err, "out of memory");
}

static bool
read_info(const NnSafetensors *st, NnModelInfo *info, NnError *err)
{
	const char *architecture = required(st, NN_KEY_ARCHITECTURE, err);

	if (architecture == NULL)
		return false;
	if (!nn_name_ok(architecture) || strlen(architecture) >= sizeof(info->architecture))
		return nn_fail(err,
					   "the architecture's name is empty, longer than %zu bytes or holds "
					   "control characters",
					   sizeof(info->architecture) - 1);
	strcpy(info->architecture, architecture);
	return read_bits(st, info, err) && read_preprocess(st, info, err) &&
		   keep_object(st, NN_KEY_PROVENANCE, &info->provenance, err) &&
		   keep_object(st, NN_KEY_METRICS, &info->metrics, err);
}

static bool
shape_matches(const NnTensor *tensor, const NnShape *shape)
{
	if (tensor->ndim != shape->ndim)
		return false;
	for (int i = 0; i < shape->ndim; i++)
		if (tensor->dim[i] != shape->dim[i])
			return false;
	return true;
}

static bool
all_finite(const NnTensor *tensor, NnError *err)
{
	for (size_t i = 0; i < nn_tensor_values(tensor); i++)
		if (!isfinite(tensor->data[i]))
			return nn_fail(err, "tensor \"%s\": value %zu is not finite", tensor->name,
						   i);
	return true;
}

/* A variance below zero would make NaNs of good pictures. */
static bool
check_variance(const NnGraph *g, NnError *err)
{
	for (int i = 0; i < g->nnodes; i++)
	{
		const NnParam *var;

		if (g->node[i].kind != NN_BATCHNORM)
			continue;
		var = &g->param[g->node[i].param[3]];
		for (size_t k = 0; k < nn_shape_size(&var->shape); k++)
			if (var->data[k] < 0)
				return nn_fail(err, "tensor \"%s\": variance %zu is negative", var->name,
							   k);
	}
	return true;
}

/* The weights are used where they lie: floats alone, so all at multiples of 4. */
static bool
check_tensors(const NnSafetensors *st, NnError *err)
{
	if (st->header_size % 8 != 0)
		return nn_fail(err,
					   "the header's length %zu is not a multiple of 8: the data would "
					   "not be aligned",
					   st->header_size);
	for (int i = 0; i < st->ntensors; i++)
		if (st->tensor[i].dtype != NN_DTYPE_F32)
			return nn_fail(err, "tensor \"%s\" is %s; the tensors of a model are F32",
						   st->tensor[i].name, nn_dtype_name(st->tensor[i].dtype));
	return true;
}

/* Give each parameter its tensor; no tensor may be left over. */
static bool
bind_tensors(const NnSafetensors *st, NnModel *model, NnError *err)
{
	NnGraph *g = &model->graph;
	const char *thresholds = nn_safetensors_metadata(st, NN_KEY_THRESHOLDS);
	int used = 0;

	for (int i = 0; i < g->nparams; i++)
	{
		NnParam *param = &g->param[i];
		const NnTensor *tensor = nn_safetensors_find(st, param->name);
		char wanted[64];

		if (tensor == NULL)
			return nn_fail(err,
						   "the graph wants a tensor \"%s\", which is not in the file",
						   param->name);
		if (!shape_matches(tensor, &param->shape))
			return nn_fail(err, "tensor \"%s\" has not the shape %s that the graph wants",
						   param->name,
						   nn_shape_text(&param->shape, wanted, sizeof(wanted)));
		if (!all_finite(tensor, err))
			return false;
		param->data = (float *) tensor->data;
		used++;
	}
	if (thresholds != NULL)
	{
		const NnTensor *tensor = nn_safetensors_find(st, thresholds);

		if (tensor == NULL || nn_graph_find_param(g, thresholds) >= 0)
			return nn_fail(err, "thresholds: there is no tensor \"%.64s\" of their own",
						   thresholds);
		if (tensor->ndim != 1 || tensor->dim[0] != model->info.bits)
			return nn_fail(err, "thresholds: tensor \"%s\" does not hold %d values",
						   tensor->name, model->info.bits);
		if (!all_finite(tensor, err))
			return false;
		model->thresholds = tensor->data;
		used++;
	}
	for (int i = 0; used != st->ntensors && i < st->ntensors; i++)
		if (nn_graph_find_param(g, st->tensor[i].name) < 0 &&
			(thresholds == NULL || strcmp(thresholds, st->tensor[i].name) != 0))
			return nn_fail(err, "tensor \"%s\" belongs to no node of the graph",
						   st->tensor[i].name);
	return check_variance(g, err);
}

static bool
check_ends(const NnModel *model, NnError *err)
{
	const NnShape *in = &model->graph.node[0].shape;
	const NnShape *out = &nn_graph_output(&model->graph)->shape;
	char text[64];

	if (in->dim[0] != model->info.height || in->dim[1] != model->info.width)
		return nn_fail(err,
					   "preprocessing gives %d x %d pictures, but the network takes "
					   "%d x %d (width x height)",
					   model->info.width, model->info.height, in->dim[1], in->dim[0]);
	if (out->ndim != 1 || out->dim[0] != model->info.bits)
		return nn_fail(err, "the last node gives %s values, not %d bits",
					   nn_shape_text(out, text, sizeof(text)), model->info.bits);
	return true;
}

/* A small file could otherwise describe a network that no machine can run. */
static bool
check_work(const NnGraph *g, NnError *err)
{
	size_t sum = 0;
	double work = 0;

	for (int i = 0; i < g->nnodes; i++)
	{
		work += nn_node_work(g, &g->node[i]);
		if (work > MAX_WORK)
			return nn_fail(err,
						   "the first %d nodes alone take %.3g billion steps an image "
						   "(limit %.0f billion)",
						   i + 1, work / 1e9, MAX_WORK / 1e9);
		sum += nn_shape_size(&g->node[i].shape);
		if (sum > NN_MAX_ELEMENTS)
			return nn_fail(err,
						   "the first %d nodes alone make more than %zu values an image",
						   i + 1, NN_MAX_ELEMENTS);
	}
	return true;
}

static bool
build(const NnSafetensors *st, NnModel *model, NnError *err)
{
	const char *graph;

	if (!check_tensors(st, err) || !check_version(st, err) ||
		!read_info(st, &model->info, err))
		return false;
	graph = required(st, NN_KEY_GRAPH, err);
	model->graph.borrows_data = true;
	return graph != NULL && nn_graph_from_json(graph, &model->graph, err) &&
		   check_work(&model->graph, err) && check_ends(model, err) &&
		   bind_tensors(st, model, err);
}

NnModel *
nn_model_open_fd(int fd, NnError *err)
{
	NnSafetensors st;
	NnModel *model = calloc(1, sizeof(*model));

	if (model == NULL)
	{
		nn_fail(err, "out of memory");
		return NULL;
	}
	if (!nn_safetensors_open_fd(fd, &st, err))
	{
		free(model);
		return NULL;
	}
	if (!build(&st, model, err))
	{
		nn_model_close(model);
		nn_safetensors_close(&st);
		return NULL;
	}
	/* the mapping goes over to the model; the directory of tensors is done with */
	model->map = st.map;
	model->map_size = st.map_size;
	st.map = NULL;
	nn_safetensors_close(&st);
	return model;
}

NnModel *
nn_model_open(const char *path, NnError *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	NnModel *model;
	NnError why;

	if (fd < 0)
	{
		nn_fail(err, "could not open \"%s\": %s", path, strerror(errno));
		return NULL;
	}
	model = nn_model_open_fd(fd, &why);
	if (model == NULL)
		nn_fail(err, "\"%.200s\": %.300s", path, why.text);
	close(fd);
	return model;
}

void
nn_model_close(NnModel *model)
{
	if (model == NULL)
		return;
	nn_graph_clear(&model->graph);
	free(model->info.provenance);
	free(model->info.metrics);
	if (model->map != NULL)
		munmap(model->map, model->map_size);
	free(model);
}

char *
nn_model_describe(const NnModel *model)
{
	const NnModelInfo *info = &model->info;
	json_t *object, *provenance, *metrics;
	char *text;

	provenance = info->provenance ? json_loads(info->provenance, 0, NULL) : json_object();
	metrics = info->metrics ? json_loads(info->metrics, 0, NULL) : json_object();
	object = json_pack(
		"{s:s, s:i, s:s, s:{s:i, s:i, s:i, s:s}, s:i, s:I, s:b, s:o, s:o}", "format",
		NN_MODEL_VERSION, "bits", info->bits, "architecture", info->architecture,
		"preprocess", "width", info->width, "height", info->height, "resize",
		info->resize, "filter", info->area_filter ? "area" : "bicubic", "nodes",
		model->graph.nnodes, "weights", (json_int_t) nn_graph_weights(&model->graph),
		"has_thresholds", model->thresholds != NULL, "provenance", provenance, "metrics",
		metrics);
	text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	return text;
}
