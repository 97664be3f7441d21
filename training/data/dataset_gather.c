/*
 * dataset_gather.c
 *	  Pictures in a row, as a network without augmentation takes them.
 */
#include "training/data/dataset_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 64

typedef struct GatherJob
{
	const Dataset *ds;
	int first, n, width, height;
	uint8_t *out;
	atomic_int next;
	atomic_bool failed;
	TrainError err; /* of the first that set failed */
} GatherJob;

bool
dataset_needs_room(const Dataset *ds, int width, int height)
{
	return ds->disk || ds->width != width || ds->height != height;
}

/* As image_prepare cuts the middle out: halves to even. */
static int
middle(int side, int crop)
{
	int twice = side - crop;

	return twice / 2 + (twice % 2 != 0 && twice / 2 % 2 != 0);
}

static void
cut_centre(const Dataset *ds, const uint8_t *from, int width, int height, uint8_t *out)
{
	int x = middle(ds->width, width);
	int y = middle(ds->height, height);

	for (int r = 0; r < height; r++)
		memcpy(out + (size_t) r * width * 3,
			   from + ((size_t) (y + r) * ds->width + x) * 3, (size_t) width * 3);
}

static void *
gather_thread(void *arg)
{
	GatherJob *job = arg;
	uint8_t *room = job->ds->disk ? malloc(dataset_picture_size(job->ds)) : NULL;
	TrainError err;
	int i;

	if (job->ds->disk && !room)
		train_fail(&err, "out of memory");
	while ((i = atomic_fetch_add(&job->next, 1)) < job->n)
	{
		const uint8_t *from = job->ds->disk && !room
								  ? NULL
								  : dataset_pixels(job->ds, job->first + i, room, &err);

		if (from)
			cut_centre(job->ds, from, job->width, job->height,
					   job->out + (size_t) i * job->width * job->height * 3);
		else if (!atomic_exchange(&job->failed, true))
			job->err = err;
	}
	free(room);
	return NULL;
}

const uint8_t *
dataset_gather(const Dataset *ds, int first, int n, int width, int height, int threads,
			   uint8_t *room, TrainError *err)
{
	GatherJob job = {
		.ds = ds, .first = first, .n = n, .width = width, .height = height, .out = room};
	pthread_t id[MAX_THREADS];
	int started = 0;

	if (!dataset_needs_room(ds, width, height))
		return ds->rgb + first * dataset_picture_size(ds);
	/* Copies are quick; files are worth threads. */
	while (ds->disk && started < threads - 1 && started < MAX_THREADS &&
		   pthread_create(&id[started], NULL, gather_thread, &job) == 0)
		started++;
	gather_thread(&job);
	for (int t = 0; t < started; t++)
		pthread_join(id[t], NULL);
	if (!job.failed)
		return room;
	*err = job.err;
	return NULL;
}
