/*
 * report_tsv.c
 *	  The rows of a contact sheet from a text file, such as psql writes.
 */
#include "training/report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PICTURES 100000 /* of one sheet; a browser gives up earlier */

/* What report_read_tsv allocates is released by report_free, also half way. */
static void
free_picture(ReportPicture *p)
{
	free((char *) p->path);
	free((char *) p->name);
	free((char *) p->caption);
}

void
report_free(ContactSheet *sheet)
{
	for (int r = 0; r < sheet->nrows; r++)
	{
		free_picture(&sheet->row[r].query);
		for (int i = 0; i < sheet->row[r].nresults; i++)
			free_picture(&sheet->row[r].result[i].picture);
		free(sheet->row[r].result);
	}
	free(sheet->row);
	sheet->row = NULL;
	sheet->nrows = 0;
}

/* The name of the folder that a path lies in; NULL where it names none. */
static char *
folder_name(const char *path)
{
	const char *end = strrchr(path, '/');
	const char *start = end;

	if (end == NULL || end == path)
		return NULL;
	while (start > path && start[-1] != '/')
		start--;
	return strndup(start, (size_t) (end - start));
}

static bool
fill_picture(ReportPicture *p, const char *text, const char *root)
{
	char *path;

	*p = (ReportPicture){0};
	if (root == NULL || text[0] == '/')
		path = strdup(text);
	else if (asprintf(&path, "%s/%s", root, text) < 0)
		path = NULL;
	p->path = path;
	p->name = strdup(text);
	p->caption = folder_name(text);
	return p->path && p->name;
}

/* Make room at powers of two. */
static void *
grown(void *array, int n, size_t size)
{
	if (n & (n - 1))
		return array;
	return realloc(array, (n ? 2 * (size_t) n : 1) * size);
}

static bool
add_row(ContactSheet *sheet, const char *query, const char *root)
{
	ReportRow *row = grown(sheet->row, sheet->nrows, sizeof *row);

	if (row == NULL)
		return false;
	sheet->row = row;
	row = &sheet->row[sheet->nrows++];
	*row = (ReportRow){0};
	return fill_picture(&row->query, query, root);
}

static bool
add_result(ReportRow *row, const char *text, const char *root, int rank, double distance,
		   bool relevant)
{
	ReportResult *r = grown(row->result, row->nresults, sizeof *r);

	if (r == NULL)
		return false;
	row->result = r;
	r = &row->result[row->nresults++];
	*r = (ReportResult){.rank = rank, .distance = distance, .relevant = relevant};
	return fill_picture(&r->picture, text, root);
}

static bool
parse_line(ContactSheet *sheet, const char *file, int line, char *text, const char *root,
		   TrainError *err)
{
	char *field[5];
	char *rest = text, *end;
	int nfields = 0;
	long rank;
	double distance;
	ReportRow *last;

	for (char *f; (f = strsep(&rest, "\t")) != NULL; nfields++)
		if (nfields < 5)
			field[nfields] = f;
	if (nfields != 5)
		return train_fail(err,
						  "%s, line %d: %d fields, expected 5: query, rank, result, "
						  "distance, relevant (0 or 1)",
						  file, line, nfields);
	if (!*field[0] || !*field[2])
		return train_fail(err, "%s, line %d: an empty path", file, line);
	rank = strtol(field[1], &end, 10);
	if (*end || end == field[1] || rank < 0 || rank > 1000000000)
		return train_fail(err, "%s, line %d: \"%.40s\" is no rank", file, line, field[1]);
	distance = strtod(field[3], &end);
	if (*end || end == field[3] || !isfinite(distance))
		return train_fail(err, "%s, line %d: \"%.40s\" is no distance", file, line,
						  field[3]);
	if (strcmp(field[4], "0") != 0 && strcmp(field[4], "1") != 0)
		return train_fail(err, "%s, line %d: relevant is \"%.40s\", expected 0 or 1",
						  file, line, field[4]);
	last = sheet->nrows ? &sheet->row[sheet->nrows - 1] : NULL;
	if (last == NULL || strcmp(last->query.name, field[0]) != 0)
	{
		if (!add_row(sheet, field[0], root))
			return train_fail(err, "out of memory");
		last = &sheet->row[sheet->nrows - 1];
	}
	if (!add_result(last, field[2], root, (int) rank, distance, *field[4] == '1'))
		return train_fail(err, "out of memory");
	return true;
}

static int
by_rank(const void *a, const void *b)
{
	const ReportResult *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return (x->distance > y->distance) - (x->distance < y->distance);
}

bool
report_read_tsv(const char *file, const char *root, ContactSheet *sheet, TrainError *err)
{
	FILE *in = fopen(file, "r");
	char *text = NULL;
	size_t room = 0;
	ssize_t length;
	int pictures = 0;
	bool ok = true;

	sheet->row = NULL;
	sheet->nrows = 0;
	if (in == NULL)
		return train_fail(err, "cannot open \"%s\": %s", file, strerror(errno));
	for (int line = 1; ok && (length = getline(&text, &room, in)) >= 0; line++)
	{
		if (strlen(text) != (size_t) length)
		{
			ok = train_fail(err, "%s, line %d: a zero byte", file, line);
			break;
		}
		text[strcspn(text, "\r\n")] = '\0';
		if (!*text || (line == 1 && strncmp(text, "query\t", 6) == 0))
			continue;
		ok = parse_line(sheet, file, line, text, root, err);
		if (ok && ++pictures > MAX_PICTURES)
			ok = train_fail(err, "%s, line %d: more than %d results", file, line,
							MAX_PICTURES);
	}
	if (ok && ferror(in))
		ok = train_fail(err, "cannot read \"%s\": %s", file, strerror(errno));
	if (ok && sheet->nrows == 0)
		ok = train_fail(err, "\"%s\" holds no results", file);
	free(text);
	fclose(in);
	for (int r = 0; ok && r < sheet->nrows; r++)
		qsort(sheet->row[r].result, (size_t) sheet->row[r].nresults, sizeof(ReportResult),
			  by_rank);
	if (!ok)
		report_free(sheet);
	return ok;
}
