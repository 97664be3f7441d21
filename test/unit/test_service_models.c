/*
 * test_service_models.c
 *	  The resident models of the engine: found, checked, shared, evicted, refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nn/graph.h"
#include "service/service.h"
#include "service/sha256.h"

enum
{
	MODELS = 4
};

static char dir[] = "/tmp/deephash_models.XXXXXX";
static uint8_t name[MODELS][DEEPHASH_SHA256_BYTES]; /* sha256 of each model */

static void
path_of(const uint8_t *sha256, char *path, size_t size)
{
	int n = snprintf(path, size, "%s/", dir);

	for (int i = 0; i < DEEPHASH_SHA256_BYTES; i++)
		n += snprintf(path + n, size - n, "%02x", sha256[i]);
	snprintf(path + n, size - n, "%s", DEEPHASH_MODEL_SUFFIX);
}

static size_t
read_file(const char *path, uint8_t *data, size_t size)
{
	FILE *file = fopen(path, "rb");

	assert_non_null(file);
	size = fread(data, 1, size, file);
	fclose(file);
	return size;
}

/* A linear network of 8 x 8 pictures whose weights are all `weight`. */
static void
make_model(float weight, uint8_t *sha256)
{
	static const float mean[3] = {0, 0, 0};
	static const float std[3] = {1, 1, 1};
	static uint8_t data[1 << 20];
	NnModelInfo info = {
		.architecture = "test", .bits = 64, .width = 8, .height = 8, .resize = 8};
	NnGraph *graph = nn_graph_new();
	NnError err = {""};
	char path[200];
	char temporary[100];
	Sha256 sha;
	int x;

	x = nn_input(graph, 8, 8, mean, std);
	x = nn_reshape(graph, x, &(NnShape){.ndim = 1, .dim = {192}});
	nn_linear(graph, x, "hash", 64, false, NN_IDENTITY);
	assert_true(nn_graph_ok(graph, &err));
	for (size_t k = 0; k < nn_shape_size(&graph->param[0].shape); k++)
		graph->param[0].data[k] = weight;
	snprintf(temporary, sizeof(temporary), "%s/new", dir);
	assert_true(nn_model_write(temporary, &info, graph, NULL, &err));
	nn_graph_free(graph);
	sha256_init(&sha);
	sha256_update(&sha, data, read_file(temporary, data, sizeof(data)));
	sha256_final(&sha, sha256);
	path_of(sha256, path, sizeof(path));
	assert_int_equal(rename(temporary, path), 0);
}

static int
setup(void **state)
{
	(void) state;
	assert_non_null(mkdtemp(dir));
	for (int i = 0; i < MODELS; i++)
		make_model((float) (i + 1), name[i]);
	return 0;
}

static int
teardown(void **state)
{
	char command[100];

	(void) state;
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

static ServiceConfig
config_with(int64_t device_memory)
{
	return (ServiceConfig){
		.cache_dir = dir, .threads = 1, .batch_size = 8, .device_memory = device_memory};
}

/* What one of the models takes. */
static size_t
memory_of_one(const NnDevice *device)
{
	ServiceConfig config = config_with(INT64_C(1) << 30);
	Failure failure;
	Models *models = models_create(&config, device, &failure);
	Model *model = models_acquire(models, name[0], &failure);
	size_t memory = model->memory;

	models_release(models, model);
	models_destroy(models);
	return memory;
}

static void
expect_refused(Models *models, const uint8_t *sha256, DeephashStatus status)
{
	Failure failure = {.text = ""};

	assert_null(models_acquire(models, sha256, &failure));
	assert_int_equal(failure.status, status);
	assert_true(strlen(failure.text) > 0);
}

static void
test_shared(void **state)
{
	ServiceConfig config = config_with(INT64_C(1) << 30);
	Failure failure;
	Models *models = models_create(&config, &nn_cpu_device, &failure);
	Model *a = models_acquire(models, name[0], &failure);
	Model *b = models_acquire(models, name[0], &failure);
	Model *c = models_acquire(models, name[1], &failure);
	int count;
	size_t memory;

	(void) state;
	assert_non_null(a);
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, c);
	/* The CPU takes pictures one by one. */
	assert_int_equal(a->max_batch, 1);
	assert_int_equal(a->image_bytes, 8 * 8 * 3);
	models_totals(models, &count, &memory);
	assert_int_equal(count, 2);
	assert_int_equal(memory, a->memory + c->memory);
	models_release(models, a);
	models_release(models, b);
	models_release(models, c);
	models_destroy(models);
}

static void
test_eviction(void **state)
{
	size_t one = memory_of_one(&nn_cpu_device);
	ServiceConfig config = config_with((int64_t) (2 * one + one / 2));
	Failure failure;
	Models *models = models_create(&config, &nn_cpu_device, &failure);
	Model *held;
	int count;
	size_t memory;

	(void) state;
	for (int i = 0; i < 3; i++)
		models_release(models, models_acquire(models, name[i], &failure));
	models_totals(models, &count, &memory);
	assert_int_equal(count, 2);
	assert_true(memory <= (size_t) config.device_memory);

	/* One that is in use stays, though it was used least recently. */
	held = models_acquire(models, name[1], &failure);
	models_release(models, models_acquire(models, name[2], &failure));
	models_release(models, models_acquire(models, name[3], &failure));
	assert_ptr_equal(models_acquire(models, name[1], &failure), held);
	models_release(models, held);
	/* Many in use exceed the limit for a while, but are not refused. */
	Model *second = models_acquire(models, name[2], &failure);
	Model *third = models_acquire(models, name[3], &failure);

	assert_non_null(second);
	assert_non_null(third);
	models_totals(models, &count, &memory);
	assert_int_equal(count, 3);
	models_release(models, held);
	models_totals(models, &count, &memory);
	assert_int_equal(count, 2);
	models_release(models, second);
	models_release(models, third);
	models_destroy(models);
}

static void
test_smaller_batches(void **state)
{
	NnDevice device = nn_cpu_device;
	ServiceConfig config;
	Failure failure;
	Models *models;
	Model *model;

	(void) state;
	device.callers = false; /* then it has memory for a whole batch */
	config = config_with((int64_t) memory_of_one(&device) - 1);
	models = models_create(&config, &device, &failure);
	model = models_acquire(models, name[0], &failure);
	assert_non_null(model);
	assert_int_equal(model->max_batch, 4);
	models_release(models, model);
	models_destroy(models);

	config.device_memory = 1000;
	models = models_create(&config, &nn_cpu_device, &failure);
	expect_refused(models, name[0], DEEPHASH_TOO_LARGE);
	models_destroy(models);
}

static int loads;

static NnNet *
counted_load(const NnGraph *graph, int max_batch, int threads, NnError *err)
{
	loads++;
	return nn_cpu_device.load(graph, max_batch, threads, err);
}

static NnNet *
no_load(const NnGraph *graph, int max_batch, int threads, NnError *err)
{
	(void) graph;
	(void) max_batch;
	(void) threads;
	nn_fail(err, "there is no memory");
	return NULL;
}

static int served;

static NnNet *
no_serve(const NnGraph *graph, const NnServing *how, NnError *err)
{
	served++;
	return no_load(graph, how->max_batch, how->threads, err);
}

static bool
gone(char *text, size_t size)
{
	snprintf(text, size, "fallen off the bus");
	return false;
}

/* That a device has no room is not said of the model; smaller batches are tried. */
static void
test_refused_by_the_device(void **state)
{
	NnDevice device = nn_cpu_device;
	ServiceConfig config = config_with(INT64_C(1) << 30);
	Failure failure;
	Models *models;
	int count;
	size_t memory;

	(void) state;
	device.load = no_load;
	models = models_create(&config, &device, &failure);
	expect_refused(models, name[0], DEEPHASH_NO_MEMORY);
	models_totals(models, &count, &memory);
	assert_int_equal(count, 0);
	models_destroy(models);

	device.serve = no_serve;
	device.callers = false;
	models = models_create(&config, &device, &failure);
	expect_refused(models, name[0], DEEPHASH_DEVICE);
	assert_int_equal(served, 4);
	models_destroy(models);
}

/* Without its device the engine is of no use, and its successor may find it again. */
static void
test_device_that_is_gone(void **state)
{
	NnDevice device = nn_cpu_device;
	ServiceConfig config = config_with(INT64_C(1) << 30);
	int status;
	pid_t pid;

	(void) state;
	device.serve = no_serve;
	device.probe = gone;
	fflush(NULL);
	pid = fork();
	if (pid == 0)
	{
		Failure failure;
		Models *models = models_create(&config, &device, &failure);

		models_acquire(models, name[0], &failure);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
}

/* An estimate that grows with what is there: the error names a limit that is enough. */
static size_t
greedy_estimate(const NnGraph *graph, const NnServing *how)
{
	(void) graph;
	return ((size_t) 20 << 20) * (size_t) how->max_batch + how->memory / 4;
}

static void
test_limit_that_is_named(void **state)
{
	NnDevice device = nn_cpu_device;
	ServiceConfig config = config_with(INT64_C(16) << 20);
	Failure failure = {.text = ""};
	Models *models;
	int needed = 0;

	(void) state;
	device.estimate = greedy_estimate;
	models = models_create(&config, &device, &failure);
	assert_null(models_acquire(models, name[0], &failure));
	assert_int_equal(failure.status, DEEPHASH_TOO_LARGE);
	assert_int_equal(sscanf(failure.text, "model needs %d MB", &needed), 1);
	assert_int_equal(needed, 27);
	models_destroy(models);
	config.device_memory = (int64_t) needed << 20;
	models = models_create(&config, &device, &failure);
	models_release(models, models_acquire(models, name[0], &failure));
	models_destroy(models);
}

/*
 * What its plan shows to be too large never reaches the device, which others may share.
 */
static void
test_memory_before_loading(void **state)
{
	NnDevice device = nn_cpu_device;
	ServiceConfig config = config_with(1000);
	Failure failure;
	Models *models;

	(void) state;
	device.load = counted_load;
	loads = 0;
	models = models_create(&config, &device, &failure);
	expect_refused(models, name[0], DEEPHASH_TOO_LARGE);
	assert_int_equal(loads, 0);
	models_destroy(models);
	config.device_memory = INT64_C(1) << 30;
	models = models_create(&config, &device, &failure);
	models_release(models, models_acquire(models, name[0], &failure));
	assert_int_equal(loads, 1);
	models_destroy(models);
}

/* Write bytes as the file that has the name of model `which`, run a check, restore. */
static void
test_bad_files(void **state)
{
	ServiceConfig config = config_with(INT64_C(1) << 30);
	Failure failure;
	Models *models = models_create(&config, &nn_cpu_device, &failure);
	uint8_t nowhere[DEEPHASH_SHA256_BYTES] = {1};
	char path[200];
	char aside[220];
	FILE *file;

	(void) state;
	expect_refused(models, nowhere, DEEPHASH_NO_MODEL);

	path_of(name[0], path, sizeof(path));
	snprintf(aside, sizeof(aside), "%s.aside", path);
	assert_int_equal(rename(path, aside), 0);
	expect_refused(models, name[0], DEEPHASH_NO_MODEL);
	/* Other contents under the name are as good as none. */
	file = fopen(path, "wb");
	fputs("something else", file);
	fclose(file);
	expect_refused(models, name[0], DEEPHASH_NO_MODEL);
	unlink(path);
	/* A link may lead anywhere. */
	assert_int_equal(symlink(aside, path), 0);
	expect_refused(models, name[0], DEEPHASH_BAD_MODEL);
	unlink(path);
	assert_int_equal(rename(aside, path), 0);

	/* Contents that match their name and are no model. */
	Sha256 sha;
	uint8_t digest[DEEPHASH_SHA256_BYTES];

	sha256_init(&sha);
	sha256_update(&sha, "no model", 8);
	sha256_final(&sha, digest);
	path_of(digest, path, sizeof(path));
	file = fopen(path, "wb");
	fputs("no model", file);
	fclose(file);
	expect_refused(models, digest, DEEPHASH_BAD_MODEL);
	models_destroy(models);
}

typedef struct Crowd
{
	Models *models;
	unsigned seed;
	int failures;
} Crowd;

static void *
use_models(void *arg)
{
	Crowd *crowd = arg;

	for (int i = 0; i < 200; i++)
	{
		const uint8_t *wanted = name[rand_r(&crowd->seed) % MODELS];
		Failure failure;
		Model *model = models_acquire(crowd->models, wanted, &failure);

		if (model == NULL || memcmp(model->sha256, wanted, DEEPHASH_SHA256_BYTES) != 0)
			crowd->failures++;
		if (model)
			models_release(crowd->models, model);
	}
	return NULL;
}

/* Threads that want different models under a limit that holds two. */
static void
test_crowd(void **state)
{
	size_t one = memory_of_one(&nn_cpu_device);
	ServiceConfig config = config_with((int64_t) (2 * one + one / 2));
	Failure failure;
	Models *models = models_create(&config, &nn_cpu_device, &failure);
	pthread_t thread[4];
	Crowd crowd[4];

	(void) state;
	for (int i = 0; i < 4; i++)
	{
		crowd[i] = (Crowd){.models = models, .seed = i + 1};
		assert_int_equal(pthread_create(&thread[i], NULL, use_models, &crowd[i]), 0);
	}
	for (int i = 0; i < 4; i++)
	{
		pthread_join(thread[i], NULL);
		assert_int_equal(crowd[i].failures, 0);
	}
	models_destroy(models);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_eviction),
		cmocka_unit_test(test_smaller_batches),
		cmocka_unit_test(test_memory_before_loading),
		cmocka_unit_test(test_refused_by_the_device),
		cmocka_unit_test(test_device_that_is_gone),
		cmocka_unit_test(test_limit_that_is_named),
		cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_crowd),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
