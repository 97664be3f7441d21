/*
 * csq.c
 *	  Central similarity quantisation: each bit is pulled to that of the centre.
 *
 * Yuan, Wang, Zhang, Tay, Jie, Liu, Feng: "Central Similarity Quantization for
 * Efficient Image and Video Retrieval", CVPR 2020, eq. 4 to 6, with h = tanh(u) and
 * the target t of an image the centre of its class, as t' = (t + 1) / 2:
 *
 *	  L = mean over labelled images and bits of
 *			 softplus(2u) - 2u t' + lambda (|h| - 1)^2
 *	  dL/du = (2 (sigmoid(2u) - t') + 2 lambda (|h| - 1) sign(h) (1 - h^2)) / (N K)
 *
 * The first part is the binary cross entropy of (1 + h) / 2 = sigmoid(2u).  An image
 * of several classes has the sign of the sum of their centres for its target;
 * where the sum is zero, the bit of one fixed random vector.  Images without a
 * label are not counted.
 */
#include "training/loss/loss_internal.h"

#include <math.h>
#include <string.h>

int
loss_tie_bit(int k)
{
	/* splitmix64's finaliser: a fixed coin toss for every bit. */
	uint64_t x = (uint64_t) (k + 1) * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (x ^ (x >> 31)) & 1 ? 1 : -1;
}

void
loss_multilabel_centre(const double *centres, int nclasses, int bits,
					   const uint64_t *labels, const double *ties, double *out)
{
	memset(out, 0, (size_t) bits * sizeof *out);
	for (int c = 0; c < nclasses; c++)
		if (labels[c / 64] >> (c % 64) & 1)
			for (int k = 0; k < bits; k++)
				out[k] += centres[(size_t) c * bits + k];
	for (int k = 0; k < bits; k++)
		out[k] = out[k] > 0 ? 1 : out[k] < 0 ? -1 : ties ? ties[k] : loss_tie_bit(k);
}

static double
softplus(double x)
{
	return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static double
one_image(const LossOptions *opt, int bits, double weight, const double *u, double *grad)
{
	double loss = 0;

	/* grad holds the target on entry. */
	for (int k = 0; k < bits; k++)
	{
		double target = (grad[k] + 1) / 2;
		double h = tanh(u[k]);
		double gap = fabs(h) - 1;
		double sign = (h > 0) - (h < 0);

		loss += softplus(2 * u[k]) - 2 * u[k] * target + opt->lambda * gap * gap;
		grad[k] =
			weight * 2 *
			(1 / (1 + exp(-2 * u[k])) - target + opt->lambda * gap * sign * (1 - h * h));
	}
	return loss;
}

static double
csq(const LossInput *in, const LossOptions *opt, const double *u, double *grad)
{
	int nlabelled = loss_labelled(in);
	double weight = nlabelled ? 1.0 / ((double) nlabelled * in->bits) : 0;
	double loss = 0;

	memset(grad, 0, (size_t) in->n * in->bits * sizeof *grad);
	for (int i = 0; i < in->n; i++)
	{
		double *g = grad + (size_t) i * in->bits;

		if (loss_label_count(in, i) == 0)
			continue;
		loss_multilabel_centre(in->centres, in->nclasses, in->bits,
							   in->labels + (size_t) i * in->label_words, NULL, g);
		loss += one_image(opt, in->bits, weight, u + (size_t) i * in->bits, g);
	}
	return loss * weight;
}

const Loss loss_csq = {
	.name = "csq",
	.about = "CSQ (CVPR 2020): binary cross entropy of each bit with its class centre's",
	.defaults = {.lambda = 0.05},
	.mixable = true,
	.eval = csq};
