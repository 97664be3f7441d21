/*
 * compat.h
 *	  PostgreSQL 13 to 18 behind one header.  Every file of the extension that
 *	  includes PostgreSQL includes this first; no other file tests the version.
 */
#ifndef DEEPHASH_COMPAT_H
#define DEEPHASH_COMPAT_H

#include "postgres.h"

#include "fmgr.h"

#if PG_VERSION_NUM < 130000
#error "deephash needs PostgreSQL 13 or later"
#endif

#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#include "varatt.h"
#else
/* Soft errors of input functions came with 16; before it every error is raised. */
#define ereturn(context, result, ...) ereport(ERROR, __VA_ARGS__)
#endif

#if PG_VERSION_NUM >= 140000
#define compat_is_pseudo_constant_for_index(root, expr, index)                           \
	is_pseudo_constant_for_index(root, expr, index)
#else
#define compat_is_pseudo_constant_for_index(root, expr, index)                           \
	is_pseudo_constant_for_index(expr, index)
#endif

#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

#if PG_VERSION_NUM >= 180000
#define compat_vacuum_delay_point() vacuum_delay_point(false)
#else
#define compat_vacuum_delay_point() vacuum_delay_point()
#endif

/* 14 gave the predefined roles their names. */
#if PG_VERSION_NUM < 140000
#define ROLE_PG_READ_ALL_STATS DEFAULT_ROLE_READ_ALL_STATS
#endif

/* 14 tells an index's insert whether the indexed value changed. */
#if PG_VERSION_NUM >= 140000
#define COMPAT_INDEX_UNCHANGED bool unchanged,
#else
#define COMPAT_INDEX_UNCHANGED
#endif

/* 16 has one function for the owner of any object. */
#if PG_VERSION_NUM >= 160000
#define compat_relation_ownercheck(relid, roleid)                                        \
	object_ownercheck(RelationRelationId, relid, roleid)
#else
#define compat_relation_ownercheck(relid, roleid) pg_class_ownercheck(relid, roleid)
#endif

/* For the length of the session.  17 gives wait event sets to resource owners. */
#if PG_VERSION_NUM >= 170000
#define compat_session_wait_event_set(events) CreateWaitEventSet(NULL, events)
#else
#define compat_session_wait_event_set(events) CreateWaitEventSet(TopMemoryContext, events)
#endif

/* What a relation's file is called; renamed with 16. */
#if PG_VERSION_NUM >= 160000
#include "storage/relfilelocator.h"

typedef RelFileLocator compat_file;
#define compat_relation_file(rel) ((rel)->rd_locator)
#define compat_same_file(a, b) RelFileLocatorEquals(a, b)
#else
#include "storage/relfilenode.h"

typedef RelFileNode compat_file;
#define compat_relation_file(rel) ((rel)->rd_node)
#define compat_same_file(a, b) RelFileNodeEquals(a, b)
#endif

/*
 * 14 can pin the buffer that held a block a while ago without a look-up; false if
 * it holds another one now.  (Not for temporary tables: their case had a bug.)
 */
#if PG_VERSION_NUM >= 140000
#define compat_read_recent(rel, block, buffer)                                           \
	(!RelationUsesLocalBuffers(rel) &&                                                   \
	 ReadRecentBuffer(compat_relation_file(rel), MAIN_FORKNUM, block, buffer))
#else
#define compat_read_recent(rel, block, buffer) false
#endif

/* 18 counts index searches where EXPLAIN finds them. */
#if PG_VERSION_NUM >= 180000
#define compat_count_search(scan)                                                        \
	do                                                                                   \
	{                                                                                    \
		if ((scan)->instrument)                                                          \
			(scan)->instrument->nsearches++;                                             \
	} while (0)
#else
#define compat_count_search(scan) ((void) 0)
#endif

/* SHA-256, whose interface changed with 14. */
#if PG_VERSION_NUM >= 140000
#include "common/cryptohash.h"

typedef pg_cryptohash_ctx compat_sha256;

static inline void
compat_sha256_check(int rc)
{
	if (rc < 0)
		elog(ERROR, "could not compute a SHA-256 hash");
}

static inline compat_sha256 *
compat_sha256_begin(void)
{
	compat_sha256 *hash = pg_cryptohash_create(PG_SHA256);

	compat_sha256_check(hash ? pg_cryptohash_init(hash) : -1);
	return hash;
}

static inline void
compat_sha256_update(compat_sha256 *hash, const void *data, size_t size)
{
	compat_sha256_check(pg_cryptohash_update(hash, data, size));
}

static inline void
compat_sha256_finish(compat_sha256 *hash, uint8 *digest)
{
	compat_sha256_check(pg_cryptohash_final(hash, digest, 32));
	pg_cryptohash_free(hash);
}
#else
#include "common/sha2.h"

#define ROLE_PG_READ_SERVER_FILES DEFAULT_ROLE_READ_SERVER_FILES

typedef pg_sha256_ctx compat_sha256;

static inline compat_sha256 *
compat_sha256_begin(void)
{
	compat_sha256 *hash = palloc(sizeof(*hash));

	pg_sha256_init(hash);
	return hash;
}

static inline void
compat_sha256_update(compat_sha256 *hash, const void *data, size_t size)
{
	pg_sha256_update(hash, data, size);
}

static inline void
compat_sha256_finish(compat_sha256 *hash, uint8 *digest)
{
	pg_sha256_final(hash, digest);
	pfree(hash);
}
#endif

/* Temporary files that several processes share; renamed with 15. */
#include "storage/buffile.h"
#include "storage/sharedfileset.h"

#if PG_VERSION_NUM >= 150000
#define compat_create_shared_file(set, name) BufFileCreateFileSet(&(set)->fs, name)
#define compat_open_shared_file(set, name)                                               \
	BufFileOpenFileSet(&(set)->fs, name, O_RDONLY, false)
#define compat_export_shared_file(file) BufFileExportFileSet(file)
#elif PG_VERSION_NUM >= 140000
#define compat_create_shared_file(set, name) BufFileCreateShared(set, name)
#define compat_open_shared_file(set, name) BufFileOpenShared(set, name, O_RDONLY)
#define compat_export_shared_file(file) BufFileExportShared(file)
#else
#define compat_create_shared_file(set, name) BufFileCreateShared(set, name)
#define compat_open_shared_file(set, name) BufFileOpenShared(set, name)
#define compat_export_shared_file(file) BufFileExportShared(file)
#endif

/*
 * How many workers a build may have.  17 asks the access method whether it can build
 * in parallel and plans for it; before it only B-trees are planned for.
 */
#if PG_VERSION_NUM >= 170000
#define compat_can_build_parallel(am) ((am)->amcanbuildparallel = true)
#define compat_build_workers(heap, index, info) ((info)->ii_ParallelWorkers)
#else
#include "optimizer/optimizer.h"

#define compat_can_build_parallel(am) ((void) 0)
#define compat_build_workers(heap, index, info)                                          \
	(IsNormalProcessingMode()                                                            \
		 ? plan_create_index_workers(RelationGetRelid(heap), RelationGetRelid(index))    \
		 : 0)
#endif

/* 18 has pg_noreturn instead, which goes before a declaration. */
#ifndef pg_attribute_noreturn
#define pg_attribute_noreturn() __attribute__((noreturn))
#endif

#endif
