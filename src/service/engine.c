/*
 * engine.c
 *	  Lanes that take turns, decoding threads, and what the serving thread asks of the
 *	  engine.
 */
#include "service/engine.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/image.h"

/* A device that fails this often in a row is given up, with the process. */
#define MAX_FAULTS 3

/* So many pictures of every thread come before another's request: engine_has_queue() */
#define QUEUE_ROUNDS 2

void
request_free(Request *request)
{
	free(request->payload);
	free(request->pixels);
	free(request->reply);
	free(request);
}

void
request_fail(Request *request, const Failure *failure)
{
	free(request->reply);
	request->status = failure->status;
	request->bits = 0;
	request->reply = (uint8_t *) strdup(failure->text);
	request->reply_bytes = request->reply ? strlen(failure->text) : 0;
}

bool
request_dropped(const Request *request)
{
	return atomic_load_explicit(&request->lane->gone, memory_order_relaxed);
}

/* Requests taken and not finished.  Called with the lock. */
static int
in_work(const Engine *engine)
{
	return engine->stats.queued + engine->stats.ready + engine->computing;
}

void
request_finish(Engine *engine, Request *request)
{
	bool alone;

	if (request->model)
		models_release(engine->models, request->model);
	request->model = NULL;
	pthread_mutex_lock(&engine->lock);
	engine->progress_us = now_us();
	if (request_dropped(request))
	{
		engine->stats.dropped++;
		engine->times->dropped++;
	}
	else if (request->status != DEEPHASH_OK)
		engine->stats.failures++;
	alone = in_work(engine) <= 1;
	pthread_mutex_unlock(&engine->lock);
	engine->user.take_back(engine->user.arg, request, alone);
}

/* ---------------------------------------------------------------- decoding */

static void
check_model(Engine *engine, Request *request)
{
	Failure failure;
	char *text;

	request->model = models_acquire(engine->models, request->head.model, &failure);
	if (request->model == NULL)
	{
		request_fail(request, &failure);
		return;
	}
	text = nn_model_describe(request->model->file);
	if (text == NULL)
	{
		refuse(&failure, DEEPHASH_NO_MEMORY, "out of memory");
		request_fail(request, &failure);
		return;
	}
	request->status = DEEPHASH_OK;
	request->bits = request->model->file->info.bits;
	request->reply = (uint8_t *) text;
	request->reply_bytes = strlen(text);
}

static bool
decode(Engine *engine, Request *request, Failure *failure)
{
	ImageLimits limits = image_default_limits;
	ImageError err = {""};
	const NnModelInfo *info;

	request->model = models_acquire(engine->models, request->head.model, failure);
	if (request->model == NULL)
		return false;
	request->pixels = malloc(request->model->image_bytes);
	if (request->pixels == NULL)
		return refuse(failure, DEEPHASH_NO_MEMORY, "out of memory");
	info = &request->model->file->info;
	limits.max_pixels = engine->config->max_pixels;

	ImagePreprocess pre = {.width = info->width,
						   .height = info->height,
						   .resize = info->resize,
						   .filter = info->area_filter ? IMAGE_AREA : IMAGE_BICUBIC};

	if (!image_from_jpeg(request->payload, request->head.length, &pre, &limits,
						 request->pixels, &err))
		return refuse_for(failure, DEEPHASH_BAD_IMAGE, err.text);
	return true;
}

/* Put a lane that has requests at the end of the ring.  Called with the lock. */
static void
queue_lane(Engine *engine, Lane *lane)
{
	lane->waiting = true;
	lane->next = NULL;
	if (engine->ring_first == NULL)
		engine->ring_first = lane;
	else
		engine->ring_last->next = lane;
	engine->ring_last = lane;
	engine->lanes_waiting++;
}

/* Until a request comes, or stop.  Called with the lock. */
static void
idle(Engine *engine, IdleThread *self)
{
	self->is_called = false;
	self->next = engine->idle;
	engine->idle = self;
	while (!self->is_called && !engine->stop)
		pthread_cond_wait(&self->called, &engine->lock);
}

/* The next request, lanes taking turns.  Called with the lock; NULL: stop. */
static Request *
next_request(Engine *engine, IdleThread *self)
{
	Lane *lane;
	Request *request;

	while (!engine->stop && engine->ring_first == NULL)
		idle(engine, self);
	if (engine->stop)
		return NULL;
	lane = engine->ring_first;
	engine->ring_first = lane->next;
	engine->lanes_waiting--;
	request = lane->first;
	lane->first = request->next;
	request->next = NULL;
	lane->waiting = false;
	if (lane->first != NULL)
		queue_lane(engine, lane);
	return request;
}

/* For the computing thread.  Called with the lock. */
static void
queue_ready(Engine *engine, Request *request)
{
	request->next = NULL;
	if (engine->ready_first == NULL)
		engine->ready_first = request;
	else
		engine->ready_last->next = request;
	engine->ready_last = request;
	engine->stats.ready++;
}

/* Compute a decoded picture, here or in the computing thread; answer a failure. */
static void
after_decoding(Engine *engine, Request *request, bool good)
{
	bool here = good && engine->device->callers;

	pthread_mutex_lock(&engine->lock);
	engine->stats.queued--;
	engine->progress_us = now_us();
	if (good)
	{
		request->ready_us = engine->progress_us;
		histogram_add(&engine->times->decode, request->ready_us - request->decode_us);
	}
	if (here)
		engine->computing++;
	else if (good)
		queue_ready(engine, request);
	pthread_mutex_unlock(&engine->lock);
	/* Even a failure matters to a batch that waits for it. */
	pthread_cond_signal(&engine->ready);
	if (!good)
		request_finish(engine, request);
	if (!here)
		return;
	compute_alone(engine, request);
	pthread_mutex_lock(&engine->lock);
	engine->computing--;
	pthread_mutex_unlock(&engine->lock);
}

static void *
decoding_thread(void *arg)
{
	Engine *engine = arg;
	IdleThread self = {.called = PTHREAD_COND_INITIALIZER};
	Request *request;

	for (;;)
	{
		Failure failure;
		bool good = false;

		pthread_mutex_lock(&engine->lock);
		request = next_request(engine, &self);
		pthread_mutex_unlock(&engine->lock);
		if (request == NULL)
			return NULL;
		request->decode_us = now_us();
		if (request_dropped(request))
			;
		else if (request->head.kind == DEEPHASH_CHECK_MODEL)
			check_model(engine, request);
		else if (decode(engine, request, &failure))
			good = true;
		else
			request_fail(request, &failure);
		free(request->payload);
		request->payload = NULL;
		after_decoding(engine, request, good);
	}
}

/* --------------------------------------------------- for the serving thread */

static bool
make_flights(Engine *engine)
{
	for (int i = 0; i < engine->stages; i++)
	{
		Flight *flight = &engine->flight[i];

		flight->request = calloc(engine->config->batch_size, sizeof(Request *));
		if (flight->request == NULL)
			return false;
	}
	return true;
}

Engine *
engine_start(const ServiceConfig *config, const NnDevice *device, const EngineUser *user,
			 EngineTimes *times, Failure *failure)
{
	Engine *engine = calloc(1, sizeof(*engine));
	pthread_condattr_t monotonic;

	if (engine == NULL)
	{
		refuse(failure, DEEPHASH_NO_MEMORY, "out of memory");
		return NULL;
	}
	engine->config = config;
	engine->device = device;
	engine->user = *user;
	engine->times = times;
	pthread_mutex_init(&engine->lock, NULL);
	pthread_cond_init(&engine->sent, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&engine->ready, &monotonic);
	pthread_condattr_destroy(&monotonic);
	engine->stages = device_stages(device);
	engine->models = models_create(config, device, failure);
	/* The decoding threads, the computing and the collecting one. */
	engine->thread = calloc(config->threads + 2, sizeof(pthread_t));
	if (engine->models == NULL || engine->thread == NULL || !make_flights(engine))
	{
		if (engine->models)
			refuse(failure, DEEPHASH_NO_MEMORY, "out of memory");
		engine_stop(engine);
		return NULL;
	}
	for (int i = 0; i < config->threads + (device->callers ? 0 : engine->stages); i++)
	{
		int rc = pthread_create(&engine->thread[i], NULL,
								i < config->threads	   ? decoding_thread
								: i == config->threads ? computing_thread
													   : collecting_thread,
								engine);

		if (rc != 0)
		{
			refuse(failure, DEEPHASH_NO_MEMORY, "could not start a thread: %s",
				   strerror(rc));
			engine_stop(engine);
			return NULL;
		}
		engine->nthreads++;
	}
	return engine;
}

void
engine_submit(Engine *engine, Request *request)
{
	Lane *lane = request->lane;
	IdleThread *thread;

	request->next = NULL;
	request->submit_us = now_us();
	pthread_mutex_lock(&engine->lock);
	if (in_work(engine) == 0)
		engine->progress_us = request->submit_us;
	if (lane->first == NULL)
		lane->first = request;
	else
		lane->last->next = request;
	lane->last = request;
	if (!lane->waiting)
		queue_lane(engine, lane);
	engine->stats.queued++;
	thread = engine->idle;
	if (thread)
	{
		engine->idle = thread->next;
		thread->is_called = true;
	}
	pthread_mutex_unlock(&engine->lock);
	/* Who is woken with the lock held goes to sleep again at once. */
	if (thread)
		pthread_cond_signal(&thread->called);
}

void
engine_stats(Engine *engine, EngineStats *stats)
{
	pthread_mutex_lock(&engine->lock);
	*stats = engine->stats;
	stats->precision = device_precision(engine->device, engine->config->precision);
	pthread_mutex_unlock(&engine->lock);
	models_totals(engine->models, &stats->models, &stats->model_memory);
}

void
engine_times(Engine *engine, EngineTimes *times)
{
	pthread_mutex_lock(&engine->lock);
	*times = *engine->times;
	pthread_mutex_unlock(&engine->lock);
}

void
engine_times_reset(Engine *engine)
{
	pthread_mutex_lock(&engine->lock);
	memset(engine->times, 0, sizeof(*engine->times));
	pthread_mutex_unlock(&engine->lock);
}

ModelUse *
engine_models(Engine *engine, int *count)
{
	return models_list(engine->models, count);
}

bool
engine_has_queue(Engine *engine)
{
	int waiting;

	pthread_mutex_lock(&engine->lock);
	waiting = engine->lanes_waiting;
	pthread_mutex_unlock(&engine->lock);
	return waiting >= QUEUE_ROUNDS * engine->config->threads;
}

int64_t
engine_stalled_us(Engine *engine)
{
	int64_t stalled = 0;

	pthread_mutex_lock(&engine->lock);
	if (in_work(engine) > 0)
		stalled = now_us() - engine->progress_us;
	pthread_mutex_unlock(&engine->lock);
	return stalled;
}

void
engine_forgive(Engine *engine, int64_t lost_us)
{
	pthread_mutex_lock(&engine->lock);
	engine->progress_us += lost_us;
	pthread_mutex_unlock(&engine->lock);
}

bool
engine_faulty(Engine *engine, Failure *failure)
{
	bool faulty;

	pthread_mutex_lock(&engine->lock);
	faulty = engine->faults >= MAX_FAULTS;
	if (faulty)
		refuse(failure, DEEPHASH_DEVICE, "device %s failed %d times in a row: %s",
			   engine->device->name, engine->faults, engine->fault);
	pthread_mutex_unlock(&engine->lock);
	return faulty;
}

static void
free_list(Request *request)
{
	while (request)
	{
		Request *next = request->next;

		request_free(request);
		request = next;
	}
}

void
engine_stop(Engine *engine)
{
	pthread_mutex_lock(&engine->lock);
	engine->stop = true;
	for (IdleThread *thread = engine->idle; thread; thread = thread->next)
		pthread_cond_signal(&thread->called);
	pthread_cond_broadcast(&engine->ready);
	pthread_cond_broadcast(&engine->sent);
	pthread_mutex_unlock(&engine->lock);
	for (int i = 0; i < engine->nthreads; i++)
		pthread_join(engine->thread[i], NULL);
	free(engine->thread);
	for (int i = 0; i < NN_STAGES; i++)
		free(engine->flight[i].request);
	for (Lane *lane = engine->ring_first; lane; lane = lane->next)
		free_list(lane->first);
	free_list(engine->ready_first);
	if (engine->models)
		models_destroy(engine->models);
	pthread_cond_destroy(&engine->sent);
	pthread_cond_destroy(&engine->ready);
	pthread_mutex_destroy(&engine->lock);
	free(engine);
}
