/*
 * test_service_queue.c
 *	  The engine's queue on a device with gates: who shares a forward pass, who comes
 *	  first, who waits and who is dropped.  Nothing here depends on how fast anything is.
 */
#include <pthread.h>
#include <unistd.h>

#include "service_cache.h"
#include "service/engine.h"
#include "service_requests.h"

#define ONE_HOUR_US INT64_C(3600000000)

/* ------------------------------------------------------------ a device with gates */

/* Whoever passes is counted, and stays until `open` have been let through. */
typedef struct Gate
{
	int arrived, open;
} Gate;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static Gate loading, running;
static int batch[1000];		/* images of each forward pass */
static pthread_t who[1000]; /* ran it */

static int
pass(Gate *gate)
{
	int number;

	pthread_mutex_lock(&lock);
	number = gate->arrived++;
	pthread_cond_broadcast(&changed);
	while (gate->open <= number)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	return number;
}

static void
open_gate(Gate *gate, int how_many)
{
	pthread_mutex_lock(&lock);
	gate->open = how_many;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void
await(Gate *gate, int arrived)
{
	pthread_mutex_lock(&lock);
	while (gate->arrived < arrived)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static NnNet *
gated_load(const NnGraph *graph, int max_batch, int threads, NnError *err)
{
	pass(&loading);
	return nn_cpu_device.load(graph, max_batch, threads, err);
}

static bool
gated_run(NnNet *net, const uint8_t *images, int n, float *out, NnError *err)
{
	int number = pass(&running);

	batch[number] = n;
	who[number] = pthread_self();
	return nn_cpu_device.run(net, images, n, out, err);
}

/* ------------------------------------------------------------------- the engine */

static NnDevice device;
static ServiceConfig config;
static Engine *engine;
static EngineTimes times;
static Answers come;

static void
start_with(bool callers, int threads, int batch_size, int64_t batch_wait_us)
{
	Failure failure;

	device = nn_cpu_device;
	device.callers = callers;
	device.load = gated_load;
	device.run = gated_run;
	config = (ServiceConfig){.cache_dir = dir,
							 .threads = threads,
							 .batch_size = batch_size,
							 .batch_wait_us = batch_wait_us,
							 .device_memory = INT64_C(1) << 30,
							 .max_pixels = 1000000};
	loading = running = (Gate){0, 0};
	answers_begin(&come);
	engine = engine_start(&config, &device, &come.user, &times, &failure);
	assert_non_null(engine);
}

/* On a device that computes one batch at a time. */
static void
start(int threads, int batch_size, int64_t batch_wait_us)
{
	start_with(false, threads, batch_size, batch_wait_us);
}

static void
stop(void)
{
	open_gate(&loading, INT32_MAX);
	open_gate(&running, INT32_MAX);
	engine_stop(engine);
	answers_end(&come);
}

static void
submit(Lane *lane, int which, uint64_t id)
{
	submit_image(engine, lane, model[which], id, 0, jpeg.data, jpeg.size);
}

/* Wait until n are decoded and not yet computed. */
static void
await_ready(int n)
{
	EngineStats stats;

	for (;;)
	{
		engine_stats(engine, &stats);
		if (stats.queued == 0 && stats.ready == n)
			return;
		assert_true(stats.ready <= n);
		usleep(1000);
	}
}

/* Wait for n answers; their ids in the order in which they came. */
static void
answers(int n, uint64_t *id)
{
	for (int i = 0; i < n; i++)
	{
		Request *request = answers_next(&come);

		if (!atomic_load(&request->lane->gone))
			assert_int_equal(request->status, DEEPHASH_OK);
		id[i] = request->head.id;
		request_free(request);
	}
}

/* ------------------------------------------------------------------------ tests */

/* What comes while the device is busy shares the next forward passes, whoever sent it. */
static void
test_sessions_share_batches(void **state)
{
	Lane lane[20] = {{.gone = false}};
	uint64_t id[21];
	EngineStats stats;

	(void) state;
	start(2, 8, 0);
	open_gate(&loading, 1);
	submit(&lane[0], 0, 0);
	await(&running, 1);
	for (int i = 0; i < 20; i++)
		submit(&lane[i], 0, 1 + (uint64_t) i);
	await_ready(20);
	open_gate(&running, INT32_MAX);
	answers(21, id);
	engine_stats(engine, &stats);
	assert_int_equal(stats.images, 21);
	assert_int_equal(stats.batches, 4);
	assert_int_equal(batch[0], 1);
	assert_int_equal(batch[1], 8);
	assert_int_equal(batch[2], 8);
	assert_int_equal(batch[3], 4);
	stop();
}

/* A batch holds pictures for one model; those for another keep their place. */
static void
test_models_do_not_mix(void **state)
{
	Lane lane = {.gone = false};
	uint64_t id[8];
	static const uint64_t wanted[8] = {0, 1, 3, 5, 7, 2, 4, 6};

	(void) state;
	start(1, 8, 0);
	open_gate(&loading, 2);
	submit(&lane, 1, 0);
	await(&running, 1);
	for (uint64_t i = 1; i < 8; i++)
		submit(&lane, i % 2 ? 0 : 1, i);
	await_ready(7);
	open_gate(&running, INT32_MAX);
	answers(8, id);
	assert_memory_equal(id, wanted, sizeof(id));
	assert_int_equal(batch[1], 4);
	assert_int_equal(batch[2], 3);
	stop();
}

/* Nothing else is on its way, so an hour's wait for more does not matter. */
static void
test_lone_request_does_not_wait(void **state)
{
	Lane lane = {.gone = false};
	uint64_t id;

	(void) state;
	start(2, 8, ONE_HOUR_US);
	open_gate(&loading, 1);
	open_gate(&running, INT32_MAX);
	for (int i = 0; i < 3; i++)
	{
		submit(&lane, 0, (uint64_t) i);
		answers(1, &id);
		assert_int_equal(id, i);
		assert_int_equal(batch[i], 1);
	}
	stop();
}

/* With another request on its way (its model loads for as long as we like) it waits. */
static void
test_batch_waits_for_what_is_coming(void **state)
{
	Lane lane[3] = {{.gone = false}};
	uint64_t id[3];

	(void) state;
	start(2, 2, ONE_HOUR_US);
	open_gate(&loading, 1);
	open_gate(&running, 1);
	submit(&lane[0], 0, 0);
	answers(1, id);
	open_gate(&running, INT32_MAX);
	submit(&lane[1], 1, 1);
	await(&loading, 2);
	submit(&lane[0], 0, 2);
	submit(&lane[2], 0, 3);
	answers(2, id);
	assert_int_equal(batch[1], 2);
	open_gate(&loading, INT32_MAX);
	answers(1, id);
	assert_int_equal(id[0], 1);
	stop();
}

/* One who sends much lets everybody else in after each of his. */
static void
test_lanes_take_turns(void **state)
{
	Lane first = {.gone = false}, bulk = {.gone = false}, other[2] = {{.gone = false}};
	uint64_t id[34];

	(void) state;
	start(1, 1, 0);
	open_gate(&running, INT32_MAX);
	submit(&first, 0, 0);
	/* The only decoding thread loads the model while the queues form. */
	await(&loading, 1);
	for (uint64_t i = 0; i < 30; i++)
		submit(&bulk, 0, 100 + i);
	submit(&other[0], 0, 1);
	submit(&other[1], 0, 2);
	submit(&other[0], 0, 3);
	open_gate(&loading, 1);
	answers(34, id);
	assert_int_equal(id[0], 0);
	assert_int_equal(id[1], 100);
	assert_int_equal(id[2], 1);
	assert_int_equal(id[3], 2);
	assert_int_equal(id[4], 101);
	assert_int_equal(id[5], 3);
	for (int i = 6; i < 34; i++)
		assert_int_equal(id[i], 102 + i - 6);
	stop();
}

/* Of one who left, neither what waits to be decoded nor what is decoded is computed. */
static void
test_who_leaves_is_dropped(void **state)
{
	Lane stays = {.gone = false}, leaves = {.gone = false};
	uint64_t id[21];
	EngineStats stats;

	(void) state;
	start(1, 4, 0);
	open_gate(&loading, 1);
	submit(&stays, 0, 0);
	await(&running, 1);
	for (uint64_t i = 1; i <= 10; i++)
		submit(&leaves, 0, i);
	await_ready(10);
	/* The decoding thread is held by a second model, so these wait for it. */
	submit(&stays, 1, 11);
	await(&loading, 2);
	for (uint64_t i = 12; i <= 20; i++)
		submit(&leaves, 0, i);
	atomic_store(&leaves.gone, true);
	open_gate(&loading, 2);
	open_gate(&running, INT32_MAX);
	answers(21, id);
	engine_stats(engine, &stats);
	assert_int_equal(stats.images, 2);
	assert_int_equal(stats.dropped, 19);
	assert_int_equal(stats.queued, 0);
	assert_int_equal(stats.ready, 0);
	stop();
}

/* It ends with requests in every state, and frees them (the sanitizers look). */
static void
test_stop_while_busy(void **state)
{
	Lane lane[4] = {{.gone = false}};

	(void) state;
	start(1, 2, 0);
	open_gate(&loading, 1);
	submit(&lane[0], 0, 0);
	await(&running, 1);
	for (uint64_t i = 1; i <= 6; i++)
		submit(&lane[i % 4], 0, i);
	await_ready(6);
	submit(&lane[0], 1, 7);
	await(&loading, 2);
	for (uint64_t i = 8; i <= 20; i++)
		submit(&lane[i % 4], 0, i);
	stop();
}

/*
 * A device with callers computes as many pictures at a time as there are threads, each
 * as soon as it is decoded.
 */
static void
test_callers(void **state)
{
	Lane lane[7] = {{.gone = false}};
	uint64_t id[7];
	EngineStats stats;

	(void) state;
	start_with(true, 3, 8, ONE_HOUR_US);
	open_gate(&loading, 1);
	for (int i = 0; i < 7; i++)
		submit(&lane[i], 0, (uint64_t) i);
	await(&running, 3);
	open_gate(&running, 1);
	answers(1, id);
	await(&running, 4);
	atomic_store(&lane[6].gone, true);
	open_gate(&running, INT32_MAX);
	answers(6, id);
	engine_stats(engine, &stats);
	assert_int_equal(stats.images, 6);
	assert_int_equal(stats.batches, 6);
	assert_int_equal(stats.dropped, 1);
	for (int i = 0; i < 6; i++)
		assert_int_equal(batch[i], 1);
	stop();
}

/* Who takes an answer back hears whether others are in work. */
static void
test_alone_is_told(void **state)
{
	Lane lane = {.gone = false};
	uint64_t id[2];

	(void) state;
	start_with(true, 1, 8, 0);
	open_gate(&loading, 1);
	submit(&lane, 0, 1);
	submit(&lane, 0, 2);
	await(&running, 1);
	open_gate(&running, 1);
	answers(1, id);
	assert_int_equal(come.lone, 0);
	open_gate(&running, 2);
	answers(1, id);
	assert_int_equal(come.lone, 1);
	stop();
}

/* What counts for the serving thread's patience: clients that wait, not their requests.
 */
static void
test_queue_of_clients(void **state)
{
	Lane lane[5] = {{.gone = false}};
	uint64_t id[13];

	(void) state;
	start_with(true, 2, 8, 0);
	open_gate(&loading, 1);
	for (int i = 0; i < 8; i++)
		submit(&lane[0], 0, (uint64_t) i);
	await(&running, 2);
	assert_false(engine_has_queue(engine));
	for (int i = 1; i <= 3; i++)
	{
		assert_false(engine_has_queue(engine));
		submit(&lane[i], 0, (uint64_t) (7 + i));
	}
	assert_true(engine_has_queue(engine));
	submit(&lane[4], 0, 11);
	assert_true(engine_has_queue(engine));
	open_gate(&running, INT32_MAX);
	answers(12, id);
	assert_false(engine_has_queue(engine));
	stop();
}

/* Wait until n threads have nothing to do. */
static void
await_idle(int n)
{
	int idle;

	do
	{
		idle = 0;
		pthread_mutex_lock(&engine->lock);
		for (IdleThread *thread = engine->idle; thread; thread = thread->next)
			idle++;
		pthread_mutex_unlock(&engine->lock);
		assert_true(idle <= n);
		usleep(1000);
	} while (idle < n);
}

/* Requests that come one by one all go to the thread whose caches are warm. */
static void
test_last_thread_first(void **state)
{
	Lane lane = {.gone = false};
	uint64_t id;

	(void) state;
	start_with(true, 4, 8, 0);
	open_gate(&loading, 1);
	open_gate(&running, INT32_MAX);
	for (int i = 0; i < 10; i++)
	{
		await_idle(4);
		submit(&lane, 0, (uint64_t) i);
		answers(1, &id);
		assert_int_equal(id, i);
		assert_true(pthread_equal(who[i], who[0]));
	}
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sessions_share_batches),
		cmocka_unit_test(test_models_do_not_mix),
		cmocka_unit_test(test_lone_request_does_not_wait),
		cmocka_unit_test(test_batch_waits_for_what_is_coming),
		cmocka_unit_test(test_lanes_take_turns),
		cmocka_unit_test(test_who_leaves_is_dropped),
		cmocka_unit_test(test_stop_while_busy),
		cmocka_unit_test(test_callers),
		cmocka_unit_test(test_alone_is_told),
		cmocka_unit_test(test_queue_of_clients),
		cmocka_unit_test(test_last_thread_first),
	};

	return cmocka_run_group_tests(tests, cache_setup, cache_teardown);
}
