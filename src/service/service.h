/*
 * service.h
 *	  What the files of deephash-encoder share.  README.md has the picture.
 *
 *	main.c     options, limits, device, good-bye
 *	server.c   one thread: sockets, frames, admission; with client.c, listen.c, status.c
 *	engine.c   queues, decoding threads
 *	batches.c  batches across clients, through the device
 *	stats.c    histograms
 *	kept.c     statistics that outlive the process
 *	models.c   the models in use: opened, checked, resident, evicted
 *	runner.c   a model's network on the device
 *	sandbox.c  what the process gives up; with sandbox_files.c, limits.c
 *	util.c     failures, log lines, the clock
 */
#ifndef SERVICE_H
#define SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nn/device.h"
#include "nn/model.h"
#include "service/protocol.h"
#include "service/stats.h"

typedef struct ServiceConfig
{
	const char
		*socket_path;	   /* where to listen; short, relative to the working directory */
	const char *cache_dir; /* where <sha256>.model lie */
	const char *device;	   /* as nn_device() takes it */
	const char *plugin_dir; /* NULL: beside the program */
	int threads;			/* decoding threads, and threads of the device */
	int batch_size;			/* images of one forward pass, at most */
	int64_t batch_wait_us;	/* how long a batch waits for images being decoded */
	int64_t device_memory;	/* bytes that resident models may take together */
	int64_t max_request;	/* bytes of one image */
	int64_t max_buffered;	/* bytes of all requests read and not yet decoded */
	int64_t max_pixels;		/* of one image */
	int max_clients;
	int precision;	  /* an NnPrecision, for devices that have it, or PRECISION_AUTO */
	bool graphs;	  /* let the device record launches */
	int64_t stall_us; /* no request moves for this long: the engine leaves; 0: never */
	bool sandbox;
	bool core_files;	  /* may be left behind by a crash */
	int64_t memory_limit; /* bytes beyond those it starts with; 0: none */
} ServiceConfig;

#define PRECISION_AUTO -1 /* what the device takes usually */

/* A failure on its way to a client. */
typedef struct Failure
{
	DeephashStatus status;
	char text[512];
} Failure;

/* ------------------------------------------------------------------ util.c */

/* Fills failure like printf and returns false. */
extern bool refuse(Failure *failure, DeephashStatus status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* With the reason that a library gave; a lack of memory has a status of its own. */
extern bool refuse_for(Failure *failure, DeephashStatus status, const char *reason);

/*
 * One line to the supervisor, which puts it into the server's log.  The level is
 * the line's first character: R ready, L log, W warning, F the reason for leaving.
 */
extern void say(char level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

extern int64_t now_us(void); /* monotonic clock, microseconds */

/* ---------------------------------------------------------------- runner.c */

/*
 * A network on its device: one thread submits, one waits, it may be the same; or, of a
 * device with callers, any number of threads run it.
 */
typedef struct Runner Runner;

extern bool device_has_stages(const NnDevice *device);
extern int device_stages(const NnDevice *device); /* batches that may be under way */
/* What the device computes in if this is wanted (PRECISION_AUTO, or an NnPrecision). */
extern NnPrecision device_precision(const NnDevice *device, int wanted);
/* Names of precisions, and "auto". */
extern const char *precision_name(NnPrecision precision);
extern bool precision_named(const char *name, int *wanted);

/* Memory that runner_memory will tell, at the least; 0: it cannot be opened. */
extern size_t runner_estimate(const NnDevice *device, const NnModel *file,
							  const NnServing *how);
extern Runner *runner_open(const NnDevice *device, const NnModel *file,
						   const NnServing *how, NnError *err);
extern size_t runner_memory(const Runner *runner); /* that counts for device_memory */
/* As stage, submit and wait of NnDevice; k < device_stages(). */
extern NnStage *runner_stage(Runner *runner, int k);
extern bool runner_submit(Runner *runner, int k, int n, bool logits, NnError *err);
extern bool runner_wait(Runner *runner, int k, NnError *err);
/* As run of NnDevice, through a stage of the caller's. */
extern bool runner_run(Runner *runner, NnStage *stage, int n, NnError *err);
extern void runner_close(Runner *runner);

/* ---------------------------------------------------------------- models.c */

/* A resident model.  The first block never changes while somebody holds it. */
typedef struct Model
{
	uint8_t sha256[DEEPHASH_SHA256_BYTES];
	NnModel *file; /* mapped read-only */
	Runner *runner;
	int next_stage;		/* the computing thread's */
	int max_batch;		/* batch_size, or less where memory is short */
	size_t image_bytes; /* of one input picture */
	size_t memory;		/* bytes it is charged with */

	/* under the lock of the models */
	int users;
	bool loading;
	uint64_t last_use;
	int64_t last_use_us;
	struct Model *next;
} Model;

typedef struct Models Models;

extern Models *models_create(const ServiceConfig *config, const NnDevice *device,
							 Failure *failure);
/* The model, loaded if need be; NULL and the reason.  Give it back. */
extern Model *models_acquire(Models *models, const uint8_t *sha256, Failure *failure);
extern void models_release(Models *models, Model *model);
extern void models_totals(Models *models, int *count, size_t *memory);

/* What STATUS tells of a resident model. */
typedef struct ModelUse
{
	uint8_t sha256[DEEPHASH_SHA256_BYTES];
	int bits, max_batch, users;
	size_t memory;
	int64_t idle_us; /* since it was last asked for */
} ModelUse;

/* All of them, malloc'ed (even if there are none); NULL: out of memory. */
extern ModelUse *models_list(Models *models, int *count);
extern void models_destroy(Models *models);

/* ---------------------------------------------------------------- engine.c */

typedef struct Request Request;

/* A client's place in the queue; lanes take turns, so that a bulk load does not
 * starve a search. */
typedef struct Lane
{
	atomic_bool gone; /* the client left: its requests are dropped unanswered */
	/* under the lock of the engine */
	Request *first, *last;
	bool waiting; /* in the ring of lanes that have requests */
	struct Lane *next;
} Lane;

struct Request
{
	Request *next;
	Lane *lane;
	DeephashRequest head;
	uint8_t *payload; /* malloc'ed, head.length bytes */
	Model *model;	  /* held while the request is in work */
	uint8_t *pixels;  /* decoded, model->image_bytes */
	/* when it came, a thread began to decode it, and was done with that */
	int64_t submit_us, decode_us, ready_us;
	/* the answer */
	DeephashStatus status;
	uint32_t bits;
	uint8_t *reply; /* malloc'ed */
	size_t reply_bytes;
};

typedef struct EngineStats
{
	uint64_t images, batches, failures, dropped;
	int queued; /* submitted and not yet decoded */
	int ready;	/* decoded and not yet computed */
	int models;
	size_t model_memory;
	NnPrecision precision; /* that the device computes in */
} EngineStats;

/* Since the last reset; times in microseconds. */
typedef struct EngineTimes
{
	Histogram queue;   /* an image's time in queues, before decoding and after */
	Histogram decode;  /* an image */
	Histogram compute; /* a batch */
	Histogram batch;   /* images of a batch */
	uint64_t dropped;
	uint64_t doubtful_bits; /* of codes: NnStage.doubts */
} EngineTimes;

typedef struct Engine Engine;

/* Who submits requests. */
typedef struct EngineUser
{
	/*
	 * Takes a request back with its answer, or one whose client left.  Called by any
	 * thread of the engine, which holds no lock; alone: no other request is in work.
	 */
	void (*take_back)(void *arg, Request *request, bool alone);
	void *arg;
} EngineUser;

/* Starts the threads.  times are counted on where they are. */
extern Engine *engine_start(const ServiceConfig *config, const NnDevice *device,
							const EngineUser *user, EngineTimes *times, Failure *failure);
extern void engine_submit(Engine *engine, Request *request);
extern void engine_stats(Engine *engine, EngineStats *stats);
extern void engine_times(Engine *engine, EngineTimes *times);
extern void engine_times_reset(Engine *engine);
extern ModelUse *engine_models(Engine *engine, int *count); /* as models_list */
/* Do so many clients wait that another's request would wait for two pictures of every
 * thread? */
extern bool engine_has_queue(Engine *engine);
/* How long requests have been there of which none went a step on; 0: there are none. */
extern int64_t engine_stalled_us(Engine *engine);
/* So much time was lost to all threads alike, and does not count. */
extern void engine_forgive(Engine *engine, int64_t lost_us);
/* Has the device failed MAX_FAULTS times in a row?  If so, the reason. */
extern bool engine_faulty(Engine *engine, Failure *failure);
/* Ends the threads; requests still queued are freed. */
extern void engine_stop(Engine *engine);

extern void request_free(Request *request);
/* Let the reply be this text. */
extern void request_fail(Request *request, const Failure *failure);

/* ---------------------------------------------------------------- server.c */

/*
 * Serve until the supervisor goes away (false) or a SIGTERM has been written to
 * quit_fd and all requests under way are answered (true).
 */
extern bool serve(const ServiceConfig *config, const NnDevice *device,
				  const char *device_text, int life_fd, int quit_fd, Failure *failure);

#endif
