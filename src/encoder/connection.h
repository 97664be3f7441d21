/*
 * connection.h
 *	  The socket between a session and the engine; for exchange.c.
 */
#ifndef ENCODER_CONNECTION_H
#define ENCODER_CONNECTION_H

#include <sys/uio.h>

#include "encoder/encoder.h"
#include "utils/timestamp.h"

#define CONNECTION_RETRY_MS 20

/* Is there a connection, and, idle since the last call, is it still good? */
extern bool connection_is_good(void);
/* Connect, starting the supervisor if there is none; an ERROR if that fails. */
extern void connection_open(TimestampTz deadline);
extern void connection_close(void);

/* deephash.encode_timeout from now; 0: no limit. */
extern TimestampTz connection_deadline(void);
/*
 * Wait for the socket to be ready (WL_SOCKET_...; without a connection just wait), at
 * most ms milliseconds, -1: until the deadline, whose passing raises an ERROR, as do
 * interrupts.
 */
extern void connection_wait(int events, long ms, TimestampTz deadline);

/* Bytes moved, never waiting; 0: none now; -1: the engine hung up. */
extern ssize_t connection_send(struct iovec *part, int parts);
/* As connection_send.  Bytes come only after connection_wait found the socket readable.
 */
extern ssize_t connection_receive(void *data, size_t size);

#endif
