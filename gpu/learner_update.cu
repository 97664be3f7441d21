/*
 * learner_update.cu
 *	  What follows the passes: is all of it finite, updates, averages.
 *
 * Parameters lie in pieces of PIECE floats that each belong to one, so that one loop over
 * all pieces does for all parameters; what differs between them is looked up.  Padding
 * holds zeros.
 */
#include <math.h>
#include <stdio.h>

#include "gpu/learner_parts.h"
#include "gpu/op_move.h"

#define LARGEST 3.402823466e38f

void
learner_clear(NnLearner *l, float *x, size_t count)
{
	clear(&l->m, x, count);
}

bool
learner_room_for_updates(NnLearner *l, NnError *err)
{
	size_t pieces = l->floats / PIECE, params = (size_t) l->graph->nparams;
	size_t flags = (params + 1) * sizeof(int), piece = 0;
	int *owner = (int *) calloc(pieces + 1, sizeof(int));
	bool ok = owner != NULL || nn_fail(err, "out of memory");

	for (size_t p = 0; ok && p < params; p++)
		for (size_t end = (l->at[p] + param_size(l, (int) p) + PIECE - 1) / PIECE;
			 piece < end; piece++)
			owner[piece] = (int) p;
	ok = ok && learner_room(l, &l->owner, pieces * sizeof(int), "parameters", err) &&
		 (pieces == 0 || gpu_up(&l->m, l->owner, owner, pieces * sizeof(int), err)) &&
		 gpu_wait(&l->m, err) &&
		 learner_room(l, &l->pace, (params + 1) * sizeof(Pace), "parameters", err) &&
		 gpu_allocate_host((void **) &l->host_pace, (params + 1) * sizeof(Pace), err) &&
		 learner_room(l, &l->sums, (NORM_PARTS + 1) * sizeof(double), "sums", err) &&
		 gpu_allocate_host((void **) &l->host_sums, sizeof(double), err) &&
		 learner_room(l, &l->clip, sizeof(float), "sums", err) &&
		 learner_room(l, &l->flag, flags, "flags", err) &&
		 gpu_allocate_host((void **) &l->host_flag, flags, err);
	free(owner);
	return ok;
}

/* ------------------------------------------------------------------- not finite */

/* The outputs are on the host. */
static bool
output_not_finite(const NnLearner *l, char *name, size_t size)
{
	for (int k = 0; k < nn_graph_outputs(l->graph); k++)
		for (size_t i = 0; i < output_size(l, k, l->batch.n); i++)
			if (!isfinite(l->host_out[k][i]))
			{
				snprintf(name, size, "%s", nn_layer_name(l->graph, output_of(l, k)));
				return true;
			}
	return false;
}

/*
 * Weights are looked at as well: where one is not finite, a fused ReLU may make 0 of what
 * comes of it.  Whoever writes a flag writes the same.
 */
static void
flag_parameters(NnLearner *l)
{
	const float *grad = l->part[NN_GRADIENT], *value = l->part[NN_VALUE];
	const int *owner = l->owner;
	int *flag = l->flag, params = l->graph->nparams;

	each(&l->m, (size_t) params + 1, [=] ON_GPU(size_t p) { flag[p] = 0; });
	each(&l->m, l->floats,
		 [=] ON_GPU(size_t i)
		 {
			 if (!(fabsf(grad[i]) <= LARGEST) || !(fabsf(value[i]) <= LARGEST))
				 flag[owner[i / PIECE]] = flag[params] = 1;
		 });
}

int
cuda_not_finite(NnLearner *l, char *name, size_t size, NnError *err)
{
	const NnGraph *g = l->graph;
	int *any = l->host_flag + g->nparams;

	if (output_not_finite(l, name, size))
		return 1;
	flag_parameters(l);
	if (!gpu_down(&l->m, any, l->flag + g->nparams, sizeof(int), err) ||
		!learner_wait(l, err))
		return -1;
	if (!*any)
		return 0;
	if (!gpu_down(&l->m, l->host_flag, l->flag, (size_t) g->nparams * sizeof(int), err) ||
		!learner_wait(l, err))
		return -1;
	for (int p = 0; p < g->nparams; p++)
		if (l->host_flag[p])
		{
			snprintf(name, size, "%s", g->param[p].name);
			break;
		}
	return 1;
}

/* ----------------------------------------------------------------------- updates */

/* clip = what makes the whole gradient no longer than `longest`; its length after sums */
static void
measure_gradient(NnLearner *l, double longest)
{
	const float *grad = l->part[NN_GRADIENT];
	size_t floats = l->floats;
	double *sums = l->sums;
	float *clip = l->clip;

	each(&l->m, NORM_PARTS,
		 [=] ON_GPU(size_t i)
		 {
			 double part = 0;

			 for (size_t k = i; k < floats; k += NORM_PARTS)
				 part += (double) grad[k] * (double) grad[k];
			 sums[i] = part;
		 });
	each(&l->m, 1,
		 [=] ON_GPU(size_t)
		 {
			 double sum = 0, length;

			 for (int i = 0; i < NORM_PARTS; i++)
				 sum += sums[i];
			 length = sqrt(sum);
			 sums[NORM_PARTS] = length;
			 *clip = length > longest ? (float) (longest / length) : 1.0f;
		 });
}

static void
update_sgd(NnLearner *l, const NnUpdate *u, const float *clip)
{
	float *p = l->part[NN_VALUE], *m = l->part[NN_MOMENT1];
	const float *grad = l->part[NN_GRADIENT];
	const int *owner = l->owner;
	const Pace *pace = l->pace;
	float mu = (float) u->momentum;

	each(&l->m, l->floats,
		 [=] ON_GPU(size_t i)
		 {
			 Pace own = pace[owner[i / PIECE]];
			 float g = (clip ? *clip : 1.0f) * grad[i] + (float) own.decay * p[i];

			 if (!own.trainable)
				 return;
			 m[i] = mu * m[i] + g;
			 p[i] -= (float) own.rate * (g + mu * m[i]);
		 });
}

static void
update_adamw(NnLearner *l, const NnUpdate *u, const float *clip)
{
	float *p = l->part[NN_VALUE], *m = l->part[NN_MOMENT1], *v = l->part[NN_MOMENT2];
	const float *grad = l->part[NN_GRADIENT];
	const int *owner = l->owner;
	const Pace *pace = l->pace;
	double b1 = u->beta1, b2 = u->beta2, eps = u->eps;
	double start = 1 - pow(b1, (double) u->step);
	double unbias = 1 / (1 - pow(b2, (double) u->step));

	each(&l->m, l->floats,
		 [=] ON_GPU(size_t i)
		 {
			 Pace own = pace[owner[i / PIECE]];
			 double g = (double) ((clip ? *clip : 1.0f) * grad[i]);
			 double first = b1 * (double) m[i] + (1 - b1) * g;
			 double second = b2 * (double) v[i] + (1 - b2) * g * g;

			 if (!own.trainable)
				 return;
			 m[i] = (float) first;
			 v[i] = (float) second;
			 p[i] = (float) ((double) p[i] - own.rate * own.decay * (double) p[i] -
							 own.rate / start * first / (sqrt(second * unbias) + eps));
		 });
}

static bool
send_pace(NnLearner *l, const NnUpdate *u, NnError *err)
{
	int params = l->graph->nparams;

	if (l->in_flight[FLIGHT_PACE] && !learner_wait(l, err))
		return false;
	l->in_flight[FLIGHT_PACE] = true;
	for (int p = 0; p < params; p++)
		l->host_pace[p] = Pace{u->rate * u->rate_of[p], u->decay * u->decay_of[p],
							   l->graph->param[p].trainable};
	return gpu_up(&l->m, l->pace, l->host_pace, (size_t) params * sizeof(Pace), err);
}

/* Waits only where the length is asked for. */
bool
cuda_update(NnLearner *l, const NnUpdate *u, double *norm, NnError *err)
{
	const float *clip = u->clip > 0 ? l->clip : NULL;

	if (!send_pace(l, u, err))
		return false;
	if (clip)
		measure_gradient(l, u->clip);
	if (l->options.update == NN_ADAMW)
		update_adamw(l, u, clip);
	else
		update_sgd(l, u, clip);
	l->stale = true;
	if (!norm)
		return true;
	*norm = 0;
	if (!clip)
		return true;
	if (!gpu_down(&l->m, l->host_sums, l->sums + NORM_PARTS, sizeof(double), err) ||
		!learner_wait(l, err))
		return false;
	*norm = *l->host_sums;
	return true;
}

bool
cuda_average(NnLearner *l, double weight, bool back, NnError *err)
{
	float *average = l->part[NN_AVERAGE], *value = l->part[NN_VALUE];
	float w = (float) weight;

	if (!average)
		return nn_fail(err, "no average of the weights is kept");
	each(&l->m, l->floats,
		 [=] ON_GPU(size_t i)
		 {
			 average[i] += w * (value[i] - average[i]);
			 if (back)
				 value[i] = average[i];
		 });
	l->stale |= back;
	return true;
}
