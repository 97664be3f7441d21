/*
 * codefile.c
 *	  Codes as text.
 */
#include "training/run/codefile.h"

#include "hamming/hamming.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LABELS 65536

void
codefile_format(const uint8_t *code, int bits, char *text, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	size_t at = 0;

	if (bits % 4 == 0)
	{
		for (int i = 0; i < bits / 4 && at + 1 < size; i++)
			text[at++] = digits[code[i / 2] >> (i % 2 ? 0 : 4) & 15];
		text[at] = '\0';
		return;
	}
	at += (size_t) snprintf(text, size, "b'");
	for (int i = 0; i < bits && at + 2 < size; i++)
		text[at++] = '0' + (code[i / 8] >> (7 - i % 8) & 1);
	text[at++] = '\'';
	text[at] = '\0';
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
codefile_parse(const char *text, uint8_t *code, int *bits)
{
	size_t n = strlen(text);
	bool binary = n >= 3 && text[0] == 'b' && text[1] == '\'' && text[n - 1] == '\'';
	int step = binary ? 1 : 4;

	if (binary)
	{
		text += 2;
		n -= 3;
	}
	else if (n >= 3 && text[0] == 'x' && text[1] == '\'' && text[n - 1] == '\'')
	{
		text += 2;
		n -= 3;
	}
	if (n < 1 || n * step > HAMMING_MAX_BITS)
		return false;
	*bits = (int) n * step;
	memset(code, 0, hamming_bytes(*bits));
	for (size_t i = 0; i < n; i++)
	{
		int v = hex_value(text[i]);

		if (v < 0 || (binary && v > 1))
			return false;
		if (binary)
			code[i / 8] |= (uint8_t) (v << (7 - i % 8));
		else
			code[i / 2] |= (uint8_t) (v << (i % 2 ? 0 : 4));
	}
	return true;
}

void
codefile_put_name(FILE *to, const char *name)
{
	for (; *name; name++)
		switch (*name)
		{
			case '\\':
				fputs("\\\\", to);
				break;
			case '\t':
				fputs("\\t", to);
				break;
			case '\n':
				fputs("\\n", to);
				break;
			case '\r':
				fputs("\\r", to);
				break;
			default:
				fputc(*name, to);
		}
}

/* ------------------------------------------------------------------ reading */

/* One file as it grows; label numbers of row i are [first[i], first[i + 1]). */
typedef struct Rows
{
	uint8_t *codes;
	int *labels, *first;
	int n, room, nlabels, labels_room;
	int bits; /* 0: none read yet */
} Rows;

static int
label_number(LabelNames *names, const char *name)
{
	for (int i = 0; i < names->n; i++)
		if (strcmp(names->name[i], name) == 0)
			return i;
	if (names->n == MAX_LABELS)
		return -1;
	if (names->n == names->room)
	{
		int room = names->room ? names->room * 2 : 64;
		char **grown = realloc(names->name, room * sizeof(char *));

		if (!grown)
			return -1;
		names->name = grown;
		names->room = room;
	}
	names->name[names->n] = strdup(name);
	return names->name[names->n] ? names->n++ : -1;
}

static bool
make_room(Rows *r)
{
	int room = r->room ? r->room * 2 : 1024;
	uint8_t *codes;
	int *first;

	if (r->n < r->room)
		return true;
	codes = realloc(r->codes, (size_t) room * hamming_bytes(r->bits));
	if (codes)
		r->codes = codes;
	first = realloc(r->first, ((size_t) room + 1) * sizeof(int));
	if (first)
		r->first = first;
	if (!codes || !first)
		return false;
	r->room = room;
	return true;
}

static bool
add_label(Rows *r, LabelNames *names, const char *name)
{
	int number = label_number(names, name);

	if (number < 0)
		return false;
	if (r->nlabels == r->labels_room)
	{
		int room = r->labels_room ? r->labels_room * 2 : 1024;
		int *grown = realloc(r->labels, room * sizeof(int));

		if (!grown)
			return false;
		r->labels = grown;
		r->labels_room = room;
	}
	r->labels[r->nlabels++] = number;
	return true;
}

static bool
add_line(Rows *r, LabelNames *names, char *line, const char *path, long number,
		 TrainError *err)
{
	uint8_t code[HAMMING_MAX_BYTES];
	char *text = strchr(line, '\t');
	char *labels = text ? strchr(text + 1, '\t') : NULL;
	char *rest = NULL;
	int bits;

	if (!labels || strchr(labels + 1, '\t'))
		return train_fail(
			err,
			"%.300s line %ld: expected three columns with tabs between them: "
			"name, code, labels",
			path, number);
	*labels++ = '\0';
	if (!codefile_parse(text + 1, code, &bits))
		return train_fail(err, "%.300s line %ld: \"%.40s\" is not a code of 1 to %d bits",
						  path, number, text + 1, HAMMING_MAX_BITS);
	if (r->bits == 0)
		r->bits = bits;
	if (bits != r->bits)
		return train_fail(err,
						  "%.300s line %ld: the code has %d bits, the ones before %d",
						  path, number, bits, r->bits);
	if (!make_room(r))
		return train_fail(err, "out of memory");
	memcpy(r->codes + (size_t) r->n * hamming_bytes(bits), code, hamming_bytes(bits));
	r->first[r->n++] = r->nlabels;
	for (char *l = strtok_r(labels, ",", &rest); l; l = strtok_r(NULL, ",", &rest))
		if (!add_label(r, names, l))
			return train_fail(err, "out of memory, or more than %d different labels",
							  MAX_LABELS);
	r->first[r->n] = r->nlabels;
	return true;
}

static bool
read_rows(const char *path, Rows *r, LabelNames *names, TrainError *err)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	bool ok = true;

	if (!f)
		return train_fail(err, "cannot open %.300s: %s", path, strerror(errno));
	for (long number = 1; ok && (n = getline(&line, &room, f)) >= 0; number++)
	{
		while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
			line[--n] = '\0';
		if (n > 0)
			ok = add_line(r, names, line, path, number, err);
	}
	if (ok && ferror(f))
		ok = train_fail(err, "cannot read %.300s: %s", path, strerror(errno));
	if (ok && r->n == 0)
		ok = train_fail(err, "%.300s has no codes in it", path);
	free(line);
	fclose(f);
	return ok;
}

static bool
to_set(Rows *r, int words, CodeSet *set)
{
	uint64_t *labels = calloc((size_t) r->n * words, sizeof(uint64_t));

	if (!labels)
		return false;
	for (int i = 0; i < r->n; i++)
		for (int k = r->first[i]; k < r->first[i + 1]; k++)
			labels[(size_t) i * words + r->labels[k] / 64] |= UINT64_C(1)
															  << r->labels[k] % 64;
	*set = (CodeSet){r->n, r->bits, r->codes, labels, words};
	r->codes = NULL;
	return true;
}

static void
free_rows(Rows *r)
{
	free(r->codes);
	free(r->labels);
	free(r->first);
}

bool
codefile_read_pair(const char *query_path, const char *database_path, CodeSet *query,
				   CodeSet *database, TrainError *err)
{
	LabelNames names = {0};
	Rows q = {0};
	Rows d = {0};
	bool ok;
	int words;

	*query = *database = (CodeSet){0};
	ok = read_rows(query_path, &q, &names, err) &&
		 read_rows(database_path, &d, &names, err);
	if (ok && q.bits != d.bits)
		ok = train_fail(err, "the codes of %.200s have %d bits, those of %.200s %d",
						query_path, q.bits, database_path, d.bits);
	words = (names.n + 63) / 64;
	words = words ? words : 1;
	if (ok && (!to_set(&q, words, query) || !to_set(&d, words, database)))
		ok = train_fail(err, "out of memory");
	if (!ok)
	{
		codefile_free(query);
		codefile_free(database);
	}
	for (int i = 0; i < names.n; i++)
		free(names.name[i]);
	free(names.name);
	free_rows(&q);
	free_rows(&d);
	return ok;
}

void
codefile_free(CodeSet *set)
{
	free((void *) set->codes);
	free((void *) set->labels);
	*set = (CodeSet){0};
}
