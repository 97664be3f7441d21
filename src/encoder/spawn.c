/*
 * spawn.c
 *	  The engine as a child process of the supervisor.
 */
#include "encoder/encoder.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "miscadmin.h"

extern char **environ;

static char *
program_path(void)
{
	if (encoder_program[0] != '\0')
		return pstrdup(encoder_program);
	return psprintf("%s/deephash-encoder", pkglib_path);
}

char **
engine_command(void)
{
	char **argv = palloc0(32 * sizeof(char *));
	int64 max_request = (int64) encoder_max_image_size * 1024;
	int n = 0;

	argv[n++] = program_path();
	argv[n++] = "--socket=" DEEPHASH_SOCKET;
	argv[n++] = "--cache=" DEEPHASH_RUN_DIR;
	argv[n++] = psprintf("--device=%s", encoder_device_name());
	argv[n++] = psprintf("--threads=%d", encoder_threads);
	argv[n++] = psprintf("--batch-size=%d", encoder_batch_size);
	argv[n++] = psprintf("--batch-wait=%d", (int) (encoder_batch_wait * 1000));
	argv[n++] =
		psprintf("--device-memory=" INT64_FORMAT, (int64) encoder_device_memory << 20);
	argv[n++] = psprintf("--precision=%s", encoder_precision_name());
	if (!encoder_cuda_graphs)
		argv[n++] = "--no-graphs";
	argv[n++] = psprintf("--max-request=" INT64_FORMAT, max_request);
	argv[n++] = psprintf("--max-buffered=" INT64_FORMAT, 4 * max_request);
	argv[n++] = psprintf("--max-pixels=%d", encoder_max_image_pixels);
	argv[n++] = psprintf("--max-clients=%d", MaxBackends + 8);
	argv[n++] = psprintf("--stall-timeout=%d", encoder_engine_timeout);
	argv[n++] =
		psprintf("--memory-limit=" INT64_FORMAT, (int64) encoder_memory_limit << 20);
	if (!encoder_sandbox)
		argv[n++] = "--no-sandbox";
	if (encoder_core_dumps)
		argv[n++] = "--core-files";
	return argv;
}

/*
 * The environment of the engine: ours, but OpenBLAS starts no threads of its own
 * (the engine spreads a batch over its own).
 */
static char **
engine_environment(void)
{
	static const char *const one_thread = "OPENBLAS_NUM_THREADS=";
	int n = 0;
	char **env;

	while (environ[n])
		n++;
	env = palloc((n + 2) * sizeof(char *));
	n = 0;
	for (char **e = environ; *e; e++)
	{
		if (strncmp(*e, one_thread, strlen(one_thread)) != 0)
			env[n++] = *e;
	}
	env[n++] = psprintf("%s1", one_thread);
	env[n] = NULL;
	return env;
}

/* In the child: nothing of the server may leak into the program.  Does not return. */
static void
become_engine(int life, int output, char **command, char **env)
{
	struct rlimit files;
	sigset_t none;
	int most = 65536;

	for (int signo = 1; signo < NSIG; signo++)
		signal(signo, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(life, STDIN_FILENO);
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < (rlim_t) most)
		most = (int) files.rlim_cur;
	for (int fd = STDERR_FILENO + 1; fd < most; fd++)
		close(fd);
	execve(command[0], command, env);
	dprintf(STDOUT_FILENO, "F could not execute \"%s\": %s\n", command[0],
			strerror(errno));
	/* Not exit(): its handlers are the server's. */
	_exit(127);
}

bool
engine_spawn(EngineProcess *engine, char **command)
{
	char **env = engine_environment();
	int life[2];
	int output[2];
	pid_t pid;

	if (pipe2(life, O_CLOEXEC) != 0)
		return false;
	if (pipe2(output, O_CLOEXEC | O_NONBLOCK) != 0)
	{
		close(life[0]);
		close(life[1]);
		return false;
	}
	/* The engine's end blocks, else a burst of lines would be lost. */
	fcntl(output[1], F_SETFL, 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		become_engine(life[0], output[1], command, env);

	int saved = errno;

	close(life[0]);
	close(output[1]);
	pfree(env);
	if (pid < 0)
	{
		close(life[1]);
		close(output[0]);
		errno = saved;
		return false;
	}
	engine->pid = pid;
	engine->life = life[1];
	engine->output = output[0];
	engine->have = 0;
	return true;
}

void
engine_close(EngineProcess *engine)
{
	if (engine->life >= 0)
		close(engine->life);
	if (engine->output >= 0)
		close(engine->output);
	engine->life = engine->output = -1;
	engine->pid = 0;
}
