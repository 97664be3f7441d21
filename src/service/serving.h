/*
 * serving.h
 *	  What the files of the serving thread share: its clients and what it counts.
 *
 *	server.c  the loop and the orderly end
 *	listen.c  the listening socket
 *	client.c  a client: frames read, answers written
 *	status.c  the answer to STATUS
 *
 * What stands below "under the lock" is also touched by the engine's threads, as they
 * write answers (client_take_back).
 */
#ifndef SERVICE_SERVING_H
#define SERVICE_SERVING_H

#include <poll.h>
#include <pthread.h>

#include "service/kept.h"
#include "service/service.h"

typedef struct Client
{
	struct Client *next;
	Lane lane;
	int fd; /* -1 once it left, set under the lock; it stays until the engine has let go
			 */
	int64_t last_read_us; /* when the last bytes came */

	/* the request being read */
	DeephashRequest head;
	size_t have_head;
	bool admitted; /* its payload has a place in the budget */
	uint8_t *payload;
	size_t have_payload;

	/* under the lock: requests in the engine's hands, and replies being written, header
	 * and payload of the first up to `written` */
	int outstanding;
	bool hang_up; /* read no more, and close when everything is written */
	Request *out_first, *out_last;
	int unwritten; /* replies from out_first on */
	size_t written;
	bool broken; /* it takes no replies */
} Client;

typedef struct Server
{
	const ServiceConfig *config;
	const char *device;	  /* name */
	char sandbox[200];	  /* what is active of it */
	int statm;			  /* memory_open() */
	int64_t start_memory; /* memory_private() when it began to serve */
	struct pollfd *fds;	  /* room for all clients */
	int fds_size;
	Engine *engine;
	struct NnPool *pool; /* of the CPU device */
	int listen_fd;
	int64_t accept_again_us; /* out of file descriptors: not before this */
	int64_t turned_us;		 /* when the loop turned last */
	bool patient;			 /* what choose_pace() chose */
	int wake;				 /* eventfd: there is something to do (client_take_back) */
	Client *clients;
	int nclients;
	bool draining;
	int64_t start_us;

	pthread_mutex_t lock;
	int64_t buffered; /* bytes of payloads admitted and not yet answered */
	int in_engine;	  /* requests in the engine's hands */
	bool expecting;	  /* write wake when one of them comes back */
	uint64_t served;  /* requests answered */
	Kept *kept;		  /* statistics since the last RESET; its times are the engine's */
} Server;

/* ---------------------------------------------------------------- client.c */

/* Read whole requests, or what there is of them, up to a share per turn. */
extern void client_read(Server *server, Client *client);
/* Write replies, as much as the socket takes. */
extern void client_write(Server *server, Client *client);
/* Hang up; what the client has in work is dropped. */
extern void client_leave(Server *server, Client *client);
/* Does it want to be read from? */
extern bool client_wants_to_read(Server *server, const Client *client);
/* Is there nothing to do for it but to hang up? */
extern bool client_is_done(Server *server, const Client *client);
/* Answer the request in client->head at once, without the engine. */
extern void answer_now(Server *server, Client *client, DeephashStatus status,
					   const char *text);
/* The same, and hang up. */
extern void client_refuse(Server *server, Client *client, DeephashStatus status,
						  const char *text);
/* The engine's EngineUser.take_back: writes the answer to its client. */
extern void client_take_back(void *server, Request *request, bool alone);
/* Free clients that have left, once the engine has returned all their requests. */
extern void sweep_clients(Server *server);

/* ---------------------------------------------------------------- server.c */

/* Make room to watch one more client; false: out of memory. */
extern bool room_to_watch(Server *server);

/* ---------------------------------------------------------------- listen.c */

/* Listen at path.  -1 and the reason. */
extern int listen_at(const char *path, Failure *failure);
extern void accept_clients(Server *server);
extern void stop_listening(Server *server);

/* ---------------------------------------------------------------- status.c */

extern void answer_status(Server *server, Client *client);
extern void reset_stats(Server *server);

#endif
