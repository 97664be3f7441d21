/*
 * hamming_kernels.c
 *	  Times every set of Hamming kernels this CPU runs over packed arrays.
 *
 *	gcc -O2 -std=gnu17 -Isrc -o build/hamming_kernels bench/hamming_kernels.c \
 *		src/hamming/[a-z]*.c
 *	build/hamming_kernels [KIB]
 *
 * KIB is the size of the array of codes (default 1024: it stays in the level 2
 * cache of most CPUs).  Prints the best of many passes, in milliseconds per
 * million codes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "hamming/hamming.h"

static double
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec * 1e3 + (double) t.tv_nsec / 1e6;
}

int
main(int argc, char **argv)
{
	static const size_t lengths[] = {4, 8, 16, 24, 32, 64, 128, 512};
	size_t size = (argc > 1 ? strtoul(argv[1], NULL, 10) : 1024) * 1024;
	uint8_t *codes = malloc(size);
	uint16_t *out = malloc(size / 2);
	uint64_t *mask = malloc(size / 8 + 8);
	uint8_t query[HAMMING_MAX_BYTES];
	const HammingKernels *k;

	if (size < 1024 || codes == NULL || out == NULL || mask == NULL)
		return 1;
	for (size_t i = 0; i < size; i++)
		codes[i] = (uint8_t) (rand() >> 7);
	for (size_t i = 0; i < sizeof(query); i++)
		query[i] = (uint8_t) (rand() >> 7);

	printf("ms per million codes (distances, within), array of %zu KiB\n", size / 1024);
	for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++)
		for (size_t i = 0; (k = hamming_kernels_at(i)) != NULL; i++)
		{
			size_t n = size / lengths[l];
			double best[2] = {1e9, 1e9};

			for (int pass = 0; pass < 50; pass++)
			{
				double t0 = now_ms();
				double t1;

				k->distances(query, codes, lengths[l], n, out);
				t1 = now_ms();
				k->within(query, codes, lengths[l], n, (uint32_t) lengths[l] * 3, mask);
				best[1] = now_ms() - t1 < best[1] ? now_ms() - t1 : best[1];
				best[0] = t1 - t0 < best[0] ? t1 - t0 : best[0];
			}
			printf("%4zu bytes %-9s %8.3f %8.3f\n", lengths[l], k->name,
				   best[0] * 1e6 / (double) n, best[1] * 1e6 / (double) n);
		}
	free(codes);
	free(out);
	free(mask);
	return 0;
}
