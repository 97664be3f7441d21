/*
 * dataset.c
 *	  Data sets in memory: opening by description, selecting, splitting.
 */
#include "training/data/dataset_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Streams of the run's seed that this file draws from. */
#define STREAM_SPLIT 0x5350

Dataset *
dataset_open(const char *what, const ImagePreprocess *pre, int threads,
			 void (*on_bad)(const char *source, const char *why), TrainError *err)
{
	return dataset_open_within(what, pre, 0, threads, on_bad, err);
}

Dataset *
dataset_open_within(const char *what, const ImagePreprocess *pre, int64_t memory,
					int threads, void (*on_bad)(const char *source, const char *why),
					TrainError *err)
{
	const char *colon = strchr(what, ':');
	size_t kind = colon ? (size_t) (colon - what) : 0;

	if (colon == NULL || colon[1] == '\0')
	{
		train_fail(err,
				   "\"%s\" describes no data set: expected cifar10:DIR, "
				   "cifar10:DIR:train, cifar10:DIR:test, folder:DIR or manifest:FILE",
				   what);
		return NULL;
	}
	if (kind == 7 && memcmp(what, "cifar10", kind) == 0)
		return dataset_open_cifar10(colon + 1, pre, err);
	if (kind == 6 && memcmp(what, "folder", kind) == 0)
		return dataset_open_folder(colon + 1, pre, memory, threads, on_bad, err);
	if (kind == 8 && memcmp(what, "manifest", kind) == 0)
		return dataset_open_manifest(colon + 1, pre, memory, threads, on_bad, err);
	train_fail(err,
			   "unknown kind of data set \"%.*s\": expected cifar10, folder or manifest",
			   (int) kind, what);
	return NULL;
}

/* All but the pixels. */
static Dataset *
new_without_pixels(int n, int width, int height, int nclasses, TrainError *err)
{
	Dataset *ds = calloc(1, sizeof *ds);
	int words = (nclasses + 63) / 64;

	if (ds)
	{
		ds->n = n;
		ds->width = width;
		ds->height = height;
		ds->nclasses = nclasses;
		ds->label_words = words;
		ds->labels = calloc((size_t) n * words + 1, sizeof(uint64_t));
		ds->class_name = calloc((size_t) nclasses + 1, sizeof(char *));
		ds->source = calloc((size_t) n + 1, sizeof(char *));
	}
	if (ds && ds->labels && ds->class_name && ds->source)
		return ds;
	train_fail(err, "out of memory: the names and labels of %d pictures", n);
	dataset_free(ds);
	return NULL;
}

Dataset *
dataset_new(int n, int width, int height, int nclasses, TrainError *err)
{
	Dataset *ds = new_without_pixels(n, width, height, nclasses, err);
	size_t pixels = (size_t) n * height * width * 3;

	if (!ds)
		return NULL;
	ds->rgb = malloc(pixels ? pixels : 1);
	if (!ds->rgb)
	{
		train_fail(err, "out of memory: %d pictures of %d x %d want %zu bytes (%.1f MB)",
				   n, width, height, pixels, (double) pixels / 1e6);
		dataset_free(ds);
		return NULL;
	}
	return ds;
}

Dataset *
dataset_new_on_disk(int n, int width, int height, int nclasses, DatasetDisk *disk,
					TrainError *err)
{
	Dataset *ds = new_without_pixels(n, width, height, nclasses, err);

	if (!ds)
		return NULL;
	ds->place = malloc(((size_t) n + 1) * sizeof *ds->place);
	if (!ds->place)
	{
		train_fail(err, "out of memory: the places of %d pictures", n);
		dataset_free(ds);
		return NULL;
	}
	ds->disk = disk;
	atomic_fetch_add(&disk->users, 1);
	return ds;
}

void
dataset_free(Dataset *ds)
{
	if (ds == NULL)
		return;
	if (ds->class_name)
		for (int c = 0; c < ds->nclasses; c++)
			free(ds->class_name[c]);
	if (ds->source)
		for (int i = 0; i < ds->n; i++)
			free(ds->source[i]);
	if (ds->disk)
		dataset_disk_free(ds->disk);
	free(ds->place);
	free(ds->class_name);
	free(ds->source);
	free(ds->labels);
	free(ds->rgb);
	free(ds);
}

size_t
dataset_picture_size(const Dataset *ds)
{
	return (size_t) ds->width * ds->height * 3;
}

int
dataset_class(const Dataset *ds, int i)
{
	const uint64_t *row = ds->labels + (size_t) i * ds->label_words;

	for (int w = 0; w < ds->label_words; w++)
		if (row[w])
			return w * 64 + __builtin_ctzll(row[w]);
	return -1;
}

bool
dataset_relevant(const Dataset *a, int i, const Dataset *b, int j)
{
	const uint64_t *x = a->labels + (size_t) i * a->label_words;
	const uint64_t *y = b->labels + (size_t) j * b->label_words;
	int words = a->label_words < b->label_words ? a->label_words : b->label_words;

	for (int w = 0; w < words; w++)
		if (x[w] & y[w])
			return true;
	return false;
}

Dataset *
dataset_subset(const Dataset *ds, const uint32_t *index, int n)
{
	TrainError ignored;
	size_t picture = dataset_picture_size(ds);
	size_t row = (size_t) ds->label_words * sizeof(uint64_t);
	Dataset *out = ds->disk
					   ? dataset_new_on_disk(n, ds->width, ds->height, ds->nclasses,
											 ds->disk, &ignored)
					   : dataset_new(n, ds->width, ds->height, ds->nclasses, &ignored);

	if (out == NULL)
		return NULL;
	for (int c = 0; c < ds->nclasses; c++)
		if ((out->class_name[c] = strdup(ds->class_name[c])) == NULL)
			goto fail;
	for (int i = 0; i < n; i++)
	{
		if (ds->disk)
			out->place[i] = ds->place[index[i]];
		else
			memcpy(out->rgb + i * picture, ds->rgb + index[i] * picture, picture);
		memcpy(out->labels + (size_t) i * ds->label_words,
			   ds->labels + (size_t) index[i] * ds->label_words, row);
		if ((out->source[i] = strdup(ds->source[index[i]])) == NULL)
			goto fail;
	}
	return out;

fail:
	dataset_free(out);
	return NULL;
}

/*
 * The pictures in the order of their (first) classes, in the data set's order
 * within each; those without a label come first.  start[c + 1] is where class c
 * begins, start[nclasses + 1] the end.
 */
static void
order_by_class(const Dataset *ds, uint32_t *order, int *start)
{
	for (int c = 0; c < ds->nclasses + 2; c++)
		start[c] = 0;
	for (int i = 0; i < ds->n; i++)
		start[dataset_class(ds, i) + 2]++;
	for (int c = 1; c < ds->nclasses + 2; c++)
		start[c] += start[c - 1];
	for (int i = 0; i < ds->n; i++)
		order[start[dataset_class(ds, i) + 1]++] = (uint32_t) i;
	for (int c = ds->nclasses + 1; c > 0; c--)
		start[c] = start[c - 1];
	start[0] = 0;
}

/*
 * Mark which pictures go to the second part: of each class the share, rounded to
 * the nearest.  Returns how many are marked.
 */
static int
mark_second_part(const Dataset *ds, double share, Rng *rng, uint32_t *order, int *start,
				 bool *second)
{
	int marked = 0;

	order_by_class(ds, order, start);
	for (int c = 0; c <= ds->nclasses; c++)
	{
		uint32_t *members = order + start[c];
		int n = start[c + 1] - start[c];
		int take = (int) floor(n * share + 0.5);

		rng_shuffle(rng, members, (size_t) n);
		for (int i = 0; i < take; i++)
			second[members[i]] = true;
		marked += take;
	}
	return marked;
}

bool
dataset_split(const Dataset *ds, double share, uint64_t seed, Dataset **a, Dataset **b,
			  TrainError *err)
{
	Rng rng;
	uint32_t *members = malloc(((size_t) ds->n + 1) * sizeof *members);
	bool *second = calloc((size_t) ds->n + 1, sizeof *second);
	int *start = malloc(((size_t) ds->nclasses + 2) * sizeof *start);
	int nsecond;
	bool ok = false;

	*a = *b = NULL;
	if (!(share > 0 && share < 1))
	{
		train_fail(err, "cannot split off a share of %g: it must lie between 0 and 1",
				   share);
		goto done;
	}
	if (members == NULL || second == NULL || start == NULL)
	{
		train_fail(err, "out of memory: splitting %d pictures wants %zu bytes", ds->n,
				   (size_t) ds->n * (sizeof *members + sizeof *second));
		goto done;
	}
	rng_seed(&rng, seed, STREAM_SPLIT);
	nsecond = mark_second_part(ds, share, &rng, members, start, second);
	if (nsecond == 0 || nsecond == ds->n)
	{
		train_fail(err,
				   "splitting %d pictures of %d classes by %g leaves one part empty: "
				   "give more pictures or another share",
				   ds->n, ds->nclasses, share);
		goto done;
	}
	for (int part = 0; part < 2; part++)
	{
		int n = 0;
		Dataset **out = part ? b : a;

		for (int i = 0; i < ds->n; i++)
			if (second[i] == (part == 1))
				members[n++] = (uint32_t) i;
		*out = dataset_subset(ds, members, n);
		if (*out == NULL)
		{
			train_fail(err, "out of memory: %d pictures of %d x %d want %zu bytes", n,
					   ds->width, ds->height, (size_t) n * ds->width * ds->height * 3);
			goto done;
		}
	}
	ok = true;

done:
	if (!ok)
	{
		dataset_free(*a);
		dataset_free(*b);
		*a = *b = NULL;
	}
	free(members);
	free(second);
	free(start);
	return ok;
}
