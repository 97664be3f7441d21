/*
 * mihreport.c
 *	  What the scans of this session did: mih_scans() and mih_last_scan().
 */
#include "mih/mihscan.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "rows.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#define SCAN_COLUMNS 11

typedef struct IndexScans
{
	Oid index; /* hash key */
	int64 scans;
	MihScanStats sum; /* of all but radius, which is the greatest */
} IndexScans;

static MihScanStats last;
static HTAB *by_index;

static void
add(MihScanStats *sum, const MihScanStats *stats)
{
	sum->steps += stats->steps;
	sum->radius = Max(sum->radius, stats->radius);
	sum->list_pages += stats->list_pages;
	sum->walk_pages += stats->walk_pages;
	sum->pass_pages += stats->pass_pages;
	sum->passes += stats->passes;
	sum->candidates += stats->candidates;
	sum->results += stats->results;
	sum->dead += stats->dead;
}

/* A scan has come to its end, or goes on with another query. */
void
mih_report_scan(const MihScanStats *stats)
{
	IndexScans *entry;
	bool found;

	last = *stats;
	if (!by_index)
	{
		HASHCTL control = {.keysize = sizeof(Oid),
						   .entrysize = sizeof(IndexScans),
						   .hcxt = CacheMemoryContext};

		by_index =
			hash_create("mih scans", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(by_index, &stats->index, HASH_ENTER, &found);
	if (!found)
	{
		entry->scans = 0;
		memset(&entry->sum, 0, sizeof(MihScanStats));
	}
	entry->scans++;
	add(&entry->sum, stats);
}

static void
scan_values(Oid index, int64 scans, const MihScanStats *stats, Datum *values)
{
	values[0] = ObjectIdGetDatum(index);
	values[1] = Int64GetDatum(scans);
	values[2] = Int64GetDatum(stats->steps);
	values[3] = Int32GetDatum(stats->radius);
	values[4] = Int64GetDatum(stats->list_pages);
	values[5] = Int64GetDatum(stats->walk_pages);
	values[6] = Int64GetDatum(stats->passes);
	values[7] = Int64GetDatum(stats->pass_pages);
	values[8] = Int64GetDatum(stats->candidates);
	values[9] = Int64GetDatum(stats->results);
	values[10] = Int64GetDatum(stats->dead);
}

PG_FUNCTION_INFO_V1(mih_last_scan);

/* The last scan of this session that has ended; NULLs if there was none. */
Datum
mih_last_scan(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[SCAN_COLUMNS];
	bool nulls[SCAN_COLUMNS] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	scan_values(last.index, 1, &last, values);
	if (!OidIsValid(last.index))
		memset(nulls, true, sizeof(nulls));
	PG_RETURN_DATUM(
		HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(mih_scans);

/* Sums over the scans of this session, a row for each index. */
Datum
mih_scans(PG_FUNCTION_ARGS)
{
	Rows rows = rows_begin(fcinfo);
	HASH_SEQ_STATUS status;
	IndexScans *entry;

	if (by_index)
	{
		hash_seq_init(&status, by_index);
		while ((entry = hash_seq_search(&status)) != NULL)
		{
			Datum values[SCAN_COLUMNS];
			bool nulls[SCAN_COLUMNS] = {false};

			scan_values(entry->index, entry->scans, &entry->sum, values);
			tuplestore_putvalues(rows.store, rows.desc, values, nulls);
		}
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(mih_scans_reset);

/* Forget what the scans of this session did. */
Datum
mih_scans_reset(PG_FUNCTION_ARGS)
{
	if (by_index)
		hash_destroy(by_index);
	by_index = NULL;
	memset(&last, 0, sizeof(last));
	PG_RETURN_VOID();
}
