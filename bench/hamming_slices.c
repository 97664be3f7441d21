/*
 * hamming_slices.c
 *	  Times a pass over pages of sorted codes, stored one after the other and in
 *	  slices.
 *
 *	  make build/bench/hamming_slices && build/bench/hamming_slices [ROWS]
 *
 * The codes (default 1,000,000) are clustered: 100 centres, each bit of a code
 * flipped with a probability of 0.02 to 0.25 drawn per code.  They lie sorted on
 * pages of 8 kB like those of the index, with room for 6 bytes a code behind
 * them; the next page is prefetched in part, as the index does.  The radius is
 * the distance of the 100th nearest.  Prints the best of many passes, in
 * milliseconds per million codes, and the share of codes within the radius.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hamming/hamming.h"

#define PAGE 8192
#define HEADER 64 /* bytes before the codes of a page */
#define TAIL 16
#define TID 6
#define CENTRES 100
#define NEAREST 100
#define QUERIES 8
#define PREFETCH (PAGE * 9 / 16)

static uint64_t random_state = 88172645463325252u;
static size_t nbytes; /* of a code; qsort has no place for it */

/* Marsaglia's xorshift64. */
static uint64_t
random64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static double
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec * 1e3 + (double) t.tv_nsec / 1e6;
}

static void *
need(void *p)
{
	if (p == NULL)
		exit(1);
	return p;
}

static int
compare(const void *a, const void *b)
{
	return memcmp(a, b, nbytes);
}

static void
make_code(uint8_t *code, const uint8_t *centres)
{
	uint64_t flip = 1311 + random64() % 15073; /* 0.02 to 0.25 of 65536 */

	memcpy(code, centres + random64() % CENTRES * nbytes, nbytes);
	for (size_t i = 0; i < nbytes * 8; i++)
		if ((random64() >> 20 & 0xffff) < flip)
			code[i / 8] ^= (uint8_t) (0x80 >> i % 8);
}

static uint32_t
nth_distance(const uint8_t *query, const uint8_t *codes, size_t n)
{
	size_t count[HAMMING_MAX_BITS + 1] = {0};
	uint32_t d = 0;

	for (size_t i = 0; i < n; i++)
		count[hamming_kernels()->distance(query, codes + i * nbytes, nbytes)]++;
	for (size_t within = 0; (within += count[d]) < NEAREST && d < nbytes * 8;)
		d++;
	return d;
}

/* One pass over the pages; returns the hits. */
static size_t
pass(const HammingKernels *k, const uint8_t *pages, size_t npages, size_t per_page,
	 bool slices, const uint8_t *query, uint32_t radius)
{
	uint64_t mask[PAGE / 64];
	size_t hits = 0;

	for (size_t p = 0; p < npages; p++)
	{
		const uint8_t *page = pages + p * PAGE;

		for (size_t at = PAGE; at < PAGE + PREFETCH && p + 1 < npages; at += 64)
			__builtin_prefetch(page + at);
		hits += (slices ? k->within_slices : k->within)(query, page + HEADER, nbytes,
														per_page, radius, mask);
	}
	return hits;
}

static void
run(size_t rows)
{
	uint8_t *codes = need(malloc(rows * nbytes));
	uint8_t centres[CENTRES * HAMMING_MAX_BYTES];
	uint8_t queries[QUERIES][HAMMING_MAX_BYTES];
	uint32_t radius[QUERIES];
	size_t per_page = (PAGE - HEADER - TAIL) / (nbytes + TID);
	size_t npages = rows / per_page;
	uint8_t *pages[2];
	const HammingKernels *k;

	for (size_t i = 0; i < sizeof(centres); i++)
		centres[i] = (uint8_t) (random64() >> 32);
	for (size_t i = 0; i < rows; i++)
		make_code(codes + i * nbytes, centres);
	qsort(codes, rows, nbytes, compare);
	for (int q = 0; q < QUERIES; q++)
	{
		make_code(queries[q], centres);
		radius[q] = nth_distance(queries[q], codes, rows);
	}
	for (int form = 0; form < 2; form++)
	{
		pages[form] = need(aligned_alloc(PAGE, npages * PAGE));
		memset(pages[form], 0, npages * PAGE);
	}
	for (size_t p = 0; p < npages; p++)
	{
		memcpy(pages[0] + p * PAGE + HEADER, codes + p * per_page * nbytes,
			   per_page * nbytes);
		hamming_to_slices(codes + p * per_page * nbytes, nbytes, per_page,
						  pages[1] + p * PAGE + HEADER);
	}
	for (size_t i = 0; (k = hamming_kernels_at(i)) != NULL; i++)
	{
		double sum[2] = {0, 0};
		size_t hits = 0;

		for (int q = 0; q < QUERIES; q++)
			for (int form = 0; form < 2; form++)
			{
				double best = 1e9;

				for (int repeat = 0; repeat < 5; repeat++)
				{
					double t = now_ms();

					hits += pass(k, pages[form], npages, per_page, form == 1, queries[q],
								 radius[q]);
					t = now_ms() - t;
					best = t < best ? t : best;
				}
				sum[form] += best;
			}
		printf("%4zu bytes %-9s rows %8.3f slices %8.3f ratio %5.2f hits %.4f %%\n",
			   nbytes, k->name, sum[0] / QUERIES * 1e6 / (double) (npages * per_page),
			   sum[1] / QUERIES * 1e6 / (double) (npages * per_page), sum[1] / sum[0],
			   (double) hits * 100 / (double) (npages * per_page * QUERIES * 10));
		fflush(stdout);
	}
	free(pages[0]);
	free(pages[1]);
	free(codes);
}

int
main(int argc, char **argv)
{
	static const size_t lengths[] = {8, 9, 16, 25, 32, 64, 128, 512};
	size_t rows = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;

	if (rows < 10000)
		return 1;
	for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++)
	{
		nbytes = lengths[l];
		run(nbytes > 128 ? rows / 4 : rows);
	}
	return 0;
}
