/*
 * dataset_internal.h
 *	  What the readers of training/data share; nobody outside includes it.
 */
#ifndef TRAIN_DATASET_INTERNAL_H
#define TRAIN_DATASET_INTERNAL_H

#include "training/data/dataset.h"

#include <stdatomic.h>

#define DATASET_MAX_CLASSES 65536
#define DATASET_MAX_FILE ((int64_t) 256 << 20) /* bytes of one picture file */

typedef void (*DatasetBadFn)(const char *source, const char *why);

/* One picture still on disk: where it lies, what to call it, which classes. */
typedef struct PictureFile
{
	char *path;	  /* to open */
	char *source; /* for reports */
	int *classes; /* nclasses of them */
	int nclasses;
} PictureFile;

typedef struct PictureList
{
	PictureFile *file;
	int n, room;
} PictureList;

typedef struct NameList
{
	char **name;
	int n, room;
	int *slot; /* hash table of positions + 1, 0 = free */
	size_t nslots;
} NameList;

/*
 * Pictures that are decoded when they are wanted.  Data sets cut from one share it.
 */
typedef struct DatasetDisk
{
	atomic_int users;
	int n;
	char **path;
	ImagePreprocess pre;
	uint64_t *sum;	 /* CRC-64 of each picture's pixels */
	uint8_t *cached; /* the pixels of the first ncached */
	int ncached;
} DatasetDisk;

extern DatasetDisk *dataset_disk_new(const PictureList *list, const ImagePreprocess *pre,
									 int64_t memory, TrainError *err);
extern void dataset_disk_free(DatasetDisk *disk); /* by the last of its users */

/* Read and decode one file into out. */
extern bool dataset_decode_file(const char *path, const ImagePreprocess *pre,
								uint8_t *out, ImageError *why);

/* An empty data set with room for n pictures and its classes unnamed; NULL when
 * there is no memory, err then says how much was wanted. */
extern Dataset *dataset_new(int n, int width, int height, int nclasses, TrainError *err);

/* The same without room for pixels: they come from disk. */
extern Dataset *dataset_new_on_disk(int n, int width, int height, int nclasses,
									DatasetDisk *disk, TrainError *err);

/* Both take copies and fail only for want of memory. */
extern bool picture_list_add(PictureList *list, const char *path, const char *source,
							 const int *classes, int nclasses, TrainError *err);
extern void picture_list_free(PictureList *list);

/* Position of name, added at the end if new; -1 for want of memory. */
extern int name_list_add(NameList *list, const char *name);
extern void name_list_free(NameList *list);

/*
 * Read and decode every file of the list in threads; pictures that cannot be
 * read are reported in the list's order and left out.  `what` opens messages.
 */
extern Dataset *dataset_decode(const char *what, const PictureList *list,
							   char *const *class_name, int nclasses,
							   const ImagePreprocess *pre, int64_t memory, int threads,
							   DatasetBadFn on_bad, TrainError *err);

/* The readers behind dataset_open; `place` is the description past the colon. */
extern Dataset *dataset_open_cifar10(const char *place, const ImagePreprocess *pre,
									 TrainError *err);
extern Dataset *dataset_open_folder(const char *place, const ImagePreprocess *pre,
									int64_t memory, int threads, DatasetBadFn on_bad,
									TrainError *err);
extern Dataset *dataset_open_manifest(const char *place, const ImagePreprocess *pre,
									  int64_t memory, int threads, DatasetBadFn on_bad,
									  TrainError *err);

#endif
