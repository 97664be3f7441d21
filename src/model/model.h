/*
 * model.h
 *	  The catalogue of models: which are loaded in this database, and their files
 *	  in the server's cache.  See README.md.
 *
 *	catalog.c  look-up, and reading a model's bytes
 *	cache.c    files named by sha256 that the engine opens
 *	load.c     deephash_load_model, deephash_drop_model, deephash_default_model
 */
#ifndef MODEL_H
#define MODEL_H

#include "compat.h"
#include "service/protocol.h"

#define MODEL_TABLE "deephash_model"
#define MODEL_CHUNK_TABLE "deephash_model_chunk"
#define MODEL_CHUNK_BYTES (1024 * 1024)

typedef struct ModelEntry
{
	Oid schema; /* of the extension */
	NameData name;
	uint8 sha256[DEEPHASH_SHA256_BYTES];
	int bits;
	int64 size; /* bytes of the file */
} ModelEntry;

/* --------------------------------------------------------------- catalog.c */

/* The schema the extension lives in: that of the function being called. */
extern Oid model_schema(FunctionCallInfo fcinfo);

/* The model called name, or the default if name is NULL; false if there is none. */
extern bool model_lookup(Oid schema, const char *name, ModelEntry *entry);
/* The same, but there must be one. */
extern void model_find(Oid schema, const char *name, ModelEntry *entry);

/* Put the model's bytes from the catalogue into the cache. */
extern void model_fill_cache(const ModelEntry *entry);

/* ----------------------------------------------------------------- cache.c */

typedef struct CacheWriter CacheWriter;

extern CacheWriter *cache_begin(void);
extern void cache_write(CacheWriter *writer, const void *data, size_t size);
/* Done writing: the sha256 of what was written. */
extern void cache_digest(CacheWriter *writer, uint8 *sha256);
/* Give the file its name, made from its sha256. */
extern void cache_publish(CacheWriter *writer, const uint8 *sha256);
extern void cache_abandon(CacheWriter *writer);
extern void cache_remove(const uint8 *sha256);
/* For reading, to be closed with CloseTransientFile. */
extern int cache_open(const uint8 *sha256);

#endif
