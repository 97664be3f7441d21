/*
 * sandbox.c
 *	  What the engine gives up: it decodes bytes that strangers made.
 */
#include "service/service.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

void
prepare_process(void)
{
	struct rlimit files;
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
}

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef NATIVE_ARCH
#define LOAD(field)                                                                      \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define DENY BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
/* Run the next statement only if the number loaded is nr. */
#define IF_NR(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1)

bool
sandbox_enter(Failure *failure)
{
	/* args[] are 64-bit; their low half comes first on both architectures. */
	struct sock_filter filter[] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0),
		DENY,
		LOAD(nr),
#ifdef __x86_64__
		/* The x32 numbers would be a way around. */
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
		DENY,
#endif
		IF_NR(SYS_execve),
		DENY,
		IF_NR(SYS_execveat),
		DENY,
		IF_NR(SYS_ptrace),
		DENY,
		IF_NR(SYS_process_vm_readv),
		DENY,
		IF_NR(SYS_process_vm_writev),
		DENY,
		/* It makes sockets, and connects them, where this filter does not see it. */
		IF_NR(SYS_io_uring_setup),
		DENY,
		/* The server takes who comes as its own user for a superuser (peer). */
		IF_NR(SYS_connect),
		DENY,
		/* No signals, which the server would obey, except to itself (abort). */
		IF_NR(SYS_kill),
		DENY,
		IF_NR(SYS_tkill),
		DENY,
		IF_NR(SYS_rt_sigqueueinfo),
		DENY,
		IF_NR(SYS_rt_tgsigqueueinfo),
		DENY,
		IF_NR(SYS_pidfd_send_signal),
		DENY,
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 4),
		LOAD(args[0]),
		IF_NR((uint32_t) getpid()),
		ALLOW,
		DENY,
		/* Only UNIX sockets. */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
		LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 1, 0),
		DENY,
		ALLOW,
	};
	struct rlimit none = {0, 0};
	struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]),
								 .filter = filter};

	/* Image data of users has no business in a core file or another process. */
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	/* TSYNC: threads that libraries have started are bound as well. */
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
				&program) != 0)
		return refuse(failure, DEEPHASH_BAD_REQUEST, "could not enter the sandbox: %s",
					  strerror(errno));
	return true;
}
#else
bool
sandbox_enter(Failure *failure)
{
	return refuse(failure, DEEPHASH_BAD_REQUEST,
				  "there is no sandbox for this architecture");
}
#endif
