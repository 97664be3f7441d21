/*
 * report.c
 *	  Retrieval metrics for people.
 */
#include "training/run/report.h"

#include <stdio.h>

bool
report_judge(const CodeSet *query, const CodeSet *database, int threads,
			 RetrievalMetrics *out, TrainError *err)
{
	static const int places[] = {10, 100, 1000};
	int n = 0;

	while (n < 3 && places[n] <= database->n)
		n++;
	return metrics_retrieval(query, database, false, database->n < 1000 ? 0 : 1000,
							 places, n, threads, out, err);
}

void
report_metrics(const RetrievalMetrics *m, const char *protocol)
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
