/*
 * image_samples.h
 *	  Pictures and JPEG files for the tests of src/image, made on the spot.
 */
#ifndef IMAGE_SAMPLES_H
#define IMAGE_SAMPLES_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/image_internal.h"

/* Pseudo-random numbers that are the same everywhere (xorshift64*). */
static inline uint32_t
sample_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t) ((*state * UINT64_C(0x2545f4914f6cdd1d)) >> 32);
}

static inline Image
new_image(int width, int height)
{
	Image img = {width, height, malloc((size_t) width * height * 3)};

	assert_non_null(img.rgb);
	return img;
}

static inline uint8_t *
pixel_at(const Image *img, int row, int col)
{
	return img->rgb + ((size_t) row * img->width + col) * 3;
}

/* Smooth colour with no symmetry: every orientation of it is another picture. */
static inline Image
smooth_picture(int width, int height)
{
	Image img = new_image(width, height);

	for (int r = 0; r < height; r++)
		for (int c = 0; c < width; c++)
		{
			uint8_t *p = pixel_at(&img, r, c);

			p[0] = (uint8_t) (30 + 180 * c / width);
			p[1] = (uint8_t) (40 + 150 * r / height);
			p[2] = (uint8_t) (220 - 90 * c / width - 100 * r / height);
		}
	return img;
}

static inline Image
noise_picture(int width, int height, uint64_t seed)
{
	Image img = new_image(width, height);

	for (size_t i = 0; i < (size_t) width * height * 3; i++)
		img.rgb[i] = (uint8_t) sample_random(&seed);
	return img;
}

/* How to write a sample; zero means what an encoder does by default. */
typedef struct SampleOptions
{
	J_COLOR_SPACE space; /* of the file; JCS_CMYK and JCS_YCCK take CMYK pixels */
	bool cmyk_pixels;	 /* the pixels given are four a pixel, as they go in the file */
	bool no_adobe_marker;
	bool progressive;
	bool arithmetic;
	bool one_scan_per_component;
	bool one_scan_per_coefficient; /* progressive, grey only: 64 scans */
	bool subsampled;			   /* 4:2:0 */
	int restart_interval;		   /* in MCUs */
	int quality;				   /* 0: 100 */
	const uint8_t *exif;		   /* body of an APP1 segment */
	size_t exif_size;
} SampleOptions;

typedef struct Sample
{
	unsigned char *data;
	unsigned long size;
} Sample;

static inline void
sample_scans(struct jpeg_compress_struct *cinfo, const SampleOptions *o,
			 jpeg_scan_info *scans)
{
	int n = 0;

	memset(scans, 0, 64 * sizeof(*scans));
	if (o->one_scan_per_component)
		for (; n < cinfo->num_components; n++)
			scans[n] = (jpeg_scan_info){1, {n}, 0, 63, 0, 0};
	if (o->one_scan_per_coefficient)
		for (; n < 64; n++)
			scans[n] = (jpeg_scan_info){1, {0}, n, n, 0, 0};
	if (n > 0)
	{
		cinfo->scan_info = scans;
		cinfo->num_scans = n;
	}
}

/* width x height pixels of 3 (RGB), 4 (CMYK) or, for grey files, still 3 bytes. */
static inline Sample
write_sample(const uint8_t *pixels, int width, int height, SampleOptions o)
{
	struct jpeg_compress_struct cinfo;
	struct jpeg_error_mgr errors;
	jpeg_scan_info scans[64];
	Sample s = {0};
	int channels = o.cmyk_pixels ? 4 : 3;

	cinfo.err = jpeg_std_error(&errors);
	jpeg_create_compress(&cinfo);
	jpeg_mem_dest(&cinfo, &s.data, &s.size);
	cinfo.image_width = (JDIMENSION) width;
	cinfo.image_height = (JDIMENSION) height;
	cinfo.input_components = channels;
	cinfo.in_color_space = o.cmyk_pixels ? JCS_CMYK : JCS_RGB;
	jpeg_set_defaults(&cinfo);
	if (o.space != JCS_UNKNOWN)
		jpeg_set_colorspace(&cinfo, o.space);
	jpeg_set_quality(&cinfo, o.quality ? o.quality : 100, TRUE);
	for (int c = 0; c < cinfo.num_components && !o.subsampled; c++)
		cinfo.comp_info[c].h_samp_factor = cinfo.comp_info[c].v_samp_factor = 1;
	if (o.progressive)
		jpeg_simple_progression(&cinfo);
	sample_scans(&cinfo, &o, scans);
	cinfo.arith_code = o.arithmetic;
	cinfo.restart_interval = (unsigned) o.restart_interval;
	if (o.no_adobe_marker)
		cinfo.write_Adobe_marker = FALSE;
	jpeg_start_compress(&cinfo, TRUE);
	if (o.exif != NULL)
		jpeg_write_marker(&cinfo, JPEG_APP0 + 1, o.exif, (unsigned) o.exif_size);
	while (cinfo.next_scanline < cinfo.image_height)
	{
		JSAMPROW row =
			(JSAMPROW) pixels + (size_t) cinfo.next_scanline * width * channels;

		jpeg_write_scanlines(&cinfo, &row, 1);
	}
	jpeg_finish_compress(&cinfo);
	jpeg_destroy_compress(&cinfo);
	return s;
}

static inline void
put_u16(uint8_t *p, unsigned v, bool big_endian)
{
	p[big_endian ? 0 : 1] = (uint8_t) (v >> 8);
	p[big_endian ? 1 : 0] = (uint8_t) v;
}

static inline void
put_u32(uint8_t *p, unsigned v, bool big_endian)
{
	put_u16(p + (big_endian ? 0 : 2), v >> 16, big_endian);
	put_u16(p + (big_endian ? 2 : 0), v & 0xffff, big_endian);
}

/* Body of an APP1 segment: a tag before the orientation, one after. */
#define EXIF_SIZE (6 + 8 + 2 + 3 * 12 + 4)
#define EXIF_ENTRY(i) (6 + 8 + 2 + (i) *12)

static inline void
make_exif(uint8_t exif[EXIF_SIZE], unsigned orientation, bool big_endian)
{
	static const unsigned tags[3] = {0x0100, 0x0112, 0x0128};
	unsigned values[3] = {77, orientation, 2};

	memset(exif, 0, EXIF_SIZE);
	memcpy(exif, "Exif\0\0", 6);
	memcpy(exif + 6, big_endian ? "MM" : "II", 2);
	put_u16(exif + 8, 42, big_endian);
	put_u32(exif + 10, 8, big_endian);
	put_u16(exif + 14, 3, big_endian);
	for (int i = 0; i < 3; i++)
	{
		uint8_t *entry = exif + EXIF_ENTRY(i);

		put_u16(entry, tags[i], big_endian);
		put_u16(entry + 2, 3, big_endian);
		put_u32(entry + 4, 1, big_endian);
		put_u16(entry + 8, values[i], big_endian);
	}
}

static inline int
largest_difference(const Image *a, const Image *b)
{
	int largest = 0;

	assert_int_equal(a->width, b->width);
	assert_int_equal(a->height, b->height);
	for (size_t i = 0; i < (size_t) a->width * a->height * 3; i++)
		if (abs(a->rgb[i] - b->rgb[i]) > largest)
			largest = abs(a->rgb[i] - b->rgb[i]);
	return largest;
}

/* Decode what must decode. */
static inline Image
must_decode(Sample s, int min_short_side)
{
	Image img;
	ImageError err = {""};

	if (!image_decode_jpeg(s.data, s.size, min_short_side, NULL, &img, NULL, &err))
		fail_msg("refused: %s", err.text);
	return img;
}

/* Error texts are one line of ASCII without a full stop. */
static inline void
check_error_text(const ImageError *err)
{
	size_t n = strlen(err->text);

	assert_true(n > 0 && n < sizeof(err->text));
	for (size_t i = 0; i < n; i++)
		assert_true(err->text[i] >= 0x20 && err->text[i] < 0x7f);
	assert_true(err->text[n - 1] != '.');
}

static inline void
must_refuse(Sample s, const ImageLimits *limits, const char *expected)
{
	Image img;
	ImageError err = {""};

	if (image_decode_jpeg(s.data, s.size, 0, limits, &img, NULL, &err))
		fail_msg("decoded; expected: %s", expected);
	assert_null(img.rgb);
	check_error_text(&err);
	if (strstr(err.text, expected) == NULL)
		fail_msg("expected: %s; got: %s", expected, err.text);
}

#endif
