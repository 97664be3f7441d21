/*
 * image_internal.h
 *	  What the files of src/image share and its unit tests look into.
 */
#ifndef IMAGE_INTERNAL_H
#define IMAGE_INTERNAL_H

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

#include "image/image.h"

/* Fill err and return false, so that callers can write `return image_fail(...)`. */
extern bool image_fail(ImageError *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * An error manager that never prints and never exits: error_exit() formats the
 * message into text and jumps to escape.  code is libjpeg's message number, or
 * IMAGE_OWN_ERROR where text is already one of ours.
 */
#define IMAGE_OWN_ERROR (-1)

typedef struct JpegErrors
{
	struct jpeg_error_mgr mgr; /* first: libjpeg knows only this part */
	jmp_buf escape;
	int code;
	char text[JMSG_LENGTH_MAX];
} JpegErrors;

extern struct jpeg_error_mgr *jpeg_errors_init(JpegErrors *errors);

/* Leave libjpeg with a text of ours. */
extern void jpeg_refuse(j_common_ptr cinfo, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), noreturn));

/* What the marker segments before the first scan say. */
typedef struct JpegHeader
{
	int sof;		 /* low byte of the first SOF marker, 0 if none was found */
	int orientation; /* EXIF orientation, 1 to 8; 1 where there is none */
} JpegHeader;

extern void jpeg_scan_header(const uint8_t *data, size_t size, JpegHeader *header);

/* The orientation in the body of an APP1 segment, 0 where there is none. */
extern int exif_orientation(const uint8_t *data, size_t size);

/*
 * Weights of one axis of a resize.  Output position i (of count) is the sum of
 * length[i] inputs from start[i] on, weights[i * max_length ...], in units of
 * 2^-RESIZE_BITS; they add up to exactly 1.
 */
#define RESIZE_BITS 22

typedef struct ResizeAxis
{
	int count;
	int max_length;
	int *start;
	int *length;
	int32_t *weights;
} ResizeAxis;

/*
 * Weights for output positions first .. first + count - 1 of resizing `in` pixels
 * to `out`.  False when memory is short.
 */
extern bool resize_axis_init(ResizeAxis *axis, ImageResize filter, int in, int64_t out,
							 int64_t first, int count);
extern void resize_axis_free(ResizeAxis *axis);

/*
 * out[j] = clamp(round(sum over t of weights[t] * lines[t * stride + j])) for
 * j < n; n is a multiple of 16.
 */
typedef void (*SumLines)(const uint8_t *lines, size_t stride, const int32_t *weights,
						 int taps, uint8_t *out, int n);
extern void sum_lines_portable(const uint8_t *lines, size_t stride,
							   const int32_t *weights, int taps, uint8_t *out, int n);
extern SumLines sum_lines_best(void);

/* Apply both axes to img; row r of the result starts at out + r * out_stride. */
extern bool resize_rgb(const Image *img, const ResizeAxis *x, const ResizeAxis *y,
					   SumLines sum_lines, uint8_t *out, size_t out_stride);

/*
 * Where a crop of `crop` pixels lies on a side of `side` pixels: `first` pixels of
 * the side are left out, `count` are taken and put down `pad` pixels from the
 * crop's edge (pad is 0 unless the side is shorter than the crop).
 */
typedef struct CropSpan
{
	int64_t first;
	int count;
	int pad;
} CropSpan;

extern CropSpan centre_crop(int64_t side, int crop);

#endif
