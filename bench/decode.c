/*
 * decode.c
 *	  Pictures a second, on one thread, from JPEG bytes to a network's input.
 *
 * bench-decode [FOLDER [SECONDS]]: every JPEG below FOLDER (a generated picture
 * without one), read into memory beforehand.  Plain libjpeg at full size is timed in
 * turns with ours, so that both meet the same machine; the ratio is the figure to
 * keep.
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jpeglib.h>

#include "image/image.h"

#define MAX_FILES 4096
#define MAX_BYTES ((size_t) 512 << 20)
#define MAX_ROUNDS 101

typedef struct File
{
	uint8_t *data;
	size_t size;
} File;

static File files[MAX_FILES];
static int file_count;
static size_t byte_count;

static const ImagePreprocess pre = {224, 224, 256, IMAGE_BICUBIC};
static uint8_t input[224 * 224 * 3];

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

/* ------------------------------------------------------------------- pictures */

/* Add a picture if ours decodes it; what is no JPEG or broken is left out. */
static void
add_file(uint8_t *data, size_t size)
{
	ImageError err;

	if (file_count == MAX_FILES || byte_count + size > MAX_BYTES ||
		!image_from_jpeg(data, size, &pre, NULL, input, &err))
	{
		free(data);
		return;
	}
	files[file_count++] = (File){data, size};
	byte_count += size;
}

static int
visit(const char *path, const struct stat *st, int type, struct FTW *place)
{
	const char *dot = strrchr(path, '.');
	FILE *f;
	uint8_t *data;

	(void) place;
	if (type != FTW_F || dot == NULL || st->st_size == 0 ||
		(strcasecmp(dot, ".jpg") != 0 && strcasecmp(dot, ".jpeg") != 0))
		return 0;
	f = fopen(path, "rb");
	if (f == NULL)
		return 0;
	data = malloc((size_t) st->st_size);
	if (data != NULL && fread(data, 1, (size_t) st->st_size, f) == (size_t) st->st_size)
		add_file(data, (size_t) st->st_size);
	else
		free(data);
	fclose(f);
	return file_count == MAX_FILES;
}

/* A photograph's size and about its share of detail: shading, edges, some grain. */
static void
add_generated(int width, int height)
{
	Image img = {width, height, malloc((size_t) width * height * 3)};
	uint8_t *data;
	size_t size;
	uint32_t seed = 1;
	ImageError err;

	if (img.rgb == NULL)
		return;
	for (int i = 0; i < width * height; i++)
	{
		int x = i % width;
		int y = i / width;
		int shape = (x / 37 + y / 29) % 3 * 40;

		for (int c = 0; c < 3; c++)
		{
			seed = seed * 1664525 + 1013904223;
			img.rgb[3 * i + c] = (uint8_t) ((shape + (c + 1) * x * 60 / width +
											 y * 80 / height + (int) (seed >> 28)) &
											255);
		}
	}
	if (image_encode_jpeg(&img, 85, &data, &size, &err))
		add_file(data, size);
	image_free(&img);
}

/* --------------------------------------------------------------------- rounds */

static int64_t
decode_plain(const File *file)
{
	struct jpeg_decompress_struct cinfo;
	struct jpeg_error_mgr errors;
	int64_t pixels;
	JSAMPLE *row;

	cinfo.err = jpeg_std_error(&errors);
	jpeg_create_decompress(&cinfo);
	jpeg_mem_src(&cinfo, file->data, file->size);
	jpeg_read_header(&cinfo, TRUE);
	jpeg_start_decompress(&cinfo);
	pixels = (int64_t) cinfo.output_width * cinfo.output_height;
	row = malloc((size_t) cinfo.output_width * (size_t) cinfo.output_components);
	while (row != NULL && cinfo.output_scanline < cinfo.output_height)
		jpeg_read_scanlines(&cinfo, &row, 1);
	free(row);
	jpeg_abort_decompress(&cinfo);
	jpeg_destroy_decompress(&cinfo);
	return pixels;
}

static double
round_plain(int64_t *pixels)
{
	double start = now();

	*pixels = 0;
	for (int i = 0; i < file_count; i++)
		*pixels += decode_plain(&files[i]);
	return file_count / (now() - start);
}

static double
round_whole(void)
{
	double start = now();
	ImageError err;

	for (int i = 0; i < file_count; i++)
		image_from_jpeg(files[i].data, files[i].size, &pre, NULL, input, &err);
	return file_count / (now() - start);
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return (x > y) - (x < y);
}

static double
median(double *values, int n)
{
	qsort(values, (size_t) n, sizeof(double), compare);
	return values[n / 2];
}

int
main(int argc, char **argv)
{
	double seconds = argc > 2 ? atof(argv[2]) : 5;
	double whole[MAX_ROUNDS];
	double plain[MAX_ROUNDS];
	double ratio[MAX_ROUNDS];
	int64_t pixels = 0;
	double end;
	int rounds = 0;

	if (argc > 1 && argv[1][0] != '\0')
		nftw(argv[1], visit, 16, FTW_PHYS);
	else
		for (int i = 0; i < 50; i++)
			add_generated(500, 375);
	if (file_count == 0)
	{
		fprintf(stderr, "bench-decode: no JPEG that decodes below %s\n",
				argc > 1 ? argv[1] : "(generated)");
		return 1;
	}
	end = now() + seconds;
	while (rounds < MAX_ROUNDS && (rounds < 3 || now() < end))
	{
		plain[rounds] = round_plain(&pixels);
		whole[rounds] = round_whole();
		ratio[rounds] = whole[rounds] / plain[rounds];
		rounds++;
	}
	printf("pictures              %d, %.0f kB and %.2f Mpixel on average\n", file_count,
		   byte_count / 1e3 / file_count, pixels / 1e6 / file_count);
	printf("plain libjpeg decode  %.0f pictures/s (median of %d rounds)\n",
		   median(plain, rounds), rounds);
	printf("decode and prepare    %.0f pictures/s, to %dx%d by short side %d\n",
		   median(whole, rounds), pre.width, pre.height, pre.resize);
	printf("ratio                 %.3f\n", median(ratio, rounds));
	for (int i = 0; i < file_count; i++)
		free(files[i].data);
	return 0;
}
