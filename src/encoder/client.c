/*
 * client.c
 *	  A session's conversation with the engine.
 *
 * One connection per session, opened at the first use and kept.  Every wait can
 * be interrupted by cancellation, by statement_timeout and by the end of the server;
 * any ERROR in the middle of an exchange closes the socket, which is also how the
 * engine learns that nobody waits for its answer.
 */
#include "encoder/encoder.h"

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
#define RETRY_MS 20
/* How often a session asks for a supervisor while there is none. */
#define ASK_MS 500

static int engine_fd = -1; /* the connection */
static uint64 last_id = 0;

/* How a wait or a transfer ended. */
typedef enum Outcome
{
	DONE,
	HUNG_UP, /* the engine closed the connection */
} Outcome;

static void
disconnect(void)
{
	if (engine_fd < 0)
		return;
	close(engine_fd);
	engine_fd = -1;
	ReleaseExternalFD();
}

/* ------------------------------------------------------------------- waiting */

/* 0 = no limit */
static TimestampTz
deadline_of_call(void)
{
	if (encoder_timeout == 0)
		return 0;
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), encoder_timeout);
}

/*
 * Wait for the socket (or, with none, for a while), for at most ms milliseconds;
 * -1: until the deadline.
 */
static void
wait_for(int events, long ms, TimestampTz deadline)
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

/* Connect, starting the supervisor if there is none; raise an ERROR if that fails. */
static void
connect_to_engine(TimestampTz deadline)
{
	TimestampTz start = GetCurrentTimestamp();
	TimestampTz asked = 0;

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
		wait_for(0, RETRY_MS, deadline);
	}
}

/* Is the connection, idle since the last call, still good? */
static bool
still_connected(void)
{
	char byte;

	return engine_fd >= 0 && recv(engine_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
		   (errno == EAGAIN || errno == EINTR);
}

/* ------------------------------------------------------------------ exchanging */

static Outcome
send_all(const void *data, size_t size, TimestampTz deadline)
{
	const char *from = data;

	while (size > 0)
	{
		ssize_t n = send(engine_fd, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0)
		{
			from += n;
			size -= n;
		}
		else if (errno == EAGAIN)
			wait_for(WL_SOCKET_WRITEABLE, -1, deadline);
		else if (errno != EINTR)
			return HUNG_UP;
	}
	return DONE;
}

static Outcome
receive_all(void *data, size_t size, TimestampTz deadline)
{
	char *to = data;

	while (size > 0)
	{
		ssize_t n = recv(engine_fd, to, size, MSG_DONTWAIT);

		if (n > 0)
		{
			to += n;
			size -= n;
		}
		else if (n == 0)
			return HUNG_UP;
		else if (errno == EAGAIN)
			wait_for(WL_SOCKET_READABLE, -1, deadline);
		else if (errno != EINTR)
			return HUNG_UP;
	}
	return DONE;
}

static Outcome
receive_reply(DeephashKind kind, uint64 id, TimestampTz deadline, EncoderReply *reply)
{
	DeephashReply head;

	bool ours, unasked;

	if (receive_all(&head, sizeof(head), deadline) == HUNG_UP)
		return HUNG_UP;
	ours = head.kind == kind && head.id == id && head.status < DEEPHASH_STATUS_COUNT;
	/* Said to the connection, whatever was asked. */
	unasked = head.kind == 0 && head.id == 0 &&
			  (head.status == DEEPHASH_CLOSING || head.status == DEEPHASH_BUSY);
	if (head.magic != DEEPHASH_REPLY_MAGIC || head.length > DEEPHASH_MAX_REPLY ||
		(head.version == DEEPHASH_PROTOCOL_VERSION && !ours && !unasked))
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
						errmsg("deephash-encoder gave an answer that makes no sense")));
	reply->status = (DeephashStatus) head.status;
	reply->bits = (int) head.bits;
	reply->length = head.length;
	reply->payload = palloc(head.length + 1);
	reply->payload[head.length] = '\0';
	if (receive_all(reply->payload, head.length, deadline) == HUNG_UP)
		return HUNG_UP;
	if (head.version != DEEPHASH_PROTOCOL_VERSION)
		ereport(
			ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("deephash-encoder speaks version %d of the protocol, this library "
					"version %d",
					head.version, DEEPHASH_PROTOCOL_VERSION),
			 errhint("After an upgrade, restart the server.")));
	return DONE;
}

static Outcome
exchange(const DeephashRequest *head, const void *payload, TimestampTz deadline,
		 EncoderReply *reply)
{
	/*
	 * An engine that refuses a request may hang up before it has read all of it; its
	 * answer is then there to be read.
	 */
	if (send_all(head, sizeof(*head), deadline) == DONE)
		(void) send_all(payload, head->length, deadline);
	return receive_reply(head->kind, head->id, deadline, reply);
}

void
encoder_call(DeephashKind kind, const uint8 *model, uint32 flags, const void *payload,
			 size_t length, EncoderReply *reply)
{
	TimestampTz deadline = deadline_of_call();
	DeephashRequest head = {.magic = DEEPHASH_REQUEST_MAGIC,
							.version = DEEPHASH_PROTOCOL_VERSION,
							.kind = kind,
							.flags = flags,
							.length = length};

	if (model)
		memcpy(head.model, model, DEEPHASH_SHA256_BYTES);
	PG_TRY();
	{
		for (;;)
		{
			Outcome outcome;

			if (!still_connected())
			{
				disconnect();
				connect_to_engine(deadline);
			}
			head.id = ++last_id;
			outcome = exchange(&head, payload, deadline, reply);
			if (outcome == HUNG_UP)
				ereport(ERROR,
						(errcode(ERRCODE_SYSTEM_ERROR),
						 errmsg("deephash-encoder died while it worked on this request"),
						 errdetail(
							 "Nothing else is affected; the next call finds a new one."),
						 errhint("The server log says why it died.")));
			if (reply->status != DEEPHASH_CLOSING)
				break;
			/* It is being replaced in good order: its successor will answer. */
			disconnect();
			wait_for(0, RETRY_MS, deadline);
		}
	}
	PG_CATCH();
	{
		disconnect();
		PG_RE_THROW();
	}
	PG_END_TRY();
}

void
encoder_ping(void)
{
	EncoderReply reply;

	encoder_call(DEEPHASH_PING, NULL, 0, NULL, 0, &reply);
	if (reply.status != DEEPHASH_OK)
		encoder_raise("deephash-encoder does not serve", &reply);
}

/* ---------------------------------------------------------------------- errors */

static int
sqlstate_of(DeephashStatus status)
{
	static const int code[DEEPHASH_STATUS_COUNT] = {
		[DEEPHASH_NO_MODEL] = ERRCODE_UNDEFINED_FILE,
		[DEEPHASH_BAD_MODEL] = ERRCODE_INVALID_PARAMETER_VALUE,
		[DEEPHASH_BAD_IMAGE] = ERRCODE_INVALID_BINARY_REPRESENTATION,
		[DEEPHASH_TOO_LARGE] = ERRCODE_PROGRAM_LIMIT_EXCEEDED,
		[DEEPHASH_NO_MEMORY] = ERRCODE_OUT_OF_MEMORY,
		[DEEPHASH_DEVICE] = ERRCODE_SYSTEM_ERROR,
		[DEEPHASH_BUSY] = ERRCODE_TOO_MANY_CONNECTIONS,
		[DEEPHASH_BAD_REQUEST] = ERRCODE_PROTOCOL_VIOLATION,
	};

	return code[status];
}

void
encoder_raise(const char *wanted, const EncoderReply *reply)
{
	Assert(reply->status != DEEPHASH_OK);
	ereport(ERROR, (errcode(sqlstate_of(reply->status)),
					errmsg("%s: %s", wanted, reply->payload)));
	pg_unreachable();
}

/* The image is at fault: an ERROR, or a WARNING and false, as the setting says. */
static bool
refuse_image(DeephashStatus status, const char *reason)
{
	ereport(encoder_bad_image == BAD_IMAGE_WARNING ? WARNING : ERROR,
			(errcode(sqlstate_of(status)), errmsg("cannot encode image: %s", reason)));
	return false;
}

bool
encoder_encode(const ModelEntry *model, const bytea *image, uint32 flags,
			   EncoderReply *reply)
{
	const size_t size = VARSIZE_ANY_EXHDR(image);

	if (size > (size_t) encoder_max_image_size * 1024)
		return refuse_image(
			DEEPHASH_TOO_LARGE,
			psprintf("it has %zu bytes, more than deephash.max_image_size (%d kB)", size,
					 encoder_max_image_size));
	/* The second time for a cached file that vanished or was not there yet. */
	for (int attempt = 0;; attempt++)
	{
		encoder_call(DEEPHASH_ENCODE, model->sha256, flags, VARDATA_ANY(image), size,
					 reply);
		if (reply->status != DEEPHASH_NO_MODEL || attempt == 2)
			break;
		model_fill_cache(model);
	}
	if (reply->status == DEEPHASH_BAD_IMAGE)
		return refuse_image(reply->status, reply->payload);
	if (reply->status != DEEPHASH_OK)
		encoder_raise(
			psprintf("cannot encode image with model \"%s\"", NameStr(model->name)),
			reply);
	if (reply->bits != model->bits ||
		reply->length !=
			hamming_bytes(reply->bits) +
				(flags & DEEPHASH_WANT_LOGITS ? reply->bits * sizeof(float4) : 0))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("deephash-encoder answered with %d bits in %zu bytes, but model "
						"\"%s\" has %d bits",
						reply->bits, reply->length, NameStr(model->name), model->bits)));
	return true;
}
