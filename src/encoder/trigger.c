/*
 * trigger.c
 *	  deephash_encode_trigger('image_column', 'code_column' [, 'model']): keeps a
 *	  code beside its image.
 */
#include "encoder/encoder.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "hashcode/hashcode.h"

PG_FUNCTION_INFO_V1(deephash_encode_trigger);

#define CALLER "deephash_encode_trigger"

static void
check_event(FunctionCallInfo fcinfo)
{
	const TriggerData *trigger = encoder_trigger_data(fcinfo, CALLER);

	if (!TRIGGER_FIRED_BEFORE(trigger->tg_event))
		encoder_misused_trigger(trigger, CALLER,
								"must be fired BEFORE, since it changes the row");
	if (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		encoder_misused_trigger(trigger, CALLER, "must be fired FOR EACH ROW");
	encoder_check_trigger(trigger, CALLER);
}

/*
 * Does the UPDATE leave the image as it is?  Values stored out of line that it
 * does not touch have the same pointer in both rows; others are compared.
 */
static bool
same_image(Datum new, Datum old)
{
	struct varlena *a = (struct varlena *) DatumGetPointer(new);
	struct varlena *b = (struct varlena *) DatumGetPointer(old);

	if (VARATT_IS_EXTERNAL_ONDISK(a) && VARATT_IS_EXTERNAL_ONDISK(b) &&
		memcmp(a, b, VARSIZE_EXTERNAL(a)) == 0)
		return true;
	return datum_image_eq(new, old, false, -1);
}

/*
 * Must the code be made?  Not in an UPDATE that leaves the image alone, unless
 * there is none: UPDATE ... SET code = NULL asks for codes to be made again.
 */
static bool
needs_code(const TriggerData *trigger, HeapTuple row, Datum image, int image_column,
		   int code_column)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	bool code_null, old_null;
	Datum old;

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		return true;
	(void) heap_getattr(row, code_column, desc, &code_null);
	old = heap_getattr(trigger->tg_trigtuple, image_column, desc, &old_null);
	return code_null || old_null || !same_image(image, old);
}

/* By its primary key, where the table has one: an INSERT may bring thousands. */
static const char *
image_of_row(Relation table, HeapTuple row)
{
	AttrNumber key[INDEX_MAX_KEYS];
	Relation index;
	int nkeys;

	list_free(RelationGetIndexList(table));
	if (!OidIsValid(table->rd_pkindex))
		return "image";
	index = relation_open(table->rd_pkindex, AccessShareLock);
	nkeys = IndexRelationGetNumberOfKeyAttributes(index);
	for (int i = 0; i < nkeys; i++)
		key[i] = index->rd_index->indkey.values[i];
	relation_close(index, AccessShareLock);
	return encoder_image_of_row(row, RelationGetDescr(table), nkeys, key);
}

/* True if there is a code; false for an image that was refused with a WARNING. */
static bool
encode_row(Relation table, HeapTuple row, const ModelEntry *model, Datum image,
		   Datum *code)
{
	bytea *file = DatumGetByteaPP(image);
	EncoderItem item = {.payload = VARDATA_ANY(file), .length = VARSIZE_ANY_EXHDR(file)};

	encoder_encode_many(model, 0, &item, 1);
	if (item.reply.status != DEEPHASH_OK &&
		!encoder_accept(&item.reply, image_of_row(table, row)))
		return false;
	*code = encoder_code(&item.reply);
	return true;
}

Datum
deephash_encode_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Oid schema = model_schema(fcinfo);
	Relation table;
	HeapTuple row;
	ModelEntry model;
	char **argument;
	int image_column, code_column;
	Datum image, code = (Datum) 0;
	Oid column_type;
	bool isnull;

	check_event(fcinfo);
	table = trigger->tg_relation;
	row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple
													 : trigger->tg_trigtuple;
	argument = trigger->tg_trigger->tgargs;
	image_column = encoder_find_column(table, argument[0], BYTEAOID, "image", CALLER);
	code_column = encoder_find_column(table, argument[1], encoder_hashcode_type(schema),
									  "code", CALLER);
	encoder_refuse_generated(table, image_column, "image", CALLER);
	encoder_refuse_generated(table, code_column, "code", CALLER);
	image = heap_getattr(row, image_column, RelationGetDescr(table), &isnull);
	if (!isnull && !needs_code(trigger, row, image, image_column, code_column))
		return PointerGetDatum(row);

	if (!isnull)
	{
		model_find(schema, trigger->tg_trigger->tgnargs == 3 ? argument[2] : NULL,
				   &model);
		encoder_check_length(table, code_column, &model);
		isnull = !encode_row(table, row, &model, image, &code);
	}
	/* A domain's constraints hold for what triggers write, too. */
	column_type = SPI_gettypeid(RelationGetDescr(table), code_column);
	if (get_typtype(column_type) == TYPTYPE_DOMAIN)
		domain_check(code, isnull, column_type, NULL, NULL);
	row = heap_modify_tuple_by_cols(row, RelationGetDescr(table), 1, &code_column, &code,
									&isnull);
	return PointerGetDatum(row);
}
