/*
 * test_service_sandbox.c
 *	  What the engine can and cannot do once it is in its sandbox.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "service/service.h"

static bool
forbidden(long result)
{
	return result < 0 && errno == EPERM;
}

static void
reach_another_process(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/nowhere"};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char byte;

	if (fd < 0)
		_exit(10);
	if (!forbidden(connect(fd, (struct sockaddr *) &address, sizeof(address))))
		_exit(11);
	if (!forbidden(socket(AF_INET, SOCK_STREAM, 0)))
		_exit(12);
	if (!forbidden(syscall(SYS_io_uring_setup, 1, NULL)))
		_exit(13);
	if (!forbidden(kill(getppid(), 0)))
		_exit(14);
	if (!forbidden(syscall(SYS_tgkill, getppid(), getppid(), 0)))
		_exit(15);
	if (!forbidden(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0)))
		_exit(16);
	if (!forbidden(execl("/bin/true", "true", NULL)))
		_exit(17);
	if (syscall(SYS_tgkill, getpid(), gettid(), 0) != 0)
		_exit(18);
	if (read(STDIN_FILENO, &byte, 0) < 0)
		_exit(19);
	_exit(0);
}

/* The exit status of a process that enters the sandbox and then acts. */
static int
in_sandbox(void (*act)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
	{
		Failure failure;

		if (!sandbox_enter(&failure))
			_exit(1);
		act();
		_exit(2);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void
test_no_other_process(void **state)
{
	(void) state;
	assert_int_equal(in_sandbox(reach_another_process), 0);
}

static void
test_can_abort(void **state)
{
	(void) state;
	signal(SIGABRT, SIG_DFL);
	assert_int_equal(in_sandbox(abort), -SIGABRT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_other_process),
		cmocka_unit_test(test_can_abort),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
