/*
 * objective.c
 *	  The losses of runs (objective.h).
 */
#include "training/run/objective.h"

#include <stdlib.h>
#include <string.h>

/* Outputs of an autoencoder's graph (arch/autoencoder.h). */
enum
{
	VAE_MU,
	VAE_LOGVAR,
	VAE_LOGITS,
	VAE_PICTURE,
	VAE_OUTPUTS
};

struct Objective
{
	const TrainOptions *options;
	const Loss *loss; /* NULL: that of autoencoders */
	int nclasses, label_words, pixels;
	double *centres;				 /* nclasses x bits */
	double *u, *grad, *grad_partner; /* n x bits, in double */
	float *out[NN_MAX_OUTPUTS];		 /* gradients; NULL: none wanted */
	size_t row[NN_MAX_OUTPUTS];		 /* their floats for one picture */
};

bool
objective_is_vae(const TrainOptions *o)
{
	return strcmp(o->loss, "vae") == 0;
}

static bool
take_hash(Objective *j, const Dataset *ds, int batch, TrainError *err)
{
	size_t n = (size_t) batch * j->options->bits;

	j->u = malloc(n * sizeof(double));
	j->grad = malloc(n * sizeof(double));
	j->grad_partner = malloc(n * sizeof(double));
	j->out[0] = malloc(n * sizeof(float));
	j->centres = malloc((size_t) j->options->bits * ds->nclasses * sizeof(double));
	if (!j->u || !j->grad || !j->grad_partner || !j->out[0] || !j->centres)
		return train_fail(err,
						  "out of memory for the loss of %d pictures: lower "
						  "train.batch",
						  batch);
	return loss_centres(ds->nclasses, j->options->bits, j->options->seed, j->centres,
						err);
}

static bool
take_vae(Objective *j, const NnGraph *graph, int batch, TrainError *err)
{
	j->pixels =
		(int) nn_shape_size(&graph->node[nn_graph_output_node(graph, VAE_PICTURE)].shape);
	for (int k = 0; k < VAE_PICTURE; k++)
	{
		j->out[k] = malloc(batch * j->row[k] * sizeof(float));
		if (!j->out[k])
			return train_fail(err,
							  "out of memory for the loss of %d pictures: lower "
							  "train.batch",
							  batch);
	}
	return true;
}

Objective *
objective_new(const TrainOptions *options, const Dataset *ds, const NnGraph *graph,
			  int batch, TrainError *err)
{
	Objective *j = calloc(1, sizeof(*j));
	bool vae = objective_is_vae(options);
	bool ok;

	if (!j)
	{
		train_fail(err, "out of memory");
		return NULL;
	}
	j->options = options;
	for (int k = 0; k < nn_graph_outputs(graph); k++)
		j->row[k] = nn_shape_size(&graph->node[nn_graph_output_node(graph, k)].shape);
	j->loss = vae ? NULL : loss_find(options->loss);
	j->nclasses = ds->nclasses;
	j->label_words = ds->label_words;
	if (vae != (nn_graph_outputs(graph) == VAE_OUTPUTS))
		ok = train_fail(err,
						"network.arch = %s and loss.kind = %s do not go together: "
						"autoencoders, and they alone, are trained by vae",
						options->arch, options->loss);
	else
		ok = vae ? take_vae(j, graph, batch, err) : take_hash(j, ds, batch, err);
	if (ok)
		return j;
	objective_free(j);
	return NULL;
}

void
objective_free(Objective *j)
{
	if (!j)
		return;
	free(j->centres);
	free(j->u);
	free(j->grad);
	free(j->grad_partner);
	for (int k = 0; k < NN_MAX_OUTPUTS; k++)
		free(j->out[k]);
	free(j);
}

static double
hash_loss(Objective *j, const float *u, const FeedBatch *batch)
{
	size_t n = (size_t) batch->n * j->options->bits;
	LossInput in = {
		.n = batch->n,
		.bits = j->options->bits,
		.nclasses = j->nclasses,
		.labels = batch->labels,
		.label_words = j->label_words,
		.centres = j->centres,
	};
	double loss;

	for (size_t i = 0; i < n; i++)
		j->u[i] = u[i];
	loss = loss_eval_mixed(j->loss, &in, batch->partner, batch->share,
						   &j->options->loss_options, j->u, j->grad, j->grad_partner);
	for (size_t i = 0; i < n; i++)
		j->out[0][i] = (float) j->grad[i];
	return loss;
}

static double
vae_loss(Objective *j, const float *const *out, const FeedBatch *batch, double epoch)
{
	const TrainOptions *o = j->options;
	VaeOptions options = {.reconstruction = o->vae.reconstruction};
	VaeOutputs outputs = {
		.n = batch->n,
		.latents = o->bits,
		.pixels = j->pixels,
		.mu = out[VAE_MU],
		.logvar = out[VAE_LOGVAR],
		.logits = out[VAE_LOGITS],
		.picture = out[VAE_PICTURE],
	};

	options.kl_weight = loss_vae_kl_weight(o->vae.kl_weight, o->vae_warm_up, epoch);
	return loss_vae(&outputs, &options, j->out[VAE_MU], j->out[VAE_LOGVAR],
					j->out[VAE_LOGITS])
		.loss;
}

double
objective_eval(Objective *j, const float *const *out, const FeedBatch *batch,
			   double epoch, double share)
{
	double loss = j->loss ? hash_loss(j, out[0], batch) : vae_loss(j, out, batch, epoch);

	if (share == 1)
		return loss;
	for (int k = 0; k < NN_MAX_OUTPUTS; k++)
		for (size_t i = 0; j->out[k] && i < batch->n * j->row[k]; i++)
			j->out[k][i] *= (float) share;
	return share * loss;
}

const float *const *
objective_gradients(const Objective *j)
{
	return (const float *const *) j->out;
}

bool
objective_thresholds(const TrainOptions *o, const float *logits, int n,
					 float **thresholds, TrainError *err)
{
	*thresholds = NULL;
	if (!objective_is_vae(o))
		return true;
	*thresholds = malloc(o->bits * sizeof(float));
	if (!*thresholds)
		return train_fail(err, "out of memory for %d thresholds", o->bits);
	for (int k = 0; k < o->bits; k++)
	{
		double sum = 0;

		for (int i = 0; i < n; i++)
			sum += logits[(size_t) i * o->bits + k];
		(*thresholds)[k] = (float) (sum / n);
	}
	return true;
}
