/*
 * encode.c
 *	  RGB pixels to a baseline JPEG.
 */
#include "image/image_internal.h"

#include <stdlib.h>

typedef struct Encoder
{
	struct jpeg_compress_struct cinfo;
	JpegErrors errors;
	const Image *img;
	int quality;
	unsigned char *data;
	unsigned long size;
} Encoder;

static void
encode(Encoder *e)
{
	struct jpeg_compress_struct *cinfo = &e->cinfo;

	jpeg_create_compress(cinfo);
	jpeg_mem_dest(cinfo, &e->data, &e->size);
	cinfo->image_width = (JDIMENSION) e->img->width;
	cinfo->image_height = (JDIMENSION) e->img->height;
	cinfo->input_components = 3;
	cinfo->in_color_space = JCS_RGB;
	jpeg_set_defaults(cinfo);
	jpeg_set_quality(cinfo, e->quality, TRUE);
	cinfo->dct_method = JDCT_ISLOW;
	cinfo->optimize_coding = TRUE;
	if (e->quality >= 90)
	{
		/* Who asks for this quality does not want half the colour resolution. */
		cinfo->comp_info[0].h_samp_factor = 1;
		cinfo->comp_info[0].v_samp_factor = 1;
	}
	jpeg_start_compress(cinfo, TRUE);
	while (cinfo->next_scanline < cinfo->image_height)
	{
		JSAMPROW row = e->img->rgb + (size_t) cinfo->next_scanline * e->img->width * 3;

		jpeg_write_scanlines(cinfo, &row, 1);
	}
	jpeg_finish_compress(cinfo);
}

static bool
encode_guarded(Encoder *e)
{
	if (setjmp(e->errors.escape) != 0)
		return false;
	encode(e);
	return true;
}

bool
image_encode_jpeg(const Image *img, int quality, uint8_t **data, size_t *size,
				  ImageError *err)
{
	Encoder *e;
	bool ok;

	*data = NULL;
	*size = 0;
	if (img->rgb == NULL || img->width < 1 || img->height < 1 ||
		img->width > JPEG_MAX_DIMENSION || img->height > JPEG_MAX_DIMENSION)
		return image_fail(err,
						  "cannot write %dx%d pixels as JPEG: sides go from 1 to %ld",
						  img->width, img->height, (long) JPEG_MAX_DIMENSION);
	if (quality < 1 || quality > 100)
		return image_fail(err, "JPEG quality %d is out of range: it goes from 1 to 100",
						  quality);
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return image_fail(err, "out of memory");
	e->img = img;
	e->quality = quality;
	e->cinfo.err = jpeg_errors_init(&e->errors);
	ok = encode_guarded(e);
	jpeg_destroy_compress(&e->cinfo);
	if (ok)
	{
		*data = e->data;
		*size = e->size;
	}
	else
	{
		free(e->data);
		image_fail(err, "cannot write JPEG: %s", e->errors.text);
	}
	free(e);
	return ok;
}
