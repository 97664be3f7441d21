/*
 * fuzz_image.c
 *	  libFuzzer target: any bytes through decode, resize and crop.
 *
 * The first byte chooses the scale, the filter and the crop; the rest is the file.
 */
#include <stdlib.h>
#include <string.h>

#include "image/image.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An error must say something, in one line of ASCII. */
static void
check_text(const ImageError *err)
{
	size_t n = strlen(err->text);

	if (n == 0)
		abort();
	for (size_t i = 0; i < n; i++)
		if (err->text[i] < 0x20 || err->text[i] > 0x7e)
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const ImageLimits limits = {
		.max_pixels = 1 << 20, .max_scans = 50, .max_memory = 16 << 20};
	ImagePreprocess pre = {.width = 17, .height = 13, .filter = IMAGE_BICUBIC};
	uint8_t out[17 * 13 * 3];
	ImageError err = {""};
	int choice = size > 0 ? data[0] : 0;
	Image img;
	int warnings;

	pre.filter = choice & 1 ? IMAGE_AREA : IMAGE_BICUBIC;
	pre.resize = (choice >> 1) % 40;
	if (size > 0)
	{
		data++;
		size--;
	}
	if (image_decode_jpeg(data, size, choice >> 4, &limits, &img, &warnings, &err))
	{
		if (img.width < 1 || img.height < 1 || warnings < 0)
			abort();
		if (!image_prepare(&img, &pre, out, &err))
			abort();
		image_free(&img);
	}
	else
		check_text(&err);
	if (!image_from_jpeg(data, size, &pre, &limits, out, &err))
		check_text(&err);
	return 0;
}
