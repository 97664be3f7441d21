/*
 * progress.c
 *	  How far bulk encodings are: a small file for each in the service's folder, read
 *	  by deephash_encode_progress, which the view deephash_progress spreads out.
 *
 * Without shared memory of our own, so that it works when the library was not loaded
 * with the server.
 */
#include "encoder/encoder.h"

#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/procarray.h"
#include "catalog/pg_authid.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "rows.h"

PG_FUNCTION_INFO_V1(deephash_encode_progress);

static void
file_name(char *path, int pid)
{
	snprintf(path, MAXPGPATH, DEEPHASH_RUN_DIR "/" DEEPHASH_PROGRESS "%d", pid);
}

static void
remove_own(int code, Datum arg)
{
	char path[MAXPGPATH];

	file_name(path, MyProcPid);
	unlink(path);
}

void
progress_end(void)
{
	remove_own(0, (Datum) 0);
}

/* A progress that cannot be written down is no reason to stop. */
void
progress_report(const EncodeProgress *progress)
{
	static bool registered = false;
	char path[MAXPGPATH];
	char fresh[MAXPGPATH];
	FILE *file;

	if (!registered)
	{
		before_shmem_exit(remove_own, (Datum) 0);
		registered = true;
	}
	rundir_make();
	file_name(path, MyProcPid);
	snprintf(fresh, sizeof(fresh), DEEPHASH_RUN_DIR "/%d.progress.tmp", MyProcPid);
	file = AllocateFile(fresh, PG_BINARY_W);
	if (file == NULL)
		return;
	fprintf(file,
			"%u %u %u " INT64_FORMAT " " INT64_FORMAT " " INT64_FORMAT " " INT64_FORMAT
			" %s\n",
			MyDatabaseId, GetUserId(), progress->table, progress->start, progress->total,
			progress->done, progress->refused, progress->model);
	if (FreeFile(file) != 0 || rename(fresh, path) != 0)
		unlink(fresh);
}

/* One line as progress_report wrote it; false if it is something else. */
static bool
read_report(const char *path, Oid *database, Oid *role, EncodeProgress *progress)
{
	char line[NAMEDATALEN + 200];
	FILE *file = AllocateFile(path, PG_BINARY_R);
	bool whole;
	int at = 0;

	if (file == NULL)
		return false;
	whole = fgets(line, sizeof(line), file) != NULL && strchr(line, '\n') != NULL;
	FreeFile(file);
	if (!whole)
		return false;
	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line,
			   "%u %u %u " INT64_FORMAT " " INT64_FORMAT " " INT64_FORMAT " " INT64_FORMAT
			   " %n",
			   database, role, &progress->table, &progress->start, &progress->total,
			   &progress->done, &progress->refused, &at) < 7 ||
		at == 0)
		return false;
	snprintf(progress->model, sizeof(progress->model), "%s", line + at);
	return true;
}

/*
 * deephash_encode_progress() returns table (pid, datid, relid, model, rows_total,
 * rows_done, refused, started).  Others' work is shown without its particulars, as
 * pg_stat_progress_... views do.
 */
Datum
deephash_encode_progress(PG_FUNCTION_ARGS)
{
	Rows rows = rows_begin(fcinfo);
	DIR *dir = AllocateDir(DEEPHASH_RUN_DIR);
	struct dirent *entry;

	while (dir && (entry = ReadDirExtended(dir, DEEPHASH_RUN_DIR, LOG)) != NULL)
	{
		EncodeProgress progress;
		Oid database, role;
		char path[MAXPGPATH];
		Datum value[8] = {0};
		bool isnull[8] = {false};
		int pid;

		if (strncmp(entry->d_name, DEEPHASH_PROGRESS, strlen(DEEPHASH_PROGRESS)) != 0)
			continue;
		pid = atoi(entry->d_name + strlen(DEEPHASH_PROGRESS));
		file_name(path, pid);
		if (BackendPidGetProc(pid) == NULL ||
			!read_report(path, &database, &role, &progress))
			continue;
		value[0] = Int32GetDatum(pid);
		value[1] = ObjectIdGetDatum(database);
		if (has_privs_of_role(GetUserId(), role) ||
			has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS))
		{
			value[2] = ObjectIdGetDatum(progress.table);
			value[3] = CStringGetTextDatum(progress.model);
			value[4] = Int64GetDatum(progress.total);
			value[5] = Int64GetDatum(progress.done);
			value[6] = Int64GetDatum(progress.refused);
			value[7] = TimestampTzGetDatum(progress.start);
		}
		else
			memset(isnull + 2, true, 6);
		tuplestore_putvalues(rows.store, rows.desc, value, isnull);
	}
	if (dir)
		FreeDir(dir);
	return (Datum) 0;
}
