/*
 * cmd_eval.c
 *	  deephash-train eval
 */
#include "nn/model.h"
#include "training/command.h"
#include "training/run/codefile.h"
#include "training/run/export.h"
#include "training/run/judge.h"
#include "training/run/sets.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Request
{
	const char *model, *data, *protocol, *query_codes, *database_codes;
	double holdout;
	uint64_t seed;
	bool seed_given, holdout_given, json;
	int threads;
} Request;

static void
usage(void)
{
	char protocols[128];

	printf(
		"Judge a model, or codes from files, by exact retrieval metrics.\n\n"
		"Usage: deephash-train eval --model MODEL --data DATA [OPTION]...\n"
		"       deephash-train eval --query-codes FILE --database-codes FILE\n\n"
		"  --model FILE           the model\n"
		"  --data DATA            cifar10:DIR, folder:DIR or manifest:FILE\n"
		"  --protocol NAME        which pictures are queries and which the database:\n"
		"                         %s\n"
		"                         (as in training, where the model says so)\n"
		"  --holdout SHARE        of protocol split (as in training, or 0.1)\n"
		"  --seed N               of the draw (as in training, or 1)\n"
		"  --query-codes FILE     lines \"name<TAB>code<TAB>label[,label...]\", as\n"
		"  --database-codes FILE  encode --labels and COPY write them\n"
		"  --json                 print one JSON object instead of lines\n"
		"  --threads N            (one per CPU)\n"
		"  --help\n\n"
		"Equal distances are taken in the mean over all their orders, so the numbers do\n"
		"not depend on how rows are stored.\n",
		sets_protocols(protocols, sizeof(protocols)));
}

static bool
show(const RetrievalMetrics *m, const char *protocol, bool json, TrainError *err)
{
	char *text;

	if (json)
	{
		text = export_metrics(m, protocol);
		if (!text)
			return train_fail(err, "out of memory");
		puts(text);
		free(text);
	}
	else
		judge_print(m, protocol);
	if (fflush(stdout) != 0 || ferror(stdout))
		return train_fail(err, "cannot write the result: %s", strerror(errno));
	return true;
}

/* A setting by its key; models of before recipes had names without sections. */
static json_t *
setting(json_t *options, const char *section, const char *name)
{
	char key[64];
	json_t *value;

	snprintf(key, sizeof(key), "%s.%s", section, name);
	value = json_object_get(options, key);
	return value ? value : json_object_get(options, name);
}

/* What the model remembers of its training, for a fair choice of pictures. */
static void
recall(const NnModel *model, Request *r, char *protocol, size_t size)
{
	json_t *o =
		model->info.provenance ? json_loads(model->info.provenance, 0, NULL) : NULL;
	json_t *options = json_object_get(o, "options");
	const char *name = json_string_value(setting(options, "data", "protocol"));
	const json_t *holdout = setting(options, "data", "holdout");
	const char *seed = json_string_value(setting(options, "train", "seed"));

	if (!r->protocol)
	{
		snprintf(protocol, size, "%s", name ? name : sets_default_protocol(r->data));
		r->protocol = protocol;
	}
	if (!r->seed_given && seed)
		r->seed = strtoull(seed, NULL, 10);
	if (!r->holdout_given && json_is_number(holdout))
		r->holdout = json_number_value(holdout);
	if (!(r->holdout > 0 && r->holdout <= 0.9))
		r->holdout = 0.1;
	json_decref(o);
}

static bool
eval_model(Request *r, TrainError *err)
{
	NnError trouble;
	NnModel *model = nn_model_open(r->model, &trouble);
	ImagePreprocess pre;
	RetrievalMetrics m;
	char protocol[64];
	Sets sets = {0};
	bool ok;

	if (!model)
		return train_fail(err, "%.500s", trouble.text);
	recall(model, r, protocol, sizeof(protocol));
	pre =
		(ImagePreprocess){.width = model->info.width,
						  .height = model->info.height,
						  .resize = model->info.resize,
						  .filter = model->info.area_filter ? IMAGE_AREA : IMAGE_BICUBIC};
	ok = sets_open(&sets, r->data, r->protocol, r->holdout, r->seed, &pre, sets_memory(0),
				   r->threads, err);
	if (ok && !sets.query)
		ok = train_fail(err, "protocol \"%s\" has no queries to judge with", r->protocol);
	ok =
		ok && judge_network(&model->graph, model->thresholds, &sets, r->threads, &m, err);
	ok = ok && show(&m, r->protocol, r->json, err);
	sets_free(&sets);
	nn_model_close(model);
	return ok;
}

static bool
eval_codes(const Request *r, TrainError *err)
{
	RetrievalMetrics m;
	CodeSet query;
	CodeSet database;
	bool ok;

	if (!codefile_read_pair(r->query_codes, r->database_codes, &query, &database, err))
		return false;
	ok = judge_codes(&query, &database, r->threads, &m, err);
	ok = ok && show(&m, "codes", r->json, err);
	codefile_free(&query);
	codefile_free(&database);
	return ok;
}

static bool
set_option(void *arg, int option)
{
	Request *r = arg;

	switch (option)
	{
		case 'm':
			r->model = optarg;
			return true;
		case 'd':
			r->data = optarg;
			return true;
		case 'p':
			r->protocol = optarg;
			return true;
		case 'q':
			r->query_codes = optarg;
			return true;
		case 'D':
			r->database_codes = optarg;
			return true;
		case 'o':
			r->holdout_given = true;
			return command_double(optarg, 0.001, 0.9, &r->holdout);
		case 's':
			r->seed_given = true;
			return command_seed(optarg, &r->seed);
		case 'j':
			r->json = true;
			return true;
		default:
			return command_int(optarg, 1, 1024, &r->threads);
	}
}

int
cmd_eval(int argc, char **argv)
{
	static const struct option options[] = {
		{"model", required_argument, NULL, 'm'},
		{"data", required_argument, NULL, 'd'},
		{"protocol", required_argument, NULL, 'p'},
		{"query-codes", required_argument, NULL, 'q'},
		{"database-codes", required_argument, NULL, 'D'},
		{"holdout", required_argument, NULL, 'o'},
		{"seed", required_argument, NULL, 's'},
		{"json", no_argument, NULL, 'j'},
		{"threads", required_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	Request r = {.holdout = 0.1, .seed = 1, .threads = command_cpus()};
	TrainError err;
	int status;

	status = command_options("eval", argc, argv, options, usage, set_option, &r);
	if (status >= 0)
		return status;
	if (optind < argc)
		return command_usage("eval", "unexpected argument \"%s\"", argv[optind]);
	if (r.query_codes && r.database_codes && !r.model)
		return eval_codes(&r, &err) ? COMMAND_OK : command_failed("eval", &err);
	if (!r.model || !r.data || r.query_codes || r.database_codes)
		return command_usage("eval", "give --model and --data, or --query-codes and "
									 "--database-codes");
	return eval_model(&r, &err) ? COMMAND_OK : command_failed("eval", &err);
}
