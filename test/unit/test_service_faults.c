/*
 * test_service_faults.c
 *	  An engine whose device fails again and again, or does not return: it leaves with
 *	  the reason.  A device that fails now and then is borne.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "service_samples.h"

static char dir[] = "/tmp/deephash_faults.XXXXXX";
static uint8_t model[DEEPHASH_SHA256_BYTES];
static Sample jpeg;

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

static bool
run_for_ever(NnNet *net, const uint8_t *images, int n, float *out, NnError *err)
{
	(void) net, (void) images, (void) out, (void) err;
	while (n > 0)
		pause();
	return false;
}

/* ------------------------------------------------------------------- the engine */

static int
setup(void **state)
{
	(void) state;
	assert_non_null(mkdtemp(dir));
	write_model(dir, 1, model);
	jpeg = write_picture();
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	free(jpeg.data);
	return remove_folder(dir);
}

typedef struct Process
{
	pid_t pid;
	int life, output; /* its standard input and output */
	int quit;
	int client;
} Process;

/* An engine on a device that runs so, and a client of it. */
static Process
start(bool (*run)(NnNet *, const uint8_t *, int, float *, NnError *), int64_t stall_us)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	NnDevice device = nn_cpu_device;
	int life[2], output[2], quit[2];
	Process p;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", dir);
	device.run = run;
	assert_int_equal(pipe(life), 0);
	assert_int_equal(pipe(output), 0);
	assert_int_equal(pipe(quit), 0);
	fflush(NULL);
	p.pid = fork();
	assert_true(p.pid >= 0);
	if (p.pid == 0)
	{
		ServiceConfig config = {.socket_path = address.sun_path,
								.cache_dir = dir,
								.threads = 2,
								.batch_size = 1,
								.device_memory = INT64_C(1) << 30,
								.max_request = 1 << 20,
								.max_buffered = 1 << 24,
								.max_pixels = 1000000,
								.max_clients = 10,
								.stall_us = stall_us};
		Failure failure = {.text = ""};

		dup2(output[1], STDOUT_FILENO);
		close(life[1]);
		if (serve(&config, &device, "a test", life[0], quit[0], &failure))
			_exit(0);
		say('F', "%s", failure.text);
		_exit(1);
	}
	close(life[0]);
	close(output[1]);
	close(quit[0]);
	p.life = life[1];
	p.output = output[0];
	p.quit = quit[1];
	p.client = socket(AF_UNIX, SOCK_STREAM, 0);
	for (int i = 0; connect(p.client, (struct sockaddr *) &address, sizeof(address)) != 0;
		 i++)
	{
		assert_true(i < 12000);
		usleep(10000);
	}
	return p;
}

/* Wait for its end; its words. */
static int
finish(Process *p, char *words, size_t size)
{
	size_t have = 0;
	ssize_t n;
	int status;

	while ((n = read(p->output, words + have, size - 1 - have)) > 0)
		have += (size_t) n;
	words[have] = '\0';
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	close(p->client);
	close(p->output);
	close(p->life);
	close(p->quit);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
send_image(Process *p, uint64_t id)
{
	DeephashRequest head = {.magic = DEEPHASH_REQUEST_MAGIC,
							.version = DEEPHASH_PROTOCOL_VERSION,
							.kind = DEEPHASH_ENCODE,
							.id = id,
							.length = jpeg.size};

	memcpy(head.model, model, sizeof(model));
	assert_int_equal(send(p->client, &head, sizeof(head), MSG_NOSIGNAL), sizeof(head));
	assert_int_equal(send(p->client, jpeg.data, jpeg.size, MSG_NOSIGNAL), jpeg.size);
}

static DeephashStatus
receive(Process *p, char *text, size_t size)
{
	DeephashReply head;

	assert_int_equal(recv(p->client, &head, sizeof(head), MSG_WAITALL), sizeof(head));
	assert_true(head.length < size);
	if (head.length > 0)
		assert_int_equal(recv(p->client, text, head.length, MSG_WAITALL), head.length);
	text[head.length] = '\0';
	return head.status;
}

static DeephashStatus
encode(Process *p, uint64_t id, char *text, size_t size)
{
	send_image(p, id);
	return receive(p, text, size);
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
		assert_int_equal(encode(&p, (uint64_t) i, text, sizeof(text)), DEEPHASH_DEVICE);
		assert_string_equal(text, "device cpu: an illegal instruction was encountered");
	}
	/* Then it says good-bye, so that the next request goes to its successor. */
	assert_int_equal(receive(&p, text, sizeof(text)), DEEPHASH_CLOSING);
	assert_int_equal(finish(&p, words, sizeof(words)), 1);
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
		assert_int_equal(encode(&p, (uint64_t) i, text, sizeof(text)),
						 i % 3 == 0 ? DEEPHASH_OK : DEEPHASH_DEVICE);
	assert_int_equal(write(p.quit, "", 1), 1);
	assert_int_equal(finish(&p, words, sizeof(words)), 0);
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
	send_image(&p, 1);
	assert_true(recv(p.client, &byte, 1, 0) <= 0);
	assert_int_equal(finish(&p, words, sizeof(words)), 1);
	assert_non_null(strstr(words, "F device cpu: no request got on for 300 ms"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_repeated_faults),
									   cmocka_unit_test(test_faults_now_and_then),
									   cmocka_unit_test(test_device_that_hangs)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
