/*
 * load.c
 *	  Changing the catalogue: deephash_load_model, deephash_drop_model,
 *	  deephash_default_model(name).
 *
 * The install script takes EXECUTE on these from PUBLIC; whoever is given it
 * writes the tables through them, as their owner, and in no other way.
 */
#include "model/model.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "encoder/encoder.h"

PG_FUNCTION_INFO_V1(deephash_load_model_file);
PG_FUNCTION_INFO_V1(deephash_load_model_contents);
PG_FUNCTION_INFO_V1(deephash_drop_model);
PG_FUNCTION_INFO_V1(deephash_set_default_model);

/* ---------------------------------------------------- writing the catalogue */

typedef struct Edit
{
	char *table; /* qualified and quoted */
	char *chunks;
	Oid user;	  /* who called */
	int security; /* the caller's security context */
	int guc_level;
} Edit;

/*
 * Become the owner of the tables, with a search_path that nobody can set traps in,
 * and keep other writers away until the transaction ends.  An ERROR before
 * edit_end puts everything back, as for a SECURITY DEFINER function.
 */
static void
edit_begin(Edit *edit, Oid schema)
{
	const char *namespace = quote_identifier(get_namespace_name(schema));
	Oid relation = get_relname_relid(MODEL_TABLE, schema);
	Relation table;

	if (!OidIsValid(relation))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation \"%s\" of extension deephash is missing",
							   MODEL_TABLE)));
	edit->table = psprintf("%s." MODEL_TABLE, namespace);
	edit->chunks = psprintf("%s." MODEL_CHUNK_TABLE, namespace);
	table = table_open(relation, ShareRowExclusiveLock);
	GetUserIdAndSecContext(&edit->user, &edit->security);
	SetUserIdAndSecContext(table->rd_rel->relowner,
						   edit->security | SECURITY_LOCAL_USERID_CHANGE);
	table_close(table, NoLock);
	edit->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

static void
edit_end(Edit *edit)
{
	SPI_finish();
	AtEOXact_GUC(false, edit->guc_level);
	SetUserIdAndSecContext(edit->user, edit->security);
}

/* One command; the number of rows it wrote. */
static uint64
run(const char *command, int nargs, Oid *types, Datum *values)
{
	int rc = SPI_execute_with_args(command, nargs, types, values, NULL, false, 0);

	if (rc < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

static uint64
run_for(const char *command, const char *table, const NameData *name)
{
	Oid types[1] = {NAMEOID};
	Datum values[1] = {NameGetDatum(name)};
	char *text = psprintf(command, table);
	uint64 rows = run(text, 1, types, values);

	pfree(text);
	return rows;
}

/* The file's bytes, from the cache, as rows. */
static void
insert_chunks(const Edit *edit, const NameData *name, const uint8 *sha256)
{
	Oid types[3] = {NAMEOID, INT4OID, BYTEAOID};
	char *command =
		psprintf("INSERT INTO %s (model, part, data) VALUES ($1, $2, $3)", edit->chunks);
	SPIPlanPtr plan = SPI_prepare(command, 3, types);
	bytea *data = palloc(VARHDRSZ + MODEL_CHUNK_BYTES);
	int fd = cache_open(sha256);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	for (int part = 0;; part++)
	{
		size_t have = 0;
		ssize_t n;
		Datum values[3] = {NameGetDatum(name), Int32GetDatum(part),
						   PointerGetDatum(data)};

		CHECK_FOR_INTERRUPTS();
		while (have < MODEL_CHUNK_BYTES &&
			   (n = read(fd, VARDATA(data) + have, MODEL_CHUNK_BYTES - have)) != 0)
		{
			if (n < 0)
				ereport(ERROR, (errcode_for_file_access(),
								errmsg("could not read the cached model: %m")));
			have += n;
		}
		if (have == 0)
			break;
		SET_VARSIZE(data, VARHDRSZ + have);
		if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_INSERT)
			elog(ERROR, "could not insert a chunk of a model");
	}
	CloseTransientFile(fd);
	pfree(data);
}

static void
insert_model(const Edit *edit, const ModelEntry *model, Datum description,
			 bool is_default)
{
	Oid types[8] = {NAMEOID, BYTEAOID, INT4OID,		   INT8OID,
					BOOLOID, NAMEOID,  TIMESTAMPTZOID, JSONBOID};
	bytea *sha256 = palloc(VARHDRSZ + DEEPHASH_SHA256_BYTES);
	NameData loaded_by;
	Datum values[8];

	SET_VARSIZE(sha256, VARHDRSZ + DEEPHASH_SHA256_BYTES);
	memcpy(VARDATA(sha256), model->sha256, DEEPHASH_SHA256_BYTES);
	namestrcpy(&loaded_by, GetUserNameFromId(edit->user, false));
	values[0] = NameGetDatum(&model->name);
	values[1] = PointerGetDatum(sha256);
	values[2] = Int32GetDatum(model->bits);
	values[3] = Int64GetDatum(model->size);
	values[4] = BoolGetDatum(is_default);
	values[5] = NameGetDatum(&loaded_by);
	values[6] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	values[7] = description;
	run(psprintf("INSERT INTO %s (name, sha256, bits, size, is_default, loaded_by, "
				 "loaded_at, description) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
				 edit->table),
		8, types, values);
}

/* -------------------------------------------------------------------- loading */

/* Where the bytes come from: a file of the server, or a value. */
typedef struct Source
{
	const char *path; /* NULL: the value */
	int fd;
	const bytea *contents;
	size_t at;
} Source;

static void
open_file(Source *source, const char *path)
{
	struct stat st;

	if (!is_absolute_path(path))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("path of a model must be absolute: \"%s\"", path),
				 errdetail("The file is read by the server, on the server's machine.")));
	source->path = path;
	/* O_NONBLOCK: opening a pipe must not wait for a writer. */
	source->fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	if (source->fd < 0 || fstat(source->fd, &st) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not open file \"%s\" for reading: %m", path)));
	if (!S_ISREG(st.st_mode))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a regular file", path)));
}

static size_t
read_source(Source *source, char *buffer, size_t size)
{
	ssize_t n;

	if (source->path == NULL)
	{
		n = Min(size, VARSIZE_ANY_EXHDR(source->contents) - source->at);
		memcpy(buffer, VARDATA_ANY(source->contents) + source->at, n);
		source->at += n;
		return n;
	}
	n = read(source->fd, buffer, size);
	if (n < 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not read file \"%s\": %m", source->path)));
	return n;
}

/* Copy the source to the cache, once; its size and sha256 go to model. */
static void
source_to_cache(Source *source, ModelEntry *model)
{
	/* Before there is a file that an ERROR would leave behind. */
	char *buffer = palloc(MODEL_CHUNK_BYTES);
	CacheWriter *writer = cache_begin();
	const int64 most = (int64) encoder_device_memory << 20;
	size_t n;

	model->size = 0;
	PG_TRY();
	{
		while ((n = read_source(source, buffer, MODEL_CHUNK_BYTES)) > 0)
		{
			CHECK_FOR_INTERRUPTS();
			model->size += n;
			/* The engine would refuse it, but only when the disk is full of it. */
			if (model->size > most)
				ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
								errmsg("model \"%s\" is larger than "
									   "deephash.device_memory (%d MB)",
									   NameStr(model->name), encoder_device_memory)));
			cache_write(writer, buffer, n);
		}
		cache_digest(writer, model->sha256);
		cache_publish(writer, model->sha256);
	}
	PG_CATCH();
	{
		cache_abandon(writer);
		PG_RE_THROW();
	}
	PG_END_TRY();
	pfree(buffer);
	if (source->path)
		CloseTransientFile(source->fd);
}

/* Let the engine judge the cached file.  Its description of it, as jsonb. */
static Datum
check_with_engine(ModelEntry *model, const char *label)
{
	EncoderReply reply;
	char *text;

	encoder_call(DEEPHASH_CHECK_MODEL, model->sha256, 0, NULL, 0, &reply);
	if (reply.status != DEEPHASH_OK)
		encoder_raise(
			psprintf("cannot load model \"%s\" from %s", NameStr(model->name), label),
			&reply);
	model->bits = reply.bits;
	text = pg_any_to_server(reply.payload, (int) reply.length, PG_UTF8);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

static void
get_model_name(const char *text, NameData *name)
{
	if (text[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME), errmsg("name of a model is empty")));
	if (strlen(text) >= NAMEDATALEN)
		ereport(ERROR, (errcode(ERRCODE_NAME_TOO_LONG),
						errmsg("name of a model is too long: \"%s\"", text),
						errdetail("It may have %d bytes.", NAMEDATALEN - 1)));
	namestrcpy(name, text);
}

static bool
same_contents(const ModelEntry *a, const ModelEntry *b)
{
	return memcmp(a->sha256, b->sha256, DEEPHASH_SHA256_BYTES) == 0;
}

/* Refuse to change silently what stored codes mean.  True: nothing is left to do. */
static bool
already_loaded(const ModelEntry *new, const ModelEntry *old, bool replace)
{
	if (same_contents(new, old))
	{
		ereport(NOTICE,
				(errmsg("model \"%s\" is already loaded from the same file contents",
						NameStr(new->name))));
		return true;
	}
	if (!replace)
		ereport(
			ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("another model \"%s\" is already loaded", NameStr(new->name)),
			 errdetail("Codes that it made and that are stored would not compare with "
					   "those of the new one."),
			 errhint("Load the new one under another name; or say replace => true, and "
					 "encode all images again.")));
	return false;
}

/* Write what is in the cache into the catalogue, if that is wanted.  Its bits. */
static int
store_model(ModelEntry *model, const char *label, bool replace)
{
	const Oid schema = model->schema;
	const char *name = NameStr(model->name);
	ModelEntry old;
	Datum description;
	Edit edit;
	bool is_default, exists;

	if (model_lookup(schema, name, &old) && already_loaded(model, &old, replace))
		return old.bits;
	description = check_with_engine(model, label);

	edit_begin(&edit, schema);
	/* Look again, now that nobody else can change it. */
	PushActiveSnapshot(GetTransactionSnapshot());
	exists = model_lookup(schema, name, &old);
	PopActiveSnapshot();
	if (exists && already_loaded(model, &old, replace))
	{
		edit_end(&edit);
		return old.bits;
	}
	/* The first model becomes the default, a replaced one stays what it was. */
	if (exists)
		is_default = run_for("SELECT 1 FROM %s WHERE is_default AND name = $1",
							 edit.table, &model->name) == 1;
	else
		is_default =
			run_for("SELECT 1 FROM %s WHERE name <> $1", edit.table, &model->name) == 0;
	run_for("DELETE FROM %s WHERE model = $1", edit.chunks, &model->name);
	run_for("DELETE FROM %s WHERE name = $1", edit.table, &model->name);
	insert_model(&edit, model, description, is_default);
	insert_chunks(&edit, &model->name, model->sha256);
	edit_end(&edit);
	if (exists)
		cache_remove(old.sha256);
	return model->bits;
}

static int
load_model(Oid schema, Source *source, const char *label, const char *name, bool replace)
{
	ModelEntry model = {.schema = schema};
	int bits = 0;

	PreventCommandIfReadOnly("deephash_load_model()");
	get_model_name(name, &model.name);
	/* Starting the engine clears the cache, so that has to come first. */
	encoder_ping();
	source_to_cache(source, &model);
	PG_TRY();
	{
		bits = store_model(&model, label, replace);
	}
	PG_CATCH();
	{
		/* Refused files must not pile up. */
		cache_remove(model.sha256);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return bits;
}

static void
check_arguments(FunctionCallInfo fcinfo)
{
	static const char *const argument[] = {"name", "path or contents", "replace"};

	for (int i = 0; i < 3; i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("deephash_load_model: %s is null", argument[i])));
	}
}

/*
 * deephash_load_model(name text, path text, replace boolean): load a model from a
 * file of the server.  Returns its code length in bits.
 */
Datum
deephash_load_model_file(PG_FUNCTION_ARGS)
{
	Source source = {.fd = -1};
	char *path, *name;

	check_arguments(fcinfo);
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	path = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to read a model from a file of the server"),
				 errdetail("Only superusers and members of pg_read_server_files may."),
				 errhint("Without that, pass the file's bytes: "
						 "deephash_load_model(name, contents => ...).")));
	open_file(&source, path);
	PG_RETURN_INT32(load_model(model_schema(fcinfo), &source, psprintf("\"%s\"", path),
							   name, PG_GETARG_BOOL(2)));
}

/*
 * deephash_load_model(name text, contents bytea, replace boolean): load a model whose
 * bytes the client sends.  Returns its code length in bits.
 */
Datum
deephash_load_model_contents(PG_FUNCTION_ARGS)
{
	Source source = {.fd = -1};
	char *name;

	check_arguments(fcinfo);
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	source.contents = PG_GETARG_BYTEA_PP(1);
	PG_RETURN_INT32(load_model(model_schema(fcinfo), &source, "the bytes given", name,
							   PG_GETARG_BOOL(2)));
}

/* ------------------------------------------------------ dropping, the default */

/* deephash_drop_model(name text) */
Datum
deephash_drop_model(PG_FUNCTION_ARGS)
{
	Oid schema = model_schema(fcinfo);
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ModelEntry model;
	Edit edit;

	PreventCommandIfReadOnly("deephash_drop_model()");
	model_find(schema, name, &model);
	edit_begin(&edit, schema);
	run_for("DELETE FROM %s WHERE model = $1", edit.chunks, &model.name);
	run_for("DELETE FROM %s WHERE name = $1", edit.table, &model.name);
	edit_end(&edit);
	cache_remove(model.sha256);
	PG_RETURN_VOID();
}

/* deephash_default_model(name text): what functions use that are given no model. */
Datum
deephash_set_default_model(PG_FUNCTION_ARGS)
{
	Oid schema = model_schema(fcinfo);
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ModelEntry model;
	Edit edit;

	PreventCommandIfReadOnly("deephash_default_model()");
	model_find(schema, name, &model);
	edit_begin(&edit, schema);
	run_for("UPDATE %s SET is_default = false WHERE is_default AND name <> $1",
			edit.table, &model.name);
	run_for("UPDATE %s SET is_default = true WHERE NOT is_default AND name = $1",
			edit.table, &model.name);
	edit_end(&edit);
	PG_RETURN_VOID();
}
