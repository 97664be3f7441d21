/*
 * encoder.h
 *	  What the files of this folder and the model catalogue share.
 *
 *	encoder.c     settings; deephash_encode, deephash_embed, status, ping
 *	trigger.c     deephash_encode_trigger
 *	client.c      what sessions ask the engine and make of its answers
 *	exchange.c    requests and answers, many on their way at a time
 *	connection.c  a session's connection to the engine
 *	bulk.c        deephash_encode_array, deephash_embed_array, deephash_encode_set
 *	statement.c   deephash_encode_statement_trigger
 *	table.c       deephash_encode_table
 *	columns.c     what triggers and procedures are given: columns, a trigger's creation
 *	progress.c    how far bulk encodings are
 *	recent.c      the last answers of a statement
 *	rundir.c      the folder of the socket, the state file, the supervisor's lock
 *	supervisor.c  the background worker that keeps the engine alive
 *	spawn.c       the engine as a child process
 *	watch.c       whether the engine still answers
 *	stats.c       what views show of the engine
 */
#ifndef ENCODER_H
#define ENCODER_H

#include "compat.h"
#include "commands/trigger.h"
#include "hamming/hamming.h"
#include "model/model.h"
#include "service/protocol.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"

/* --------------------------------------------------------------- encoder.c */

/* Settings, all below "deephash."; doc/operating.md lists them. */
extern int encoder_device;	   /* index into encoder_device_options */
extern char *encoder_program;  /* "" = beside the library */
extern int encoder_timeout;	   /* ms, 0 = none */
extern int encoder_threads;	   /* 0 = one per CPU */
extern int encoder_batch_size; /* images */
extern int encoder_precision;
extern bool encoder_cuda_graphs;
extern double encoder_batch_wait;  /* ms */
extern int encoder_device_memory;  /* MB */
extern int encoder_max_image_size; /* kB */
extern int encoder_max_image_pixels;
extern bool encoder_sandbox;
extern bool encoder_core_dumps;
extern int encoder_memory_limit;   /* MB, 0 = none */
extern int encoder_engine_timeout; /* ms, 0 = none */
extern bool encoder_retry;		   /* once, when the engine dies */
extern int encoder_bad_image;	   /* BadImage */

typedef enum BadImage
{
	BAD_IMAGE_ERROR,
	BAD_IMAGE_WARNING
} BadImage;

extern const char *encoder_device_name(void);
extern const char *encoder_precision_name(void);

/* ---------------------------------------------------------------- client.c */

typedef struct EncoderReply
{
	DeephashStatus status;
	int bits;
	char *payload; /* palloc'ed, length bytes and a NUL */
	size_t length;
} EncoderReply;

/*
 * Ask the engine, starting it if need be, and wait for the answer.  Raises an
 * ERROR when there is none: the engine died or cannot be started, the query was
 * cancelled, deephash.encode_timeout passed.  A refusal by the engine comes back
 * in reply->status, for encoder_raise or for the caller to deal with.
 */
extern void encoder_call(DeephashKind kind, const uint8 *model, uint32 flags,
						 const void *payload, size_t length, EncoderReply *reply);

/* Wait until there is an engine that answers. */
extern void encoder_ping(void);

/* Raise the refusal in reply as an ERROR; what was wanted begins the message. */
extern _Noreturn void encoder_raise(const char *wanted, const EncoderReply *reply);

/* An image on its way: payload and length are the caller's, the reply the engine's. */
typedef struct EncoderItem
{
	const void *payload; /* the image file */
	size_t length;
	EncoderReply reply;
} EncoderItem;

/*
 * The codes (and logits, with DEEPHASH_WANT_LOGITS) of n images by a model of the
 * catalogue, many of them in the engine's hands at a time.  The status of each reply is
 * DEEPHASH_OK, DEEPHASH_BAD_IMAGE or DEEPHASH_TOO_LARGE, with the reason in payload;
 * any other trouble raises an ERROR.
 */
extern void encoder_encode_many(const ModelEntry *model, uint32 flags, EncoderItem *item,
								int n);

/*
 * True if the image was encoded.  If it was refused: an ERROR, or, where
 * deephash.bad_image says so, a WARNING and false; which names the image in it.
 */
extern bool encoder_accept(const EncoderReply *reply, const char *which);

/* Both for one image. */
extern bool encoder_encode(const ModelEntry *model, const bytea *image, uint32 flags,
						   EncoderReply *reply);

/* -------------------------------------------------------------- exchange.c */

/*
 * Ask n questions of one kind and wait for all answers.  An ERROR where the engine
 * cannot be had, dies, makes no sense or is silent for deephash.encode_timeout.
 */
extern void encoder_exchange(DeephashKind kind, const uint8 *model, uint32 flags,
							 EncoderItem *item, int n);

/* --------------------------------------------------------------- encoder.c */

extern Oid encoder_hashcode_type(Oid schema); /* of the type, in the extension's schema */

/* What a reply with status DEEPHASH_OK holds. */
extern Datum encoder_code(const EncoderReply *reply); /* a palloc'ed HashCode */
/* With DEEPHASH_WANT_LOGITS: reply->bits float4 Datums. */
extern void encoder_logits(const EncoderReply *reply, Datum *value);

/* --------------------------------------------------------------- columns.c */

/*
 * The attribute number of a column that must be of a type, or of a domain over it;
 * purpose and caller are words for the error.
 */
extern int encoder_find_column(Relation table, const char *name, Oid type,
							   const char *purpose, const char *caller);
/* An ERROR for a generated column: only the server writes it, after BEFORE triggers. */
extern void encoder_refuse_generated(Relation table, int column, const char *purpose,
									 const char *caller);
/* An ERROR unless this is what SPI says of an UPDATE that it made. */
extern void encoder_check_update(int rc, Oid table, const char *caller);
/* A column hashcode(n) must have the model's n; a plain hashcode takes any. */
extern void encoder_check_length(Relation table, int column, const ModelEntry *model);

/* Words for errors: "image of the row with key (a, b)=(1, x)". */
extern const char *encoder_image_of_row(HeapTuple row, TupleDesc desc, int nkeys,
										const AttrNumber *key);

/* What a trigger function was called with; an ERROR if it was not called as one. */
extern const TriggerData *encoder_trigger_data(FunctionCallInfo fcinfo,
											   const char *caller);
/* An ERROR unless INSERT or UPDATE fired it and its arguments are two or three. */
extern void encoder_check_trigger(const TriggerData *trigger, const char *caller);
/* The trigger was created in a way that cannot work. */
extern _Noreturn void encoder_misused_trigger(const TriggerData *trigger,
											  const char *caller, const char *wrong);

/* -------------------------------------------------------------- progress.c */

/* What its files' names begin with; the number of the process follows. */
#define DEEPHASH_PROGRESS "progress."

typedef struct EncodeProgress
{
	Oid table;
	char model[NAMEDATALEN];
	TimestampTz start;
	int64 total, done, refused; /* rows; refused are done, too */
} EncodeProgress;

/* Let others see it; to be called about once a second. */
extern void progress_report(const EncodeProgress *progress);
extern void progress_end(void);

/* ---------------------------------------------------------------- recent.c */

/* What the current statement has asked before, or NULL. */
extern const EncoderReply *recent_find(const ModelEntry *model, const bytea *image,
									   uint32 flags);
/* Keeps a copy, which it returns. */
extern const EncoderReply *recent_add(const ModelEntry *model, const bytea *image,
									  uint32 flags, const EncoderReply *reply);

/* ---------------------------------------------------------------- rundir.c */

typedef enum EngineState
{
	ENGINE_UNKNOWN,	 /* no supervisor has written anything */
	ENGINE_STARTING, /* on its way */
	ENGINE_RUNNING,
	ENGINE_RESTARTING, /* died while serving; comes back after a pause */
	ENGINE_FAILED	   /* did not start; tried again after a pause */
} EngineState;

extern void rundir_make(void);
extern void rundir_check(void);			  /* an ERROR if it cannot be used */
extern void rundir_clean(void);			  /* the supervisor's first act */
extern bool rundir_lock_supervisor(void); /* false: there is another one */
extern int rundir_supervisor_pid(void);	  /* 0: there is none */
extern void rundir_write_state(EngineState state, const char *reason);
extern const char *rundir_state_name(EngineState state);
extern EngineState rundir_read_state(int supervisor, char *reason, size_t size);

/* ------------------------------------------------------------ supervisor.c */

/* At server start, when the library is preloaded. */
extern void supervisor_register(void);
/* From a session.  False: no free slot for a background worker. */
extern bool supervisor_start(void);

extern PGDLLEXPORT void deephash_supervisor_main(Datum arg);

/* ----------------------------------------------------------------- watch.c */

/* There is a new engine, or none. */
extern void watch_forget(void);
/* To be called now and then while the engine serves: 0, or for how many ms it has
 * given no answer, which is more than deephash.engine_timeout. */
extern long watch_engine(void);
extern long watch_wait_ms(void); /* when to call it again; -1: never */

/* ----------------------------------------------------------------- spawn.c */

typedef struct EngineProcess
{
	pid_t pid;		 /* 0: none */
	int life;		 /* its standard input: closing it ends the engine; -1: closed */
	int output;		 /* its standard output and error; -1: closed */
	char line[1024]; /* the incomplete last line of it */
	size_t have;
} EngineProcess;

/* The engine's command line by the current settings, NULL-terminated, palloc'ed. */
extern char **engine_command(void);
/* Fork and exec.  False: no process or no pipes, errno says why. */
extern bool engine_spawn(EngineProcess *engine, char **command);
extern void engine_close(EngineProcess *engine);

#endif
