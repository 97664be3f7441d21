/*
 * test_train_loss.c
 *	  Hash losses against worked numbers, finite differences and special cases.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "training/loss/loss.h"

#define TOLERANCE 1e-10

/* Four images, four bits, three classes: the example that all losses share. */
static const double example_u[16] = {0.8,  -0.5, 0.3, 1.2,	0.6, -0.9, -0.2, 0.7,
									 -1.1, 0.4,	 0.9, -0.3, 0.2, 1.3,  -0.7, -0.6};
static const double example_centres[12] = {1, -1, 1, -1, 1, 1, -1, -1, 1, -1, -1, 1};
static const uint64_t example_labels[4] = {1, 1, 2, 4};
static const uint64_t example_multilabels[4] = {5, 1, 6, 2};

static void
assert_near(double got, double want, double tolerance)
{
	if (!(fabs(got - want) <= tolerance))
		fail_msg("%.17g instead of %.17g", got, want);
}

static void
check_example(const char *name, const LossOptions *opt, const uint64_t *labels,
			  double want_loss, const double *want_grad)
{
	LossInput in = {4, 4, 3, labels, 1, example_centres};
	double grad[16];

	assert_near(loss_find(name)->eval(&in, opt, example_u, grad), want_loss, TOLERANCE);
	for (int i = 0; i < 16; i++)
		assert_near(grad[i], want_grad[i], TOLERANCE);
}

static void
orthohash_worked(void **state)
{
	(void) state;
	static const LossOptions opt = {.scale = 4, .margin = 0.2};
	static const double grad[16] = {
		-0.17889892088429257, 0.11949615072950565,	-0.6829010825267026,
		0.33978128069183133,  -0.23385522178269713, 0.35624966612616193,
		-0.6679779578217243,  0.46763177288402724,	0.1305544458457812,
		-0.6430564446975728,  0.4651197031339332,	0.05925088170383846,
		-0.09068154258780635, 0.026472619595696356, 0.32161668714261904,
		-0.34808930673831545};

	check_example("orthohash", &opt, example_labels, 3.6461247115738002, grad);
}

static void
orthohash_multilabel_worked(void **state)
{
	(void) state;
	static const LossOptions opt = {.scale = 4, .margin = 0.2};
	static const double grad[16] = {
		-0.06983695827766279,  0.05968885952225803,	   -0.29121785025162567,
		0.1442327928822891,	   -0.23385522178269713,   0.35624966612616193,
		-0.6679779578217243,   0.46763177288402724,	   0.2502417654255702,
		-0.35335393182052266,  0.3786382833629327,	   -0.25277686556565576,
		0.0031638356046003267, -0.0004317493567120301, -0.0018755665683280656,
		0.0023073159250401043};

	check_example("orthohash", &opt, example_multilabels, 2.0232117689051226, grad);
}

static void
csq_worked(void **state)
{
	(void) state;
	static const LossOptions opt = {.lambda = 0.05};
	static const double grad[16] = {
		-0.022171589231695533, 0.036261532310462724,  -0.048346374363812464,
		0.1142862962436455,	   -0.030993309770774833, 0.018594754940028817,
		-0.07001497741122349,  0.09870346460146959,	  -0.11208330752279659,
		-0.0420690630918254,   0.10640524505997119,	  0.04834637436381246,
		-0.0549850225887765,   0.11613521590003179,	  0.02629653539853041,
		-0.09400669022922518};

	check_example("csq", &opt, example_labels, 1.0318517979220498, grad);
}

/*
 * The smoothed softmax on known logits.  With orthonormal centres (the columns of a
 * 4 x 4 Hadamard matrix) u can be built so that cos(u, t_c) are given numbers; scale
 * times them are the logits of the worked example.
 */
static void
label_smoothing_worked(void **state)
{
	(void) state;
	static const double logits[2][3] = {{1.0, -0.5, 0.2}, {0.3, 0.8, -1.0}};
	static const uint64_t labels[2] = {4, 2};
	static const double centres[12] = {1, -1, 1, -1, 1, 1, -1, -1, 1, -1, -1, 1};
	static const LossOptions opt = {.scale = 2, .smoothing = 0.1};
	LossInput in = {2, 4, 3, labels, 1, centres};
	double u[8], grad[8];

	for (int i = 0; i < 2; i++)
	{
		double rest = 1;

		for (int c = 0; c < 3; c++)
			rest -= logits[i][c] * logits[i][c] / 4;
		for (int k = 0; k < 4; k++)
		{
			u[i * 4 + k] = sqrt(rest) / 2; /* along the fourth axis, (1,1,1,1) */
			for (int c = 0; c < 3; c++)
				u[i * 4 + k] += logits[i][c] / 2 * centres[c * 4 + k] / 2;
		}
	}
	assert_near(loss_find("orthohash")->eval(&in, &opt, u, grad), 0.9798205308997021,
				TOLERANCE);
}

static void
multilabel_centre_worked(void **state)
{
	(void) state;
	static const double ties[4] = {1, -1, -1, 1};
	static const double want[4][4] = {
		{1, -1, -1, 1}, {1, -1, 1, -1}, {1, -1, -1, 1}, {1, 1, -1, -1}};
	double out[4];

	for (int i = 0; i < 4; i++)
	{
		loss_multilabel_centre(example_centres, 3, 4, &example_multilabels[i], ties, out);
		for (int k = 0; k < 4; k++)
			assert_near(out[k], want[i][k], 0);
	}
	/* without ties given, zero sums take the fixed vector, the same every time */
	loss_multilabel_centre(example_centres, 3, 4, &example_multilabels[0], NULL, out);
	assert_near(out[0], 1, 0);
	for (int k = 2; k < 4; k++)
		assert_near(out[k], loss_tie_bit(k), 0);
}

/* ------------------------------------------------------------ finite differences */

/* A random problem; every label row may hold several classes or none. */
typedef struct Problem
{
	LossInput in;
	LossOptions opt;
	double u[32 * 24];
	double centres[70 * 24];
	uint64_t labels[32 * 2];
} Problem;

static void
random_problem(Rng *rng, const Loss *loss, Problem *p)
{
	int n = 1 + (int) rng_below(rng, 8);
	int bits = 1 + (int) rng_below(rng, 24);
	int nclasses = 1 + (int) rng_below(rng, 70);

	*p = (Problem){.opt = loss->defaults};
	p->in = (LossInput){n, bits, nclasses, p->labels, (nclasses + 63) / 64, p->centres};
	p->opt.scale *= 0.5 + rng_uniform(rng);
	p->opt.margin = rng_uniform(rng) * 0.5;
	p->opt.smoothing = rng_below(rng, 2) ? rng_uniform(rng) * 0.3 : 0;
	for (int k = 0; k < nclasses * bits; k++)
		p->centres[k] = rng_below(rng, 2) ? 1 : -1;
	for (int k = 0; k < n * bits; k++)
	{
		/* away from the kink of |tanh u| at 0 */
		double x = rng_normal(rng);

		p->u[k] = x + (x < 0 ? -0.05 : 0.05);
	}
	for (int i = 0; i < n; i++)
		for (int l = (int) rng_below(rng, 4); l > 0; l--)
		{
			uint32_t c = rng_below(rng, (uint32_t) nclasses);

			p->labels[i * p->in.label_words + (int) c / 64] |= UINT64_C(1) << (c % 64);
		}
}

static void
gradients_match_differences(void **state)
{
	(void) state;
	static Problem p;
	Rng rng;
	double grad[32 * 24], scratch[32 * 24];

	rng_seed(&rng, 7, 1);
	for (int l = 0; loss_at(l); l++)
		for (int trial = 0; trial < 200; trial++)
		{
			random_problem(&rng, loss_at(l), &p);
			loss_at(l)->eval(&p.in, &p.opt, p.u, grad);
			for (int k = 0; k < p.in.n * p.in.bits; k++)
			{
				double x = p.u[k];
				double step = 1e-6 * fmax(1, fabs(x));
				double up, down;

				p.u[k] = x + step;
				up = loss_at(l)->eval(&p.in, &p.opt, p.u, scratch);
				p.u[k] = x - step;
				down = loss_at(l)->eval(&p.in, &p.opt, p.u, scratch);
				p.u[k] = x;
				/* one bit: cosine is +-1 whatever u, and rounding is all there is */
				assert_near((up - down) / (2 * step), grad[k],
							1e-7 * fmax(1, fabs(grad[k])));
			}
		}
}

/* ---------------------------------------------------------------- special cases */

static void
check_finite(const double *v, int n)
{
	for (int i = 0; i < n; i++)
		assert_true(isfinite(v[i]));
}

static void
special_cases(void **state)
{
	(void) state;
	static const double zero[8] = {0};
	static const uint64_t none[4] = {0}, all[4] = {7, 7, 7, 7}, same[4] = {2, 2, 2, 2};
	double identical[16], grad[16], reference[16], single_grad[4], huge[4];

	for (int i = 0; i < 16; i++)
		identical[i] = example_u[i % 4];
	for (int i = 0; i < 4; i++)
		huge[i] = i % 2 ? 1e8 : -1e8;
	for (int l = 0; loss_at(l); l++)
	{
		const Loss *loss = loss_at(l);
		LossInput one = {1, 4, 3, example_labels, 1, example_centres};
		LossInput batch = {4, 4, 3, example_labels, 1, example_centres};
		LossInput unlabelled = {4, 4, 3, none, 1, example_centres};
		LossInput every = {4, 4, 3, all, 1, example_centres};
		LossInput one_class = {4, 4, 3, same, 1, example_centres};
		uint64_t mixed[4] = {1, 0, 0, 0};
		LossInput mostly = {4, 4, 3, mixed, 1, example_centres};
		double alone, value;

		/* a zero vector is finite */
		assert_true(isfinite(loss->eval(&one, &loss->defaults, zero, grad)));
		check_finite(grad, 4);
		/* so are huge logits */
		assert_true(isfinite(loss->eval(&one, &loss->defaults, huge, grad)));
		check_finite(grad, 4);
		/* no label: nothing said */
		assert_near(loss->eval(&unlabelled, &loss->defaults, example_u, grad), 0, 0);
		for (int i = 0; i < 16; i++)
			assert_near(grad[i], 0, 0);
		/* images without a label do not change those with one */
		alone = loss->eval(&one, &loss->defaults, example_u, single_grad);
		value = loss->eval(&mostly, &loss->defaults, example_u, grad);
		assert_near(value, alone, 1e-15);
		for (int i = 0; i < 16; i++)
			assert_near(grad[i], i < 4 ? single_grad[i] : 0, 1e-15);
		/* identical codes of one class: N equal rows, each 1/N of one alone */
		value = loss->eval(&one_class, &loss->defaults, identical, reference);
		assert_true(isfinite(value));
		for (int i = 4; i < 16; i++)
			assert_near(reference[i], reference[i - 4], 0);
		/* all classes at once, and the gradient is written, not added to */
		assert_true(isfinite(loss->eval(&every, &loss->defaults, example_u, grad)));
		check_finite(grad, 16);
		for (int i = 0; i < 16; i++)
			reference[i] = 1e6;
		loss->eval(&every, &loss->defaults, example_u, reference);
		assert_memory_equal(reference, grad, sizeof grad);
		/* the batch is the mean of its images */
		value = 0;
		for (int i = 0; i < 4; i++)
		{
			LossInput image = {1, 4, 3, example_labels + i, 1, example_centres};

			value +=
				loss->eval(&image, &loss->defaults, example_u + 4 * i, single_grad) / 4;
		}
		assert_near(loss->eval(&batch, &loss->defaults, example_u, grad), value, 1e-13);
	}
}

/* Values at the start of training that theory gives. */
static void
initial_values(void **state)
{
	(void) state;
	static const double zero[16] = {0};
	LossInput in = {4, 4, 3, example_labels, 1, example_centres};
	LossOptions ortho = {.scale = 8, .margin = 0.2};
	LossOptions csq = {.lambda = 0.05};
	double grad[16];

	/* all cosines 0: the own class has logit -s m, the other two 0 */
	assert_near(loss_find("orthohash")->eval(&in, &ortho, zero, grad),
				log(2 + exp(-1.6)) + 1.6, 1e-12);
	assert_near(loss_find("csq")->eval(&in, &csq, zero, grad), log(2) + 0.05, 1e-12);
}

static void
registry(void **state)
{
	(void) state;
	int n = 0;

	for (; loss_at(n); n++)
	{
		assert_ptr_equal(loss_find(loss_at(n)->name), loss_at(n));
		assert_true(strlen(loss_at(n)->about) > 10);
	}
	assert_int_equal(n, 2);
	assert_null(loss_find("nosuchloss"));
	assert_null(loss_at(-1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(orthohash_worked),
		cmocka_unit_test(orthohash_multilabel_worked),
		cmocka_unit_test(csq_worked),
		cmocka_unit_test(label_smoothing_worked),
		cmocka_unit_test(multilabel_centre_worked),
		cmocka_unit_test(gradients_match_differences),
		cmocka_unit_test(special_cases),
		cmocka_unit_test(initial_values),
		cmocka_unit_test(registry),
	};

	return cmocka_run_group_tests_name("train_loss", tests, NULL, NULL);
}
