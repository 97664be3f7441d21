/*
 * kept.c
 *	  Statistics in a file that is mapped: they survive the engine however it ends, with
 *	  no work for it.  A crash of the machine may lose them; they are only counts.
 */
#include "service/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KEPT_FILE "stats"
#define KEPT_MAGIC UINT64_C(0x3130544154534844) /* "DHSTAT01" */

int64_t
wall_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t) t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void
kept_reset(Kept *kept)
{
	kept->since = wall_us();
	kept->restarts = 0;
	kept->encode_answers = 0;
	memset(kept->answers, 0, sizeof(kept->answers));
}

/* A regular file of ours, of the right size, all of it on disk; -1 and errno. */
static int
open_file(const char *cache_dir)
{
	char path[4096];
	struct stat st;
	int fd, error;

	if (snprintf(path, sizeof(path), "%s/%s", cache_dir, KEPT_FILE) >= (int) sizeof(path))
	{
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) != 0)
		error = errno;
	else if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		error = EPERM;
	else if (st.st_size != sizeof(Kept) &&
			 (ftruncate(fd, 0) != 0 || ftruncate(fd, sizeof(Kept)) != 0))
		error = errno;
	else
		/* A hole in it would be a SIGBUS when the disk is full. */
		error = posix_fallocate(fd, 0, sizeof(Kept));
	if (error == 0)
		return fd;
	close(fd);
	errno = error;
	return -1;
}

Kept *
kept_open(const char *cache_dir)
{
	int fd = open_file(cache_dir);
	Kept *kept = MAP_FAILED;

	if (fd >= 0)
	{
		kept = mmap(NULL, sizeof(*kept), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	if (kept == MAP_FAILED)
	{
		say('W', "statistics will end with this process: \"%s/%s\": %s", cache_dir,
			KEPT_FILE, strerror(errno));
		kept = mmap(NULL, sizeof(*kept), PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (kept == MAP_FAILED)
			return NULL;
	}
	if (kept->magic == KEPT_MAGIC && kept->bytes == sizeof(*kept))
	{
		kept->restarts++;
		return kept;
	}
	memset(kept, 0, sizeof(*kept));
	kept_reset(kept);
	kept->bytes = sizeof(*kept);
	kept->magic = KEPT_MAGIC;
	return kept;
}

void
kept_close(Kept *kept)
{
	munmap(kept, sizeof(*kept));
}
