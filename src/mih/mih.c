/*
 * mih.c
 *	  Reloptions of the index access method mih, and its set-up.
 */
#include "mih/mih.h"

#include "access/reloptions.h"

#include "deephash.h"

static relopt_kind mih_relopt_kind;

void
mih_init(void)
{
	mih_relopt_kind = add_reloption_kind();
	add_int_reloption(mih_relopt_kind, "chunks",
					  "Number of chunks that codes are cut into; 0 chooses by size.", 0,
					  0, MIH_MAX_CHUNKS, AccessExclusiveLock);
	add_int_reloption(mih_relopt_kind, "pending_pages",
					  "Pages of unsorted inserts past which an inserter sorts them.",
					  MIH_DEFAULT_PENDING_PAGES, 1, 65536, ShareUpdateExclusiveLock);
}

bytea *
mihoptions(Datum reloptions, bool validate)
{
	static const relopt_parse_elt table[] = {
		{.optname = "chunks",
		 .opttype = RELOPT_TYPE_INT,
		 .offset = offsetof(MihOptions, chunks)},
		{.optname = "pending_pages",
		 .opttype = RELOPT_TYPE_INT,
		 .offset = offsetof(MihOptions, pending_pages)},
	};

	return (bytea *) build_reloptions(reloptions, validate, mih_relopt_kind,
									  sizeof(MihOptions), table, lengthof(table));
}

int
mih_pending_limit(Relation index)
{
	const MihOptions *options = (const MihOptions *) index->rd_options;

	return options ? options->pending_pages : MIH_DEFAULT_PENDING_PAGES;
}

/* Chunks that the owner asked for, 0 to choose. */
int
mih_chunks_option(Relation index)
{
	const MihOptions *options = (const MihOptions *) index->rd_options;

	return options ? options->chunks : 0;
}
