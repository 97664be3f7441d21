/*
 * network.c
 *	  The network of a run (network.h).
 */
#include "training/run/network.h"

#include "training/import/import.h"
#include "training/run/sets.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Architecture and options by the run's label, widths and size. */
static const Arch *
resolve(const TrainOptions *o, ArchOptions *a, TrainError *err)
{
	char name[64];
	const Arch *arch;

	snprintf(name, sizeof(name), "%.*s", (int) strcspn(o->arch, " "), o->arch);
	arch = arch_find(o->arch[0] ? name : "speednet");
	if (!arch)
	{
		train_fail(err, "network.arch: unknown architecture \"%.64s\"", o->arch);
		return NULL;
	}
	arch_defaults(arch, a);
	if (o->arch[0] && !arch_from_label(o->arch, a, err))
		return NULL;
	if (network_is_speednet(o) && o->channels[0])
		for (int i = 0; i < 3; i++)
			a->value[i] = o->channels[i];
	if (o->size)
		a->height = a->width = o->size;
	a->head = ARCH_HASH;
	a->outputs = o->bits;
	a->seed = o->seed;
	return arch;
}

bool
network_is_speednet(const TrainOptions *o)
{
	size_t word = strcspn(o->arch, " ");

	return word == 0 ||
		   (word == strlen("speednet") && strncmp(o->arch, "speednet", word) == 0);
}

static void
pass_on(void *arg, const char *line)
{
	void (*const *told)(const char *) = arg;

	(*told)(line);
}

bool
network_look(TrainOptions *o, void (*told)(const char *line), TrainError *err)
{
	ImportOptions options = {.told = pass_on, .arg = &told};
	ArchOptions a;
	const Arch *arch;
	TrainError why;

	if (o->pretrained[0] == '\0')
		return true;
	arch = resolve(o, &a, err);
	if (!arch)
		return false;
	if (!import_look(arch, o->pretrained, &a, &options, &why))
		return train_fail(err, "network.pretrained: %.480s", why.text);
	if (!network_is_speednet(o))
		arch_label(arch, &a, o->arch, sizeof(o->arch));
	return true;
}

/* Errors name the setting, as they may come from a recipe. */
static NnGraph *
build(const TrainOptions *o, const Arch *arch, const ArchOptions *a, TrainError *err)
{
	TrainError why;
	NnGraph *g = arch_build(arch, a, &why);

	if (!g)
		train_fail(err, "network.arch = %s: %.400s", o->arch, why.text);
	return g;
}

NnGraph *
network_new(const TrainOptions *o, const Dataset *ds, TrainError *err)
{
	ArchOptions a;
	TrainError why;
	const Arch *arch = resolve(o, &a, err);
	ImportOptions options = {.fresh_head = true,
							 .head = arch ? arch_head_layer(arch) : NULL};
	NnGraph *g;

	if (!arch)
		return NULL;
	a.pictures = ds;
	g = build(o, arch, &a, err);
	if (!g || o->pretrained[0] == '\0')
		return g;
	if (import_weights(g, o->pretrained, &options, &why))
		return g;
	train_fail(err,
			   "network.pretrained: %.380s (deephash-train import FILE --arch %s names "
			   "every tensor)",
			   why.text, arch_name_of(arch));
	nn_graph_free(g);
	return NULL;
}

NnGraph *
network_shapes(const TrainOptions *o, TrainError *err)
{
	ArchOptions a;
	const Arch *arch = resolve(o, &a, err);

	if (!arch)
		return NULL;
	a.shapes_only = true;
	return build(o, arch, &a, err);
}

int
network_default_size(const TrainOptions *o)
{
	ArchOptions a;
	TrainError ignored;

	if (network_is_speednet(o) || !resolve(o, &a, &ignored))
		return sets_default_size(o->data);
	return a.height;
}

ImagePreprocess
network_preprocess(const TrainOptions *o)
{
	ArchOptions a;
	TrainError ignored;
	const Arch *arch = resolve(o, &a, &ignored);
	ImagePreprocess pre;

	if (!arch || network_is_speednet(o))
		return (ImagePreprocess){.width = o->size,
								 .height = o->size,
								 .resize = o->resize ? o->resize : o->size,
								 .filter = IMAGE_AREA};
	pre = arch_preprocess(arch, &a);
	if (o->resize)
		pre.resize = o->resize;
	return pre;
}

ImagePreprocess
network_stored(const TrainOptions *o)
{
	ImagePreprocess pre = network_preprocess(o);

	/* What lies beyond the network's crop is for random ones to reach. */
	if (o->augment.crop > 0)
		pre.width = pre.height = pre.resize;
	return pre;
}

double
network_rate_of(const TrainOptions *o, const char *param)
{
	ArchOptions a;
	TrainError ignored;
	const Arch *arch = resolve(o, &a, &ignored);

	if (!arch || o->layer_decay == 1)
		return 1;
	return pow(o->layer_decay,
			   arch_depths(arch, &a) - 1 - arch_depth_of(arch, &a, param));
}

const char *
network_label(const TrainOptions *o, char *text, size_t size)
{
	SpeednetShape shape = {.channels = {o->channels[0], o->channels[1], o->channels[2]}};

	if (network_is_speednet(o) && o->channels[0])
		return speednet_name(&shape, text, size);
	snprintf(text, size, "%s", o->arch[0] ? o->arch : "speednet");
	return text;
}
