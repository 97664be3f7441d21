/*
 * keys.h
 *	  Every setting of a training run: one table.
 *
 * The table is the only place that says what a setting is called, what it may be,
 * what it is when nothing is said and what it does.  Recipe files, --set, the options
 * of the command line, their help, `deephash-train recipes --keys` and the JSON in
 * checkpoints and models all follow it.
 */
#ifndef TRAIN_RECIPE_KEYS_H
#define TRAIN_RECIPE_KEYS_H

#include "training/run/options.h"

typedef enum KeyType
{
	KEY_INT,
	KEY_REAL,
	KEY_BOOL,	/* yes, no */
	KEY_CHOICE, /* an enum; its names in the enum's order */
	KEY_NAME,	/* a text that must be one of the names */
	KEY_ARCH,	/* an architecture with its parameters */
	KEY_TEXT,	/* any text */
	KEY_WIDTHS, /* three numbers with commas between */
	KEY_SEED	/* 0 .. 2^64 - 1 */
} KeyType;

/* Where a key can be "auto", which is 0 (or an empty text) in TrainOptions. */
typedef enum KeyAuto
{
	KEY_FIXED,	/* it cannot */
	KEY_CHOSEN, /* a run replaces it by a choice before it begins */
	KEY_OPEN	/* it can stay so */
} KeyAuto;

typedef struct Key
{
	const char *section, *name;
	KeyType type;
	size_t at, size; /* of the member of TrainOptions */
	double low, high;
	const char *(*names)(int i); /* NULL past the end */
	KeyAuto automatic;
	const char *standard; /* as a recipe would say it; NULL: it depends on others */
	const char *depends;  /* on what, for the help, or what "auto" means */
	const char *option;	  /* its own option on the command line, or NULL */
	bool changeable;	  /* a resumed run may have it otherwise */
	/* Without one of these it has no effect: "loss.kind=csq", "augment.crop" (not 0),
	 * with | between; NULL: it always has. */
	const char *wants;
	const char *about; /* one line */
} Key;

extern const Key recipe_keys[];
extern const int recipe_nkeys;

#define KEY_TEXT_SIZE 1100 /* room for any value as text */

/* Position in the table, or -1. */
extern int key_find(const char *section, const char *name);
extern int key_find_option(const char *option);

/* "section.name" for messages. */
extern const char *key_full_name(const Key *key, char *text, size_t size);

/* The nearest "section.name" to something mistyped, or NULL if nothing is near. */
extern const Key *key_near(const char *section, const char *name);

/* What a value may be, in words: "a number from 0 to 1, or auto". */
extern const char *key_range(const Key *key, char *text, size_t size);

/* Set from text; err says what is allowed (without the key's name). */
extern bool key_set(const Key *key, TrainOptions *o, const char *value, TrainError *err);
extern const char *key_get(const Key *key, const TrainOptions *o, char *text,
						   size_t size);

/* What it wants, in words: "augment.hue or augment.contrast"; "" for nothing. */
extern const char *key_wants(const Key *key, char *text, size_t size);

/* Has the key an effect beside the other settings? */
extern bool key_counts(const Key *key, const TrainOptions *o);

/* Is the value one that a run can begin with?  err says why not, with the name. */
extern bool key_check(const Key *key, const TrainOptions *o, TrainError *err);

/* A number that stands for the value: KEY_INT, KEY_REAL. */
extern double key_number(const Key *key, const TrainOptions *o);
extern bool key_set_number(const Key *key, TrainOptions *o, double v, TrainError *err);

/* The nearest of some names by letters changed, or NULL if none is near. */
extern const char *key_near_name(const char *wrong, const char *(*names)(int i));

#endif
