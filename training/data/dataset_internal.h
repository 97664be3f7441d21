/*
 * dataset_internal.h
 *	  What the readers of training/data share; nobody outside includes it.
 */
#ifndef TRAIN_DATASET_INTERNAL_H
#define TRAIN_DATASET_INTERNAL_H

#include "training/data/dataset.h"

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

/* An empty data set with room for n pictures and its classes unnamed; NULL when
 * there is no memory, err then says how much was wanted. */
extern Dataset *dataset_new(int n, int width, int height, int nclasses, TrainError *err);

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
							   const ImagePreprocess *pre, int threads,
							   DatasetBadFn on_bad, TrainError *err);

/* The readers behind dataset_open; `place` is the description past the colon. */
extern Dataset *dataset_open_cifar10(const char *place, const ImagePreprocess *pre,
									 TrainError *err);
extern Dataset *dataset_open_folder(const char *place, const ImagePreprocess *pre,
									int threads, DatasetBadFn on_bad, TrainError *err);
extern Dataset *dataset_open_manifest(const char *place, const ImagePreprocess *pre,
									  int threads, DatasetBadFn on_bad, TrainError *err);

#endif
