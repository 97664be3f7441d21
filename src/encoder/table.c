/*
 * table.c
 *	  CALL deephash_encode_table(table, image column, code column, ...): codes for the
 *	  rows that have an image and no code.
 *
 * The rows' places are read once, by a cursor that outlives transactions.  Batch by
 * batch the images are fetched and encoded without any lock on their rows, and the
 * codes written and committed.  A row that changed meanwhile is no longer at its
 * place, is left alone, and looked for again at the end; so is one that somebody has
 * locked: who holds the rows of a batch and waits for another's may be waited for
 * himself.  Rows with a code are passed over, so a second CALL goes on where the first
 * was stopped.
 */
#include "encoder/encoder.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(deephash_encode_table);

#define CALLER "deephash_encode_table"

/* Bytes of images after which a batch has enough. */
#define BATCH_BYTES ((size_t) 32 << 20)
/* A NOTICE this often; the progress view every second. */
#define NOTICE_MS 10000
#define REPORT_MS 1000
/* How often rows that changed meanwhile are looked for, and the pause before each time.
 */
#define PASSES 3
#define PASS_PAUSE_MS 500

typedef enum BadImages
{
	BAD_SKIP, /* count them */
	BAD_WARN, /* and name each */
	BAD_STOP
} BadImages;

typedef struct Job
{
	ModelEntry model;
	const char *table; /* its name for SQL */
	int batch;
	BadImages bad;
	SPIPlanPtr count, places, image, update;
	int64 made;				/* rows */
	int64 refused, changed; /* rows, in this pass */
	EncodeProgress progress;
	TimestampTz noticed, reported;
	MemoryContext context; /* of the places that were fetched */
	MemoryContext batch_context;
} Job;

/* Where a row is. */
typedef struct Place
{
	Oid table;
	ItemPointerData tid;
} Place;

static SPIPlanPtr
prepare(const char *sql, int nargs, Oid *types)
{
	SPIPlanPtr plan = SPI_prepare(sql, nargs, types);

	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	return plan;
}

static void
prepare_plans(Job *job, const char *image, const char *code, Oid code_type)
{
	Oid place[2] = {OIDOID, TIDOID};
	Oid change[3] = {OIDOID, TIDOID, code_type};
	char *todo = psprintf("%s IS NULL AND %s IS NOT NULL", code, image);
	char *there =
		psprintf("tableoid OPERATOR(pg_catalog.=) $1 AND ctid OPERATOR(pg_catalog.=) $2 "
				 "AND %s",
				 todo);
	/*
	 * A version of the row that another transaction has just committed is at another
	 * place.  Releases before 15.15 (and those of its day) do not ask a scan by ctid =
	 * again for it, but its filters: else it would be given the code of its predecessor.
	 */
	char *still_there = psprintf("%s AND ctid OPERATOR(pg_catalog.>=) $2 AND ctid "
								 "OPERATOR(pg_catalog.<=) $2",
								 there);

	job->count =
		prepare(psprintf("SELECT pg_catalog.count(*) FROM %s WHERE %s", job->table, todo),
				0, NULL);
	job->places = prepare(
		psprintf("SELECT tableoid, ctid FROM %s WHERE %s", job->table, todo), 0, NULL);
	job->image = prepare(psprintf("SELECT %s FROM %s WHERE %s", image, job->table, there),
						 2, place);
	job->update = prepare(
		psprintf("UPDATE %s SET %s = $3 WHERE tableoid OPERATOR(pg_catalog.=) $1 AND "
				 "ctid OPERATOR(pg_catalog.=) (SELECT ctid FROM %s WHERE %s FOR NO KEY "
				 "UPDATE SKIP LOCKED)",
				 job->table, code, job->table, still_there),
		3, change);
}

static int
execute(SPIPlanPtr plan, const Place *place, Datum code)
{
	Datum value[3] = {ObjectIdGetDatum(place->table), PointerGetDatum(&place->tid), code};
	/* SPI leaves its own context behind, which lives as long as the CALL. */
	MemoryContext context = CurrentMemoryContext;
	int rc = SPI_execute_plan(plan, value, NULL, false, 0);

	MemoryContextSwitchTo(context);
	return rc;
}

/* ------------------------------------------------------------------- reports */

static const char *
length_of_time(double seconds)
{
	long s = (long) (seconds + 0.5);

	if (s < 120)
		return psprintf("%ld s", s);
	if (s < 7200)
		return psprintf("%ld min %ld s", s / 60, s % 60);
	return psprintf("%ld h %ld min", s / 3600, s / 60 % 60);
}

static void
report(Job *job)
{
	TimestampTz now = GetCurrentTimestamp();
	EncodeProgress *p = &job->progress;

	p->done = job->made + job->refused;
	p->refused = job->refused;
	if (now - job->reported > REPORT_MS * INT64CONST(1000))
	{
		progress_report(p);
		job->reported = now;
	}
	if (now - job->noticed > NOTICE_MS * INT64CONST(1000) && p->done > 0)
	{
		double seconds = (now - p->start) / 1e6;
		double rate = p->done / seconds;

		job->noticed = now;
		ereport(NOTICE, (errmsg("%s: " INT64_FORMAT " of " INT64_FORMAT
								" rows, %.1f rows/s, %s left",
								job->table, p->done, p->total, rate,
								length_of_time(Max(p->total - p->done, 0) / rate))));
	}
}

static void
report_end(const Job *job)
{
	double seconds = (GetCurrentTimestamp() - job->progress.start) / 1e6;

	ereport(NOTICE,
			(errmsg("%s: " INT64_FORMAT " codes made, " INT64_FORMAT
					" images refused, %s, %.1f rows/s",
					job->table, job->made, job->refused, length_of_time(seconds),
					(job->made + job->refused) / Max(seconds, 1e-6)),
			 job->changed > 0
				 ? errdetail(INT64_FORMAT " rows have no code yet: others hold or change "
										  "them, or a policy or trigger keeps them as "
										  "they are.",
							 job->changed)
				 : 0,
			 job->changed > 0 ? errhint("CALL it again for them.") : 0));
}

/* -------------------------------------------------------------------- batches */

static void
refused_image(Job *job, const Place *place, const EncoderReply *reply)
{
	job->refused++;
	if (job->bad == BAD_SKIP)
		return;
	ereport(job->bad == BAD_WARN ? WARNING : ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("cannot encode image of the row with ctid (%u,%u) of \"%s\": %s",
					ItemPointerGetBlockNumber(&place->tid),
					ItemPointerGetOffsetNumber(&place->tid), get_rel_name(place->table),
					reply->payload)));
}

/*
 * Encode and write the rows at places[0 .. n-1], or as many of them as make a batch;
 * how many that were.  The snapshot keeps VACUUM from giving a place to another row
 * between the reading of an image and the writing of its code.
 */
static int
run_batch(Job *job, const Place *places, int n)
{
	EncoderItem *item = palloc0(n * sizeof(EncoderItem));
	const Place **whose = palloc(n * sizeof(Place *));
	int nitems = 0, taken = 0;
	size_t bytes = 0;

	PushActiveSnapshot(GetTransactionSnapshot());
	while (taken < n && bytes < BATCH_BYTES)
	{
		const Place *place = &places[taken++];
		bool isnull;
		bytea *file;
		int rc;

		CHECK_FOR_INTERRUPTS();
		rc = execute(job->image, place, (Datum) 0);
		if (rc != SPI_OK_SELECT)
			elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
		if (SPI_processed == 0)
		{
			job->changed++;
			continue;
		}
		file = DatumGetByteaPCopy(
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		SPI_freetuptable(SPI_tuptable);
		item[nitems].payload = VARDATA(file);
		item[nitems].length = VARSIZE(file) - VARHDRSZ;
		bytes += item[nitems].length;
		whose[nitems++] = place;
	}
	encoder_encode_many(&job->model, 0, item, nitems);
	for (int i = 0; i < nitems; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (item[i].reply.status != DEEPHASH_OK)
		{
			refused_image(job, whose[i], &item[i].reply);
			continue;
		}
		encoder_check_update(execute(job->update, whose[i], encoder_code(&item[i].reply)),
							 job->progress.table, CALLER);
		if (SPI_processed == 1)
			job->made++;
		else
			job->changed++;
	}
	PopActiveSnapshot();
	return taken;
}

/* Rows fetched from a cursor, copied. */
static int
fetch_places(Job *job, Portal cursor, Place **places)
{
	int n;

	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_cursor_fetch(cursor, true, job->batch);
	PopActiveSnapshot();
	MemoryContextSwitchTo(job->context);
	n = (int) SPI_processed;
	*places = palloc(Max(n, 1) * sizeof(Place));
	for (int i = 0; i < n; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool isnull;

		(*places)[i].table = DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull));
		(*places)[i].tid =
			*(ItemPointer) DatumGetPointer(SPI_getbinval(row, desc, 2, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/*
 * In a transaction of its own, whose commands each see what others have committed: with
 * the snapshot of a whole transaction a row that somebody changed would be an ERROR.
 */
static void
next_transaction(void)
{
	SPI_commit();
	SPI_start_transaction();
	if (IsolationUsesXactSnapshot())
		(void) set_config_option("transaction_isolation", "read committed", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

/* Give those who have rows locked some time. */
static void
wait_for_others(void)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PASS_PAUSE_MS);
	long left;

	while ((left = (end - GetCurrentTimestamp()) / 1000) > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* All rows that have an image and no code as the pass begins. */
static void
run_pass(Job *job)
{
	Portal cursor;
	int n;

	/* Those refused in the pass before are refused again. */
	job->refused = job->changed = 0;
	PushActiveSnapshot(GetTransactionSnapshot());
	cursor = SPI_cursor_open(NULL, job->places, NULL, NULL, true);
	PopActiveSnapshot();
	/* A pinned cursor of a procedure is kept over commits, and dropped by an ERROR. */
	PinPortal(cursor);
	do
	{
		MemoryContext old = MemoryContextSwitchTo(job->context);
		Place *places;

		n = fetch_places(job, cursor, &places);
		for (int done = 0; done < n;)
		{
			/* Rows make several batches where images are large. */
			MemoryContextSwitchTo(job->batch_context);
			done += run_batch(job, places + done, n - done);
			report(job);
			next_transaction();
			MemoryContextSwitchTo(job->context);
			MemoryContextReset(job->batch_context);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(job->context);
	} while (n > 0);
	UnpinPortal(cursor);
	SPI_cursor_close(cursor);
}

static void
run_job(Job *job)
{
	bool isnull;
	bool whole = IsolationUsesXactSnapshot();

	if (whole)
		next_transaction();

	PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_execute_plan(job->count, NULL, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed");
	job->progress.total = DatumGetInt64(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	PopActiveSnapshot();
	job->progress.start = job->noticed = GetCurrentTimestamp();
	progress_report(&job->progress);
	run_pass(job);
	for (int pass = 1; pass < PASSES && job->changed > 0; pass++)
	{
		wait_for_others();
		run_pass(job);
	}
	report_end(job);
	/* What the caller does next has the isolation that he asked for. */
	if (whole)
	{
		SPI_commit();
		SPI_start_transaction();
	}
}

/* ------------------------------------------------------------------ procedure */

static BadImages
bad_images(const char *word)
{
	if (strcmp(word, "skip") == 0)
		return BAD_SKIP;
	if (strcmp(word, "warn") == 0)
		return BAD_WARN;
	if (strcmp(word, "stop") == 0)
		return BAD_STOP;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(CALLER ": bad_images is \"%s\"", word),
			 errhint("It can be \"skip\" (count them), \"warn\" (a WARNING for each) or "
					 "\"stop\" (an ERROR at the first).")));
}

static void
check_arguments(FunctionCallInfo fcinfo)
{
	static const char *const name[] = {"table", "image_column", "code_column"};

	if (!fcinfo->context || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(
			ERROR,
			(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
			 errmsg(CALLER " cannot run inside a transaction block"),
			 errdetail("It commits after each batch, so that nothing is lost when it is "
					   "stopped."),
			 errhint("CALL it on its own.")));
	for (int i = 0; i < (int) lengthof(name); i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg(CALLER ": %s must not be NULL", name[i])));
	}
	if (PG_ARGISNULL(4) || PG_GETARG_INT32(4) < 1 || PG_GETARG_INT32(4) > 100000)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg(CALLER ": batch must be from 1 to 100000")));
	if (PG_ARGISNULL(5))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg(CALLER ": bad_images must not be NULL")));
}

/* The table's name for SQL; its columns are checked. */
static void
describe_table(Job *job, Oid oid, const char *image, const char *code)
{
	Relation table = relation_open(oid, AccessShareLock);
	int column;

	if (table->rd_rel->relkind != RELKIND_RELATION &&
		table->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg(CALLER ": \"%s\" is not a table",
							   RelationGetRelationName(table))));
	(void) encoder_find_column(table, image, BYTEAOID, "image", CALLER);
	column = encoder_find_column(table, code, encoder_hashcode_type(job->model.schema),
								 "code", CALLER);
	encoder_refuse_generated(table, column, "code", CALLER);
	encoder_check_length(table, column, &job->model);
	job->table = quote_qualified_identifier(
		get_namespace_name(RelationGetNamespace(table)), RelationGetRelationName(table));
	job->progress.table = oid;
	relation_close(table, AccessShareLock);
}

/*
 * deephash_encode_table(table regclass, image_column name, code_column name,
 *     model text, batch int, bad_images text)
 */
Datum
deephash_encode_table(PG_FUNCTION_ARGS)
{
	Job job = {.made = 0};
	const char *image, *code;

	check_arguments(fcinfo);
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	model_find(model_schema(fcinfo),
			   PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3)),
			   &job.model);
	image = pstrdup(NameStr(*PG_GETARG_NAME(1)));
	code = pstrdup(NameStr(*PG_GETARG_NAME(2)));
	job.batch = PG_GETARG_INT32(4);
	job.bad = bad_images(text_to_cstring(PG_GETARG_TEXT_PP(5)));
	describe_table(&job, PG_GETARG_OID(0), image, code);
	memcpy(job.progress.model, NameStr(job.model.name), NAMEDATALEN);
	prepare_plans(&job, quote_identifier(image), quote_identifier(code),
				  encoder_hashcode_type(job.model.schema));
	job.context = AllocSetContextCreate(CurrentMemoryContext, "deephash places",
										ALLOCSET_DEFAULT_SIZES);
	job.batch_context = AllocSetContextCreate(CurrentMemoryContext, "deephash batch",
											  ALLOCSET_DEFAULT_SIZES);
	PG_TRY();
	{
		run_job(&job);
	}
	PG_FINALLY();
	{
		progress_end();
		SPI_freeplan(job.count);
		SPI_freeplan(job.places);
		SPI_freeplan(job.image);
		SPI_freeplan(job.update);
	}
	PG_END_TRY();
	SPI_finish();
	PG_RETURN_VOID();
}
