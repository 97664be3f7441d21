/*
 * sandbox.c
 *	  What the engine gives up before it serves: it decodes bytes that strangers made.
 *
 * Two fences.  A seccomp filter takes system calls away from all threads; what it
 * cannot see is paths.  Landlock (sandbox_files.c) knows paths.  Older kernels have
 * only the first.
 */
#include "service/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef NATIVE_ARCH

/* Calls that are new to some headers; their numbers are the same everywhere. */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif
#ifndef SYS_open_tree
#define SYS_open_tree 428
#define SYS_move_mount 429
#define SYS_fsopen 430
#define SYS_fspick 433
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

/* Calls that are refused whatever their arguments. */
static const int forbidden[] = {
	/* other programs */
	SYS_execve,
	SYS_execveat,
	/* other processes: their memory, files, signals (the server would obey) and pace */
	SYS_ptrace,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_process_madvise,
	SYS_move_pages,
	SYS_migrate_pages,
	SYS_kcmp,
	SYS_pidfd_open,
	SYS_pidfd_getfd,
	SYS_pidfd_send_signal,
	SYS_kill,
	SYS_tkill,
	SYS_rt_sigqueueinfo,
	SYS_rt_tgsigqueueinfo,
	SYS_setpriority,
	SYS_sched_setparam,
	SYS_sched_setattr,
	SYS_ioprio_set,
	/* what the server shares with its own: memory, semaphores, queues */
	SYS_shmget,
	SYS_shmat,
	SYS_shmctl,
	SYS_semget,
	SYS_semop,
	SYS_semtimedop,
	SYS_semctl,
	SYS_msgget,
	SYS_msgsnd,
	SYS_msgrcv,
	SYS_msgctl,
	SYS_mq_open,
	SYS_mq_unlink,
	/*
	 * The engine has the sockets that it needs.  The server takes who comes as its own
	 * user for a superuser (peer), and io_uring does all this unseen by filters.
	 */
	SYS_socket,
	SYS_socketpair,
	SYS_connect,
	SYS_bind,
	SYS_listen,
	SYS_io_uring_setup,
	/* files: nothing is made, moved, removed, or given to others */
	SYS_truncate,
	SYS_linkat,
	SYS_symlinkat,
	SYS_mkdirat,
	SYS_mknodat,
	SYS_unlinkat,
#ifdef SYS_renameat
	SYS_renameat,
#endif
	SYS_renameat2,
	SYS_fchmod,
	SYS_fchmodat,
	SYS_fchmodat2,
	SYS_fchown,
	SYS_fchownat,
	SYS_utimensat,
	SYS_setxattr,
	SYS_lsetxattr,
	SYS_fsetxattr,
	SYS_removexattr,
	SYS_lremovexattr,
	SYS_fremovexattr,
	SYS_name_to_handle_at,
	SYS_open_by_handle_at,
	/* the machine, for which our user should have no rights anyway */
	SYS_mount,
	SYS_umount2,
	SYS_open_tree,
	SYS_move_mount,
	SYS_fsopen,
	SYS_fspick,
	SYS_mount_setattr,
	SYS_pivot_root,
	SYS_chroot,
	SYS_unshare,
	SYS_setns,
	SYS_bpf,
	SYS_perf_event_open,
	SYS_userfaultfd,
	SYS_keyctl,
	SYS_add_key,
	SYS_request_key,
	SYS_init_module,
	SYS_finit_module,
	SYS_delete_module,
	SYS_kexec_load,
	SYS_reboot,
	SYS_swapon,
	SYS_swapoff,
	SYS_quotactl,
	SYS_acct,
#ifdef __x86_64__
	/* older forms */
	SYS_fork,
	SYS_vfork,
	SYS_creat,
	SYS_link,
	SYS_symlink,
	SYS_mkdir,
	SYS_mknod,
	SYS_unlink,
	SYS_rmdir,
	SYS_rename,
	SYS_chmod,
	SYS_chown,
	SYS_lchown,
	SYS_utime,
	SYS_utimes,
	SYS_futimesat,
	SYS_uselib,
#endif
};

enum
{
	NFORBIDDEN = sizeof(forbidden) / sizeof(forbidden[0]),
	MAX_FILTER = 2 * NFORBIDDEN + 60
};

typedef struct Filter
{
	struct sock_filter line[MAX_FILTER];
	unsigned short n;
} Filter;

static void
put(Filter *filter, uint16_t code, uint8_t if_true, uint8_t if_false, uint32_t k)
{
	filter->line[filter->n++] =
		(struct sock_filter){.code = code, .jt = if_true, .jf = if_false, .k = k};
}

static void
load(Filter *filter, size_t at)
{
	put(filter, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t) at);
}

/* Run the next `lines` lines only if the number loaded is k. */
static void
if_equal(Filter *filter, uint32_t k, uint8_t lines)
{
	put(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, lines, k);
}

static void
give_back(Filter *filter, uint32_t what)
{
	put(filter, BPF_RET | BPF_K, 0, 0, what);
}

#define DENY (SECCOMP_RET_ERRNO | EPERM)
/* The C library then takes the call that came before it. */
#define UNKNOWN (SECCOMP_RET_ERRNO | ENOSYS)
/* args[] are 64-bit; their low half comes first on both architectures. */
#define ARGUMENT(i) (offsetof(struct seccomp_data, args) + (i) * sizeof(uint64_t))

/* Refuse the call nr, or with `wanted` allow it, if its argument has one of the bits. */
static void
by_bits(Filter *filter, int nr, int argument, uint32_t bits, bool wanted)
{
	if_equal(filter, (uint32_t) nr, 4);
	load(filter, ARGUMENT(argument));
	put(filter, BPF_JMP | BPF_JSET | BPF_K, 0, 1, bits);
	give_back(filter, wanted ? SECCOMP_RET_ALLOW : DENY);
	give_back(filter, wanted ? DENY : SECCOMP_RET_ALLOW);
}

/* Allow the call nr only if its first argument is this. */
static void
by_first(Filter *filter, int nr, uint32_t value)
{
	if_equal(filter, (uint32_t) nr, 4);
	load(filter, ARGUMENT(0));
	if_equal(filter, value, 1);
	give_back(filter, SECCOMP_RET_ALLOW);
	give_back(filter, DENY);
}

/* Of its scheduling a thread may choose its own between the two ordinary ones. */
static void
own_pace(Filter *filter)
{
	if_equal(filter, SYS_sched_setscheduler, 8);
	load(filter, ARGUMENT(0));
	if_equal(filter, 0, 5);
	load(filter, ARGUMENT(1));
	if_equal(filter, SCHED_OTHER, 1);
	give_back(filter, SECCOMP_RET_ALLOW);
	if_equal(filter, SCHED_BATCH, 1);
	give_back(filter, SECCOMP_RET_ALLOW);
	give_back(filter, DENY);
}

static void
make_filter(Filter *filter, bool gpu)
{
	/* A driver opens its devices for writing. */
	uint32_t no_files = O_CREAT | O_TRUNC | (gpu ? 0 : O_ACCMODE);

	filter->n = 0;
	load(filter, offsetof(struct seccomp_data, arch));
	put(filter, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, NATIVE_ARCH);
	give_back(filter, DENY);
	load(filter, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
	/* The x32 numbers would be a way around. */
	put(filter, BPF_JMP | BPF_JGE | BPF_K, 0, 1, 0x40000000);
	give_back(filter, DENY);
#endif
	for (int i = 0; i < NFORBIDDEN; i++)
	{
		if_equal(filter, (uint32_t) forbidden[i], 1);
		give_back(filter, DENY);
	}
	/* These have their arguments where a filter cannot look. */
	if_equal(filter, SYS_clone3, 1);
	give_back(filter, UNKNOWN);
	if_equal(filter, SYS_openat2, 1);
	give_back(filter, UNKNOWN);
	by_bits(filter, SYS_clone, 0, CLONE_THREAD, true);
	by_bits(filter, SYS_openat, 2, no_files, false);
#ifdef SYS_open
	by_bits(filter, SYS_open, 1, no_files, false);
#endif
	/* abort() */
	by_first(filter, SYS_tgkill, (uint32_t) getpid());
	/* setrlimit() */
	by_first(filter, SYS_prlimit64, 0);
	own_pace(filter);
	give_back(filter, SECCOMP_RET_ALLOW);
}

bool
sandbox_calls(bool gpu, Failure *failure)
{
	Filter filter;
	struct sock_fprog program = {.filter = filter.line};

	make_filter(&filter, gpu);
	program.len = filter.n;
	/* TSYNC: threads that libraries have started are bound as well. */
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
				&program) != 0)
		return refuse(failure, DEEPHASH_BAD_REQUEST, "no filter of system calls (%s)",
					  strerror(errno));
	return true;
}
#else
bool
sandbox_calls(bool gpu, Failure *failure)
{
	(void) gpu;
	return refuse(failure, DEEPHASH_BAD_REQUEST,
				  "no filter of system calls for this architecture");
}
#endif

void
sandbox_enter(const char *cache_dir, bool gpu, char *active, size_t size)
{
	Failure no_files, no_calls;
	bool files, calls;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	/* In this order: the filter does not let Landlock's files be opened. */
	files = sandbox_files(cache_dir, gpu, &no_files);
	calls = sandbox_calls(gpu, &no_calls);
	if (files && calls)
		snprintf(active, size, "system calls, files");
	else if (calls)
		snprintf(active, size, "system calls; %s", no_files.text);
	else if (files)
		snprintf(active, size, "files; %s", no_calls.text);
	else
		snprintf(active, size, "none: %s, %s", no_calls.text, no_files.text);
	if (!files || !calls)
		say('W', "the sandbox is not complete: %s", active);
}
