/*
 * value.c
 *	  Values of settings: from text, to text, and whether they are allowed.
 */
#include "training/recipe/keys.h"

#include "training/arch/arch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAMES_SIZE 256

const char *
key_full_name(const Key *key, char *text, size_t size)
{
	snprintf(text, size, "%s.%s", key->section, key->name);
	return text;
}

/* ------------------------------------------------------------- near misses */

/* Letters to add, drop or change between two words (Levenshtein). */
static int
edits(const char *a, const char *b)
{
	int row[64];
	int m = (int) strlen(b);

	if (m >= 64 || strlen(a) >= 64)
		return 64;
	for (int j = 0; j <= m; j++)
		row[j] = j;
	for (int i = 1; a[i - 1]; i++)
	{
		int corner = row[0];

		row[0] = i;
		for (int j = 1; j <= m; j++)
		{
			int best = corner + (a[i - 1] != b[j - 1]);

			corner = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[m];
}

/* More than a third of the letters wrong is another word. */
static bool
is_near(int distance, const char *word)
{
	return distance <= 1 || distance * 3 <= (int) strlen(word);
}

const char *
key_near_name(const char *wrong, const char *(*names)(int i))
{
	const char *best = NULL;
	int least = 64;

	for (int i = 0; names(i); i++)
	{
		int d = edits(wrong, names(i));

		if (d < least)
		{
			least = d;
			best = names(i);
		}
	}
	return best && is_near(least, best) ? best : NULL;
}

const Key *
key_near(const char *section, const char *name)
{
	const Key *best = NULL;
	int least = 1000;

	for (int i = 0; i < recipe_nkeys; i++)
	{
		const Key *key = &recipe_keys[i];
		int by_name = edits(name, key->name);
		/* the right word in the wrong section is nearer than a wrong word */
		int d = 2 * by_name + (strcmp(section, key->section) != 0);

		if (d < least && is_near(by_name, key->name))
		{
			least = d;
			best = key;
		}
	}
	return best;
}

/* ------------------------------------------------------------------ ranges */

static const char *
arch_names(int i)
{
	return arch_at(i) ? arch_name_of(arch_at(i)) : NULL;
}

static const char *
all_names(const char *(*names)(int i), char *text, size_t size)
{
	size_t at = 0;

	text[0] = '\0';
	for (int i = 0; names(i) && at < size; i++)
		at += (size_t) snprintf(text + at, size - at, "%s%s", i ? ", " : "", names(i));
	return text;
}

const char *
key_range(const Key *key, char *text, size_t size)
{
	const char *or_auto = key->automatic != KEY_FIXED ? ", or auto" : "";
	char names[NAMES_SIZE];

	switch (key->type)
	{
		case KEY_INT:
			snprintf(text, size, "a whole number from %.0f to %.0f%s", key->low,
					 key->high, or_auto);
			break;
		case KEY_REAL:
			snprintf(text, size, "a number from %g to %g%s", key->low, key->high,
					 or_auto);
			break;
		case KEY_BOOL:
			snprintf(text, size, "yes or no");
			break;
		case KEY_CHOICE:
		case KEY_NAME:
			snprintf(text, size, "one of %s%s",
					 all_names(key->names, names, sizeof(names)), or_auto);
			break;
		case KEY_WIDTHS:
			snprintf(text, size, "three numbers from %.0f to %.0f with commas between%s",
					 key->low, key->high, or_auto);
			break;
		case KEY_SEED:
			snprintf(text, size, "a whole number from 0 to 18446744073709551615");
			break;
		case KEY_ARCH:
			snprintf(text, size, "one of %s, with parameters after it",
					 all_names(arch_names, names, sizeof(names)));
			break;
		case KEY_TEXT:
			snprintf(text, size, "a text of at most %zu bytes%s", key->size - 1, or_auto);
			break;
	}
	return text;
}

/* ------------------------------------------------------------ from the text */

static void *
member(const Key *key, TrainOptions *o)
{
	return (char *) o + key->at;
}

static const void *
const_member(const Key *key, const TrainOptions *o)
{
	return (const char *) o + key->at;
}

/* Every int-like member is an int or an enum, which has int's size and layout. */
static void
put_int(const Key *key, TrainOptions *o, int v)
{
	memcpy(member(key, o), &v, sizeof(v));
}

static int
get_int(const Key *key, const TrainOptions *o)
{
	int v;

	memcpy(&v, const_member(key, o), sizeof(v));
	return v;
}

double
key_number(const Key *key, const TrainOptions *o)
{
	double v;

	if (key->type != KEY_REAL)
		return get_int(key, o);
	memcpy(&v, const_member(key, o), sizeof(v));
	return v;
}

static bool
out_of_range(const Key *key, TrainError *err)
{
	char range[NAMES_SIZE + 64];

	return train_fail(err, "must be %s", key_range(key, range, sizeof(range)));
}

bool
key_set_number(const Key *key, TrainOptions *o, double v, TrainError *err)
{
	bool open = v == 0 && key->automatic != KEY_FIXED;

	if (!open && !(v >= key->low && v <= key->high))
		return out_of_range(key, err);
	if (key->type == KEY_REAL)
		memcpy(member(key, o), &v, sizeof(v));
	else if (v != (int) v)
		return out_of_range(key, err);
	else
		put_int(key, o, (int) v);
	return true;
}

static bool
set_number(const Key *key, TrainOptions *o, const char *value, TrainError *err)
{
	char *end;
	double v;

	errno = 0;
	v = strtod(value, &end);
	/* 0 stands for auto inside, but is not its name */
	if (end == value || *end || errno == ERANGE || (v == 0 && key->low > 0))
		return out_of_range(key, err);
	return key_set_number(key, o, v, err);
}

static bool
set_name(const Key *key, TrainOptions *o, const char *value, TrainError *err)
{
	const char *near;

	for (int i = 0; key->names(i); i++)
		if (strcasecmp(value, key->names(i)) == 0)
		{
			if (key->type == KEY_CHOICE)
				put_int(key, o, i);
			else
				snprintf(member(key, o), key->size, "%s", key->names(i));
			return true;
		}
	near = key_near_name(value, key->names);
	out_of_range(key, err);
	if (near)
		snprintf(err->text + strlen(err->text), sizeof(err->text) - strlen(err->text),
				 "; did you mean %s?", near);
	return false;
}

static bool
set_bool(const Key *key, TrainOptions *o, const char *value, TrainError *err)
{
	bool *to = member(key, o);

	if (strcmp(value, "yes") == 0 || strcmp(value, "true") == 0)
		*to = true;
	else if (strcmp(value, "no") == 0 || strcmp(value, "false") == 0)
		*to = false;
	else
		return out_of_range(key, err);
	return true;
}

static bool
set_widths(const Key *key, TrainOptions *o, const char *value, TrainError *err)
{
	int v[3];
	char end;

	if (sscanf(value, "%d,%d,%d%c", &v[0], &v[1], &v[2], &end) != 3)
		return out_of_range(key, err);
	for (int i = 0; i < 3; i++)
		if (v[i] < key->low || v[i] > key->high)
			return out_of_range(key, err);
	memcpy(member(key, o), v, sizeof(v));
	return true;
}

static bool
set_seed(const Key *key, TrainOptions *o, const char *value, TrainError *err)
{
	char *end;
	uint64_t v;

	errno = 0;
	v = strtoull(value, &end, 10);
	if (*value < '0' || *value > '9' || *end || errno)
		return out_of_range(key, err);
	memcpy(member(key, o), &v, sizeof(v));
	return true;
}

static bool
set_text(const Key *key, TrainOptions *o, const char *value, TrainError *err)
{
	if (*value == '\0' || strlen(value) >= key->size)
		return out_of_range(key, err);
	snprintf(member(key, o), key->size, "%s", value);
	return true;
}

static bool
set_arch(const Key *key, TrainOptions *o, const char *value, TrainError *err)
{
	ArchOptions parsed = {0};
	TrainError why;
	char name[64];
	char names[NAMES_SIZE];
	char label[256];
	const Arch *arch;
	const char *near;

	snprintf(name, sizeof(name), "%.*s", (int) strcspn(value, " "), value);
	arch = arch_find(name);
	near = arch ? NULL : key_near_name(name, arch_names);
	if (near)
		return train_fail(err,
						  "must begin with the name of an architecture; did you "
						  "mean %s?",
						  near);
	if (!arch)
		return train_fail(err, "must be one of %s, with parameters after it",
						  all_names(arch_names, names, sizeof(names)));
	if (strlen(value) >= key->size)
		return train_fail(err, "must have at most %zu bytes", key->size - 1);
	if (!arch_from_label(value, &parsed, &why))
		return train_fail(err, "must have parameters that fit: %.300s", why.text);
	snprintf(member(key, o), key->size, "%s",
			 arch_label(arch, &parsed, label, sizeof(label)));
	return true;
}

bool
key_set(const Key *key, TrainOptions *o, const char *value, TrainError *err)
{
	if (strcmp(value, "auto") == 0 && key->automatic != KEY_FIXED)
	{
		memset(member(key, o), 0, key->size);
		return true;
	}
	switch (key->type)
	{
		case KEY_INT:
		case KEY_REAL:
			return set_number(key, o, value, err);
		case KEY_BOOL:
			return set_bool(key, o, value, err);
		case KEY_CHOICE:
		case KEY_NAME:
			return set_name(key, o, value, err);
		case KEY_WIDTHS:
			return set_widths(key, o, value, err);
		case KEY_SEED:
			return set_seed(key, o, value, err);
		case KEY_ARCH:
			return set_arch(key, o, value, err);
		case KEY_TEXT:
			return set_text(key, o, value, err);
	}
	return false;
}

/* -------------------------------------------------------------- to the text */

/* The shortest decimal that reads back as the same number. */
static void
put_real(double v, char *text, size_t size)
{
	for (int digits = 6; digits <= 17; digits++)
	{
		snprintf(text, size, "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			return;
	}
}

/* Is it "auto"? */
static bool
is_auto(const Key *key, const TrainOptions *o)
{
	const char *p = const_member(key, o);

	if (key->automatic == KEY_FIXED)
		return false;
	if (key->type == KEY_TEXT || key->type == KEY_NAME)
		return *p == '\0';
	/* a number whose range has 0 in it has no other 0 to mean "auto" */
	return key_number(key, o) == 0;
}

const char *
key_get(const Key *key, const TrainOptions *o, char *text, size_t size)
{
	const int *v = const_member(key, o);
	uint64_t seed;

	if (is_auto(key, o))
	{
		snprintf(text, size, "auto");
		return text;
	}
	switch (key->type)
	{
		case KEY_INT:
			snprintf(text, size, "%d", get_int(key, o));
			break;
		case KEY_REAL:
			put_real(key_number(key, o), text, size);
			break;
		case KEY_BOOL:
			snprintf(text, size, *(const bool *) const_member(key, o) ? "yes" : "no");
			break;
		case KEY_CHOICE:
			snprintf(text, size, "%s", key->names(get_int(key, o)));
			break;
		case KEY_WIDTHS:
			snprintf(text, size, "%d,%d,%d", v[0], v[1], v[2]);
			break;
		case KEY_SEED:
			memcpy(&seed, const_member(key, o), sizeof(seed));
			snprintf(text, size, "%llu", (unsigned long long) seed);
			break;
		case KEY_NAME:
		case KEY_ARCH:
		case KEY_TEXT:
			snprintf(text, size, "%s", (const char *) const_member(key, o));
			break;
	}
	return text;
}

const char *
key_wants(const Key *key, char *text, size_t size)
{
	size_t at = 0;

	text[0] = '\0';
	for (const char *from = key->wants; from && *from && at < size; from++)
		at +=
			(size_t) snprintf(text + at, size - at, *from == '|' ? " or " : "%c", *from);
	return text;
}

/* Does a setting have the value, or any but none at all; text is section.name[=value]. */
static bool
holds(const char *text, size_t n, const TrainOptions *o)
{
	char value[KEY_TEXT_SIZE], full[64];
	size_t name = strcspn(text, "=|");

	for (int i = 0; i < recipe_nkeys; i++)
	{
		key_full_name(&recipe_keys[i], full, sizeof(full));
		if (strlen(full) != name || strncmp(full, text, name) != 0)
			continue;
		key_get(&recipe_keys[i], o, value, sizeof(value));
		if (recipe_keys[i].type == KEY_ARCH) /* without its parameters */
			value[strcspn(value, " ")] = '\0';
		if (name == n)
			return strcmp(value, "0") != 0;
		return strlen(value) == n - name - 1 &&
			   strncmp(value, text + name + 1, n - name - 1) == 0;
	}
	return false;
}

bool
key_counts(const Key *key, const TrainOptions *o)
{
	for (const char *at = key->wants; at;
		 at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
		if (holds(at, strcspn(at, "|"), o))
			return true;
	return key->wants == NULL;
}

bool
key_check(const Key *key, const TrainOptions *o, TrainError *err)
{
	TrainOptions copy = *o;
	char value[KEY_TEXT_SIZE];
	char name[64];
	TrainError why;

	key_full_name(key, name, sizeof(name));
	if (key->automatic == KEY_CHOSEN && is_auto(key, o))
		return train_fail(err, "%s has not been chosen", name);
	if (key->type == KEY_CHOICE)
	{
		int n = 0;

		while (key->names(n))
			n++;
		if (get_int(key, o) < 0 || get_int(key, o) >= n)
			return train_fail(err, "%s is none of its names", name);
	}
	/* What cannot be said in a recipe is not allowed. */
	key_get(key, o, value, sizeof(value));
	return key_set(key, &copy, value, &why) ||
		   train_fail(err, "%s is \"%.100s\", but %.300s", name, value, why.text);
}
