/*
 * service_process.h
 *	  An engine in a process of its own and clients of it, for the tests of src/service.
 *	  The device may be one of the test's, and then is the CPU's with other functions.
 */
#ifndef SERVICE_PROCESS_H
#define SERVICE_PROCESS_H

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service_samples.h"

typedef struct Process
{
	pid_t pid;
	int life, output; /* its standard input and output */
	int quit;
	int client;
	struct sockaddr_un address;
} Process;

/* Settings for an engine with models in the cache `dir`. */
static inline ServiceConfig
process_config(const char *dir)
{
	return (ServiceConfig){.cache_dir = dir,
						   .threads = 2,
						   .batch_size = 1,
						   .device_memory = INT64_C(1) << 30,
						   .max_request = 1 << 26,
						   .max_buffered = 1 << 28,
						   .max_pixels = 100000000,
						   .max_clients = 10};
}

static inline int
process_connect(const Process *p)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	for (int i = 0;
		 connect(fd, (const struct sockaddr *) &p->address, sizeof(p->address)) != 0; i++)
	{
		assert_true(i < 12000);
		usleep(10000);
	}
	return fd;
}

/* An engine, its socket beside the models, and a client of it. */
static inline Process
process_start(ServiceConfig config, NnDevice device)
{
	Process p = {.address = {.sun_family = AF_UNIX}};
	int life[2], output[2], quit[2];

	snprintf(p.address.sun_path, sizeof(p.address.sun_path), "%s/s", config.cache_dir);
	config.socket_path = p.address.sun_path;
	unlink(config.socket_path);
	assert_int_equal(pipe(life), 0);
	assert_int_equal(pipe(output), 0);
	assert_int_equal(pipe(quit), 0);
	fflush(NULL);
	p.pid = fork();
	assert_true(p.pid >= 0);
	if (p.pid == 0)
	{
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
	p.client = process_connect(&p);
	return p;
}

/* Wait for its end; its words. */
static inline int
process_end(Process *p, char *words, size_t size)
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

/* Ask it to end, and see it end in good order. */
static inline void
process_quit(Process *p, char *words, size_t size)
{
	assert_int_equal(write(p->quit, "", 1), 1);
	assert_int_equal(process_end(p, words, size), 0);
}

static inline void
process_send(int fd, DeephashKind kind, uint64_t id, const uint8_t *model,
			 const Sample *image)
{
	DeephashRequest head = {.magic = DEEPHASH_REQUEST_MAGIC,
							.version = DEEPHASH_PROTOCOL_VERSION,
							.kind = kind,
							.id = id,
							.length = image ? image->size : 0};

	if (model)
		memcpy(head.model, model, DEEPHASH_SHA256_BYTES);
	assert_int_equal(send(fd, &head, sizeof(head), MSG_NOSIGNAL), sizeof(head));
	if (image)
		assert_int_equal(send(fd, image->data, image->size, MSG_NOSIGNAL), image->size);
}

/* The next reply: its status, and its payload with a NUL after it. */
static inline DeephashStatus
process_receive(int fd, char *payload, size_t size)
{
	DeephashReply head;

	assert_int_equal(recv(fd, &head, sizeof(head), MSG_WAITALL), sizeof(head));
	assert_int_equal(head.magic, DEEPHASH_REPLY_MAGIC);
	assert_true(head.length < size);
	if (head.length > 0)
		assert_int_equal(recv(fd, payload, head.length, MSG_WAITALL), head.length);
	payload[head.length] = '\0';
	return head.status;
}

static inline DeephashStatus
process_encode(const Process *p, uint64_t id, const uint8_t *model, const Sample *image,
			   char *payload, size_t size)
{
	process_send(p->client, DEEPHASH_ENCODE, id, model, image);
	return process_receive(p->client, payload, size);
}

#endif
