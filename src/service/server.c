/*
 * server.c
 *	  The serving thread: one poll loop over the listening socket and all clients.
 *	  It reads whole requests, hands them to the engine, writes the answers, and
 *	  notices who has left.  It never blocks and never computes.
 */
#include "nn/pool.h"
#include "service/sandbox.h"
#include "service/serving.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum
{
	STALL_SECONDS = 30, /* a client that stops in the middle of a request is cut off */
	DRAIN_SECONDS = 10, /* an orderly end takes no longer */
	LOST_SECONDS = 3	/* a turn of the loop that takes so long was not our own */
};

/* ------------------------------------------------------------ the orderly end */

static void
start_draining(Server *server)
{
	server->draining = true;
	stop_listening(server);
}

static bool
has_replies(Server *server, const Client *client)
{
	bool replies;

	pthread_mutex_lock(&server->lock);
	replies = client->out_first != NULL;
	pthread_mutex_unlock(&server->lock);
	return replies;
}

/*
 * Tell all who are still connected that we close.  One of them may be sending a
 * request right now, which must not look to it as if we had died.
 */
static void
say_goodbye(Server *server)
{
	for (Client *client = server->clients; client; client = client->next)
	{
		if (client->fd < 0 || has_replies(server, client))
			continue;
		memset(&client->head, 0, sizeof(client->head));
		answer_now(server, client, DEEPHASH_CLOSING, "deephash-encoder is closing");
	}
}

/* Nothing in work and nothing left to write. */
static bool
drained(Server *server)
{
	bool none;

	pthread_mutex_lock(&server->lock);
	none = server->in_engine == 0;
	pthread_mutex_unlock(&server->lock);
	for (const Client *client = server->clients; client && none; client = client->next)
		none = !has_replies(server, client);
	return none;
}

/* --------------------------------------------------------------------- loop */

static void
serve_client(Server *server, Client *client, short events)
{
	if (events & POLLIN)
		client_read(server, client);
	if (client->fd >= 0 && events & POLLOUT)
		client_write(server, client);
	/* A client that closes its socket cancels its requests. */
	if (client->fd >= 0 && events & (POLLHUP | POLLERR) && !(events & POLLIN))
		client_leave(server, client);
}

/* What to watch a client for; 0 leaves hang-ups, which poll always reports. */
static short
events_of(Server *server, Client *client)
{
	bool in_request;

	/* A request that found no room, or too many before it, is tried again. */
	if (client->have_head == sizeof(client->head))
		client_read(server, client);
	in_request = client->have_head > 0;
	if (client_is_done(server, client) ||
		(in_request && client_wants_to_read(server, client) &&
		 (client->admitted || client->have_head < sizeof(client->head)) &&
		 now_us() - client->last_read_us > STALL_SECONDS * INT64_C(1000000)))
		client_leave(server, client);
	if (client->fd < 0)
		return 0;

	short events = has_replies(server, client) ? POLLOUT : 0;
	bool waits_for_room = client->have_head == sizeof(client->head) && !client->admitted;

	return client_wants_to_read(server, client) && !waits_for_room ? events | POLLIN
																   : events;
}

enum
{
	LIFE,
	QUIT,
	WAKE,
	LISTEN,
	FIXED
};

/*
 * The loop turns once a second at least.  Where it did not for long, the process was
 * stopped, or the whole machine: then nobody is late, neither the device nor a client in
 * the middle of a request.
 */
static void
forgive_lost_time(Server *server)
{
	int64_t now = now_us();
	int64_t lost = now - server->turned_us;

	server->turned_us = now;
	if (lost < LOST_SECONDS * INT64_C(1000000))
		return;
	engine_forgive(server->engine, lost);
	for (Client *client = server->clients; client; client = client->next)
		client->last_read_us += lost;
}

/*
 * A device or a driver that does not return holds its thread for good, so that there is
 * no orderly end to be had.
 */
static void
leave_if_stalled(Server *server)
{
	int64_t limit = server->config->stall_us;

	if (limit == 0 || engine_stalled_us(server->engine) < limit)
		return;
	say('F', "device %s: no request got on for %lld ms (deephash.engine_timeout)",
		server->device, (long long) limit / 1000);
	_exit(1);
}

bool
room_to_watch(Server *server)
{
	int wanted = FIXED + server->nclients + 1;
	struct pollfd *more;

	if (wanted <= server->fds_size)
		return true;
	more = realloc(server->fds, (wanted + 64) * sizeof(*more));
	if (more == NULL)
		return false;
	server->fds = more;
	server->fds_size = wanted + 64;
	return true;
}

/* The engine has answers. */
static void
be_woken(Server *server)
{
	uint64_t count;

	if (read(server->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
		say('W', "could not read the wake-up counter: %s", strerror(errno));
	for (Client *client = server->clients; client; client = client->next)
		client_write(server, client);
}

/* Before clients are looked at: what is found then may ask to be woken. */
static void
expect_nothing(Server *server)
{
	pthread_mutex_lock(&server->lock);
	server->expecting = server->draining;
	pthread_mutex_unlock(&server->lock);
}

/*
 * While many clients wait, a request that comes would only wait behind them.  The serving
 * thread then need not take a processor from those that compute for every single request
 * and answer: as SCHED_BATCH it gets one as soon as one is free, or when its share is
 * due, some milliseconds later, and finds several of both.  Where only one client waits,
 * if with a thousand requests, another's would be next, and there is hurry.
 */
static void
choose_pace(Server *server)
{
	const struct sched_param none = {0};
	bool patient = engine_has_queue(server->engine);

	/* Whatever else somebody may have chosen for this thread stays. */
	if (patient != server->patient &&
		sched_getscheduler(0) == (server->patient ? SCHED_BATCH : SCHED_OTHER) &&
		sched_setscheduler(0, patient ? SCHED_BATCH : SCHED_OTHER, &none) == 0)
		server->patient = patient;
}

/* False: the supervisor is gone, or *failure says what went wrong. */
static bool
loop(Server *server, int life_fd, int quit_fd, Failure *failure)
{
	int64_t drain_until = 0;
	bool orderly = true;

	server->turned_us = now_us();
	for (;;)
	{
		int n = FIXED;

		sweep_clients(server);
		if (server->draining && (drained(server) || now_us() > drain_until))
			break;

		struct pollfd *fds = server->fds;

		fds[LIFE] = (struct pollfd){.fd = life_fd, .events = POLLIN};
		fds[QUIT] =
			(struct pollfd){.fd = server->draining ? -1 : quit_fd, .events = POLLIN};
		fds[WAKE] = (struct pollfd){.fd = server->wake, .events = POLLIN};
		expect_nothing(server);
		fds[LISTEN] = (struct pollfd){
			.fd = now_us() < server->accept_again_us ? -1 : server->listen_fd,
			.events = POLLIN};
		for (Client *client = server->clients; client; client = client->next)
		{
			short events = client->fd >= 0 ? events_of(server, client) : 0;

			/* fd -1: poll passes over those that left. */
			fds[n++] = (struct pollfd){.fd = client->fd, .events = events};
		}
		choose_pace(server);
		/* Patience shall not outlast the queue: nobody tells of its end. */
		if (poll(fds, n, server->draining || server->patient ? 50 : 1000) < 0 &&
			errno != EINTR)
		{
			say('W', "poll failed: %s", strerror(errno));
			break;
		}
		forgive_lost_time(server);
		if (fds[LIFE].revents)
		{
			orderly = false;
			break;
		}
		if (fds[WAKE].revents)
			be_woken(server);
		leave_if_stalled(server);
		n = FIXED;
		for (Client *client = server->clients; client; client = client->next, n++)
		{
			if (client->fd >= 0 && client->fd == fds[n].fd && fds[n].revents)
				serve_client(server, client, fds[n].revents);
		}
		/* From here on there may be more clients than were watched. */
		if (!server->draining &&
			(fds[QUIT].revents || engine_faulty(server->engine, failure)))
		{
			start_draining(server);
			drain_until = now_us() + DRAIN_SECONDS * INT64_C(1000000);
		}
		else if (fds[LISTEN].revents && server->listen_fd >= 0)
			accept_clients(server);
	}
	return orderly;
}

static bool
on_cpu(const Server *server)
{
	return strcmp(server->device, nn_cpu_device.name) == 0;
}

/* Before there are threads: they take over what this one may not do. */
static void
enter_sandbox(Server *server)
{
	if (server->config->sandbox)
		sandbox_enter(server->config->cache_dir, !on_cpu(server), server->sandbox,
					  sizeof(server->sandbox));
	else
		strcpy(server->sandbox, "off");
}

/* Threads that networks will share are there from the start, and do not come and go. */
static bool
prepare(Server *server, Failure *failure)
{
	int threads = server->config->threads;

	if (server->kept == NULL || !room_to_watch(server))
		return refuse(failure, DEEPHASH_NO_MEMORY, "out of memory");
	if (!on_cpu(server))
		return true;
	server->pool = nn_pool_share(threads);
	return server->pool != NULL ||
		   refuse(failure, DEEPHASH_NO_MEMORY, "could not start %d threads", threads);
}

/* What there is now, threads and all, does not count. */
static void
limit_memory(Server *server)
{
	Failure failure = {.text = "/proc/self/statm cannot be read"};
	int64_t limit = server->config->memory_limit;

	server->start_memory = memory_private(server->statm);
	if (limit > 0 && (server->start_memory < 0 ||
					  !memory_limit(server->start_memory + limit, &failure)))
		say('W', "going on without deephash.memory_limit: %s", failure.text);
}

static void
say_ready(const ServiceConfig *config, const NnDevice *device, const char *device_text)
{
	char batches[64] = "each with one image at a time";

	if (!device->callers)
		snprintf(batches, sizeof(batches), "batches of up to %d images",
				 config->batch_size);
	say('R', "ready on device %s (%s), %d threads, %s", device->name, device_text,
		config->threads, batches);
}

bool
serve(const ServiceConfig *config, const NnDevice *device, const char *device_text,
	  int life_fd, int quit_fd, Failure *failure)
{
	Server server = {.config = config, .device = device->name, .start_us = now_us()};
	bool orderly = false;

	failure->text[0] = '\0';
	server.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server.wake < 0)
		return refuse(failure, DEEPHASH_BAD_REQUEST, "could not make an eventfd: %s",
					  strerror(errno));
	pthread_mutex_init(&server.lock, NULL);
	server.statm = memory_open();
	server.kept = kept_open(config->cache_dir);
	server.listen_fd = listen_at(config->socket_path, failure);
	if (server.listen_fd >= 0)
	{
		const EngineUser user = {.take_back = client_take_back, .arg = &server};

		enter_sandbox(&server);
		if (prepare(&server, failure))
			server.engine =
				engine_start(config, device, &user, &server.kept->times, failure);
	}
	if (server.engine)
	{
		limit_memory(&server);
		say_ready(config, device, device_text);
		say('L', "sandbox: %s", server.sandbox);
		orderly = loop(&server, life_fd, quit_fd, failure);
		if (orderly)
			say_goodbye(&server);
		engine_stop(server.engine);
	}
	if (server.listen_fd >= 0)
		close(server.listen_fd);
	for (Client *client = server.clients; client; client = client->next)
	{
		client_leave(&server, client);
		client->outstanding = 0;
	}
	sweep_clients(&server);
	if (server.kept)
		kept_close(server.kept);
	nn_pool_leave(server.pool);
	pthread_mutex_destroy(&server.lock);
	free(server.fds);
	close(server.statm);
	close(server.wake);
	return orderly && failure->text[0] == '\0';
}
