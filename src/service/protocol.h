/*
 * protocol.h
 *	  What a session and deephash-encoder say to each other over a UNIX stream
 *	  socket.  The only header that the encoder folder (PostgreSQL's side) and the
 *	  service folder share; it includes neither side.  See README.md.
 */
#ifndef DEEPHASH_PROTOCOL_H
#define DEEPHASH_PROTOCOL_H

#include <stdint.h>

#define DEEPHASH_PROTOCOL_VERSION 1

#endif
