/*
 * test_train_protocol.c
 *	  Sets of pictures: selecting, splitting, protocols.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "training/data/dataset.h"
#include "training/data/protocol.h"

/* n 1 x 1 pictures, classes in turn; the picture is its number. */
static Dataset *
made_set(int n, int nclasses, bool cifar_names)
{
	Dataset *ds = calloc(1, sizeof *ds);
	char name[64];

	ds->n = n;
	ds->width = ds->height = 1;
	ds->nclasses = nclasses;
	ds->label_words = (nclasses + 63) / 64;
	ds->rgb = calloc((size_t) n, 3);
	ds->labels = calloc((size_t) n * ds->label_words, sizeof(uint64_t));
	ds->source = calloc((size_t) n, sizeof(char *));
	ds->class_name = calloc((size_t) nclasses, sizeof(char *));
	for (int c = 0; c < nclasses; c++)
	{
		snprintf(name, sizeof name, "c%d", c);
		ds->class_name[c] = strdup(name);
	}
	for (int i = 0; i < n; i++)
	{
		int c = i % nclasses;

		memcpy(ds->rgb + i * 3, &i, 3);
		ds->labels[i * ds->label_words + c / 64] = UINT64_C(1) << (c % 64);
		if (cifar_names && i < n * 5 / 6)
			snprintf(name, sizeof name, "data_batch_%d.bin:%d", 1 + i * 6 / n, i);
		else
			snprintf(name, sizeof name, "%s:%d", cifar_names ? "test_batch.bin" : "p", i);
		ds->source[i] = strdup(name);
	}
	return ds;
}

static int
number_of(const Dataset *ds, int i)
{
	int number = 0;

	memcpy(&number, ds->rgb + (size_t) i * 3, 3);
	return number;
}

static void
subsets(void **state)
{
	(void) state;
	static const uint32_t index[4] = {7, 0, 7, 99};
	Dataset *ds = made_set(100, 70, false);
	Dataset *part = dataset_subset(ds, index, 4);
	Dataset *none = dataset_subset(ds, index, 0);

	assert_int_equal(part->n, 4);
	assert_int_equal(none->n, 0);
	for (int i = 0; i < 4; i++)
	{
		assert_int_equal(number_of(part, i), (int) index[i]);
		assert_int_equal(dataset_class(part, i), (int) index[i] % 70);
		assert_string_equal(part->source[i], ds->source[index[i]]);
		assert_true(dataset_relevant(part, i, ds, (int) index[i]));
	}
	assert_string_equal(part->class_name[69], "c69");
	dataset_free(none);
	dataset_free(part);
	dataset_free(ds);
}

static void
stratified_split(void **state)
{
	(void) state;
	Dataset *ds = made_set(1000, 7, false);
	Dataset *a, *b, *a2, *b2;
	int seen[1000] = {0}, count[7] = {0};
	TrainError err;

	ds->labels[3] = 0; /* without a label: split like the rest */
	assert_true(dataset_split(ds, 0.1, 42, &a, &b, &err));
	assert_true(dataset_split(ds, 0.1, 42, &a2, &b2, &err));
	assert_int_equal(a->n + b->n, 1000);
	assert_memory_equal(b->rgb, b2->rgb, (size_t) b->n * 3);
	for (int i = 0; i < a->n; i++)
		seen[number_of(a, i)]++;
	for (int i = 0; i < b->n; i++)
	{
		seen[number_of(b, i)]++;
		if (dataset_class(b, i) >= 0)
			count[dataset_class(b, i)]++;
	}
	for (int i = 0; i < 1000; i++)
		assert_int_equal(seen[i], 1);
	for (int c = 0; c < 7; c++)
		assert_int_equal(count[c], 14); /* of 143 or 142 */
	dataset_free(a2);
	dataset_free(b2);
	assert_true(dataset_split(ds, 0.1, 43, &a2, &b2, &err));
	assert_memory_not_equal(b->rgb, b2->rgb, (size_t) b->n * 3);
	dataset_free(a);
	dataset_free(b);
	dataset_free(a2);
	dataset_free(b2);
	assert_false(dataset_split(ds, 0, 1, &a, &b, &err));
	assert_non_null(strstr(err.text, "must lie between 0 and 1"));
	assert_false(dataset_split(ds, 0.0001, 1, &a, &b, &err));
	assert_non_null(strstr(err.text, "leaves one part empty"));
	assert_null(a);
	dataset_free(ds);
}

static void
check_protocol(const Dataset *ds, const char *name, int ntrain, int nquery, int ndatabase,
			   bool train_in_database)
{
	ProtocolSplit split, again, other;
	uint8_t *use = calloc((size_t) ds->n, 1);
	int count[10] = {0};
	TrainError err;

	if (!protocol_build(name, ds, 1, &split, &err))
		fail_msg("%s: %s", name, err.text);
	assert_true(protocol_build(name, ds, 1, &again, &err));
	assert_true(protocol_build(name, ds, 2, &other, &err));
	assert_int_equal(split.ntrain, ntrain);
	assert_int_equal(split.nquery, nquery);
	assert_int_equal(split.ndatabase, ndatabase);
	assert_memory_equal(split.query, again.query, (size_t) nquery * sizeof *again.query);
	assert_memory_equal(split.train, again.train, (size_t) ntrain * sizeof *again.train);
	if (strcmp(name, "Pfull-R") != 0)
		assert_memory_not_equal(split.query, other.query,
								(size_t) nquery * sizeof *again.query);
	for (int i = 0; i < nquery; i++)
	{
		use[split.query[i]] |= 1;
		count[dataset_class(ds, (int) split.query[i])]++;
		assert_true(i == 0 || split.query[i] > split.query[i - 1]);
	}
	for (int i = 0; i < ntrain; i++)
		use[split.train[i]] |= 2;
	for (int i = 0; i < ndatabase; i++)
		use[split.database[i]] |= 4;
	for (int i = 0; i < ds->n; i++)
	{
		/* a query is nothing else; training pictures as the protocol says */
		if (use[i] & 1)
			assert_int_equal(use[i], 1);
		else if (use[i] & 2)
			assert_int_equal(use[i], train_in_database ? 6 : 2);
		else
			assert_int_equal(use[i], 4);
	}
	for (int c = 0; c < 10; c++)
		assert_int_equal(count[c], nquery / 10);
	protocol_free(&split);
	protocol_free(&again);
	protocol_free(&other);
	free(use);
}

static void
protocols(void **state)
{
	(void) state;
	Dataset *ds = made_set(60000, 10, true);
	Dataset *few = made_set(100, 10, false);
	ProtocolSplit split;
	TrainError err;

	check_protocol(ds, "P54", 5000, 1000, 54000, false);
	check_protocol(ds, "P59", 5000, 1000, 59000, true);
	check_protocol(ds, "Pfull", 50000, 10000, 50000, true);
	check_protocol(ds, "Pfull-R", 50000, 10000, 50000, true);
	assert_true(protocol_build("pfull-r", ds, 1, &split, &err));
	assert_int_equal(split.query[0], 50000);
	protocol_free(&split);
	for (int i = 0; protocol_at(i); i++)
	{
		assert_true(protocol_build(protocol_at(i)->name, ds, 1, &split, &err));
		protocol_free(&split);
	}
	assert_false(protocol_build("P60", ds, 1, &split, &err));
	assert_non_null(strstr(err.text, "unknown protocol \"P60\": expected P54"));
	assert_false(protocol_build("P54", few, 1, &split, &err));
	assert_non_null(strstr(err.text, "class \"c0\" has 10 pictures, too few"));
	assert_false(protocol_build("Pfull-R", few, 1, &split, &err));
	assert_non_null(strstr(err.text, "official split"));
	ds->labels[5] |= 1;
	ds->labels[6] = 0;
	assert_false(protocol_build("P54", ds, 1, &split, &err));
	assert_non_null(strstr(err.text, "has 2 labels"));
	dataset_free(few);
	dataset_free(ds);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(subsets),
		cmocka_unit_test(stratified_split),
		cmocka_unit_test(protocols),
	};

	return cmocka_run_group_tests_name("train_protocol", tests, NULL, NULL);
}
