/*
 * mihstream.c
 *	  Results in order of distance and TID, found step by step.
 *
 * Lists and small segments are read whole at first.  The other segments are
 * walked to growing radii, each page visited once, until one more step would
 * make the walk dearer than it is worth; then a pass reads the pages of the
 * first tables that the walk has left.  After a step to radius r everything
 * within r is known and can be handed out.
 */
#include "mih/mihscan.h"

#include "miscadmin.h"

/* Keys that two arrays of twice that many may hold in work_mem. */
static int64
most_kept(void)
{
	int64 most = (int64) work_mem * 1024 / (4 * (int64) sizeof(MihKey));

	return Max(MIH_FIRST_KEEP, Min(most, PG_INT32_MAX));
}

static MihSink
queue_sink(MihScan *scan)
{
	return (MihSink){.queue = &scan->queue, .max_distance = scan->max_distance};
}

/*
 * Whether to walk.  A scan that must find everything within a radius may walk as
 * long as that is no dearer than a pass.  Where the end is not known, a walk is
 * begun only if the usual number of rows is within its reach.
 */
static bool
walk_is_worth_it(MihScan *scan)
{
	double entries = 0;
	int usual;

	scan->bounded =
		(!scan->ordered || scan->max_distance < scan->nbits) &&
		mih_walk_mark(scan, scan->max_distance, scan->pass_pages, PG_UINT64_MAX);
	mih_walk_unmark(scan);
	if (scan->bounded || !scan->ordered)
		return scan->bounded;
	for (int p = 0; p < scan->nparts; p++)
		entries += scan->parts[p].part.nentries;
	usual = mih_expected_radius(&scan->meta, entries, MIH_USUAL_ROWS);
	if (!mih_walk_mark(scan, Min(usual, scan->max_distance), PG_UINT64_MAX,
					   scan->pass_pages * MIH_WALK_WASTE))
		return false;
	mih_walk_unmark(scan);
	return true;
}

/* Prepare to hand out results: the query was read and the parts are open. */
void
mih_stream_begin(MihScan *scan)
{
	int64 keep = scan->ordered ? MIH_FIRST_KEEP : most_kept();

	mih_queue_begin(&scan->queue, keep, 0, MihKeyLast(scan->max_distance));
	scan->radius = -1;
	scan->begun = scan->seen_all = false;
}

/* Read every page not visited by the walk; everything is seen then. */
static void
finish_by_pass(MihScan *scan)
{
	MihSink sink = queue_sink(scan);

	mih_pass(scan, &sink);
	scan->radius = scan->max_distance;
	scan->seen_all = true;
}

/* The first look: what is read whole in any case, and a plan for the rest. */
static void
begin_search(MihScan *scan)
{
	MihSink sink = queue_sink(scan);

	scan->begun = true;
	mih_walk_begin(scan);
	mih_read_lists(scan, &sink);
	if (scan->pass_pages == 0 || !walk_is_worth_it(scan))
		finish_by_pass(scan);
}

/* One step of the walk, or the pass that ends it. */
static void
step(MihScan *scan)
{
	MihSink sink = queue_sink(scan);
	int radius = scan->ordered ? scan->radius + 1 : scan->max_distance;
	uint64 most = scan->bounded ? PG_UINT64_MAX : scan->pass_pages * MIH_WALK_WASTE;

	if (!mih_walk_mark(scan, radius, PG_UINT64_MAX, most))
	{
		finish_by_pass(scan);
		return;
	}
	mih_walk_visit(scan, radius, &sink);
	scan->stats.steps++;
	scan->radius = scan->first_pages == scan->pass_pages ? scan->max_distance : radius;
	scan->seen_all = scan->radius >= scan->max_distance;
}

/*
 * All that the queue held is handed out and there was more: look for the rest
 * with a larger queue.
 */
static void
look_again(MihScan *scan)
{
	MihSink sink = queue_sink(scan);
	int64 keep = Min(scan->queue.keep * MIH_KEEP_GROWTH, most_kept());

	mih_queue_begin(&scan->queue, keep, scan->queue.upto, MihKeyLast(scan->max_distance));
	mih_walk_begin(scan);
	mih_read_lists(scan, &sink);
	finish_by_pass(scan);
}

/* The next result in order; false when there is none. */
bool
mih_stream_next(MihScan *scan, MihKey *key)
{
	MihQueue *queue = &scan->queue;

	if (scan->nbits == 0)
		return false;
	while (queue->next == queue->nready)
	{
		if (!scan->begun)
			begin_search(scan);
		else if (queue->truncated && queue->above == queue->upto)
			look_again(scan);
		else if (scan->seen_all)
			return false;
		else
			step(scan);
		if (scan->radius >= 0)
			mih_queue_take(queue, Min(MihKeyLast(scan->radius), queue->upto));
	}
	*key = queue->ready[queue->next++];
	scan->stats.results++;
	return true;
}
