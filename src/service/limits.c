/*
 * limits.c
 *	  What the process is held to, and what it may not leave behind.
 */
#include "service/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

void
prepare_process(bool core_files)
{
	struct rlimit files;
	struct rlimit none = {0, 0};
	FILE *oom = fopen("/proc/self/oom_score_adj", "w");

	/*
	 * The server may be shielded from the out-of-memory killer; this process,
	 * which can be replaced at any time, is the one that should go.
	 */
	if (oom)
	{
		fputs("500\n", oom);
		fclose(oom);
	}
	/* As many clients as the system lets us have. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
	{
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* Image data of users has no business in a core file or another process. */
	if (!core_files)
		setrlimit(RLIMIT_CORE, &none);
}

int
memory_open(void)
{
	return open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
}

int64_t
memory_private(int statm)
{
	char text[200];
	ssize_t n = statm < 0 ? -1 : pread(statm, text, sizeof(text) - 1, 0);
	long long pages;

	if (n <= 0)
		return -1;
	text[n] = '\0';
	/* size resident shared text lib data */
	if (sscanf(text, "%*s %*s %*s %*s %*s %lld", &pages) != 1)
		return -1;
	return pages * sysconf(_SC_PAGESIZE);
}

/*
 * RLIMIT_DATA counts private memory that can be written, whoever asked for it: malloc,
 * threads' stacks, OpenBLAS.  RLIMIT_AS would count addresses, of which drivers and
 * sanitizers reserve more than any machine has memory.
 */
bool
memory_limit(int64_t bytes, Failure *failure)
{
	struct rlimit limit = {.rlim_cur = (rlim_t) bytes, .rlim_max = (rlim_t) bytes};

	if (setrlimit(RLIMIT_DATA, &limit) == 0)
		return true;
	return refuse(failure, DEEPHASH_BAD_REQUEST, "could not limit the memory: %s",
				  strerror(errno));
}
