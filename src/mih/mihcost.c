/*
 * mihcost.c
 *	  What a scan will cost, from the metapage's histogram of distances.
 *
 * A k-NN scan is priced for the radius that its LIMIT needs: the results
 * expected within radius r are the rows times the share of sampled pairs within
 * r.  The pages of a walk to r are counted as the scan's own walk would meet
 * them on keys spread evenly, and bounded by a pass over everything.
 */
#include "mih/mih.h"

#include <math.h>

#include "access/genam.h"
#include "miscadmin.h"
#include "nodes/pathnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

#define KERNEL_COST 0.02 /* comparing one packed code, in units of cpu_operator_cost */
#define PAGE_COST 20	 /* finding a page in the cache, in the same units */
#define WALK_REPEAT 1.5	 /* steps of a walk look again at pages of earlier steps */
#define NEVER_COST 1.0e100

/* The index as the cost model sees it. */
typedef struct Shape
{
	MihMeta meta;
	double entries;	   /* rows */
	double pass_pages; /* a pass over everything */
	double parts;	   /* live parts */
} Shape;

static void
read_shape(const IndexOptInfo *info, Shape *shape)
{
	if (info->hypothetical)
	{
		/* An advisor's index has no metapage to ask: one list of that size. */
		memset(&shape->meta, 0, sizeof(MihMeta));
		shape->meta.parts[0].kind = MIH_PART_PENDING;
		shape->meta.parts[0].npages = info->pages;
	}
	else
	{
		Relation index = index_open(info->indexoid, NoLock);

		mih_copy_meta(index, &shape->meta);
		index_close(index, NoLock);
	}
	shape->entries = Max(info->tuples, 1);
	shape->pass_pages = 0;
	shape->parts = 0;
	for (int i = 0; i < MIH_MAX_PARTS; i++)
	{
		const MihPart *part = &shape->meta.parts[i];

		if (part->kind == MIH_PART_UNUSED || part->kind == MIH_PART_DEAD)
			continue;
		shape->parts++;
		shape->pass_pages += part->npages;
	}
}

/* Share of the rows expected within a radius of a query that resembles a row. */
static double
share_within(const MihMeta *meta, int radius)
{
	int width = (meta->nbits + MIH_HIST_BINS) / MIH_HIST_BINS;
	double n = 0;

	if (meta->hist_pairs == 0 || radius >= meta->nbits)
		return 1;
	for (int bin = 0; bin <= radius / width && bin < MIH_HIST_BINS; bin++)
		n += meta->hist[bin];
	return n / meta->hist_pairs;
}

/* The smallest radius expected to hold k rows. */
static int
radius_for(const Shape *shape, double k)
{
	int radius = 0;

	while (radius < shape->meta.nbits &&
		   share_within(&shape->meta, radius) * shape->entries < k)
		radius++;
	return radius;
}

/* Pages of one table of npages pages whose keys lie within budget flips. */
static double
table_pages(double npages, int budget)
{
	double bits = npages > 1 ? log2(npages) : 0;
	double term = 1;
	double sum = 1;

	if (budget < 0)
		return 0;
	for (int i = 1; i <= budget && i <= bits; i++)
	{
		term *= (bits - i + 1) / i;
		sum += term;
	}
	return budget >= bits ? npages : Min(sum, npages);
}

/* Pages that a walk to this radius reads. */
static double
walk_pages(const Shape *shape, int radius)
{
	double pages = 0;

	for (int i = 0; i < MIH_MAX_PARTS; i++)
	{
		const MihPart *part = &shape->meta.parts[i];

		if (part->kind == MIH_PART_SEGMENT && part->order == MIH_BY_REFERENCES)
			pages += WALK_REPEAT * part->npages *
					 mih_part_reach(part, shape->meta.nbits, radius);
		else if (part->kind == MIH_PART_SEGMENT)
			for (int j = 0; j < part->ntables; j++)
				pages += WALK_REPEAT *
						 table_pages(part->npages,
									 radius < j ? -1 : (radius - j) / part->ntables);
		else if (part->kind != MIH_PART_UNUSED && part->kind != MIH_PART_DEAD)
			pages += part->npages;
	}
	return pages;
}

/* Price of comparing the codes on so many pages. */
static double
probe_cost(const Shape *shape, double pages)
{
	return pages * PAGE_COST * cpu_operator_cost + pages / Max(shape->pass_pages, 1) *
													   shape->entries * KERNEL_COST *
													   cpu_operator_cost;
}

/* The smallest constant radius among the index conditions, or -1. */
static int
constant_radius(IndexPath *path)
{
	int radius = -1;
	ListCell *lc;

	foreach (lc, path->indexclauses)
	{
		IndexClause *clause = lfirst_node(IndexClause, lc);
		ListCell *lq;

		foreach (lq, clause->indexquals)
		{
			Expr *qual = lfirst_node(RestrictInfo, lq)->clause;
			Node *arg = IsA(qual, OpExpr) && list_length(((OpExpr *) qual)->args) == 2
							? (Node *) lsecond(((OpExpr *) qual)->args)
							: NULL;

			if (arg && IsA(arg, Const) && !((Const *) arg)->constisnull)
			{
				int r = DatumGetHashBallP(((Const *) arg)->constvalue)->radius;

				radius = radius < 0 ? r : Min(radius, r);
			}
		}
	}
	return radius;
}

/* Rows that the scan must yield before the query has what it wants. */
static double
rows_wanted(PlannerInfo *root, IndexPath *path, double matching)
{
	RelOptInfo *rel = path->indexinfo->rel;
	double kept = rel->tuples > 0 ? rel->rows / rel->tuples : 1;

	if (root->limit_tuples <= 0 || root->limit_tuples >= matching)
		return matching;
	/* A filter above the scan makes it go on for longer. */
	return Min(matching, root->limit_tuples / Max(kept, 1e-9));
}

/* Passes that handing out so many rows in order takes, see mihstream.c. */
static double
refills(double rows)
{
	double most = Max(MIH_FIRST_KEEP, work_mem * 1024.0 / (2 * sizeof(uint64)));
	double keep = MIH_FIRST_KEEP;
	double n = 0;

	for (; rows > 0 && keep < most; keep *= MIH_KEEP_GROWTH, n++)
		rows -= keep;
	return n + ceil(Max(rows, 0) / most);
}

void
mihcostestimate(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup,
				Cost *total, Selectivity *selectivity, double *correlation, double *pages)
{
	GenericCosts generic = {0};
	Shape shape;
	double random_cost, seq_cost;
	double matching, wanted, visited;
	double walk, pass;
	double loops = Max(loop_count, 1); /* pages stay cached from one to the next */
	int radius;

	genericcostestimate(root, path, loop_count, &generic);
	if (path->path.pathtype == T_IndexOnlyScan)
	{
		/*
		 * A query that needs no column at all is offered as an index-only scan,
		 * which would trust the visibility map for TIDs read earlier (see
		 * README.md): never.  Not infinity, which the planner would subtract
		 * from itself.
		 */
		*startup = *total = NEVER_COST;
		*selectivity = generic.indexSelectivity;
		*correlation = 0;
		*pages = generic.numIndexPages;
		return;
	}
	read_shape(path->indexinfo, &shape);
	get_tablespace_page_costs(path->indexinfo->reltablespace, &random_cost, &seq_cost);

	matching = Max(1, generic.indexSelectivity * shape.entries);
	radius = constant_radius(path);
	wanted = matching;
	if (path->indexorderbys != NIL)
	{
		wanted = rows_wanted(root, path, matching);
		if (radius < 0)
			radius = shape.meta.nbits;
		if (wanted < matching)
			radius = Min(radius, radius_for(&shape, wanted));
	}
	else if (radius < 0)
		radius = path->indexclauses ? radius_for(&shape, matching) : shape.meta.nbits;
	visited = walk_pages(&shape, radius);
	walk = visited * random_cost / loops + probe_cost(&shape, visited);
	pass = shape.pass_pages * seq_cost / loops + probe_cost(&shape, shape.pass_pages);
	if (visited > shape.pass_pages)
		visited = shape.pass_pages;

	/* Metapage, and root and directory of each part, then the cheaper way. */
	*startup = (1 + 2 * shape.parts) * random_cost / loops + Min(walk, pass);
	*total = *startup + matching * cpu_index_tuple_cost;
	if (path->indexorderbys != NIL)
		/* All rows: passes over everything, and sorting what they find. */
		*total += refills(matching) * pass +
				  matching * 2 * cpu_operator_cost * log2(Max(matching, 2));
	*selectivity = generic.indexSelectivity;
	*correlation = 0;
	*pages = visited;
}
