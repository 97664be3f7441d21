/*
 * judge.c
 *	  Retrieval metrics of a network or of codes.
 */
#include "training/run/judge.h"

#include "training/run/codes.h"

#include <stdio.h>
#include <stdlib.h>

bool
judge_codes(const CodeSet *query, const CodeSet *database, int threads,
			RetrievalMetrics *out, TrainError *err)
{
	static const int places[] = {10, 100, 1000};
	int n = 0;

	while (n < 3 && places[n] <= database->n)
		n++;
	return metrics_retrieval(query, database, false, database->n < 1000 ? 0 : 1000,
							 places, n, threads, out, err);
}

/* Packed codes of ds, or NULL. */
static uint8_t *
codes_of(const NnGraph *folded, const float *thresholds, const Dataset *ds, int threads,
		 TrainError *err)
{
	int bits = (int) nn_shape_size(&nn_graph_output(folded)->shape);
	float *logits = codes_device_logits(folded, ds, threads, err);
	uint8_t *codes = logits ? codes_pack(logits, thresholds, ds->n, bits, err) : NULL;

	free(logits);
	return codes;
}

bool
judge_network(const NnGraph *folded, const float *thresholds, const Sets *sets,
			  int threads, RetrievalMetrics *out, TrainError *err)
{
	int bits = (int) nn_shape_size(&nn_graph_output(folded)->shape);
	uint8_t *query = codes_of(folded, thresholds, sets->query, threads, err);
	uint8_t *database =
		query ? codes_of(folded, thresholds, sets->database, threads, err) : NULL;
	bool ok = database != NULL;

	if (ok)
	{
		CodeSet q = codes_set(sets->query, query, bits);
		CodeSet d = codes_set(sets->database, database, bits);

		ok = judge_codes(&q, &d, threads, out, err);
	}
	free(query);
	free(database);
	return ok;
}

void
judge_print(const RetrievalMetrics *m, const char *protocol)
{
	printf("protocol            %s\n", protocol);
	printf("queries             %d\n", m->nqueries);
	printf("database            %d\n", m->ndatabase);
	printf(
		"mAP@all             %.6f (ties by expectation; %.6f to %.6f by their order)\n",
		m->map_all, m->map_worst, m->map_best);
	if (m->k)
		printf("mAP@%-5d           %.6f (over the hits among them: %.6f)\n", m->k,
			   m->map_at_k_min, m->map_at_k);
	for (int i = 0; i < m->nprecision; i++)
		printf("P@%-5d             %.6f\n", m->precision_n[i], m->precision[i]);
	printf("P@H<=2              %.6f (empty balls %.6f, recall %.6f)\n",
		   m->precision_radius2, m->empty_radius2, m->recall_radius2);
	printf("1-NN                %.6f\n", m->top1);
	printf("shared codes        %.6f (lost to duplicates %.6f, pairs %.6f)\n",
		   m->collision_shared, m->collision_lost, m->collision_pairs);
	printf("bit imbalance       %.6f\n", m->bit_balance);
}

/* At most n pictures of ds, evenly spaced. */
static Dataset *
some_of(const Dataset *ds, int n)
{
	uint32_t *index;
	Dataset *some;

	n = ds->n < n ? ds->n : n;
	index = malloc((n ? n : 1) * sizeof(*index));
	for (int i = 0; index && i < n; i++)
		index[i] = (uint32_t) ((int64_t) i * ds->n / n);
	some = index ? dataset_subset(ds, index, n) : NULL;
	free(index);
	return some;
}

bool
judge_training(Trainer *t, const Sets *sets, double *map, TrainError *err)
{
	const TrainOptions *o = &t->options;
	Dataset *query = some_of(sets->query, 1000);
	Dataset *database = some_of(sets->database, 10000);
	float *logits[2] = {NULL, NULL};
	uint8_t *codes[2] = {NULL, NULL};
	float *thresholds = NULL;
	RetrievalMetrics m;
	NnGraph *network = NULL;
	bool ok = query && database;

	if (!ok)
		train_fail(err, "out of memory");
	else
		network = trainer_network(t, err);
	logits[0] = network ? codes_logits(network, query, t->pool, err) : NULL;
	logits[1] = logits[0] ? codes_logits(network, database, t->pool, err) : NULL;
	nn_graph_free(network);
	ok = logits[1] && objective_thresholds(o, logits[1], database->n, &thresholds, err);
	codes[0] = ok ? codes_pack(logits[0], thresholds, query->n, o->bits, err) : NULL;
	codes[1] =
		codes[0] ? codes_pack(logits[1], thresholds, database->n, o->bits, err) : NULL;
	ok = codes[1] != NULL;
	if (ok)
	{
		CodeSet q = codes_set(query, codes[0], o->bits);
		CodeSet d = codes_set(database, codes[1], o->bits);

		ok = metrics_retrieval(&q, &d, false, 0, NULL, 0, nn_pool_threads(t->pool), &m,
							   err);
		*map = m.map_all;
	}
	dataset_free(query);
	dataset_free(database);
	for (int k = 0; k < 2; k++)
	{
		free(logits[k]);
		free(codes[k]);
	}
	free(thresholds);
	return ok;
}

bool
judge_thresholds(const TrainOptions *o, const NnGraph *folded, const Dataset *train,
				 int threads, float **thresholds, TrainError *err)
{
	float *logits;
	bool ok;

	*thresholds = NULL;
	if (!objective_is_vae(o))
		return true;
	logits = codes_device_logits(folded, train, threads, err);
	ok = logits && objective_thresholds(o, logits, train->n, thresholds, err);
	free(logits);
	return ok;
}
