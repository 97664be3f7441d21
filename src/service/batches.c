/*
 * batches.c
 *	  Batches across clients: chosen, copied to the device, awaited, answered.
 *
 * Of a device that computes in the calling thread there is one batch at a time, sent and
 * awaited by the computing thread.  A device with stages has up to NN_STAGES under way:
 * while it computes one, the computing thread fills and sends the next, and the
 * collecting thread answers what came back.  A device with callers, to which batches are
 * no gain, has neither thread: who decoded a picture computes it.
 */
#include "service/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hamming/hamming.h"

/* ------------------------------------------------------------------ choosing */

/*
 * Shall a batch for this model wait for more until then?  While the device is idle, only
 * if some are on their way, so that a lone request never waits.  While it is busy
 * waiting costs nothing but the copy, and a fuller batch saves more than that.
 */
static bool
worth_waiting(const Engine *engine, const Model *model, int64_t until)
{
	return (engine->stats.queued > 0 || engine->flights > 0) &&
		   engine->stats.ready < model->max_batch && now_us() < until;
}

/* The oldest picture and those after it that want the same model.  Called with the lock.
 */
static void
take_pictures(Engine *engine, Flight *flight)
{
	Model *model = engine->ready_first->model;

	flight->model = model;
	flight->n = 0;
	engine->ready_last = NULL;
	for (Request **link = &engine->ready_first; *link;)
	{
		Request *request = *link;

		if (flight->n < model->max_batch && request->model == model)
		{
			*link = request->next;
			request->next = NULL;
			flight->request[flight->n++] = request;
		}
		else
		{
			engine->ready_last = request;
			link = &request->next;
		}
	}
}

/* The next batch, once there is one and a stage for it.  Called with the lock; NULL:
 * stop. */
static Flight *
next_flight(Engine *engine)
{
	Flight *flight;
	int64_t until;

	while (!engine->stop &&
		   (engine->ready_first == NULL || engine->flights == engine->stages))
		pthread_cond_wait(&engine->ready, &engine->lock);
	if (engine->stop)
		return NULL;

	until = engine->ready_first->ready_us + engine->config->batch_wait_us;
	while (!engine->stop && worth_waiting(engine, engine->ready_first->model, until))
	{
		struct timespec when = {.tv_sec = until / 1000000,
								.tv_nsec = until % 1000000 * 1000};

		pthread_cond_timedwait(&engine->ready, &engine->lock, &when);
	}
	flight = &engine->flight[(engine->oldest + engine->flights) % engine->stages];
	take_pictures(engine, flight);
	/* A model's batches come back in order, so that its stages take turns. */
	flight->stage = flight->model->next_stage;
	flight->model->next_stage = (flight->stage + 1) % engine->stages;
	flight->sent = false;
	engine->flights++;
	engine->stats.ready -= flight->n;
	engine->computing += flight->n;
	return flight;
}

/* ------------------------------------------------------------------- sending */

/* Fill the stage with the pictures of those who are still there. */
static void
send_flight(Engine *engine, Flight *flight)
{
	Model *model = flight->model;
	NnStage *stage = runner_stage(model->runner, flight->stage);
	bool logits = false;

	flight->live = 0;
	for (int i = 0; i < flight->n; i++)
	{
		Request *request = flight->request[i];

		if (request_dropped(request))
		{
			request_finish(engine, request);
			flight->request[i] = NULL;
			continue;
		}
		memcpy(stage->images + flight->live * model->image_bytes, request->pixels,
			   model->image_bytes);
		logits |= (request->head.flags & DEEPHASH_WANT_LOGITS) != 0;
		flight->live++;
	}
	flight->start_us = now_us();
	flight->good = flight->live > 0 && runner_submit(model->runner, flight->stage,
													 flight->live, logits, &flight->err);
}

/* ----------------------------------------------------------------- answering */

/* The answer of picture k of the stage: [logits,] code. */
static void
answer(Request *request, const NnStage *stage, int k)
{
	uint32_t bits = request->model->file->info.bits;
	bool want_logits = request->head.flags & DEEPHASH_WANT_LOGITS;
	size_t before = want_logits ? bits * sizeof(float) : 0;

	request->reply = malloc(before + hamming_bytes(bits));
	if (request->reply == NULL)
	{
		Failure failure;

		refuse(&failure, DEEPHASH_NO_MEMORY, "out of memory");
		request_fail(request, &failure);
		return;
	}
	if (want_logits)
		memcpy(request->reply, stage->logits + (size_t) k * bits, before);
	memcpy(request->reply + before, stage->codes + k * hamming_bytes(bits),
		   hamming_bytes(bits));
	request->reply_bytes = before + hamming_bytes(bits);
	request->bits = bits;
	request->status = DEEPHASH_OK;
}

/*
 * After a forward pass; fault is NULL if it went well.  What a batch waited behind
 * another one on the device counts as time in a queue.
 */
static void
count_batch(Engine *engine, const Flight *flight, const NnStage *stage, const char *fault)
{
	int64_t now = now_us(), begin;

	pthread_mutex_lock(&engine->lock);
	begin = flight->start_us;
	if (engine->stages > 1 && begin < engine->landed_us)
		begin = engine->landed_us;
	engine->landed_us = now;
	engine->stats.batches++;
	engine->stats.images += flight->live;
	histogram_add(&engine->times->batch, flight->live);
	histogram_add(&engine->times->compute, now - begin);
	for (int i = 0; i < flight->n; i++)
	{
		const Request *request = flight->request[i];

		if (request)
			histogram_add(&engine->times->queue, request->decode_us - request->submit_us +
													 begin - request->ready_us);
	}
	for (int k = 0; k < flight->live && !fault; k++)
	{
		if (stage->doubts[k] != NN_NOT_FINITE)
			engine->times->doubtful_bits += stage->doubts[k];
	}
	engine->faults = fault ? engine->faults + 1 : 0;
	if (fault)
		snprintf(engine->fault, sizeof(engine->fault), "%s", fault);
	pthread_mutex_unlock(&engine->lock);
}

/* The stage holds the answers, or the flight the reason why not. */
static void
answer_all(Engine *engine, Flight *flight, const NnStage *stage)
{
	count_batch(engine, flight, stage, flight->good ? NULL : flight->err.text);
	for (int i = 0, k = 0; i < flight->n; i++)
	{
		Request *request = flight->request[i];
		Failure failure;

		if (request == NULL)
			continue;
		if (!flight->good)
		{
			refuse(&failure, DEEPHASH_DEVICE, "device %s: %s", engine->device->name,
				   flight->err.text);
			request_fail(request, &failure);
		}
		else if (stage->doubts[k] == NN_NOT_FINITE)
		{
			refuse(&failure, DEEPHASH_DEVICE,
				   "device %s: values of the network exceed the range of this precision; "
				   "set deephash.precision to bf16 or float32",
				   engine->device->name);
			request_fail(request, &failure);
		}
		else
			answer(request, stage, k);
		k++;
		request_finish(engine, request);
	}
}

static void
land_flight(Engine *engine, Flight *flight)
{
	Runner *runner;

	/* Nobody holds the model for a batch that lost all its requests. */
	if (flight->live == 0)
		return;
	runner = flight->model->runner;
	if (flight->good)
		flight->good = runner_wait(runner, flight->stage, &flight->err);
	answer_all(engine, flight, runner_stage(runner, flight->stage));
}

void
compute_alone(Engine *engine, Request *request)
{
	uint8_t codes[HAMMING_MAX_BITS / 8];
	float logits[HAMMING_MAX_BITS];
	uint32_t doubts;
	NnStage stage = {request->pixels, codes, logits, &doubts};
	Flight flight = {.model = request->model,
					 .n = 1,
					 .live = 1,
					 .request = &request,
					 .start_us = now_us()};

	if (request_dropped(request))
	{
		request_finish(engine, request);
		return;
	}
	flight.good = runner_run(flight.model->runner, &stage, 1, &flight.err);
	answer_all(engine, &flight, &stage);
}

/* The oldest batch is done: there is a place for another. */
static void
end_flight(Engine *engine, const Flight *flight)
{
	pthread_mutex_lock(&engine->lock);
	engine->computing -= flight->n;
	engine->oldest = (engine->oldest + 1) % engine->stages;
	engine->flights--;
	pthread_mutex_unlock(&engine->lock);
	pthread_cond_signal(&engine->ready);
}

/* -------------------------------------------------------------------- threads */

void *
computing_thread(void *arg)
{
	Engine *engine = arg;
	Flight *flight;

	for (;;)
	{
		pthread_mutex_lock(&engine->lock);
		flight = next_flight(engine);
		pthread_mutex_unlock(&engine->lock);
		if (flight == NULL)
			return NULL;
		send_flight(engine, flight);
		if (engine->stages > 1)
		{
			pthread_mutex_lock(&engine->lock);
			flight->sent = true;
			pthread_mutex_unlock(&engine->lock);
			pthread_cond_signal(&engine->sent);
			continue;
		}
		land_flight(engine, flight);
		end_flight(engine, flight);
	}
}

void *
collecting_thread(void *arg)
{
	Engine *engine = arg;

	for (;;)
	{
		Flight *flight = NULL;

		pthread_mutex_lock(&engine->lock);
		/* Batches that are in the air at the end must land: the device writes to us. */
		while (!(engine->stop && engine->flights == 0))
		{
			flight = &engine->flight[engine->oldest];
			if (engine->flights > 0 && flight->sent)
				break;
			flight = NULL;
			pthread_cond_wait(&engine->sent, &engine->lock);
		}
		pthread_mutex_unlock(&engine->lock);
		if (flight == NULL)
			return NULL;
		land_flight(engine, flight);
		end_flight(engine, flight);
	}
}
