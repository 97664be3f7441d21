/*
 * columns.c
 *	  What triggers and procedures are given: the columns of a table that hold an image
 *	  and its code, and how a trigger was created.
 */
#include "encoder/encoder.h"

#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

int
encoder_find_column(Relation table, const char *name, Oid type, const char *purpose,
					const char *caller)
{
	TupleDesc desc = RelationGetDescr(table);
	int column = SPI_fnumber(desc, name);
	Oid found;

	if (column <= 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("%s: table \"%s\" has no column \"%s\"", caller,
							   RelationGetRelationName(table), name),
						errdetail("It was to be the %s column.", purpose)));
	found = getBaseType(SPI_gettypeid(desc, column));
	if (found != type)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("%s: column \"%s\" of table \"%s\" has type %s, not %s",
							   caller, name, RelationGetRelationName(table),
							   format_type_be(found), format_type_be(type)),
						errdetail("It is the %s column.", purpose)));
	return column;
}

void
encoder_refuse_generated(Relation table, int column, const char *purpose,
						 const char *caller)
{
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(table), column - 1);

	if (attribute->attgenerated == '\0')
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
			 errmsg("%s: column \"%s\" of table \"%s\" is generated", caller,
					NameStr(attribute->attname), RelationGetRelationName(table)),
			 errdetail("It cannot be the %s column: generated columns are computed "
					   "when BEFORE triggers are done, and nobody else writes them.",
					   purpose)));
}

void
encoder_check_update(int rc, Oid table, const char *caller)
{
	if (rc == SPI_OK_UPDATE)
		return;
	if (rc != SPI_OK_REWRITTEN)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s: a rule replaces every UPDATE of table \"%s\"", caller,
					get_rel_name(table)),
			 errdetail("Codes are written by UPDATE."),
			 errhint("Disable the rule (ALTER TABLE ... DISABLE RULE), or let the row "
					 "trigger deephash_encode_trigger write the codes.")));
}

void
encoder_check_length(Relation table, int column, const ModelEntry *model)
{
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(table), column - 1);
	int32 typmod = attribute->atttypmod;

	(void) getBaseTypeAndTypmod(attribute->atttypid, &typmod);
	if (typmod > 0 && typmod != model->bits)
		ereport(ERROR,
				(errcode(ERRCODE_STRING_DATA_LENGTH_MISMATCH),
				 errmsg("model \"%s\" makes codes of %d bits, but column \"%s\" of table "
						"\"%s\" holds %d bits",
						NameStr(model->name), model->bits, NameStr(attribute->attname),
						RelationGetRelationName(table), typmod),
				 errhint("Declare the column as hashcode(%d), or name another model.",
						 model->bits)));
}

const char *
encoder_image_of_row(HeapTuple row, TupleDesc desc, int nkeys, const AttrNumber *key)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, "image of the row with key (");
	for (int i = 0; i < nkeys; i++)
		appendStringInfo(&text, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(SPI_fname(desc, key[i])));
	appendStringInfoString(&text, ")=(");
	for (int i = 0; i < nkeys; i++)
	{
		const char *value = SPI_getvalue(row, desc, key[i]);

		appendStringInfo(&text, "%s%s", i > 0 ? ", " : "", value ? value : "null");
	}
	appendStringInfoChar(&text, ')');
	return text.data;
}

const TriggerData *
encoder_trigger_data(FunctionCallInfo fcinfo, const char *caller)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("%s can only be called as a trigger", caller)));
	return (const TriggerData *) fcinfo->context;
}

void
encoder_misused_trigger(const TriggerData *trigger, const char *caller, const char *wrong)
{
	ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
					errmsg("%s: trigger \"%s\" of table \"%s\" %s", caller,
						   trigger->tg_trigger->tgname,
						   RelationGetRelationName(trigger->tg_relation), wrong)));
	pg_unreachable();
}

void
encoder_check_trigger(const TriggerData *trigger, const char *caller)
{
	int arguments = trigger->tg_trigger->tgnargs;

	if (!TRIGGER_FIRED_BY_INSERT(trigger->tg_event) &&
		!TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		encoder_misused_trigger(trigger, caller, "must be fired by INSERT or UPDATE");
	if (arguments < 2 || arguments > 3)
		encoder_misused_trigger(
			trigger, caller,
			"takes two or three arguments: image column, code column [, model]");
}
