/*
 * protocol.h
 *	  What a session and deephash-encoder say to each other over a UNIX stream
 *	  socket.  The only header that the encoder folder (PostgreSQL's side) and the
 *	  service folder share; it includes neither side.  See README.md.
 *
 * Both ends run on one machine, so integers are in its own byte order; the magic
 * numbers catch everything else.  Frames follow each other without gaps:
 *
 *	request   0        4    6    8        16            48      52      56      64
 *	          | magic  |vers|kind| id     | model sha256| flags | zero  | length | payload
 *	reply     0        4    6    8        16       20     24       32
 *	          | magic  |vers|kind| id     | status | bits | length | payload
 */
#ifndef DEEPHASH_PROTOCOL_H
#define DEEPHASH_PROTOCOL_H

#include <stdint.h>

#define DEEPHASH_PROTOCOL_VERSION 1
#define DEEPHASH_REQUEST_MAGIC 0x51524844u /* "DHRQ" */
#define DEEPHASH_REPLY_MAGIC 0x50524844u   /* "DHRP" */
#define DEEPHASH_SHA256_BYTES 32

/*
 * Requests of one client that the engine takes before it has answered any; more wait in
 * the socket.  A GPU has two batches under way and a third being decoded.
 */
#define DEEPHASH_WINDOW 128

/*
 * Everything the service keeps on disk, relative to the data directory, which is
 * the working directory of every process of the server (a socket's path may
 * have 107 bytes only).  Base backups, pg_rewind and pg_checksums pass over
 * names that begin with pgsql_tmp, and rightly: all of it can be made again.
 */
#define DEEPHASH_RUN_DIR "pgsql_tmp.deephash"
#define DEEPHASH_SOCKET DEEPHASH_RUN_DIR "/engine.sock"
#define DEEPHASH_MODEL_SUFFIX ".model" /* after 64 hexadecimal digits */

typedef enum DeephashKind
{
	DEEPHASH_PING = 1,	  /* reply: empty */
	DEEPHASH_CHECK_MODEL, /* can this model be loaded? reply: its metadata, JSON */
	DEEPHASH_ENCODE,	  /* payload: a JPEG. reply: [bits float32 logits,] the code */
	DEEPHASH_STATUS,	  /* reply: what the engine is doing, JSON */
	DEEPHASH_RESET		  /* forget the statistics that STATUS tells. reply: empty */
} DeephashKind;

#define DEEPHASH_WANT_LOGITS 1u /* flag of ENCODE: the logits go before the code */

/* Anything but OK carries the reason as its payload: one line of ASCII text. */
typedef enum DeephashStatus
{
	DEEPHASH_OK,
	DEEPHASH_NO_MODEL,	  /* not in the cache: put it there and ask again */
	DEEPHASH_BAD_MODEL,	  /* the model file is refused */
	DEEPHASH_BAD_IMAGE,	  /* the image is refused */
	DEEPHASH_TOO_LARGE,	  /* request or model over a limit */
	DEEPHASH_NO_MEMORY,	  /* the engine ran out of memory */
	DEEPHASH_DEVICE,	  /* the device failed */
	DEEPHASH_BUSY,		  /* too many clients (also unasked: kind and id 0) */
	DEEPHASH_CLOSING,	  /* shutting down in good order (also unasked): ask again */
	DEEPHASH_BAD_REQUEST, /* not understood (another version, say); it hangs up */
	DEEPHASH_STATUS_COUNT
} DeephashStatus;

typedef struct DeephashRequest
{
	uint32_t magic;
	uint16_t version;
	uint16_t kind;						  /* DeephashKind */
	uint64_t id;						  /* of the client's choosing; comes back */
	uint8_t model[DEEPHASH_SHA256_BYTES]; /* of the model file; zero if no matter */
	uint32_t flags;
	uint32_t zero;
	uint64_t length; /* bytes of payload that follow */
} DeephashRequest;

typedef struct DeephashReply
{
	uint32_t magic;
	uint16_t version;
	uint16_t kind;	 /* the request's */
	uint64_t id;	 /* the request's */
	uint32_t status; /* DeephashStatus */
	uint32_t bits;	 /* ENCODE, CHECK_MODEL: the model's code length */
	uint64_t length; /* bytes of payload that follow */
} DeephashReply;

/* No reply is longer: logits and code of 4096 bits, or a model's metadata. */
#define DEEPHASH_MAX_REPLY (16u << 20)

_Static_assert(sizeof(DeephashRequest) == 64, "request header has 64 bytes");
_Static_assert(sizeof(DeephashReply) == 32, "reply header has 32 bytes");

#endif
