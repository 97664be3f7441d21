/*
 * mihcost.c
 *	  What a scan will cost, from the metapage's histogram of distances.
 *
 * A k-NN scan is priced for the radius that its LIMIT needs: the results
 * expected within radius r are the rows times the share of sampled pairs within
 * r.  The pages of a walk to r are counted as the scan's own walk would meet
 * them on keys spread evenly; where they are more than it would visit it is a
 * pass over everything, and further passes where rows are many.
 */
#include "mih/mih.h"

#include <math.h>

#include "access/genam.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

#define KERNEL_COST 0.02 /* comparing one packed code, in units of cpu_operator_cost */
#define PAGE_COST 20	 /* finding a page in the cache, in the same units */
#define ROW_COST 30		 /* keeping and handing out a row in order, in the same units */
#define NEVER_COST 1.0e100

/* The index as the cost model sees it. */
typedef struct Shape
{
	MihMeta meta;
	double entries;		/* rows */
	double pass_pages;	/* a pass over everything */
	double list_pages;	/* of them those of lists, which every search reads */
	double parts;		/* live parts */
	double random_cost; /* of a page */
	double seq_cost;
	double loops; /* scans of it that share what they read */
	PlannerInfo *root;
	BlockNumber pages; /* of the index */
} Shape;

static void
read_shape(PlannerInfo *root, const IndexOptInfo *info, double loops, Shape *shape)
{
	shape->root = root;
	shape->loops = Max(loops, 1);
	shape->pages = info->pages;
	get_tablespace_page_costs(info->reltablespace, &shape->random_cost, &shape->seq_cost);
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
	shape->pass_pages = shape->list_pages = 0;
	shape->parts = 0;
	for (int i = 0; i < MIH_MAX_PARTS; i++)
	{
		const MihPart *part = &shape->meta.parts[i];

		if (part->kind == MIH_PART_UNUSED || part->kind == MIH_PART_DEAD)
			continue;
		shape->parts++;
		shape->pass_pages += part->npages;
		if (part->kind != MIH_PART_SEGMENT)
			shape->list_pages += part->npages;
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
	for (int bin = 0; bin < radius / width && bin < MIH_HIST_BINS; bin++)
		n += meta->hist[bin];
	/* Of the radius's own bin, the part up to it. */
	n += meta->hist[Min(radius / width, MIH_HIST_BINS - 1)] * (radius % width + 1.0) /
		 width;
	return Min(n / meta->hist_pairs, 1);
}

/*
 * The smallest radius expected to hold so many rows of an index with so many
 * entries, for a query that resembles a row.
 */
int
mih_expected_radius(const MihMeta *meta, double entries, double rows)
{
	int radius = 0;

	while (radius < meta->nbits && share_within(meta, radius) * entries < rows)
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

/*
 * Pages that a walk to this radius is expected to visit, on keys spread evenly;
 * lists, which are read whole, included.  several: those of segments of several
 * tables, where entries are met more than once.
 */
double
mih_walk_pages(const MihMeta *meta, int radius, double *several)
{
	double pages = 0;

	*several = 0;
	for (int i = 0; i < MIH_MAX_PARTS; i++)
	{
		const MihPart *part = &meta->parts[i];

		if (part->kind == MIH_PART_SEGMENT && part->order == MIH_BY_REFERENCES)
			pages += part->npages * mih_part_reach(part, meta->nbits, radius);
		else if (part->kind == MIH_PART_SEGMENT)
			for (int j = 0; j < part->ntables; j++)
			{
				double n = table_pages(part->npages,
									   radius < j ? -1 : (radius - j) / part->ntables);

				pages += n;
				*several += part->ntables > 1 ? n : 0;
			}
		else if (part->kind != MIH_PART_UNUSED && part->kind != MIH_PART_DEAD)
			pages += part->npages;
	}
	return pages;
}

/* Price of reading so many pages, each at page_cost, and comparing their codes. */
static double
read_cost(const Shape *shape, double pages, double page_cost)
{
	double fetched = pages;

	/* What one scan of many has read is there for the next. */
	if (shape->loops > 1)
		fetched = index_pages_fetched(pages * shape->loops, shape->pages, shape->pages,
									  shape->root) /
				  shape->loops;
	return fetched * page_cost +
		   cpu_operator_cost * (pages * PAGE_COST + pages / Max(shape->pass_pages, 1) *
														shape->entries * KERNEL_COST);
}

static double
pass_cost(const Shape *shape)
{
	return read_cost(shape, shape->pass_pages, shape->seq_cost);
}

/* Price of the pages of a walk: those of lists in sequence, of segments at random. */
static double
walk_cost(const Shape *shape, double pages)
{
	return read_cost(shape, shape->list_pages, shape->seq_cost) +
		   read_cost(shape, Max(0, pages - shape->list_pages), shape->random_cost);
}

/* Refills of the queue, each by a pass, that so many rows take after the first. */
static double
refills(double rows)
{
	double most =
		Max(MIH_FIRST_KEEP, Min(work_mem * 1024.0 / (4 * sizeof(uint64)), PG_INT32_MAX));
	double keep = MIH_FIRST_KEEP;
	double n = 0;

	for (rows -= keep; rows > 0 && keep < most; n++)
	{
		keep = Min(keep * MIH_KEEP_GROWTH, most);
		rows -= keep;
	}
	return n + ceil(Max(rows, 0) / most);
}

/* Finding all rows within a radius, in any order. */
static double
ball_cost(const Shape *shape, int radius)
{
	double several;

	return Min(walk_cost(shape, mih_walk_pages(&shape->meta, radius, &several)),
			   pass_cost(shape));
}

/*
 * Finding so many rows in order of distance, which lie within a radius, as
 * mihstream.c does it.  bounded: a ball ends the scan at that radius, so that its
 * walk may cost as much as a pass.
 */
static double
ordered_cost(const Shape *shape, int radius, double rows, bool bounded)
{
	double pass = pass_cost(shape);
	double share = MIH_WALK_SHARE * shape->pass_pages;
	double most = (1 + MIH_WALK_SHARE) * pass; /* of any search */
	double several, cost;
	double pages = mih_walk_pages(&shape->meta, radius, &several);

	if (several <= share || (bounded && pages <= shape->pass_pages))
		cost = Min(walk_cost(shape, pages), most);
	else
	{
		int usual = mih_expected_radius(&shape->meta, shape->entries, MIH_USUAL_ROWS);

		/* A walk that ends in a pass, if it is begun at all. */
		mih_walk_pages(&shape->meta, usual, &several);
		cost = several <= share ? most : pass;
	}
	return cost + refills(rows) * pass;
}

/* The radius of a ball that is a constant or hashball(anything, constant), or -1. */
static int
ball_radius(Node *ball)
{
	Const *radius;

	if (IsA(ball, Const))
		return ((Const *) ball)->constisnull
				   ? -1
				   : DatumGetHashBallP(((Const *) ball)->constvalue)->radius;
	if (!IsA(ball, FuncExpr) || list_length(((FuncExpr *) ball)->args) != 2 ||
		!IsA(lsecond(((FuncExpr *) ball)->args), Const))
		return -1;
	radius = lsecond(((FuncExpr *) ball)->args);
	if (radius->consttype != INT4OID || radius->constisnull)
		return -1;
	return Max(DatumGetInt32(radius->constvalue), 0);
}

/* The smallest known radius among the index conditions, or -1. */
static int
smallest_radius(IndexPath *path)
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
			int r = IsA(qual, OpExpr) && list_length(((OpExpr *) qual)->args) == 2
						? ball_radius(lsecond(((OpExpr *) qual)->args))
						: -1;

			if (r >= 0)
				radius = radius < 0 ? r : Min(radius, r);
		}
	}
	return radius;
}

/*
 * Rows that an ordered scan must yield before the query has what it wants: all
 * that match where there is no LIMIT.  A filter above makes it go on for longer.
 */
static double
rows_wanted(PlannerInfo *root, IndexPath *path, double matching)
{
	double kept = Min(path->indexinfo->rel->rows / matching, 1);

	if (root->limit_tuples <= 0)
		return matching;
	return Min(matching, root->limit_tuples / Max(kept, 1e-9));
}

/* Pages of the table that so many rows, in no order of theirs, lie on. */
static double
heap_pages(IndexPath *path, const Shape *shape, double rows)
{
	return index_pages_fetched(ceil(rows * shape->loops), path->indexinfo->rel->pages,
							   shape->pages, shape->root) /
		   shape->loops;
}

/*
 * The planner takes the price of the rows up to a LIMIT for their share of all
 * rows' price.  But the first rows find nearly a page of the table each, the
 * last ones pages read before.  What that makes for rows which a filter throws
 * away comes here on top, or a filter of few rows would seem to cost nothing.  At
 * the price of pages read in sequence, because plans that compete for such a
 * query, bitmap scans, pay about that: see bench/plan.sql.
 */
static double
thrown_away_cost(IndexPath *path, const Shape *shape, double wanted, double matching)
{
	double kept = Min(Max(shape->root->limit_tuples, 0), wanted);
	double pages, seq_cost;

	if (wanted >= matching || kept >= wanted)
		return 0;
	pages = heap_pages(path, shape, wanted) - heap_pages(path, shape, kept) -
			(wanted - kept) / matching * heap_pages(path, shape, matching);
	get_tablespace_page_costs(path->indexinfo->rel->reltablespace, NULL, &seq_cost);
	return Max(0, pages) * seq_cost;
}

/* Costs of a scan in order of distance, to its first row or LIMIT and to its end. */
static void
price_ordered(PlannerInfo *root, IndexPath *path, const Shape *shape, double matching,
			  Cost *startup, Cost *total)
{
	int ball = smallest_radius(path);
	int reach = ball < 0 ? shape->meta.nbits : Min(ball, shape->meta.nbits);
	double wanted = rows_wanted(root, path, matching);
	double first = wanted < matching ? wanted : 1;

	/* A LIMIT's rows are looked for as one; nobody knows how many a cursor takes. */
	*startup =
		ordered_cost(shape,
					 Min(reach, mih_expected_radius(&shape->meta, shape->entries, first)),
					 first, ball >= 0) +
		thrown_away_cost(path, shape, wanted, matching);
	*total = Max(*startup, ordered_cost(shape, reach, matching, ball >= 0)) +
			 matching * (cpu_index_tuple_cost + ROW_COST * cpu_operator_cost) +
			 matching * 2 * cpu_operator_cost * log2(Max(matching, 2));
}

void
mihcostestimate(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup,
				Cost *total, Selectivity *selectivity, double *correlation, double *pages)
{
	GenericCosts generic = {0};
	Shape shape;
	double matching, entering;

	genericcostestimate(root, path, loop_count, &generic);
	*selectivity = generic.indexSelectivity;
	*correlation = 0;
	*pages = generic.numIndexPages;
	if (path->path.pathtype == T_IndexOnlyScan)
	{
		/*
		 * A query that needs no column at all is offered as an index-only scan,
		 * which would trust the visibility map for TIDs read earlier (see
		 * README.md): never.  Not infinity, which the planner would subtract
		 * from itself.
		 */
		*startup = *total = NEVER_COST;
		return;
	}
	read_shape(root, path->indexinfo, loop_count, &shape);
	matching = Max(1, generic.numIndexTuples);
	if (path->indexorderbys != NIL)
		price_ordered(root, path, &shape, matching, startup, total);
	else
	{
		int radius = smallest_radius(path);

		if (radius < 0)
			radius = path->indexclauses
						 ? mih_expected_radius(&shape.meta, shape.entries, matching)
						 : shape.meta.nbits;
		*startup = ball_cost(&shape, Min(radius, shape.meta.nbits));
		*total = *startup + matching * cpu_index_tuple_cost;
	}
	/* Metapage, and what the backend remembers of each part. */
	entering = (1 + shape.parts) * PAGE_COST * cpu_operator_cost;
	*startup += entering;
	*total += entering;
	*pages = shape.pass_pages;
}
