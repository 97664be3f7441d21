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

/* So many results are as good as all that will be asked for. */
#define ENOUGH_ROWS MIH_USUAL_ROWS

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

/* Whether a walk meets entries in several tables, and so may read them in vain. */
static bool
has_several_tables(const MihScan *scan)
{
	for (int p = 0; p < scan->nparts; p++)
		if (scan->parts[p].walk && scan->parts[p].segment->root.ntables > 1)
			return true;
	return false;
}

/*
 * Whether to walk, and how far.  A scan that must find everything within a radius
 * may walk if that is no dearer than a pass.  Over single tables a walk wastes
 * nothing.  Otherwise a walk is begun only if the usual number of rows should be
 * within its reach, and it keeps only what is near enough to be wanted from a
 * walk: thus few entries pass the first look, the comparison of codes.
 */
static bool
plan_walk(MihScan *scan)
{
	double entries = 0;
	double several, pages;

	scan->cap = scan->max_distance;
	scan->free_walk = !has_several_tables(scan);
	if (!scan->ordered || scan->max_distance < scan->nbits)
	{
		bool cheap = mih_walk_mark(scan, scan->max_distance, scan->pass_pages);

		mih_walk_unmark(scan);
		scan->free_walk |= cheap;
		if (!scan->ordered || cheap)
			return cheap;
	}
	for (int p = 0; p < scan->nparts; p++)
		entries += scan->parts[p].part.nentries;
	pages = mih_walk_pages(
		&scan->meta, mih_expected_radius(&scan->meta, entries, MIH_USUAL_ROWS), &several);
	if (scan->free_walk)
		return pages < MIH_WALK_GAIN * scan->pass_pages;
	scan->cap = Min(scan->cap, mih_expected_radius(&scan->meta, entries, MIH_FIRST_KEEP));
	return several <= MIH_WALK_SHARE * scan->pass_pages;
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

/* Read every page that the walk has not visited; everything is seen then. */
static void
pass(MihScan *scan)
{
	MihSink sink = queue_sink(scan);

	mih_pass(scan, &sink);
	scan->radius = scan->max_distance;
	scan->seen_all = true;
}

/* Read everything, for the keep smallest keys beyond those that are handed out. */
static void
read_all(MihScan *scan, int64 keep)
{
	MihSink sink = queue_sink(scan);

	mih_queue_begin(&scan->queue, keep, scan->queue.above,
					MihKeyLast(scan->max_distance));
	mih_walk_begin(scan);
	mih_read_lists(scan, &sink);
	pass(scan);
}

/*
 * All that the queue held is handed out, and there was more: again, with a larger
 * queue.  Where the walk need not be cut short it begins anew, from the radius it
 * had come to.
 */
static void
look_again(MihScan *scan)
{
	MihQueue *queue = &scan->queue;
	int64 keep = Min(queue->keep * MIH_KEEP_GROWTH, most_kept());
	MihSink sink = queue_sink(scan);

	if (scan->seen_all || scan->pass_pages == 0 || has_several_tables(scan))
	{
		read_all(scan, keep);
		return;
	}
	mih_queue_begin(queue, keep, queue->above, MihKeyLast(scan->max_distance));
	mih_walk_begin(scan);
	mih_read_lists(scan, &sink);
	scan->radius = MihKeyDistance(queue->above) - 1;
}

/* The first look: what is read whole in any case, and a plan for the rest. */
static void
begin_search(MihScan *scan)
{
	MihSink sink = queue_sink(scan);
	bool walk;

	scan->begun = true;
	mih_walk_begin(scan);
	walk = scan->pass_pages > 0 && plan_walk(scan);
	if (walk && scan->cap < scan->max_distance)
	{
		scan->queue.upto = MihKeyLast(scan->cap);
		scan->queue.truncated = true;
	}
	mih_read_lists(scan, &sink);
	if (!walk)
		pass(scan);
}

/* One step of the walk, or the pass that ends it. */
static void
step(MihScan *scan)
{
	MihSink sink = queue_sink(scan);
	int radius = scan->ordered ? scan->radius + 1 : scan->max_distance;
	uint64 most = PG_UINT64_MAX;

	if (!scan->free_walk)
	{
		most = scan->pass_pages * MIH_WALK_SHARE;
		most -= Min(most, scan->visited_pages);
	}
	if (radius > scan->cap || !mih_walk_mark(scan, radius, most))
	{
		/* Beyond the cap nothing was kept: does what is kept do? */
		if (scan->cap < scan->max_distance &&
			scan->stats.results + scan->queue.n < ENOUGH_ROWS)
			read_all(scan, scan->queue.keep);
		else
			pass(scan);
		return;
	}
	mih_walk_visit(scan, radius, &sink);
	scan->stats.steps++;
	scan->radius = radius;
	/* Single tables of which no page is left. */
	if (scan->visited_pages == scan->pass_pages && !has_several_tables(scan))
		scan->radius = scan->max_distance;
	scan->seen_all = scan->radius >= scan->max_distance;
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
			mih_queue_take(queue,
						   Max(queue->above, Min(MihKeyLast(scan->radius), queue->upto)));
	}
	*key = queue->ready[queue->next++];
	scan->stats.results++;
	return true;
}
