/*
 * dataset_decode.c
 *	  From a list of files to pixels in memory, in threads.
 *
 * Each thread takes the next file, so a slow picture holds up nobody.  The
 * outcome does not depend on the number of threads: pictures land in their own
 * place and failures are reported afterwards, in the order of the list.
 */
#include "training/data/dataset_internal.h"

#include "training/run/crc64.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct DecodeJob
{
	const PictureList *list;
	const ImagePreprocess *pre;
	Dataset *ds;
	DatasetDisk *disk; /* NULL: all pixels stay in ds */
	char **failure;	   /* per file: NULL or why it could not be read (malloc'ed) */
	atomic_int next;
} DecodeJob;

/* What a failure is when there is not even memory to say so. */
static char no_memory[] = "out of memory";

/*
 * The whole file into a malloc'ed buffer.  O_NONBLOCK so that a pipe with a
 * picture's name cannot hang us; only plain files are read.
 */
static uint8_t *
read_file(const char *path, size_t *size, ImageError *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	uint8_t *data = NULL;
	size_t done = 0;

	if (fd < 0)
	{
		snprintf(why->text, sizeof why->text, "cannot open: %s", strerror(errno));
		return NULL;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		snprintf(why->text, sizeof why->text, "not a plain file");
	else if (st.st_size > DATASET_MAX_FILE)
		snprintf(why->text, sizeof why->text,
				 "%lld bytes are more than the limit of %lld", (long long) st.st_size,
				 (long long) DATASET_MAX_FILE);
	else if ((data = malloc((size_t) st.st_size + 1)) == NULL)
		snprintf(why->text, sizeof why->text, "out of memory: the file has %lld bytes",
				 (long long) st.st_size);
	while (data && done < (size_t) st.st_size)
	{
		ssize_t got = read(fd, data + done, (size_t) st.st_size - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
		{
			snprintf(why->text, sizeof why->text, "cannot read: %s",
					 got < 0 ? strerror(errno) : "the file became shorter");
			free(data);
			data = NULL;
			break;
		}
		done += (size_t) got;
	}
	close(fd);
	*size = done;
	return data;
}

bool
dataset_decode_file(const char *path, const ImagePreprocess *pre, uint8_t *out,
					ImageError *why)
{
	size_t size;
	uint8_t *data = read_file(path, &size, why);
	bool ok = data && image_from_jpeg(data, size, pre, &image_default_limits, out, why);

	free(data);
	return ok;
}

/* room is this thread's, for a picture that is not kept. */
static void
decode_one(DecodeJob *job, int i, uint8_t *room)
{
	size_t picture = dataset_picture_size(job->ds);
	uint8_t *out = !job->disk				? job->ds->rgb + i * picture
				   : i < job->disk->ncached ? job->disk->cached + i * picture
											: room;
	ImageError why = {"out of memory"};

	if (!out || !dataset_decode_file(job->list->file[i].path, job->pre, out, &why))
	{
		job->failure[i] = strdup(why.text);
		if (job->failure[i] == NULL)
			job->failure[i] = no_memory;
	}
	else if (job->disk)
		job->disk->sum[i] = crc64(0, out, picture);
}

static void *
decode_thread(void *arg)
{
	DecodeJob *job = arg;
	uint8_t *room = job->disk ? malloc(dataset_picture_size(job->ds)) : NULL;
	int i;

	while ((i = atomic_fetch_add(&job->next, 1)) < job->list->n)
		decode_one(job, i, room);
	free(room);
	return NULL;
}

static void
run_threads(DecodeJob *job, int threads)
{
	pthread_t id[64];
	int started = 0;

	if (threads > 64)
		threads = 64;
	/* The caller is one of the threads; if none can be started it does all. */
	while (started < threads - 1 &&
		   pthread_create(&id[started], NULL, decode_thread, job) == 0)
		started++;
	decode_thread(job);
	for (int t = 0; t < started; t++)
		pthread_join(id[t], NULL);
}

/* Close the gaps that failed pictures left and fill in labels and names. */
static bool
finish(Dataset *ds, DecodeJob *job, DatasetBadFn on_bad, TrainError *err)
{
	size_t picture = (size_t) ds->width * ds->height * 3;
	int kept = 0;

	for (int i = 0; i < job->list->n; i++)
	{
		const PictureFile *file = &job->list->file[i];

		if (job->failure[i])
		{
			ds->skipped++;
			if (on_bad)
				on_bad(file->source, job->failure[i]);
			continue;
		}
		if (job->disk)
			ds->place[kept] = (uint32_t) i;
		else if (kept != i)
			memcpy(ds->rgb + kept * picture, ds->rgb + i * picture, picture);
		for (int c = 0; c < file->nclasses; c++)
			ds->labels[(size_t) kept * ds->label_words + file->classes[c] / 64] |=
				UINT64_C(1) << (file->classes[c] % 64);
		if ((ds->source[kept] = strdup(file->source)) == NULL)
			return train_fail(err, "out of memory");
		kept++;
	}
	ds->n = kept;
	return true;
}

/* Does every picture that is left belong to the same one class? */
static bool
one_class_left(const Dataset *ds)
{
	for (int i = 0; i < ds->n; i++)
		for (int w = 0; w < ds->label_words; w++)
		{
			uint64_t first = ds->labels[w];

			if (ds->labels[(size_t) i * ds->label_words + w] != first ||
				(first & (first - 1)))
				return false;
		}
	return dataset_class(ds, 0) >= 0;
}

/* Where the pixels will lie: all in memory, or the first ones. */
static Dataset *
new_for(DecodeJob *job, int nclasses, int64_t memory, TrainError *err)
{
	const ImagePreprocess *pre = job->pre;
	int n = job->list->n;

	if (memory > 0 && (int64_t) n * pre->width * pre->height * 3 > memory)
	{
		job->disk = dataset_disk_new(job->list, pre, memory, err);
		if (!job->disk)
			return NULL;
		job->ds =
			dataset_new_on_disk(n, pre->width, pre->height, nclasses, job->disk, err);
		/* from here on it is the data set's alone */
		dataset_disk_free(job->disk);
	}
	else
		job->ds = dataset_new(n, pre->width, pre->height, nclasses, err);
	return job->ds;
}

Dataset *
dataset_decode(const char *what, const PictureList *list, char *const *class_name,
			   int nclasses, const ImagePreprocess *pre, int64_t memory, int threads,
			   DatasetBadFn on_bad, TrainError *err)
{
	DecodeJob job = {.list = list, .pre = pre};
	Dataset *ds = new_for(&job, nclasses, memory, err);
	bool ok = ds != NULL;

	if (!ok)
		return NULL;
	job.failure = calloc((size_t) list->n + 1, sizeof(char *));
	for (int c = 0; c < nclasses && ok; c++)
		ok = (ds->class_name[c] = strdup(class_name[c])) != NULL;
	if (job.failure == NULL || !ok)
		ok = train_fail(err, "out of memory: a list of %d pictures", list->n);
	else
	{
		run_threads(&job, threads);
		ok = finish(ds, &job, on_bad, err);
	}
	if (ok && ds->n == 0)
		ok = train_fail(err,
						"%s: none of the %d files could be read as a JPEG; the first "
						"is \"%s\": %.200s",
						what, list->n, list->file[0].source, job.failure[0]);
	if (ok && one_class_left(ds))
		ok = train_fail(err,
						"%s: every picture that can be read is of the class \"%s\": at "
						"least two classes are needed to learn a difference",
						what, ds->class_name[dataset_class(ds, 0)]);
	for (int i = 0; job.failure && i < list->n; i++)
		if (job.failure[i] != no_memory)
			free(job.failure[i]);
	free(job.failure);
	if (!ok)
	{
		dataset_free(ds);
		return NULL;
	}
	return ds;
}
