/*
 * vae.c
 *	  The loss of autoencoders with a Gaussian code (vae.h).
 */
#include "training/loss/vae.h"

#include <math.h>

#define DEAD_VARIANCE 0.01

/*
 * Of one picture, -1/2 sum (1 + lv - mu^2 - e^lv); gradients mu and (e^lv - 1)/2.
 */
static double
divergence(const float *mu, const float *logvar, int latents, double share,
		   float *grad_mu, float *grad_logvar)
{
	double sum = 0;

	for (int j = 0; j < latents; j++)
	{
		double m = mu[j], lv = logvar[j], variance = exp(lv);

		sum += 1 + lv - m * m - variance;
		grad_mu[j] = (float) (share * m);
		grad_logvar[j] = (float) (share * 0.5 * (variance - 1));
	}
	return -0.5 * sum;
}

/* Sum over pixels of log(1 + e^a) - x a; gradient sigmoid(a) - x. */
static double
cross_entropy(const float *logits, const float *picture, int pixels, double share,
			  float *grad)
{
	double sum = 0;

	for (int i = 0; i < pixels; i++)
	{
		double a = logits[i], x = picture[i], e = exp(-fabs(a));

		sum += fmax(a, 0) + log1p(e) - x * a;
		grad[i] = (float) (share * ((a >= 0 ? 1 : e) / (1 + e) - x));
	}
	return sum;
}

/* Half the sum of squares; gradient (y - x) y (1 - y) with y = sigmoid(a). */
static double
half_square(const float *logits, const float *picture, int pixels, double share,
			float *grad)
{
	double sum = 0;

	for (int i = 0; i < pixels; i++)
	{
		double e = exp(-fabs((double) logits[i]));
		double y = (logits[i] >= 0 ? 1 : e) / (1 + e);
		double off = y - picture[i];

		sum += 0.5 * off * off;
		/* y (1 - y) = e / (1 + e)^2, exact for both signs */
		grad[i] = (float) (share * off * e / ((1 + e) * (1 + e)));
	}
	return sum;
}

VaeLoss
loss_vae(const VaeOutputs *in, const VaeOptions *options, float *grad_mu,
		 float *grad_logvar, float *grad_logits)
{
	VaeLoss sum = {0};
	double share = 1.0 / in->n;

	for (int i = 0; i < in->n; i++)
	{
		size_t l = (size_t) i * in->latents, p = (size_t) i * in->pixels;

		sum.kl += divergence(in->mu + l, in->logvar + l, in->latents,
							 share * options->kl_weight, grad_mu + l, grad_logvar + l);
		sum.reconstruction +=
			(options->reconstruction == VAE_MSE ? half_square : cross_entropy)(
				in->logits + p, in->picture + p, in->pixels, share, grad_logits + p);
	}
	sum.kl *= share;
	sum.reconstruction *= share;
	sum.loss = sum.reconstruction + options->kl_weight * sum.kl;
	return sum;
}

int
loss_vae_dead(const float *mu, int n, int latents)
{
	int dead = 0;

	for (int j = 0; j < latents; j++)
	{
		double mean = 0, variance = 0;

		for (int i = 0; i < n; i++)
			mean += mu[(size_t) i * latents + j];
		mean /= n;
		for (int i = 0; i < n; i++)
		{
			double off = mu[(size_t) i * latents + j] - mean;

			variance += off * off;
		}
		dead += variance / n < DEAD_VARIANCE;
	}
	return dead;
}

double
loss_vae_kl_weight(double weight, double warmup, double epoch)
{
	return warmup > 0 && epoch < warmup ? weight * epoch / warmup : weight;
}
