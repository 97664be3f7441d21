/*
 * mihstats.c
 *	  mih_stats(index): what an index holds.
 */
#include "mih/mih.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/*
 * Open an index, which must be of this access method; where owner is set, the
 * caller must own it, and where write is set, this must not be a standby.
 */
Relation
mih_open_index(Oid oid, LOCKMODE lockmode, bool owner, bool write)
{
	Relation index = relation_open(oid, lockmode);

	if (index->rd_rel->relkind != RELKIND_INDEX ||
		index->rd_rel->relam != get_index_am_oid("mih", false))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a mih index", RelationGetRelationName(index))));
	if (RELATION_IS_OTHER_TEMP(index))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot access temporary indexes of other sessions")));
	if (!index->rd_index->indisvalid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" is not valid", RelationGetRelationName(index)),
				 errhint("REINDEX or drop it.")));
	if (write && RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("recovery is in progress"), errhint("Run this on the primary.")));
	if (owner && !compat_relation_ownercheck(oid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX, RelationGetRelationName(index));
	return index;
}

static bool
is_list(const MihPart *part)
{
	return part->kind >= MIH_PART_PENDING && part->kind <= MIH_PART_SEALED_NULLS;
}

/* Entries in a list. */
static int64
list_entries(Relation index, const MihPart *part)
{
	MihCursor cursor;
	Buffer buf;
	int64 n = 0;

	mih_cursor_begin(&cursor, index, part, NULL, 0, BUFFER_LOCK_SHARE, NULL);
	while ((buf = mih_cursor_next(&cursor)) != InvalidBuffer)
	{
		n += MihTail(BufferGetPage(buf))->ntids;
		UnlockReleaseBuffer(buf);
	}
	return n;
}

PG_FUNCTION_INFO_V1(mih_stats);

Datum
mih_stats(PG_FUNCTION_ARGS)
{
	Relation index = mih_open_index(PG_GETARG_OID(0), AccessShareLock, false, false);
	BlockNumber npages = RelationGetNumberOfBlocks(index);
	Buffer metabuf;
	Buffer heads[MIH_MAX_PARTS];
	MihMeta meta;
	TupleDesc desc;
	Datum values[9];
	bool nulls[9] = {false};
	int64 rows = 0;
	int64 pending = 0;
	int64 nnulls = 0;
	int segments = 0;
	int chunks = 0;
	int dead = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	/* As a scan does: the pins keep lists that are flushed meanwhile from going. */
	metabuf = mih_read_meta(index, BUFFER_LOCK_SHARE);
	memcpy(&meta, MihPageGetMeta(BufferGetPage(metabuf)), sizeof(MihMeta));
	for (int i = 0; i < MIH_MAX_PARTS; i++)
		heads[i] = is_list(&meta.parts[i]) ? mih_pin_page(index, meta.parts[i].head, NULL)
										   : InvalidBuffer;
	UnlockReleaseBuffer(metabuf);
	for (int i = 0; i < MIH_MAX_PARTS; i++)
	{
		const MihPart *part = &meta.parts[i];

		switch (part->kind)
		{
			case MIH_PART_PENDING:
			case MIH_PART_SEALED:
				pending += list_entries(index, part);
				break;
			case MIH_PART_NULLS:
			case MIH_PART_SEALED_NULLS:
				nnulls += list_entries(index, part);
				break;
			case MIH_PART_SEGMENT:
				segments++;
				rows += part->nentries;
				chunks = Max(chunks, part->ntables);
				break;
			case MIH_PART_DEAD:
				dead++;
				break;
			default:
				break;
		}
	}
	for (int i = 0; i < MIH_MAX_PARTS; i++)
		if (BufferIsValid(heads[i]))
			ReleaseBuffer(heads[i]);
	rows += pending + nnulls;
	values[0] = Int32GetDatum(meta.nbits);
	values[1] = Int32GetDatum(segments);
	values[2] = Int32GetDatum(chunks);
	values[3] = Int64GetDatum(rows);
	values[4] = Int64GetDatum(pending);
	values[5] = Int64GetDatum(nnulls);
	values[6] = Int64GetDatum(npages);
	values[7] = Int32GetDatum(dead);
	values[8] = Float8GetDatum(rows > 0 ? (double) npages * BLCKSZ / rows : 0);
	nulls[8] = rows == 0;
	relation_close(index, AccessShareLock);
	PG_RETURN_DATUM(
		HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
