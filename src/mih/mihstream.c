/*
 * mihstream.c
 *	  Results in order of distance and TID, found step by step.
 *
 * Two streams are merged: the lists and small segments, read whole at every
 * refill, and the other segments, walked to growing radii until reading them
 * whole is cheaper.  A refill finds the smallest keys beyond those handed out,
 * first few and then ever more of them, up to what work_mem holds.
 */
#include "mih/mihscan.h"

#include "miscadmin.h"

#define FIRST_PAGES 8  /* pages that the first step of a walk may touch */
#define WALK_SHARE 0.3 /* of a pass, what steps that end in a pass may cost in all */

/*
 * How many results the next refill should keep: few at first, so that the bound
 * falls fast, and more once a refill had more than that to give.
 */
static int64
next_keep(const MihStream *stream)
{
	int64 most =
		Max(MIH_FIRST_KEEP, (int64) work_mem * 1024 / (2 * (int64) sizeof(MihKey)));

	if (stream->queue.keep == 0)
		return MIH_FIRST_KEEP;
	return stream->queue.truncated ? Min(stream->queue.keep * MIH_KEEP_GROWTH, most)
								   : stream->queue.keep;
}

/*
 * Choose the radius of the next step: the greatest that touches at most twice
 * the pages of the last one, and at least one more.  Returns -1 if it is time to
 * read all pages once: nobody knows how far an ordered scan will be read, so its
 * steps may waste only a share of what that pass costs, while a radius that
 * bounds the scan is worth up to a whole pass.
 */
static int
plan_step(MihScan *scan, MihStream *stream)
{
	uint64 pass = mih_pass_pages(scan, MIH_STREAM_WALK);
	uint64 share = scan->max_distance < scan->nbits ? pass : (uint64) (pass * WALK_SHARE);
	uint64 left = share > stream->walked ? share - stream->walked : 0;
	uint64 most = Max(FIRST_PAGES, 2 * stream->pages);
	int radius = stream->radius + 1;
	uint64 pages;

	/* Without an order nothing is won by small steps. */
	if (!scan->ordered)
		radius = scan->max_distance;
	pages = mih_plan_walk(scan, radius, left);
	if (pages > left)
		return -1;
	most = Min(most, left);
	while (radius < scan->max_distance)
	{
		uint64 more = mih_plan_walk(scan, radius + 1, most);

		if (more > most)
		{
			mih_plan_walk(scan, radius, left);
			break;
		}
		pages = more;
		radius++;
	}
	stream->pages = pages;
	stream->walked += pages;
	return radius;
}

/* One step of a stream; its queue then holds the results it found, sorted. */
static void
refill(MihScan *scan, int which)
{
	MihStream *stream = &scan->streams[which];
	MihKey last = MihKeyLast(scan->max_distance);
	MihSink sink = {.queue = &stream->queue, .max_distance = scan->max_distance};
	int radius = scan->max_distance;

	if (!stream->linear)
	{
		radius = plan_step(scan, stream);
		if (radius < 0)
		{
			stream->linear = true;
			radius = scan->max_distance;
		}
	}
	mih_queue_reset(&stream->queue, next_keep(stream), stream->done,
					stream->linear ? last : MihKeyLast(radius));
	stream->next = 0;
	if (stream->linear)
		mih_pass(scan, which, &sink);
	else
	{
		sink.max_distance = radius;
		mih_walk(scan, &sink);
	}
	mih_queue_sort(&stream->queue);
	if (stream->queue.truncated)
	{
		/* So many results at this distance: a pass is the way through them. */
		stream->done = stream->queue.upto;
		stream->linear = true;
	}
	else
	{
		stream->done = MihKeyLast(radius);
		stream->radius = radius;
		stream->finished = radius >= scan->max_distance;
	}
}

/* The next result in order; false when there is none. */
bool
mih_stream_next(MihScan *scan, MihKey *key)
{
	for (;;)
	{
		MihStream *best = NULL;
		int behind = -1;

		for (int s = 0; s < 2; s++)
		{
			MihStream *stream = &scan->streams[s];

			if (stream->next < stream->queue.n &&
				(best == NULL ||
				 stream->queue.items[stream->next] < best->queue.items[best->next]))
				best = stream;
		}
		/* A stream with nothing at hand may yet come before the best. */
		for (int s = 0; s < 2; s++)
		{
			MihStream *stream = &scan->streams[s];

			if (stream->next == stream->queue.n && !stream->finished &&
				(best == NULL || stream->done < best->queue.items[best->next]))
				behind = s;
		}
		if (behind >= 0)
		{
			refill(scan, behind);
			continue;
		}
		if (best == NULL)
			return false;
		*key = best->queue.items[best->next++];
		return true;
	}
}
