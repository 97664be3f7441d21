/*
 * dataset.h
 *	  Labelled pictures from wherever they come.
 *
 * Everything is decoded once, which finds the unreadable, and held as uint8 RGB of one
 * size (60,000 CIFAR-10 pictures are 184 MB).  Where that is more than the memory
 * allowed, the first pictures are held and the rest are decoded again whenever they
 * are wanted.  Augmentation happens per batch.  Labels are one or many per picture.
 */
#ifndef TRAIN_DATASET_H
#define TRAIN_DATASET_H

#include "image/image.h"
#include "training/train.h"

typedef struct Dataset
{
	int n;			   /* pictures */
	int width, height; /* of each */
	uint8_t *rgb;	   /* n * height * width * 3; NULL where disk has them */
	int nclasses;
	char **class_name; /* nclasses names */
	uint64_t *labels;  /* n rows of label_words words: bit c = has class c */
	int label_words;   /* ceil(nclasses / 64) */
	char **source;	   /* n names for reports (path, or "test_batch.bin:17") */
	int skipped;	   /* pictures that could not be read, each already reported */

	struct DatasetDisk *disk; /* files that are decoded on demand, or NULL */
	uint32_t *place;		  /* n places in it */
} Dataset;

/* Bytes of one picture. */
extern size_t dataset_picture_size(const Dataset *ds);

/*
 * The pixels of picture i, where they lie or decoded into room (one picture's bytes).
 * NULL if its file has become unreadable since the set was opened.  Any thread.
 */
extern const uint8_t *dataset_pixels(const Dataset *ds, int i, uint8_t *room,
									 TrainError *err);

/*
 * Pictures first .. first+n-1 in a row, cut to width x height about their centres: where
 * they lie, or in room (n * height * width * 3 bytes), which is needed if
 * dataset_needs_room says so.  NULL as dataset_pixels.
 */
extern const uint8_t *dataset_gather(const Dataset *ds, int first, int n, int width,
									 int height, int threads, uint8_t *room,
									 TrainError *err);
extern bool dataset_needs_room(const Dataset *ds, int width, int height);

/* A sum of all labels and pixels in order, the same wherever the pixels lie. */
extern uint64_t dataset_checksum(const Dataset *ds);

/* The lowest class of picture i, or -1 where it has none. */
extern int dataset_class(const Dataset *ds, int i);

/* Do pictures a[i] and b[j] share a label? */
extern bool dataset_relevant(const Dataset *a, int i, const Dataset *b, int j);

/*
 * Open by description:
 *   cifar10:DIR[:train|:test]   CIFAR-10 binary batches in DIR (data_batch_N.bin,
 *                               test_batch.bin); also the one packed archive
 *                               cifar10.med.xz in DIR (see dataset_cifar10.c)
 *   folder:DIR                  one folder per class, JPEGs below it
 *   manifest:FILE               lines "path<TAB>label[,label...]", paths
 *                               relative to the manifest
 * pre says how to prepare JPEGs; CIFAR pictures must already fit it.  on_bad is
 * told of each unreadable picture (which is skipped); threads decode.
 */
extern Dataset *dataset_open(const char *what, const ImagePreprocess *pre, int threads,
							 void (*on_bad)(const char *source, const char *why),
							 TrainError *err);

/* The same, holding at most so many bytes of pixels in memory; 0: no limit. */
extern Dataset *dataset_open_within(const char *what, const ImagePreprocess *pre,
									int64_t memory, int threads,
									void (*on_bad)(const char *source, const char *why),
									TrainError *err);

/* A new data set of the pictures index[0 .. n-1]. */
extern Dataset *dataset_subset(const Dataset *ds, const uint32_t *index, int n);

/* Split at random, stratified by first class: `share` of each class goes to *b. */
extern bool dataset_split(const Dataset *ds, double share, uint64_t seed, Dataset **a,
						  Dataset **b, TrainError *err);

extern void dataset_free(Dataset *ds);

#endif
