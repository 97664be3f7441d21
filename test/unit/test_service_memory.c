/*
 * test_service_memory.c
 *	  An engine with too little memory says so to its clients and lives on, however little
 *	  it is.
 */
#include <sys/mman.h>
#include <sys/resource.h>

#include "service_cache.h"
#include "service_process.h"
#include "service/sandbox.h"

static Sample large;

static int
setup(void **state)
{
	Image picture = smooth_picture(2000, 1500);

	/* All its coefficients are in memory at once: 18 MB. */
	large = write_sample(picture.rgb, picture.width, picture.height,
						 (SampleOptions){.progressive = true, .quality = 50});
	free(picture.rgb);
	return cache_setup(state);
}

static int
teardown(void **state)
{
	free(large.data);
	return cache_teardown(state);
}

/* Bytes of this process, and what it may have, are told as they are. */
static void
test_counting(void **state)
{
	int statm = memory_open();
	int64_t before = memory_private(statm);
	size_t size = 100 << 20;
	void *piece =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void) state;
	assert_true(piece != MAP_FAILED);
	assert_true(before > 0);
	assert_int_equal(memory_private(statm) - before, size);
	munmap(piece, size);
	assert_int_equal(memory_private(statm), before);
	close(statm);
	assert_int_equal(memory_private(-1), -1);
}

#ifdef __SANITIZE_ADDRESS__
/* The sanitizer itself does not bear a lack of memory. */
static const bool can_be_short = false;
#else
static const bool can_be_short = true;
#endif

/* What the engine says to an image; it must be there afterwards. */
static DeephashStatus
ask(const Process *p, const Sample *image)
{
	char text[10000];
	DeephashStatus status = process_encode(p, 1, model[0], image, text, sizeof(text));

	if (status != DEEPHASH_OK)
	{
		assert_int_equal(status, DEEPHASH_NO_MEMORY);
		assert_true(text[0] == '\0' || strncmp(text, "out of memory", 13) == 0);
	}
	process_send(p->client, DEEPHASH_PING, 2, NULL, NULL);
	assert_int_equal(process_receive(p->client, text, sizeof(text)), DEEPHASH_OK);
	return status;
}

static void
test_every_limit(void **state)
{
	int refused = 0, served = 0, large_refused = 0, large_served = 0;

	(void) state;
	if (!can_be_short)
		skip();
	for (int64_t limit = 1; limit < 200 << 20; limit += limit / 6 + 50000)
	{
		ServiceConfig config = process_config(dir);
		char words[4000];
		Process p;

		config.memory_limit = limit;
		config.batch_size = 200;
		p = process_start(config, nn_cpu_device);
		*(ask(&p, &jpeg) == DEEPHASH_OK ? &served : &refused) += 1;
		/* One that is refused before it is read costs the connection. */
		close(p.client);
		p.client = process_connect(&p);
		*(ask(&p, &large) == DEEPHASH_OK ? &large_served : &large_refused) += 1;
		ask(&p, &jpeg);
		process_quit(&p, words, sizeof(words));
		assert_null(strstr(words, "F "));
	}
	print_message("# %d and %d limits were too low, %d and %d high enough\n", refused,
				  large_refused, served, large_served);
	assert_true(refused > 0 && large_refused > 0);
	assert_true(served > 0 && large_served > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counting),
		cmocka_unit_test(test_every_limit),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
