/*
 * sandbox.h
 *	  What the engine gives up, and what it is held to.
 *
 *	sandbox.c        the whole of it, and system calls
 *	sandbox_files.c  access to files
 *	limits.c         core files, memory, the process itself
 */
#ifndef SERVICE_SANDBOX_H
#define SERVICE_SANDBOX_H

#include "service/service.h"

/*
 * After the device is open and the socket listens, and before there are threads of our
 * own: no new privileges, programs, processes, sockets or signals, no writing to files,
 * and no file but those in cache_dir.  gpu leaves what a driver needs (README.md).
 * What is active goes to `active`; what the kernel does not have is left out with a
 * warning.
 */
extern void sandbox_enter(const char *cache_dir, bool gpu, char *active, size_t size);

/* ---------------------------------------------------------------- limits.c */

/* To be called first: be killed first when memory ends, many open files, no core file. */
extern void prepare_process(bool core_files);

/* A descriptor for memory_private(), opened before the sandbox forbids that; or -1. */
extern int memory_open(void);
/* Bytes of private writable memory, whether touched or not; or -1. */
extern int64_t memory_private(int statm);
/* Limit memory_private() to so many bytes; false and the reason. */
extern bool memory_limit(int64_t bytes, Failure *failure);

/* --------------------------------------------------- sandbox.c, sandbox_files.c */

/* The two parts of sandbox_enter; false and the reason where the kernel lacks them. */
extern bool sandbox_calls(bool gpu, Failure *failure);
extern bool sandbox_files(const char *cache_dir, bool gpu, Failure *failure);

#endif
