/*
 * import.c
 *	  Tensors of a safetensors file into a network, by name (import.h).
 *
 * Two passes: the first looks at every name, shape and value and tells what is wrong,
 * the second copies.
 */
#include "training/import/import.h"

#include "training/import/names.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Import
{
	NnGraph *g;
	const NnSafetensors *st;
	const ImportOptions *options;
	const NnTensor **found;	 /* per parameter, what the file has; NULL: nothing */
	const NnTensor **tensor; /* per parameter, what it takes; NULL: initial values */
	bool *wanted;			 /* per tensor: a parameter is called so */
	bool whole_head;		 /* the file has all of the network's head */
	int missing, surplus, misshapen, taken;
	char first[NN_MAX_NAME + 32]; /* the first trouble, for the summary */
} Import;

static void tell(const ImportOptions *options, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void
tell(const ImportOptions *options, const char *format, ...)
{
	char line[512];
	va_list args;

	if (!options->told)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	options->told(options->arg, line);
}

/* "1x197x192"; "scalar" for a tensor of no dimensions. */
static const char *
tensor_shape(const NnTensor *t, char *text, size_t size)
{
	size_t used = 0;

	snprintf(text, size, "scalar");
	for (int i = 0; i < t->ndim && used < size; i++)
		used += (size_t) snprintf(text + used, size - used, i ? "x%lld" : "%lld",
								  (long long) t->dim[i]);
	return text;
}

/*
 * The same but for leading ones, which frameworks keep for the batch, and but for a
 * convolution over all positions that the file has as a linear layer over flattened
 * ones: memory is laid out alike.
 */
static bool
shape_fits(const NnTensor *t, const NnShape *s)
{
	int skip = 0;

	while (skip < t->ndim && t->ndim - skip > s->ndim && t->dim[skip] == 1)
		skip++;
	if (t->ndim == 2 && s->ndim == 4)
		return t->dim[0] == s->dim[0] &&
			   t->dim[1] == (int64_t) s->dim[1] * s->dim[2] * s->dim[3];
	if (t->ndim - skip != s->ndim)
		return false;
	for (int i = 0; i < s->ndim; i++)
		if (t->dim[skip + i] != s->dim[i])
			return false;
	return true;
}

static bool
ends_with(const char *name, const char *ending)
{
	size_t n = strlen(name), m = strlen(ending);

	return n >= m && strcmp(name + n - m, ending) == 0;
}

/* What frameworks save beside the weights and compute anew. */
static bool
is_bookkeeping(const char *name)
{
	return ends_with(name, ".num_batches_tracked") ||
		   ends_with(name, "relative_position_index") || ends_with(name, "attn_mask");
}

/* Does name belong to the layer, or to one of layers "a|b"? */
static bool
of_layer(const char *name, const char *layers)
{
	while (layers && *layers)
	{
		size_t n = strcspn(layers, "|");

		if (strncmp(name, layers, n) == 0 && name[n] == '.')
			return true;
		layers += n + (layers[n] == '|');
	}
	return false;
}

static bool
is_head(const Import *im, const char *name)
{
	return of_layer(name, "hash") || of_layer(name, "hash_norm") ||
		   of_layer(name, im->options->head);
}

/* Is tensor t the file's head, under whatever name? */
static bool
is_head_tensor(const Import *im, const NnTensor *t)
{
	const char *const endings[] = {"weight", "bias"};
	const char *head = im->options->head;
	char name[NN_MAX_NAME];

	for (int i = 0; head && i < 2; i++)
	{
		snprintf(name, sizeof(name), "%.*s.%s", (int) strcspn(head, "|"), head,
				 endings[i]);
		if (import_tensor(im->st, name) == t)
			return true;
	}
	return is_head(im, t->name);
}

/* ------------------------------------------------------------------- positions */

typedef struct Grid
{
	int prefix, height, width; /* tokens before the patches; patches */
} Grid;

/* The patches behind a position embedding; false: parameter i is none. */
static bool
grid_of(const NnGraph *g, int i, Grid *grid)
{
	for (int k = 0; k < g->nnodes; k++)
	{
		const NnNode *node = &g->node[k];

		if (node->kind != NN_POSITION || node->param[0] != i)
			continue;
		grid->prefix = 0;
		while (node->shape.ndim != 3)
		{
			if (node->kind == NN_CLASS_TOKEN)
				grid->prefix++;
			if (node->ninputs == 0)
				return false;
			node = &g->node[node->input[0]];
		}
		grid->height = node->shape.dim[0];
		grid->width = node->shape.dim[1];
		return true;
	}
	return false;
}

/* The square of patches that tensor t has positions for; false: it has none. */
static bool
square_of(const NnTensor *t, const NnShape *s, const Grid *grid, int *side)
{
	int64_t patches;

	if (t->ndim < 2 || s->ndim != 2 || t->dim[t->ndim - 1] != s->dim[1])
		return false;
	for (int i = 0; i < t->ndim - 2; i++)
		if (t->dim[i] != 1)
			return false;
	patches = t->dim[t->ndim - 2] - grid->prefix;
	if (patches < 1 || patches > NN_MAX_DIM)
		return false;
	*side = (int) lround(sqrt((double) patches));
	return (int64_t) *side * *side == patches;
}

/* ----------------------------------------------------------------- first pass */

static void
remember(Import *im, const char *what, const char *name)
{
	if (!im->first[0])
		snprintf(im->first, sizeof(im->first), "%s %s", what, name);
}

static void
miss(Import *im, const NnParam *p)
{
	char shape[64];

	nn_shape_text(&p->shape, shape, sizeof(shape));
	if (im->options->fresh_head && is_head(im, p->name))
		return;
	im->missing++;
	remember(im, "missing", p->name);
	tell(im->options, "missing: %s (%s)%s", p->name, shape,
		 im->options->partial ? ", keeps its initial values" : "");
}

static void
match(Import *im, int i)
{
	const NnParam *p = &im->g->param[i];
	const NnTensor *t = im->found[i];
	bool fresh = im->options->fresh_head && is_head(im, p->name);
	char has[128], wants[64];
	Grid grid;
	int side;

	if (!t || (fresh && !im->whole_head))
	{
		miss(im, p);
		return;
	}
	if (!shape_fits(t, &p->shape) &&
		!(grid_of(im->g, i, &grid) && square_of(t, &p->shape, &grid, &side)))
	{
		im->misshapen++;
		remember(im, "other shape", p->name);
		tell(im->options, "other shape: %s is %s in the file, %s in the network", p->name,
			 tensor_shape(t, has, sizeof(has)),
			 nn_shape_text(&p->shape, wants, sizeof(wants)));
		return;
	}
	im->tensor[i] = t;
	im->taken++;
}

static void
look_for_surplus(Import *im)
{
	char shape[128];

	for (int i = 0; i < im->st->ntensors; i++)
	{
		const NnTensor *t = &im->st->tensor[i];
		bool wanted = im->wanted[i];
		bool head = im->options->fresh_head && is_head_tensor(im, t);

		if (is_bookkeeping(t->name) || (wanted && !(head && !im->whole_head)))
			continue;
		if (!head)
		{
			im->surplus++;
			remember(im, "surplus", t->name);
		}
		tell(im->options, "%s: %s (%s)%s", head ? "head left out" : "surplus", t->name,
			 tensor_shape(t, shape, sizeof(shape)),
			 !head && im->options->partial ? ", left out" : "");
	}
}

/* Does the file have the network's head as it is? */
static bool
has_whole_head(const Import *im)
{
	bool any = false;

	for (int i = 0; i < im->g->nparams; i++)
	{
		const NnParam *p = &im->g->param[i];
		const NnTensor *t;

		if (!is_head(im, p->name))
			continue;
		t = im->found[i];
		if (!t || !shape_fits(t, &p->shape))
			return false;
		any = true;
	}
	return any;
}

static bool
check_values(const Import *im, TrainError *err)
{
	NnError trouble;

	for (int i = 0; i < im->g->nparams; i++)
	{
		const NnTensor *t = im->tensor[i];
		float *values;
		bool negative = false;

		if (!t)
			continue;
		if (!nn_tensor_floats(t, NULL, &trouble))
			return train_fail(err, "%.500s", trouble.text);
		if (!ends_with(t->name, ".running_var"))
			continue;
		values = malloc(nn_tensor_values(t) * sizeof(float));
		if (!values || !nn_tensor_floats(t, values, &trouble))
		{
			free(values);
			return train_fail(err, "out of memory");
		}
		for (size_t k = 0; k < nn_tensor_values(t); k++)
			negative = negative || values[k] < 0;
		free(values);
		if (negative)
			return train_fail(err, "tensor \"%s\" has a negative variance", t->name);
	}
	return true;
}

static bool
verdict(const Import *im, TrainError *err)
{
	bool folded = !nn_safetensors_find(im->st, "bn1.weight") &&
				  nn_safetensors_find(im->st, "conv1.bias");

	if (im->taken == 0)
		return train_fail(err,
						  "none of the file's %d tensors has a name that this network "
						  "knows: weights of another architecture?",
						  im->st->ntensors);
	if (im->misshapen == 0 &&
		(im->options->partial || (im->missing == 0 && im->surplus == 0)))
		return true;
	return train_fail(err,
					  "the weights do not fit: %d missing, %d surplus, %d of another "
					  "shape (first: %s)%s",
					  im->missing, im->surplus, im->misshapen, im->first,
					  im->misshapen ? ""
					  : folded && im->surplus
						  ? "; the file's batch norms are folded into its convolutions"
						  : "; a partial import takes what fits");
}

/* ---------------------------------------------------------------- second pass */

static bool
take(Import *im, int i, TrainError *err)
{
	NnParam *p = &im->g->param[i];
	const NnTensor *t = im->tensor[i];
	Grid grid;
	NnError trouble;
	float *values;
	int side;
	bool ok;

	if (!t)
		return true;
	/* our own files may have oblong grids of a square number of patches */
	if (!grid_of(im->g, i, &grid) || !square_of(t, &p->shape, &grid, &side) ||
		(side == grid.height && side == grid.width) ||
		(shape_fits(t, &p->shape) && grid.height != grid.width &&
		 nn_safetensors_metadata(im->st, "deephash_format")))
		return nn_tensor_floats(t, p->data, &trouble) ||
			   train_fail(err, "%.500s", trouble.text);
	values = malloc(nn_tensor_values(t) * sizeof(float));
	ok = values && nn_tensor_floats(t, values, &trouble) &&
		 import_positions(values, side, side, p->data, grid.height, grid.width,
						  grid.prefix, p->shape.dim[1]);
	free(values);
	if (!ok)
		return train_fail(err, "out of memory for the positions");
	tell(im->options, "%s: interpolated from %dx%d to %dx%d positions", p->name, side,
		 side, grid.height, grid.width);
	return true;
}

static bool
import_all(Import *im, TrainError *err)
{
	for (int i = 0; i < im->g->nparams; i++)
	{
		im->found[i] = import_tensor(im->st, im->g->param[i].name);
		if (im->found[i])
			im->wanted[im->found[i] - im->st->tensor] = true;
	}
	im->whole_head = has_whole_head(im);
	for (int i = 0; i < im->g->nparams; i++)
		match(im, i);
	look_for_surplus(im);
	if (!verdict(im, err) || !check_values(im, err))
		return false;
	for (int i = 0; i < im->g->nparams; i++)
		if (!take(im, i, err))
			return false;
	return true;
}

bool
import_weights(NnGraph *g, const char *path, const ImportOptions *options,
			   TrainError *err)
{
	NnSafetensors st;
	NnError trouble;
	TrainError why;
	Import im = {.g = g, .st = &st, .options = options};
	bool ok;

	if (!nn_safetensors_open(path, &st, &trouble))
		return train_fail(err, "\"%.200s\": %.280s", path, trouble.text);
	im.found = calloc((size_t) g->nparams + 1, sizeof(*im.found));
	im.tensor = calloc((size_t) g->nparams + 1, sizeof(*im.tensor));
	im.wanted = calloc((size_t) st.ntensors + 1, sizeof(*im.wanted));
	ok = im.found && im.tensor && im.wanted ? import_all(&im, &why)
											: train_fail(&why, "out of memory");
	if (!ok)
		train_fail(err, "\"%.200s\": %.280s", path, why.text);
	free(im.found);
	free(im.tensor);
	free(im.wanted);
	nn_safetensors_close(&st);
	return ok;
}

/* -------------------------------------------------------------------- looking */

/* Set option `key` unless the architecture has none or it is already `value`. */
static void
adopt(const Arch *arch, ArchOptions *o, const char *key, double value, const char *why,
	  const ImportOptions *options)
{
	for (int i = 0; arch_parameter(arch, i); i++)
	{
		const ArchParameter *p = arch_parameter(arch, i);

		if (strcmp(p->name, key) != 0 || o->value[i] != p->initial ||
			o->value[i] == value || value < p->low || value > p->high)
			continue;
		o->value[i] = value;
		tell(options, "%s=%g: %s", key, value, why);
	}
}

/* Stages of a ResNet whose convolutions have biases, which torchvision's have not. */
static int
folded_stages(const NnSafetensors *st)
{
	int stages = 0;
	char name[64];

	if (!nn_safetensors_find(st, "conv1.bias") || nn_safetensors_find(st, "bn1.weight"))
		return 0;
	for (int s = 1; s <= 4; s++)
	{
		snprintf(name, sizeof(name), "layer%d.0.conv1.bias", s);
		if (nn_safetensors_find(st, name))
			stages = s;
	}
	return stages;
}

bool
import_look(const Arch *arch, const char *path, ArchOptions *o,
			const ImportOptions *options, TrainError *err)
{
	NnSafetensors st;
	NnError trouble;
	const NnTensor *t;
	char name[NN_MAX_NAME] = "";

	if (!nn_safetensors_open(path, &st, &trouble))
		return train_fail(err, "\"%.200s\": %.280s", path, trouble.text);
	adopt(arch, o, "folded", folded_stages(&st),
		  "the file's batch norms are folded into its convolutions", options);
	t = import_tensor(&st, "patch_embed.proj.weight");
	if (t && t->ndim == 4 && t->dim[2] == t->dim[3])
		adopt(arch, o, "patch", (double) t->dim[2], "the file's patches", options);
	if (nn_safetensors_find(&st, "blocks.0.ls1.gamma"))
		adopt(arch, o, "layerscale", 1e-5, "the file's blocks are scaled", options);
	if (arch_head_layer(arch))
		snprintf(name, sizeof(name), "%.*s.weight",
				 (int) strcspn(arch_head_layer(arch), "|"), arch_head_layer(arch));
	t = import_tensor(&st, name);
	if (o->head == ARCH_CLASSES && o->outputs == 0)
	{
		o->outputs =
			t && t->ndim >= 2 && t->dim[0] <= NN_MAX_DIM ? (int) t->dim[0] : 1000;
		tell(options, t ? "%d classes, as the file's head has" : "%d classes",
			 o->outputs);
	}
	nn_safetensors_close(&st);
	return true;
}
