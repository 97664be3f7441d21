/*
 * connection.c
 *	  A session's connection to the engine.
 *
 * One per session, opened at the first use and kept.  Every wait can be interrupted by
 * cancellation, by statement_timeout and by the end of the server.
 */
#include "encoder/connection.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* An engine that needs longer than this to start (drivers can) is reported as missing. */
#define START_MS 30000
/* How often a session asks for a supervisor while there is none. */
#define ASK_MS 500

static int engine_fd = -1; /* the connection */

/* Latch, death of the postmaster and engine_fd, or NULL: kept as long as the connection,
 * since making one takes six system calls. */
static WaitEventSet *events_of_fd = NULL;
static int fd_position; /* of engine_fd in it */

/* Bytes received and not yet consumed: answers are short, and several come at once. */
static char inbox[8192];
static size_t inbox_at, inbox_end;
static bool readable; /* there may be more in the socket */

void
connection_close(void)
{
	inbox_at = inbox_end = 0;
	readable = false;
	if (events_of_fd)
		FreeWaitEventSet(events_of_fd);
	events_of_fd = NULL;
	if (engine_fd < 0)
		return;
	close(engine_fd);
	engine_fd = -1;
	ReleaseExternalFD();
}

/* ------------------------------------------------------------------- waiting */

TimestampTz
connection_deadline(void)
{
	if (encoder_timeout == 0)
		return 0;
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), encoder_timeout);
}

/* If this raises an ERROR, connection_close() frees what there is of it. */
static void
make_events_of_fd(void)
{
	events_of_fd = compat_session_wait_event_set(3);
	AddWaitEventToSet(events_of_fd, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(events_of_fd, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	fd_position =
		AddWaitEventToSet(events_of_fd, WL_SOCKET_READABLE, engine_fd, NULL, NULL);
}

/* The events of the socket and the latch that came within ms milliseconds. */
static int
wait_for_fd(int events, long ms)
{
	WaitEvent event[3];
	int happened = 0;
	int n;

	if (events_of_fd == NULL)
		make_events_of_fd();
	ModifyWaitEvent(events_of_fd, fd_position, events, NULL);
	n = WaitEventSetWait(events_of_fd, ms, event, lengthof(event), PG_WAIT_EXTENSION);
	for (int i = 0; i < n; i++)
		happened |= event[i].events;
	return happened;
}

void
connection_wait(int events, long ms, TimestampTz deadline)
{
	int happened;

	if (deadline != 0)
	{
		long left = Max(0, (deadline - GetCurrentTimestamp() + 999) / 1000);

		if (left == 0)
			ereport(
				ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("no answer from deephash-encoder within %d ms", encoder_timeout),
				 errhint(
					 "If images or models are large, raise deephash.encode_timeout.")));
		if (ms < 0 || left < ms)
			ms = left;
	}
	if (engine_fd >= 0)
		happened = wait_for_fd(events, ms);
	else
		happened = WaitLatch(
			MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (ms >= 0 ? WL_TIMEOUT : 0), ms,
			PG_WAIT_EXTENSION);
	if (happened & WL_LATCH_SET)
		ResetLatch(MyLatch);
	if (happened & WL_SOCKET_READABLE)
		readable = true;
	CHECK_FOR_INTERRUPTS();
}

/* ---------------------------------------------------------------- connecting */

/* Take codes only from a process of the server's own user. */
static bool
peer_is_us(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
		   peer.uid == geteuid();
}

/* Try once.  False: there is no listener, or its queue of connections is full. */
static bool
try_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = DEEPHASH_SOCKET};
	int fd;

	if (!AcquireExternalFD())
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("no file descriptor is left to connect to deephash-encoder")));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *) &address, sizeof(address)) == 0 &&
		peer_is_us(fd))
	{
		engine_fd = fd;
		return true;
	}
	if (fd >= 0)
		close(fd);
	ReleaseExternalFD();
	return false;
}

/* Give up waiting for an engine. */
static void
raise_no_engine(const char *problem, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_CANNOT_CONNECT_NOW), errmsg("deephash-encoder %s", problem),
			 reason[0] ? errdetail("%s", reason) : 0,
			 errhint("The server log says more.")));
}

static void
ask_for_supervisor(void)
{
	if (!supervisor_start())
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg(
				 "deephash-encoder cannot be started: no background worker slot is free"),
			 errhint(
				 "Raise max_worker_processes, or add deephash to "
				 "shared_preload_libraries, so that it has its slot from the start.")));
}

void
connection_open(TimestampTz deadline)
{
	TimestampTz start = GetCurrentTimestamp();
	TimestampTz asked = 0;

	connection_close();
	rundir_make();
	while (!try_connect())
	{
		TimestampTz now = GetCurrentTimestamp();
		char reason[1024];
		int supervisor;
		EngineState state;

		rundir_check();
		supervisor = rundir_supervisor_pid();
		state = rundir_read_state(supervisor, reason, sizeof(reason));

		if (supervisor == 0)
		{
			if (now - asked > ASK_MS * INT64CONST(1000))
			{
				ask_for_supervisor();
				asked = now;
			}
		}
		else if (state == ENGINE_FAILED)
			raise_no_engine("could not be started", reason);
		if (now - start > START_MS * INT64CONST(1000))
			raise_no_engine(state == ENGINE_RESTARTING ? "keeps dying" : "does not start",
							reason);
		connection_wait(0, CONNECTION_RETRY_MS, deadline);
	}
}

bool
connection_is_good(void)
{
	char byte;

	return engine_fd >= 0 && inbox_at == inbox_end &&
		   recv(engine_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
		   (errno == EAGAIN || errno == EINTR);
}

/* ---------------------------------------------------------------- transferring */

ssize_t
connection_send(struct iovec *part, int parts)
{
	struct msghdr message = {.msg_iov = part, .msg_iovlen = parts};
	ssize_t n;

	do
		n = sendmsg(engine_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	return n;
}

/* One recv; a short one has emptied the socket. */
static ssize_t
receive(void *data, size_t size)
{
	ssize_t n;

	if (!readable)
		return 0;
	do
		n = recv(engine_fd, data, size, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < (ssize_t) size)
		readable = false;
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	return n == 0 ? -1 : n;
}

ssize_t
connection_receive(void *data, size_t size)
{
	size_t n;

	if (inbox_at == inbox_end)
	{
		ssize_t came;

		if (size >= sizeof(inbox))
			return receive(data, size);
		came = receive(inbox, sizeof(inbox));
		if (came <= 0)
			return came;
		inbox_at = 0;
		inbox_end = came;
	}
	n = Min(size, inbox_end - inbox_at);
	memcpy(data, inbox + inbox_at, n);
	inbox_at += n;
	return n;
}
