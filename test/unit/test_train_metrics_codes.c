/*
 * test_train_metrics_codes.c
 *	  Measures of sets of codes: retrieval, collisions, bits, against worked numbers and
 *	  brute force; errors.
 */
#include "metric_samples.h"

#include "hamming/hamming.h"
#include "training/loss/loss.h"

static CodeSet
code_set(int n, int bits, const uint8_t *codes, const uint64_t *labels)
{
	return (CodeSet){n, bits, codes, labels, 1};
}

static RetrievalMetrics
measure(const CodeSet *query, const CodeSet *database, bool same, int k, int threads)
{
	static const int precision_n[3] = {1, 3, 5};
	RetrievalMetrics m;
	TrainError err;

	if (!metrics_retrieval(query, database, same, k, precision_n, 3, threads, &m, &err))
		fail_msg("%s", err.text);
	return m;
}

static void
radius_worked(void **state)
{
	(void) state;
	/* distances of the example from the zero code */
	static const uint8_t codes[8] = {0x00, 0x80, 0x40, 0x01, 0x81, 0x03, 0x07, 0xe0};
	static const uint8_t zero[1] = {0}, far[1] = {0x1c};
	uint64_t labels[8];
	static const uint64_t own[1] = {2};
	CodeSet database = code_set(8, 8, codes, labels);
	CodeSet query = code_set(1, 8, zero, own);
	RetrievalMetrics m;

	for (int i = 0; i < 8; i++)
		labels[i] = example_relevant[i] ? 6 : 1; /* class 1 among others, or not */
	m = measure(&query, &database, false, 3, 1);
	assert_int_equal(m.nqueries, 1);
	assert_int_equal(m.ndatabase, 8);
	assert_near(m.map_all, 0.7317063492063492, TOLERANCE);
	assert_near(m.map_best, 0.7961904761904762, TOLERANCE);
	assert_near(m.map_worst, 0.6783333333333333, TOLERANCE);
	assert_near(m.map_at_k, 0.9444444444444444, TOLERANCE);
	assert_near(m.map_at_k_min, 0.5185185185185185, TOLERANCE);
	assert_near(m.precision_radius2, 0.6666666666666666, TOLERANCE);
	assert_near(m.recall_radius2, 0.8, TOLERANCE);
	assert_near(m.empty_radius2, 0, 0);
	assert_near(m.top1, 1, 0);
	assert_near(m.precision[1], 0.5555555555555555, TOLERANCE);
	assert_near(m.precision[2], 0.6, TOLERANCE);
	/* nothing within 2: precision 0, counted */
	query = code_set(1, 8, far, own);
	database = code_set(4, 8, codes, labels);
	m = measure(&query, &database, false, 0, 1);
	assert_near(m.precision_radius2, 0, 0);
	assert_near(m.empty_radius2, 1, 0);
	assert_near(m.recall_radius2, 0, 0);
	assert_int_equal(m.k, 0);
}

static void
collisions_worked(void **state)
{
	(void) state;
	static const uint8_t codes[7] = {0x60, 0x60, 0x90, 0xf0, 0x90, 0x90, 0x00};
	static const uint64_t labels[7] = {1, 1, 1, 1, 1, 1, 1};
	CodeSet set = code_set(7, 4, codes, labels);
	double fraction[4];
	RetrievalMetrics m;
	CodeStats stats;
	TrainError err;

	assert_true(metrics_code_stats(&set, &stats, &err));
	assert_int_equal(stats.sharing, 5);
	assert_int_equal(7 - stats.distinct, 3);
	assert_int_equal(stats.pairs, 4);
	m = measure(&set, &set, false, 0, 1);
	assert_near(m.collision_shared, 0.7142857142857143, TOLERANCE);
	assert_near(m.collision_lost, 0.42857142857142855, TOLERANCE);
	metrics_fraction_ones(&set, fraction);
	assert_near(fraction[0], 0.5714285714285714, TOLERANCE);
}

static void
bit_statistics_worked(void **state)
{
	(void) state;
	/* 0110 0110 1001 1111 1001 1001 0000 */
	static const uint8_t codes[7] = {0x60, 0x60, 0x90, 0xf0, 0x90, 0x90, 0x00};
	CodeSet set = code_set(7, 4, codes, NULL);
	static const double want[4] = {0.5714285714285714, 0.42857142857142855,
								   0.42857142857142855, 0.5714285714285714};
	static const uint8_t constant[3] = {0xa0, 0xa0, 0xa0};
	double fraction[4];
	CodeStats stats;
	TrainError err;

	metrics_fraction_ones(&set, fraction);
	for (int k = 0; k < 4; k++)
		assert_near(fraction[k], want[k], TOLERANCE);
	assert_true(metrics_code_stats(&set, &stats, &err));
	assert_near(stats.entropy, 0.9852281360342515, TOLERANCE);
	assert_near(stats.correlation, 0.611111111111111, TOLERANCE);
	assert_near(stats.balance, 1.0 / 7, TOLERANCE);
	set = code_set(3, 4, constant, NULL);
	assert_true(metrics_code_stats(&set, &stats, &err));
	assert_near(stats.entropy + stats.correlation, 0, 0);
	assert_near(stats.balance, 1, 0);
	assert_int_equal(stats.distinct, 1);
}

/* A constant code finds nothing: the share of the class, not a lucky order. */
static void
constant_code(void **state)
{
	(void) state;
	enum
	{
		PER_CLASS = 1000,
		N = 10 * PER_CLASS
	};
	uint8_t *codes = calloc(N, 8);
	uint64_t *labels = malloc(N * sizeof *labels);
	CodeSet database, query;
	double sorted = 0;
	RetrievalMetrics m;

	for (int i = 0; i < N; i++)
		labels[i] = UINT64_C(1) << (i / PER_CLASS);
	/* what the order of the database gives when it is taken for a ranking */
	for (int c = 0; c < 10; c++)
		for (int j = 1; j <= PER_CLASS; j++)
			sorted += (double) j / (c * PER_CLASS + j) / N;
	assert_near(sorted, 0.20795260064480742, 1e-12);

	database = code_set(N, 64, codes, labels);
	query = code_set(1, 64, codes, labels + 4321);
	m = measure(&query, &database, false, 0, 2);
	assert_near(m.map_all, 0.1, 1e-3);
	assert_near(m.map_best, 1, TOLERANCE);
	assert_true(m.map_worst < 0.06);
	assert_near(m.top1, 0.1, TOLERANCE);
	assert_near(m.precision_radius2, 0.1, TOLERANCE);
	assert_near(m.recall_radius2, 1, TOLERANCE);
	/* of 1000 items, 100 relevant: the worked value */
	for (int i = 0; i < 1000; i++)
		labels[i] = i < 100 ? 1 : 2;
	database = code_set(1000, 64, codes, labels);
	query = code_set(1, 64, codes, labels);
	m = measure(&query, &database, false, 0, 1);
	assert_near(m.map_all, 0.1058427665410363, TOLERANCE);
	free(codes);
	free(labels);
}

/*
 * Codes that sit exactly on the centres of predicted classes: mAP follows from
 * accuracy alone (the worked table is an integral, hence the tolerance).
 */
static void
collapsed_codes(void **state)
{
	(void) state;
	enum
	{
		PER_CLASS = 9000,
		WRONG = 50, /* per other class: accuracy 0.95 */
		N = 10 * PER_CLASS
	};
	double centres[640];
	uint8_t centre[10][8];
	uint8_t *codes = malloc(N * 8), query_codes[100 * 8];
	uint64_t *labels = malloc(N * sizeof *labels), query_labels[100];
	CodeSet database, query;
	RetrievalMetrics m;
	TrainError err;

	assert_true(loss_centres(10, 64, 1, centres, &err));
	for (int c = 0; c < 10; c++)
	{
		float logits[64];

		for (int k = 0; k < 64; k++)
			logits[k] = (float) centres[c * 64 + k];
		hamming_pack(logits, NULL, 64, centre[c]);
	}
	for (int i = 0; i < N; i++)
	{
		int c = i / PER_CLASS, j = i % PER_CLASS;

		labels[i] = UINT64_C(1) << c;
		memcpy(codes + i * 8, centre[j < 9 * WRONG ? (c + 1 + j / WRONG) % 10 : c], 8);
	}
	for (int i = 0; i < 100; i++)
	{
		query_labels[i] = UINT64_C(1) << (i / 10);
		memcpy(query_codes + i * 8, centre[i % 10 ? i / 10 : (i / 10 + 1) % 10], 8);
	}
	database = code_set(N, 64, codes, labels);
	query = code_set(100, 64, query_codes, query_labels);
	m = measure(&query, &database, false, 0, 2);
	assert_near(m.map_all, 0.8316945445851814, 2e-4);
	assert_near(m.top1, 0.9 * 0.95 + 0.1 * 0.05 / 9, 1e-9);
	free(codes);
	free(labels);
}

/* --------------------------------------------------- brute force, options, errors */

static uint64_t *
random_labels(Rng *rng, int n, int words)
{
	uint64_t *labels = calloc((size_t) n * words, sizeof *labels);

	for (int i = 0; i < n; i++)
		for (int l = (int) rng_below(rng, 4); l > 0; l--)
			labels[i * words + (int) rng_below(rng, (uint32_t) words)] |=
				UINT64_C(1) << rng_below(rng, 6);
	return labels;
}

/* Against distances and relevance taken one by one, for odd lengths and many labels. */
static void
brute_force(void **state)
{
	(void) state;
	static const int lengths[] = {1, 7, 16, 61, 130};
	Rng rng;

	rng_seed(&rng, 2, 1);
	for (int trial = 0; trial < 20; trial++)
	{
		int bits = lengths[trial % 5];
		int words = 1 + trial % 2;
		int nq = 12, nd = 12 + (int) rng_below(&rng, 60);
		size_t nbytes = hamming_bytes((size_t) bits);
		bool same = trial % 4 == 3;
		uint8_t *codes = calloc((size_t) nd, nbytes);
		uint64_t *labels = random_labels(&rng, nd, words);
		CodeSet database = {nd, bits, codes, labels, words};
		CodeSet query = {same ? nd : nq, bits, codes, labels, words};
		double map = 0;
		RetrievalMetrics m, threaded;

		for (int i = 0; i < nd; i++)
			for (int k = 0; k < bits; k++)
				codes[i * nbytes + k / 8] |=
					(uint8_t) (rng_below(&rng, 2) << (7 - k % 8));
		for (int q = 0; q < query.n; q++)
		{
			int64_t all[131] = {0}, relevant[131] = {0};

			for (int i = 0; i < nd; i++)
			{
				int d = 0, shared = 0;

				if (same && i == q)
					continue;
				for (size_t b = 0; b < nbytes; b++)
					d +=
						__builtin_popcount(codes[q * nbytes + b] ^ codes[i * nbytes + b]);
				for (int w = 0; w < words; w++)
					shared |= (labels[q * words + w] & labels[i * words + w]) != 0;
				all[d]++;
				relevant[d] += shared;
			}
			map += metrics_average_precision(all, relevant, bits) / query.n;
		}
		m = measure(&query, &database, same, 5, 1);
		threaded = measure(&query, &database, same, 5, 3);
		assert_near(m.map_all, map, TOLERANCE);
		assert_int_equal(m.ndatabase, nd - same);
		assert_memory_equal(&m, &threaded, sizeof m);
		assert_true(m.map_worst <= m.map_all + TOLERANCE);
		assert_true(m.map_all <= m.map_best + TOLERANCE);
		free(codes);
		free(labels);
	}
}

static void
none_and_all_relevant(void **state)
{
	(void) state;
	static const uint8_t codes[4] = {0, 1, 2, 3};
	static const uint64_t ones[4] = {1, 1, 1, 1}, twos[4] = {2, 2, 2, 2},
						  nothing[4] = {0};
	CodeSet database = code_set(4, 8, codes, ones);
	CodeSet other = code_set(4, 8, codes, twos);
	CodeSet unlabelled = code_set(4, 8, codes, nothing);
	RetrievalMetrics m;

	m = measure(&other, &database, false, 2, 1);
	assert_near(m.map_all + m.map_best + m.map_worst + m.map_at_k + m.map_at_k_min, 0, 0);
	m = measure(&unlabelled, &database, false, 2, 1);
	assert_near(m.map_all + m.top1, 0, 0);
	m = measure(&database, &database, false, 2, 1);
	assert_near(m.map_all, 1, TOLERANCE);
	assert_near(m.map_worst, 1, TOLERANCE);
	assert_near(m.map_at_k, 1, TOLERANCE);
	assert_near(m.map_at_k_min, 1, TOLERANCE);
	assert_near(m.precision[2], 0.8, TOLERANCE); /* 4 of 5 places can be filled */
}

static void
check_error(CodeSet query, CodeSet database, bool same, int k, int n, const char *want)
{
	RetrievalMetrics m;
	TrainError err;

	assert_false(metrics_retrieval(&query, &database, same, k, &n, 1, 1, &m, &err));
	if (!strstr(err.text, want))
		fail_msg("\"%s\" does not say \"%s\"", err.text, want);
}

static void
errors(void **state)
{
	(void) state;
	static const uint8_t codes[16] = {0};
	static const uint64_t labels[8] = {1, 1};
	CodeSet two = code_set(2, 8, codes, labels);
	CodeSet wide = code_set(2, 16, codes, labels);
	CodeSet one = code_set(1, 8, codes, labels);
	CodeSet empty = code_set(0, 8, codes, labels);
	CodeSet none = code_set(2, 0, codes, labels);
	CodeSet more = two;

	more.label_words = 2;
	check_error(two, wide, false, 0, 1,
				"queries have codes of 8 bits, the database of 16");
	check_error(none, none, false, 0, 1, "codes of 0 bits");
	check_error(two, more, false, 0, 1, "different sets of classes");
	check_error(empty, two, false, 0, 1, "there are no queries");
	check_error(two, empty, false, 0, 1, "nothing in the database");
	check_error(one, one, true, 0, 1, "nothing in the database");
	check_error(one, two, true, 0, 1, "queries are not the database");
	check_error(two, two, false, -1, 1, "mAP@-1");
	check_error(two, two, false, 0, 0, "P@0");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(radius_worked),		 cmocka_unit_test(collisions_worked),
		cmocka_unit_test(bit_statistics_worked), cmocka_unit_test(constant_code),
		cmocka_unit_test(collapsed_codes),		 cmocka_unit_test(brute_force),
		cmocka_unit_test(none_and_all_relevant), cmocka_unit_test(errors),
	};

	return cmocka_run_group_tests_name("train_metrics_codes", tests, NULL, NULL);
}
