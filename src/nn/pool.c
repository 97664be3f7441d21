/*
 * pool.c
 *	  The thread pool: sleeping workers, one job at a time, fixed shares.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "nn/pool.h"

/* OpenBLAS's own; declared here because not every cblas.h does. */
extern void openblas_set_num_threads(int n);
/* Not every build of it lets these be seen. */
extern void *blas_memory_alloc(int unused) __attribute__((weak));
extern void blas_memory_free(void *buffer) __attribute__((weak));

#define MAX_THREADS 256
/* Bytes of a buffer of OpenBLAS, at the most; those never touched take no memory. */
#define BLAS_BUFFER ((size_t) 132 << 20)

typedef struct Worker
{
	pthread_t id;
	NnPool *pool;
	int number; /* 1 .. threads-1; the caller is 0 */
} Worker;

struct NnPool
{
	int threads;
	int started; /* workers running */
	Worker *worker;
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	unsigned job; /* counts jobs, so that a worker sees a new one */
	int left;	  /* workers still busy with this job */
	bool stop;
	int n;
	NnRange fn;
	void *arg;

	/* of pools that are shared */
	NnPool *next;
	int users;
	pthread_mutex_t turn;
};

static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static NnPool *shared;

static void
share(int n, int threads, int thread, int *begin, int *end)
{
	*begin = (int) ((int64_t) n * thread / threads);
	*end = (int) ((int64_t) n * (thread + 1) / threads);
}

static void *
work(void *arg)
{
	Worker *me = arg;
	NnPool *pool = me->pool;
	unsigned seen = 0;

	pthread_mutex_lock(&pool->lock);
	for (;;)
	{
		int begin, end;

		while (!pool->stop && pool->job == seen)
			pthread_cond_wait(&pool->work, &pool->lock);
		if (pool->stop)
			break;
		seen = pool->job;
		share(pool->n, pool->threads, me->number, &begin, &end);
		pthread_mutex_unlock(&pool->lock);
		if (begin < end)
			pool->fn(pool->arg, begin, end, me->number);
		pthread_mutex_lock(&pool->lock);
		if (--pool->left == 0)
		{
			/* Who is woken with the lock held goes to sleep again at once. */
			pthread_mutex_unlock(&pool->lock);
			pthread_cond_signal(&pool->done);
			pthread_mutex_lock(&pool->lock);
		}
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static int
usable_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return CPU_COUNT(&set);
	return 1;
}

/*
 * A product of matrices takes a buffer, which OpenBLAS keeps for the next one; when there
 * is no memory for another it tries again without end.  So there shall be one for each
 * thread before memory gets short: for the pool's own and for as many callers, since
 * those who find the pool taken do without it.
 */
static void
reserve_blas_buffers(int threads)
{
	void *buffer[2 * MAX_THREADS];
	void *room;

	threads *= 2;
	if (!blas_memory_alloc || !blas_memory_free)
		return;
	/* Nor shall it try without end here, on a machine that promises no more memory
	 * than it has. */
	room = mmap(NULL, threads * BLAS_BUFFER, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (room == MAP_FAILED)
		return;
	munmap(room, threads * BLAS_BUFFER);
	for (int i = 0; i < threads; i++)
		buffer[i] = blas_memory_alloc(0);
	for (int i = 0; i < threads; i++)
	{
		if (buffer[i])
			blas_memory_free(buffer[i]);
	}
}

static int
thread_count(int wanted)
{
	if (wanted <= 0)
		wanted = usable_cpus();
	return wanted < MAX_THREADS ? wanted : MAX_THREADS;
}

NnPool *
nn_pool_new(int threads)
{
	NnPool *pool = calloc(1, sizeof(*pool));
	sigset_t all, before;

	if (pool == NULL)
		return NULL;
	openblas_set_num_threads(1);
	pool->threads = thread_count(threads);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_mutex_init(&pool->turn, NULL);
	pthread_cond_init(&pool->work, NULL);
	pthread_cond_init(&pool->done, NULL);
	pool->worker = calloc((size_t) pool->threads, sizeof(Worker));
	if (pool->worker == NULL)
	{
		nn_pool_free(pool);
		return NULL;
	}
	/* Signals belong to the program's own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (int i = 1; i < pool->threads; i++)
	{
		pool->worker[i].pool = pool;
		pool->worker[i].number = i;
		if (pthread_create(&pool->worker[i].id, NULL, work, &pool->worker[i]) != 0)
			break;
		pool->started = i;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (pool->started != pool->threads - 1)
	{
		nn_pool_free(pool);
		return NULL;
	}
	return pool;
}

void
nn_pool_free(NnPool *pool)
{
	if (pool == NULL)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->stop = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (int i = 1; i <= pool->started; i++)
		pthread_join(pool->worker[i].id, NULL);
	pthread_mutex_destroy(&pool->lock);
	pthread_mutex_destroy(&pool->turn);
	pthread_cond_destroy(&pool->work);
	pthread_cond_destroy(&pool->done);
	free(pool->worker);
	free(pool);
}

NnPool *
nn_pool_share(int threads)
{
	NnPool *pool;

	threads = thread_count(threads);
	pthread_mutex_lock(&shared_lock);
	for (pool = shared; pool && pool->threads != threads; pool = pool->next)
		;
	if (pool == NULL)
	{
		pool = nn_pool_new(threads);
		if (pool)
		{
			reserve_blas_buffers(threads);
			pool->next = shared;
			shared = pool;
		}
	}
	if (pool)
		pool->users++;
	pthread_mutex_unlock(&shared_lock);
	return pool;
}

void
nn_pool_leave(NnPool *pool)
{
	if (pool == NULL)
		return;
	pthread_mutex_lock(&shared_lock);
	if (--pool->users == 0)
	{
		NnPool **link = &shared;

		while (*link != pool)
			link = &(*link)->next;
		*link = pool->next;
		nn_pool_free(pool);
	}
	pthread_mutex_unlock(&shared_lock);
}

void
nn_pool_begin(NnPool *pool)
{
	pthread_mutex_lock(&pool->turn);
}

bool
nn_pool_try(NnPool *pool)
{
	return pthread_mutex_trylock(&pool->turn) == 0;
}

void
nn_pool_end(NnPool *pool)
{
	pthread_mutex_unlock(&pool->turn);
}

int
nn_pool_threads(const NnPool *pool)
{
	return pool ? pool->threads : 1;
}

void
nn_parallel(NnPool *pool, int n, NnRange fn, void *arg)
{
	int begin, end;

	/* One item needs no other thread, and waking one costs more than many an item. */
	if (pool == NULL || pool->threads == 1 || n == 1)
	{
		if (n > 0)
			fn(arg, 0, n, 0);
		return;
	}
	pthread_mutex_lock(&pool->lock);
	pool->n = n;
	pool->fn = fn;
	pool->arg = arg;
	pool->left = pool->threads - 1;
	pool->job++;
	pthread_mutex_unlock(&pool->lock);
	pthread_cond_broadcast(&pool->work);

	share(n, pool->threads, 0, &begin, &end);
	if (begin < end)
		fn(arg, begin, end, 0);

	pthread_mutex_lock(&pool->lock);
	while (pool->left > 0)
		pthread_cond_wait(&pool->done, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
}
