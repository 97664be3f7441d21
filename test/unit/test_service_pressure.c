/*
 * test_service_pressure.c
 *	  A full queue: what the engine takes while its device stands still is bounded, the
 *	  rest waits in the sockets and is served later; who leaves frees his place.  The
 *	  device is held through a pipe, so nothing depends on how fast anything is.
 */
#include "service_cache.h"
#include "service_process.h"

static int hold[2]; /* a byte lets one batch through */

static bool
held_run(NnNet *net, const uint8_t *images, int n, float *out, NnError *err)
{
	char byte;

	if (read(hold[0], &byte, 1) < 0)
		return nn_fail(err, "the test's pipe is broken");
	return nn_cpu_device.run(net, images, n, out, err);
}

static Process
start(ServiceConfig config)
{
	NnDevice device = nn_cpu_device;
	Process p;

	device.run = held_run;
	assert_int_equal(pipe(hold), 0);
	p = process_start(config, device);
	close(hold[0]);
	return p;
}

static void
let_through(int batches)
{
	for (int i = 0; i < batches; i++)
		assert_int_equal(write(hold[1], "", 1), 1);
}

static long long
status_value(int fd, const char *name)
{
	char text[20000];
	char key[100];
	const char *found;

	process_send(fd, DEEPHASH_STATUS, 0, NULL, NULL);
	assert_int_equal(process_receive(fd, text, sizeof(text)), DEEPHASH_OK);
	snprintf(key, sizeof(key), "\"%s\": ", name);
	found = strstr(text, key);
	assert_non_null(found);
	return atoll(found + strlen(key));
}

static void
await_value(int fd, const char *name, long long wanted)
{
	for (int i = 0; status_value(fd, name) != wanted; i++)
	{
		assert_true(i < 12000);
		usleep(10000);
	}
}

/* A child that sends n requests, as the socket takes them, and ends. */
static pid_t
sender(int fd, int n)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
	{
		for (int i = 0; i < n; i++)
			process_send(fd, DEEPHASH_ENCODE, (uint64_t) i, model[0], &jpeg);
		_exit(0);
	}
	assert_true(pid > 0);
	return pid;
}

static void
expect_answers(int fd, int n)
{
	char text[1000];

	for (int i = 0; i < n; i++)
		assert_int_equal(process_receive(fd, text, sizeof(text)), DEEPHASH_OK);
}

/* One client has so many requests in work, however many it sends; another gets in. */
static void
test_requests_of_one_client(void **state)
{
	enum
	{
		REQUESTS = 3 * DEEPHASH_WINDOW
	};
	Process p = start(process_config(dir));
	int watcher = process_connect(&p);
	int other = process_connect(&p);
	pid_t child = sender(p.client, REQUESTS);
	char words[4000];

	(void) state;
	await_value(watcher, "buffered", DEEPHASH_WINDOW * (long long) jpeg.size);
	process_send(other, DEEPHASH_ENCODE, 1, model[0], &jpeg);
	await_value(watcher, "buffered", (DEEPHASH_WINDOW + 1) * (long long) jpeg.size);
	let_through(REQUESTS + 1);
	expect_answers(other, 1);
	expect_answers(p.client, REQUESTS);
	assert_int_equal(waitpid(child, NULL, 0), child);
	await_value(watcher, "buffered", 0);
	close(watcher);
	close(other);
	close(hold[1]);
	process_quit(&p, words, sizeof(words));
}

/* All clients together have as many bytes in work as --max-buffered allows. */
static void
test_bytes_of_all_clients(void **state)
{
	enum
	{
		CLIENTS = 6
	};
	ServiceConfig config = process_config(dir);
	Process p;
	int watcher, client[CLIENTS];
	pid_t child[CLIENTS];
	char words[4000];

	(void) state;
	config.max_buffered = (int64_t) (10 * jpeg.size + jpeg.size / 2);
	p = start(config);
	watcher = process_connect(&p);
	for (int i = 0; i < CLIENTS; i++)
	{
		client[i] = process_connect(&p);
		child[i] = sender(client[i], 50);
	}
	await_value(watcher, "buffered", 10 * (long long) jpeg.size);
	let_through(CLIENTS * 50);
	for (int i = 0; i < CLIENTS; i++)
	{
		expect_answers(client[i], 50);
		assert_int_equal(waitpid(child[i], NULL, 0), child[i]);
		close(client[i]);
	}
	await_value(watcher, "buffered", 0);
	await_value(watcher, "clients", 2);
	close(watcher);
	close(hold[1]);
	process_quit(&p, words, sizeof(words));
}

/* Who leaves a full queue lets in who waited for room; what he had is not computed. */
static void
test_leaving_makes_room(void **state)
{
	ServiceConfig config = process_config(dir);
	Process p;
	int watcher, leaver;
	char words[4000];

	(void) state;
	config.max_buffered = (int64_t) (10 * jpeg.size);
	p = start(config);
	watcher = process_connect(&p);
	leaver = process_connect(&p);
	for (int i = 0; i < 10; i++)
		process_send(leaver, DEEPHASH_ENCODE, (uint64_t) i, model[0], &jpeg);
	await_value(watcher, "buffered", 10 * (long long) jpeg.size);
	process_send(p.client, DEEPHASH_ENCODE, 1, model[0], &jpeg);
	close(leaver);
	await_value(watcher, "clients", 3);
	/* Those that threads have in hand come to an end; those behind them are dropped. */
	let_through(11);
	expect_answers(p.client, 1);
	await_value(watcher, "buffered", 0);
	await_value(watcher, "clients", 2);
	assert_in_range(status_value(watcher, "images"), 1, 1 + 3);
	assert_int_equal(status_value(watcher, "dropped"), 10);
	close(watcher);
	close(hold[1]);
	process_quit(&p, words, sizeof(words));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests_of_one_client),
		cmocka_unit_test(test_bytes_of_all_clients),
		cmocka_unit_test(test_leaving_makes_room),
	};

	return cmocka_run_group_tests(tests, cache_setup, cache_teardown);
}
