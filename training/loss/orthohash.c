/*
 * orthohash.c
 *	  One loss for deep hashing: cosine softmax against fixed centres.
 *
 * Hoe, Ng, Zhang, Chan, Song, Xiang: "One Loss for All: Deep Hashing with a Single
 * Cosine Similarity based Learning Objective", NeurIPS 2021, eq. 8, with label
 * smoothing.  For an image with code logits u and classes Y out of C
 *
 *	  z_c = s (cos(u, t_c) - m [c in Y])
 *	  q_c = (1 - e) [c in Y] / |Y| + e / C
 *	  L	  = mean over labelled images of -sum_c q_c log softmax(z)_c
 *
 *	  dL/dcos_c = s (softmax(z)_c - q_c) / N
 *	  dL/du		= (sum_c dL/dcos_c t_c/|t_c| - (sum_c dL/dcos_c cos_c) u/|u|) / |u|
 *
 * With several labels the margin comes off every one of them.  Images without a
 * label say nothing and are not counted.  A zero vector has no direction: its
 * cosines are 0 and its gradient is 0.
 */
#include "training/loss/loss_internal.h"

#include <math.h>
#include <string.h>

/* Logits shorter than this are taken for the zero vector. */
#define NO_LENGTH 1e-12

static double
cosine(const double *u, double length, const double *centre, int bits)
{
	double dot = 0;

	if (length < NO_LENGTH)
		return 0;
	for (int k = 0; k < bits; k++)
		dot += u[k] * centre[k];
	return dot / (length * sqrt(bits));
}

/*
 * log(sum_c exp(z_c)) in one pass: the sum is kept relative to the largest z so
 * far, so nothing overflows and no row of logits need be stored.
 */
static double
log_sum_exp(const LossInput *in, const LossOptions *opt, int i, const double *u,
			double length)
{
	double largest = -INFINITY;
	double sum = 0;

	for (int c = 0; c < in->nclasses; c++)
	{
		double z = cosine(u, length, in->centres + (size_t) c * in->bits, in->bits);

		z = opt->scale * (z - (loss_has_label(in, i, c) ? opt->margin : 0));
		if (z <= largest)
			sum += exp(z - largest);
		else
		{
			sum = sum * exp(largest - z) + 1;
			largest = z;
		}
	}
	return largest + log(sum);
}

/* The loss of image i; its gradient, for a mean over nlabelled images, to grad. */
static double
one_image(const LossInput *in, const LossOptions *opt, int i, int nlabelled,
		  const double *u, double *grad)
{
	int bits = in->bits;
	int nlabels = loss_label_count(in, i);
	double norm = sqrt(bits);
	double length = 0;
	double along = 0; /* sum of dL/dcos_c cos_c */
	double loss = 0;
	double lse;

	for (int k = 0; k < bits; k++)
		length += u[k] * u[k];
	length = sqrt(length);
	lse = log_sum_exp(in, opt, i, u, length);
	for (int c = 0; c < in->nclasses; c++)
	{
		const double *centre = in->centres + (size_t) c * bits;
		bool own = loss_has_label(in, i, c);
		double cos_c = cosine(u, length, centre, bits);
		double z = opt->scale * (cos_c - (own ? opt->margin : 0));
		double q =
			opt->smoothing / in->nclasses + (own ? (1 - opt->smoothing) / nlabels : 0);
		double dcos = opt->scale * (exp(z - lse) - q) / nlabelled;

		loss -= q * (z - lse);
		along += dcos * cos_c;
		for (int k = 0; k < bits; k++)
			grad[k] += dcos * centre[k] / norm;
	}
	if (length < NO_LENGTH)
		memset(grad, 0, (size_t) bits * sizeof *grad);
	else
		for (int k = 0; k < bits; k++)
			grad[k] = (grad[k] - along * u[k] / length) / length;
	return loss;
}

static double
orthohash(const LossInput *in, const LossOptions *opt, const double *u, double *grad)
{
	int nlabelled = loss_labelled(in);
	double loss = 0;

	memset(grad, 0, (size_t) in->n * in->bits * sizeof *grad);
	if (nlabelled == 0)
		return 0;
	for (int i = 0; i < in->n; i++)
		if (loss_label_count(in, i) > 0)
			loss += one_image(in, opt, i, nlabelled, u + (size_t) i * in->bits,
							  grad + (size_t) i * in->bits);
	return loss / nlabelled;
}

const Loss loss_orthohash = {
	.name = "orthohash",
	.about = "OrthoHash (NeurIPS 2021): cosine softmax with margin against fixed centres",
	.defaults = {.scale = 8, .margin = 0.2, .smoothing = 0.05},
	.mixable = true,
	.eval = orthohash};
