/*
 * export.c
 *	  From a trained network to a model file.
 */
#include "training/run/export.h"

#include "nn/model.h"
#include "training/run/network.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

NnGraph *
export_graph(Trainer *t, TrainError *err)
{
	NnError trouble;
	NnGraph *trained = trainer_network(t, err);
	NnGraph *folded = trained ? nn_graph_fold_batchnorm(trained, &trouble) : NULL;

	nn_graph_free(trained);
	if (trained && !folded)
		train_fail(err, "cannot fold the batch norms: %.400s", trouble.text);
	return folded;
}

/* Six significant digits are more than the sampling error leaves. */
static json_t *
number(double v)
{
	char text[32];

	snprintf(text, sizeof(text), "%.6g", v);
	return json_real(isfinite(v) ? strtod(text, NULL) : 0);
}

char *
export_metrics(const RetrievalMetrics *m, const char *protocol)
{
	json_t *o = json_object();
	char *text;

	json_object_set_new(o, "protocol", json_string(protocol));
	json_object_set_new(o, "queries", json_integer(m->nqueries));
	json_object_set_new(o, "database", json_integer(m->ndatabase));
	json_object_set_new(o, "map_all", number(m->map_all));
	json_object_set_new(o, "map_all_best", number(m->map_best));
	json_object_set_new(o, "map_all_worst", number(m->map_worst));
	for (int i = 0; i < m->nprecision; i++)
	{
		char name[32];

		snprintf(name, sizeof(name), "precision_at_%d", m->precision_n[i]);
		json_object_set_new(o, name, number(m->precision[i]));
	}
	json_object_set_new(o, "precision_radius_2", number(m->precision_radius2));
	json_object_set_new(o, "recall_radius_2", number(m->recall_radius2));
	json_object_set_new(o, "top_1", number(m->top1));
	json_object_set_new(o, "collision_shared", number(m->collision_shared));
	json_object_set_new(o, "collision_lost", number(m->collision_lost));
	json_object_set_new(o, "collision_pairs", number(m->collision_pairs));
	json_object_set_new(o, "bit_balance", number(m->bit_balance));
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

/* "folder:/home/me/photos" is nobody else's business: "folder:photos" says enough. */
static void
shorten_data(json_t *options)
{
	const char *data = json_string_value(json_object_get(options, "data.source"));
	const char *colon = data ? strchr(data, ':') : NULL;
	char text[1024];
	char path[1024];
	size_t n;

	if (!colon)
		return;
	snprintf(path, sizeof(path), "%s", colon + 1);
	n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		path[--n] = '\0';
	snprintf(text, sizeof(text), "%.*s:%s", (int) (colon - data), data,
			 strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
	json_object_set_new(options, "data.source", json_string(text));
}

static char *
provenance(const Trainer *t)
{
	json_t *o = json_object();
	char *options = train_options_write(&t->options);
	char when[32];
	time_t now = time(NULL);
	struct tm utc;
	char *text;

	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
	json_object_set_new(o, "tool", json_string("deephash-train"));
	json_object_set_new(o, "tool_version", json_string(DEEPHASH_VERSION));
	json_object_set_new(o, "finished", json_string(when));
	json_object_set_new(o, "pictures", json_integer(t->ds->n));
	json_object_set_new(o, "classes", json_integer(t->ds->nclasses));
	json_object_set_new(o, "steps", json_integer(t->step));
	json_object_set_new(o, "final_loss", number(t->last_loss));
	if (options)
	{
		json_t *object = json_loads(options, 0, NULL);

		shorten_data(object);
		json_object_set_new(o, "options", object);
	}
	text = json_dumps(o, JSON_COMPACT);
	free(options);
	json_decref(o);
	return text;
}

bool
export_model(const char *path, const Trainer *t, const NnGraph *folded,
			 const float *thresholds, const char *metrics, TrainError *err)
{
	const TrainOptions *o = &t->options;
	ImagePreprocess pre = network_preprocess(o);
	NnModelInfo info = {
		.bits = o->bits,
		.width = pre.width,
		.height = pre.height,
		.resize = pre.resize,
		.area_filter = pre.filter == IMAGE_AREA,
		.provenance = provenance(t),
		.metrics = (char *) metrics,
	};
	NnError trouble;
	bool ok;

	network_label(o, info.architecture, sizeof(info.architecture));
	ok = nn_model_write(path, &info, folded, thresholds, &trouble) ||
		 train_fail(err, "%.500s", trouble.text);
	free(info.provenance);
	return ok;
}
