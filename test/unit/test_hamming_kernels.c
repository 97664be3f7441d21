/*
 * test_hamming_kernels.c
 *	  Every set of kernels this CPU runs against the portable one, and the
 *	  portable one against a bit by bit count.  All arrays lie against a page
 *	  that may not be touched, so one byte read or written too far is a crash.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hamming/hamming.h"

#define MAX_CODES 1024
#define ARENA ((size_t) MAX_CODES * HAMMING_MAX_BYTES)

/* Bytes between two forbidden pages. */
typedef struct Fenced
{
	uint8_t *begin;
	uint8_t *end;
} Fenced;

static Fenced codes, query, out, mask, sliced;

static Fenced
fence(size_t size)
{
	size_t page = (size_t) sysconf(_SC_PAGESIZE);
	uint8_t *p;

	size = (size + page - 1) / page * page;
	p = mmap(NULL, size + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	assert_true(p != MAP_FAILED);
	assert_int_equal(mprotect(p, page, PROT_NONE), 0);
	assert_int_equal(mprotect(p + page + size, page, PROT_NONE), 0);
	return (Fenced){p + page, p + page + size};
}

static uint64_t random_state = 88172645463325252u;

/* Marsaglia's xorshift64; the same bytes in every run. */
static uint64_t
random64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static int
setup(void **state)
{
	(void) state;
	codes = fence(ARENA);
	query = fence(HAMMING_MAX_BYTES);
	out = fence(MAX_CODES * sizeof(uint16_t));
	mask = fence(MAX_CODES / 8);
	sliced = fence(ARENA);
	for (uint8_t *p = codes.begin; p < codes.end; p += 8)
	{
		uint64_t r = random64();

		memcpy(p, &r, 8);
	}
	return 0;
}

static uint32_t
naive_distance(const uint8_t *a, const uint8_t *b, size_t nbytes)
{
	uint32_t d = 0;

	for (size_t i = 0; i < nbytes; i++)
		for (int bit = 0; bit < 8; bit++)
			d += (a[i] >> bit & 1) != (b[i] >> bit & 1);
	return d;
}

/* A query near the end of its fence: random, or equal to a code so that 0 occurs. */
static const uint8_t *
make_query(const uint8_t *array, size_t nbytes, size_t n)
{
	uint8_t *q = query.end - nbytes;

	if (n > 0 && random64() % 2)
		memcpy(q, array + random64() % n * nbytes, nbytes);
	else
		for (size_t i = 0; i < nbytes; i++)
			q[i] = (uint8_t) (random64() >> 32);
	return q;
}

static void
check_distances(const HammingKernels *k, const uint8_t *q, const uint8_t *array,
				size_t nbytes, size_t n, const uint16_t *expected)
{
	uint16_t *got = (uint16_t *) out.end - n;

	memset(got, 0xee, n * sizeof(*got));
	k->distances(q, array, nbytes, n, got);
	for (size_t i = 0; i < n; i++)
		if (got[i] != expected[i])
			fail_msg("%s: distance %zu of %zu, %zu bytes: %u, not %u", k->name, i, n,
					 nbytes, got[i], expected[i]);
	for (size_t i = 0; i < n; i += n / 3 + 1)
		assert_int_equal(k->distance(q, array + i * nbytes, nbytes), expected[i]);
}

/* One of within and within_slices, which array is for. */
static void
check_within(const HammingKernels *k, const uint8_t *q, const uint8_t *array, bool slices,
			 size_t nbytes, size_t n, uint32_t radius, const uint16_t *expected)
{
	size_t words = (n + 63) / 64;
	uint64_t *got = (uint64_t *) mask.end - words;
	size_t hits = 0;
	size_t counted;

	memset(got, 0xee, words * sizeof(*got));
	counted = (slices ? k->within_slices : k->within)(q, array, nbytes, n, radius, got);
	for (size_t i = 0; i < words * 64; i++)
	{
		bool in = i < n && expected[i] <= radius;

		hits += in;
		if ((got[i / 64] >> i % 64 & 1) != in)
			fail_msg("%s%s: radius %u, code %zu of %zu, %zu bytes: bit should be %d",
					 k->name, slices ? ", slices" : "", radius, i, n, nbytes, in);
	}
	if (counted != hits)
		fail_msg("%s%s: radius %u, %zu codes, %zu bytes: %zu hits, not %zu", k->name,
				 slices ? ", slices" : "", radius, n, nbytes, counted, hits);
}

/* All kernels over n codes of nbytes bytes that begin at array. */
static void
check_array(const uint8_t *array, size_t nbytes, size_t n)
{
	const uint8_t *q = make_query(array, nbytes, n);
	/* At the end of its fence, or as far from a cache line as the array itself. */
	uint8_t *slices = random64() % 2 ? sliced.end - nbytes * n
									 : sliced.begin + (array - codes.begin) % 64;
	uint16_t expected[MAX_CODES];
	const HammingKernels *k;

	if (slices + nbytes * n > sliced.end)
		slices = sliced.begin;
	hamming_to_slices(array, nbytes, n, slices);
	hamming_kernels_at(0)->distances(q, array, nbytes, n, expected);
	for (size_t i = 0; (k = hamming_kernels_at(i)) != NULL; i++)
	{
		uint32_t middle = n > 0 ? expected[n / 2] : 0;
		uint32_t radii[] = {0, middle / 2, middle, (uint32_t) nbytes * 8, UINT32_MAX};

		check_distances(k, q, array, nbytes, n, expected);
		for (size_t r = 0; r < sizeof(radii) / sizeof(radii[0]); r++)
		{
			check_within(k, q, array, false, nbytes, n, radii[r], expected);
			check_within(k, q, slices, true, nbytes, n, radii[r], expected);
		}
	}
}

static void
test_portable_counts_bits(void **state)
{
	const HammingKernels *portable = hamming_kernels_at(0);

	(void) state;
	assert_string_equal(portable->name, "portable");
	for (size_t nbytes = 1; nbytes <= HAMMING_MAX_BYTES; nbytes++)
		for (int round = 0; round < 8; round++)
		{
			const uint8_t *a = codes.end - nbytes;
			const uint8_t *b = codes.begin + random64() % 4096;

			assert_int_equal(portable->distance(a, b, nbytes),
							 naive_distance(a, b, nbytes));
		}
}

/* Byte b of code i is where hamming.h says, and comes back. */
static void
test_slices_hold_the_codes(void **state)
{
	static const size_t sizes[] = {1, 2, 9, 70};
	uint8_t code[HAMMING_MAX_BYTES];

	(void) state;
	for (size_t nbytes = 1; nbytes <= HAMMING_MAX_BYTES; nbytes++)
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
		{
			size_t n = sizes[s];
			uint8_t *slices = sliced.end - nbytes * n;

			hamming_to_slices(codes.begin, nbytes, n, slices);
			for (size_t i = 0; i < n; i++)
			{
				for (size_t b = 0; b < nbytes; b++)
				{
					size_t from = b / 8 * 8;
					size_t width = nbytes - from < 8 ? nbytes - from : 8;

					assert_int_equal(slices[from * n + i * width + b % 8],
									 codes.begin[i * nbytes + b]);
				}
				hamming_from_slices(slices, nbytes, n, i, code);
				assert_memory_equal(code, codes.begin + i * nbytes, nbytes);
			}
			if (nbytes <= 8)
				assert_memory_equal(slices, codes.begin, nbytes * n);
		}
}

static void
test_extremes(void **state)
{
	static uint8_t ones[HAMMING_MAX_BYTES * 100];
	static uint8_t zeros[HAMMING_MAX_BYTES];
	const HammingKernels *k;
	uint16_t d[100];

	(void) state;
	memset(ones, 0xff, sizeof(ones));
	for (size_t i = 0; (k = hamming_kernels_at(i)) != NULL; i++)
		for (size_t nbytes = 1; nbytes <= HAMMING_MAX_BYTES; nbytes++)
		{
			assert_int_equal(k->distance(zeros, ones, nbytes), nbytes * 8);
			assert_int_equal(k->distance(ones, ones + nbytes, nbytes), 0);
			k->distances(zeros, ones, nbytes, 100, d);
			for (int j = 0; j < 100; j++)
				assert_int_equal(d[j], nbytes * 8);
		}
}

/* Arrays of every interesting size that end at the forbidden page. */
static void
test_all_lengths_and_sizes(void **state)
{
	static const size_t sizes[] = {0,  1,  2,  3,  4,  5,  7,  8,	9,	 15,
								   16, 17, 31, 33, 63, 64, 65, 127, 129, 1000};

	(void) state;
	for (size_t nbytes = 1; nbytes <= HAMMING_MAX_BYTES; nbytes++)
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
			check_array(codes.end - nbytes * sizes[s], nbytes, sizes[s]);
}

/* Arrays that begin right behind the forbidden page: reads before the array. */
static void
test_arrays_at_the_beginning(void **state)
{
	(void) state;
	for (size_t nbytes = 1; nbytes <= HAMMING_MAX_BYTES; nbytes++)
		check_array(codes.begin, nbytes, 70);
}

static void
test_all_alignments(void **state)
{
	static const size_t lengths[] = {1,	 3,	 4,	 6,	 7,	 8,	 12, 13, 15, 16,  17,
									 24, 31, 32, 33, 48, 63, 64, 65, 96, 128, 512};

	(void) state;
	for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++)
		for (size_t offset = 0; offset < 64; offset++)
			check_array(codes.begin + offset, lengths[l], 75);
}

/* DEEPHASH_KERNELS is read once per process, so each value gets a process. */
static void
check_choice(const char *wanted, const char *expected)
{
	int status;
	pid_t child = fork();

	if (child == 0)
	{
		if (wanted != NULL)
			setenv("DEEPHASH_KERNELS", wanted, 1);
		else
			unsetenv("DEEPHASH_KERNELS");
		_exit(strcmp(hamming_kernels()->name, expected) != 0 ||
			  hamming_kernels() != hamming_kernels());
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
test_choice(void **state)
{
	const HammingKernels *k;
	const char *best = NULL;

	(void) state;
	for (size_t i = 0; (k = hamming_kernels_at(i)) != NULL; i++)
	{
		check_choice(k->name, k->name);
		best = k->name;
		print_message("kernels: %s\n", k->name);
	}
	check_choice(NULL, best);
	check_choice("", best);
	check_choice("no such kernels", best);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_portable_counts_bits),
		cmocka_unit_test(test_slices_hold_the_codes),
		cmocka_unit_test(test_extremes),
		cmocka_unit_test(test_all_lengths_and_sizes),
		cmocka_unit_test(test_arrays_at_the_beginning),
		cmocka_unit_test(test_all_alignments),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
