/*
 * test_train_loss_vae.c
 *	  The loss of autoencoders against worked numbers and finite differences.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "training/loss/vae.h"

#define N 2
#define LATENTS 3
#define PIXELS 2

/* Two pictures of two pixels, three latents, a linear decoder: the worked examples. */
static const float mu[N * LATENTS] = {0.5f, -1.0f, 0.2f, 0.1f, 0.4f, -0.3f};
static const float logvar[N * LATENTS] = {-0.2f, 0.3f, -1.0f, 0.0f, -0.5f, 0.4f};
static const double eps[N * LATENTS] = {0.3, -0.7, 1.1, -0.2, 0.5, 0.9};
static const double decoder[PIXELS * LATENTS] = {0.4, -0.3, 0.2, 0.1, 0.5, -0.6};
static const float picture[N * PIXELS] = {0.9f, 0.1f, 0.3f, 0.7f};

static void
assert_near(double got, double want, double tolerance)
{
	if (!(fabs(got - want) <= tolerance))
		fail_msg("%.17g instead of %.17g", got, want);
}

static void
kl_worked(void **state)
{
	static const double want_mu[] = {0.25, -0.5, 0.1, 0.05, 0.2, -0.15};
	static const double want_logvar[] = {-0.045317311730504545, 0.0874647018940008,
										 -0.15803013970713942,	0.0,
										 -0.09836733507184164,	0.12295617441031759};
	/* logits of 0 reconstruct 1/2: no gradient, n x pixels x (1/8 at most) */
	static const float zeros[N * PIXELS], halves[N * PIXELS] = {0.5f, 0.5f, 0.5f, 0.5f};
	VaeOutputs in = {N, LATENTS, PIXELS, mu, logvar, zeros, halves};
	float gm[N * LATENTS], gl[N * LATENTS], ga[N * PIXELS];
	VaeLoss loss = loss_vae(&in, &(VaeOptions){VAE_MSE, 1}, gm, gl, ga);

	(void) state;
	assert_near(loss.kl, 0.5462060897948328, 1e-7);
	assert_near(loss.loss, loss.kl, 0);
	for (int i = 0; i < N * LATENTS; i++)
	{
		assert_near(gm[i], want_mu[i], 1e-7);
		assert_near(gl[i], want_logvar[i], 1e-7);
	}
	for (int i = 0; i < N * PIXELS; i++)
		assert_true(ga[i] == 0);
}

/* The whole: z = mu + e^(logvar/2) eps, a = W z, and back. */
static void
check_elbo(VaeReconstruction kind, double reconstruction, double total,
		   const double *want_mu, const double *want_logvar)
{
	VaeOutputs in = {N, LATENTS, PIXELS, mu, logvar, NULL, picture};
	float a[N * PIXELS] = {0}, gm[N * LATENTS], gl[N * LATENTS], ga[N * PIXELS];
	VaeLoss loss;

	for (int i = 0; i < N; i++)
		for (int p = 0; p < PIXELS; p++)
		{
			double sum = 0;

			for (int j = 0; j < LATENTS; j++)
			{
				int k = i * LATENTS + j;

				sum += decoder[p * LATENTS + j] * (mu[k] + exp(logvar[k] / 2) * eps[k]);
			}
			a[i * PIXELS + p] = (float) sum;
		}
	in.logits = a;
	loss = loss_vae(&in, &(VaeOptions){kind, 1}, gm, gl, ga);
	assert_near(loss.reconstruction, reconstruction, 1e-7);
	assert_near(loss.loss, total, 1e-7);
	for (int i = 0; i < N; i++)
		for (int j = 0; j < LATENTS; j++)
		{
			int k = i * LATENTS + j;
			double z = 0;

			for (int p = 0; p < PIXELS; p++)
				z += ga[i * PIXELS + p] * decoder[p * LATENTS + j];
			assert_near(gm[k] + z, want_mu[k], 1e-7);
			assert_near(gl[k] + z * eps[k] * 0.5 * exp(logvar[k] / 2), want_logvar[k],
						1e-7);
		}
}

static void
bce_worked(void **state)
{
	static const double want_mu[] = {0.2225231253599888,  -0.44894554468359543,
									 0.05184344169102483, 0.07297344979952611,
									 0.11845715228569892, -0.06581189381845132};
	static const double want_logvar[] = {-0.04904662737624937, 0.06670381684334685,
										 -0.17409477570148735, -0.002297344979952611,
										 -0.11424374348528414, 0.16922858770280874};

	(void) state;
	check_elbo(VAE_BCE, 1.079584907283796, 1.6257909970786288, want_mu, want_logvar);
}

static void
mse_worked(void **state)
{
	static const double want_mu[] = {0.24450022518176026, -0.4908969249570518,
									 0.09162253249692452, 0.055720501135941014,
									 0.17966754739869323, -0.12900522788928487};
	static const double want_logvar[] = {-0.04606377203745183, 0.08376300938934293,
										 -0.16082479469738825, -0.0005720501135941015,
										 -0.10232606757375663, 0.13449555706365485};

	(void) state;
	check_elbo(VAE_MSE, 0.029318778440810305, 0.5755248682356431, want_mu, want_logvar);
}

/* Gradients by differences, with logits that are far out on both sides. */
static void
differences(void **state)
{
	float values[3][6] = {{0.3f, -2, 0, 1, 0.5f, -0.1f},
						  {0.1f, -3, 2, 0, -0.5f, 1},
						  {-30, 0.2f, 3, 40, -0.7f, 1.5f}};
	float x[6] = {0.2f, 0, 1, 0.9f, 0.4f, 0.3f}, grad[3][6], rest[3][6];
	VaeOutputs in = {2, 3, 3, values[0], values[1], values[2], x};

	(void) state;
	for (int kind = VAE_BCE; kind <= VAE_MSE; kind++)
	{
		VaeOptions options = {(VaeReconstruction) kind, 0.25};

		loss_vae(&in, &options, grad[0], grad[1], grad[2]);
		for (int v = 0; v < 3; v++)
			for (int i = 0; i < 6; i++)
			{
				float was = values[v][i], high = was + 0.01f, low = was - 0.01f;
				double up, down;

				values[v][i] = high;
				up = loss_vae(&in, &options, rest[0], rest[1], rest[2]).loss;
				values[v][i] = low;
				down = loss_vae(&in, &options, rest[0], rest[1], rest[2]).loss;
				values[v][i] = was;
				assert_near(grad[v][i], (up - down) / ((double) high - low), 5e-5);
			}
	}
}

static void
extremes(void **state)
{
	float zero[2] = {0, 0}, far[2] = {-2000, 2000}, x[2] = {0, 1}, g[3][2];
	VaeOutputs in = {1, 2, 2, zero, zero, far, x};
	VaeLoss loss = loss_vae(&in, &(VaeOptions){VAE_BCE, 1}, g[0], g[1], g[2]);

	(void) state;
	assert_true(loss.loss == 0 && g[2][0] == 0 && g[2][1] == 0);
	x[0] = 1;
	loss = loss_vae(&in, &(VaeOptions){VAE_BCE, 1}, g[0], g[1], g[2]);
	assert_near(loss.loss, 2000, 1e-9);
	assert_near(g[2][0], -1, 0);
	loss = loss_vae(&in, &(VaeOptions){VAE_MSE, 1}, g[0], g[1], g[2]);
	assert_near(loss.loss, 0.5, 1e-12);
	assert_true(g[2][0] == 0);
}

static void
dead_and_warm(void **state)
{
	const float codes[4 * 3] = {0.5f, 7, -1, 0.51f, 7, 1, 0.49f, 7, -1, 0.5f, 7, 1};

	(void) state;
	assert_int_equal(loss_vae_dead(codes, 4, 3), 2);
	assert_near(loss_vae_kl_weight(0.5, 10, 2.5), 0.125, 0);
	assert_near(loss_vae_kl_weight(0.5, 10, 10), 0.5, 0);
	assert_near(loss_vae_kl_weight(0.5, 0, 0), 0.5, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kl_worked),  cmocka_unit_test(bce_worked),
		cmocka_unit_test(mse_worked), cmocka_unit_test(differences),
		cmocka_unit_test(extremes),	  cmocka_unit_test(dead_and_warm),
	};

	return cmocka_run_group_tests_name("train: loss of autoencoders", tests, NULL, NULL);
}
