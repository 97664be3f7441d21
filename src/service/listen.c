/*
 * listen.c
 *	  The listening socket, and who may come in.
 */
#include "service/serving.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Only the user that runs the server may talk to us, whatever the modes say. */
static bool
peer_is_us(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
		   peer.uid == geteuid();
}

void
accept_clients(Server *server)
{
	for (;;)
	{
		int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		Client *client;

		if (fd < 0)
		{
			if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ||
				server->draining)
				return;
			/* Out of descriptors, say: poll would report the newcomer without end. */
			say('W', "could not accept a connection: %s", strerror(errno));
			server->accept_again_us = now_us() + INT64_C(1000000);
			return;
		}
		client =
			peer_is_us(fd) && room_to_watch(server) ? calloc(1, sizeof(*client)) : NULL;
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
			client_refuse(server, client, DEEPHASH_BUSY, "too many connections");
		}
	}
}

/*
 * Listen.  The socket is made under another name and moved into place, so that a
 * path that can be seen can be connected to.
 */
int
listen_at(const char *path, Failure *failure)
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
	umask(0177);
	if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		listen(fd, 1024) != 0 || rename(address.sun_path, final) != 0)
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

/*
 * From here on whoever connects is refused.  Those who have just connected hear that we
 * are closing.  The socket's file stays, as the sandbox lets us remove none; the
 * successor puts its own in the place.
 */
void
stop_listening(Server *server)
{
	if (server->listen_fd < 0)
		return;
	shutdown(server->listen_fd, SHUT_RDWR);
	accept_clients(server);
	close(server->listen_fd);
	server->listen_fd = -1;
}
