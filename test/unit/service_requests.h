/*
 * service_requests.h
 *	  For unit tests of the engine: requests, and their answers in the order in which
 *	  they came.  Include after cmocka.h.
 */
#ifndef SERVICE_REQUESTS_H
#define SERVICE_REQUESTS_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service/service.h"

typedef struct Answers
{
	EngineUser user; /* for engine_start() */
	pthread_mutex_t lock;
	pthread_cond_t more;
	Request *first, **end;
	int lone; /* answers while no other request was in work */
} Answers;

static void
answers_take_back(void *arg, Request *request, bool alone)
{
	Answers *answers = arg;

	pthread_mutex_lock(&answers->lock);
	answers->lone += alone;
	request->next = NULL;
	*answers->end = request;
	answers->end = &request->next;
	pthread_cond_signal(&answers->more);
	pthread_mutex_unlock(&answers->lock);
}

static void
answers_begin(Answers *answers)
{
	*answers = (Answers){
		.user = {.take_back = answers_take_back, .arg = answers},
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.more = PTHREAD_COND_INITIALIZER,
	};
	answers->end = &answers->first;
}

/* After engine_stop(). */
static void
answers_end(Answers *answers)
{
	while (answers->first)
	{
		Request *next = answers->first->next;

		request_free(answers->first);
		answers->first = next;
	}
}

/* Wait for the next one. */
static Request *
answers_next(Answers *answers)
{
	Request *request;

	pthread_mutex_lock(&answers->lock);
	while (answers->first == NULL)
		pthread_cond_wait(&answers->more, &answers->lock);
	request = answers->first;
	answers->first = request->next;
	if (answers->first == NULL)
		answers->end = &answers->first;
	pthread_mutex_unlock(&answers->lock);
	request->next = NULL;
	return request;
}

/* Ask for the code of an image. */
static void
submit_image(Engine *engine, Lane *lane, const uint8_t *model, uint64_t id,
			 uint32_t flags, const void *image, size_t bytes)
{
	Request *request = calloc(1, sizeof(*request));

	assert_non_null(request);
	request->lane = lane;
	request->head.kind = DEEPHASH_ENCODE;
	request->head.id = id;
	request->head.flags = flags;
	request->head.length = bytes;
	memcpy(request->head.model, model, DEEPHASH_SHA256_BYTES);
	request->payload = malloc(bytes);
	assert_non_null(request->payload);
	memcpy(request->payload, image, bytes);
	engine_submit(engine, request);
}

#endif
