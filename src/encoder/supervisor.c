/*
 * supervisor.c
 *	  The background worker that starts the engine, puts its words into the server's
 *	  log, and starts it again, with growing pauses, when it dies.
 *
 * It does nothing that could fail by what users send: image bytes never pass
 * through it.  That matters because it is attached to shared memory, and the
 * postmaster restarts every session when such a process crashes.
 */
#include "encoder/encoder.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* How long an engine that was asked to end may take. */
#define DRAIN_MS 12000
#define SHUTDOWN_MS 2000
/* An engine that served this long starts with a clean slate when it dies. */
#define STEADY_MS 10000
#define FIRST_PAUSE_MS 250
#define MAX_PAUSE_MS 60000
/* A process in the hands of a driver may not even die of SIGKILL. */
#define DYING_MS 5000
/* An engine that starts may load a driver first, whatever deephash.engine_timeout is. */
#define LEAST_START_MS 30000
/* A compromised engine may write without end.  So only so many reads are made at a time,
 * and only so many lines in so many milliseconds go into the server's log. */
#define READS_AT_ONCE 128
#define TALK_LINES 200
#define TALK_MS 10000

typedef struct Supervisor
{
	EngineProcess engine;
	char **command;		   /* of the running engine */
	struct stat program;   /* its file, as it was when the engine started */
	MemoryContext context; /* of the command; reset at each start */
	bool ready;			   /* the engine said that it serves */
	TimestampTz started_at;
	TimestampTz ready_at;
	TimestampTz start_at; /* when to start the next engine */
	int failures;		  /* in a row */
	TimestampTz killed;	  /* when a hung engine was sent SIGKILL; 0: it was not */
	char reason[1024];	  /* the engine's last words, "" if it left none */
	TimestampTz talk_since;
	int talk_lines; /* logged since then */
	int64 left_out; /* lines not logged since then */
} Supervisor;

static Supervisor self = {.engine = {.life = -1, .output = -1}};

/* ----------------------------------------------------------------- starting */

static void
describe_worker(BackgroundWorker *worker, int restart_time)
{
	memset(worker, 0, sizeof(*worker));
	/* Shared memory access is not used, but has to be asked for. */
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS;
	/* On a standby too: queries there encode their images. */
	worker->bgw_start_time = BgWorkerStart_ConsistentState;
	worker->bgw_restart_time = restart_time;
	snprintf(worker->bgw_library_name, sizeof(worker->bgw_library_name), "%s",
			 "deephash");
	snprintf(worker->bgw_function_name, sizeof(worker->bgw_function_name), "%s",
			 "deephash_supervisor_main");
	snprintf(worker->bgw_name, sizeof(worker->bgw_name), "%s", "deephash supervisor");
	snprintf(worker->bgw_type, sizeof(worker->bgw_type), "%s", "deephash supervisor");
}

void
supervisor_register(void)
{
	BackgroundWorker worker;

	describe_worker(&worker, 5);
	RegisterBackgroundWorker(&worker);
}

/*
 * If several sessions do this at once, all but one of the workers leave at once.  One
 * that fails is forgotten, not restarted: the next call asks for another, and workers
 * that wait to be restarted would fill the slots, which parallel queries need.
 */
bool
supervisor_start(void)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle = NULL;

	describe_worker(&worker, BGW_NEVER_RESTART);
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		return false;
	pfree(handle);
	return true;
}

/* --------------------------------------------------------- the engine's words */

static void
tell_left_out(void)
{
	if (self.left_out > 0)
		ereport(LOG, (errmsg("deephash-encoder (PID %d): " INT64_FORMAT
							 " more lines of it are left out",
							 (int) self.engine.pid, self.left_out)));
	self.left_out = 0;
}

/* May another line go into the log? */
static bool
may_log(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (now - self.talk_since > TALK_MS * INT64CONST(1000))
	{
		tell_left_out();
		self.talk_since = now;
		self.talk_lines = 0;
	}
	if (self.talk_lines++ < TALK_LINES)
		return true;
	self.left_out++;
	return false;
}

static void
hear_line(char *line)
{
	char level = line[0];
	const char *text = line;

	for (char *c = line; *c; c++)
	{
		if (*c < ' ' || *c > '~')
			*c = '?';
	}
	if (level != '\0' && strchr("RLWF", level) && line[1] == ' ')
		text = line + 2;
	else
		level = 'L';
	switch (level)
	{
		case 'R':
			if (self.ready)
				break;
			self.ready = true;
			self.ready_at = GetCurrentTimestamp();
			rundir_write_state(ENGINE_RUNNING, text);
			break;
		case 'F':
			snprintf(self.reason, sizeof(self.reason), "%s", text);
			return;
		default:
			break;
	}
	if (may_log())
		ereport(level == 'W' ? WARNING : LOG,
				(errmsg("deephash-encoder (PID %d): %s", (int) self.engine.pid, text)));
}

/* Read what there is, or a part of it that is more than a pipe holds: all that a dead
 * engine has left.  Overlong lines come in pieces. */
static void
hear_engine(void)
{
	EngineProcess *engine = &self.engine;
	ssize_t n;

	for (int reads = 0; engine->output >= 0 && reads < READS_AT_ONCE; reads++)
	{
		char *end;

		n = read(engine->output, engine->line + engine->have,
				 sizeof(engine->line) - 1 - engine->have);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0)
		{
			close(engine->output);
			engine->output = -1;
			if (engine->have > 0)
				hear_line(engine->line);
			engine->have = 0;
			return;
		}
		engine->have += n;
		engine->line[engine->have] = '\0';
		while ((end = memchr(engine->line, '\n', engine->have)) != NULL ||
			   engine->have == sizeof(engine->line) - 1)
		{
			size_t length = end ? (size_t) (end - engine->line) + 1 : engine->have;
			char rest[sizeof(engine->line)];

			memcpy(rest, engine->line + length, engine->have - length + 1);
			engine->line[end ? length - 1 : length] = '\0';
			hear_line(engine->line);
			memcpy(engine->line, rest, engine->have - length + 1);
			engine->have -= length;
		}
	}
}

/* -------------------------------------------------------------- life and death */

/*
 * How long to wait before the next start.  The first death after a time of good
 * service costs no pause, so that a session that tries again finds an engine.
 */
static int
pause_ms(void)
{
	int doublings = self.failures - (self.ready ? 2 : 1);

	if (doublings < 0)
		return 0;
	return doublings > 8 ? MAX_PAUSE_MS : Min(MAX_PAUSE_MS, FIRST_PAUSE_MS << doublings);
}

/* The engine is dead: say why, and when the next one comes. */
static void
engine_died(int status)
{
	char *how = wait_result_to_str(status);
	TimestampTz now = GetCurrentTimestamp();
	int pause;

	hear_engine();
	tell_left_out();
	if (self.ready && now - self.ready_at > STEADY_MS * INT64CONST(1000))
		self.failures = 0;
	self.failures++;
	pause = pause_ms();
	self.start_at = TimestampTzPlusMilliseconds(now, pause);
	ereport(LOG, (errmsg("deephash-encoder (PID %d) ended: %s", (int) self.engine.pid,
						 self.reason[0] ? self.reason : how),
				  errdetail("It is started again in %d ms; sessions go on.", pause)));
	if (self.reason[0] == '\0')
		snprintf(self.reason, sizeof(self.reason), "%s", how);
	rundir_write_state(self.ready ? ENGINE_RESTARTING : ENGINE_FAILED, self.reason);
	engine_close(&self.engine);
	pfree(how);
}

static void
start_engine(void)
{
	MemoryContext old;

	MemoryContextReset(self.context);
	old = MemoryContextSwitchTo(self.context);
	self.command = engine_command();
	if (stat(self.command[0], &self.program) != 0)
		memset(&self.program, 0, sizeof(self.program));
	self.ready = false;
	self.started_at = GetCurrentTimestamp();
	self.reason[0] = '\0';
	rundir_write_state(ENGINE_STARTING, "");
	self.killed = 0;
	watch_forget();
	if (!engine_spawn(&self.engine, self.command))
	{
		snprintf(self.reason, sizeof(self.reason), "could not start a process: %s",
				 strerror(errno));
		self.failures++;
		self.start_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause_ms());
		ereport(LOG, (errmsg("deephash-encoder: %s", self.reason)));
		rundir_write_state(ENGINE_FAILED, self.reason);
	}
	MemoryContextSwitchTo(old);
}

/* Milliseconds that an engine may take to start; -1: no limit. */
static int64
start_limit(void)
{
	if (encoder_engine_timeout == 0)
		return -1;
	return Max(LEAST_START_MS, 2 * (int64) encoder_engine_timeout);
}

/*
 * Why the engine must be replaced, in words that follow its name; NULL: it need not.
 */
static const char *
hang(TimestampTz now)
{
	int64 late = (now - self.started_at) / 1000;
	long silent;

	if (!self.ready)
		return start_limit() >= 0 && late > start_limit()
				   ? psprintf("did not begin to serve for " INT64_FORMAT " ms", late)
				   : NULL;
	silent = watch_engine();
	return silent > 0 ? psprintf("has given no answer for %ld ms", silent) : NULL;
}

/*
 * An engine that does not answer is killed.  If it does not even die it is left behind
 * with its signal, and another one started.
 */
static void
replace_hung_engine(void)
{
	TimestampTz now = GetCurrentTimestamp();
	const char *why;

	if (self.killed != 0)
	{
		if (now - self.killed < DYING_MS * INT64CONST(1000))
			return;
		ereport(LOG, (errmsg("deephash-encoder (PID %d) does not die and is left behind",
							 (int) self.engine.pid)));
		engine_died(SIGKILL);
		return;
	}
	why = hang(now);
	if (why == NULL)
		return;
	snprintf(self.reason, sizeof(self.reason), "it %s", why);
	ereport(
		LOG,
		(errmsg("deephash-encoder (PID %d) %s and is killed", (int) self.engine.pid, why),
		 errdetail("deephash.engine_timeout is %d ms.", encoder_engine_timeout)));
	kill(self.engine.pid, SIGKILL);
	/* Keep sessions from connecting to it. */
	unlink(DEEPHASH_SOCKET);
	rundir_write_state(self.ready ? ENGINE_RESTARTING : ENGINE_FAILED, self.reason);
	self.killed = now;
}

/* Reap dead children; the engine's status goes to *status if it was among them. */
static bool
engine_is_dead(int *status)
{
	pid_t pid;

	while ((pid = waitpid(-1, status, WNOHANG)) > 0)
	{
		if (pid == self.engine.pid)
			return true;
	}
	return false;
}

/*
 * Ask the engine to end, and after ms milliseconds make it; sooner if the server is
 * shutting down.
 */
static void
stop_engine(int ms)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
	bool killed = false;

	if (self.engine.pid == 0)
		return;
	kill(self.engine.pid, SIGTERM);
	while (waitpid(self.engine.pid, NULL, WNOHANG) == 0)
	{
		if (killed && GetCurrentTimestamp() > end + DYING_MS * INT64CONST(1000))
			break;
		if (ShutdownRequestPending && ms > SHUTDOWN_MS)
		{
			ms = SHUTDOWN_MS;
			end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
		}
		if (!killed && GetCurrentTimestamp() > end)
		{
			ereport(LOG, (errmsg("deephash-encoder (PID %d) did not end in %d ms and is "
								 "killed",
								 (int) self.engine.pid, ms)));
			kill(self.engine.pid, SIGKILL);
			killed = true;
		}
		hear_engine();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 20,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	hear_engine();
	engine_close(&self.engine);
}

/* However the supervisor ends, the engine does not outlive it. */
static void
kill_engine(int code, Datum arg)
{
	if (self.engine.pid != 0)
		kill(self.engine.pid, SIGKILL);
}

/* ------------------------------------------------------------------ settings */

static bool
same_command(char **a, char **b)
{
	while (*a && *b && strcmp(*a, *b) == 0)
	{
		a++;
		b++;
	}
	return *a == NULL && *b == NULL;
}

/* Has another program been installed since the engine started?  None is no other. */
static bool
program_changed(void)
{
	struct stat now;

	return stat(self.command[0], &now) == 0 &&
		   (now.st_ino != self.program.st_ino || now.st_dev != self.program.st_dev ||
			now.st_size != self.program.st_size ||
			now.st_mtim.tv_sec != self.program.st_mtim.tv_sec ||
			now.st_mtim.tv_nsec != self.program.st_mtim.tv_nsec);
}

/* After a reload: replace, in good order, an engine that would now start differently. */
static void
apply_settings(void)
{
	char **command = engine_command();

	if (self.engine.pid != 0)
	{
		const char *why = NULL;

		if (!same_command(command, self.command))
			why = "its settings changed";
		else if (program_changed())
			why = "its program changed";
		else
			return;
		ereport(LOG, (errmsg("deephash-encoder (PID %d) is replaced: %s",
							 (int) self.engine.pid, why)));
		rundir_write_state(ENGINE_STARTING, "");
		stop_engine(DRAIN_MS);
	}
	self.failures = 0;
	self.start_at = 0;
}

/* ---------------------------------------------------------------------- loop */

static void
on_sigchld(SIGNAL_ARGS)
{
	int saved = errno;

	SetLatch(MyLatch);
	errno = saved;
}

static void
wait_for_something(void)
{
	int events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	long timeout = -1;

	if (self.engine.pid == 0)
	{
		timeout = Max(0, (self.start_at - GetCurrentTimestamp()) / 1000 + 1);
		events |= WL_TIMEOUT;
	}
	else if (self.killed != 0 || encoder_engine_timeout > 0)
	{
		timeout = self.killed != 0 ? 100 : self.ready ? watch_wait_ms() : 1000;
		events |= WL_TIMEOUT;
	}
	if (self.engine.output >= 0)
		events |= WL_SOCKET_READABLE;
	(void) WaitLatchOrSocket(MyLatch, events, self.engine.output, timeout,
							 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

void
deephash_supervisor_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGCHLD, on_sigchld);
	BackgroundWorkerUnblockSignals();

	rundir_make();
	if (!rundir_lock_supervisor())
		proc_exit(0); /* another session has started one at the same time */
	on_proc_exit(kill_engine, 0);
	rundir_clean();
	self.context =
		AllocSetContextCreate(TopMemoryContext, "deephash engine", ALLOCSET_SMALL_SIZES);
	CurrentMemoryContext = AllocSetContextCreate(TopMemoryContext, "deephash supervisor",
												 ALLOCSET_SMALL_SIZES);

	while (!ShutdownRequestPending)
	{
		int status;

		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			apply_settings();
		}
		hear_engine();
		if (engine_is_dead(&status))
			engine_died(status);
		else if (self.engine.pid != 0)
			replace_hung_engine();
		if (self.engine.pid == 0 && GetCurrentTimestamp() >= self.start_at)
			start_engine();
		wait_for_something();
		MemoryContextReset(CurrentMemoryContext);
	}
	rundir_write_state(ENGINE_UNKNOWN, "");
	stop_engine(SHUTDOWN_MS);
	proc_exit(0);
}
