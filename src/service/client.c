/*
 * client.c
 *	  A client: requests are read as they come and handed to the engine, answers are
 *	  written as the socket takes them.  Nothing here ever waits for a socket.
 *
 * Only the serving thread reads, and only it closes sockets.  The answer to a lone
 * request is written by the thread that has it, so that none has to wake up in between;
 * the server's lock guards what that touches.
 */
#include "service/serving.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum
{
	READ_PER_TURN = 1 << 20 /* bytes read from one client before others have a turn */
};

/* ------------------------------------------------------------------ leaving */

/* Forget the payload being read.  Called with the lock. */
static void
drop_payload(Server *server, Client *client)
{
	if (client->admitted)
		server->buffered -= client->head.length;
	client->admitted = false;
	free(client->payload);
	client->payload = NULL;
}

void
client_leave(Server *server, Client *client)
{
	if (client->fd < 0)
		return;
	pthread_mutex_lock(&server->lock);
	close(client->fd);
	client->fd = -1;
	atomic_store(&client->lane.gone, true);
	drop_payload(server, client);
	while (client->out_first)
	{
		Request *next = client->out_first->next;

		request_free(client->out_first);
		client->out_first = next;
	}
	pthread_mutex_unlock(&server->lock);
}

/* Free the clients that left and that the engine knows no more. */
void
sweep_clients(Server *server)
{
	pthread_mutex_lock(&server->lock);
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
	pthread_mutex_unlock(&server->lock);
}

/* ------------------------------------------------------------------ replies */

/* Called with the lock. */
static void
queue_reply(Server *server, Client *client, Request *request)
{
	server->kept->answers[request->status]++;
	if (request->head.kind == DEEPHASH_ENCODE)
		server->kept->encode_answers++;
	request->next = NULL;
	if (client->out_first == NULL)
		client->out_first = request;
	else
		client->out_last->next = request;
	client->out_last = request;
	client->unwritten++;
}

/* Write what the socket takes.  Called with the lock. */
static void
write_replies(Server *server, Client *client)
{
	while (!client->broken && client->out_first)
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
			client->broken = true;
			return;
		}
		client->written += n;
		if (client->written == sizeof(head) + head.length)
		{
			client->out_first = request->next;
			client->unwritten--;
			client->written = 0;
			request_free(request);
			server->served++;
		}
	}
}

void
client_write(Server *server, Client *client)
{
	pthread_mutex_lock(&server->lock);
	write_replies(server, client);
	pthread_mutex_unlock(&server->lock);
}

bool
client_is_done(Server *server, const Client *client)
{
	bool done;

	pthread_mutex_lock(&server->lock);
	done = client->broken ||
		   (client->hang_up && client->outstanding == 0 && client->out_first == NULL);
	pthread_mutex_unlock(&server->lock);
	return done;
}

static void
hang_up(Server *server, Client *client)
{
	pthread_mutex_lock(&server->lock);
	client->hang_up = true;
	pthread_mutex_unlock(&server->lock);
}

/* Answer the request in client->head at once, without the engine. */
void
answer_now(Server *server, Client *client, DeephashStatus status, const char *text)
{
	Request *request = calloc(1, sizeof(*request));

	if (request)
	{
		request->head = client->head;
		request->status = status;
		request->reply = (uint8_t *) strdup(text);
		request->reply_bytes = request->reply ? strlen(text) : 0;
		pthread_mutex_lock(&server->lock);
		queue_reply(server, client, request);
		write_replies(server, client);
		pthread_mutex_unlock(&server->lock);
	}
	else
		hang_up(server, client);
}

void
client_refuse(Server *server, Client *client, DeephashStatus status, const char *text)
{
	hang_up(server, client);
	answer_now(server, client, status, text);
}

void
client_take_back(void *arg, Request *request, bool alone)
{
	Server *server = arg;
	Client *client = (Client *) ((char *) request->lane - offsetof(Client, lane));
	const uint64_t one = 1;
	/* A device that failed may have to be given up: engine_faulty(). */
	bool tell = request->status == DEEPHASH_DEVICE;

	pthread_mutex_lock(&server->lock);
	client->outstanding--;
	server->in_engine--;
	server->buffered -= request->head.length;
	if (client->fd < 0)
		request_free(request);
	else
	{
		queue_reply(server, client, request);
		/*
		 * A lone request is answered at once, without a thread to be woken in between.
		 * With more in work the serving thread writes: the kernel takes it that whoever
		 * wakes a reader will sleep next, and lets the reader wait for this processor,
		 * which would compute another picture first.
		 */
		if (alone)
			write_replies(server, client);
		tell |= client->out_first || client->hang_up;
	}
	if (server->expecting)
	{
		tell = true;
		server->expecting = false;
	}
	pthread_mutex_unlock(&server->lock);
	if (tell && write(server->wake, &one, sizeof(one)) < 0)
	{
		/* The counter is full: the serving thread has been told often enough. */
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
	else if (head->kind < DEEPHASH_PING || head->kind > DEEPHASH_RESET)
		snprintf(text, sizeof(text), "unknown kind of request: %d", head->kind);
	else if (head->kind != DEEPHASH_ENCODE && head->length != 0)
		snprintf(text, sizeof(text), "unexpected payload of %llu bytes",
				 (unsigned long long) head->length);
	else
		return true;
	client_refuse(server, client, DEEPHASH_BAD_REQUEST, text);
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
	bool room;

	if (client->admitted)
		return true;
	if (head->length > (uint64_t) server->config->max_request)
	{
		snprintf(text, sizeof(text), "image of %llu bytes is larger than %lld bytes",
				 (unsigned long long) head->length,
				 (long long) server->config->max_request);
		client_refuse(server, client, DEEPHASH_TOO_LARGE, text);
		return false;
	}
	pthread_mutex_lock(&server->lock);
	room = server->buffered == 0 ||
		   server->buffered + (int64_t) head->length <= server->config->max_buffered;
	if (room)
		server->buffered += head->length;
	else
		server->expecting = true;
	pthread_mutex_unlock(&server->lock);
	if (!room)
		return false;
	client->admitted = true;
	client->have_payload = 0;
	client->payload = malloc(head->length ? head->length : 1);
	if (client->payload)
		return true;
	client_refuse(server, client, DEEPHASH_NO_MEMORY, "out of memory");
	return false;
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
		case DEEPHASH_RESET:
			reset_stats(server);
			answer_now(server, client, DEEPHASH_OK, "");
			return;
		default:
			break;
	}

	request = server->draining ? NULL : calloc(1, sizeof(*request));
	if (request == NULL)
	{
		pthread_mutex_lock(&server->lock);
		drop_payload(server, client);
		pthread_mutex_unlock(&server->lock);
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
	pthread_mutex_lock(&server->lock);
	client->outstanding++;
	server->in_engine++;
	pthread_mutex_unlock(&server->lock);
	engine_submit(server->engine, request);
}

bool
client_wants_to_read(Server *server, const Client *client)
{
	bool room;

	if (client->fd < 0 || client->hang_up)
		return false;
	pthread_mutex_lock(&server->lock);
	/* Who asks and asks and never reads an answer must not fill our memory. */
	room = client->outstanding + client->unwritten < DEEPHASH_WINDOW;
	if (!room)
		server->expecting = true;
	pthread_mutex_unlock(&server->lock);
	return room;
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
void
client_read(Server *server, Client *client)
{
	size_t share = READ_PER_TURN;
	size_t n;

	while (client_wants_to_read(server, client))
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
