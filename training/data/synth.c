/*
 * synth.c
 *	  Write made-up pictures into class folders, in threads.
 */
#include "training/data/synth.h"
#include "training/data/synth_shape.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_THREADS 64
#define MAX_PER_CLASS 1000000

const SynthOptions synth_defaults = {
	.classes = 10, .per_class = 100, .size = 64, .quality = 90, .seed = 1, .threads = 1};

int
synth_class_count(void)
{
	return synth_nshapes;
}

const char *
synth_class_name(int c)
{
	return c >= 0 && c < synth_nshapes ? synth_shapes[c].name : NULL;
}

typedef struct Job
{
	const char *dir;
	const SynthOptions *opt;
	atomic_int next, done;
	atomic_bool failed;
	pthread_mutex_t lock; /* of err: the first failure is the one told */
	TrainError *err;
} Job;

static void
job_fail(Job *job, const TrainError *why)
{
	pthread_mutex_lock(&job->lock);
	if (!atomic_exchange(&job->failed, true))
		*job->err = *why;
	pthread_mutex_unlock(&job->lock);
}

/* Write to a hidden name first (the reader passes over those), then rename. */
static bool
write_whole(const char *folder, int number, const uint8_t *data, size_t size,
			TrainError *err)
{
	char hidden[4200], path[4200];
	FILE *file;
	bool ok;

	snprintf(hidden, sizeof hidden, "%s/.%05d.jpg.part", folder, number);
	snprintf(path, sizeof path, "%s/%05d.jpg", folder, number);
	file = fopen(hidden, "wb");
	if (file == NULL)
		return train_fail(err, "cannot create \"%s\": %s", path, strerror(errno));
	ok = fwrite(data, 1, size, file) == size;
	ok = fclose(file) == 0 && ok;
	ok = ok && rename(hidden, path) == 0;
	if (!ok)
	{
		train_fail(err, "cannot write \"%s\": %s", path, strerror(errno));
		unlink(hidden);
	}
	return ok;
}

static bool
write_picture(const Job *job, int c, int number, TrainError *err)
{
	const SynthOptions *opt = job->opt;
	char folder[4096];
	Image img;
	ImageError image_err;
	uint8_t *data;
	size_t size;
	bool ok;

	snprintf(folder, sizeof folder, "%s/%s", job->dir, synth_class_name(c));
	if (!synth_render(c, number, opt->size, opt->seed, &img, err))
		return false;
	ok = image_encode_jpeg(&img, opt->quality, &data, &size, &image_err);
	image_free(&img);
	if (!ok)
		return train_fail(err, "cannot encode a picture: %s", image_err.text);
	ok = write_whole(folder, number, data, size, err);
	free(data);
	return ok;
}

static void *
work(void *arg)
{
	Job *job = arg;
	int total = job->opt->classes * job->opt->per_class;
	TrainError err;
	int i;

	while (!atomic_load(&job->failed) && (i = atomic_fetch_add(&job->next, 1)) < total)
	{
		/* classes in turn, so that an interrupted run has some of each */
		if (!write_picture(job, i % job->opt->classes, i / job->opt->classes, &err))
			job_fail(job, &err);
		else if (job->opt->progress)
			job->opt->progress(atomic_fetch_add(&job->done, 1) + 1, total,
							   job->opt->progress_arg);
	}
	return NULL;
}

static void
run_threads(Job *job)
{
	pthread_t id[MAX_THREADS];
	int threads = job->opt->threads < MAX_THREADS ? job->opt->threads : MAX_THREADS;
	int started = 0;

	while (started < threads - 1 && pthread_create(&id[started], NULL, work, job) == 0)
		started++;
	work(job);
	for (int t = 0; t < started; t++)
		pthread_join(id[t], NULL);
}

static bool
make_folder(const char *path, TrainError *err)
{
	struct stat st;

	if (mkdir(path, 0777) == 0 ||
		(errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
		return true;
	return train_fail(err, "cannot make the folder \"%s\": %s", path, strerror(errno));
}

static bool
check_empty(const char *path, TrainError *err)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	bool ok = true;

	if (dir == NULL)
		return train_fail(err, "cannot read the folder \"%s\": %s", path,
						  strerror(errno));
	while (ok && (entry = readdir(dir)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			ok = train_fail(err,
							"the folder \"%s\" is not empty: name a new one, or ask to "
							"write into it",
							path);
	closedir(dir);
	return ok;
}

static bool
check_options(const char *dir, const SynthOptions *opt, TrainError *err)
{
	if (strlen(dir) == 0 || strlen(dir) > 4000)
		return train_fail(err, "the name of the folder is empty or too long");
	if (opt->classes < 2 || opt->classes > synth_nshapes)
		return train_fail(err, "%d classes: expected 2 to %d", opt->classes,
						  synth_nshapes);
	if (opt->per_class < 1 || opt->per_class > MAX_PER_CLASS)
		return train_fail(err, "%d pictures per class: expected 1 to %d", opt->per_class,
						  MAX_PER_CLASS);
	if (opt->size < SYNTH_MIN_SIZE || opt->size > SYNTH_MAX_SIZE)
		return train_fail(err, "pictures of %d pixels: expected %d to %d", opt->size,
						  SYNTH_MIN_SIZE, SYNTH_MAX_SIZE);
	if (opt->quality < 1 || opt->quality > 100)
		return train_fail(err, "JPEG quality %d: expected 1 to 100", opt->quality);
	return true;
}

bool
synth_write(const char *dir, const SynthOptions *opt, TrainError *err)
{
	Job job = {.dir = dir, .opt = opt, .err = err, .lock = PTHREAD_MUTEX_INITIALIZER};
	char folder[4096];

	if (!check_options(dir, opt, err) || !make_folder(dir, err) ||
		(!opt->into_existing && !check_empty(dir, err)))
		return false;
	for (int c = 0; c < opt->classes; c++)
	{
		snprintf(folder, sizeof folder, "%s/%s", dir, synth_class_name(c));
		if (!make_folder(folder, err))
			return false;
	}
	run_threads(&job);
	pthread_mutex_destroy(&job.lock);
	return !atomic_load(&job.failed);
}
