/*
 * feed.c
 *	  The pipeline from pictures to batches.
 *
 * A ring of slots holds the batch in use and those prepared ahead.  A batch is cut
 * into pieces of a few pictures; a worker takes the next piece of the earliest batch,
 * so that all workers finish the batch that is wanted first.  Whoever finishes its
 * last piece mixes the batch.
 */
#include "training/run/feed.h"

#include "training/run/progress.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Streams of the seed; arch uses 1 to 7. */
#define STREAM_ORDER 1000

#define AHEAD 3
#define PIECE 4 /* pictures */
#define MAX_WORKERS 256

typedef struct Slot
{
	FeedBatch batch;
	uint32_t *index; /* of the distinct pictures */
	int epoch;
	Mix mix;
	uint8_t *images;
	uint64_t *labels, *partner;
	int taken, done; /* pictures handed to workers, and finished by them */
	bool failed;
	TrainError err;
} Slot;

struct Feed
{
	const Dataset *ds;
	Augment augment;
	NnPool *pool;
	int n;		  /* pictures of a batch */
	int distinct; /* different ones */
	int64_t steps_per_epoch;
	uint32_t *order; /* of the epoch that was last cut into batches */
	int64_t order_epoch;
	double waited;

	Slot slot[AHEAD + 1];
	int nslots;
	int64_t next; /* step that follows the one in use */

	AugmentRoom *room; /* per thread */
	uint8_t **pixels;  /* per thread: a picture from disk */
	int nthreads;

	pthread_t *worker;
	int nworkers;
	pthread_mutex_t lock;
	pthread_cond_t work, ready;
	int busy; /* pieces being worked on */
	bool stop;
};

/* --------------------------------------------------------------------- planning */

/* Which pictures a step has, with what labels, and how they are mixed. */
static void
plan(Feed *f, Slot *s, int64_t step)
{
	int64_t epoch = step / f->steps_per_epoch;
	size_t at = (size_t) (step % f->steps_per_epoch) * f->distinct;
	int words = f->ds->label_words;

	if (epoch != f->order_epoch)
	{
		Rng rng;

		for (int i = 0; i < f->ds->n; i++)
			f->order[i] = i;
		rng_seed(&rng, f->augment.seed, STREAM_ORDER + (uint64_t) epoch);
		rng_shuffle(&rng, f->order, f->ds->n);
		f->order_epoch = epoch;
	}
	memcpy(s->index, f->order + at, f->distinct * sizeof(*s->index));
	for (int i = 0; i < f->n; i++)
		memcpy(s->labels + (size_t) i * words,
			   f->ds->labels + (size_t) s->index[i % f->distinct] * words,
			   words * sizeof(uint64_t));
	s->mix = mix_draw(&f->augment.options, f->augment.seed, step, f->augment.width,
					  f->augment.height);
	for (int i = 0; i < f->n; i++)
		memcpy(s->partner + (size_t) i * words,
			   s->labels + (size_t) (f->n - 1 - i) * words, words * sizeof(uint64_t));
	s->epoch = (int) epoch;
	s->taken = s->done = 0;
	s->failed = false;
	s->batch = (FeedBatch){
		.step = step,
		.n = f->n,
		.images = s->images,
		.labels = s->labels,
		.partner = s->mix.share < 1 ? s->partner : NULL,
		.share = s->mix.share,
	};
}

/* ---------------------------------------------------------------------- preparing */

static size_t
image_size(const Feed *f)
{
	return (size_t) f->augment.width * f->augment.height * 3;
}

static bool
prepare(Feed *f, Slot *s, int begin, int end, int thread, TrainError *err)
{
	for (int i = begin; i < end; i++)
	{
		uint32_t picture = s->index[i % f->distinct];
		Image from = {f->ds->width, f->ds->height, NULL};
		const uint8_t *pixels = dataset_pixels(f->ds, picture, f->pixels[thread], err);

		/* only read */
		from.rgb = (uint8_t *) pixels;
		if (!pixels ||
			!augment_picture(&f->augment, &from, picture, s->epoch, i / f->distinct,
							 &f->room[thread], s->images + i * image_size(f), err))
			return false;
	}
	return true;
}

static void
mix_range(Feed *f, Slot *s, int begin, int end)
{
	for (int i = begin; i < end; i++)
		mix_pair(&s->mix, s->images + i * image_size(f),
				 s->images + (f->n - 1 - i) * image_size(f), f->augment.width,
				 f->augment.height);
}

typedef struct Here
{
	Feed *feed;
	Slot *slot;
} Here;

static void
prepare_here(void *arg, int begin, int end, int thread)
{
	Here *h = arg;
	TrainError err;

	if (prepare(h->feed, h->slot, begin, end, thread, &err))
		return;
	pthread_mutex_lock(&h->feed->lock);
	h->slot->failed = true;
	h->slot->err = err;
	pthread_mutex_unlock(&h->feed->lock);
}

static void
mix_here(void *arg, int begin, int end, int thread)
{
	Here *h = arg;

	(void) thread;
	mix_range(h->feed, h->slot, begin, end);
}

/* Without workers: in the pool, now. */
static Slot *
take_here(Feed *f, int64_t step)
{
	Here here = {f, &f->slot[0]};

	plan(f, here.slot, step);
	nn_parallel(f->pool, f->n, prepare_here, &here);
	if (here.slot->mix.share < 1 && !here.slot->failed)
		nn_parallel(f->pool, f->n / 2, mix_here, &here);
	return here.slot;
}

/* ------------------------------------------------------------------------ workers */

/* The earliest batch with a piece to do, or NULL. */
static Slot *
slot_with_work(Feed *f)
{
	Slot *best = NULL;

	for (int i = 0; i < f->nslots; i++)
	{
		Slot *s = &f->slot[i];

		if (s->taken < f->n && (!best || s->batch.step < best->batch.step))
			best = s;
	}
	return best;
}

static bool
whole(const Feed *f, const Slot *s)
{
	return s->done == f->n;
}

/* One piece; called and left with the lock held. */
static void
work_on(Feed *f, Slot *s, int thread)
{
	int begin = s->taken;
	int end = begin + PIECE < f->n ? begin + PIECE : f->n;
	TrainError err;
	bool ok;

	s->taken = end;
	f->busy++;
	pthread_mutex_unlock(&f->lock);
	ok = prepare(f, s, begin, end, thread, &err);
	pthread_mutex_lock(&f->lock);
	if (!ok && !s->failed)
	{
		s->failed = true;
		s->err = err;
	}
	if (s->done + end - begin == f->n && s->mix.share < 1 && !s->failed)
	{
		pthread_mutex_unlock(&f->lock);
		mix_range(f, s, 0, f->n / 2);
		pthread_mutex_lock(&f->lock);
	}
	s->done += end - begin;
	f->busy--;
	if (whole(f, s) || f->busy == 0)
		pthread_cond_broadcast(&f->ready);
}

typedef struct Worker
{
	Feed *feed;
	int number;
} Worker;

static void *
run_worker(void *arg)
{
	Worker me = *(Worker *) arg;
	Feed *f = me.feed;

	free(arg);
	pthread_mutex_lock(&f->lock);
	while (!f->stop)
	{
		Slot *s = slot_with_work(f);

		if (s)
			work_on(f, s, me.number);
		else
			pthread_cond_wait(&f->work, &f->lock);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

/* Another order of steps than foreseen: begin anew from this one. */
static void
restart(Feed *f, int64_t step)
{
	for (int i = 0; i < f->nslots; i++)
		f->slot[i].taken = f->n;
	while (f->busy > 0)
		pthread_cond_wait(&f->ready, &f->lock);
	for (int i = 0; i < f->nslots; i++)
		plan(f, &f->slot[(step + i) % f->nslots], step + i);
	pthread_cond_broadcast(&f->work);
	f->next = step;
}

static Slot *
take_ahead(Feed *f, int64_t step)
{
	Slot *s = &f->slot[step % f->nslots];

	pthread_mutex_lock(&f->lock);
	if (step != f->next)
		restart(f, step);
	else if (step > 0)
	{
		/* The batch before is done with: its place is for the one farthest ahead. */
		Slot *before = &f->slot[(step - 1) % f->nslots];

		if (before->batch.step < step)
		{
			plan(f, before, step - 1 + f->nslots);
			pthread_cond_broadcast(&f->work);
		}
	}
	f->next = step + 1;
	while (!whole(f, s))
		pthread_cond_wait(&f->ready, &f->lock);
	pthread_mutex_unlock(&f->lock);
	return s;
}

/* ------------------------------------------------------------------------- outside */

const FeedBatch *
feed_take(Feed *f, int64_t step, TrainError *err)
{
	double start = progress_now();
	Slot *s = f->nworkers > 0 ? take_ahead(f, step) : take_here(f, step);

	f->waited += progress_now() - start;
	if (!s->failed)
		return &s->batch;
	*err = s->err;
	return NULL;
}

double
feed_waited(const Feed *f)
{
	return f->waited;
}

int
feed_batch(const Feed *f)
{
	return f->n;
}

int64_t
feed_steps_per_epoch(const Feed *f)
{
	return f->steps_per_epoch;
}

static bool
take_memory(Feed *f, TrainError *err)
{
	size_t labels = (size_t) f->n * f->ds->label_words * sizeof(uint64_t);
	int w = f->ds->width > f->augment.width ? f->ds->width : f->augment.width;
	int h = f->ds->height > f->augment.height ? f->ds->height : f->augment.height;
	bool ok;

	f->order = malloc(f->ds->n * sizeof(*f->order));
	f->room = calloc(f->nthreads, sizeof(*f->room));
	f->pixels = calloc(f->nthreads, sizeof(*f->pixels));
	ok = f->order && f->room && f->pixels;
	for (int i = 0; ok && i < f->nthreads; i++)
	{
		ok = augment_room_init(&f->room[i], w, h, err);
		if (ok && f->ds->disk)
			ok = (f->pixels[i] = malloc(dataset_picture_size(f->ds))) != NULL;
	}
	for (int i = 0; ok && i < f->nslots; i++)
	{
		Slot *s = &f->slot[i];

		s->images = malloc(f->n * image_size(f));
		s->labels = malloc(labels);
		s->partner = malloc(labels);
		s->index = malloc(f->distinct * sizeof(*s->index));
		s->taken = f->n;
		s->batch.step = -1;
		ok = s->images && s->labels && s->partner && s->index;
	}
	return ok || train_fail(err,
							"out of memory for %d batches of %d pictures of %dx%d: "
							"lower train.batch",
							f->nslots, f->n, f->augment.width, f->augment.height);
}

static bool
start_workers(Feed *f, int workers, TrainError *err)
{
	sigset_t all, before;

	f->worker = calloc(workers, sizeof(*f->worker));
	if (!f->worker)
		return train_fail(err, "out of memory");
	/* Signals belong to the program's own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (f->nworkers < workers)
	{
		Worker *w = malloc(sizeof(*w));

		if (!w)
			break;
		*w = (Worker){f, f->nworkers};
		if (pthread_create(&f->worker[f->nworkers], NULL, run_worker, w) != 0)
		{
			free(w);
			break;
		}
		f->nworkers++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	/* Fewer than wanted do as well, more slowly. */
	return f->nworkers > 0 ||
		   train_fail(err, "cannot start threads that prepare pictures");
}

Feed *
feed_new(const Dataset *ds, const Augment *augment, int batch, int workers, NnPool *pool,
		 TrainError *err)
{
	Feed *f = calloc(1, sizeof(*f));
	int views = augment->options.two_views ? 2 : 1;

	if (!f)
	{
		train_fail(err, "out of memory");
		return NULL;
	}
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->work, NULL);
	pthread_cond_init(&f->ready, NULL);
	if (workers > MAX_WORKERS)
		workers = MAX_WORKERS;
	f->ds = ds;
	f->augment = *augment;
	f->pool = pool;
	f->distinct = batch / views < ds->n ? batch / views : ds->n;
	if (f->distinct < 1)
		f->distinct = 1;
	f->n = f->distinct * views;
	f->steps_per_epoch = ds->n / f->distinct;
	f->order_epoch = -1;
	f->next = -1;
	f->nslots = workers > 0 ? AHEAD + 1 : 1;
	f->nthreads = workers > 0 ? workers : nn_pool_threads(pool);
	if (!take_memory(f, err) || (workers > 0 && !start_workers(f, workers, err)))
	{
		feed_free(f);
		return NULL;
	}
	return f;
}

void
feed_free(Feed *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->stop = true;
	pthread_cond_broadcast(&f->work);
	pthread_mutex_unlock(&f->lock);
	for (int i = 0; i < f->nworkers; i++)
		pthread_join(f->worker[i], NULL);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->work);
	pthread_cond_destroy(&f->ready);
	for (int i = 0; i < f->nslots; i++)
	{
		free(f->slot[i].images);
		free(f->slot[i].labels);
		free(f->slot[i].partner);
		free(f->slot[i].index);
	}
	for (int i = 0; i < f->nthreads; i++)
	{
		if (f->room)
			augment_room_free(&f->room[i]);
		if (f->pixels)
			free(f->pixels[i]);
	}
	free(f->room);
	free(f->pixels);
	free(f->order);
	free(f->worker);
	free(f);
}
