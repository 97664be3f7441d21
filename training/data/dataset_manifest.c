/*
 * dataset_manifest.c
 *	  A text file of "path<TAB>label[,label...]" lines.
 *
 * Paths are relative to the manifest's folder unless they begin with a slash.
 * Blank lines are passed over; a byte order mark and carriage returns, as some
 * editors leave them, do no harm.  Classes are numbered in the byte order of
 * their names, so the order of lines does not matter to a model.
 */
#include "training/data/dataset_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LABELS 1024 /* of one picture */

typedef struct Manifest
{
	const char *path;
	size_t folder_length; /* of its folder in path, slash included */
	PictureList list;
	NameList classes; /* in order of appearance while reading */
} Manifest;

/* Cut the labels at commas and number them; false with the line's number. */
static bool
parse_labels(Manifest *m, char *labels, int line, int *classes, int *n, TrainError *err)
{
	char *rest = labels;
	char *label;

	*n = 0;
	while ((label = strsep(&rest, ",")) != NULL)
	{
		if (*label == '\0')
			return train_fail(err, "%s, line %d: an empty label", m->path, line);
		if (*n == MAX_LABELS)
			return train_fail(err, "%s, line %d: more than %d labels", m->path, line,
							  MAX_LABELS);
		classes[*n] = name_list_add(&m->classes, label);
		if (classes[*n] < 0)
			return train_fail(err, "out of memory");
		if (m->classes.n > DATASET_MAX_CLASSES)
			return train_fail(err, "%s, line %d: more than %d different labels", m->path,
							  line, DATASET_MAX_CLASSES);
		++*n;
	}
	return true;
}

static bool
parse_line(Manifest *m, char *text, int line, TrainError *err)
{
	char *tab = strchr(text, '\t');
	int classes[MAX_LABELS];
	int n;
	char *path;
	bool ok;

	if (tab == NULL)
		return train_fail(err,
						  "%s, line %d: no tab; each line is a path, a tab and labels "
						  "separated by commas",
						  m->path, line);
	if (tab == text)
		return train_fail(err, "%s, line %d: the path is empty", m->path, line);
	*tab = '\0';
	if (strchr(tab + 1, '\t'))
		return train_fail(err, "%s, line %d: more than one tab", m->path, line);
	if (!parse_labels(m, tab + 1, line, classes, &n, err))
		return false;
	if (asprintf(&path, "%.*s%s", text[0] == '/' ? 0 : (int) m->folder_length, m->path,
				 text) < 0)
		return train_fail(err, "out of memory");
	ok = picture_list_add(&m->list, path, text, classes, n, err);
	free(path);
	return ok;
}

static bool
parse_file(Manifest *m, TrainError *err)
{
	FILE *file = fopen(m->path, "r");
	char *text = NULL;
	size_t room = 0;
	ssize_t length;
	bool ok = true;

	if (file == NULL)
		return train_fail(err, "cannot open the manifest \"%s\": %s", m->path,
						  strerror(errno));
	for (int line = 1; ok && (length = getline(&text, &room, file)) >= 0; line++)
	{
		char *start = text;

		if (strlen(text) != (size_t) length)
		{
			ok = train_fail(err, "%s, line %d: a zero byte; a manifest is plain text",
							m->path, line);
			break;
		}
		if (line == 1 && strncmp(text, "\xef\xbb\xbf", 3) == 0)
			start += 3;
		start[strcspn(start, "\r\n")] = '\0';
		if (*start)
			ok = parse_line(m, start, line, err);
	}
	if (ok && ferror(file))
		ok = train_fail(err, "cannot read the manifest \"%s\": %s", m->path,
						strerror(errno));
	free(text);
	fclose(file);
	return ok;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* Renumber the classes in the order of their names. */
static bool
sort_classes(Manifest *m, TrainError *err)
{
	int n = m->classes.n;
	char **sorted = malloc(((size_t) n + 1) * sizeof *sorted);
	int *number = malloc(((size_t) n + 1) * sizeof *number);
	bool ok = sorted && number;

	if (ok)
	{
		memcpy(sorted, m->classes.name, (size_t) n * sizeof *sorted);
		qsort(sorted, (size_t) n, sizeof *sorted, by_name);
		for (int c = 0; c < n; c++)
		{
			char **at =
				bsearch(&m->classes.name[c], sorted, (size_t) n, sizeof *sorted, by_name);

			number[c] = (int) (at - sorted);
		}
		memcpy(m->classes.name, sorted, (size_t) n * sizeof *sorted);
		for (int i = 0; i < m->list.n; i++)
			for (int k = 0; k < m->list.file[i].nclasses; k++)
				m->list.file[i].classes[k] = number[m->list.file[i].classes[k]];
	}
	else
		train_fail(err, "out of memory");
	free(sorted);
	free(number);
	return ok;
}

Dataset *
dataset_open_manifest(const char *place, const ImagePreprocess *pre, int64_t memory,
					  int threads, DatasetBadFn on_bad, TrainError *err)
{
	Manifest m = {.path = place};
	const char *slash = strrchr(place, '/');
	Dataset *ds = NULL;

	m.folder_length = slash ? (size_t) (slash - place) + 1 : 0;
	if (!parse_file(&m, err))
		goto done;
	if (m.list.n == 0)
		train_fail(err, "the manifest \"%s\" names no pictures", place);
	else if (m.classes.n == 1)
		train_fail(err,
				   "the manifest \"%s\" has only one label, \"%s\": at least two are "
				   "needed to learn a difference",
				   place, m.classes.name[0]);
	else if (sort_classes(&m, err))
		ds = dataset_decode(place, &m.list, m.classes.name, m.classes.n, pre, memory,
							threads, on_bad, err);

done:
	picture_list_free(&m.list);
	name_list_free(&m.classes);
	return ds;
}
