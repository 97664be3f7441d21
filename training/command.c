/*
 * command.c
 *	  Help for the subcommands.
 */
#include "training/command.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int
command_failed(const char *name, const TrainError *err)
{
	fprintf(stderr, "deephash-train %s: %s\n", name, err->text);
	return COMMAND_FAILED;
}

int
command_usage(const char *name, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "deephash-train %s: ", name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nTry \"deephash-train %s --help\".\n", name);
	return COMMAND_USAGE;
}

int
command_options(const char *name, int argc, char **argv, const struct option *options,
				void (*usage)(void), bool (*set)(void *arg, int option), void *arg)
{
	int index = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, &index)) != -1)
	{
		if (option == 'h')
		{
			usage();
			return COMMAND_OK;
		}
		if (option == '?')
			return command_usage(name, "see the message above");
		if (!set(arg, option))
			return command_refused(name, options[index].name, optarg);
	}
	return -1;
}

static char wanted[128]; /* what the value that was refused last must be */

bool
command_want(bool good, const char *what)
{
	snprintf(wanted, sizeof(wanted), "%s", what);
	return good;
}

int
command_refused(const char *name, const char *option, const char *value)
{
	return command_usage(name, "--%s cannot be \"%s\": it must be %s", option, value,
						 wanted);
}

bool
command_int(const char *text, int low, int high, int *out)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(text, &end, 10);
	snprintf(wanted, sizeof(wanted), "a whole number from %d to %d", low, high);
	if (errno || end == text || *end || v < low || v > high)
		return false;
	*out = (int) v;
	return true;
}

bool
command_seed(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	return command_want(*text >= '0' && *text <= '9' && *end == '\0' && !errno,
						"a whole number from 0 to 18446744073709551615");
}

bool
command_double(const char *text, double low, double high, double *out)
{
	char *end;
	double v;

	errno = 0;
	v = strtod(text, &end);
	snprintf(wanted, sizeof(wanted), "a number from %g to %g", low, high);
	if (errno || end == text || *end || !(v >= low && v <= high))
		return false;
	*out = v;
	return true;
}

int
command_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

void
command_bad_picture(const char *source, const char *why)
{
	fprintf(stderr, "skipped %s: %s\n", source, why);
}
