/*
 * test_service_faults.c
 *	  An engine whose device fails again and again, or does not return: it leaves with
 *	  the reason.  A device that fails now and then is borne.
 */
#include <signal.h>

#include "service_cache.h"
#include "service_process.h"

/* ------------------------------------------------------------ devices that fail */

static bool
run_never(NnNet *net, const uint8_t *images, int n, float *out, NnError *err)
{
	(void) net, (void) images, (void) n, (void) out;
	return nn_fail(err, "an illegal instruction was encountered");
}

static bool
run_every_third(NnNet *net, const uint8_t *images, int n, float *out, NnError *err)
{
	static int calls;

	return ++calls % 3 == 0 ? nn_cpu_device.run(net, images, n, out, err)
							: run_never(net, images, n, out, err);
}

/* Half a second, in pieces: what is left of it when the process was stopped is not over.
 */
static bool
run_slowly(NnNet *net, const uint8_t *images, int n, float *out, NnError *err)
{
	for (int i = 0; i < 10; i++)
		usleep(50000);
	return nn_cpu_device.run(net, images, n, out, err);
}

static bool
run_for_ever(NnNet *net, const uint8_t *images, int n, float *out, NnError *err)
{
	(void) net, (void) images, (void) out, (void) err;
	while (n > 0)
		pause();
	return false;
}

/* ------------------------------------------------------------------- the engine */

/* An engine on a device that runs so. */
static Process
start(bool (*run)(NnNet *, const uint8_t *, int, float *, NnError *), int64_t stall_us)
{
	ServiceConfig config = process_config(dir);
	NnDevice device = nn_cpu_device;

	config.stall_us = stall_us;
	device.run = run;
	device.callers = false;
	return process_start(config, device);
}

/* ------------------------------------------------------------------------ tests */

static void
test_repeated_faults(void **state)
{
	Process p = start(run_never, 0);
	char text[1000];
	char words[4000];

	(void) state;
	for (int i = 1; i <= 3; i++)
	{
		assert_int_equal(
			process_encode(&p, (uint64_t) i, model[0], &jpeg, text, sizeof(text)),
			DEEPHASH_DEVICE);
		assert_string_equal(text, "device cpu: an illegal instruction was encountered");
	}
	/* Then it says good-bye, so that the next request goes to its successor. */
	assert_int_equal(process_receive(p.client, text, sizeof(text)), DEEPHASH_CLOSING);
	assert_int_equal(process_end(&p, words, sizeof(words)), 1);
	assert_non_null(strstr(words, "F device cpu failed 3 times in a row: an illegal "
								  "instruction was encountered\n"));
}

static void
test_faults_now_and_then(void **state)
{
	Process p = start(run_every_third, 0);
	char text[1000];
	char words[4000];

	(void) state;
	for (int i = 1; i <= 12; i++)
		assert_int_equal(
			process_encode(&p, (uint64_t) i, model[0], &jpeg, text, sizeof(text)),
			i % 3 == 0 ? DEEPHASH_OK : DEEPHASH_DEVICE);
	process_quit(&p, words, sizeof(words));
	assert_null(strstr(words, "F "));
}

static void
test_device_that_hangs(void **state)
{
	Process p = start(run_for_ever, 300000);
	char words[4000];
	char byte;

	(void) state;
	/* Idle, it stays however long that is. */
	usleep(700000);
	assert_int_equal(recv(p.client, &byte, 1, MSG_DONTWAIT), -1);
	process_send(p.client, DEEPHASH_ENCODE, 1, model[0], &jpeg);
	assert_true(recv(p.client, &byte, 1, 0) <= 0);
	assert_int_equal(process_end(&p, words, sizeof(words)), 1);
	assert_non_null(strstr(words, "F device cpu: no request got on for 300 ms"));
}

/* Time in which the whole process is stopped is not the device's. */
static void
test_stopped_process(void **state)
{
	Process p = start(run_slowly, 3500000);
	char text[1000];
	char words[4000];

	(void) state;
	process_send(p.client, DEEPHASH_ENCODE, 1, model[0], &jpeg);
	usleep(200000);
	assert_int_equal(kill(p.pid, SIGSTOP), 0);
	usleep(4500000);
	assert_int_equal(kill(p.pid, SIGCONT), 0);
	assert_int_equal(process_receive(p.client, text, sizeof(text)), DEEPHASH_OK);
	process_quit(&p, words, sizeof(words));
	assert_null(strstr(words, "F "));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_repeated_faults),
									   cmocka_unit_test(test_faults_now_and_then),
									   cmocka_unit_test(test_device_that_hangs),
									   cmocka_unit_test(test_stopped_process)};

	return cmocka_run_group_tests(tests, cache_setup, cache_teardown);
}
