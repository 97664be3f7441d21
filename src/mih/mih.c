/*
 * mih.c
 *	  Reloptions of the index access method mih, and its set-up.
 */
#include "mih/mih.h"

#include "access/reloptions.h"

#include "deephash.h"

static relopt_kind mih_relopt_kind;

static relopt_enum_elt_def layouts[] = {{"auto", MIH_LAYOUT_AUTO},
										{"chunks", MIH_LAYOUT_CHUNKS},
										{"references", MIH_LAYOUT_REFERENCES},
										{"packed", MIH_LAYOUT_PACKED},
										{NULL, 0}};

void
mih_init(void)
{
	mih_relopt_kind = add_reloption_kind();
	add_int_reloption(mih_relopt_kind, "chunks",
					  "Number of chunks that codes are cut into; 0 chooses by size.", 0,
					  0, MIH_MAX_CHUNKS, AccessExclusiveLock);
	add_enum_reloption(mih_relopt_kind, "layout", "What entries are ordered by.", layouts,
					   MIH_LAYOUT_AUTO,
					   "Valid values are \"auto\", \"chunks\", \"references\" and "
					   "\"packed\".",
					   AccessExclusiveLock);
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
		{.optname = "layout",
		 .opttype = RELOPT_TYPE_ENUM,
		 .offset = offsetof(MihOptions, layout)},
		{.optname = "pending_pages",
		 .opttype = RELOPT_TYPE_INT,
		 .offset = offsetof(MihOptions, pending_pages)},
	};

	MihOptions *options = build_reloptions(reloptions, validate, mih_relopt_kind,
										   sizeof(MihOptions), table, lengthof(table));

	if (validate && options && options->chunks > 1 &&
		(options->layout == MIH_LAYOUT_REFERENCES ||
		 options->layout == MIH_LAYOUT_PACKED))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a mih index of layout \"%s\" has one table, not %d",
						options->layout == MIH_LAYOUT_PACKED ? "packed" : "references",
						options->chunks),
				 errhint("Leave option \"chunks\" out, or choose layout \"chunks\".")));
	return (bytea *) options;
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

MihLayoutOption
mih_layout_option(Relation index)
{
	const MihOptions *options = (const MihOptions *) index->rd_options;

	return options ? (MihLayoutOption) options->layout : MIH_LAYOUT_AUTO;
}
