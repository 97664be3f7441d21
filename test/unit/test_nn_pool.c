/*
 * test_nn_pool.c
 *	  The thread pool: shares of a loop, and one pool for all networks of the CPU device.
 */
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "nn/device.h"
#include "nn/graph.h"
#include "nn/pool.h"

enum
{
	NETS = 10,
	THREADS = 5
};

static int
threads_now(void)
{
	DIR *dir = opendir("/proc/self/task");
	int n = 0;

	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

/* A thread that was joined may be seen for a moment yet. */
static void
expect_threads(int n)
{
	for (int i = 0; threads_now() != n && i < 60000; i++)
		usleep(1000);
	assert_int_equal(threads_now(), n);
}

static void
count(void *arg, int begin, int end, int thread)
{
	int *seen = arg;

	(void) thread;
	for (int i = begin; i < end; i++)
		seen[i]++;
}

static void
test_shares(void **state)
{
	NnPool *pool = nn_pool_new(THREADS);
	int seen[100];

	(void) state;
	for (int n = 0; n <= 100; n += n < 12 ? 1 : 11)
	{
		memset(seen, 0, sizeof(seen));
		nn_parallel(pool, n, count, seen);
		for (int i = 0; i < 100; i++)
			assert_int_equal(seen[i], i < n);
	}
	nn_pool_free(pool);
}

static void
test_share_and_leave(void **state)
{
	int before = threads_now();
	NnPool *a = nn_pool_share(THREADS);
	NnPool *b = nn_pool_share(THREADS);
	NnPool *other = nn_pool_share(THREADS + 1);

	(void) state;
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, other);
	expect_threads(before + THREADS - 1 + THREADS);
	nn_pool_leave(a);
	nn_pool_leave(other);
	expect_threads(before + THREADS - 1);
	nn_pool_leave(b);
	expect_threads(before);
}

/* ---------------------------------------------------------------- networks */

static NnGraph *graph;
static uint8_t image[8 * 8 * 3];

static int
setup(void **state)
{
	static const float mean[3] = {0.5f, 0.5f, 0.5f};
	static const float std[3] = {1, 1, 1};

	(void) state;
	graph = nn_graph_new();
	nn_linear(graph,
			  nn_reshape(graph, nn_input(graph, 8, 8, mean, std),
						 &(NnShape){.ndim = 1, .dim = {192}}),
			  "hash", 64, false, NN_IDENTITY);
	for (size_t k = 0; k < nn_shape_size(&graph->param[0].shape); k++)
		graph->param[0].data[k] = (float) (k % 17) - 8;
	for (size_t k = 0; k < sizeof(image); k++)
		image[k] = (uint8_t) (k * 7);
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	nn_graph_free(graph);
	return 0;
}

static void
test_networks_share(void **state)
{
	int before = threads_now();
	NnNet *net[NETS];
	float out[64], first[64];
	NnError err;

	(void) state;
	for (int i = 0; i < NETS; i++)
	{
		net[i] = nn_cpu_device.load(graph, 4, THREADS, &err);
		assert_non_null(net[i]);
		assert_true(nn_cpu_device.run(net[i], image, 1, i ? out : first, &err));
		if (i)
			assert_memory_equal(out, first, sizeof(out));
	}
	expect_threads(before + THREADS - 1);
	for (int i = 0; i < NETS; i++)
		nn_cpu_device.unload(net[i]);
	expect_threads(before);
}

typedef struct Runs
{
	NnNet *net;
	float expected[64];
	int wrong;
} Runs;

static void *
run_often(void *arg)
{
	Runs *runs = arg;
	float out[64];
	NnError err;

	for (int i = 0; i < 200; i++)
	{
		if (!nn_cpu_device.run(runs->net, image, 1, out, &err) ||
			memcmp(out, runs->expected, sizeof(out)) != 0)
			runs->wrong++;
	}
	return NULL;
}

/* Two networks run by two threads take turns at the one pool. */
static void
test_networks_take_turns(void **state)
{
	Runs runs[2] = {{.wrong = 0}};
	pthread_t thread[2];
	NnError err;

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		runs[i].net = nn_cpu_device.load(graph, 4, THREADS, &err);
		assert_true(nn_cpu_device.run(runs[i].net, image, 1, runs[i].expected, &err));
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, run_often, &runs[i]), 0);
	for (int i = 0; i < 2; i++)
	{
		pthread_join(thread[i], NULL);
		assert_int_equal(runs[i].wrong, 0);
		nn_cpu_device.unload(runs[i].net);
	}
}

/* One network run by more threads than it has lanes; a batch goes between them. */
static void
test_callers(void **state)
{
	enum
	{
		CALLERS = THREADS + 2
	};
	Runs runs[CALLERS] = {{.wrong = 0}};
	pthread_t thread[CALLERS];
	NnNet *net;
	NnError err;
	size_t size = nn_shape_size(&graph->node[0].shape);
	uint8_t *images = malloc(4 * size);
	float out[4 * 64];

	(void) state;
	assert_true(nn_cpu_device.callers);
	net = nn_cpu_device.load(graph, 4, THREADS, &err);
	for (int i = 0; i < CALLERS; i++)
	{
		runs[i].net = net;
		assert_true(nn_cpu_device.run(net, image, 1, runs[i].expected, &err));
	}
	for (int i = 0; i < 4; i++)
		memcpy(images + i * size, image, size);
	for (int i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, run_often, &runs[i]), 0);
	for (int k = 0; k < 50; k++)
	{
		assert_true(nn_cpu_device.run(net, images, 4, out, &err));
		for (int i = 0; i < 4; i++)
			assert_memory_equal(out + (size_t) i * 64, runs[0].expected,
								sizeof(runs[0].expected));
	}
	for (int i = 0; i < CALLERS; i++)
	{
		pthread_join(thread[i], NULL);
		assert_int_equal(runs[i].wrong, 0);
	}
	nn_cpu_device.unload(net);
	free(images);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shares),		   cmocka_unit_test(test_share_and_leave),
		cmocka_unit_test(test_networks_share), cmocka_unit_test(test_networks_take_turns),
		cmocka_unit_test(test_callers),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
