/*
 * test_service_stages.c
 *	  The engine on a device that works beside the CPU: two batches under way, sent and
 *	  answered in order, through stages that nobody touches meanwhile.  The device here
 *	  computes when it is awaited, and only once the test lets it.  Nothing depends on how
 *	  fast anything is.
 */
#include <pthread.h>
#include <unistd.h>

#include "service_cache.h"
#include "service_requests.h"

#include "hamming/hamming.h"

#define ONE_HOUR_US INT64_C(3600000000)
#define SLOTS 1000

/* ----------------------------------------------------------- a device with stages */

typedef struct Sent
{
	int n;
	uint8_t *copy; /* of the pictures */
} Sent;

struct NnNet
{
	NnNet *cpu;
	size_t picture;
	int bits;
	NnStage stage[NN_STAGES];
	Sent sent[NN_STAGES]; /* n 0: the stage is free */
	bool logits[NN_STAGES];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int submitted, landed, may_land; /* batches */
static int size_of[SLOTS];				/* of batches, as sent */
static int under_way, most_under_way;
static bool touched;		   /* a stage was, while its batch was under way */
static int fail_submit = -1;   /* the batch of this number cannot be sent */
static int fail_wait = -1;	   /* or ends badly */
static int not_finite_in = -1; /* its first picture means nothing */
static NnServing served;	   /* how the last network was opened */
static int open_networks;

static NnNet *
staged_serve(const NnGraph *graph, const NnServing *how, NnError *err)
{
	NnNet *net = calloc(1, sizeof(*net));
	size_t batch = (size_t) how->max_batch;

	assert_non_null(net);
	net->cpu = nn_cpu_device.load(graph, how->max_batch, how->threads, err);
	assert_non_null(net->cpu);
	net->picture = nn_shape_size(&graph->node[0].shape);
	net->bits = (int) nn_shape_size(&nn_graph_output(graph)->shape);
	for (int k = 0; k < NN_STAGES; k++)
	{
		net->stage[k].images = malloc(batch * net->picture);
		net->stage[k].codes = malloc(batch * hamming_bytes(net->bits));
		net->stage[k].logits = malloc(batch * net->bits * sizeof(float));
		net->stage[k].doubts = malloc(batch * sizeof(uint32_t));
		net->sent[k].copy = malloc(batch * net->picture);
	}
	pthread_mutex_lock(&lock);
	served = *how;
	open_networks++;
	pthread_mutex_unlock(&lock);
	return net;
}

static void
staged_unload(NnNet *net)
{
	for (int k = 0; k < NN_STAGES; k++)
	{
		assert_int_equal(net->sent[k].n, 0);
		free(net->stage[k].images);
		free(net->stage[k].codes);
		free(net->stage[k].logits);
		free(net->stage[k].doubts);
		free(net->sent[k].copy);
	}
	nn_cpu_device.unload(net->cpu);
	free(net);
	pthread_mutex_lock(&lock);
	open_networks--;
	pthread_mutex_unlock(&lock);
}

static size_t
staged_memory(const NnNet *net)
{
	return nn_cpu_device.memory(net->cpu);
}

static NnStage *
staged_stage(NnNet *net, int k)
{
	return &net->stage[k];
}

static bool
staged_submit(NnNet *net, int k, int n, bool logits, NnError *err)
{
	bool ok;

	pthread_mutex_lock(&lock);
	assert_int_equal(net->sent[k].n, 0);
	ok = submitted != fail_submit;
	size_of[submitted++] = n;
	if (ok)
	{
		net->sent[k].n = n;
		net->logits[k] = logits;
		memcpy(net->sent[k].copy, net->stage[k].images, (size_t) n * net->picture);
		under_way++;
		most_under_way = under_way > most_under_way ? under_way : most_under_way;
	}
	else
		landed++; /* the number of the next is right */
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return ok || nn_fail(err, "it cannot be sent");
}

static bool
staged_wait(NnNet *net, int k, NnError *err)
{
	NnStage *stage = &net->stage[k];
	int n, number;

	pthread_mutex_lock(&lock);
	n = net->sent[k].n;
	assert_true(n > 0);
	number = landed++;
	while (may_land <= number)
		pthread_cond_wait(&changed, &lock);
	if (memcmp(net->sent[k].copy, stage->images, (size_t) n * net->picture) != 0)
		touched = true;
	under_way--;
	pthread_mutex_unlock(&lock);
	assert_true(nn_cpu_device.run(net->cpu, stage->images, n, stage->logits, err));
	for (int i = 0; i < n; i++)
	{
		hamming_pack(stage->logits + (size_t) i * net->bits, NULL, net->bits,
					 stage->codes + i * hamming_bytes(net->bits));
		stage->doubts[i] = 3;
	}
	if (number == not_finite_in)
		stage->doubts[0] = NN_NOT_FINITE;
	/* Nobody asked: nobody may rely on them. */
	if (!net->logits[k])
		memset(stage->logits, 0xff, (size_t) n * net->bits * sizeof(float));
	net->sent[k].n = 0;
	return number != fail_wait || nn_fail(err, "it ended badly");
}

static void
let_land(int n)
{
	pthread_mutex_lock(&lock);
	may_land = n;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void
await_submitted(int n)
{
	pthread_mutex_lock(&lock);
	while (submitted < n)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

/* ------------------------------------------------------------------- the engine */

static NnDevice device;
static ServiceConfig config;
static Engine *engine;
static EngineTimes times;
static Answers come;

static void
start(int threads, int batch_size, int64_t batch_wait_us)
{
	Failure failure;

	device = nn_cpu_device;
	device.name = "test";
	device.load = NULL;
	device.run = NULL;
	device.memory = staged_memory;
	device.unload = staged_unload;
	device.serve = staged_serve;
	device.stage = staged_stage;
	device.submit = staged_submit;
	device.wait = staged_wait;
	device.usual = NN_FP16;
	device.callers = false;
	memset(&times, 0, sizeof(times));
	submitted = landed = may_land = under_way = most_under_way = 0;
	fail_submit = fail_wait = not_finite_in = -1;
	touched = false;
	config = (ServiceConfig){.cache_dir = dir,
							 .threads = threads,
							 .batch_size = batch_size,
							 .batch_wait_us = batch_wait_us,
							 .device_memory = INT64_C(1) << 30,
							 .max_pixels = 1000000,
							 .precision = PRECISION_AUTO,
							 .graphs = true};
	answers_begin(&come);
	engine = engine_start(&config, &device, &come.user, &times, &failure);
	assert_non_null(engine);
}

static void
stop(void)
{
	let_land(INT32_MAX);
	engine_stop(engine);
	answers_end(&come);
	assert_int_equal(open_networks, 0);
	assert_int_equal(under_way, 0);
	assert_false(touched);
}

static void
submit(Lane *lane, int which, uint64_t id, bool logits)
{
	submit_image(engine, lane, model[which], id, logits ? DEEPHASH_WANT_LOGITS : 0,
				 jpeg.data, jpeg.size);
}

/* Wait until n are decoded and in no batch. */
static void
await_ready(int n)
{
	EngineStats stats;

	for (;;)
	{
		engine_stats(engine, &stats);
		if (stats.queued == 0 && stats.ready == n)
			return;
		usleep(1000);
	}
}

/* The next n answers, linked, in the order in which they came. */
static Request *
answers(int n)
{
	Request *all = NULL, **end = &all;

	for (; n > 0; n--)
	{
		*end = answers_next(&come);
		end = &(*end)->next;
	}
	return all;
}

static void
free_all(Request *list)
{
	while (list)
	{
		Request *next = list->next;

		request_free(list);
		list = next;
	}
}

/* What the CPU makes of the picture: logits, then the code. */
static void
expected(int which, uint8_t *reply)
{
	ServiceConfig plain = config;
	EngineTimes unused = {0};
	Failure failure;
	Engine *other;
	Lane lane = {.gone = false};
	Request *request;

	plain.threads = 1;
	other = engine_start(&plain, &nn_cpu_device, &come.user, &unused, &failure);
	assert_non_null(other);
	submit_image(other, &lane, model[which], 0, DEEPHASH_WANT_LOGITS, jpeg.data,
				 jpeg.size);
	request = answers_next(&come);
	assert_int_equal(request->reply_bytes, 64 * sizeof(float) + 8);
	memcpy(reply, request->reply, request->reply_bytes);
	request_free(request);
	engine_stop(other);
}

/* ------------------------------------------------------------------------ tests */

/* A second batch is on its way before the first came back; a third is not. */
static void
test_two_under_way(void **state)
{
	Lane lane = {.gone = false};
	Request *list;
	uint64_t id = 0;

	(void) state;
	start(2, 4, 0);
	for (int i = 1; i <= 10; i++)
	{
		submit(&lane, 0, (uint64_t) i, false);
		if (i == 1)
			await_submitted(1);
		if (i == 2)
			await_submitted(2);
	}
	await_ready(8);
	assert_int_equal(submitted, 2);
	let_land(1);
	await_submitted(3);
	let_land(INT32_MAX);
	list = answers(10);
	for (Request *r = list; r; r = r->next)
	{
		assert_int_equal(r->status, DEEPHASH_OK);
		assert_int_equal(r->bits, 64);
		assert_int_equal(r->reply_bytes, 8);
	}
	/* One lane, one model and batches in order: so are the first two answers. */
	for (Request *r = list; r && id < 2; r = r->next)
		assert_int_equal(r->head.id, ++id);
	free_all(list);
	assert_int_equal(submitted, 4);
	assert_int_equal(size_of[0] + size_of[1], 2);
	assert_int_equal(size_of[2] + size_of[3], 8);
	assert_int_equal(most_under_way, 2);
	/* Nobody chose a precision. */
	assert_int_equal(served.precision, NN_FP16);
	assert_true(served.graphs);
	stop();
}

/* Codes and logits are the CPU's; logits come to those who asked, whoever shares a batch.
 */
static void
test_answers(void **state)
{
	Lane lane = {.gone = false};
	uint8_t right[MODELS][64 * sizeof(float) + 8];
	EngineTimes *now = malloc(sizeof(*now));
	Request *list;

	(void) state;
	start(2, 4, 0);
	for (int i = 0; i < MODELS; i++)
		expected(i, right[i]);
	let_land(INT32_MAX);
	for (int i = 0; i < 60; i++)
		submit(&lane, i / 3 % MODELS, (uint64_t) i, i % 2 == 0);
	list = answers(60);
	for (Request *r = list; r; r = r->next)
	{
		const uint8_t *reply = right[r->head.id / 3 % MODELS];
		size_t before = r->head.id % 2 == 0 ? 0 : 64 * sizeof(float);

		assert_int_equal(r->status, DEEPHASH_OK);
		assert_int_equal(r->reply_bytes, 64 * sizeof(float) + 8 - before);
		assert_memory_equal(r->reply, reply + before, r->reply_bytes);
	}
	free_all(list);
	engine_times(engine, now);
	assert_int_equal(now->doubtful_bits, 60 * 3);
	assert_int_equal(now->batch.sum, 60);
	engine_times_reset(engine);
	engine_times(engine, now);
	assert_int_equal(now->doubtful_bits, 0);
	free(now);
	stop();
}

/*
 * While the device is idle a lone picture does not wait; while it is busy the next batch
 * waits for more, until it is full or the device is idle again.
 */
static void
test_waiting(void **state)
{
	Lane lane = {.gone = false};

	(void) state;
	start(1, 3, ONE_HOUR_US);
	submit(&lane, 0, 1, false);
	await_submitted(1);
	submit(&lane, 0, 2, false);
	await_ready(1);
	assert_int_equal(submitted, 1);
	let_land(1);
	await_submitted(2);
	free_all(answers(1));
	/* Full, it goes at once. */
	for (uint64_t id = 3; id <= 5; id++)
		submit(&lane, 0, id, false);
	await_submitted(3);
	assert_int_equal(size_of[0], 1);
	assert_int_equal(size_of[1], 1);
	assert_int_equal(size_of[2], 3);
	let_land(INT32_MAX);
	free_all(answers(4));
	stop();
}

/* A batch that cannot be sent, and one that ends badly, answer their own requests alone.
 */
static void
test_failures(void **state)
{
	Lane lane = {.gone = false};
	Failure failure;

	(void) state;
	start(1, 1, 0);
	let_land(INT32_MAX);
	fail_submit = 1;
	fail_wait = 2;
	not_finite_in = 4;
	for (uint64_t id = 0; id < 6; id++)
	{
		Request *r;

		submit(&lane, 0, id, false);
		r = answers(1);
		if (id == 1 || id == 2 || id == 4)
		{
			char text[200] = "";

			assert_int_equal(r->status, DEEPHASH_DEVICE);
			memcpy(text, r->reply, r->reply_bytes);
			assert_string_equal(text, id == 1	? "device test: it cannot be sent"
									  : id == 2 ? "device test: it ended badly"
												: "device test: values of the network "
												  "exceed the range of this precision; "
												  "set deephash.precision to bf16 or "
												  "float32");
		}
		else
			assert_int_equal(r->status, DEEPHASH_OK);
		free_all(r);
		/* Two in a row, and then a good one: it stays. */
		assert_false(engine_faulty(engine, &failure));
	}
	stop();
}

/* A device that fails again and again is given up, with its reason. */
static void
test_device_that_is_broken(void **state)
{
	Lane lane = {.gone = false};
	Failure failure;

	(void) state;
	start(1, 1, 0);
	let_land(INT32_MAX);
	for (int i = 0; i < 3; i++)
	{
		assert_false(engine_faulty(engine, &failure));
		fail_wait = i;
		submit(&lane, 0, (uint64_t) i, false);
		free_all(answers(1));
	}
	assert_true(engine_faulty(engine, &failure));
	assert_string_equal(failure.text,
						"device test failed 3 times in a row: it ended badly");
	stop();
}

/* A batch that does not come back is seen; one that does ends that. */
static void
test_device_that_hangs(void **state)
{
	Lane lane = {.gone = false};

	(void) state;
	start(1, 1, 0);
	assert_int_equal(engine_stalled_us(engine), 0);
	submit(&lane, 0, 1, false);
	submit(&lane, 0, 2, false);
	await_submitted(2);
	for (int i = 0; engine_stalled_us(engine) < 20000; i++)
	{
		assert_true(i < 60000);
		usleep(1000);
	}
	let_land(INT32_MAX);
	free_all(answers(2));
	while (engine_stalled_us(engine) != 0)
		usleep(1000);
	stop();
}

/* Those who left are not sent; an empty batch is none. */
static void
test_dropped(void **state)
{
	Lane stays = {.gone = false}, leaves = {.gone = false};
	EngineStats stats;

	(void) state;
	start(1, 2, 0);
	submit(&stays, 0, 1, false);
	await_submitted(1);
	submit(&stays, 0, 2, false);
	await_submitted(2);
	for (uint64_t id = 3; id <= 6; id++)
		submit(&leaves, 0, id, false);
	await_ready(4);
	atomic_store(&leaves.gone, true);
	let_land(INT32_MAX);
	free_all(answers(6));
	submit(&stays, 0, 7, false);
	free_all(answers(1));
	engine_stats(engine, &stats);
	assert_int_equal(stats.dropped, 4);
	assert_int_equal(stats.batches, 3);
	assert_int_equal(submitted, 3);
	stop();
}

/* The end waits for what the device still writes to; what is queued goes with it. */
static void
test_stop_with_two_under_way(void **state)
{
	(void) state;
	for (int i = 0; i < 20; i++)
	{
		Lane lane = {.gone = false};

		start(2, 2, 0);
		for (uint64_t id = 0; id < 8; id++)
			submit(&lane, (int) id % 2, id, false);
		if (i % 2)
			await_submitted(2);
		stop();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_under_way),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_waiting),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_device_that_is_broken),
		cmocka_unit_test(test_device_that_hangs),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_stop_with_two_under_way),
	};

	return cmocka_run_group_tests(tests, cache_setup, cache_teardown);
}
