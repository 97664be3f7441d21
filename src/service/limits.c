/*
 * limits.c
 *	  What the process is held to, and what it may not leave behind.
 */
#include "service/sandbox.h"

#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>

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
