/*
 * server.c
 *	  The serving thread: one poll loop over the listening socket and all clients.
 *	  It reads whole requests, hands them to the engine, writes the answers, and
 *	  notices who has left.  It never blocks and never computes.
 */
#include "service/service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum
{
	MAX_OUTSTANDING = 32, /* requests of one client in work: more wait in its socket */
	STALL_SECONDS = 30,	  /* a client that stops in the middle of a request is cut off */
	DRAIN_SECONDS = 10,	  /* an orderly end takes no longer */
	READ_PER_TURN = 1 << 20 /* bytes read from one client before others have a turn */
};

typedef struct Client
{
	struct Client *next;
	Lane lane;
	int fd;				  /* -1 once it left; it stays until the engine has let go */
	int outstanding;	  /* requests in the engine's hands */
	bool hang_up;		  /* close when all is written; read no more */
	int64_t last_read_us; /* when the last bytes came */

	/* the request being read */
	DeephashRequest head;
	size_t have_head;
	bool admitted; /* its payload has a place in the budget */
	uint8_t *payload;
	size_t have_payload;

	/* replies being written: header and payload of the first, up to `written` */
	Request *out_first, *out_last;
	size_t written;
} Client;

typedef struct Server
{
	const ServiceConfig *config;
	const char *device; /* name */
	Engine *engine;
	int listen_fd;
	struct stat socket;		 /* what we put at socket_path */
	int64_t accept_again_us; /* out of file descriptors: not before this */
	int wake;				 /* eventfd: the engine finished something */
	Client *clients;
	int nclients;
	int64_t buffered; /* bytes of payloads admitted and not yet answered */
	int in_engine;	  /* requests in the engine's hands */
	bool draining;
	int64_t start_us;
	uint64_t served; /* requests answered */
} Server;

/* ------------------------------------------------------------------ leaving */

static void
client_leave(Server *server, Client *client)
{
	if (client->fd < 0)
		return;
	close(client->fd);
	client->fd = -1;
	atomic_store(&client->lane.gone, true);
	if (client->admitted)
		server->buffered -= client->head.length;
	client->admitted = false;
	free(client->payload);
	client->payload = NULL;
	while (client->out_first)
	{
		Request *next = client->out_first->next;

		request_free(client->out_first);
		client->out_first = next;
	}
}

/* Free the clients that left and that the engine knows no more. */
static void
sweep_clients(Server *server)
{
	for (Client **link = &server->clients; *link;)
	{
		Client *client = *link;

		if (client->fd < 0 && client->outstanding == 0)
		{
			*link = client->next;
			free(client);
			server->nclients--;
		}
		else
			link = &client->next;
	}
}

/* ------------------------------------------------------------------ replies */

static void
client_queue_reply(Client *client, Request *request)
{
	request->next = NULL;
	if (client->out_first == NULL)
		client->out_first = request;
	else
		client->out_last->next = request;
	client->out_last = request;
}

/* Write what the socket takes. */
static void
client_write(Server *server, Client *client)
{
	while (client->fd >= 0 && client->out_first)
	{
		Request *request = client->out_first;
		DeephashReply head = {.magic = DEEPHASH_REPLY_MAGIC,
							  .version = DEEPHASH_PROTOCOL_VERSION,
							  .kind = request->head.kind,
							  .id = request->head.id,
							  .status = request->status,
							  .bits = request->bits,
							  .length = request->reply_bytes};
		size_t at = client->written;
		struct iovec part[2] = {{.iov_base = &head, .iov_len = sizeof(head)},
								{.iov_base = request->reply, .iov_len = head.length}};
		struct msghdr message = {.msg_iov = part, .msg_iovlen = 2};
		ssize_t n;

		if (at < sizeof(head))
		{
			part[0].iov_base = (char *) &head + at;
			part[0].iov_len = sizeof(head) - at;
		}
		else
		{
			message.msg_iov = &part[1];
			message.msg_iovlen = 1;
			part[1].iov_base = request->reply + (at - sizeof(head));
			part[1].iov_len = head.length - (at - sizeof(head));
		}
		n = sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0)
		{
			client_leave(server, client);
			return;
		}
		client->written += n;
		if (client->written == sizeof(head) + head.length)
		{
			client->out_first = request->next;
			client->written = 0;
			request_free(request);
			server->served++;
		}
	}
	if (client->fd >= 0 && client->hang_up && client->outstanding == 0)
		client_leave(server, client);
}

/* Answer the request in client->head at once, without the engine. */
static void
answer_now(Server *server, Client *client, DeephashStatus status, const char *text)
{
	Request *request = calloc(1, sizeof(*request));

	if (request)
	{
		request->head = client->head;
		request->status = status;
		request->reply = (uint8_t *) strdup(text);
		request->reply_bytes = request->reply ? strlen(text) : 0;
		client_queue_reply(client, request);
		client_write(server, client);
	}
	else
		client->hang_up = true;
}

static void
answer_status(Server *server, Client *client)
{
	EngineStats stats;
	char text[1024];

	engine_stats(server->engine, &stats);
	snprintf(text, sizeof(text),
			 "{\"pid\": %d, \"device\": \"%s\", \"uptime_ms\": %lld, \"clients\": %d, "
			 "\"models\": %d, \"model_memory\": %zu, \"requests\": %llu, "
			 "\"images\": %llu, \"batches\": %llu, \"failures\": %llu, "
			 "\"dropped\": %llu, \"queued\": %d, \"buffered\": %lld}",
			 (int) getpid(), server->device,
			 (long long) (now_us() - server->start_us) / 1000, server->nclients,
			 stats.models, stats.model_memory, (unsigned long long) server->served,
			 (unsigned long long) stats.images, (unsigned long long) stats.batches,
			 (unsigned long long) stats.failures, (unsigned long long) stats.dropped,
			 stats.queued + stats.ready, (long long) server->buffered);
	answer_now(server, client, DEEPHASH_OK, text);
}

/* Bring home what the engine has finished. */
static void
collect_done(Server *server)
{
	uint64_t count;
	Request *request;

	if (read(server->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
		say('W', "could not read the wake-up counter: %s", strerror(errno));
	request = engine_done(server->engine);
	while (request)
	{
		Request *next = request->next;
		Client *client = (Client *) ((char *) request->lane - offsetof(Client, lane));

		client->outstanding--;
		server->in_engine--;
		server->buffered -= request->head.length;
		if (client->fd < 0)
			request_free(request);
		else
		{
			client_queue_reply(client, request);
			client_write(server, client);
		}
		request = next;
	}
}

/* ----------------------------------------------------------------- requests */

/* Is there anything wrong with the header just read?  If so, answer and hang up. */
static bool
head_is_good(Server *server, Client *client)
{
	const DeephashRequest *head = &client->head;
	char text[200];

	if (head->magic != DEEPHASH_REQUEST_MAGIC)
		snprintf(text, sizeof(text), "not a deephash request");
	else if (head->version != DEEPHASH_PROTOCOL_VERSION)
		snprintf(
			text, sizeof(text),
			"request of protocol version %d, but this deephash-encoder speaks version %d",
			head->version, DEEPHASH_PROTOCOL_VERSION);
	else if (head->kind < DEEPHASH_PING || head->kind > DEEPHASH_STATUS)
		snprintf(text, sizeof(text), "unknown kind of request: %d", head->kind);
	else if (head->kind != DEEPHASH_ENCODE && head->length != 0)
		snprintf(text, sizeof(text), "unexpected payload of %llu bytes",
				 (unsigned long long) head->length);
	else
		return true;
	client->hang_up = true;
	answer_now(server, client, DEEPHASH_BAD_REQUEST, text);
	return false;
}

/*
 * Find room for the payload.  False: not now (the client waits until others have
 * been answered) or never (it has been answered).
 */
static bool
admit(Server *server, Client *client)
{
	const DeephashRequest *head = &client->head;
	char text[100];

	if (client->admitted)
		return true;
	if (head->length > (uint64_t) server->config->max_request)
	{
		snprintf(text, sizeof(text), "image of %llu bytes is larger than %lld bytes",
				 (unsigned long long) head->length,
				 (long long) server->config->max_request);
		client->hang_up = true;
		answer_now(server, client, DEEPHASH_TOO_LARGE, text);
		return false;
	}
	if (server->buffered > 0 &&
		server->buffered + (int64_t) head->length > server->config->max_buffered)
		return false;
	client->payload = malloc(head->length ? head->length : 1);
	if (client->payload == NULL)
	{
		client->hang_up = true;
		answer_now(server, client, DEEPHASH_NO_MEMORY, "out of memory");
		return false;
	}
	client->admitted = true;
	client->have_payload = 0;
	server->buffered += head->length;
	return true;
}

/* A whole request has been read. */
static void
dispatch(Server *server, Client *client)
{
	Request *request;

	client->have_head = 0;
	client->have_payload = 0;
	switch (client->head.kind)
	{
		case DEEPHASH_PING:
			answer_now(server, client, DEEPHASH_OK, "");
			return;
		case DEEPHASH_STATUS:
			answer_status(server, client);
			return;
		default:
			break;
	}

	request = server->draining ? NULL : calloc(1, sizeof(*request));
	if (request == NULL)
	{
		if (client->admitted)
			server->buffered -= client->head.length;
		client->admitted = false;
		free(client->payload);
		client->payload = NULL;
		if (server->draining)
			answer_now(server, client, DEEPHASH_CLOSING, "deephash-encoder is closing");
		else
			answer_now(server, client, DEEPHASH_NO_MEMORY, "out of memory");
		return;
	}
	request->lane = &client->lane;
	request->head = client->head;
	request->payload = client->payload;
	client->payload = NULL;
	client->admitted = false; /* from here the request carries the charge */
	client->outstanding++;
	server->in_engine++;
	engine_submit(server->engine, request);
}

static bool
wants_to_read(const Client *client)
{
	return client->fd >= 0 && !client->hang_up && client->outstanding < MAX_OUTSTANDING;
}

/* One recv into part[have..size).  The number of bytes; 0: none now, or the client left.
 */
static size_t
receive(Server *server, Client *client, void *part, size_t size, size_t *have)
{
	ssize_t n = recv(client->fd, (char *) part + *have, size - *have, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
	{
		client_leave(server, client);
		return 0;
	}
	*have += n;
	client->last_read_us = now_us();
	return n;
}

/* Read from one client: whole requests, or what there is of them, up to its share. */
static void
client_read(Server *server, Client *client)
{
	size_t share = READ_PER_TURN;
	size_t n;

	while (wants_to_read(client))
	{
		bool in_head = client->have_head < sizeof(client->head);

		if (!in_head && client->head.kind == DEEPHASH_ENCODE && !admit(server, client))
			return;
		if (!in_head && client->have_payload == client->head.length)
		{
			dispatch(server, client);
			continue;
		}
		if (share == 0)
			return;
		if (in_head)
			n = receive(server, client, &client->head, sizeof(client->head),
						&client->have_head);
		else
			n = receive(server, client, client->payload, client->head.length,
						&client->have_payload);
		if (n == 0)
			return;
		share -= n < share ? n : share;
		if (in_head && client->have_head == sizeof(client->head) &&
			!head_is_good(server, client))
			return;
	}
}

/* -------------------------------------------------------------- connections */

/* Only the user that runs the server may talk to us, whatever the modes say. */
static bool
peer_is_us(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
		   peer.uid == geteuid();
}

static void
accept_clients(Server *server)
{
	for (;;)
	{
		int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		Client *client;

		if (fd < 0)
		{
			if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
				return;
			/* Out of descriptors, say: poll would report the newcomer without end. */
			say('W', "could not accept a connection: %s", strerror(errno));
			server->accept_again_us = now_us() + INT64_C(1000000);
			return;
		}
		client = peer_is_us(fd) ? calloc(1, sizeof(*client)) : NULL;
		if (client == NULL)
		{
			close(fd);
			continue;
		}
		client->fd = fd;
		client->last_read_us = now_us();
		client->next = server->clients;
		server->clients = client;
		if (++server->nclients > server->config->max_clients)
		{
			client->hang_up = true;
			answer_now(server, client, DEEPHASH_BUSY, "too many connections");
		}
	}
}

/*
 * Listen.  The socket is made under another name and moved into place, so that a
 * path that can be seen can be connected to.
 */
static int
listen_at(const char *path, struct stat *made, Failure *failure)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char final[sizeof(address.sun_path)];
	int fd;

	if (snprintf(final, sizeof(final), "%s", path) >= (int) sizeof(final) ||
		snprintf(address.sun_path, sizeof(address.sun_path), "%s.%d", path,
				 (int) getpid()) >= (int) sizeof(address.sun_path))
		return refuse(failure, DEEPHASH_BAD_REQUEST, "socket path \"%s\" is too long",
					  path) -
			   1;
	unlink(address.sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	umask(0077);
	if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		chmod(address.sun_path, 0600) != 0 || listen(fd, 1024) != 0 ||
		lstat(address.sun_path, made) != 0 || rename(address.sun_path, final) != 0)
	{
		refuse(failure, DEEPHASH_BAD_REQUEST, "could not listen at \"%s\": %s", path,
			   strerror(errno));
		unlink(address.sun_path);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

/* Take our socket away, but not that of a successor who already serves. */
static void
remove_socket(const Server *server)
{
	struct stat found;

	if (lstat(server->config->socket_path, &found) == 0 &&
		found.st_dev == server->socket.st_dev && found.st_ino == server->socket.st_ino)
		unlink(server->config->socket_path);
}

static void
start_draining(Server *server)
{
	server->draining = true;
	remove_socket(server);
	/* Those who have just connected shall hear that we are closing. */
	accept_clients(server);
	close(server->listen_fd);
	server->listen_fd = -1;
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
		if (client->fd < 0 || client->out_first)
			continue;
		memset(&client->head, 0, sizeof(client->head));
		answer_now(server, client, DEEPHASH_CLOSING, "deephash-encoder is closing");
	}
}

/* Nothing in work and nothing left to write. */
static bool
drained(const Server *server)
{
	if (server->in_engine > 0)
		return false;
	for (const Client *client = server->clients; client; client = client->next)
	{
		if (client->out_first)
			return false;
	}
	return true;
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
	if (client->fd >= 0 && in_request && wants_to_read(client) &&
		(client->admitted || client->have_head < sizeof(client->head)) &&
		now_us() - client->last_read_us > STALL_SECONDS * INT64_C(1000000))
		client_leave(server, client);
	if (client->fd < 0)
		return 0;

	short events = client->out_first ? POLLOUT : 0;
	bool waits_for_room = client->have_head == sizeof(client->head) && !client->admitted;

	return wants_to_read(client) && !waits_for_room ? events | POLLIN : events;
}

enum
{
	LIFE,
	QUIT,
	WAKE,
	LISTEN,
	FIXED
};

static bool
loop(Server *server, int life_fd, int quit_fd)
{
	struct pollfd *fds = NULL;
	int size = 0;
	int64_t drain_until = 0;
	bool orderly = true;

	for (;;)
	{
		int n = FIXED;

		sweep_clients(server);
		if (server->draining && (drained(server) || now_us() > drain_until))
			break;
		if (size < FIXED + server->nclients)
		{
			struct pollfd *more;

			size = FIXED + server->nclients + 16;
			more = realloc(fds, size * sizeof(*fds));
			if (more == NULL)
			{
				say('W', "out of memory");
				break;
			}
			fds = more;
		}
		fds[LIFE] = (struct pollfd){.fd = life_fd, .events = POLLIN};
		fds[QUIT] =
			(struct pollfd){.fd = server->draining ? -1 : quit_fd, .events = POLLIN};
		fds[WAKE] = (struct pollfd){.fd = server->wake, .events = POLLIN};
		fds[LISTEN] = (struct pollfd){
			.fd = now_us() < server->accept_again_us ? -1 : server->listen_fd,
			.events = POLLIN};
		for (Client *client = server->clients; client; client = client->next)
		{
			short events = client->fd >= 0 ? events_of(server, client) : 0;

			/* fd -1: poll passes over those that left. */
			fds[n++] = (struct pollfd){.fd = client->fd, .events = events};
		}
		if (poll(fds, n, server->draining ? 50 : 1000) < 0 && errno != EINTR)
		{
			say('W', "poll failed: %s", strerror(errno));
			break;
		}
		if (fds[LIFE].revents)
		{
			orderly = false;
			break;
		}
		if (fds[QUIT].revents)
		{
			start_draining(server);
			drain_until = now_us() + DRAIN_SECONDS * INT64_C(1000000);
		}
		if (fds[WAKE].revents)
			collect_done(server);
		n = FIXED;
		for (Client *client = server->clients; client; client = client->next, n++)
		{
			if (client->fd >= 0 && client->fd == fds[n].fd && fds[n].revents)
				serve_client(server, client, fds[n].revents);
		}
		if (fds[LISTEN].revents && server->listen_fd >= 0)
			accept_clients(server);
	}
	free(fds);
	return orderly;
}

bool
serve(const ServiceConfig *config, const NnDevice *device, const char *device_text,
	  int life_fd, int quit_fd, Failure *failure)
{
	Server server = {
		.config = config, .device = device->name, .listen_fd = -1, .start_us = now_us()};
	bool orderly = false;

	failure->text[0] = '\0';
	server.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server.wake < 0)
		return refuse(failure, DEEPHASH_BAD_REQUEST, "could not make an eventfd: %s",
					  strerror(errno));
	server.engine = engine_start(config, device, server.wake, failure);
	if (server.engine)
	{
		server.listen_fd = listen_at(config->socket_path, &server.socket, failure);
		if (server.listen_fd >= 0)
		{
			say('R', "ready on device %s (%s), %d threads, batches of up to %d images",
				device->name, device_text, config->threads, config->batch_size);
			orderly = loop(&server, life_fd, quit_fd);
			if (orderly)
				say_goodbye(&server);
			remove_socket(&server);
		}
		if (server.listen_fd >= 0)
			close(server.listen_fd);
		engine_stop(server.engine);
	}
	for (Client *client = server.clients; client; client = client->next)
	{
		client_leave(&server, client);
		client->outstanding = 0;
	}
	sweep_clients(&server);
	close(server.wake);
	return orderly;
}
