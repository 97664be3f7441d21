/*
 * augment.h
 *	  Random changes of training pictures.
 *
 * What happens to a picture is a pure function of (seed, epoch, picture, view), so a
 * resumed run sees the same and threads do not matter.  Zeros in AugmentOptions mean
 * that nothing is done.
 */
#ifndef TRAIN_AUGMENT_H
#define TRAIN_AUGMENT_H

#include "image/image.h"
#include "training/train.h"

typedef struct AugmentOptions
{
	int translate;	   /* shift by up to so many pixels each way, edges reflected */
	bool flip;		   /* mirror every other epoch, starting at random per picture */
	double crop;	   /* least share of the area in a random resized crop; 0: none */
	double crop_ratio; /* its widest aspect, and the inverse; 0: 4/3 */
	int random_ops;	   /* RandAugment's N; 0: none */
	double random_magnitude;					  /* its M, 0 .. 30 */
	double brightness, contrast, saturation, hue; /* colour jitter */
	double jitter_chance;						  /* of the four together */
	double grey_chance, blur_chance;
	int cutout;			  /* grey square of this side; 0: none */
	double mixup, cutmix; /* alpha of Beta(alpha, alpha); 0: none */
	bool two_views;		  /* a batch holds every picture twice, changed apart */
} AugmentOptions;

/* What all pictures of a run have in common. */
typedef struct Augment
{
	AugmentOptions options;
	uint64_t seed;
	int width, height; /* of the result */
	uint8_t grey[3];   /* mean colour, for what has no picture */
} Augment;

/* One thread's memory: room for pictures of up to width x height. */
typedef struct AugmentRoom
{
	uint8_t *copy;
	size_t size;
} AugmentRoom;

extern bool augment_room_init(AugmentRoom *room, int width, int height, TrainError *err);
extern void augment_room_free(AugmentRoom *room);

/*
 * Picture number `picture`, whose pixels are `from`, into out (height x width x 3).
 * A picture larger than the result is cropped at random; without `crop` the crop is as
 * large as the result, about the centre but for `translate`.  Fails only for want of
 * memory.
 */
extern bool augment_picture(const Augment *a, const Image *from, uint32_t picture,
							int epoch, int view, AugmentRoom *room, uint8_t *out,
							TrainError *err);

/* -------------------------------------------------------------------- geometry.c */

/* Reflection without repeating the edge: -1 is 1, n is n - 2. */
extern int augment_reflect(int at, int n);

/* The width x height pixels of `from` from (x, y) on, mirrored or not, reflected at
 * edges. */
extern void augment_shifted(const Image *from, int x, int y, bool flip, int width,
							int height, uint8_t *out);

/* The box of a random resized crop (Szegedy et al., 2015; torchvision's rule). */
typedef struct AugmentBox
{
	int x, y, width, height;
} AugmentBox;
extern AugmentBox augment_crop_box(Rng *rng, int width, int height, double least,
								   double ratio);
extern bool augment_crop(const Image *from, const AugmentBox *box, bool flip, int width,
						 int height, AugmentRoom *room, uint8_t *out, TrainError *err);

/*
 * out(x, y) = from(m0 x + m1 y + m2, m3 x + m4 y + m5), coordinates of pixel centres
 * from the picture's own centre, bilinear; grey where there is no picture.
 */
extern void augment_affine(uint8_t *rgb, int width, int height, const double m[6],
						   const uint8_t grey[3], AugmentRoom *room);

extern void augment_cutout(uint8_t *rgb, int width, int height, int side, int x, int y,
						   const uint8_t grey[3]);

/* -------------------------------------------------------------------- colour.c */

/* Blends with black, with the mean grey, with each pixel's grey; 1 changes nothing. */
extern void augment_brightness(uint8_t *rgb, size_t npixels, double factor);
extern void augment_contrast(uint8_t *rgb, size_t npixels, double factor);
extern void augment_saturation(uint8_t *rgb, size_t npixels, double factor);
/* Turn the hue by a share of the circle. */
extern void augment_hue(uint8_t *rgb, size_t npixels, double turn);
extern void augment_grey(uint8_t *rgb, size_t npixels);
extern void augment_posterise(uint8_t *rgb, size_t npixels, int bits);
extern void augment_solarise(uint8_t *rgb, size_t npixels, int threshold);
extern void augment_autocontrast(uint8_t *rgb, size_t npixels);
extern void augment_equalise(uint8_t *rgb, size_t npixels);
/* Blend with a smoothed picture: 0 is smooth, 1 as it was, 2 sharper. */
extern void augment_sharpness(uint8_t *rgb, int width, int height, double factor,
							  AugmentRoom *room);
extern void augment_blur(uint8_t *rgb, int width, int height, double sigma,
						 AugmentRoom *room);

/* Brightness, contrast, saturation and hue in a random order. */
extern void augment_jitter(const AugmentOptions *o, Rng *rng, uint8_t *rgb,
						   size_t npixels);

/* ------------------------------------------------------------------ randaugment.c */

extern int augment_nops(void);
extern const char *augment_op_name(int op);

/* One operation at a magnitude of 0 .. 30; sign is +1 or -1 where it has one. */
extern void augment_op(int op, double magnitude, int sign, uint8_t *rgb, int width,
					   int height, const uint8_t grey[3], AugmentRoom *room);

/* ------------------------------------------------------------------------- mix.c */

/* How a batch is mixed: picture i with picture n - 1 - i. */
typedef struct Mix
{
	double share;	/* of the picture's own pixels and labels; 1: not mixed */
	bool cut;		/* cutmix: the box is the partner's */
	AugmentBox box; /* of a cut */
} Mix;

/* Drawn from (seed, step). */
extern Mix mix_draw(const AugmentOptions *o, uint64_t seed, int64_t step, int width,
					int height);

/* Pictures i and n - 1 - i of a batch, both at once; i < n / 2. */
extern void mix_pair(const Mix *mix, uint8_t *a, uint8_t *b, int width, int height);

/* From Beta(alpha, alpha). */
extern double mix_beta(Rng *rng, double alpha);

#endif
