/*
 * progress.c
 *	  Progress on stderr.
 */
#include "training/run/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

double
progress_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

void
progress_start(Progress *p, int64_t first, int64_t total)
{
	p->terminal = isatty(STDERR_FILENO);
	p->every = p->terminal ? 0.5 : 20;
	p->started = p->last = progress_now();
	p->first = first;
	p->total = total;
}

const char *
progress_duration(double seconds, char *text, int size)
{
	long s = seconds < 0 ? 0 : (long) (seconds + 0.5);

	if (s >= 3600)
		snprintf(text, size, "%ld h %02ld min", s / 3600, s / 60 % 60);
	else if (s >= 60)
		snprintf(text, size, "%ld min %02ld s", s / 60, s % 60);
	else
		snprintf(text, size, "%ld s", s);
	return text;
}

void
progress_show(Progress *p, int64_t done, double unit, const char *what, const char *text,
			  bool force)
{
	double now = progress_now();
	double rate = (double) (done - p->first) / (now - p->started + 1e-9);
	char left[32];

	if (!force && now - p->last < p->every)
		return;
	p->last = now;
	progress_duration(rate > 0 ? (double) (p->total - done) / rate : 0, left,
					  sizeof(left));
	fprintf(stderr, "%s%3.0f%%  %s  %.0f %s/s  %s left%s", p->terminal ? "\r\033[K" : "",
			100.0 * (double) done / (double) p->total, text, rate * unit, what, left,
			p->terminal ? "" : "\n");
	fflush(stderr);
}

void
progress_end(Progress *p)
{
	if (p->terminal)
		fputc('\n', stderr);
}
