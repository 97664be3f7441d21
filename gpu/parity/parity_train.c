/*
 * parity_train.c
 *	  A learner beside the CPU's: outputs, gradients, updates, averages.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/parity/parity_tolerance.h"
#include "gpu/parity/parity_train.h"
#include "training/learner/learner.h"

#define STEPS 3

#define FIRST_STATE 4711

static uint64_t state = FIRST_STATE;

static float
draw(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (float) (state >> 40) / 8388608.0f - 1.0f;
}

typedef struct Worst
{
	double far;
	char what[NN_MAX_NAME + 32];
} Worst;

/* |a - b| / (|a| + floor) */
static void
look(Worst *worst, const char *what, const char *name, const float *a, const float *b,
	 size_t n, double floor)
{
	double apart = 0, length = 0, far;

	for (size_t i = 0; i < n; i++)
	{
		apart += ((double) a[i] - b[i]) * ((double) a[i] - b[i]);
		length += (double) a[i] * a[i];
	}
	far = sqrt(apart) / (sqrt(length) + floor + 1e-12);
	if (!(far <= worst->far))
	{
		worst->far = isnan(far) ? INFINITY : far;
		snprintf(worst->what, sizeof(worst->what), "%s %s", what, name);
	}
}

typedef struct Pair
{
	const NnLearnerDevice *device[2];
	NnGraph *graph[2];
	NnLearner *learner[2];
	const NnLearnerOptions *options;
	uint8_t *images;
	float *grad[NN_MAX_OUTPUTS];
	float *part[2]; /* room for the largest parameter */
} Pair;

static void
fill(NnGraph *g)
{
	for (int p = 0; p < g->nparams; p++)
	{
		size_t n = nn_shape_size(&g->param[p].shape);
		size_t fan =
			g->param[p].shape.ndim > 1 ? n / (size_t) g->param[p].shape.dim[0] : 1;
		bool variance = strstr(g->param[p].name, "running_var") != NULL;

		for (size_t i = 0; i < n; i++)
			g->param[p].data[i] = variance	? 1 + 0.5f * draw()
								  : fan > 1 ? draw() * 1.7f / sqrtf((float) fan)
											: g->param[p].data[i] + 0.2f * draw();
	}
}

/* Compare a part of all parameters; gradients also get a floor by the longest. */
static bool
look_parts(Pair *p, NnPart part, const char *what, Worst *worst, NnError *err)
{
	double longest = 0;

	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < p->graph[0]->nparams; i++)
		{
			size_t n = nn_shape_size(&p->graph[0]->param[i].shape);
			double length = 0;

			if (!p->device[0]->has(p->learner[0], i, part))
				continue;
			if (!p->device[0]->read(p->learner[0], i, part, p->part[0], err) ||
				!p->device[1]->read(p->learner[1], i, part, p->part[1], err))
				return false;
			for (size_t k = 0; k < n; k++)
				length += (double) p->part[0][k] * p->part[0][k];
			longest = fmax(longest, sqrt(length));
			if (pass == 1)
				look(worst, what, p->graph[0]->param[i].name, p->part[0], p->part[1], n,
					 0.01 * longest);
		}
	return true;
}

/* Both passes over pictures first .. first+n-1. */
static bool
passes(Pair *p, int step, int first, int n, Worst *worst, NnError *err)
{
	const NnGraph *g = p->graph[0];
	size_t picture = nn_shape_size(&g->node[0].shape);
	NnBatch batch = {p->images + (size_t) first * picture, n, first,
					 1000 + (uint64_t) step, 0.1f};
	const float *out[2][NN_MAX_OUTPUTS];

	for (int d = 0; d < 2; d++)
		if (!p->device[d]->forward(p->learner[d], &batch, true, out[d], err))
			return false;
	for (int k = 0; k < nn_graph_outputs(g); k++)
		look(worst, "output", "", out[0][k], out[1][k],
			 (size_t) n * nn_shape_size(&g->node[nn_graph_output_node(g, k)].shape), 0);
	for (int d = 0; d < 2; d++)
		if (!p->device[d]->backward(p->learner[d], (const float *const *) p->grad,
									first > 0, err))
			return false;
	/* the second part's pictures ahead, in two steps as they will come, in one not */
	if (first > 0 || !p->device[1]->stage)
		return true;
	return p->device[1]->stage(p->learner[1], p->images + (size_t) n * picture,
							   step == 2 ? n : n - 1, err);
}

static bool
steps(Pair *p, Worst *worst, NnError *err)
{
	int n = p->options->max_batch;
	double *ones = malloc((size_t) p->graph[0]->nparams * sizeof(double) + 1);
	char name[NN_MAX_NAME] = "";
	double norm[2] = {0, 0};
	bool ok = true;

	for (int i = 0; i < p->graph[0]->nparams; i++)
		ones[i] = 1 - 0.1 * (i % 3);
	for (int step = 1; ok && step <= STEPS; step++)
	{
		NnUpdate u = {.rate = 1e-3,
					  .momentum = 0.9,
					  .beta1 = 0.9,
					  .beta2 = 0.99,
					  .eps = 1e-4,
					  .step = step,
					  .decay = 0.01,
					  .clip = 0.5,
					  .rate_of = ones,
					  .decay_of = ones};

		ok = passes(p, step, 0, n, worst, err) && passes(p, step, n, n - 1, worst, err) &&
			 look_parts(p, NN_GRADIENT, "gradient", worst, err);
		if (ok && p->device[1]->not_finite(p->learner[1], name, sizeof(name), err) != 0)
			ok = nn_fail(err, "%s is said not to be finite", name);
		for (int d = 0; ok && d < 2; d++)
			ok = p->device[d]->update(p->learner[d], &u, &norm[d], err) &&
				 p->device[d]->average(p->learner[d], 0.1, step == STEPS, err);
		if (ok)
			look(worst, "length of the gradient", "", (float[]){(float) norm[0]},
				 (float[]){(float) norm[1]}, 1, 0);
	}
	free(ones);
	return ok && look_parts(p, NN_VALUE, "value", worst, err) &&
		   look_parts(p, NN_AVERAGE, "average", worst, err) &&
		   look_parts(p, NN_MOMENT1, "moment", worst, err);
}

bool
parity_train(const NnLearnerDevice *device, NnGraph *g, const NnLearnerOptions *options,
			 char *text, size_t size)
{
	Pair p = {.device = {&learner_cpu, device}, .options = options};
	NnLearnerOptions plain = *options;
	Worst worst = {-1, ""};
	double tolerance = 0;
	size_t pictures, largest = 1;
	NnError err = {""};
	bool ok = nn_graph_ok(g, &err);

	/* What is drawn for a case does not depend on the cases before it. */
	state = FIRST_STATE;
	if (!ok)
	{
		snprintf(text, size, "%s", err.text);
		nn_graph_free(g);
		return false;
	}
	tolerance = parity_tolerance(g, options);
	plain.precision = NN_FLOAT32;
	plain.recompute = false;
	pictures = 2 * (size_t) options->max_batch * nn_shape_size(&g->node[0].shape);
	p.images = malloc(pictures);
	for (size_t i = 0; i < pictures; i++)
		p.images[i] = (uint8_t) (128 + 127 * draw());
	for (int k = 0; k < nn_graph_outputs(g); k++)
	{
		size_t n = (size_t) options->max_batch *
				   nn_shape_size(&g->node[nn_graph_output_node(g, k)].shape);

		p.grad[k] = malloc(n * sizeof(float));
		for (size_t i = 0; i < n; i++)
			p.grad[k][i] = draw();
	}
	fill(g);
	for (int i = 0; i < g->nparams; i++)
		if (nn_shape_size(&g->param[i].shape) > largest)
			largest = nn_shape_size(&g->param[i].shape);
	for (int d = 0; d < 2; d++)
		p.part[d] = malloc(largest * sizeof(float));
	p.graph[0] = g;
	p.graph[1] = nn_graph_copy(g);
	p.learner[0] = learner_cpu.open(p.graph[0], &plain, &err);
	p.learner[1] = p.learner[0] ? device->open(p.graph[1], options, &err) : NULL;
	ok = p.learner[1] && steps(&p, &worst, &err);
	if (ok)
		snprintf(text, size, "off by %.1e of its length, %.1e allowed: %s", worst.far,
				 tolerance, worst.what);
	else
		snprintf(text, size, "%s", err.text);
	for (int d = 0; d < 2; d++)
	{
		p.device[d]->close(p.learner[d]);
		nn_graph_free(p.graph[d]);
		free(p.part[d]);
	}
	for (int k = 0; k < NN_MAX_OUTPUTS; k++)
		free(p.grad[k]);
	free(p.images);
	return ok && worst.far <= tolerance;
}

/* -------------------------------------------------------------------- networks */

static const float mean[3] = {0.5f, 0.5f, 0.5f}, deviation[3] = {0.25f, 0.25f, 0.25f};

/* Residual, strided, grouped and depthwise convolutions, norms, pools. */
static void
convolutional(NnGraph *g, int x)
{
	int y;

	x = nn_conv2d(g, x, "first", 8, 3, 3, 1, 1, 1, false, NN_IDENTITY);
	x = nn_activation(g, nn_batchnorm(g, x, "norm1", 1e-3f), NN_RELU);
	y = nn_conv2d(g, x, "point", 8, 1, 1, 1, 0, 1, true, NN_IDENTITY);
	y = nn_activation(g, y, NN_SILU);
	x = nn_add(g, x, y);
	x = nn_maxpool(g, x, 3, 2, 1);
	x = nn_conv2d(g, x, "grouped", 12, 3, 3, 2, 1, 4, true, NN_IDENTITY);
	x = nn_activation(g, x, NN_GELU);
	x = nn_conv2d(g, x, "deep", 12, 3, 3, 1, 1, 12, true, NN_IDENTITY);
	x = nn_simam(g, nn_activation(g, x, NN_TANH), 1e-2f);
	x = nn_avgpool(g, x, 2, 1, 0);
	x = nn_linear(g, nn_global_avgpool(g, x), "head", 6, false, NN_IDENTITY);
	nn_batchnorm(g, x, "head_norm", 1e-3f);
}

static void
transformer(NnGraph *g, int x)
{
	const NnShape tokens = {2, {16, 12}};
	int y;

	x = nn_conv2d(g, x, "patch", 12, 4, 4, 4, 0, 1, true, NN_IDENTITY);
	x = nn_class_token(g, nn_reshape(g, x, &tokens), "cls");
	x = nn_dropout(g, nn_position(g, x, "pos"), 0.2f);
	y = nn_linear(g, nn_layernorm(g, x, "n1", 1e-3f), "qkv", 36, true, NN_IDENTITY);
	y = nn_linear(g, nn_attention(g, y, 3), "proj", 12, true, NN_IDENTITY);
	x = nn_add(g, x, nn_drop_path(g, nn_layerscale(g, y, "ls"), 0.3f));
	y = nn_linear(g, nn_layernorm(g, x, "n2", 1e-3f), "fc1", 24, true, NN_IDENTITY);
	y = nn_linear(g, nn_activation(g, y, NN_GELU), "fc2", 12, true, NN_IDENTITY);
	x = nn_softmax(g, nn_scale(g, nn_add(g, x, y), 2));
	y = nn_reduce(g, x, 0, true);
	x = nn_mul(g, nn_token(g, x, 0), nn_activation(g, y, NN_SIGMOID));
	nn_linear(g, x, "head", 5, true, NN_IDENTITY);
}

/* Shifted windows on both levels of a map; slices and concatenations. */
static void
windows(NnGraph *g, int x)
{
	const int swap[3] = {1, 0, 2};
	int y[2];

	x = nn_conv2d(g, x, "patch", 8, 2, 2, 2, 0, 1, true, NN_IDENTITY);
	for (int i = 0; i < 2; i++)
	{
		char name[16];

		snprintf(name, sizeof(name), "qkv%d", i);
		y[0] = nn_linear(g, nn_layernorm(g, x, i ? "n1" : "n0", 1e-3f), name, 24, true,
						 NN_IDENTITY);
		y[0] = nn_window_attention(g, y[0], i ? "a1" : "a0", 2, 4, i * 2);
		x = nn_add(g, x, y[0]);
	}
	y[0] = nn_slice(g, x, 2, 2, 4);
	y[1] = nn_permute(g, nn_slice(g, x, 2, 4, 4), swap);
	x = nn_concat(g, y, 2, 2);
	nn_linear(g, nn_global_avgpool(g, x), "head", 5, true, NN_IDENTITY);
}

/* A code with two ends, a decoder, and an input read as numbers of rows. */
static void
autoencoder(NnGraph *g, int x)
{
	const NnShape map = {3, {4, 4, 3}};
	int code, logvar, y, out[3];

	y = nn_conv2d(g, x, "down", 6, 4, 4, 4, 0, 1, true, NN_IDENTITY);
	y = nn_global_avgpool(g, nn_activation(g, y, NN_LEAKY_RELU));
	code = nn_linear(g, y, "mu", 5, true, NN_IDENTITY);
	logvar = nn_linear(g, y, "logvar", 5, true, NN_IDENTITY);
	y = nn_reparameterise(g, code, logvar);
	y = nn_reshape(g, nn_linear(g, y, "up", 48, true, NN_IDENTITY), &map);
	y = nn_upsample(g, y, 2, true);
	y = nn_conv_transpose2d(g, y, "t", 4, 3, 2, 1, 1, 1, true, NN_IDENTITY);
	y = nn_upsample(g, nn_activation(g, y, NN_RELU6), 2, false);
	y = nn_conv2d(g, y, "last", 2, 1, 1, 1, 0, 1, true, NN_IDENTITY);
	out[0] = code;
	out[1] = logvar;
	out[2] = y;
	nn_graph_set_outputs(g, out, 3);
}

static void
rows(NnGraph *g, int x)
{
	const NnShape flat = {1, {48}};

	x = nn_reshape(g, nn_slice(g, nn_slice(g, x, 0, 3, 4), 1, 2, 4), &flat);
	x = nn_embedding(g, nn_scale(g, x, 2), "table", 5, 7);
	x = nn_reduce(g, nn_layernorm(g, x, "n", 1e-3f), 0, false);
	nn_linear(g, x, "head", 5, true, NN_IDENTITY);
}

/* ReLU right after layers, which the GPU's learner joins, but for one read twice. */
static void
rectified(NnGraph *g, int x)
{
	const NnShape flat = {1, {96}};
	int y;

	x = nn_conv2d(g, x, "first", 6, 3, 3, 2, 1, 1, true, NN_IDENTITY);
	x = nn_activation(g, x, NN_RELU);
	y = nn_conv2d(g, x, "twice", 6, 1, 1, 1, 0, 1, true, NN_IDENTITY);
	x = nn_add(g, nn_activation(g, y, NN_RELU), y);
	x = nn_conv2d(g, x, "deep", 6, 3, 3, 1, 1, 6, true, NN_IDENTITY);
	x = nn_activation(g, x, NN_RELU);
	x = nn_conv_transpose2d(g, x, "up", 4, 2, 2, 0, 0, 1, true, NN_IDENTITY);
	x = nn_maxpool(g, nn_activation(g, x, NN_RELU), 2, 2, 0);
	x = nn_conv2d(g, x, "point", 6, 1, 1, 1, 0, 1, true, NN_IDENTITY);
	x = nn_avgpool(g, nn_activation(g, x, NN_RELU), 2, 2, 0);
	x = nn_linear(g, nn_reshape(g, x, &flat), "fc1", 20, true, NN_IDENTITY);
	x = nn_dropout(g, nn_activation(g, x, NN_RELU), 0.3f);
	x = nn_linear(g, x, "fc2", 20, false, NN_IDENTITY);
	nn_linear(g, nn_activation(g, x, NN_RELU), "head", 5, true, NN_IDENTITY);
}

NnGraph *
parity_network(int i, const char **name)
{
	static const struct
	{
		const char *name;
		void (*build)(NnGraph *g, int x);
	} all[] = {{"convolutions, norms, pools", convolutional},
			   {"transformer", transformer},
			   {"windows", windows},
			   {"autoencoder", autoencoder},
			   {"embedding", rows},
			   {"layers and ReLU", rectified}};
	NnGraph *g;

	if (i >= (int) (sizeof(all) / sizeof(all[0])))
		return NULL;
	*name = all[i].name;
	g = nn_graph_new();
	all[i].build(g, nn_input(g, 16, 16, mean, deviation));
	return g;
}
