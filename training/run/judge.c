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
		printf("mAP@%-5d           %.6f\n", m->k, m->map_at_k_min);
	for (int i = 0; i < m->nprecision; i++)
		printf("P@%-5d             %.6f\n", m->precision_n[i], m->precision[i]);
	printf("P@H<=2              %.6f (empty balls %.6f, recall %.6f)\n",
		   m->precision_radius2, m->empty_radius2, m->recall_radius2);
	printf("1-NN                %.6f\n", m->top1);
	printf("shared codes        %.6f (lost to duplicates %.6f)\n", m->collision_shared,
		   m->collision_lost);
	printf("bit imbalance       %.6f\n", m->bit_balance);
}
