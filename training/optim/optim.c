/*
 * optim.c
 *	  SGD with Nesterov momentum and AdamW.
 *
 * SGD as PyTorch writes it: g += decay p; m = momentum m + g (m = g at the first step,
 * m being zero); p -= rate (g + momentum m).  AdamW: Loshchilov, Hutter, "Decoupled
 * weight decay regularization", ICLR 2019, algorithm 2 with rate as the schedule.
 */
#include "training/optim/optim.h"

#include "nn/backward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

NN_WIDE void
optim_sgd(float *p, float *m, const float *grad, size_t n, double rate, double momentum,
		  double decay)
{
	float lr = (float) rate;
	float mu = (float) momentum;
	float wd = (float) decay;

	for (size_t i = 0; i < n; i++)
	{
		float g = grad[i] + wd * p[i];

		m[i] = mu * m[i] + g;
		p[i] -= lr * (g + mu * m[i]);
	}
}

NN_WIDE void
optim_adamw(float *p, float *m, float *v, const float *grad, size_t n, double rate,
			const NnUpdate *options, double decay, int64_t step)
{
	double b1 = options->beta1;
	double b2 = options->beta2;
	double scale = rate / (1 - pow(b1, (double) step));
	double unbias = 1 / (1 - pow(b2, (double) step));

	for (size_t i = 0; i < n; i++)
	{
		double g = grad[i];
		double first = b1 * m[i] + (1 - b1) * g;
		double second = b2 * v[i] + (1 - b2) * g * g;

		m[i] = (float) first;
		v[i] = (float) second;
		p[i] = (float) (p[i] - rate * decay * p[i] -
						scale * first / (sqrt(second * unbias) + options->eps));
	}
}

static bool
is_norm_bias(const NnGraph *g, int param)
{
	for (int i = 0; i < g->nnodes; i++)
		if (g->node[i].kind == NN_BATCHNORM && g->node[i].param[1] == param)
			return true;
	return false;
}

/* Positions of tokens, and their distances in windows. */
static bool
is_position(const NnGraph *g, int param)
{
	for (int i = 0; i < g->nnodes; i++)
		if ((g->node[i].kind == NN_POSITION || g->node[i].kind == NN_WINDOW_ATTENTION) &&
			g->node[i].param[0] == param)
			return true;
	return false;
}

void
optim_multipliers(const NnGraph *graph, double bias_rate, double *rate_of,
				  double *decay_of)
{
	for (int i = 0; i < graph->nparams; i++)
	{
		rate_of[i] = is_norm_bias(graph, i) ? bias_rate : 1;
		decay_of[i] = graph->param[i].shape.ndim > 1 && !is_position(graph, i) ? 1 : 0;
	}
}

static float *
zeros(Optim *o, size_t n, bool *ok)
{
	float *p = calloc(n + 1, sizeof(float));

	o->memory += n * sizeof(float);
	*ok = *ok && p;
	return p;
}

Optim *
optim_new(NnGraph *graph, NnUpdateKind kind, TrainError *err)
{
	Optim *o = calloc(1, sizeof(*o));
	size_t largest = 0;
	bool ok;

	if (o)
		o->state = calloc(graph->nparams, sizeof(*o->state));
	ok = o && o->state;
	if (ok)
	{
		o->kind = kind;
		o->graph = graph;
	}
	for (int i = 0; ok && i < graph->nparams; i++)
	{
		size_t size = nn_shape_size(&graph->param[i].shape);

		if (!graph->param[i].trainable)
			continue;
		o->state[i].m = zeros(o, size, &ok);
		if (kind == NN_ADAMW)
			o->state[i].v = zeros(o, size, &ok);
		largest = size > largest ? size : largest;
	}
	if (ok)
		o->clipped = zeros(o, largest, &ok);
	if (ok)
		return o;
	optim_free(o);
	train_fail(err, "out of memory for the optimiser");
	return NULL;
}

void
optim_free(Optim *o)
{
	if (!o)
		return;
	for (int i = 0; o->state && i < o->graph->nparams; i++)
	{
		free(o->state[i].m);
		free(o->state[i].v);
	}
	free(o->state);
	free(o->clipped);
	free(o);
}

/* Length of the whole gradient, summed in double in the order of parameters. */
static double
gradient_norm(const Optim *o, const float *(*gradient)(const void *arg, int param),
			  const void *arg)
{
	double sum = 0;

	for (int i = 0; i < o->graph->nparams; i++)
	{
		size_t size = nn_shape_size(&o->graph->param[i].shape);
		const float *g = o->state[i].m ? gradient(arg, i) : NULL;

		for (size_t k = 0; g && k < size; k++)
			sum += (double) g[k] * g[k];
	}
	return sqrt(sum);
}

/* The gradient of a parameter, shortened to fit a whole one of length clip. */
static const float *
clipped(Optim *o, const float *g, size_t n, double clip)
{
	float scale = (float) (clip / o->norm);

	if (!(clip > 0) || o->norm <= clip)
		return g;
	for (size_t i = 0; i < n; i++)
		o->clipped[i] = scale * g[i];
	return o->clipped;
}

void
optim_step(Optim *o, const NnUpdate *u,
		   const float *(*gradient)(const void *arg, int param), const void *arg)
{
	o->norm = u->clip > 0 ? gradient_norm(o, gradient, arg) : 0;
	for (int i = 0; i < o->graph->nparams; i++)
	{
		OptimState *s = &o->state[i];
		NnParam *p = &o->graph->param[i];
		size_t size = nn_shape_size(&p->shape);
		double rate = u->rate * u->rate_of[i];
		double decay = u->decay * u->decay_of[i];
		const float *g;

		if (!s->m)
			continue;
		g = clipped(o, gradient(arg, i), size, u->clip);
		if (o->kind == NN_SGD)
			optim_sgd(p->data, s->m, g, size, rate, u->momentum, decay);
		else
			optim_adamw(p->data, s->m, s->v, g, size, rate, u, decay, u->step);
	}
}

/* From a to b as x goes from 0 to 1. */
static double
way(double a, double b, double x, bool cosine)
{
	return a + (b - a) * (cosine ? (1 - cos(M_PI * x)) / 2 : x);
}

double
schedule_rate(const Schedule *s, int64_t step, int64_t total)
{
	double at = total > 1 ? (double) step / (double) total : 0;

	if (at < s->warm)
		return way(s->start, 1, at / s->warm, s->kind == SCHEDULE_ONE_CYCLE);
	if (s->warm >= 1)
		return 1;
	return way(1, s->end, (at - s->warm) / (1 - s->warm), s->kind != SCHEDULE_LINEAR);
}
