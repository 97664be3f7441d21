/*
 * mihcache.c
 *	  Segments that this backend has scanned: their roots, directories, and the
 *	  buffers in which their pages were seen.
 *
 * Root and directories of a segment never change and an id is never given out
 * twice, so nothing here grows stale: a segment is known by its file (which an
 * ALTER TABLE SET TABLESPACE that is rolled back makes two of), the random
 * identity in the metapage (another one whenever the file is filled anew), its
 * id and its head.  Memory is bounded: segments that no scan uses are dropped,
 * the least recently used first, once all together exceed work_mem.
 */
#include "mih/mih.h"

#include "access/xact.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "utils/memutils.h"

typedef struct CachedSegment
{
	dlist_node node; /* in cached */
	MemoryContext context;
	compat_file file;
	uint64 identity;
	BlockNumber head;
	int users; /* scans that use it */
	MihSegment *segment;
} CachedSegment;

/* Most recently used first. */
static dlist_head cached = DLIST_STATIC_INIT(cached);
static bool registered = false;

/* Drop segments that no scan uses until the rest fit work_mem. */
static void
trim(void)
{
	Size total = 0;
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &cached)
	{
		CachedSegment *entry = dlist_container(CachedSegment, node, iter.cur);

		total += MemoryContextMemAllocated(entry->context, true);
		if (total > (Size) work_mem * 1024 && entry->users == 0)
		{
			total -= MemoryContextMemAllocated(entry->context, true);
			dlist_delete(iter.cur);
			MemoryContextDelete(entry->context);
		}
	}
}

/* No scan outlives its transaction, but after an error it does not say goodbye. */
static void
at_end_of_transaction(XactEvent event, void *arg)
{
	dlist_iter iter;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE && event != XACT_EVENT_PARALLEL_COMMIT &&
		event != XACT_EVENT_PARALLEL_ABORT)
		return;
	dlist_foreach (iter, &cached)
		dlist_container(CachedSegment, node, iter.cur)->users = 0;
	trim();
}

/*
 * The segment behind a part, whose head the caller has pinned; identity is that
 * of the metapage.  It stays until mih_cache_close or the transaction's end.
 */
MihSegment *
mih_cache_open(Relation index, uint64 identity, const MihPart *part)
{
	CachedSegment *entry;
	MemoryContext context, old;
	dlist_iter iter;

	dlist_foreach (iter, &cached)
	{
		entry = dlist_container(CachedSegment, node, iter.cur);
		if (entry->segment->id == part->id && entry->identity == identity &&
			entry->head == part->head &&
			compat_same_file(entry->file, compat_relation_file(index)))
		{
			mih_check_range(index, entry->segment, part);
			dlist_move_head(&cached, iter.cur);
			entry->users++;
			return entry->segment;
		}
	}
	if (!registered)
	{
		RegisterXactCallback(at_end_of_transaction, NULL);
		registered = true;
	}
	/* It moves out of the caller's memory once nothing can fail any more. */
	context =
		AllocSetContextCreate(CurrentMemoryContext, "mih segment", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	entry = palloc0(sizeof(CachedSegment));
	entry->context = context;
	entry->file = compat_relation_file(index);
	entry->identity = identity;
	entry->head = part->head;
	entry->users = 1;
	entry->segment = mih_segment_open(index, part);
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, CacheMemoryContext);
	dlist_push_head(&cached, &entry->node);
	return entry->segment;
}

/* A scan needs the segment no more. */
void
mih_cache_close(MihSegment *segment)
{
	dlist_iter iter;

	dlist_foreach (iter, &cached)
	{
		CachedSegment *entry = dlist_container(CachedSegment, node, iter.cur);

		if (entry->segment == segment)
		{
			entry->users--;
			break;
		}
	}
	trim();
}
