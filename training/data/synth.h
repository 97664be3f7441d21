/*
 * synth.h
 *	  Made-up labelled pictures, for machines that have none.
 *
 * The class of a picture is the shape of its largest object; texture, colours,
 * pose, background, clutter, blur, light and noise say nothing about it.  A picture
 * depends on (seed, class, number, size) alone.
 */
#ifndef TRAIN_SYNTH_H
#define TRAIN_SYNTH_H

#include "image/image.h"
#include "training/train.h"

#define SYNTH_MIN_SIZE 16
#define SYNTH_MAX_SIZE 1024

typedef struct SynthOptions
{
	int classes;   /* 2 .. synth_class_count() */
	int per_class; /* pictures of each */
	int size;	   /* width and height in pixels */
	int quality;   /* of the JPEG, 1 .. 100 */
	uint64_t seed;
	int threads;
	bool into_existing; /* write into a folder that is not empty */
	void (*progress)(int done, int total, void *arg); /* NULL: none; any thread */
	void *progress_arg;
} SynthOptions;

extern const SynthOptions synth_defaults; /* 10 classes of 100, 64 x 64, quality 90 */

extern int synth_class_count(void);
extern const char *synth_class_name(int c);

/*
 * Write DIR/<class>/<number>.jpg, ready for folder:DIR.  Folders are made as needed;
 * a folder that has anything in it is refused unless into_existing.  Each file
 * appears whole or not at all.
 */
extern bool synth_write(const char *dir, const SynthOptions *opt, TrainError *err);

/* Picture `number` of class c; out->rgb is malloc'ed. */
extern bool synth_render(int c, int number, int size, uint64_t seed, Image *out,
						 TrainError *err);

#endif
