/*
 * statement.c
 *	  deephash_encode_statement_trigger('image_column', 'code_column' [, 'model']):
 *	  codes for all rows of an INSERT, COPY or UPDATE at once.
 *
 * A row trigger sees one row and must answer before it sees the next.  This one runs
 * after the statement, sends the images of its transition table many at a time, and
 * writes the codes with UPDATEs by primary key: each row is written twice, which pays
 * where encoding a picture costs more than writing a row.
 */
#include "encoder/encoder.h"

#include "access/relation.h"
#include "access/stratnum.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(deephash_encode_statement_trigger);

#define CALLER "deephash_encode_statement_trigger"

/* Rows of one turn, and the bytes of images after which it has enough. */
#define TURN_ROWS 256
#define TURN_BYTES ((size_t) 32 << 20)

typedef struct Job
{
	const TriggerData *trigger;
	Relation table;
	ModelEntry model;
	const char *image, *code; /* names of the columns, quoted */
	int nkeys;
	AttrNumber key[INDEX_MAX_KEYS];		/* columns of the primary key */
	const char *equals[INDEX_MAX_KEYS]; /* its operators, ready to be written */
	Oid type[INDEX_MAX_KEYS + 1];		/* code, then the keys: the UPDATE's arguments */
	SPIPlanPtr update;
	int64 not_written; /* rows */
} Job;

static void
check_event(FunctionCallInfo fcinfo)
{
	const TriggerData *trigger = encoder_trigger_data(fcinfo, CALLER);

	if (!TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		encoder_misused_trigger(trigger, CALLER,
								"must be fired AFTER and FOR EACH STATEMENT");
	encoder_check_trigger(trigger, CALLER);
	if (trigger->tg_trigger->tgnewtable == NULL)
		encoder_misused_trigger(trigger, CALLER, "needs REFERENCING NEW TABLE AS a name");
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) &&
		trigger->tg_trigger->tgoldtable == NULL)
		encoder_misused_trigger(trigger, CALLER,
								"needs REFERENCING OLD TABLE AS a name for UPDATE");
}

/* The equality of an index column, so that no search_path decides what = means. */
static const char *
equality(Relation index, int i)
{
	Oid op = get_opfamily_member(index->rd_opfamily[i], index->rd_opcintype[i],
								 index->rd_opcintype[i], BTEqualStrategyNumber);
	HeapTuple tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(op));
	Form_pg_operator form;
	const char *text;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "no equality operator for a column of index \"%s\"",
			 RelationGetRelationName(index));
	form = (Form_pg_operator) GETSTRUCT(tuple);
	text = psprintf("OPERATOR(%s.%s)",
					quote_identifier(get_namespace_name(form->oprnamespace)),
					NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return text;
}

static void
find_key(Job *job)
{
	Relation index;

	list_free(RelationGetIndexList(job->table));
	if (!OidIsValid(job->table->rd_pkindex))
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg(CALLER ": table \"%s\" has no primary key",
					RelationGetRelationName(job->table)),
			 errdetail("The codes are written by UPDATEs that find their rows by it."),
			 errhint("Add one, or use deephash_encode_trigger FOR EACH ROW.")));
	index = relation_open(job->table->rd_pkindex, AccessShareLock);
	job->nkeys = IndexRelationGetNumberOfKeyAttributes(index);
	for (int i = 0; i < job->nkeys; i++)
	{
		job->key[i] = index->rd_index->indkey.values[i];
		job->equals[i] = equality(index, i);
		job->type[i + 1] =
			TupleDescAttr(RelationGetDescr(job->table), job->key[i] - 1)->atttypid;
	}
	relation_close(index, AccessShareLock);
}

static const char *
key_name(const Job *job, int i)
{
	Form_pg_attribute column =
		TupleDescAttr(RelationGetDescr(job->table), job->key[i] - 1);

	return quote_identifier(NameStr(column->attname));
}

/* Rows whose code is to be made, or unmade: image first, then the key, then whether
 * there is no code yet. */
static char *
rows_query(const Job *job)
{
	const Trigger *trigger = job->trigger->tg_trigger;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT n.%s", job->image);
	for (int i = 0; i < job->nkeys; i++)
		appendStringInfo(&sql, ", n.%s", key_name(job, i));
	appendStringInfo(&sql, ", n.%s IS NULL FROM %s n", job->code,
					 quote_identifier(trigger->tgnewtable));
	if (TRIGGER_FIRED_BY_INSERT(job->trigger->tg_event))
	{
		appendStringInfo(&sql, " WHERE n.%s IS NOT NULL OR n.%s IS NOT NULL", job->image,
						 job->code);
		return sql.data;
	}
	appendStringInfo(&sql, " LEFT JOIN %s o ON ", quote_identifier(trigger->tgoldtable));
	for (int i = 0; i < job->nkeys; i++)
		appendStringInfo(&sql, "%sn.%s %s o.%s", i > 0 ? " AND " : "", key_name(job, i),
						 job->equals[i], key_name(job, i));
	/*
	 * Our own UPDATEs fire the trigger again: they leave images alone and, unless they
	 * are unmaking a code, codes that are not NULL, and so find nothing here.
	 */
	appendStringInfo(&sql,
					 " WHERE CASE WHEN n.%s IS NULL THEN n.%s IS NOT NULL ELSE n.%s IS "
					 "NULL OR (n.%s OPERATOR(pg_catalog.=) o.%s) IS NOT TRUE END",
					 job->image, job->code, job->code, job->image, job->image);
	return sql.data;
}

static SPIPlanPtr
prepare_update(Job *job)
{
	bool partitioned = job->table->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	StringInfoData sql;
	SPIPlanPtr plan;

	initStringInfo(&sql);
	/* Tables that inherit from this one may have rows with the same key. */
	appendStringInfo(
		&sql, "UPDATE %s%s SET %s = $1 WHERE ", partitioned ? "" : "ONLY ",
		quote_qualified_identifier(get_namespace_name(RelationGetNamespace(job->table)),
								   RelationGetRelationName(job->table)),
		job->code);
	for (int i = 0; i < job->nkeys; i++)
		appendStringInfo(&sql, "%s%s %s $%d", i > 0 ? " AND " : "", key_name(job, i),
						 job->equals[i], i + 2);
	plan = SPI_prepare(sql.data, job->nkeys + 1, job->type);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	return plan;
}

/* Rows of one turn. */
typedef struct Turn
{
	int n;
	SPITupleTable *table[TURN_ROWS]; /* one row each */
	bool no_image[TURN_ROWS];
	EncoderItem item[TURN_ROWS]; /* of those that have an image, one after another */
	int nitems;
} Turn;

/* Fetch one row after the other until there are enough of them. */
static void
gather(Portal rows, Turn *turn)
{
	MemoryContext context = CurrentMemoryContext;
	size_t bytes = 0;

	turn->n = turn->nitems = 0;
	while (turn->n < TURN_ROWS && bytes < TURN_BYTES)
	{
		bool isnull;
		Datum image;

		SPI_cursor_fetch(rows, true, 1);
		/* SPI leaves its own context behind, which lives as long as the statement. */
		MemoryContextSwitchTo(context);
		if (SPI_processed == 0)
			return;
		turn->table[turn->n] = SPI_tuptable;
		image = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		turn->no_image[turn->n++] = isnull;
		if (!isnull)
		{
			bytea *file = DatumGetByteaPP(image);
			EncoderItem *item = &turn->item[turn->nitems++];

			item->payload = VARDATA_ANY(file);
			item->length = VARSIZE_ANY_EXHDR(file);
			bytes += item->length;
		}
	}
}

/* The table that is being given a NULL: the trigger that this fires has nothing to make.
 */
static Oid unmaking = InvalidOid;

static int
run_update(Job *job, Datum *value, const char *nulls)
{
	MemoryContext context = CurrentMemoryContext;
	Oid outer = unmaking;
	int rc;

	unmaking = nulls[0] == 'n' ? RelationGetRelid(job->table) : InvalidOid;
	PG_TRY();
	{
		rc = SPI_execute_plan(job->update, value, nulls, false, 0);
	}
	PG_FINALLY();
	{
		unmaking = outer;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return rc;
}

/* Write the code, or a NULL, of one row. */
static void
write_code(Job *job, SPITupleTable *row, const EncoderReply *reply)
{
	Datum value[INDEX_MAX_KEYS + 1] = {0};
	char nulls[INDEX_MAX_KEYS + 1];
	int rc;

	memset(nulls, ' ', sizeof(nulls));
	if (reply)
		value[0] = encoder_code(reply);
	else
		nulls[0] = 'n';
	for (int i = 0; i < job->nkeys; i++)
	{
		bool isnull;

		value[i + 1] = SPI_getbinval(row->vals[0], row->tupdesc, i + 2, &isnull);
	}
	rc = run_update(job, value, nulls);
	encoder_check_update(rc, RelationGetRelid(job->table), CALLER);
	if (SPI_processed == 0)
		job->not_written++;
}

static bool
has_no_code(const Job *job, SPITupleTable *row)
{
	bool isnull;

	return DatumGetBool(
		SPI_getbinval(row->vals[0], row->tupdesc, job->nkeys + 2, &isnull));
}

/* A row of rows_query, whose key begins with its second column, in words. */
static const char *
image_of_row(const Job *job, SPITupleTable *row)
{
	AttrNumber key[INDEX_MAX_KEYS];

	for (int i = 0; i < job->nkeys; i++)
		key[i] = i + 2;
	return encoder_image_of_row(row->vals[0], row->tupdesc, job->nkeys, key);
}

static void
encode_turn(Job *job, Turn *turn)
{
	const EncoderItem *item = turn->item;

	encoder_encode_many(&job->model, 0, turn->item, turn->nitems);
	for (int i = 0; i < turn->n; i++)
	{
		const EncoderReply *reply = turn->no_image[i] ? NULL : &item++->reply;

		CHECK_FOR_INTERRUPTS();
		if (reply && reply->status != DEEPHASH_OK &&
			!encoder_accept(reply, image_of_row(job, turn->table[i])))
			reply = NULL;
		if (reply || !has_no_code(job, turn->table[i]))
			write_code(job, turn->table[i], reply);
		SPI_freetuptable(turn->table[i]);
	}
}

static void
encode_rows(Job *job)
{
	SPIPlanPtr plan = SPI_prepare(rows_query(job), 0, NULL);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "deephash turn",
												  ALLOCSET_DEFAULT_SIZES);
	Turn *turn = palloc(sizeof(*turn));
	Portal rows;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	rows = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	do
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		gather(rows, turn);
		encode_turn(job, turn);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	} while (turn->n > 0);
	SPI_cursor_close(rows);
}

Datum
deephash_encode_statement_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Job job = {.trigger = trigger};
	char **argument;
	int code;

	check_event(fcinfo);
	job.table = trigger->tg_relation;
	if (unmaking == RelationGetRelid(job.table))
		return PointerGetDatum(NULL);
	argument = trigger->tg_trigger->tgargs;
	model_find(model_schema(fcinfo),
			   trigger->tg_trigger->tgnargs == 3 ? argument[2] : NULL, &job.model);
	(void) encoder_find_column(job.table, argument[0], BYTEAOID, "image", CALLER);
	code = encoder_find_column(job.table, argument[1],
							   encoder_hashcode_type(job.model.schema), "code", CALLER);
	encoder_refuse_generated(job.table, code, "code", CALLER);
	encoder_check_length(job.table, code, &job.model);
	job.image = quote_identifier(argument[0]);
	job.code = quote_identifier(argument[1]);
	job.type[0] = encoder_hashcode_type(job.model.schema);
	find_key(&job);

	if (SPI_connect() != SPI_OK_CONNECT || SPI_register_trigger_data(trigger) < 0)
		elog(ERROR, "could not connect to SPI");
	job.update = prepare_update(&job);
	encode_rows(&job);
	if (job.not_written > 0)
		ereport(WARNING,
				(errmsg(CALLER ": " INT64_FORMAT " rows of table \"%s\" keep their codes "
							   "as they are",
						job.not_written, RelationGetRelationName(job.table)),
				 errdetail("An UPDATE does not find them: a policy does not let it, or "
						   "other triggers have deleted or changed them.")));
	SPI_finish();
	return PointerGetDatum(NULL);
}
