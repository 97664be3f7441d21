/*
 * dataset_cifar10.c
 *	  CIFAR-10: the official binary batches, or all of them packed in one archive.
 *
 * The official form (Krizhevsky 2009, "binary version") is six files of 10,000
 * records of 3,073 bytes: the label, then the red, green and blue plane of a
 * 32 x 32 picture, each in row order.
 *
 * The packed form, cifar10.med.xz, is the 60,000 records in the order of the six
 * files, each plane replaced by its prediction residuals (see unfilter_record),
 * compressed with xz.  README.md of this folder specifies both.
 */
#include "training/data/dataset_internal.h"

#include <errno.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SIDE 32
#define PLANE (SIDE * SIDE)
#define RECORD (1 + 3 * PLANE)
#define PER_FILE 10000
#define FILES 6
#define FIRST_TEST_FILE 5
#define NCLASSES 10

static const char *const class_names[NCLASSES] = {
	"airplane", "automobile", "bird",  "cat",  "deer",
	"dog",		"frog",		  "horse", "ship", "truck"};

static const char *const file_names[FILES] = {"data_batch_1.bin", "data_batch_2.bin",
											  "data_batch_3.bin", "data_batch_4.bin",
											  "data_batch_5.bin", "test_batch.bin"};

static const char archive_name[] = "cifar10.med.xz";

/* Store record r of file f (both in the official numbering) as picture i. */
static bool
store_record(Dataset *ds, int i, const uint8_t *record, int f, int r, TrainError *err)
{
	uint8_t *rgb = ds->rgb + (size_t) i * PLANE * 3;
	char name[48];

	if (record[0] >= NCLASSES)
		return train_fail(err,
						  "%s: record %d has label %d, but CIFAR-10 labels are 0 to 9: "
						  "the file is damaged or of another data set",
						  file_names[f], r, record[0]);
	for (int p = 0; p < PLANE; p++)
		for (int c = 0; c < 3; c++)
			rgb[p * 3 + c] = record[1 + c * PLANE + p];
	ds->labels[i] = UINT64_C(1) << record[0];
	snprintf(name, sizeof name, "%s:%d", file_names[f], r);
	if ((ds->source[i] = strdup(name)) == NULL)
		return train_fail(err, "out of memory");
	return true;
}

/* ------------------------------------------------------------- official batches */

static bool
read_batch(Dataset *ds, int first, const char *dir, int f, TrainError *err)
{
	char path[4096];
	struct stat st;
	FILE *file;
	uint8_t record[RECORD];
	bool ok = false;

	snprintf(path, sizeof path, "%s/%s", dir, file_names[f]);
	file = fopen(path, "rb");
	if (file == NULL)
		return train_fail(err, "cannot open \"%s\": %s", path, strerror(errno));
	if (fstat(fileno(file), &st) != 0 || !S_ISREG(st.st_mode))
	{
		train_fail(err, "\"%s\" is not a file", path);
		goto done;
	}
	if (st.st_size != (off_t) RECORD * PER_FILE)
	{
		train_fail(err, "\"%s\" has %lld bytes, but a CIFAR-10 batch has exactly %d",
				   path, (long long) st.st_size, RECORD * PER_FILE);
		goto done;
	}
	for (int r = 0; r < PER_FILE; r++)
	{
		if (fread(record, RECORD, 1, file) != 1)
		{
			train_fail(err, "cannot read record %d of \"%s\": %s", r, path,
					   ferror(file) ? strerror(errno) : "the file became shorter");
			goto done;
		}
		if (!store_record(ds, first + r, record, f, r, err))
			goto done;
	}
	ok = true;

done:
	fclose(file);
	return ok;
}

/* -------------------------------------------------------------- packed archive */

/*
 * The median predictor of lossless JPEG-LS (Weinberger, Seroussi, Sapiro 2000,
 * eq. 1) from the decoded neighbours left, above and above left.
 */
static int
predict(const int *plane, int y, int x)
{
	int w, n, nw, high, low;

	if (x == 0 && y == 0)
		return 0;
	if (y == 0)
		return plane[x - 1];
	if (x == 0)
		return plane[(y - 1) * SIDE];
	w = plane[y * SIDE + x - 1];
	n = plane[(y - 1) * SIDE + x];
	nw = plane[(y - 1) * SIDE + x - 1];
	high = w > n ? w : n;
	low = w > n ? n : w;
	if (nw >= high)
		return low;
	if (nw <= low)
		return high;
	return w + n - nw;
}

/*
 * Undo the pixel filter of one record.  The planes hold the residuals of green,
 * red - green and blue - green, folded so that 0, -1, 1, -2, ... are 0, 1, 2, 3, ...
 * A difference is known modulo 256; the one that gives a colour of 0 .. 255 beside
 * its green is meant.
 */
static void
unfilter_record(const uint8_t *packed, uint8_t *record)
{
	int plane[3][PLANE];
	static const int colour_of[3] = {1, 0, 2}; /* green, red, blue */

	record[0] = packed[0];
	for (int k = 0; k < 3; k++)
		for (int p = 0; p < PLANE; p++)
		{
			int folded = packed[1 + k * PLANE + p];
			int residual = folded & 1 ? -(folded + 1) / 2 : folded / 2;
			int green = k == 0 ? 0 : plane[0][p];
			int colour = (predict(plane[k], p / SIDE, p % SIDE) + residual + green) & 255;

			plane[k][p] = colour - green;
			record[1 + colour_of[k] * PLANE + p] = (uint8_t) colour;
		}
}

typedef struct XzReader
{
	FILE *file;
	const char *path;
	lzma_stream stream;
	uint8_t input[1 << 16];
} XzReader;

static const char *
xz_problem(lzma_ret ret)
{
	switch (ret)
	{
		case LZMA_MEM_ERROR:
		case LZMA_MEMLIMIT_ERROR:
			return "out of memory";
		case LZMA_FORMAT_ERROR:
			return "not an xz file";
		case LZMA_OPTIONS_ERROR:
			return "it uses xz options that this liblzma does not know";
		case LZMA_DATA_ERROR:
			return "the compressed data is damaged";
		case LZMA_STREAM_END:
		case LZMA_BUF_ERROR:
			return "it ends too early";
		default:
			return "liblzma failed";
	}
}

static bool
xz_read(XzReader *xz, uint8_t *out, size_t size, TrainError *err)
{
	xz->stream.next_out = out;
	xz->stream.avail_out = size;
	while (xz->stream.avail_out > 0)
	{
		lzma_ret ret;

		if (xz->stream.avail_in == 0 && !feof(xz->file))
		{
			xz->stream.next_in = xz->input;
			xz->stream.avail_in = fread(xz->input, 1, sizeof xz->input, xz->file);
			if (ferror(xz->file))
				return train_fail(err, "cannot read \"%s\": %s", xz->path,
								  strerror(errno));
		}
		ret = lzma_code(&xz->stream, feof(xz->file) ? LZMA_FINISH : LZMA_RUN);
		if (ret != LZMA_OK && !(ret == LZMA_STREAM_END && xz->stream.avail_out == 0))
			return train_fail(err, "cannot unpack \"%s\": %s", xz->path, xz_problem(ret));
	}
	return true;
}

/* Read files first_file .. last_file of the archive; the ones before are decoded
 * and dropped because xz has no way to skip them. */
static bool
read_archive(Dataset *ds, const char *path, int first_file, int last_file,
			 TrainError *err)
{
	XzReader *xz = calloc(1, sizeof *xz);
	uint8_t packed[RECORD], record[RECORD];
	bool ok = false;

	if (xz == NULL)
		return train_fail(err, "out of memory");
	xz->path = path;
	xz->stream = (lzma_stream) LZMA_STREAM_INIT;
	xz->file = fopen(path, "rb");
	if (xz->file == NULL)
	{
		train_fail(err, "cannot open \"%s\": %s", path, strerror(errno));
		goto done;
	}
	/* 1 GB is what `xz -9` could want many times over; a hostile header more. */
	if (lzma_stream_decoder(&xz->stream, UINT64_C(1) << 30, 0) != LZMA_OK)
	{
		train_fail(err, "cannot start liblzma: out of memory");
		goto done;
	}
	for (int f = 0; f <= last_file; f++)
		for (int r = 0; r < PER_FILE; r++)
		{
			if (!xz_read(xz, packed, RECORD, err))
				goto done;
			if (f < first_file)
				continue;
			unfilter_record(packed, record);
			if (!store_record(ds, (f - first_file) * PER_FILE + r, record, f, r, err))
				goto done;
		}
	ok = true;

done:
	lzma_end(&xz->stream);
	if (xz->file)
		fclose(xz->file);
	free(xz);
	return ok;
}

/* ----------------------------------------------------------------------- open */

static bool
file_exists(const char *dir, const char *name, char *path, size_t size)
{
	struct stat st;

	snprintf(path, size, "%s/%s", dir, name);
	return stat(path, &st) == 0;
}

/* Take ":train" or ":test" off the end of place; sets the files wanted. */
static void
parse_part(char *place, int *first_file, int *last_file)
{
	size_t n = strlen(place);

	*first_file = 0;
	*last_file = FILES - 1;
	if (n > 6 && strcmp(place + n - 6, ":train") == 0)
	{
		*last_file = FIRST_TEST_FILE - 1;
		place[n - 6] = '\0';
	}
	else if (n > 5 && strcmp(place + n - 5, ":test") == 0)
	{
		*first_file = FIRST_TEST_FILE;
		place[n - 5] = '\0';
	}
}

Dataset *
dataset_open_cifar10(const char *place, const ImagePreprocess *pre, TrainError *err)
{
	char dir[3900], path[4096];
	int first, last;
	Dataset *ds;
	bool ok = true;

	if (strlen(place) >= sizeof dir)
	{
		train_fail(err, "the path of the CIFAR-10 folder is too long");
		return NULL;
	}
	strcpy(dir, place);
	parse_part(dir, &first, &last);
	if (pre && (pre->width != SIDE || pre->height != SIDE))
	{
		train_fail(err,
				   "CIFAR-10 pictures are 32 x 32, but the network takes %d x %d: choose "
				   "an architecture for 32 x 32",
				   pre->width, pre->height);
		return NULL;
	}
	ds = dataset_new((last - first + 1) * PER_FILE, SIDE, SIDE, NCLASSES, err);
	if (ds == NULL)
		return NULL;
	for (int c = 0; c < NCLASSES && ok; c++)
		if ((ds->class_name[c] = strdup(class_names[c])) == NULL)
			ok = train_fail(err, "out of memory");
	if (ok && file_exists(dir, file_names[first], path, sizeof path))
		for (int f = first; f <= last && ok; f++)
			ok = read_batch(ds, (f - first) * PER_FILE, dir, f, err);
	else if (ok && file_exists(dir, archive_name, path, sizeof path))
		ok = read_archive(ds, path, first, last, err);
	else if (ok)
		ok = train_fail(err,
						"no CIFAR-10 in \"%s\": neither %s (of the binary version) nor "
						"%s is there",
						dir, file_names[first], archive_name);
	if (!ok)
	{
		dataset_free(ds);
		return NULL;
	}
	return ds;
}
