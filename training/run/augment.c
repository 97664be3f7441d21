/*
 * augment.c
 *	  Shift, mirror, cutout.
 */
#include "training/run/augment.h"

#include <stdlib.h>
#include <string.h>

typedef struct Job
{
	const Dataset *ds;
	const uint32_t *index;
	const AugmentOptions *options;
	uint64_t seed;
	int epoch;
	const uint8_t *grey;
	uint8_t *out;
} Job;

/* Reflection without repeating the edge: -1 is 1, n is n - 2. */
static int
reflect(int at, int n)
{
	if (at < 0)
		at = -at;
	if (at >= n)
		at = 2 * n - 2 - at;
	return at < 0 ? 0 : at;
}

/* Mirroring in turns shows both sides evenly, which chance does not (Jordan, 2024). */
static bool
mirrored(const Job *job, uint32_t picture)
{
	Rng rng;

	rng_seed(&rng, job->seed, 0x666c6970u + ((uint64_t) picture << 32));
	return ((rng_next(&rng) >> 63) + job->epoch) % 2 != 0;
}

static void
cut(const Job *job, Rng *rng, uint8_t *out)
{
	int w = job->ds->width;
	int h = job->ds->height;
	int side = job->options->cutout;
	int x0 = (int) rng_below(rng, w) - side / 2;
	int y0 = (int) rng_below(rng, h) - side / 2;

	for (int y = y0 < 0 ? 0 : y0; y < y0 + side && y < h; y++)
		for (int x = x0 < 0 ? 0 : x0; x < x0 + side && x < w; x++)
			memcpy(out + ((size_t) y * w + x) * 3, job->grey, 3);
}

static void
augment_range(void *arg, int begin, int end, int thread)
{
	const Job *job = arg;
	const AugmentOptions *o = job->options;
	int w = job->ds->width;
	int h = job->ds->height;
	size_t size = (size_t) w * h * 3;

	(void) thread;
	for (int i = begin; i < end; i++)
	{
		uint32_t picture = job->index[i];
		const uint8_t *from = job->ds->rgb + picture * size;
		uint8_t *to = job->out + i * size;
		bool flip = o->flip && mirrored(job, picture);
		int dx = 0;
		int dy = 0;
		Rng rng;

		rng_seed(&rng, job->seed ^ ((uint64_t) job->epoch << 40), 1 + (uint64_t) picture);
		if (o->translate > 0)
		{
			dx = (int) rng_below(&rng, 2 * o->translate + 1) - o->translate;
			dy = (int) rng_below(&rng, 2 * o->translate + 1) - o->translate;
		}
		for (int y = 0; y < h; y++)
		{
			const uint8_t *row = from + (size_t) reflect(y + dy, h) * w * 3;

			for (int x = 0; x < w; x++)
			{
				int sx = reflect((flip ? w - 1 - x : x) + dx, w);

				memcpy(to + ((size_t) y * w + x) * 3, row + sx * 3, 3);
			}
		}
		if (o->cutout > 0)
			cut(job, &rng, to);
	}
}

void
augment_batch(const Dataset *ds, const uint32_t *index, int n,
			  const AugmentOptions *options, uint64_t seed, int epoch,
			  const uint8_t grey[3], NnPool *pool, uint8_t *out)
{
	Job job = {ds, index, options, seed, epoch, grey, out};

	nn_parallel(pool, n, augment_range, &job);
}
