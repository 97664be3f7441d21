/*
 * options.c
 *	  Options of a training run: defaults, checks, JSON.
 */
#include "training/run/options.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
train_options_default(TrainOptions *o)
{
	const Loss *loss = loss_find("orthohash");

	*o = (TrainOptions){
		.loss = "orthohash",
		.loss_options = loss->defaults,
		.bits = 64,
		.optim = {.kind = OPTIM_SGD,
				  .momentum = 0.85,
				  .beta1 = 0.9,
				  .beta2 = 0.999,
				  .eps = 1e-8,
				  .decay = 2e-3},
		.rate = 0.4,
		.bias_rate = 64,
		.schedule = {0.2, 0.23, 0.07},
		.average = AVERAGE_LOOKAHEAD,
		.norm_momentum = 0.4,
		.augment = {.translate = 2, .flip = true, .cutout = 0},
		.holdout = 0.1,
		.seed = 1,
	};
}

/* The numbers of TrainOptions by name, for both directions. */
typedef struct Field
{
	const char *name;
	enum
	{
		FIELD_INT,
		FIELD_DOUBLE,
		FIELD_BOOL
	} type;
	size_t at;
	double low, high;
} Field;

#define FIELD(name, type, member, low, high)                                             \
	{                                                                                    \
		name, type, offsetof(TrainOptions, member), low, high                            \
	}

static const Field fields[] = {
	FIELD("bits", FIELD_INT, bits, 1, 4096),
	FIELD("size", FIELD_INT, size, 24, 1024),
	FIELD("width1", FIELD_INT, channels[0], 1, 4096),
	FIELD("width2", FIELD_INT, channels[1], 1, 4096),
	FIELD("width3", FIELD_INT, channels[2], 1, 4096),
	FIELD("epochs", FIELD_INT, epochs, 1, 100000),
	FIELD("minutes", FIELD_DOUBLE, minutes, 0, 1e6),
	FIELD("batch", FIELD_INT, batch, 2, 65536),
	FIELD("optimiser", FIELD_INT, optim.kind, OPTIM_SGD, OPTIM_ADAMW),
	FIELD("momentum", FIELD_DOUBLE, optim.momentum, 0, 0.9999),
	FIELD("beta1", FIELD_DOUBLE, optim.beta1, 0, 0.9999),
	FIELD("beta2", FIELD_DOUBLE, optim.beta2, 0, 0.999999),
	FIELD("eps", FIELD_DOUBLE, optim.eps, 1e-30, 1),
	FIELD("weight-decay", FIELD_DOUBLE, optim.decay, 0, 10),
	FIELD("rate", FIELD_DOUBLE, rate, 1e-12, 1e6),
	FIELD("bias-rate", FIELD_DOUBLE, bias_rate, 0, 1e6),
	FIELD("rate-start", FIELD_DOUBLE, schedule.start, 0, 1),
	FIELD("warm-up", FIELD_DOUBLE, schedule.warm, 0, 1),
	FIELD("rate-end", FIELD_DOUBLE, schedule.end, 0, 1),
	FIELD("average", FIELD_INT, average, AVERAGE_NONE, AVERAGE_LOOKAHEAD),
	FIELD("norm-momentum", FIELD_DOUBLE, norm_momentum, 1e-6, 1),
	FIELD("translate", FIELD_INT, augment.translate, 0, 16),
	FIELD("flip", FIELD_BOOL, augment.flip, 0, 1),
	FIELD("cutout", FIELD_INT, augment.cutout, 0, 1024),
	FIELD("holdout", FIELD_DOUBLE, holdout, 0, 0.9),
	FIELD("scale", FIELD_DOUBLE, loss_options.scale, 0, 1e6),
	FIELD("margin", FIELD_DOUBLE, loss_options.margin, -10, 10),
	FIELD("smoothing", FIELD_DOUBLE, loss_options.smoothing, 0, 0.99),
	FIELD("lambda", FIELD_DOUBLE, loss_options.lambda, 0, 1e6),
};

#define NFIELDS (sizeof(fields) / sizeof(fields[0]))

/* Every int-like member is an int or an enum, which has int's size and layout. */
static double
get_field(const TrainOptions *o, const Field *f)
{
	const char *p = (const char *) o + f->at;
	int i;
	double d;

	switch (f->type)
	{
		case FIELD_DOUBLE:
			memcpy(&d, p, sizeof(d));
			return d;
		case FIELD_BOOL:
			return *(const bool *) p;
		default:
			memcpy(&i, p, sizeof(i));
			return i;
	}
}

static void
set_field(TrainOptions *o, const Field *f, double value)
{
	char *p = (char *) o + f->at;
	int i = (int) value;

	switch (f->type)
	{
		case FIELD_DOUBLE:
			memcpy(p, &value, sizeof(value));
			break;
		case FIELD_BOOL:
			*(bool *) p = value != 0;
			break;
		default:
			memcpy(p, &i, sizeof(i));
	}
}

bool
train_options_check(const TrainOptions *o, TrainError *err)
{
	json_t *data;

	for (size_t i = 0; i < NFIELDS; i++)
	{
		double v = get_field(o, &fields[i]);

		if (!(v >= fields[i].low && v <= fields[i].high))
			return train_fail(err, "%s is %g, but must be from %g to %g", fields[i].name,
							  v, fields[i].low, fields[i].high);
	}
	if (!loss_find(o->loss))
		return train_fail(err, "unknown loss \"%s\"", o->loss);
	/* Checkpoints and models hold it as JSON, which cannot be anything else. */
	data = json_string(o->data);
	if (!data)
		return train_fail(err, "the name of the data is not UTF-8: begin the run inside "
							   "its folder, with a relative path");
	json_decref(data);
	return true;
}

char *
train_options_write(const TrainOptions *o)
{
	json_t *object = json_object();
	char seed[32];
	char *text;

	snprintf(seed, sizeof(seed), "%llu", (unsigned long long) o->seed);
	json_object_set_new(object, "data", json_string(o->data));
	json_object_set_new(object, "protocol", json_string(o->protocol));
	json_object_set_new(object, "loss", json_string(o->loss));
	json_object_set_new(object, "seed", json_string(seed));
	for (size_t i = 0; i < NFIELDS; i++)
	{
		double v = get_field(o, &fields[i]);

		json_object_set_new(
			object, fields[i].name,
			fields[i].type == FIELD_DOUBLE ? json_real(v) : json_integer((json_int_t) v));
	}
	text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
	json_decref(object);
	return text;
}

static bool
read_text(const json_t *object, const char *name, char *out, size_t size, TrainError *err)
{
	const char *text = json_string_value(json_object_get(object, name));

	if (!text || strlen(text) >= size)
		return train_fail(err, "options: \"%s\" is missing or too long", name);
	strcpy(out, text);
	return true;
}

bool
train_options_read(TrainOptions *o, const char *json, TrainError *err)
{
	json_error_t trouble;
	json_t *object = json_loads(json, JSON_REJECT_DUPLICATES, &trouble);
	char seed[32];
	bool ok;

	*o = (TrainOptions){0};
	if (!json_is_object(object))
	{
		json_decref(object);
		return train_fail(err, "options are not a JSON object: %s", trouble.text);
	}
	ok = read_text(object, "data", o->data, sizeof(o->data), err) &&
		 read_text(object, "protocol", o->protocol, sizeof(o->protocol), err) &&
		 read_text(object, "loss", o->loss, sizeof(o->loss), err) &&
		 read_text(object, "seed", seed, sizeof(seed), err);
	o->seed = ok ? strtoull(seed, NULL, 10) : 0;
	for (size_t i = 0; ok && i < NFIELDS; i++)
	{
		json_t *v = json_object_get(object, fields[i].name);

		if (!json_is_number(v))
			ok = train_fail(err, "options: \"%s\" is missing or not a number",
							fields[i].name);
		else if (!(fabs(json_number_value(v)) < 2e9))
			ok = train_fail(err, "options: \"%s\" is out of range", fields[i].name);
		else
			set_field(o, &fields[i], json_number_value(v));
	}
	if (ok && json_object_size(object) != NFIELDS + 4)
		ok = train_fail(err, "options have members that this version does not know");
	json_decref(object);
	return ok && train_options_check(o, err);
}
