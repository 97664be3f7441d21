/*
 * engine.h
 *	  What the two files of the engine share.
 *
 *	engine.c   lanes, decoding threads, what the serving thread asks
 *	batches.c  batches: chosen, sent to the device, awaited, answered
 */
#ifndef SERVICE_ENGINE_H
#define SERVICE_ENGINE_H

#include <pthread.h>

#include "service/service.h"

/* A batch on its way through the device. */
typedef struct Flight
{
	Model *model;
	int stage;
	int n;			   /* requests, those that were dropped since included */
	int live;		   /* pictures sent */
	bool sent;		   /* under the lock: it may be awaited */
	bool good;		   /* it went in */
	NnError err;	   /* else why not */
	int64_t start_us;  /* when it was sent */
	Request **request; /* batch_size places; NULL: dropped */
} Flight;

/* A decoding thread that has nothing to do. */
typedef struct IdleThread
{
	pthread_cond_t called; /* with is_called, or stop */
	bool is_called;
	struct IdleThread *next;
} IdleThread;

struct Engine
{
	const ServiceConfig *config;
	const NnDevice *device;
	Models *models;
	EngineUser user;
	int nthreads;
	pthread_t *thread;

	pthread_mutex_t lock;
	pthread_cond_t ready; /* a picture was decoded, or one less will be, or a batch came
						   * back, or stop */
	pthread_cond_t sent;  /* a batch was sent, or stop */
	bool stop;
	IdleThread *idle;				   /* who came last first: its caches are warm */
	Lane *ring_first, *ring_last;	   /* lanes with requests, next in turn first */
	int lanes_waiting;				   /* there */
	Request *ready_first, *ready_last; /* decoded pictures, oldest first */
	EngineStats stats;
	EngineTimes *times; /* the caller's */
	int stages;			/* batches that may be under way: 1 or NN_STAGES */
	Flight flight[NN_STAGES];
	int flights, oldest; /* in the air: flight[(oldest + 0 .. flights - 1) % stages] */
	int64_t landed_us;	 /* when one last came back */
	int computing;		 /* images in flight */
	int64_t progress_us; /* when a request last went a step on */
	int faults;			 /* of the device, in a row */
	char fault[512];	 /* the last */
};

/* ------------------------------------------------------------------ engine.c */

/* Has the client left? */
extern bool request_dropped(const Request *request);
/* Hand a request back to the user. */
extern void request_finish(Engine *engine, Request *request);

/* ----------------------------------------------------------------- batches.c */

/* Threads: the one that sends batches and, where the device works beside it, awaits none;
 * and the one that then does. */
extern void *computing_thread(void *engine);
extern void *collecting_thread(void *engine);
/* The rest of the way of a decoded picture, in the calling thread. */
extern void compute_alone(Engine *engine, Request *request);

#endif
