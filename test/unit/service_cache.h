/*
 * service_cache.h
 *	  A folder with two models, and a picture, which the tests of a program share: its
 *	  group's set-up makes them, its teardown removes them.
 */
#ifndef SERVICE_CACHE_H
#define SERVICE_CACHE_H

#include <unistd.h>

#include "service_samples.h"

#define MODELS 2

static char dir[] = "/tmp/deephash_service.XXXXXX";
static uint8_t model[MODELS][DEEPHASH_SHA256_BYTES];
static Sample jpeg;

static int
cache_setup(void **state)
{
	(void) state;
	assert_non_null(mkdtemp(dir));
	for (int i = 0; i < MODELS; i++)
		write_model(dir, 1.0f + (float) i, model[i]);
	jpeg = write_picture();
	return 0;
}

static int
cache_teardown(void **state)
{
	(void) state;
	free(jpeg.data);
	return remove_folder(dir);
}

#endif
