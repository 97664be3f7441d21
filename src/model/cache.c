/*
 * cache.c
 *	  Files named by sha256 from which the engine maps models.  Sessions write them,
 *	  from the catalogue, when the engine asks for one it does not find; so the
 *	  engine needs no access to the database, and the cache can be lost at any time.
 */
#include "model/model.h"

#include <fcntl.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"

#include "encoder/encoder.h"

struct CacheWriter
{
	int fd; /* transient file: closed at the latest when the transaction ends */
	char path[MAXPGPATH];
	compat_sha256 *hash;
};

static void
cache_path(const uint8 *sha256, char *path)
{
	char *out = path + snprintf(path, MAXPGPATH, "%s/", DEEPHASH_RUN_DIR);

	for (int i = 0; i < DEEPHASH_SHA256_BYTES; i++)
		out += snprintf(out, 3, "%02x", sha256[i]);
	strcpy(out, DEEPHASH_MODEL_SUFFIX);
}

CacheWriter *
cache_begin(void)
{
	static uint32 serial = 0;
	CacheWriter *writer = palloc0(sizeof(*writer));

	rundir_make();
	snprintf(writer->path, sizeof(writer->path), "%s/%d.%u.tmp", DEEPHASH_RUN_DIR,
			 MyProcPid, ++serial);
	writer->hash = compat_sha256_begin();
	writer->fd = OpenTransientFilePerm(
		writer->path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | PG_BINARY,
		S_IRUSR | S_IWUSR);
	if (writer->fd < 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not create file \"%s\": %m", writer->path)));
	return writer;
}

void
cache_write(CacheWriter *writer, const void *data, size_t size)
{
	const char *from = data;

	compat_sha256_update(writer->hash, data, size);
	while (size > 0)
	{
		ssize_t n;

		errno = 0;
		n = write(writer->fd, from, size);
		if (n <= 0)
		{
			/* Like the server: no error number means a full disk. */
			if (errno == 0)
				errno = ENOSPC;
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not write file \"%s\": %m", writer->path)));
		}
		from += n;
		size -= n;
	}
}

void
cache_digest(CacheWriter *writer, uint8 *sha256)
{
	int fd = writer->fd;

	compat_sha256_finish(writer->hash, sha256);
	writer->hash = NULL;
	writer->fd = -1;
	if (CloseTransientFile(fd) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not close file \"%s\": %m", writer->path)));
}

/* No fsync: a file that a crash tore is thrown away when the supervisor starts. */
void
cache_publish(CacheWriter *writer, const uint8 *sha256)
{
	char path[MAXPGPATH];

	cache_path(sha256, path);
	if (rename(writer->path, path) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not rename file \"%s\" to \"%s\": %m", writer->path,
							   path)));
}

void
cache_abandon(CacheWriter *writer)
{
	if (writer->fd >= 0)
		CloseTransientFile(writer->fd);
	writer->fd = -1;
	unlink(writer->path);
}

/* Another database may have the same model: its next use writes the file again. */
void
cache_remove(const uint8 *sha256)
{
	char path[MAXPGPATH];

	cache_path(sha256, path);
	unlink(path);
}

int
cache_open(const uint8 *sha256)
{
	char path[MAXPGPATH];
	int fd;

	cache_path(sha256, path);
	fd = OpenTransientFile(path, O_RDONLY | O_NOFOLLOW | PG_BINARY);
	if (fd < 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not open file \"%s\": %m", path)));
	return fd;
}
