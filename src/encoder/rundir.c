/*
 * rundir.c
 *	  The folder in the data directory through which sessions, supervisor and
 *	  engine find each other without shared memory, so that all of it works
 *	  whether or not the library was preloaded.
 */
#include "encoder/encoder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/procarray.h"

#define LOCK_FILE DEEPHASH_RUN_DIR "/supervisor.lock"
#define STATE_FILE DEEPHASH_RUN_DIR "/state"
#define LEFTOVER_SECONDS 3600

static const char *const state_name[] = {"unknown", "starting", "running", "restarting",
										 "failed"};

const char *
rundir_state_name(EngineState state)
{
	return state_name[state];
}

void
rundir_make(void)
{
	if (mkdir(DEEPHASH_RUN_DIR, S_IRWXU) != 0 && errno != EEXIST)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", DEEPHASH_RUN_DIR)));
}

static int
open_lock_file(void)
{
	return open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
}

/*
 * Where the folder cannot be used no supervisor can tell anybody: say so instead of
 * waiting for one.
 */
void
rundir_check(void)
{
	int fd = access(DEEPHASH_RUN_DIR, R_OK | W_OK | X_OK) == 0 ? open_lock_file() : -1;

	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("cannot use directory \"%s\": %m", DEEPHASH_RUN_DIR),
				 errdetail("The encoder's socket and the models in use lie in it."),
				 errhint("It is in the data directory, and the user who runs the server "
						 "must be able to read and write it.")));
	close(fd);
}

static bool
ends_with(const char *name, const char *suffix)
{
	size_t a = strlen(name);
	size_t b = strlen(suffix);

	return a >= b && strcmp(name + a - b, suffix) == 0;
}

/* Is it the report of a session that has ended?  A crash of the server leaves such files,
 * and process numbers come again. */
static bool
is_stale_report(const char *name)
{
	return strncmp(name, DEEPHASH_PROGRESS, strlen(DEEPHASH_PROGRESS)) == 0 &&
		   BackendPidGetProc(atoi(name + strlen(DEEPHASH_PROGRESS))) == NULL;
}

/*
 * Remove cached models, which come back from their catalogues when wanted, and
 * what a crash left.  Recent temporary files may be a session's current work.
 */
void
rundir_clean(void)
{
	DIR *dir = AllocateDir(DEEPHASH_RUN_DIR);
	struct dirent *entry;

	while ((entry = ReadDirExtended(dir, DEEPHASH_RUN_DIR, LOG)) != NULL)
	{
		char path[MAXPGPATH];
		struct stat st;

		snprintf(path, sizeof(path), "%s/%s", DEEPHASH_RUN_DIR, entry->d_name);
		if (lstat(path, &st) != 0 || S_ISDIR(st.st_mode))
			continue;
		if (S_ISSOCK(st.st_mode) || is_stale_report(entry->d_name) ||
			ends_with(entry->d_name, DEEPHASH_MODEL_SUFFIX) ||
			(ends_with(entry->d_name, ".tmp") &&
			 st.st_mtime < time(NULL) - LEFTOVER_SECONDS))
			unlink(path);
	}
	FreeDir(dir);
}

/*
 * A POSIX record lock: it goes when its process does, however that ends, is not
 * inherited by the engine, and can be looked at without being taken.
 */
static struct flock
whole_file(void)
{
	struct flock lock;

	memset(&lock, 0, sizeof(lock));
	lock.l_type = F_WRLCK;
	lock.l_whence = SEEK_SET;
	return lock;
}

/* The descriptor stays open: closing it would give up the lock. */
bool
rundir_lock_supervisor(void)
{
	struct flock lock = whole_file();
	int fd = open_lock_file();

	if (fd < 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not open file \"%s\": %m", LOCK_FILE)));
	if (fcntl(fd, F_SETLK, &lock) == 0)
		return true;
	if (errno != EACCES && errno != EAGAIN)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not lock file \"%s\": %m", LOCK_FILE)));
	close(fd);
	return false;
}

int
rundir_supervisor_pid(void)
{
	struct flock lock = whole_file();
	int fd = open_lock_file();
	int pid = 0;

	if (fd < 0)
		return 0;
	if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
		pid = lock.l_pid;
	close(fd);
	return pid;
}

/*
 * One line: the supervisor's process number, the state's name and the reason.  Failing
 * to write it is no reason to stop, but what was true before must not stay.
 */
void
rundir_write_state(EngineState state, const char *reason)
{
	FILE *file = AllocateFile(STATE_FILE ".new", PG_BINARY_W);
	bool whole = file != NULL;

	if (whole)
	{
		fprintf(file, "%d %s %s\n", MyProcPid, state_name[state], reason);
		whole = FreeFile(file) == 0 && rename(STATE_FILE ".new", STATE_FILE) == 0;
	}
	if (!whole)
	{
		unlink(STATE_FILE);
		unlink(STATE_FILE ".new");
	}
}

/* What an earlier supervisor wrote, which may have been killed, tells nothing. */
EngineState
rundir_read_state(int supervisor, char *reason, size_t size)
{
	char line[1200] = "";
	FILE *file = AllocateFile(STATE_FILE, PG_BINARY_R);
	char *name, *space;

	reason[0] = '\0';
	if (file == NULL)
		return ENGINE_UNKNOWN;
	if (fgets(line, sizeof(line), file) == NULL)
		line[0] = '\0';
	FreeFile(file);
	line[strcspn(line, "\n")] = '\0';
	if (strtol(line, &name, 10) != supervisor || *name++ != ' ')
		return ENGINE_UNKNOWN;
	space = strchr(name, ' ');
	if (space == NULL)
		return ENGINE_UNKNOWN;
	*space = '\0';
	snprintf(reason, size, "%s", space + 1);
	for (int i = 0; i < (int) lengthof(state_name); i++)
	{
		if (strcmp(name, state_name[i]) == 0)
			return (EngineState) i;
	}
	return ENGINE_UNKNOWN;
}
