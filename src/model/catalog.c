/*
 * catalog.c
 *	  Looking up models, and reading their bytes, whoever asks: using a model
 *	  needs no privilege on the tables, which hold what is worth protecting.
 */
#include "model/model.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Columns, as src/install/model.sql creates them. */
enum
{
	MODEL_NAME = 1,
	MODEL_SHA256,
	MODEL_BITS,
	MODEL_SIZE,
	MODEL_IS_DEFAULT
};
enum
{
	CHUNK_MODEL = 1,
	CHUNK_PART,
	CHUNK_DATA
};

Oid
model_schema(FunctionCallInfo fcinfo)
{
	return get_func_namespace(fcinfo->flinfo->fn_oid);
}

static Oid
relation_named(Oid schema, const char *name)
{
	Oid relation = get_relname_relid(name, schema);

	if (!OidIsValid(relation))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation \"%s\" of extension deephash is missing", name),
						errhint("Drop and create the extension.")));
	return relation;
}

static Datum
get_column(HeapTuple tuple, int column, TupleDesc desc)
{
	bool isnull;
	Datum value = heap_getattr(tuple, column, desc, &isnull);

	if (isnull)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the catalogue of models has a null where none can be")));
	return value;
}

static void
read_entry(HeapTuple tuple, TupleDesc desc, ModelEntry *entry)
{
	bytea *sha256 = DatumGetByteaPP(get_column(tuple, MODEL_SHA256, desc));

	if (VARSIZE_ANY_EXHDR(sha256) != DEEPHASH_SHA256_BYTES)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the catalogue of models has a sha256 of %d bytes",
							   (int) VARSIZE_ANY_EXHDR(sha256))));
	memcpy(entry->sha256, VARDATA_ANY(sha256), DEEPHASH_SHA256_BYTES);
	entry->name = *DatumGetName(get_column(tuple, MODEL_NAME, desc));
	entry->bits = DatumGetInt32(get_column(tuple, MODEL_BITS, desc));
	entry->size = DatumGetInt64(get_column(tuple, MODEL_SIZE, desc));
}

bool
model_lookup(Oid schema, const char *name, ModelEntry *entry)
{
	Relation table = table_open(relation_named(schema, MODEL_TABLE), AccessShareLock);
	Oid index = InvalidOid; /* there are few models: the default is looked for */
	NameData wanted;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	if (name)
	{
		/* A name too long to be one of ours finds nothing, truncated or not. */
		if (strlen(name) >= NAMEDATALEN)
			name = "";
		namestrcpy(&wanted, name);
		index = relation_named(schema, MODEL_TABLE "_pkey");
		ScanKeyInit(&key, MODEL_NAME, BTEqualStrategyNumber, F_NAMEEQ,
					NameGetDatum(&wanted));
	}
	else
		ScanKeyInit(&key, MODEL_IS_DEFAULT, BTEqualStrategyNumber, F_BOOLEQ,
					BoolGetDatum(true));
	scan = systable_beginscan(table, index, name != NULL, GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		read_entry(tuple, RelationGetDescr(table), entry);
		entry->schema = schema;
		found = true;
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return found;
}

void
model_find(Oid schema, const char *name, ModelEntry *entry)
{
	if (model_lookup(schema, name, entry))
		return;
	if (name)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("model \"%s\" is not loaded", name),
						errhint("The view deephash_models lists those that are; "
								"deephash_load_model loads one.")));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("there is no default model"),
			 errhint("Name a model, or choose one with deephash_default_model(name); "
					 "the first that deephash_load_model loads becomes the default.")));
}

/* Write the chunks of the model, in order. */
static void
copy_chunks(const ModelEntry *entry, CacheWriter *writer)
{
	Relation table =
		table_open(relation_named(entry->schema, MODEL_CHUNK_TABLE), AccessShareLock);
	Relation index = index_open(relation_named(entry->schema, MODEL_CHUNK_TABLE "_pkey"),
								AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, CHUNK_MODEL, BTEqualStrategyNumber, F_NAMEEQ,
				NameGetDatum(&entry->name));
	scan = systable_beginscan_ordered(table, index, GetActiveSnapshot(), 1, &key);
	while ((tuple = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
	{
		Datum value = get_column(tuple, CHUNK_DATA, RelationGetDescr(table));
		bytea *data = DatumGetByteaPP(value);

		CHECK_FOR_INTERRUPTS();
		cache_write(writer, VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data));
		if ((Pointer) data != DatumGetPointer(value))
			pfree(data);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(table, AccessShareLock);
}

void
model_fill_cache(const ModelEntry *entry)
{
	CacheWriter *writer = cache_begin();
	uint8 sha256[DEEPHASH_SHA256_BYTES];

	PG_TRY();
	{
		copy_chunks(entry, writer);
		cache_digest(writer, sha256);
		if (memcmp(sha256, entry->sha256, sizeof(sha256)) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("the stored bytes of model \"%s\" do not match its sha256",
							NameStr(entry->name)),
					 errhint("Drop the model and load it again from its file.")));
		cache_publish(writer, sha256);
	}
	PG_CATCH();
	{
		cache_abandon(writer);
		PG_RE_THROW();
	}
	PG_END_TRY();
}
