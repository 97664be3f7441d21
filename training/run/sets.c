/*
 * sets.c
 *	  The pictures of a run by role.
 */
#include "training/run/sets.h"

#include "training/command.h"
#include "training/data/protocol.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static bool
is_cifar10(const char *data)
{
	return strncmp(data, "cifar10:", 8) == 0;
}

const char *
sets_default_protocol(const char *data)
{
	return is_cifar10(data) ? "Pfull-R" : "split";
}

int
sets_default_size(const char *data)
{
	return is_cifar10(data) ? 32 : 48;
}

const char *
sets_protocols(char *text, int size)
{
	int at = snprintf(text, size, "none, split");

	for (int i = 0; protocol_at(i) && at < size; i++)
		at += snprintf(text + at, size - at, ", %s", protocol_at(i)->name);
	return text;
}

void
sets_free(Sets *s)
{
	if (!s->database_is_train)
		dataset_free(s->database);
	dataset_free(s->train);
	dataset_free(s->query);
	*s = (Sets){0};
}

static Dataset *
open_part(const char *data, const char *part, const ImagePreprocess *pre, int64_t memory,
		  int threads, TrainError *err)
{
	char what[1200];
	const char *end = strrchr(data, ':');

	if (is_cifar10(data) && (strcmp(end, ":train") == 0 || strcmp(end, ":test") == 0))
	{
		train_fail(
			err, "this protocol takes both parts of CIFAR-10: write %.*s without \"%s\"",
			(int) (end - data), data, end);
		return NULL;
	}
	snprintf(what, sizeof(what), "%s%s", data, part);
	return dataset_open_within(what, pre, memory, threads, command_bad_picture, err);
}

/* Draw the sets from the pool of all pictures. */
static bool
cut_pool(Sets *s, const char *protocol, Dataset *pool, uint64_t seed, TrainError *err)
{
	ProtocolSplit split = {0};
	bool ok = protocol_build(protocol, pool, seed, &split, err);

	if (ok)
	{
		s->train = dataset_subset(pool, split.train, split.ntrain);
		s->query = dataset_subset(pool, split.query, split.nquery);
		s->database = dataset_subset(pool, split.database, split.ndatabase);
		if (!s->train || !s->query || !s->database)
			ok = train_fail(err, "out of memory for the pictures of protocol %s",
							protocol);
		protocol_free(&split);
	}
	return ok;
}

int64_t
sets_memory(int megabytes)
{
	if (megabytes > 0)
		return (int64_t) megabytes * 1000000;
	return (int64_t) sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 3;
}

bool
sets_open(Sets *s, const char *data, const char *protocol, double holdout, uint64_t seed,
		  const ImagePreprocess *pre, int64_t memory, int threads, TrainError *err)
{
	Dataset *all;
	bool ok;

	*s = (Sets){0};
	if (strcasecmp(protocol, "Pfull-R") == 0 && is_cifar10(data))
	{
		s->train = open_part(data, ":train", pre, memory, threads, err);
		s->query = s->train ? open_part(data, ":test", pre, memory, threads, err) : NULL;
		s->database = s->train;
		s->database_is_train = true;
		ok = s->query != NULL;
	}
	else
	{
		all = dataset_open_within(data, pre, memory, threads, command_bad_picture, err);
		if (!all)
			return false;
		if (strcasecmp(protocol, "none") == 0)
		{
			s->train = all;
			return true;
		}
		if (strcasecmp(protocol, "split") == 0)
		{
			ok = dataset_split(all, holdout, seed, &s->train, &s->query, err);
			s->database = s->train;
			s->database_is_train = true;
		}
		else
			ok = cut_pool(s, protocol, all, seed, err);
		dataset_free(all);
	}
	if (!ok)
		sets_free(s);
	return ok;
}
