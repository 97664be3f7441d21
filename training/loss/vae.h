/*
 * vae.h
 *	  The loss of autoencoders with a Gaussian code: reconstruction and divergence.
 *
 * Kingma, Welling: "Auto-Encoding Variational Bayes" (ICLR 2014), equation 10 and
 * appendix B, with one sample of the code per picture.  Sums over pixels and latents,
 * mean over pictures: a mean over pixels would let the divergence dominate and the code
 * die.  Checked against the worked numbers vae_kl, vae_elbo_bce and vae_elbo_mse.
 */
#ifndef TRAIN_LOSS_VAE_H
#define TRAIN_LOSS_VAE_H

#include "training/train.h"

typedef enum VaeReconstruction
{
	VAE_BCE, /* sum of softplus(a) - x a: pixels as probabilities */
	VAE_MSE	 /* half the sum of (sigmoid(a) - x)^2 */
} VaeReconstruction;

typedef struct VaeOptions
{
	VaeReconstruction reconstruction;
	double kl_weight; /* 1 in the paper; smaller while the network warms up */
} VaeOptions;

/* What the network gave for n pictures, row by row. */
typedef struct VaeOutputs
{
	int n, latents, pixels;
	const float *mu, *logvar; /* n x latents */
	const float *logits;	  /* n x pixels: the reconstruction before its sigmoid */
	const float *picture;	  /* n x pixels: what it should be, 0 to 1 */
} VaeOutputs;

typedef struct VaeLoss
{
	double loss; /* reconstruction + kl_weight x kl */
	double reconstruction, kl;
} VaeLoss;

/*
 * The loss, and its gradients in mu, logvar and logits, which are written.  What
 * reaches mu and logvar through the sampled code comes from the network's own backward
 * pass (NN_REPARAMETERISE) and is not in these.
 */
extern VaeLoss loss_vae(const VaeOutputs *in, const VaeOptions *options, float *grad_mu,
						float *grad_logvar, float *grad_logits);

/*
 * Codes that say nothing: dimensions of mu (n x latents) whose variance over the
 * pictures is below 0.01.  Their bits are noise.
 */
extern int loss_vae_dead(const float *mu, int n, int latents);

/* Weight of the divergence in `epoch` (with fraction): from 0 up over `warmup` epochs. */
extern double loss_vae_kl_weight(double weight, double warmup, double epoch);

#endif
