/*
 * recipe.c
 *	  Read recipes through libinih, checking what it would let pass.
 *
 * The library cuts lines, sections and names that are too long, joins lines, and
 * tells its handler no line number.  So it is given the file line by line by a reader
 * that refuses such lines and counts.
 */
#include "training/recipe/recipe.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILE 65536

typedef struct Reading
{
	Recipe *recipe;
	bool given[RECIPE_MAX_KEYS]; /* by this file */
	bool about_given;
	const char *text;
	size_t size, at;
	int line;
	TrainError *err;
	int failed; /* line of the first error, 0: none */
} Reading;

_Static_assert(sizeof(((Recipe *) 0)->given) == RECIPE_MAX_KEYS, "one flag per key");

void
recipe_start(Recipe *r)
{
	memset(r, 0, sizeof(*r));
	train_options_default(&r->options);
}

bool
recipe_set(Recipe *r, int key, const char *value, TrainError *err)
{
	if (!key_set(&recipe_keys[key], &r->options, value, err))
		return false;
	r->given[key] = true;
	r->line[key] = 0;
	return true;
}

/* err: there is no such key, and what may have been meant. */
static bool
unknown(const char *section, const char *name, TrainError *err)
{
	const Key *near = key_near(section, name);
	bool known = false;

	for (int i = 0; i < recipe_nkeys; i++)
		known = known || strcmp(recipe_keys[i].section, section) == 0;
	if (near)
		return train_fail(err,
						  "there is no key %.60s in section [%.60s]; did you mean %s in "
						  "[%s]?",
						  name, section, near->name, near->section);
	if (known)
		return train_fail(err,
						  "there is no key %.60s in section [%.60s]; \"deephash-train "
						  "recipes --keys\" lists them all",
						  name, section);
	return train_fail(err,
					  "there is no section [%.60s]; \"deephash-train recipes --keys\" "
					  "lists them all",
					  section);
}

bool
recipe_assign(Recipe *r, const char *assignment, TrainError *err)
{
	const char *equals = strchr(assignment, '=');
	const char *dot = strchr(assignment, '.');
	char section[64];
	char name[64];
	TrainError why;
	int key;

	if (!equals || !dot || dot > equals || dot == assignment || equals == dot + 1)
		return train_fail(err,
						  "expected section.key=value, such as optimiser.rate=0.1, "
						  "but not \"%.100s\"",
						  assignment);
	snprintf(section, sizeof(section), "%.*s", (int) (dot - assignment), assignment);
	snprintf(name, sizeof(name), "%.*s", (int) (equals - dot - 1), dot + 1);
	key = key_find(section, name);
	if (key < 0)
		return unknown(section, name, err);
	return recipe_set(r, key, equals + 1, &why) ||
		   train_fail(err, "%s.%s cannot be \"%.100s\": it %.300s", section, name,
					  equals + 1, why.text);
}

void
recipe_settle(Recipe *r)
{
	TrainOptions *o = &r->options;
	const Loss *loss = loss_find(o->loss);
	const LossOptions own = loss ? loss->defaults : (LossOptions){0};
	const struct
	{
		const char *name;
		double *to, standard;
	} numbers[] = {
		{"scale", &o->loss_options.scale, own.scale},
		{"margin", &o->loss_options.margin, own.margin},
		{"smoothing", &o->loss_options.smoothing, own.smoothing},
		{"lambda", &o->loss_options.lambda, own.lambda},
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (!r->given[key_find("loss", numbers[i].name)])
			*numbers[i].to = numbers[i].standard;
	if (o->epochs)
		o->minutes = 0; /* a fixed number is not cut for time */
	else if (o->minutes == 0)
		o->minutes = 40;
	/* Steps of adamw are as long as the rate, those of sgd as the gradient too. */
	if (o->optim.kind == NN_ADAMW && !r->given[key_find("optimiser", "rate")])
		o->rate = 1e-3;
	if (o->optim.kind == NN_ADAMW && !r->given[key_find("optimiser", "bias-rate")])
		o->bias_rate = 1;
}

void
recipe_idle(const Recipe *r, const TrainOptions *o, void (*told)(const char *line))
{
	for (int i = 0; i < recipe_nkeys; i++)
	{
		const Key *key = &recipe_keys[i];
		TrainError line;
		char full[64], value[KEY_TEXT_SIZE], wants[128];

		if (!r->given[i] || key_counts(key, o) ||
			strcmp(key_get(key, o, value, sizeof(value)), "0") == 0)
			continue;
		train_fail(&line, "note: %s has no effect without %s",
				   key_full_name(key, full, sizeof(full)),
				   key_wants(key, wants, sizeof(wants)));
		recipe_blame(r, i, &line);
		told(line.text);
	}
}

/* Where text has the name as a word of its own, not as the beginning of a longer one. */
static const char *
find_name(const char *text, const char *full)
{
	for (const char *at = strstr(text, full); at; at = strstr(at + 1, full))
	{
		char after = at[strlen(full)];

		if (after != '-' && !isalnum((unsigned char) after))
			return at;
	}
	return NULL;
}

void
recipe_blame(const Recipe *r, int key, TrainError *err)
{
	size_t n = strlen(err->text);
	char full[64];

	if (r->line[key])
		snprintf(err->text + n, sizeof(err->text) - n, " (%s is set in %s:%d)",
				 key_full_name(&recipe_keys[key], full, sizeof(full)), r->path,
				 r->line[key]);
}

void
recipe_explain(const Recipe *r, TrainError *err)
{
	const char *first = NULL;
	int named = -1;
	char full[64];

	for (int i = 0; i < recipe_nkeys; i++)
	{
		const char *at;

		key_full_name(&recipe_keys[i], full, sizeof(full));
		at = r->line[i] ? find_name(err->text, full) : NULL;
		if (at && (!first || at < first))
		{
			first = at;
			named = i;
		}
	}
	if (named >= 0)
		recipe_blame(r, named, err);
}

/* ---------------------------------------------------------------- the file */

static bool
trouble(Reading *in, const char *text)
{
	if (!in->failed)
	{
		in->failed = in->line;
		train_fail(in->err, "%.250s:%d: %.240s", in->recipe->path, in->line, text);
	}
	return false;
}

static int
take(void *arg, const char *section, const char *name, const char *value)
{
	Reading *in = arg;
	Recipe *r = in->recipe;
	TrainError why;
	char text[512];
	int key;

	if (in->failed)
		return 0;
	if (*section == '\0')
		return trouble(in, "a key stands before the first [section]");
	if (strcmp(section, "recipe") == 0 && strcmp(name, "about") == 0)
	{
		if (in->about_given)
			return trouble(in, "[recipe] about is given twice");
		in->about_given = true;
		snprintf(r->about, sizeof(r->about), "%s", value);
		return 1;
	}
	key = key_find(section, name);
	if (key < 0)
	{
		unknown(section, name, &why);
		return trouble(in, why.text);
	}
	if (in->given[key])
	{
		snprintf(text, sizeof(text), "[%s] %s is given twice, first in line %d", section,
				 name, r->line[key]);
		return trouble(in, text);
	}
	if (!recipe_set(r, key, value, &why))
	{
		snprintf(text, sizeof(text), "[%s] %s cannot be \"%.60s\": it %.300s", section,
				 name, value, why.text);
		return trouble(in, text);
	}
	in->given[key] = true;
	r->line[key] = in->line;
	return 1;
}

/* What is wrong with a line that the library would not say, or NULL. */
static const char *
line_trouble(const char *line, size_t n, size_t room)
{
	if (n + 2 > room)
		return "the line is too long";
	for (size_t i = 0; i < n; i++)
		if ((unsigned char) line[i] < ' ' && !strchr("\t\r", line[i]))
			return "the line has a control character in it: this is no recipe";
	if (memchr(line, '\0', n))
		return "the line has a NUL in it: this is no recipe";
	return NULL;
}

/* fgets of the library: the next line without the blanks that would join it on. */
static char *
next_line(char *out, int room, void *arg)
{
	Reading *in = arg;
	const char *line = in->text + in->at;
	const char *end;
	const char *wrong;
	size_t n;

	if (in->failed || in->at >= in->size)
		return NULL;
	end = memchr(line, '\n', in->size - in->at);
	n = end ? (size_t) (end - line) : in->size - in->at;
	in->at += n + (end != NULL);
	in->line++;
	while (n > 0 && (*line == ' ' || *line == '\t'))
	{
		line++;
		n--;
	}
	wrong = line_trouble(line, n, (size_t) room);
	if (wrong)
	{
		trouble(in, wrong);
		return NULL;
	}
	memcpy(out, line, n);
	out[n] = '\n';
	out[n + 1] = '\0';
	return out;
}

/* The whole file, which must be a plain and a small one. */
static char *
read_all(const char *path, size_t *size, TrainError *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *text = NULL;
	ssize_t got = 0;

	*size = 0;
	if (fd < 0)
	{
		train_fail(err, "cannot open the recipe %.300s: %s", path, strerror(errno));
		return NULL;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		train_fail(err, "the recipe %.300s is not a plain file", path);
	else if (st.st_size > MAX_FILE)
		train_fail(err, "the recipe %.300s has %lld bytes, more than the limit of %d",
				   path, (long long) st.st_size, MAX_FILE);
	else if (!(text = malloc(MAX_FILE + 1)))
		train_fail(err, "out of memory");
	while (text && *size < MAX_FILE &&
		   (got = read(fd, text + *size, MAX_FILE - *size)) > 0)
		*size += (size_t) got;
	if (text && got < 0)
	{
		train_fail(err, "cannot read the recipe %.300s: %s", path, strerror(errno));
		free(text);
		text = NULL;
	}
	close(fd);
	return text;
}

bool
recipe_read_text(Recipe *r, const char *name, const char *text, size_t size,
				 TrainError *err)
{
	Reading in = {.recipe = r, .text = text, .size = size, .err = err};
	int wrong;

	snprintf(r->path, sizeof(r->path), "%s", name);
	wrong = ini_parse_stream(next_line, &in, take, &in);
	if (in.failed && (wrong <= 0 || wrong >= in.failed))
		return false;
	if (wrong > 0)
		return train_fail(err, "%.300s:%d: expected \"[section]\" or \"key = value\"",
						  name, wrong);
	if (wrong < 0)
		return train_fail(err, "out of memory for the recipe %.300s", name);
	return true;
}

bool
recipe_read(Recipe *r, const char *path, TrainError *err)
{
	size_t size;
	char *text = read_all(path, &size, err);
	bool ok = text && recipe_read_text(r, path, text, size, err);

	free(text);
	return ok;
}
