/*
 * options.c
 *	  Options of a training run as a whole: defaults, checks, JSON.
 *
 * What the single options are is said in recipe/keys.c.
 */
#include "training/run/options.h"

#include "training/recipe/keys.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

void
train_options_default(TrainOptions *o)
{
	TrainError never;

	memset(o, 0, sizeof(*o));
	for (int i = 0; i < recipe_nkeys; i++)
		if (recipe_keys[i].standard)
			key_set(&recipe_keys[i], o, recipe_keys[i].standard, &never);
	o->loss_options = loss_find(o->loss)->defaults; /* the default has some */
}

bool
train_options_check(const TrainOptions *o, TrainError *err)
{
	const Loss *loss;
	json_t *data;

	/* Checkpoints and models hold it as JSON, which cannot be anything else. */
	data = json_string(o->data);
	if (!data)
		return train_fail(err, "the name of the data is not UTF-8: begin the run inside "
							   "its folder, with a relative path");
	json_decref(data);
	for (int i = 0; i < recipe_nkeys; i++)
		if (!key_check(&recipe_keys[i], o, err))
			return false;
	if (o->resize && o->resize < o->size)
		return train_fail(err, "data.resize is %d, but must be data.size, %d, or more",
						  o->resize, o->size);
	/* without labels there is nothing to mix but pictures */
	loss = loss_find(o->loss);
	if ((o->augment.mixup > 0 || o->augment.cutmix > 0) && loss && !loss->mixable)
		return train_fail(err,
						  "augment.mixup and augment.cutmix do not go with the loss %s, "
						  "which compares pictures with one another",
						  o->loss);
	return true;
}

static json_t *
value_of(const Key *key, const TrainOptions *o)
{
	char text[KEY_TEXT_SIZE];

	key_get(key, o, text, sizeof(text));
	if (strcmp(text, "auto") == 0)
		return json_string(text);
	if (key->type == KEY_INT)
		return json_integer((json_int_t) key_number(key, o));
	if (key->type == KEY_REAL)
		return json_real(key_number(key, o));
	if (key->type == KEY_BOOL)
		return json_boolean(strcmp(text, "yes") == 0);
	return json_string(text);
}

char *
train_options_write(const TrainOptions *o)
{
	json_t *object = json_object();
	char *text;

	for (int i = 0; i < recipe_nkeys; i++)
	{
		char name[64];

		json_object_set_new(object, key_full_name(&recipe_keys[i], name, sizeof(name)),
							value_of(&recipe_keys[i], o));
	}
	text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
	json_decref(object);
	return text;
}

/* A member of another type than value_of gives is an error, not a guess. */
static bool
read_member(const Key *key, TrainOptions *o, const json_t *value, TrainError *err)
{
	if (json_is_string(value))
	{
		if (strlen(json_string_value(value)) == json_string_length(value))
			return key_set(key, o, json_string_value(value), err);
	}
	else if (json_is_boolean(value) && key->type == KEY_BOOL)
		return key_set(key, o, json_is_true(value) ? "yes" : "no", err);
	else if (json_is_number(value) && (key->type == KEY_INT || key->type == KEY_REAL))
		return key_set_number(key, o, json_number_value(value), err);
	return train_fail(err, "is missing or of another type");
}

bool
train_options_read(TrainOptions *o, const char *json, TrainError *err)
{
	json_error_t trouble;
	json_t *object = json_loads(json, JSON_REJECT_DUPLICATES, &trouble);
	bool ok = true;

	*o = (TrainOptions){0};
	if (!json_is_object(object))
	{
		json_decref(object);
		return train_fail(err, "options are not a JSON object: %s", trouble.text);
	}
	for (int i = 0; ok && i < recipe_nkeys; i++)
	{
		char name[64];
		TrainError why;

		key_full_name(&recipe_keys[i], name, sizeof(name));
		ok = read_member(&recipe_keys[i], o, json_object_get(object, name), &why) ||
			 train_fail(err, "options: \"%s\" %.400s", name, why.text);
	}
	if (ok && json_object_size(object) != (size_t) recipe_nkeys)
		ok = train_fail(err, "options have members that this version does not know");
	json_decref(object);
	return ok && train_options_check(o, err);
}
