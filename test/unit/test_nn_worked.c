/*
 * test_nn_worked.c
 *	  Operations against worked numbers.
 */
#include "test_nn_last.h"

#include "nn/kernels.h"

static void
compare(const float *got, const double *wanted, size_t n, double tolerance)
{
	for (size_t i = 0; i < n; i++)
		if (!(fabs(got[i] - wanted[i]) <= tolerance))
			fail_msg("value %zu is %.9g, not %.9g", i, got[i], wanted[i]);
}

static void
test_worked_layernorm(void **state)
{
	NnGraph *g = graph_from((NnShape){2, {2, 4, 0, 0}});
	float x[8] = {0.5f, -1.2f, 0.3f, 2.0f, 1.0f, 0.9f, -0.4f, 0.1f};
	const float gamma[4] = {1.1f, 0.9f, -0.5f, 0.7f}, beta[4] = {0.1f, 0, 0.2f, -0.3f};
	const double wanted[8] = {0.19703780234817836, -1.2703130489216081,
							  0.24410809197644473, 0.6880212602723619,
							  1.240304619821472,   0.7774804226055488,
							  0.8910937089827102,  -0.6628241972159228};
	float *in[2] = {x, NULL}, *y;

	(void) state;
	nn_layernorm(g, 0, "n", 1e-6f);
	memcpy(g->param[0].data, gamma, sizeof(gamma));
	memcpy(g->param[1].data, beta, sizeof(beta));
	y = run_last(g, 1, in, NULL, false);
	compare(y, wanted, 8, 1e-6);
	free(y);
	nn_graph_free(g);
}

static const float bn_x[8] = {0.5f, -1.2f, 1.0f, 0.9f, -0.7f, 0.4f, 0.2f, 2.1f};

static NnGraph *
worked_batchnorm(void)
{
	static const float param[4][2] = {
		{1.2f, 0.8f}, {0.1f, -0.2f}, {0.05f, -0.1f}, {0.9f, 1.1f}};
	NnGraph *g = graph_from((NnShape){1, {2, 0, 0, 0}});

	nn_batchnorm(g, 0, "bn", 1e-5f);
	for (int p = 0; p < 4; p++)
		memcpy(g->param[p].data, param[p], sizeof(param[p]));
	return g;
}

static void
test_worked_batchnorm_inference(void **state)
{
	NnGraph *g = worked_batchnorm();
	const double wanted[8] = {0.6692068165790002,  -1.0390432647117673,
							  1.3016588350001115,  0.562766604283425,
							  -0.8486780276316669, 0.1813833021417125,
							  0.28973560552633343, 1.4780865294235352};
	float x[8], *in[2] = {x, NULL}, *y;

	(void) state;
	memcpy(x, bn_x, sizeof(x));
	y = run_last(g, 4, in, NULL, false);
	compare(y, wanted, 8, 1e-6);
	free(y);
	nn_graph_free(g);
}

static void
test_worked_batchnorm_training(void **state)
{
	const double wanted[8] = {0.5850649093963382,	 -1.382156712123178,
							  1.5551947281890146,	 0.036431342424635554,
							  -1.7432466557060846,	 -0.3013277181819867,
							  0.0029870181207323904, 0.8470530878805291};
	const double mean_after[2] = {0.07, -0.035}, var_after[2] = {0.861, 1.177};
	uint64_t s = 19;

	(void) state;
	for (int threads = 1; threads <= 3; threads++)
	{
		NnGraph *g = worked_batchnorm();
		const NnNode *node = &g->node[1];
		NnPool *pool = nn_pool_new(threads);
		float out[8], saved[4];
		NnCall call = {.graph = g,
					   .node = node,
					   .n = 4,
					   .in = {bn_x},
					   .out = out,
					   .pool = pool,
					   .train = true,
					   .momentum = 0.1f,
					   .saved = saved};

		assert_int_equal(nn_op[NN_BATCHNORM].saved(g, node, 4), 4);
		call.scratch =
			test_floats(&s, nn_op[NN_BATCHNORM].scratch(g, node, 4, threads), 1e9f);
		for (int p = 0; p < 4; p++)
			call.param[p] = g->param[p].data;
		nn_op[NN_BATCHNORM].forward(&call);
		compare(out, wanted, 8, 1e-6);
		compare(g->param[2].data, mean_after, 2, 1e-7);
		compare(g->param[3].data, var_after, 2, 1e-6);
		free(call.scratch);
		nn_pool_free(pool);
		nn_graph_free(g);
	}
}

static void
test_worked_gelu(void **state)
{
	const float x[7] = {-3, -1, -0.5f, 0, 0.3f, 1, 2.5f}, one[7] = {1, 1, 1, 1, 1, 1, 1};
	const double value[7] = {
		-0.00404969409489031, -0.15865525393145707, -0.15426876936299344, 0,
		0.18537342665668577,  0.8413447460685429,	2.4844758366855597};
	const double slope[7] = {
		-0.011945647204183922, -0.08331547058768629, 0.13250487534383715, 0.5,
		0.7323277668271098,	   1.0833154705876864,	 1.037611085908145};
	float y[7];

	(void) state;
	for (int i = 0; nn_kernels_at(i) != NULL; i++)
		if (nn_kernels_at(i)->available())
		{
			nn_kernels_at(i)->activate(NN_GELU, x, y, 7);
			compare(y, value, 7, 2e-7);
			nn_kernels_at(i)->activate_backward(NN_GELU, x, one, y, 7, false);
			compare(y, slope, 7, 2e-7);
		}
}

/* Attention as a ViT has it: a linear layer to q, k, v; heads; a linear layer. */
static void
test_worked_attention(void **state)
{
	/* q, k, v: each 4 x 4 */
	static const double qkv[48] = {0.5048825908847379,
								   0.5455784560954089,
								   0.08467200483592033,
								   -0.45408149718475704,
								   -0.5753545647978832,
								   -0.16764929891935554,
								   0.3941919592312734,
								   0.593614947974029,
								   0.24727109114505394,
								   -0.32641266653362183,
								   -0.599994123930422,
								   -0.3219437508002609,
								   0.25210022209598454,
								   0.5943644134169221,
								   0.3901727040942701,
								   -0.1727419899990392,
								   0.5,
								   0.3824210936422443,
								   0.08498357145012052,
								   -0.2524230522999285,
								   -0.47111117033432903,
								   -0.46822834364539817,
								   -0.2451304106703501,
								   0.09325618471128745,
								   0.38778293925512486,
								   0.49992931819170766,
								   0.37695112717165236,
								   0.07668693101893262,
								   -0.259644327058342,
								   -0.473860801065556,
								   -0.46521313605237696,
								   -0.23776846399799625,
								   0.2068641446629377,
								   0.502149263629666,
								   0.6744907297920351,
								   0.6816933416147367,
								   0.5219936485237042,
								   0.23449170510913356,
								   -0.11042198590027376,
								   -0.4283005236599031,
								   -0.6413161557246183,
								   -0.6973152261850885,
								   -0.5825872095567308,
								   -0.3252215255896301,
								   0.011769730339044798,
								   0.3458793457970257,
								   0.5953056344399951,
								   0.6989803417622236};
	static const double out[16] = {
		0.3920266311364967,	  0.14494310179066947,	-0.2354004469021383,
		-0.39931791031790126, -0.1961043285362798,	0.18740666852015087,
		0.398616838809287,	  0.24334052581290178,	-0.13566194439353382,
		-0.3899374485616655,  -0.28570626081088013, 0.08120194552750018,
		0.37345345762985493,  0.32235358305618034,	-0.025116689169632708,
		-0.34949479320443205};
	static const float bqkv[12] = {0.1f,  -0.1f, 0.05f, 0, 0,	 0.2f,
								   -0.1f, 0.1f,	 0.05f, 0, 0.1f, -0.2f};
	static const float bo[4] = {0.1f, 0.1f, -0.1f, 0};
	static const double wanted[12] = {
		0.25575547379018393,  -0.03973125804551167, -0.0730865828767919,
		0.10454769120905881,  0.25517390287134434,	-0.03660793802128365,
		-0.07658808837745675, 0.10600184465268764,	0.25069311134994576,
		-0.03359776526989605, -0.07604245728934216, 0.10227837534111806};
	float x[12] = {0.2f, -0.5f, 1,	  0.3f, -0.7f, 0.8f,
				   0.1f, -0.2f, 0.4f, 0.6f, -0.9f, 0.5f};
	NnGraph *g = graph_from((NnShape){2, {3, 4, 0, 0}});
	float *at[2] = {x, NULL}, *fused, *heads;

	(void) state;
	nn_linear(g, 0, "qkv", 12, true, NN_IDENTITY);
	for (int i = 0; i < 48; i++)
		g->param[0].data[i] = (float) qkv[i];
	memcpy(g->param[1].data, bqkv, sizeof(bqkv));
	at[0] = fused = run_last(g, 1, at, NULL, false);
	nn_attention(g, 1, 2);
	at[0] = heads = run_last(g, 1, at, NULL, false);
	nn_linear(g, 2, "proj", 4, true, NN_IDENTITY);
	for (int i = 0; i < 16; i++)
		g->param[2].data[i] = (float) out[i];
	memcpy(g->param[3].data, bo, sizeof(bo));
	at[0] = run_last(g, 1, at, NULL, false);
	compare(at[0], wanted, 12, 1e-7);
	free(fused);
	free(heads);
	free(at[0]);
	nn_graph_free(g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_worked_layernorm),
		cmocka_unit_test(test_worked_batchnorm_inference),
		cmocka_unit_test(test_worked_batchnorm_training),
		cmocka_unit_test(test_worked_gelu),
		cmocka_unit_test(test_worked_attention),
	};

	return cmocka_run_group_tests_name("nn: worked numbers", tests, NULL, NULL);
}
