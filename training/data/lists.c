/*
 * lists.c
 *	  Growing lists of picture files and of names, for the readers.
 */
#include "training/data/dataset_internal.h"

#include <stdlib.h>
#include <string.h>

bool
picture_list_add(PictureList *list, const char *path, const char *source,
				 const int *classes, int nclasses, TrainError *err)
{
	PictureFile *file;

	if (list->n == list->room)
	{
		int room = list->room ? list->room * 2 : 256;
		PictureFile *grown = realloc(list->file, (size_t) room * sizeof *grown);

		if (grown == NULL)
			return train_fail(err, "out of memory: a list of %d pictures", room);
		list->file = grown;
		list->room = room;
	}
	file = &list->file[list->n];
	file->path = strdup(path);
	file->source = strdup(source);
	file->classes = malloc(((size_t) nclasses + 1) * sizeof(int));
	file->nclasses = nclasses;
	if (!file->path || !file->source || !file->classes)
	{
		free(file->path);
		free(file->source);
		free(file->classes);
		return train_fail(err, "out of memory: a list of %d pictures", list->n);
	}
	memcpy(file->classes, classes, (size_t) nclasses * sizeof(int));
	list->n++;
	return true;
}

void
picture_list_free(PictureList *list)
{
	for (int i = 0; i < list->n; i++)
	{
		free(list->file[i].path);
		free(list->file[i].source);
		free(list->file[i].classes);
	}
	free(list->file);
	*list = (PictureList){0};
}

/* FNV-1a; the table holds positions + 1 and is kept at most half full. */
static size_t
name_slot(const NameList *list, const char *name)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	size_t slot;

	for (const char *c = name; *c; c++)
		hash = (hash ^ (uint8_t) *c) * UINT64_C(0x100000001b3);
	slot = (size_t) (hash ^ (hash >> 32)) & (list->nslots - 1);
	while (list->slot[slot] && strcmp(list->name[list->slot[slot] - 1], name) != 0)
		slot = (slot + 1) & (list->nslots - 1);
	return slot;
}

static bool
name_list_grow(NameList *list)
{
	int room = list->room ? list->room * 2 : 64;
	char **name = realloc(list->name, (size_t) room * sizeof *name);
	int *slot;

	if (name == NULL)
		return false;
	list->name = name;
	if ((slot = calloc((size_t) room * 2, sizeof *slot)) == NULL)
		return false;
	free(list->slot);
	list->slot = slot;
	list->nslots = (size_t) room * 2;
	list->room = room;
	for (int i = 0; i < list->n; i++)
		list->slot[name_slot(list, list->name[i])] = i + 1;
	return true;
}

int
name_list_add(NameList *list, const char *name)
{
	size_t slot;

	if (list->n == list->room && !name_list_grow(list))
		return -1;
	slot = name_slot(list, name);
	if (list->slot[slot])
		return list->slot[slot] - 1;
	if ((list->name[list->n] = strdup(name)) == NULL)
		return -1;
	list->slot[slot] = ++list->n;
	return list->n - 1;
}

void
name_list_free(NameList *list)
{
	for (int i = 0; i < list->n; i++)
		free(list->name[i]);
	free(list->name);
	free(list->slot);
	*list = (NameList){0};
}
