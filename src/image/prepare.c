/*
 * prepare.c
 *	  A picture cut to the size that a network wants, and its normalised tensor.
 */
#include "image/image_internal.h"

#include <string.h>

/* JPEG knows no longer side; with them every product of the resize fits 64 bits. */
#define MAX_SIDE 4096
#define MAX_IMAGE_SIDE 65535

/*
 * torchvision's rule: (side - crop) / 2, halves rounded to even.  A side shorter than
 * the crop lies in its middle on black, the odd pixel of black below or to the right.
 */
CropSpan
centre_crop(int64_t side, int crop)
{
	CropSpan span = {0};

	if (side >= crop)
	{
		int64_t twice = side - crop;

		span.first = twice / 2 + (twice % 2 != 0 && twice / 2 % 2 != 0);
		span.count = crop;
	}
	else
	{
		span.count = (int) side;
		span.pad = (int) (crop - side) / 2;
	}
	return span;
}

/* The size after the resize and before the crop. */
static void
resized_size(const Image *img, const ImagePreprocess *pre, int64_t *width,
			 int64_t *height)
{
	int64_t w = img->width;
	int64_t h = img->height;

	if (pre->resize == 0)
	{
		*width = pre->width;
		*height = pre->height;
	}
	else if (w <= h)
	{
		*width = pre->resize;
		*height = pre->resize * h / w;
	}
	else
	{
		*width = pre->resize * w / h;
		*height = pre->resize;
	}
}

static bool
check_request(const Image *img, const ImagePreprocess *pre, ImageError *err)
{
	if (img->rgb == NULL || img->width < 1 || img->height < 1)
		return image_fail(err, "image has no pixels");
	if (img->width > MAX_IMAGE_SIDE || img->height > MAX_IMAGE_SIDE)
		return image_fail(err, "image of %dx%d pixels has a side over the limit of %d",
						  img->width, img->height, MAX_IMAGE_SIDE);
	if (pre->width < 1 || pre->height < 1 || pre->width > MAX_SIDE ||
		pre->height > MAX_SIDE)
		return image_fail(err, "network input of %dx%d pixels: sides go from 1 to %d",
						  pre->width, pre->height, MAX_SIDE);
	if (pre->resize < 0 || pre->resize > MAX_SIDE)
		return image_fail(err, "resize to a short side of %d: it goes from 0 to %d",
						  pre->resize, MAX_SIDE);
	if (pre->filter != IMAGE_BICUBIC && pre->filter != IMAGE_AREA)
		return image_fail(err, "unknown resize filter %d", (int) pre->filter);
	return true;
}

/* Only the pixels inside the crop are ever computed. */
bool
image_prepare(const Image *img, const ImagePreprocess *pre, uint8_t *out, ImageError *err)
{
	int64_t width;
	int64_t height;
	CropSpan sx;
	CropSpan sy;
	ResizeAxis x;
	ResizeAxis y;
	size_t stride = (size_t) pre->width * 3;
	bool ok;

	if (!check_request(img, pre, err))
		return false;
	resized_size(img, pre, &width, &height);
	sx = centre_crop(width, pre->width);
	sy = centre_crop(height, pre->height);
	if (sx.count < pre->width || sy.count < pre->height)
		memset(out, 0, stride * pre->height);
	out += sy.pad * stride + (size_t) sx.pad * 3;

	if (width == img->width && height == img->height)
	{
		/* Every weight would be 0 or 1. */
		for (int r = 0; r < sy.count; r++)
			memcpy(out + r * stride,
				   img->rgb + ((size_t) (sy.first + r) * img->width + sx.first) * 3,
				   (size_t) sx.count * 3);
		return true;
	}
	if (!resize_axis_init(&x, pre->filter, img->width, width, sx.first, sx.count))
		return image_fail(err, "out of memory");
	if (!resize_axis_init(&y, pre->filter, img->height, height, sy.first, sy.count))
	{
		resize_axis_free(&x);
		return image_fail(err, "out of memory");
	}
	ok = resize_rgb(img, &x, &y, sum_lines_best(), out, stride);
	resize_axis_free(&x);
	resize_axis_free(&y);
	return ok || image_fail(err, "out of memory");
}

bool
image_from_jpeg(const uint8_t *data, size_t size, const ImagePreprocess *pre,
				const ImageLimits *limits, uint8_t *out, ImageError *err)
{
	Image img;
	int side = pre->resize;
	bool ok;

	if (side == 0)
		side = pre->width > pre->height ? pre->width : pre->height;
	if (!image_decode_jpeg(data, size, side, limits, &img, NULL, err))
		return false;
	ok = image_prepare(&img, pre, out, err);
	image_free(&img);
	return ok;
}

/* A byte has 256 values: the division is done once for each. */
void
image_normalise(const uint8_t *rgb, size_t npixels, const float mean[3],
				const float std[3], float *out)
{
	float table[3][256];

	for (int c = 0; c < 3; c++)
		for (int v = 0; v < 256; v++)
			table[c][v] = ((float) v / 255.0f - mean[c]) / std[c];
	for (size_t i = 0; i < npixels; i++)
	{
		out[3 * i] = table[0][rgb[3 * i]];
		out[3 * i + 1] = table[1][rgb[3 * i + 1]];
		out[3 * i + 2] = table[2][rgb[3 * i + 2]];
	}
}
