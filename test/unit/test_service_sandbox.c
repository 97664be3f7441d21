/*
 * test_service_sandbox.c
 *	  What the engine can and cannot do once it is in its sandbox: a child enters it and
 *	  tries.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "service/sandbox.h"

static char dir[] = "/tmp/deephash_sandbox.XXXXXX";
static char cache[100];	  /* the cache, with a file in it */
static char inside[120];  /* that file */
static char outside[100]; /* one beside the cache */
static int listener;	  /* a socket that listens, as the engine's does */
static bool has_files;	  /* this kernel has Landlock */

static void
write_file(const char *path)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs("contents", file);
	fclose(file);
}

static int
setup(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void) state;
	assert_non_null(mkdtemp(dir));
	snprintf(cache, sizeof(cache), "%s/cache", dir);
	snprintf(inside, sizeof(inside), "%s/model", cache);
	snprintf(outside, sizeof(outside), "%s/secret", dir);
	assert_int_equal(mkdir(cache, 0700), 0);
	write_file(inside);
	write_file(outside);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", cache);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *) &address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 5), 0);
	has_files = syscall(444, NULL, 0, 1) >= 1;
	if (!has_files)
		print_message("this kernel has no Landlock: files are not tested\n");
	return 0;
}

static int
teardown(void **state)
{
	char command[200];

	(void) state;
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

/* The exit status of a process that enters the sandbox and then acts. */
static int
in_sandbox(bool gpu, void (*act)(void))
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
	{
		char active[200];

		sandbox_enter(cache, gpu, active, sizeof(active));
		if (strncmp(active, has_files ? "system calls, files" : "system calls; ", 14) !=
			0)
			_exit(1);
		act();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* In the child; its exit status is the line of what should have been forbidden. */
#define FORBIDDEN(call)                                                                  \
	do                                                                                   \
	{                                                                                    \
		errno = 0;                                                                       \
		if ((long) (call) != -1 || errno != EPERM)                                       \
			fail_at(__LINE__);                                                           \
	} while (0)
#define ALLOWED(call)                                                                    \
	do                                                                                   \
	{                                                                                    \
		if (!(call))                                                                     \
			fail_at(__LINE__);                                                           \
	} while (0)

static void
fail_at(int line)
{
	fprintf(stderr, "%s:%d: %s\n", __FILE__, line, strerror(errno));
	_exit(2);
}

static bool
can_open(const char *path, int flags)
{
	int fd = open(path, flags, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void
reach_another_process(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/nowhere"};
	const struct sched_param pace = {.sched_priority = 1};
	struct rlimit limit;
	char *const argv[] = {"true", NULL};
	int pair[2];

	FORBIDDEN(socket(AF_INET, SOCK_STREAM, 0));
	FORBIDDEN(socket(AF_UNIX, SOCK_STREAM, 0));
	FORBIDDEN(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	FORBIDDEN(connect(listener, (struct sockaddr *) &address, sizeof(address)));
	FORBIDDEN(bind(listener, (struct sockaddr *) &address, sizeof(address)));
	FORBIDDEN(listen(listener, 1));
	FORBIDDEN(syscall(SYS_io_uring_setup, 1, NULL));
	FORBIDDEN(kill(getppid(), 0));
	FORBIDDEN(kill(getpid(), 0));
	FORBIDDEN(syscall(SYS_tgkill, getppid(), getppid(), 0));
	FORBIDDEN(syscall(SYS_ptrace, 0, 0, 0, 0));
	FORBIDDEN(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0));
	FORBIDDEN(syscall(SYS_prlimit64, getppid(), RLIMIT_NOFILE, NULL, &limit));
	FORBIDDEN(setpriority(PRIO_PROCESS, (id_t) getppid(), 19));
	FORBIDDEN(sched_setscheduler(getppid(), SCHED_BATCH, &pace));
	FORBIDDEN(sched_setscheduler(0, SCHED_FIFO, &pace));
	FORBIDDEN(sched_setscheduler(0, SCHED_RR, &pace));
	FORBIDDEN(shmget(IPC_PRIVATE, 4096, 0600));
	FORBIDDEN(execv("/bin/true", argv));
	FORBIDDEN(fork());
	FORBIDDEN(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static void
change_files(void)
{
	char other[200];

	snprintf(other, sizeof(other), "%s/other", cache);
	FORBIDDEN(open(other, O_WRONLY | O_CREAT, 0600));
	FORBIDDEN(open(inside, O_WRONLY));
	FORBIDDEN(open(inside, O_RDWR));
	FORBIDDEN(open(inside, O_RDONLY | O_TRUNC));
	FORBIDDEN(openat(AT_FDCWD, cache, O_TMPFILE | O_RDWR, 0600));
	FORBIDDEN(truncate(inside, 0));
	FORBIDDEN(unlink(inside));
	FORBIDDEN(rename(inside, other));
	FORBIDDEN(link(inside, other));
	FORBIDDEN(symlink(inside, other));
	FORBIDDEN(mkdir(other, 0700));
	FORBIDDEN(rmdir(cache));
	FORBIDDEN(chmod(inside, 0666));
	FORBIDDEN(chown(inside, getuid(), getgid()));
	FORBIDDEN(fchmod(listener, 0666));
	FORBIDDEN(chroot("/"));
}

static void *
wait_for_end(void *arg)
{
	char byte;

	return read(*(int *) arg, &byte, 1) == 0 ? NULL : arg;
}

/* Name a thread that starts in the sandbox, as a driver does, which gives up if it may
 * not. */
static int
name_a_thread(void)
{
	pthread_t thread;
	int pipe_of[2], rc;

	ALLOWED(pipe(pipe_of) == 0);
	ALLOWED(pthread_create(&thread, NULL, wait_for_end, pipe_of) == 0);
	rc = pthread_setname_np(thread, "driver");
	close(pipe_of[1]);
	ALLOWED(pthread_join(thread, NULL) == 0);
	close(pipe_of[0]);
	return rc;
}

static void
read_files(void)
{
	ALLOWED(can_open(inside, O_RDONLY));
	ALLOWED(can_open(cache, O_RDONLY | O_DIRECTORY));
	if (!has_files)
		return;
	ALLOWED(!can_open(outside, O_RDONLY) && errno == EACCES);
	ALLOWED(!can_open(dir, O_RDONLY | O_DIRECTORY) && errno == EACCES);
	ALLOWED(!can_open("/etc/passwd", O_RDONLY) && errno == EACCES);
	ALLOWED(!can_open("/proc/self/environ", O_RDONLY) && errno == EACCES);
	ALLOWED(!can_open("/proc/self/mem", O_RDONLY) && errno == EACCES);
	ALLOWED(name_a_thread() != 0);
}

/* What a driver needs beside that, and no more. */
static void
drive_a_gpu(void)
{
	ALLOWED(prctl(PR_SET_DUMPABLE, 0) == 0);
	ALLOWED(name_a_thread() == 0);
	ALLOWED(can_open("/proc/self/status", O_RDONLY));
	ALLOWED(syscall(SYS_memfd_create, "driver", 0) >= 0);
	ALLOWED(eventfd(0, 0) >= 0);
	ALLOWED(can_open(inside, O_RDONLY));
	ALLOWED(can_open("/dev/null", O_RDWR));
	ALLOWED(can_open("/proc/self/maps", O_RDONLY));
	FORBIDDEN(open(inside, O_WRONLY | O_CREAT, 0600));
	if (!has_files)
		return;
	ALLOWED(!can_open(inside, O_WRONLY) && errno == EACCES);
	ALLOWED(!can_open(outside, O_RDONLY) && errno == EACCES);
	ALLOWED(!can_open("/etc/passwd", O_RDONLY) && errno == EACCES);
	ALLOWED(!can_open("/proc/self/comm", O_WRONLY) && errno == EACCES);
}

static void *
in_thread(void *arg)
{
	errno = 0;
	*(bool *) arg = socket(AF_UNIX, SOCK_STREAM, 0) < 0 && errno == EPERM &&
					can_open(inside, O_RDONLY) &&
					(!has_files || !can_open(outside, O_RDONLY));
	return NULL;
}

/* The engine's daily work. */
static void
work(void)
{
	const struct sched_param pace = {0};
	struct rlimit limit;
	bool bound = false;
	pthread_t thread;
	char byte;

	ALLOWED(pthread_create(&thread, NULL, in_thread, &bound) == 0);
	ALLOWED(pthread_join(thread, NULL) == 0);
	ALLOWED(bound);
	ALLOWED(mmap(NULL, 1 << 24, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				 0) != MAP_FAILED);
	ALLOWED(getrlimit(RLIMIT_DATA, &limit) == 0);
	ALLOWED(setrlimit(RLIMIT_DATA, &limit) == 0);
	/* From another policy it may take rights. */
	if (sched_getscheduler(0) == SCHED_OTHER)
	{
		ALLOWED(sched_setscheduler(0, SCHED_BATCH, &pace) == 0);
		ALLOWED(sched_setscheduler(0, SCHED_OTHER, &pace) == 0);
	}
	ALLOWED(syscall(SYS_tgkill, getpid(), gettid(), 0) == 0);
	ALLOWED(read(STDIN_FILENO, &byte, 0) == 0);
	ALLOWED(shutdown(listener, SHUT_RDWR) == 0);
}

static void
test_no_other_process(void **state)
{
	(void) state;
	assert_int_equal(in_sandbox(false, reach_another_process), 0);
	assert_int_equal(in_sandbox(true, reach_another_process), 0);
}

static void
test_no_changes(void **state)
{
	(void) state;
	assert_int_equal(in_sandbox(false, change_files), 0);
}

static void
test_only_the_cache(void **state)
{
	(void) state;
	assert_int_equal(in_sandbox(false, read_files), 0);
	assert_int_equal(in_sandbox(true, drive_a_gpu), 0);
}

static void
test_can_work(void **state)
{
	(void) state;
	assert_int_equal(in_sandbox(true, work), 0);
	assert_int_equal(in_sandbox(false, work), 0);
}

static void
test_can_abort(void **state)
{
	(void) state;
	signal(SIGABRT, SIG_DFL);
	assert_int_equal(in_sandbox(false, abort), -SIGABRT);
}

static void
test_no_core_file(void **state)
{
	struct rlimit before, limit;

	(void) state;
	assert_int_equal(getrlimit(RLIMIT_CORE, &before), 0);
	prepare_process(true);
	assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
	assert_int_equal(limit.rlim_cur, before.rlim_cur);
	prepare_process(false);
	assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
	assert_int_equal(limit.rlim_cur, 0);
	assert_int_equal(limit.rlim_max, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_other_process), cmocka_unit_test(test_no_changes),
		cmocka_unit_test(test_only_the_cache),	 cmocka_unit_test(test_can_work),
		cmocka_unit_test(test_can_abort),		 cmocka_unit_test(test_no_core_file),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
