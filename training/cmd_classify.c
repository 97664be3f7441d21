/*
 * cmd_classify.c
 *	  deephash-train classify
 */
#include "nn/model.h"
#include "training/command.h"
#include "training/data/dataset.h"
#include "training/metrics/ranks.h"
#include "training/run/codefile.h"
#include "training/run/codes.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOP 5

typedef struct Request
{
	const char *model, *data, *classes;
	bool list;
	int threads;
} Request;

static void
usage(void)
{
	puts("Let a classifier name the classes of labelled pictures, and count how often "
		 "the\n"
		 "right one is first, or among the first five.\n\n"
		 "Usage: deephash-train classify --model MODEL --data DATA [OPTION]...\n\n"
		 "  --model FILE    a model whose outputs are classes (import makes such)\n"
		 "  --data DATA     folder:DIR or manifest:FILE\n"
		 "  --classes FILE  line n, from 0, names output n; a label is the line's first\n"
		 "                  word or all of it.  Without it labels are output numbers.\n"
		 "  --list          a line for each picture: name, and the first five outputs\n"
		 "                  with their probabilities\n"
		 "  --threads N     (one per CPU)\n"
		 "  --help");
}

/* The lines of a file, n of them; NULL: err. */
static char **
read_lines(const char *path, int n, TrainError *err)
{
	FILE *f = fopen(path, "r");
	char **line = f ? calloc((size_t) n + 1, sizeof(*line)) : NULL;
	size_t room = 0;
	ssize_t length;
	int have = 0;

	if (!line)
	{
		train_fail(err, "cannot read \"%s\": %s", path, strerror(errno));
		if (f)
			fclose(f);
		return NULL;
	}
	while (have <= n && (room = 0, length = getline(&line[have], &room, f)) > 0)
	{
		line[have][strcspn(line[have], "\r\n")] = '\0';
		have++;
	}
	fclose(f);
	if (have == n)
	{
		free(line[n]);
		line[n] = NULL;
		return line;
	}
	train_fail(err, "\"%s\" has %s %d lines, but the model has %d outputs", path,
			   have > n ? "more than" : "only", have > n ? n : have, n);
	for (int i = 0; i <= n; i++)
		free(line[i]);
	free(line);
	return NULL;
}

static void
free_lines(char **line, int n)
{
	for (int i = 0; line && i < n; i++)
		free(line[i]);
	free(line);
}

/* The output that a label means; -1: none. */
static int
output_of(const char *label, char **line, int n)
{
	int number;

	if (!line)
		return command_int(label, 0, n - 1, &number) ? number : -1;
	for (int i = 0; i < n; i++)
	{
		size_t word = strcspn(line[i], " \t");

		if (strcmp(line[i], label) == 0 ||
			(strlen(label) == word && strncmp(line[i], label, word) == 0))
			return i;
	}
	return -1;
}

/* Output number of each class of ds (malloc'ed), or NULL. */
static int *
outputs_of(const Dataset *ds, char **line, int n, TrainError *err)
{
	int *output = malloc((size_t) ds->nclasses * sizeof(*output));

	for (int c = 0; output && c < ds->nclasses; c++)
	{
		output[c] = output_of(ds->class_name[c], line, n);
		if (output[c] >= 0)
			continue;
		if (line)
			train_fail(err, "no line of --classes is or begins with the label \"%.200s\"",
					   ds->class_name[c]);
		else
			train_fail(err,
					   "the label \"%.200s\" is not the number of an output, 0 to %d: "
					   "give --classes",
					   ds->class_name[c], n - 1);
		free(output);
		return NULL;
	}
	if (!output)
		train_fail(err, "out of memory");
	return output;
}

static void
list_picture(const Dataset *ds, int i, const float *logits, int n, char **line)
{
	int top[TOP];
	int k = ranks_top(logits, n, TOP, top);

	codefile_put_name(stdout, ds->source[i]);
	for (int j = 0; j < k; j++)
	{
		printf("\t%.3f ", ranks_probability(logits, n, top[j]));
		if (line)
			codefile_put_name(stdout, line[top[j]]);
		else
			printf("%d", top[j]);
	}
	putchar('\n');
}

static bool
count(const Dataset *ds, const float *logits, int n, const int *output, char **line,
	  bool list, TrainError *err)
{
	int judged = 0, first = 0, five = 0;

	for (int i = 0; i < ds->n; i++)
	{
		const float *row = logits + (size_t) i * n;
		int best = n;

		if (list)
			list_picture(ds, i, row, n, line);
		/* of several labels, the one that comes first */
		for (int c = 0; c < ds->nclasses; c++)
			if (ds->labels[(size_t) i * ds->label_words + c / 64] >> c % 64 & 1)
			{
				int rank = ranks_of(row, n, output[c]);

				best = rank < best ? rank : best;
			}
		judged += best < n;
		first += best < 1;
		five += best < TOP;
	}
	if (judged == 0)
		return train_fail(err, "no picture has a label");
	printf("pictures  %d\ntop-1     %.4f\ntop-5     %.4f\n", judged,
		   (double) first / judged, (double) five / judged);
	if (fflush(stdout) != 0 || ferror(stdout))
		return train_fail(err, "cannot write the result: %s", strerror(errno));
	return true;
}

static bool
classify(const Request *r, int *skipped, TrainError *err)
{
	NnError trouble;
	NnModel *model = nn_model_open(r->model, &trouble);
	ImagePreprocess pre;
	char **line = NULL;
	Dataset *ds = NULL;
	float *logits = NULL;
	int *output = NULL;
	int n;
	bool ok;

	if (!model)
		return train_fail(err, "%.500s", trouble.text);
	n = model->info.bits;
	pre =
		(ImagePreprocess){.width = model->info.width,
						  .height = model->info.height,
						  .resize = model->info.resize,
						  .filter = model->info.area_filter ? IMAGE_AREA : IMAGE_BICUBIC};
	ok = !r->classes || (line = read_lines(r->classes, n, err)) != NULL;
	ok = ok && (ds = dataset_open(r->data, &pre, r->threads, command_bad_picture, err));
	ok = ok && (output = outputs_of(ds, line, n, err)) != NULL;
	ok = ok && (logits = codes_device_logits(&model->graph, ds, r->threads, err)) != NULL;
	ok = ok && count(ds, logits, n, output, line, r->list, err);
	*skipped = ds ? ds->skipped : 0;
	free(output);
	free(logits);
	free_lines(line, n);
	dataset_free(ds);
	nn_model_close(model);
	return ok;
}

int
cmd_classify(int argc, char **argv)
{
	static const struct option options[] = {
		{"model", required_argument, NULL, 'm'},
		{"data", required_argument, NULL, 'd'},
		{"classes", required_argument, NULL, 'c'},
		{"list", no_argument, NULL, 'l'},
		{"threads", required_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	Request r = {.threads = command_cpus()};
	TrainError err;
	int skipped = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option)
		{
			case 'm':
				r.model = optarg;
				break;
			case 'd':
				r.data = optarg;
				break;
			case 'c':
				r.classes = optarg;
				break;
			case 'l':
				r.list = true;
				break;
			case 't':
				if (!command_int(optarg, 1, 1024, &r.threads))
					return command_refused("classify", "threads", optarg);
				break;
			case 'h':
				usage();
				return COMMAND_OK;
			default:
				return command_usage("classify", "see the message above");
		}
	if (optind < argc)
		return command_usage("classify", "unexpected argument \"%s\"", argv[optind]);
	if (!r.model || !r.data)
		return command_usage("classify", "give --model and --data");
	if (!classify(&r, &skipped, &err))
		return command_failed("classify", &err);
	return skipped ? COMMAND_FAILED : COMMAND_OK;
}
