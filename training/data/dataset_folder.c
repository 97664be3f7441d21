/*
 * dataset_folder.c
 *	  A folder whose folders are the classes, JPEGs at any depth below them.
 *
 * Everything is taken in the byte order of names, so that the same folder gives
 * the same data set on every machine.  Hidden files and folders (a leading dot)
 * are passed over.  Links are followed, except to a folder that the walk is
 * already inside.
 */
#include "training/data/dataset_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_DEPTH 32

typedef struct Walk
{
	size_t root_length; /* of the data set's folder, to shorten names */
	PictureList list;
	DatasetBadFn on_bad;
	int bad;				 /* things passed over and reported */
	dev_t device[MAX_DEPTH]; /* the folders the walk is inside */
	ino_t inode[MAX_DEPTH];
} Walk;

static int
visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int
by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void
free_entries(struct dirent **entry, int n)
{
	for (int i = 0; i < n; i++)
		free(entry[i]);
	free(entry);
}

static void
report(Walk *walk, const char *path, const char *why)
{
	walk->bad++;
	if (walk->on_bad)
		walk->on_bad(path + walk->root_length + 1, why);
}

static bool
already_inside(const Walk *walk, int depth, const struct stat *st)
{
	for (int d = 0; d < depth; d++)
		if (walk->device[d] == st->st_dev && walk->inode[d] == st->st_ino)
			return true;
	return false;
}

/*
 * Add every file below the folder `path` (whose stat is st) to class c.  Trouble
 * with a part of the tree is reported and the rest goes on; false only for want
 * of memory.
 */
static bool
walk_folder(Walk *walk, const char *path, const struct stat *st, int depth, int c,
			TrainError *err)
{
	struct dirent **entry;
	int n;
	bool ok = true;

	if (depth == MAX_DEPTH || already_inside(walk, depth, st))
	{
		report(walk, path,
			   depth == MAX_DEPTH ? "folders are nested too deep"
								  : "a link back to a folder above it");
		return true;
	}
	walk->device[depth] = st->st_dev;
	walk->inode[depth] = st->st_ino;
	n = scandir(path, &entry, visible, by_bytes);
	if (n < 0)
	{
		report(walk, path, strerror(errno));
		return true;
	}
	for (int i = 0; i < n && ok; i++)
	{
		char *child;
		struct stat child_st;

		if (asprintf(&child, "%s/%s", path, entry[i]->d_name) < 0)
		{
			ok = train_fail(err, "out of memory");
			break;
		}
		if (stat(child, &child_st) != 0)
			report(walk, child, strerror(errno));
		else if (S_ISDIR(child_st.st_mode))
			ok = walk_folder(walk, child, &child_st, depth + 1, c, err);
		else
			ok = picture_list_add(&walk->list, child, child + walk->root_length + 1, &c,
								  1, err);
		free(child);
	}
	free_entries(entry, n);
	return ok;
}

/* Walk the class folders of dir; their names become the classes. */
static bool
find_classes(Walk *walk, const char *dir, NameList *classes, TrainError *err)
{
	struct dirent **entry;
	int n = scandir(dir, &entry, visible, by_bytes);
	struct stat st;
	bool ok = true;

	if (n < 0)
		return train_fail(err, "cannot read the folder \"%s\": %s", dir, strerror(errno));
	if (stat(dir, &st) == 0)
	{
		walk->device[0] = st.st_dev;
		walk->inode[0] = st.st_ino;
	}
	for (int i = 0; i < n && ok; i++)
	{
		char *path;
		int before = walk->list.n;

		if (asprintf(&path, "%s/%s", dir, entry[i]->d_name) < 0)
		{
			ok = train_fail(err, "out of memory");
			break;
		}
		if (stat(path, &st) != 0)
			report(walk, path, strerror(errno));
		else if (!S_ISDIR(st.st_mode))
			report(walk, path, "lies outside the class folders");
		else
		{
			ok = walk_folder(walk, path, &st, 1, classes->n, err);
			if (ok && walk->list.n > before &&
				name_list_add(classes, entry[i]->d_name) < 0)
				ok = train_fail(err, "out of memory");
		}
		if (ok && classes->n > DATASET_MAX_CLASSES)
			ok = train_fail(err, "\"%s\" has more than %d class folders", dir,
							DATASET_MAX_CLASSES);
		free(path);
	}
	free_entries(entry, n);
	return ok;
}

Dataset *
dataset_open_folder(const char *place, const ImagePreprocess *pre, int64_t memory,
					int threads, DatasetBadFn on_bad, TrainError *err)
{
	Walk walk = {.on_bad = on_bad};
	NameList classes = {0};
	Dataset *ds = NULL;
	char *dir = strdup(place);
	size_t length = strlen(place);

	if (dir == NULL)
	{
		train_fail(err, "out of memory");
		return NULL;
	}
	while (length > 1 && dir[length - 1] == '/')
		dir[--length] = '\0';
	walk.root_length = length;
	if (!find_classes(&walk, dir, &classes, err))
		goto done;
	if (walk.list.n == 0)
		train_fail(err,
				   "no pictures in \"%s\": expected one folder per class with JPEG files "
				   "in them, such as %s/cat/1.jpg",
				   dir, dir);
	else if (classes.n == 1)
		train_fail(err,
				   "\"%s\" has only one class folder with pictures, \"%s\": at least two "
				   "classes are needed to learn a difference",
				   dir, classes.name[0]);
	else
		ds = dataset_decode(dir, &walk.list, classes.name, classes.n, pre, memory,
							threads, on_bad, err);
	if (ds)
		ds->skipped += walk.bad;

done:
	picture_list_free(&walk.list);
	name_list_free(&classes);
	free(dir);
	return ds;
}
