/*
 * watch.c
 *	  Does the engine still answer?  The supervisor asks it a PING now and then; one
 *	  that is stopped, or hangs, gives no answer for deephash.engine_timeout.
 *
 * (A device that does not return leaves the engine's serving thread alive, which
 * notices that by itself.)
 */
#include "encoder/encoder.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "utils/timestamp.h"

/* How often to look for the answer of a PING under way. */
#define LOOK_MS 50

static int ping_fd = -1;
static long silent_ms;	  /* how long the engine has owed an answer */
static TimestampTz asked; /* the last look or, without a PING under way, the last PING */

static long
period_ms(void)
{
	return Max(LOOK_MS, encoder_engine_timeout / 4);
}

void
watch_forget(void)
{
	if (ping_fd >= 0)
		close(ping_fd);
	ping_fd = -1;
	silent_ms = 0;
	asked = GetCurrentTimestamp();
}

long
watch_wait_ms(void)
{
	long passed = (GetCurrentTimestamp() - asked) / 1000;

	if (encoder_engine_timeout == 0)
		return -1;
	if (ping_fd >= 0 || silent_ms > 0)
		return LOOK_MS;
	return Max(0, period_ms() - passed) + 1;
}

/* False: it takes no connection at the moment. */
static bool
send_ping(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = DEEPHASH_SOCKET};
	DeephashRequest ping = {.magic = DEEPHASH_REQUEST_MAGIC,
							.version = DEEPHASH_PROTOCOL_VERSION,
							.kind = DEEPHASH_PING};

	ping_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (ping_fd >= 0 &&
		connect(ping_fd, (struct sockaddr *) &address, sizeof(address)) == 0 &&
		send(ping_fd, &ping, sizeof(ping), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(ping))
		return true;
	if (ping_fd >= 0)
		close(ping_fd);
	ping_fd = -1;
	return false;
}

/* Whatever it sends, even BUSY, shows that it lives; so does closing the connection. */
static bool
has_answered(void)
{
	char byte;

	return recv(ping_fd, &byte, 1, MSG_DONTWAIT) >= 0 ||
		   (errno != EAGAIN && errno != EINTR);
}

long
watch_engine(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long passed = (now - asked) / 1000;

	if (encoder_engine_timeout == 0)
	{
		watch_forget();
		return 0;
	}
	if (ping_fd >= 0 && has_answered())
	{
		watch_forget();
		return 0;
	}
	if (ping_fd < 0 && silent_ms == 0 && passed < period_ms())
		return 0;
	if (ping_fd < 0 && send_ping())
	{
		silent_ms = Max(silent_ms, 1);
		asked = now;
		return 0;
	}
	/*
	 * The time between two looks counts only as far as it should be: after the machine
	 * has slept, or this process was stopped, nobody is late.
	 */
	silent_ms += Max(1, Min(passed, 4 * LOOK_MS));
	asked = now;
	return silent_ms > encoder_engine_timeout ? silent_ms : 0;
}
