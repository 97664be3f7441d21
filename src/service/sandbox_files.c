/*
 * sandbox_files.c
 *	  Which files the engine may open: those of the cache and, beside a GPU, what its
 *	  driver opens while it works.  By Landlock (Linux 5.13 and later).
 *
 * Landlock binds the calling thread and those that it starts.  Threads that a driver has
 * started before are bound too where the kernel can do that (Linux 7.0).
 */
#include "service/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What <linux/landlock.h> says, of which machines may have an old one, or none. */
#define CREATE_RULESET 444
#define ADD_RULE 445
#define RESTRICT_SELF 446
#define RULE_PATH_BENEATH 1
#define QUERY_VERSION 1u
#define ALL_THREADS (1u << 3)
#define WRITE_FILE (UINT64_C(1) << 1)
#define READ_FILE (UINT64_C(1) << 2)
#define READ_DIR (UINT64_C(1) << 3)
#define IOCTL_DEV (UINT64_C(1) << 15)

struct path_rule
{
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

/* All rights that a version of Landlock can take away. */
static uint64_t
rights_of(long version)
{
	uint64_t rights = (UINT64_C(1) << 13) - 1; /* to execute, read, write, remove, make */

	if (version >= 2)
		rights |= UINT64_C(1) << 13; /* to link or rename across folders */
	if (version >= 3)
		rights |= UINT64_C(1) << 14; /* to truncate */
	if (version >= 5)
		rights |= IOCTL_DEV;
	return rights;
}

typedef struct Ruleset
{
	int fd;
	uint64_t handled;
} Ruleset;

/* A path that is not there needs no rule. */
static bool
allow(const Ruleset *rules, const char *path, uint64_t rights)
{
	struct path_rule rule = {.allowed = rights & rules->handled};
	struct stat st;
	bool good;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return errno == ENOENT || errno == EACCES || errno == ENOTDIR;
	if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed &= ~READ_DIR;
	good = syscall(ADD_RULE, rules->fd, RULE_PATH_BENEATH, &rule, 0) == 0;
	close(rule.parent_fd);
	return good;
}

/* The folder of a library in use: a driver opens more of them when it needs them. */
static int
allow_library(struct dl_phdr_info *library, size_t size, void *arg)
{
	const Ruleset *rules = arg;
	char path[4096];
	char *slash;

	(void) size;
	if (realpath(library->dlpi_name, path) == NULL ||
		(slash = strrchr(path, '/')) == NULL)
		return 0;
	*slash = '\0';
	return !allow(rules, path, READ_FILE);
}

/*
 * The driver gives the threads that it starts a name, by a file in proc, and takes a
 * refusal for an error of the system (304).  A rule is for an inode, of which proc makes
 * a new one when it has forgotten a folder: this one stays open, so that it does not.
 */
static bool
allow_thread_names(const Ruleset *rules)
{
	static const char tasks[] = "/proc/self/task";
	static int kept = -1;

	if (kept < 0)
		kept = open(tasks, O_PATH | O_CLOEXEC);
	return allow(rules, tasks, READ_FILE | WRITE_FILE | READ_DIR);
}

static bool
allow_driver(Ruleset *rules)
{
	static const char *const readable[] = {"/proc", "/sys", "/etc/ld.so.cache",
										   "/dev/urandom"};
	glob_t devices = {0};
	bool good = true;

	for (size_t i = 0; i < sizeof(readable) / sizeof(readable[0]); i++)
		good &= allow(rules, readable[i], READ_FILE | READ_DIR);
	if (glob("/dev/nvidia*", 0, NULL, &devices) == 0)
	{
		for (size_t i = 0; i < devices.gl_pathc; i++)
			good &= allow(rules, devices.gl_pathv[i],
						  READ_FILE | WRITE_FILE | READ_DIR | IOCTL_DEV);
		globfree(&devices);
	}
	return good && allow(rules, "/dev/null", READ_FILE | WRITE_FILE) &&
		   allow_thread_names(rules) && dl_iterate_phdr(allow_library, rules) == 0;
}

bool
sandbox_files(const char *cache_dir, bool gpu, Failure *failure)
{
	long version = syscall(CREATE_RULESET, NULL, 0, QUERY_VERSION);
	Ruleset rules = {.handled = rights_of(version)};
	bool good;

	if (version < 1)
		return refuse(failure, DEEPHASH_BAD_REQUEST,
					  "files are open to it, as this kernel has no Landlock");
	rules.fd = (int) syscall(CREATE_RULESET, &rules.handled, sizeof(rules.handled), 0);
	good = rules.fd >= 0 && allow(&rules, cache_dir, READ_FILE | READ_DIR) &&
		   (!gpu || allow_driver(&rules)) &&
		   syscall(RESTRICT_SELF, rules.fd, version >= 8 ? ALL_THREADS : 0) == 0;
	if (!good)
		refuse(failure, DEEPHASH_BAD_REQUEST,
			   "files are open to it, as Landlock failed (%s)", strerror(errno));
	if (rules.fd >= 0)
		close(rules.fd);
	return good;
}
