/*
 * models.c
 *	  The models in use: opened from the cache, checked against their sha256,
 *	  loaded on the device, and evicted, least recently used first, when their
 *	  memory is wanted.
 */
#include "service/service.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/sha256.h"

struct Models
{
	const ServiceConfig *config;
	const NnDevice *device;
	int dir; /* the cache */

	pthread_mutex_t lock;
	pthread_cond_t loaded; /* some model stopped loading */
	Model *first;
	uint64_t clock;
};

Models *
models_create(const ServiceConfig *config, const NnDevice *device, Failure *failure)
{
	Models *models = calloc(1, sizeof(*models));

	if (models == NULL)
	{
		refuse(failure, DEEPHASH_NO_MEMORY, "out of memory");
		return NULL;
	}
	models->config = config;
	models->device = device;
	models->dir = open(config->cache_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (models->dir < 0)
	{
		refuse(failure, DEEPHASH_BAD_REQUEST, "could not open model cache \"%s\": %s",
			   config->cache_dir, strerror(errno));
		free(models);
		return NULL;
	}
	pthread_mutex_init(&models->lock, NULL);
	pthread_cond_init(&models->loaded, NULL);
	return models;
}

static void
model_free(Model *model)
{
	runner_close(model->runner);
	if (model->file)
		nn_model_close(model->file);
	free(model);
}

/* Is what fd holds what its name promises? */
static bool
check_contents(int fd, const uint8_t *sha256, Failure *failure)
{
	enum
	{
		PIECE = 1 << 20
	};
	Sha256 sha;
	uint8_t digest[DEEPHASH_SHA256_BYTES];
	uint8_t *piece = malloc(PIECE);
	off_t at = 0;
	ssize_t n;

	if (piece == NULL)
		return refuse(failure, DEEPHASH_NO_MEMORY, "out of memory");
	sha256_init(&sha);
	while ((n = pread(fd, piece, PIECE, at)) > 0)
	{
		sha256_update(&sha, piece, (size_t) n);
		at += n;
	}
	free(piece);
	if (n < 0)
		return refuse(failure, DEEPHASH_BAD_MODEL, "could not read cached model: %s",
					  strerror(errno));
	sha256_final(&sha, digest);
	/* NO_MODEL: the session then puts a good copy in its place. */
	if (memcmp(digest, sha256, sizeof(digest)) != 0)
		return refuse(failure, DEEPHASH_NO_MODEL,
					  "cached model does not match its sha256");
	return true;
}

static NnModel *
open_cached(Models *models, const uint8_t *sha256, Failure *failure)
{
	char name[2 * DEEPHASH_SHA256_BYTES + sizeof(DEEPHASH_MODEL_SUFFIX)];
	struct stat st;
	NnError err = {""};
	NnModel *file = NULL;
	int fd;

	for (int i = 0; i < DEEPHASH_SHA256_BYTES; i++)
		snprintf(name + 2 * i, 3, "%02x", sha256[i]);
	strcat(name, DEEPHASH_MODEL_SUFFIX);
	fd = openat(models->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
	{
		refuse(failure, errno == ENOENT ? DEEPHASH_NO_MODEL : DEEPHASH_BAD_MODEL,
			   "could not open cached model \"%s\": %s", name, strerror(errno));
		return NULL;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid())
		refuse(failure, DEEPHASH_BAD_MODEL,
			   "cached model \"%s\" is not a regular file of this user", name);
	else if (check_contents(fd, sha256, failure))
	{
		file = nn_model_open_fd(fd, &err);
		if (file == NULL)
			refuse_for(failure, DEEPHASH_BAD_MODEL, err.text);
	}
	close(fd);
	return file;
}

/* Without the lock: a device takes its time to let go. */
static void
free_all(Model *leaving)
{
	while (leaving)
	{
		Model *next = leaving->next;

		model_free(leaving);
		leaving = next;
	}
}

/*
 * Evict idle models until `wanted` more bytes fit, as far as that is possible:
 * models in use stay, and the limit is then exceeded for a while rather than a
 * request refused.  Called with the lock; returns those that leave, to be freed.
 */
static Model *
make_room(Models *models, const Model *keep, size_t wanted)
{
	Model *leaving = NULL;

	for (;;)
	{
		size_t total = wanted;
		Model **victim = NULL;

		for (Model **m = &models->first; *m; m = &(*m)->next)
		{
			if (*m == keep || (*m)->loading)
				continue;
			total += (*m)->memory;
			if ((*m)->users == 0 &&
				(victim == NULL || (*m)->last_use < (*victim)->last_use))
				victim = m;
		}
		if (total <= (size_t) models->config->device_memory || victim == NULL)
			return leaving;

		Model *evicted = *victim;

		*victim = evicted->next;
		evicted->next = leaving;
		leaving = evicted;
	}
}

/* Bytes for one image under a limit that has room for them. */
static size_t
memory_needed(const Models *models, const Model *model, NnServing how)
{
	size_t needed = runner_estimate(models->device, model->file, &how);

	/* What a device does with grows with what it may have, but slower. */
	while (how.memory < needed)
	{
		how.memory = needed;
		needed = runner_estimate(models->device, model->file, &how);
	}
	return needed;
}

/* Set to what it says, the limit is enough. */
static bool
refuse_size(const Models *models, size_t memory, Failure *failure)
{
	const size_t mb = (size_t) 1 << 20;

	return refuse(failure, DEEPHASH_TOO_LARGE,
				  "model needs %zu MB for one image on device %s, more than "
				  "deephash.device_memory (%lld MB)",
				  (memory + mb - 1) / mb, models->device->name,
				  (long long) models->config->device_memory >> 20);
}

/*
 * A device that does not take what its own estimate allowed is no fault of the model.  A
 * GPU that failed stays so until the process ends, and is given up with it: failed
 * batches are counted elsewhere, but there are none where no model can be loaded.
 */
static bool
refuse_load(const Models *models, const Model *model, const NnError *err,
			Failure *failure)
{
	const NnDevice *device = models->device;
	char text[256];

	if (model->memory == 0)
		return refuse_for(failure, DEEPHASH_BAD_MODEL, err->text);
	if (!device_has_stages(device))
		return refuse_for(failure, DEEPHASH_NO_MEMORY, err->text);
	if (!device->probe(text, sizeof(text)))
	{
		say('F', "device %s is gone: %s", device->name, text);
		_exit(1);
	}
	return refuse_for(failure, DEEPHASH_DEVICE, err->text);
}

/*
 * Make the network runnable, for batches as large as configured or, where that
 * would take more than all of device_memory, for smaller ones.  Where threads compute
 * pictures one by one, as many at once count as there are threads.
 */
static bool
load_net(Models *models, Model *model, Failure *failure)
{
	const NnModelInfo *info = &model->file->info;
	const NnDevice *device = models->device;
	size_t limit = (size_t) models->config->device_memory;
	NnServing how = {.threads = models->config->threads,
					 .precision = device_precision(device, models->config->precision),
					 .thresholds = model->file->thresholds,
					 .graphs = models->config->graphs,
					 .memory = limit};
	int most = device->callers ? models->config->threads : models->config->batch_size;
	NnError err = {""};

	model->image_bytes = (size_t) info->width * info->height * 3;
	for (int batch = most;; batch = (batch + 1) / 2)
	{
		Model *leaving;

		how.max_batch = batch;
		model->memory = runner_estimate(device, model->file, &how);
		if (model->memory > limit && batch > 1)
			continue;
		if (model->memory > limit)
			return refuse_size(models, memory_needed(models, model, how), failure);
		/* Those it drives out go first: the device may not hold both. */
		pthread_mutex_lock(&models->lock);
		leaving = make_room(models, model, model->memory);
		pthread_mutex_unlock(&models->lock);
		free_all(leaving);

		model->runner = runner_open(device, model->file, &how, &err);
		if (model->runner == NULL && batch == 1)
			return refuse_load(models, model, &err, failure);
		if (model->runner == NULL)
			continue;
		model->memory = runner_memory(model->runner);
		if (model->memory <= limit)
		{
			model->max_batch = device->callers ? 1 : batch;
			return true;
		}
		runner_close(model->runner);
		model->runner = NULL;
		if (batch == 1)
			return refuse_size(models, model->memory, failure);
	}
}

static Model *
find(Models *models, const uint8_t *sha256)
{
	for (Model *m = models->first; m; m = m->next)
	{
		if (memcmp(m->sha256, sha256, DEEPHASH_SHA256_BYTES) == 0)
			return m;
	}
	return NULL;
}

/* To be freed.  Called with the lock. */
static Model *
forget(Models *models, Model *model)
{
	for (Model **m = &models->first; *m; m = &(*m)->next)
	{
		if (*m == model)
		{
			*m = model->next;
			break;
		}
	}
	model->next = NULL;
	return model;
}

Model *
models_acquire(Models *models, const uint8_t *sha256, Failure *failure)
{
	Model *model, *leaving;

	pthread_mutex_lock(&models->lock);
	while ((model = find(models, sha256)) != NULL && model->loading)
		pthread_cond_wait(&models->loaded, &models->lock);
	if (model != NULL)
	{
		model->users++;
		model->last_use = ++models->clock;
		pthread_mutex_unlock(&models->lock);
		return model;
	}
	model = calloc(1, sizeof(*model));
	if (model == NULL)
	{
		pthread_mutex_unlock(&models->lock);
		refuse(failure, DEEPHASH_NO_MEMORY, "out of memory");
		return NULL;
	}
	memcpy(model->sha256, sha256, DEEPHASH_SHA256_BYTES);
	model->users = 1;
	model->loading = true;
	model->next = models->first;
	models->first = model;
	pthread_mutex_unlock(&models->lock);

	/* Loading takes time; without the lock, only those who want this model wait. */
	model->file = open_cached(models, sha256, failure);

	bool loaded = model->file != NULL && load_net(models, model, failure);

	pthread_mutex_lock(&models->lock);
	model->loading = false;
	if (loaded)
	{
		model->last_use = ++models->clock;
		leaving = make_room(models, model, model->memory);
	}
	else
	{
		leaving = forget(models, model);
		model = NULL;
	}
	pthread_cond_broadcast(&models->loaded);
	pthread_mutex_unlock(&models->lock);
	free_all(leaving);
	return model;
}

void
models_release(Models *models, Model *model)
{
	Model *leaving = NULL;

	pthread_mutex_lock(&models->lock);
	model->last_use_us = now_us();
	if (--model->users == 0)
		leaving = make_room(models, NULL, 0);
	pthread_mutex_unlock(&models->lock);
	free_all(leaving);
}

void
models_totals(Models *models, int *count, size_t *memory)
{
	*count = 0;
	*memory = 0;
	pthread_mutex_lock(&models->lock);
	for (Model *m = models->first; m; m = m->next)
	{
		if (m->loading)
			continue;
		(*count)++;
		*memory += m->memory;
	}
	pthread_mutex_unlock(&models->lock);
}

ModelUse *
models_list(Models *models, int *count)
{
	ModelUse *list;
	int64_t now = now_us();
	int n = 0;

	pthread_mutex_lock(&models->lock);
	for (Model *m = models->first; m; m = m->next)
		n++;
	list = malloc((n + 1) * sizeof(*list));
	n = 0;
	for (Model *m = models->first; m && list; m = m->next)
	{
		if (m->loading)
			continue;
		list[n] = (ModelUse){.bits = (int) m->file->info.bits,
							 .max_batch = m->max_batch,
							 .users = m->users,
							 .memory = m->memory,
							 .idle_us = m->users > 0 ? 0 : now - m->last_use_us};
		memcpy(list[n++].sha256, m->sha256, sizeof(m->sha256));
	}
	pthread_mutex_unlock(&models->lock);
	*count = n;
	return list;
}

void
models_destroy(Models *models)
{
	free_all(models->first);
	close(models->dir);
	pthread_cond_destroy(&models->loaded);
	pthread_mutex_destroy(&models->lock);
	free(models);
}
