/*
 * mihspool.c
 *	  Spools: temporary files of codes and TIDs, written once in order of arrival
 *	  and read by whoever sorts them, as often as needed.
 *
 * A record is a code of nbytes bytes (0 in a spool of NULLs) and a TID.
 */
#include "mih/mih.h"

#include "miscadmin.h"

#define SPOOL_BUFFER (128 * 1024)

static inline void
copy_code(uint8 *to, const uint8 *from, int nbytes)
{
	if (nbytes == sizeof(uint64))
		memcpy(to, from, sizeof(uint64));
	else
		memcpy(to, from, nbytes);
}

/* Start to write to file, an empty one. */
void
mih_spool_begin(MihSpool *spool, BufFile *file)
{
	spool->file = file;
	spool->buffer = palloc(SPOOL_BUFFER);
	spool->used = 0;
	spool->n = 0;
}

static void
write_buffer(MihSpool *spool)
{
	if (spool->used > 0)
		BufFileWrite(spool->file, spool->buffer, spool->used);
	spool->used = 0;
}

void
mih_spool_put(MihSpool *spool, const uint8 *code, int nbytes, const ItemPointerData *tid)
{
	uint8 *at;

	if (spool->used + nbytes + (int) sizeof(ItemPointerData) > SPOOL_BUFFER)
		write_buffer(spool);
	at = spool->buffer + spool->used;
	if (nbytes > 0)
		copy_code(at, code, nbytes);
	memcpy(at + nbytes, tid, sizeof(ItemPointerData));
	spool->used += nbytes + sizeof(ItemPointerData);
	spool->n++;
}

/* All records are in: they can be read. */
void
mih_spool_finish(MihSpool *spool)
{
	write_buffer(spool);
	pfree(spool->buffer);
	spool->buffer = NULL;
}

/* Records of several files, one file after the other. */
typedef struct SpoolSource
{
	MihSource source;
	int nbytes;
	int nfiles;
	BufFile **files;
	uint64 *counts; /* records by file */
	int file;		/* the one being read */
	uint64 left;	/* records of it that were not read */
	uint8 *buffer;
	const uint8 *at; /* next record in buffer */
	uint32 ahead;	 /* records in buffer from there */
} SpoolSource;

static void
start_file(SpoolSource *s)
{
	if (s->file == s->nfiles)
		return;
	s->left = s->counts[s->file];
	if (BufFileSeek(s->files[s->file], 0, 0, SEEK_SET) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not rewind a temporary file: %m")));
}

static void
spool_rewind(MihSource *source)
{
	SpoolSource *s = (SpoolSource *) source;

	s->file = 0;
	s->ahead = 0;
	start_file(s);
}

static bool
fill_buffer(SpoolSource *s)
{
	int width = s->nbytes + sizeof(ItemPointerData);
	size_t want;

	CHECK_FOR_INTERRUPTS();
	while (s->file < s->nfiles && s->left == 0)
	{
		s->file++;
		start_file(s);
	}
	if (s->file == s->nfiles)
		return false;
	s->ahead = (uint32) Min(s->left, (uint64) (SPOOL_BUFFER / width));
	want = (size_t) s->ahead * width;
	if (BufFileRead(s->files[s->file], s->buffer, want) != want)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not read a temporary file: %m")));
	s->left -= s->ahead;
	s->at = s->buffer;
	return true;
}

static bool
spool_next(MihSource *source, uint8 *code, ItemPointer tid)
{
	SpoolSource *s = (SpoolSource *) source;

	if (s->ahead == 0 && !fill_buffer(s))
		return false;
	if (s->nbytes > 0)
		copy_code(code, s->at, s->nbytes);
	memcpy(tid, s->at + s->nbytes, sizeof(ItemPointerData));
	s->at += s->nbytes + sizeof(ItemPointerData);
	s->ahead--;
	return true;
}

/* What nfiles finished spools of codes of nbytes bytes hold, counts by file. */
MihSource *
mih_spool_source(BufFile *const *files, const uint64 *counts, int nfiles, int nbytes)
{
	SpoolSource *s = palloc0(sizeof(SpoolSource));

	s->source.rewind = spool_rewind;
	s->source.next = spool_next;
	s->nbytes = nbytes;
	s->nfiles = nfiles;
	s->files = palloc(sizeof(BufFile *) * nfiles);
	s->counts = palloc(sizeof(uint64) * nfiles);
	memcpy(s->files, files, sizeof(BufFile *) * nfiles);
	memcpy(s->counts, counts, sizeof(uint64) * nfiles);
	s->buffer = palloc(SPOOL_BUFFER);
	spool_rewind(&s->source);
	return &s->source;
}

/* Done with a source of spools: close its files. */
void
mih_spool_close(MihSource *source)
{
	SpoolSource *s = (SpoolSource *) source;

	for (int i = 0; i < s->nfiles; i++)
		BufFileClose(s->files[i]);
	pfree(s->files);
	pfree(s->counts);
	pfree(s->buffer);
	pfree(s);
}
