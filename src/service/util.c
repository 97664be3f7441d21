/*
 * util.c
 *	  Failures, log lines and the clock.
 */
#include "service/service.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

bool
refuse(Failure *failure, DeephashStatus status, const char *format, ...)
{
	va_list args;

	failure->status = status;
	va_start(args, format);
	vsnprintf(failure->text, sizeof(failure->text), format, args);
	va_end(args);
	/* The text may quote a file: keep it one line of ASCII. */
	for (char *c = failure->text; *c; c++)
	{
		if (*c < ' ' || *c > '~')
			*c = '?';
	}
	return false;
}

bool
refuse_for(Failure *failure, DeephashStatus status, const char *reason)
{
	static const char lack[] = "out of memory";

	if (strncmp(reason, lack, sizeof(lack) - 1) == 0)
		status = DEEPHASH_NO_MEMORY;
	return refuse(failure, status, "%s", reason);
}

void
say(char level, const char *format, ...)
{
	char line[700];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	/* One write, so that lines of several threads do not mix. */
	dprintf(STDOUT_FILENO, "%c %s\n", level, line);
}

int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t) t.tv_sec * 1000000 + t.tv_nsec / 1000;
}
