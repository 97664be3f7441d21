/*
 * arch.c
 *	  The registry of architectures, and what building one has in common.
 */
#include "training/arch/arch_internal.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const Arch *const archs[] = {
	&arch_speednet, &arch_resnet18, &arch_resnet34, &arch_resnet50,		 &arch_wrn,
	&arch_alexnet,	&arch_vgg_f,	&arch_vgg16,	&arch_squeezenet1_1, &arch_vit_ti,
	&arch_vit_s,	&arch_vit_b,	&arch_ae_vit,	&arch_swin_t,		 &arch_vae,
	&arch_cvae,		&arch_csvae,	&arch_vte,
};

#define NARCHS ((int) (sizeof archs / sizeof archs[0]))

const Arch *
arch_at(int i)
{
	return i >= 0 && i < NARCHS ? archs[i] : NULL;
}

const Arch *
arch_find(const char *name)
{
	for (int i = 0; i < NARCHS; i++)
		if (strcmp(archs[i]->name, name) == 0)
			return archs[i];
	return NULL;
}

const char *
arch_name_of(const Arch *arch)
{
	return arch->name;
}

const char *
arch_about(const Arch *arch)
{
	return arch->about;
}

const char *
arch_source(const Arch *arch)
{
	return arch->source;
}

const char *
arch_head_layer(const Arch *arch)
{
	return arch->head;
}

bool
arch_is_autoencoder(const Arch *arch)
{
	return arch->autoencoder;
}

/* ------------------------------------------------------------------ parameters */

const ArchParameter *
arch_parameter(const Arch *arch, int i)
{
	return i >= 0 && i < ARCH_MAX_PARAMETERS && arch->parameter[i].name
			   ? &arch->parameter[i]
			   : NULL;
}

void
arch_defaults(const Arch *arch, ArchOptions *o)
{
	*o = (ArchOptions){.height = arch->size,
					   .width = arch->size,
					   .head = ARCH_CLASSES,
					   .outputs = 1000,
					   .seed = 1};
	memcpy(o->mean, arch->mean, sizeof(o->mean));
	memcpy(o->std, arch->std, sizeof(o->std));
	if (arch->autoencoder)
	{
		o->head = ARCH_HASH;
		o->outputs = 64;
	}
	for (int i = 0; arch_parameter(arch, i); i++)
		o->value[i] = arch->parameter[i].initial;
}

static int
find_parameter(const Arch *arch, const char *key)
{
	for (int i = 0; arch_parameter(arch, i); i++)
		if (strcmp(arch->parameter[i].name, key) == 0)
			return i;
	return -1;
}

double
arch_value(const Arch *arch, const ArchOptions *o, const char *key)
{
	return o->value[find_parameter(arch, key)];
}

/* The place of value among "a|b|c"; -1: it is none of them. */
static int
choice_of(const char *choices, const char *value)
{
	size_t length = strlen(value);

	for (int place = 0; choices; place++)
	{
		const char *end = strchr(choices, '|');

		if (length == (end ? (size_t) (end - choices) : strlen(choices)) &&
			memcmp(choices, value, length) == 0)
			return place;
		choices = end ? end + 1 : NULL;
	}
	return -1;
}

static bool
unknown_key(const Arch *arch, const char *key, TrainError *err)
{
	char known[256] = "";

	for (int i = 0; arch_parameter(arch, i); i++)
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
				 i ? ", " : "", arch->parameter[i].name);
	return train_fail(err, "architecture %s has no parameter \"%.64s\" (it has %s)",
					  arch->name, key, known[0] ? known : "none");
}

bool
arch_set(const Arch *arch, ArchOptions *o, const char *key, const char *value,
		 TrainError *err)
{
	int at = find_parameter(arch, key);
	const ArchParameter *p;
	double number;
	char *end;

	if (at < 0)
		return unknown_key(arch, key, err);
	p = &arch->parameter[at];
	if (p->choices)
	{
		int place = choice_of(p->choices, value);

		if (place < 0)
			return train_fail(err, "%s of %s is one of %s, not \"%.64s\"", key,
							  arch->name, p->choices, value);
		o->value[at] = place;
		return true;
	}
	errno = 0;
	number = strtod(value, &end);
	if (errno || end == value || *end || !(number >= p->low && number <= p->high) ||
		(p->whole && number != floor(number)))
		return train_fail(err, "%s of %s is a %snumber from %g to %g, not \"%.64s\"", key,
						  arch->name, p->whole ? "whole " : "", p->low, p->high, value);
	o->value[at] = number;
	return true;
}

/* ---------------------------------------------------------------------- labels */

static void
put_value(const ArchParameter *p, double value, char *text, size_t size)
{
	const char *choice = p->choices;

	if (!choice)
	{
		snprintf(text, size, "%g", value);
		return;
	}
	for (int i = 0; i < (int) value && strchr(choice, '|'); i++)
		choice = strchr(choice, '|') + 1;
	snprintf(text, size, "%.*s", (int) strcspn(choice, "|"), choice);
}

const char *
arch_label(const Arch *arch, const ArchOptions *o, char *text, size_t size)
{
	size_t used = (size_t) snprintf(text, size, "%s", arch->name);

	for (int i = 0; arch_parameter(arch, i) && used < size; i++)
	{
		char value[32];

		if (o->value[i] == arch->parameter[i].initial)
			continue;
		put_value(&arch->parameter[i], o->value[i], value, sizeof(value));
		used += (size_t) snprintf(text + used, size - used, " %s=%s",
								  arch->parameter[i].name, value);
	}
	return text;
}

const Arch *
arch_from_label(const char *label, ArchOptions *o, TrainError *err)
{
	char copy[256];
	char *rest = copy;
	const Arch *arch;
	const char *word;

	snprintf(copy, sizeof(copy), "%s", label);
	word = strsep(&rest, " ");
	arch = arch_find(word);
	if (!arch)
	{
		train_fail(err, "unknown architecture \"%.64s\"", word);
		return NULL;
	}
	for (int i = 0; arch_parameter(arch, i); i++)
		o->value[i] = arch->parameter[i].initial;
	while ((word = strsep(&rest, " ")) != NULL)
	{
		char *value = strchr(word, '=');

		if (!value)
		{
			train_fail(err, "architecture \"%.64s\": \"%.64s\" is not NAME=VALUE", label,
					   word);
			return NULL;
		}
		*value = '\0';
		if (!arch_set(arch, o, word, value + 1, err))
			return NULL;
	}
	return arch;
}

/* -------------------------------------------------------------------- building */

ArchLayer
arch_layer(const char *format, ...)
{
	ArchLayer layer;
	va_list args;

	va_start(args, format);
	vsnprintf(layer.text, sizeof(layer.text), format, args);
	va_end(args);
	return layer;
}

int
arch_flatten(NnGraph *g, int x)
{
	NnShape flat = {.ndim = 1};

	if (x < 0)
		return -1;
	flat.dim[0] = (int) nn_shape_size(&g->node[x].shape);
	return nn_reshape(g, x, &flat);
}

int
arch_drop_path(NnGraph *g, int branch, double rate, int block, int blocks)
{
	return nn_drop_path(g, branch,
						(float) (rate * block / (blocks > 1 ? blocks - 1 : 1)));
}

int
arch_head(NnGraph *g, int x, const ArchOptions *o, const char *name)
{
	switch (o->head)
	{
		case ARCH_CLASSES:
			return nn_linear(g, x, name, o->outputs, true, NN_IDENTITY);
		case ARCH_HASH:
			x = nn_linear(g, x, "hash", o->outputs, false, NN_IDENTITY);
			x = nn_batchnorm(g, x, "hash_norm", 1e-5f);
			if (x >= 0)
				/* Codes are centred: each bit is on for about half of the pictures. */
				for (int p = 0; p < 2; p++)
					g->param[g->node[x].param[p]].trainable = false;
			return x;
		default:
			return x;
	}
}

/* What parameter "colours" asks for, unless the caller has colours of his own. */
static void
take_colours(const Arch *arch, ArchOptions *o)
{
	int at = find_parameter(arch, "colours");

	if (at < 0 || o->value[at] != 1 ||
		memcmp(o->mean, arch->mean, sizeof(o->mean)) != 0 ||
		memcmp(o->std, arch->std, sizeof(o->std)) != 0)
		return;
	for (int c = 0; c < 3; c++)
		o->mean[c] = o->std[c] = 0.5f;
}

static bool
check_options(const Arch *arch, ArchOptions *o, TrainError *err)
{
	if (o->height == 0)
		o->height = arch->size;
	if (o->width == 0)
		o->width = arch->size;
	if (o->height < arch->least || o->width < arch->least)
		return train_fail(err, "%s needs pictures of at least %dx%d pixels, not %dx%d",
						  arch->name, arch->least, arch->least, o->width, o->height);
	if (arch->multiple > 1 && (o->height % arch->multiple || o->width % arch->multiple))
		return train_fail(err,
						  "%s needs pictures with sides that are multiples of %d, not "
						  "%dx%d",
						  arch->name, arch->multiple, o->width, o->height);
	if (arch->autoencoder && o->head == ARCH_CLASSES)
		return train_fail(err, "%s gives codes, not classes", arch->name);
	if ((arch->autoencoder || o->head != ARCH_FEATURES) &&
		(o->outputs < 1 || o->outputs > NN_MAX_DIM))
		return train_fail(err, "a network of %d outputs cannot be built", o->outputs);
	take_colours(arch, o);
	if (!o->pictures && !(o->std[0] > 0))
	{
		/* Nothing is known of the pictures: all values of a byte alike. */
		for (int c = 0; c < 3; c++)
			o->mean[c] = 0.5f, o->std[c] = 0.29f;
	}
	else if (!(o->std[0] > 0))
		arch_colour_moments(o->pictures, o->mean, o->std);
	return !arch->check || arch->check(o, err);
}

NnGraph *
arch_build(const Arch *arch, const ArchOptions *options, TrainError *err)
{
	ArchOptions o = *options;
	NnGraph *g;
	NnError trouble;

	if (!check_options(arch, &o, err))
		return NULL;
	g = nn_graph_new();
	if (!g)
	{
		train_fail(err, "out of memory");
		return NULL;
	}
	g->borrows_data = o.shapes_only;
	arch->build(g, nn_input(g, o.height, o.width, o.mean, o.std), &o);
	if (!nn_graph_ok(g, &trouble))
	{
		nn_graph_free(g);
		train_fail(err, "%s at %dx%d pixels: %.400s", arch->name, o.width, o.height,
				   trouble.text);
		return NULL;
	}
	if (!o.shapes_only)
		arch_initialise(g, arch, &o);
	return g;
}

/* ----------------------------------------------------------------- other facts */

int
arch_depths(const Arch *arch, const ArchOptions *o)
{
	int n = 0;

	if (!arch->layers)
		return arch->depths(o);
	while (arch->layers[n])
		n++;
	return n + 1;
}

/* The place of the layer that param belongs to; -1: it is none of them. */
static int
place_among(const char *const *layers, const char *param)
{
	for (int i = 0; layers[i]; i++)
	{
		size_t n = strlen(layers[i]);

		if (strncmp(layers[i], param, n) == 0 && param[n] == '.')
			return i;
	}
	return -1;
}

int
arch_depth_of(const Arch *arch, const ArchOptions *o, const char *param)
{
	int depth = arch->layers ? place_among(arch->layers, param) : arch->depth(o, param);

	return depth >= 0 ? depth : arch_depths(arch, o) - 1;
}

ImagePreprocess
arch_preprocess(const Arch *arch, const ArchOptions *o)
{
	int height = o->height ? o->height : arch->size;
	int width = o->width ? o->width : arch->size;
	int side = height > width ? height : width;

	/* The same share of the picture at every size. */
	return (ImagePreprocess){.width = width,
							 .height = height,
							 .resize = side * arch->resize / arch->size,
							 .filter = arch->area ? IMAGE_AREA : IMAGE_BICUBIC};
}
