/*
 * image.h
 *	  From the bytes of a JPEG to the pixels a network sees.
 *
 * Plain C: no PostgreSQL, no exit(), no output, no global state; every function
 * may run in many threads at once.  Bytes come from outside and may be hostile:
 * every outcome is pixels or an error text that says what is wrong.
 */
#ifndef IMAGE_H
#define IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ImageError
{
	char text[256]; /* one line, lower case, no full stop, valid ASCII */
} ImageError;

/* Pixels: height rows of width RGB triples, 8 bits each, no padding. */
typedef struct Image
{
	int width;
	int height;
	uint8_t *rgb; /* malloc'ed, width * height * 3 bytes */
} Image;

typedef struct ImageLimits
{
	int64_t max_pixels; /* width * height as the header says, before scaling */
	int max_scans;		/* scans of a progressive file */
	int64_t max_memory; /* bytes the decoder may hold */
} ImageLimits;

extern const ImageLimits image_default_limits; /* 100 Mpixel, 500 scans, 512 MB */

typedef enum ImageResize
{
	IMAGE_BICUBIC, /* a = -0.5, widened when shrinking (antialiased) */
	IMAGE_AREA	   /* box average; bilinear when enlarging */
} ImageResize;

/*
 * How a model wants its pictures: the short side is resized to `resize` (0: no
 * resize of the short side, the whole picture is stretched to the crop), then
 * the centre width x height is cut out.
 */
typedef struct ImagePreprocess
{
	int width; /* of the network's input */
	int height;
	int resize; /* short side before the crop; 0 = stretch */
	ImageResize filter;
} ImagePreprocess;

/*
 * Decode a JPEG: upright (EXIF orientation applied), RGB whatever its colour
 * space.  min_short_side > 0 lets the decoder scale down by 1/2, 1/4 or 1/8 as
 * long as the short side stays at least twice that.  Returns false and fills err.
 * With warnings != NULL the number of libjpeg warnings (corrupt but decodable
 * data) is stored there.
 */
extern bool image_decode_jpeg(const uint8_t *data, size_t size, int min_short_side,
							  const ImageLimits *limits, Image *out, int *warnings,
							  ImageError *err);

extern void image_free(Image *img);

/*
 * Resize and crop as pre says into out[pre->height * pre->width * 3].  The result
 * depends on the pixels alone: same bytes on every CPU, in training and serving.
 */
extern bool image_prepare(const Image *img, const ImagePreprocess *pre, uint8_t *out,
						  ImageError *err);

/* image_decode_jpeg and image_prepare in one. */
extern bool image_from_jpeg(const uint8_t *data, size_t size, const ImagePreprocess *pre,
							const ImageLimits *limits, uint8_t *out, ImageError *err);

/* The normalised tensor: out = (rgb / 255 - mean[c]) / std[c], same order. */
extern void image_normalise(const uint8_t *rgb, size_t npixels, const float mean[3],
							const float std[3], float *out);

/*
 * What the first bytes look like: "JPEG", "PNG", "WebP", "GIF", "HEIC", "AVIF",
 * "TIFF", "BMP", "PDF", "JPEG XL", "JPEG 2000", "text", "empty", "unknown".
 */
extern const char *image_sniff(const uint8_t *data, size_t size);

/*
 * Write RGB pixels as a baseline JPEG; *data is malloc'ed.  Quality 1 to 100; from 90
 * on the colours keep their full resolution.  For tools and tests.
 */
extern bool image_encode_jpeg(const Image *img, int quality, uint8_t **data, size_t *size,
							  ImageError *err);

#endif
