/*
 * retrieval.c
 *	  Retrieval metrics of many queries, in threads.
 *
 * A query is one pass of the distance kernel over the packed database and one
 * pass that counts distances of all and of relevant items; everything else comes from
 * the two histograms, without sorting.  Sums are made per query and added in the
 * order of queries, so the result does not depend on the number of threads.
 */
#include "training/metrics/metrics.h"

#include "hamming/hamming.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 64
#define RADIUS 2 /* of P@H<=2 */

/* Values of one query, in the order of the means in finish(). */
typedef struct QueryResult
{
	double map_all, map_best, map_worst;
	double map_at_k, map_at_k_min;
	double precision[8];
	double precision_radius, empty_radius, recall_radius;
	double top1;
} QueryResult;

typedef struct Job
{
	const CodeSet *query, *database;
	bool same_set;
	int k;
	const int *precision_n;
	int nprecision;
	QueryResult *result;
	atomic_int next;
} Job;

/* Room for one thread's work on a query. */
typedef struct Scratch
{
	uint16_t *distance; /* one per database item */
	int64_t *count;		/* [distance][relevant], interleaved for one cache line */
	int64_t *all, *relevant;
} Scratch;

static void
scratch_free(Scratch *s)
{
	free(s->distance);
	free(s->count);
	free(s->all);
	free(s->relevant);
}

static bool
scratch_init(Scratch *s, const Job *job)
{
	size_t bins = (size_t) job->database->bits + 1;

	s->distance = malloc(((size_t) job->database->n + 1) * sizeof *s->distance);
	s->count = malloc(bins * 2 * sizeof *s->count);
	s->all = malloc(bins * sizeof *s->all);
	s->relevant = malloc(bins * sizeof *s->relevant);
	if (s->distance && s->count && s->all && s->relevant)
		return true;
	scratch_free(s);
	return false;
}

static int
shares_label(const uint64_t *a, const uint64_t *b, int words)
{
	for (int w = 0; w < words; w++)
		if (a[w] & b[w])
			return 1;
	return 0;
}

/* Distance and relevance histograms of query q. */
static void
count_query(const Job *job, int q, Scratch *s)
{
	const CodeSet *db = job->database;
	size_t nbytes = hamming_bytes((size_t) db->bits);
	const uint64_t *labels =
		job->query->labels + (size_t) q * (size_t) job->query->label_words;

	hamming_kernels()->distances(job->query->codes + (size_t) q * nbytes, db->codes,
								 nbytes, (size_t) db->n, s->distance);
	memset(s->count, 0, ((size_t) db->bits + 1) * 2 * sizeof *s->count);
	if (db->label_words == 1)
		for (int i = 0; i < db->n; i++)
			s->count[s->distance[i] * 2 + ((labels[0] & db->labels[i]) != 0)]++;
	else
		for (int i = 0; i < db->n; i++)
			s->count[s->distance[i] * 2 +
					 shares_label(labels, db->labels + (size_t) i * db->label_words,
								  db->label_words)]++;
	if (job->same_set)
		s->count[s->distance[q] * 2 + shares_label(labels, labels, db->label_words)]--;
	for (int d = 0; d <= db->bits; d++)
	{
		s->relevant[d] = s->count[d * 2 + 1];
		s->all[d] = s->count[d * 2] + s->count[d * 2 + 1];
	}
}

static void
measure_query(const Job *job, const Scratch *s, QueryResult *r)
{
	int bits = job->database->bits;
	int64_t near = 0, near_relevant = 0, relevant = 0;

	r->map_all = metrics_average_precision(s->all, s->relevant, bits);
	metrics_average_precision_bounds(s->all, s->relevant, bits, &r->map_best,
									 &r->map_worst);
	if (job->k > 0)
		metrics_average_precision_at(s->all, s->relevant, bits, job->k, &r->map_at_k,
									 &r->map_at_k_min, NULL);
	for (int p = 0; p < job->nprecision; p++)
		r->precision[p] =
			metrics_precision_at(s->all, s->relevant, bits, job->precision_n[p]);
	r->top1 = metrics_precision_at(s->all, s->relevant, bits, 1);
	for (int d = 0; d <= bits; d++)
	{
		relevant += s->relevant[d];
		if (d <= RADIUS)
		{
			near += s->all[d];
			near_relevant += s->relevant[d];
		}
	}
	r->empty_radius = near == 0;
	r->precision_radius = near ? (double) near_relevant / (double) near : 0;
	r->recall_radius = relevant ? (double) near_relevant / (double) relevant : 0;
}

static void *
work(void *arg)
{
	Job *job = arg;
	Scratch scratch;
	int q;

	if (!scratch_init(&scratch, job))
		return NULL; /* the others do its share; if none can, queries are left */
	while ((q = atomic_fetch_add(&job->next, 1)) < job->query->n)
	{
		count_query(job, q, &scratch);
		measure_query(job, &scratch, &job->result[q]);
	}
	scratch_free(&scratch);
	return NULL;
}

static void
run_threads(Job *job, int threads)
{
	pthread_t id[MAX_THREADS];
	int started = 0;

	if (threads > MAX_THREADS)
		threads = MAX_THREADS;
	while (started < threads - 1 && pthread_create(&id[started], NULL, work, job) == 0)
		started++;
	work(job);
	for (int t = 0; t < started; t++)
		pthread_join(id[t], NULL);
}

/* Means over all queries, those without a relevant item included (they count 0). */
static void
finish(const Job *job, RetrievalMetrics *out)
{
	double n = job->query->n;

	out->nqueries = job->query->n;
	out->ndatabase = job->database->n - (job->same_set ? 1 : 0);
	out->k = job->k;
	out->nprecision = job->nprecision;
	for (int p = 0; p < job->nprecision; p++)
		out->precision_n[p] = job->precision_n[p];
	for (int q = 0; q < job->query->n; q++)
	{
		const QueryResult *r = &job->result[q];

		out->map_all += r->map_all / n;
		out->map_best += r->map_best / n;
		out->map_worst += r->map_worst / n;
		out->map_at_k += r->map_at_k / n;
		out->map_at_k_min += r->map_at_k_min / n;
		for (int p = 0; p < job->nprecision; p++)
			out->precision[p] += r->precision[p] / n;
		out->precision_radius2 += r->precision_radius / n;
		out->empty_radius2 += r->empty_radius / n;
		out->recall_radius2 += r->recall_radius / n;
		out->top1 += r->top1 / n;
	}
}

static bool
check_sets(const CodeSet *query, const CodeSet *database, bool same_set, int k,
		   const int *precision_n, int nprecision, TrainError *err)
{
	if (query->bits != database->bits)
		return train_fail(err, "queries have codes of %d bits, the database of %d",
						  query->bits, database->bits);
	if (query->bits < 1 || query->bits > HAMMING_MAX_BITS)
		return train_fail(err, "codes of %d bits: expected 1 to %d", query->bits,
						  HAMMING_MAX_BITS);
	if (query->label_words != database->label_words)
		return train_fail(err,
						  "queries and database have different sets of classes (%d and "
						  "%d label words)",
						  query->label_words, database->label_words);
	if (query->n < 1)
		return train_fail(err, "there are no queries");
	if (database->n < (same_set ? 2 : 1))
		return train_fail(err, "there is nothing in the database to find");
	if (same_set && query->n != database->n)
		return train_fail(err, "queries are not the database: %d against %d pictures",
						  query->n, database->n);
	if (k < 0)
		return train_fail(err, "mAP@%d: expected a positive number", k);
	if (nprecision < 0 || nprecision > 8)
		return train_fail(err, "precision at %d places asked for: at most 8", nprecision);
	for (int p = 0; p < nprecision; p++)
		if (precision_n[p] < 1)
			return train_fail(err, "P@%d: expected a positive number", precision_n[p]);
	return true;
}

bool
metrics_retrieval(const CodeSet *query, const CodeSet *database, bool same_set, int k,
				  const int *precision_n, int nprecision, int threads,
				  RetrievalMetrics *out, TrainError *err)
{
	Job job = {.query = query,
			   .database = database,
			   .same_set = same_set,
			   .k = k,
			   .precision_n = precision_n,
			   .nprecision = nprecision};
	CodeStats stats;

	*out = (RetrievalMetrics){0};
	if (!check_sets(query, database, same_set, k, precision_n, nprecision, err))
		return false;
	job.result = calloc((size_t) query->n, sizeof *job.result);
	if (job.result == NULL)
		return train_fail(err, "out of memory: %d queries want %zu bytes", query->n,
						  (size_t) query->n * sizeof *job.result);
	run_threads(&job, threads);
	if (atomic_load(&job.next) < query->n)
	{
		free(job.result);
		return train_fail(err, "out of memory: distances to %d codes want %zu bytes",
						  database->n, (size_t) database->n * sizeof(uint16_t));
	}
	finish(&job, out);
	free(job.result);
	if (!metrics_code_stats(database, &stats, err))
		return false;
	out->collision_shared = (double) stats.sharing / database->n;
	out->collision_lost = (double) (database->n - stats.distinct) / database->n;
	if (database->n > 1)
		out->collision_pairs =
			(double) stats.pairs / (0.5 * database->n * (database->n - 1.0));
	out->bit_balance = stats.balance;
	return true;
}
