/*
 * dataset_disk.c
 *	  Pictures that do not all fit in memory.
 *
 * Every file was decoded when the set was opened, so what can be read is known.  The
 * first ones stay: with pictures drawn in a new order each epoch any choice is as good
 * as another, and a fixed one needs no bookkeeping between threads.
 */
#include "training/data/dataset_internal.h"

#include "training/run/crc64.h"

#include <stdlib.h>
#include <string.h>

DatasetDisk *
dataset_disk_new(const PictureList *list, const ImagePreprocess *pre, int64_t memory,
				 TrainError *err)
{
	size_t picture = (size_t) pre->width * pre->height * 3;
	DatasetDisk *disk = calloc(1, sizeof *disk);
	bool ok = disk != NULL;

	if (ok)
	{
		atomic_init(&disk->users, 1);
		disk->pre = *pre;
		disk->ncached = (int) (memory / (int64_t) picture);
		disk->cached = malloc(disk->ncached * picture + 1);
		disk->sum = calloc((size_t) list->n + 1, sizeof *disk->sum);
		disk->path = calloc((size_t) list->n + 1, sizeof *disk->path);
		ok = disk->cached && disk->sum && disk->path;
	}
	for (; ok && disk->n < list->n; disk->n++)
		ok = (disk->path[disk->n] = strdup(list->file[disk->n].path)) != NULL;
	if (ok)
		return disk;
	if (disk)
		dataset_disk_free(disk);
	train_fail(err, "out of memory: %lld MB for pictures of a data set",
			   (long long) (memory / 1000000));
	return NULL;
}

void
dataset_disk_free(DatasetDisk *disk)
{
	if (atomic_fetch_sub(&disk->users, 1) > 1)
		return;
	for (int i = 0; disk->path && i < disk->n; i++)
		free(disk->path[i]);
	free(disk->path);
	free(disk->sum);
	free(disk->cached);
	free(disk);
}

const uint8_t *
dataset_pixels(const Dataset *ds, int i, uint8_t *room, TrainError *err)
{
	size_t picture = dataset_picture_size(ds);
	const DatasetDisk *disk = ds->disk;
	ImageError why;
	uint32_t at;

	if (!disk)
		return ds->rgb + i * picture;
	at = ds->place[i];
	if ((int) at < disk->ncached)
		return disk->cached + at * picture;
	if (!dataset_decode_file(disk->path[at], &disk->pre, room, &why))
		train_fail(err, "%.200s could be read when the run began, but no longer: %.200s",
				   ds->source[i], why.text);
	else if (crc64(0, room, picture) != disk->sum[at])
		train_fail(err, "%.200s has changed since the run began", ds->source[i]);
	else
		return room;
	return NULL;
}

uint64_t
dataset_checksum(const Dataset *ds)
{
	size_t picture = dataset_picture_size(ds);
	uint64_t sum = crc64(0, ds->labels, (size_t) ds->n * ds->label_words * 8);

	for (int i = 0; i < ds->n; i++)
	{
		uint64_t one = ds->disk ? ds->disk->sum[ds->place[i]]
								: crc64(0, ds->rgb + i * picture, picture);

		sum = crc64(sum, &one, sizeof one);
	}
	return sum;
}
