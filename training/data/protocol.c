/*
 * protocol.c
 *	  Index lists of the CIFAR-10 retrieval protocols.
 */
#include "training/data/protocol.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define STREAM_PROTOCOL 0x5052

/* What a picture may be used for. */
enum
{
	TRAIN = 1,
	QUERY = 2,
	DATABASE = 4
};

/* Per class of 6,000: so many queries, then so many for training, then the rest. */
typedef struct Rule
{
	Protocol protocol;
	int queries_of_60; /* sixtieths of the class */
	int train_of_60;
	int train_role, rest_role;
} Rule;

static const Rule rules[] = {
	{{"P54", "train 500 a class, query 100 a class, database the other 54,000"},
	 1,
	 5,
	 TRAIN,
	 DATABASE},
	{{"P59", "train 500 a class, query 100 a class, database the other 59,000"},
	 1,
	 5,
	 TRAIN | DATABASE,
	 DATABASE},
	{{"Pfull", "train = database of 50,000, query 10,000, drawn from all"},
	 10,
	 50,
	 TRAIN | DATABASE,
	 TRAIN | DATABASE},
	{{"Pfull-R", "train = database = official training set, query = official test set"},
	 0,
	 0,
	 0,
	 0},
};

#define NRULES ((int) (sizeof rules / sizeof rules[0]))

const Protocol *
protocol_at(int i)
{
	return i >= 0 && i < NRULES ? &rules[i].protocol : NULL;
}

static const Rule *
find_rule(const char *name, TrainError *err)
{
	for (int r = 0; r < NRULES; r++)
		if (strcasecmp(rules[r].protocol.name, name) == 0)
			return &rules[r];
	train_fail(err, "unknown protocol \"%s\": expected P54, P59, Pfull or Pfull-R", name);
	return NULL;
}

/* Roles by the official split, which the names of the records tell. */
static bool
official_roles(const Dataset *ds, uint8_t *role, TrainError *err)
{
	bool train = false, test = false;

	for (int i = 0; i < ds->n; i++)
	{
		bool is_test = strncmp(ds->source[i], "test_batch.bin:", 15) == 0;

		if (!is_test && strncmp(ds->source[i], "data_batch_", 11) != 0)
			return train_fail(err,
							  "protocol Pfull-R is the official split of CIFAR-10, but "
							  "\"%.200s\" is no picture of it",
							  ds->source[i]);
		role[i] = is_test ? QUERY : TRAIN | DATABASE;
		test |= is_test;
		train |= !is_test;
	}
	if (!train || !test)
		return train_fail(err, "protocol Pfull-R needs both the training and the test "
							   "pictures of CIFAR-10");
	return true;
}

/* Roles drawn class by class; order is room for ds->n positions. */
static bool
drawn_roles(const Rule *rule, const Dataset *ds, uint64_t seed, uint32_t *order,
			uint8_t *role, TrainError *err)
{
	Rng rng;

	rng_seed(&rng, seed, STREAM_PROTOCOL);
	for (int c = 0; c < ds->nclasses; c++)
	{
		int n = 0, queries, train;

		for (int i = 0; i < ds->n; i++)
			if (dataset_class(ds, i) == c)
				order[n++] = (uint32_t) i;
		queries = n * rule->queries_of_60 / 60;
		train = n * rule->train_of_60 / 60;
		if (queries < 1 || train < 1)
			return train_fail(err,
							  "class \"%.100s\" has %d pictures, too few for protocol %s",
							  ds->class_name[c], n, rule->protocol.name);
		rng_shuffle(&rng, order, (size_t) n);
		for (int i = 0; i < n; i++)
			role[order[i]] = (uint8_t) (i < queries			  ? QUERY
										: i < queries + train ? rule->train_role
															  : rule->rest_role);
	}
	return true;
}

static bool
collect(const uint8_t *role, int n, int wanted, uint32_t **list, int *count,
		TrainError *err)
{
	*count = 0;
	*list = malloc(((size_t) n + 1) * sizeof **list);
	if (*list == NULL)
		return train_fail(err, "out of memory: a list of %d pictures", n);
	for (int i = 0; i < n; i++)
		if (role[i] & wanted)
			(*list)[(*count)++] = (uint32_t) i;
	return true;
}

static bool
check_single_label(const Dataset *ds, TrainError *err)
{
	for (int i = 0; i < ds->n; i++)
	{
		int labels = 0;

		for (int w = 0; w < ds->label_words; w++)
			labels += __builtin_popcountll(ds->labels[(size_t) i * ds->label_words + w]);
		if (labels != 1)
			return train_fail(err,
							  "\"%.200s\" has %d labels: this protocol is for pictures "
							  "with exactly one",
							  ds->source[i], labels);
	}
	return true;
}

bool
protocol_build(const char *name, const Dataset *pooled, uint64_t seed, ProtocolSplit *out,
			   TrainError *err)
{
	const Rule *rule = find_rule(name, err);
	uint8_t *role;
	uint32_t *order;
	bool ok;

	*out = (ProtocolSplit){0};
	if (rule == NULL)
		return false;
	role = calloc((size_t) pooled->n + 1, 1);
	order = malloc(((size_t) pooled->n + 1) * sizeof *order);
	if (role == NULL || order == NULL)
		ok = train_fail(err, "out of memory: a list of %d pictures", pooled->n);
	else if (rule->train_of_60 == 0)
		ok = official_roles(pooled, role, err);
	else
		ok = check_single_label(pooled, err) &&
			 drawn_roles(rule, pooled, seed, order, role, err);
	ok = ok && collect(role, pooled->n, TRAIN, &out->train, &out->ntrain, err) &&
		 collect(role, pooled->n, QUERY, &out->query, &out->nquery, err) &&
		 collect(role, pooled->n, DATABASE, &out->database, &out->ndatabase, err);
	free(role);
	free(order);
	if (!ok)
		protocol_free(out);
	return ok;
}

void
protocol_free(ProtocolSplit *split)
{
	free(split->train);
	free(split->query);
	free(split->database);
	*split = (ProtocolSplit){0};
}
