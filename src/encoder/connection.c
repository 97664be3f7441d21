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
#include "utils/timestamp.h"

/* An engine that needs longer than this to start (drivers can) is reported as missing. */
#define START_MS 30000
/* How often a session asks for a supervisor while there is none. */
#define ASK_MS 500

static int engine_fd = -1; /* the connection */

void
connection_close(void)
{
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

void
connection_wait(int events, long ms, TimestampTz deadline)
{
	events |= WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
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
	if (ms >= 0)
		events |= WL_TIMEOUT;
	if (WaitLatchOrSocket(MyLatch, events, engine_fd < 0 ? PGINVALID_SOCKET : engine_fd,
						  ms, PG_WAIT_EXTENSION) &
		WL_LATCH_SET)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* ---------------------------------------------------------------- connecting */

/* Only a process of the server's own user may give us codes. */
static bool
peer_is_us(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
		   peer.uid == geteuid();
}

/* Try once.  False: nobody listens there, or too many wait to be accepted. */
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
		int supervisor = rundir_supervisor_pid();
		EngineState state = rundir_read_state(supervisor, reason, sizeof(reason));

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

	return engine_fd >= 0 && recv(engine_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
		   (errno == EAGAIN || errno == EINTR);
}

/* ---------------------------------------------------------------- transferring */

ssize_t
connection_send(const void *data, size_t size)
{
	ssize_t n;

	do
		n = send(engine_fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	return n;
}

ssize_t
connection_receive(void *data, size_t size)
{
	ssize_t n;

	do
		n = recv(engine_fd, data, size, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	return n == 0 ? -1 : n;
}
