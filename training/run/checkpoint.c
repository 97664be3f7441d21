/*
 * checkpoint.c
 *	  Write and read checkpoints.
 *
 * All numbers are little-endian:
 *
 *		0	8	"DHTRAIN1"
 *		8	8	n, bytes of the JSON text
 *		16	n	JSON: the options
 *			8	step (steps done)
 *			8	steps taken by the optimiser, the same number
 *			8	CRC-64 of the pictures and labels trained on
 *			8	number of arrays
 *			then each array: 8 bytes count of floats, the floats
 *			8	CRC-64 (ECMA-182) of everything before
 *
 * The arrays are, parameter by parameter: its values; the optimiser's first and second
 * moments where it keeps them; its average where one is kept.
 */
#include "training/run/checkpoint.h"

#include "training/run/crc64.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[8] = "DHTRAIN1";

#define MAX_OPTIONS 65536

/* ------------------------------------------------------------------ arrays */

/* One array of the file: a part of a parameter, in the file's order. */
typedef struct Array
{
	int param;
	NnPart part;
	size_t size; /* floats */
} Array;

typedef struct Arrays
{
	Array *array;
	size_t n;
	float *room; /* for the largest, on its way to or from the device */
} Arrays;

static bool
collect(const Trainer *t, Arrays *a, TrainError *err)
{
	static const NnPart parts[] = {NN_VALUE, NN_MOMENT1, NN_MOMENT2, NN_AVERAGE};
	size_t largest = 1;

	*a = (Arrays){malloc((t->graph->nparams + 1) * 4 * sizeof(Array)), 0, NULL};
	for (int i = 0; a->array && i < t->graph->nparams; i++)
		for (int k = 0; k < 4; k++)
			if (t->device->has(t->learner, i, parts[k]))
			{
				size_t size = nn_shape_size(&t->graph->param[i].shape);

				a->array[a->n++] = (Array){i, parts[k], size};
				largest = size > largest ? size : largest;
			}
	if (a->array)
		a->room = malloc(largest * sizeof(float));
	if (a->room)
		return true;
	free(a->array);
	return train_fail(err, "out of memory");
}

static void
release(Arrays *a)
{
	free(a->array);
	free(a->room);
}

/* ----------------------------------------------------------------- writing */

typedef struct Writer
{
	FILE *file;
	uint64_t crc;
} Writer;

static bool
put(Writer *w, const void *data, size_t n)
{
	w->crc = crc64(w->crc, data, n);
	return fwrite(data, 1, n, w->file) == n;
}

static bool
put_number(Writer *w, uint64_t v)
{
	uint8_t bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t) (v >> 8 * i);
	return put(w, bytes, 8);
}

static bool
put_all(Writer *w, const Trainer *t, const char *options, const Arrays *a,
		NnError *trouble)
{
	bool ok = put(w, magic, 8) && put_number(w, strlen(options)) &&
			  put(w, options, strlen(options)) && put_number(w, t->step) &&
			  put_number(w, t->step) && put_number(w, t->data_sum) && put_number(w, a->n);

	for (size_t i = 0; ok && i < a->n; i++)
		ok = t->device->read(t->learner, a->array[i].param, a->array[i].part, a->room,
							 trouble) &&
			 put_number(w, a->array[i].size) &&
			 put(w, a->room, a->array[i].size * sizeof(float));
	return ok && put_number(w, w->crc) && fflush(w->file) == 0 &&
		   fsync(fileno(w->file)) == 0;
}

/* The rename itself must survive a crash too. */
static void
sync_folder(const char *path)
{
	char copy[PATH_MAX];
	int fd;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

bool
checkpoint_write(const char *path, const Trainer *t, TrainError *err)
{
	char temporary[PATH_MAX];
	char *options = NULL;
	Arrays arrays;
	Writer w = {0};
	NnError trouble = {""};
	bool ok;

	if (snprintf(temporary, sizeof(temporary), "%s.tmp", path) >= (int) sizeof(temporary))
		return train_fail(err, "checkpoint name is too long: %s", path);
	if (!collect(t, &arrays, err))
		return false;
	options = train_options_write(&t->options);
	w.file = fopen(temporary, "wb");
	ok = options && w.file && put_all(&w, t, options, &arrays, &trouble);
	if (!ok)
		train_fail(err, "cannot write checkpoint %s: %.400s", temporary,
				   trouble.text[0] ? trouble.text : strerror(errno));
	if (w.file && fclose(w.file) != 0 && ok)
		ok =
			train_fail(err, "cannot write checkpoint %s: %s", temporary, strerror(errno));
	if (ok && rename(temporary, path) != 0)
		ok = train_fail(err, "cannot rename %s to %s: %s", temporary, path,
						strerror(errno));
	if (ok)
		sync_folder(path);
	else if (w.file)
		unlink(temporary);
	free(options);
	release(&arrays);
	return ok;
}

/* ----------------------------------------------------------------- reading */

typedef struct Reader
{
	const uint8_t *data;
	size_t size, at;
} Reader;

static bool
get_number(Reader *r, uint64_t *v)
{
	if (r->size - r->at < 8)
		return false;
	*v = 0;
	for (int i = 0; i < 8; i++)
		*v |= (uint64_t) r->data[r->at + i] << 8 * i;
	r->at += 8;
	return true;
}

/* Map the file and check its head and sum; r then stands before the options. */
static bool
open_checked(const char *path, Reader *r, TrainError *err)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	uint64_t sum;
	Reader end;

	if (fd < 0)
		return train_fail(err, "cannot open checkpoint %s: %s", path, strerror(errno));
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < 56)
	{
		close(fd);
		return train_fail(
			err, "%s is not a checkpoint: it is no file of 56 bytes or more", path);
	}
	*r = (Reader){.size = st.st_size, .at = 8};
	r->data = mmap(NULL, r->size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (r->data == MAP_FAILED)
		return train_fail(err, "cannot map checkpoint %s: %s", path, strerror(errno));
	end = *r;
	end.at = r->size - 8;
	get_number(&end, &sum);
	if (memcmp(r->data, magic, 8) != 0)
		train_fail(err, "%s is not a checkpoint of this version of deephash-train", path);
	else if (crc64(0, r->data, r->size - 8) != sum)
		train_fail(err,
				   "checkpoint %s is damaged: its checksum does not fit its contents",
				   path);
	else
		return true;
	munmap((void *) r->data, r->size);
	return false;
}

static bool
get_options(Reader *r, const char *path, TrainOptions *options, TrainError *err)
{
	char text[MAX_OPTIONS + 1];
	uint64_t n;
	TrainError why;

	if (!get_number(r, &n) || n > MAX_OPTIONS || n > r->size - r->at)
		return train_fail(err, "checkpoint %s: its options are cut off", path);
	memcpy(text, r->data + r->at, n);
	text[n] = '\0';
	r->at += n;
	return train_options_read(options, text, &why) ||
		   train_fail(err, "checkpoint %s: %.400s", path, why.text);
}

bool
checkpoint_options(const char *path, TrainOptions *options, TrainError *err)
{
	Reader r;
	bool ok;

	if (!open_checked(path, &r, err))
		return false;
	ok = get_options(&r, path, options, err);
	munmap((void *) r.data, r.size);
	return ok;
}

/* Check the sizes of all arrays against those wanted, from where r stands. */
static bool
arrays_fit(Reader r, const Arrays *a)
{
	uint64_t n;

	if (!get_number(&r, &n) || n != a->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
	{
		if (!get_number(&r, &n) || n != a->array[i].size ||
			(r.size - r.at) / sizeof(float) < n)
			return false;
		r.at += n * sizeof(float);
	}
	return r.size - r.at == 8;
}

/* The arrays, which are known to fit, from where r stands. */
static bool
put_back(Trainer *t, Reader *r, const Arrays *a, TrainError *err)
{
	NnError trouble;
	uint64_t n;

	get_number(r, &n);
	for (size_t i = 0; i < a->n; i++)
	{
		const Array *array = &a->array[i];

		get_number(r, &n);
		memcpy(a->room, r->data + r->at, array->size * sizeof(float));
		r->at += array->size * sizeof(float);
		if (!t->device->write(t->learner, array->param, array->part, a->room, &trouble))
			return train_fail(err, "%.500s", trouble.text);
	}
	return true;
}

bool
checkpoint_read(const char *path, Trainer *t, TrainError *err)
{
	TrainOptions options;
	Arrays arrays;
	Reader r;
	uint64_t step = 0;
	uint64_t optim_step = 0;
	uint64_t sum = 0;
	bool ok;

	if (!open_checked(path, &r, err))
		return false;
	if (!collect(t, &arrays, err))
	{
		munmap((void *) r.data, r.size);
		return false;
	}
	ok = get_options(&r, path, &options, err);
	if (ok && (!get_number(&r, &step) || !get_number(&r, &optim_step) ||
			   !get_number(&r, &sum) || step > (uint64_t) t->total_steps ||
			   optim_step != step || !arrays_fit(r, &arrays)))
		ok = train_fail(err, "checkpoint %s is of another network", path);
	if (ok && sum != t->data_sum)
		ok =
			train_fail(err,
					   "checkpoint %s was made with other pictures or labels than %s has "
					   "now",
					   path, t->options.data);
	if (ok)
		ok = put_back(t, &r, &arrays, err);
	if (ok)
		t->step = (int64_t) step;
	release(&arrays);
	munmap((void *) r.data, r.size);
	return ok;
}
