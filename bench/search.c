/*
 * search.c
 *	  For search.sh: makes codes to search, times a plain pass over them, and
 *	  says what the answers are.
 *
 *	  search make KIND BITS ROWS QUERIES SEED FILE
 *		prints ROWS codes in hexadecimal and writes QUERIES more to FILE; KIND is
 *		uniform, clustered (a fifth exact duplicates) or clustered90 (nine tenths)
 *	  search pass CODES QUERIES K
 *		reads two such files and prints the median, over the queries, of the
 *		milliseconds of CPU that finding the K nearest by one thread takes
 *	  search truth CODES QUERIES K
 *		prints for each query the distances of the K nearest, in order
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hamming/hamming.h"

#define CENTRES 100
#define PLANTED 3	/* near neighbours of each query among uniform codes */
#define MAX_FLIPS 8 /* of a planted neighbour */
#define BLOCK 1024	/* codes compared at a time */

static uint64_t state;

static uint64_t
next_random(void)
{
	uint64_t x = state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static double
next_unit(void)
{
	return (double) (next_random() >> 11) / 9007199254740992.0;
}

static void
uniform_code(uint8_t *code, size_t nbytes)
{
	for (size_t i = 0; i < nbytes; i++)
		code[i] = (uint8_t) next_random();
}

/* A member of a random cluster: its centre with each bit turned at one rate. */
static void
clustered_code(uint8_t *code, size_t nbytes, const uint8_t *centres)
{
	uint32_t rate = (uint32_t) ((0.02 + 0.23 * next_unit()) * 65536);

	memcpy(code, centres + next_random() % CENTRES * nbytes, nbytes);
	for (size_t bit = 0; bit < nbytes * 8; bit += 4)
	{
		uint64_t r = next_random();

		for (size_t b = bit; b < bit + 4; b++, r >>= 16)
			if ((r & 0xffff) < rate)
				code[b / 8] ^= (uint8_t) (0x80 >> b % 8);
	}
}

static void
print_code(FILE *file, const uint8_t *code, size_t nbytes)
{
	static const char digits[] = "0123456789abcdef";
	char line[2 * HAMMING_MAX_BYTES + 1];

	for (size_t i = 0; i < nbytes; i++)
	{
		line[2 * i] = digits[code[i] >> 4];
		line[2 * i + 1] = digits[code[i] & 15];
	}
	line[2 * nbytes] = '\n';
	fwrite(line, 1, 2 * nbytes + 1, file);
}

static void *
need(void *memory)
{
	if (memory == NULL)
	{
		fputs("out of memory\n", stderr);
		exit(1);
	}
	return memory;
}

/* duplicates: the share of rows that repeat an earlier code. */
static void
make(bool clustered, double duplicates, size_t nbytes, size_t rows, size_t nqueries,
	 FILE *file)
{
	uint8_t *centres = need(malloc(CENTRES * nbytes));
	uint8_t *codes = need(malloc(rows * nbytes));
	uint8_t *query = need(malloc(nbytes));

	uniform_code(centres, CENTRES * nbytes);
	for (size_t i = 0; i < rows; i++)
		if (!clustered)
			uniform_code(codes + i * nbytes, nbytes);
		else if (i > 0 && next_unit() < duplicates)
			memcpy(codes + i * nbytes, codes + next_random() % i * nbytes, nbytes);
		else
			clustered_code(codes + i * nbytes, nbytes, centres);
	for (size_t q = 0; q < nqueries; q++)
	{
		if (clustered)
			clustered_code(query, nbytes, centres);
		else
			uniform_code(query, nbytes);
		print_code(file, query, nbytes);
		for (int p = 0; !clustered && p < PLANTED; p++)
		{
			uint8_t *code = codes + next_random() % rows * nbytes;
			size_t flips = 1 + next_random() % MAX_FLIPS;

			memcpy(code, query, nbytes);
			for (size_t f = 0; f < flips; f++)
			{
				size_t bit = next_random() % (nbytes * 8);

				code[bit / 8] ^= (uint8_t) (1 << bit % 8);
			}
		}
	}
	for (size_t i = 0; i < rows; i++)
		print_code(stdout, codes + i * nbytes, nbytes);
	free(query);
	free(codes);
	free(centres);
}

static unsigned
nibble(char c)
{
	return c <= '9' ? (unsigned) (c - '0') : (unsigned) (c - 'a' + 10);
}

/* Codes of a file, packed; all lines have the same length. */
static uint8_t *
load(const char *name, size_t *nbytes, size_t *ncodes)
{
	FILE *file = fopen(name, "r");
	char line[2 * HAMMING_MAX_BYTES + 2];
	size_t size = 0;
	uint8_t *codes = NULL;

	*nbytes = *ncodes = 0;
	if (file == NULL)
	{
		perror(name);
		exit(1);
	}
	while (fgets(line, sizeof(line), file))
	{
		size_t n = strcspn(line, "\n") / 2;

		if (n == 0 || (*nbytes != 0 && n != *nbytes))
		{
			fprintf(stderr, "%s: codes of different lengths\n", name);
			exit(1);
		}
		*nbytes = n;
		if ((*ncodes + 1) * n > size)
			codes = need(realloc(codes, size = 2 * size + 4096));
		for (size_t i = 0; i < n; i++)
			codes[*ncodes * n + i] =
				(uint8_t) (nibble(line[2 * i]) << 4 | nibble(line[2 * i + 1]));
		++*ncodes;
	}
	fclose(file);
	return codes;
}

/*
 * The distance of the k-th nearest code; counts gets the number of codes at each
 * distance up to it, and perhaps some beyond.  A histogram of hits lowers the bound.
 */
static uint32_t
search(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes, size_t k,
	   size_t counts[HAMMING_MAX_BITS + 1])
{
	const HammingKernels *kernels = hamming_kernels();
	size_t within = 0; /* codes counted up to bound */
	uint32_t bound = (uint32_t) nbytes * 8;
	uint64_t mask[BLOCK / 64];

	memset(counts, 0, sizeof(size_t) * (HAMMING_MAX_BITS + 1));
	for (size_t at = 0; at < ncodes; at += BLOCK)
	{
		size_t n = ncodes - at < BLOCK ? ncodes - at : BLOCK;
		const uint8_t *block = codes + at * nbytes;

		if (kernels->within(query, block, nbytes, n, bound, mask) == 0)
			continue;
		for (size_t w = 0; w < (n + 63) / 64; w++)
			for (uint64_t hits = mask[w]; hits; hits &= hits - 1)
			{
				size_t i = w * 64 + (size_t) __builtin_ctzll(hits);

				counts[kernels->distance(query, block + i * nbytes, nbytes)]++;
				within++;
			}
		while (bound > 0 && within - counts[bound] >= k)
			within -= counts[bound--];
	}
	return bound;
}

static int
compare_doubles(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return x < y ? -1 : x > y;
}

static int
time_passes(const uint8_t *codes, size_t ncodes, const uint8_t *query, size_t nqueries,
			size_t nbytes, size_t k)
{
	static size_t counts[HAMMING_MAX_BITS + 1];
	double *times = need(malloc(sizeof(double) * nqueries));
	uint64_t sum = 0; /* of the results, so that none is optimised away */

	for (size_t q = 0; q < nqueries; q++)
	{
		struct timespec t0, t1;

		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
		sum += search(query + q * nbytes, codes, nbytes, ncodes, k, counts);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
		times[q] = (double) (t1.tv_sec - t0.tv_sec) * 1e3 +
				   (double) (t1.tv_nsec - t0.tv_nsec) / 1e6;
	}
	qsort(times, nqueries, sizeof(double), compare_doubles);
	printf("%.4f %s %.2f\n", times[nqueries / 2], hamming_kernels()->name,
		   (double) sum / (double) nqueries);
	free(times);
	return 0;
}

/* A line a query: the distances as an array of PostgreSQL. */
static int
print_truth(const uint8_t *codes, size_t ncodes, const uint8_t *query, size_t nqueries,
			size_t nbytes, size_t k)
{
	static size_t counts[HAMMING_MAX_BITS + 1];

	for (size_t q = 0; q < nqueries; q++)
	{
		uint32_t bound = search(query + q * nbytes, codes, nbytes, ncodes, k, counts);
		size_t printed = 0;

		putchar('{');
		for (uint32_t d = 0; d <= bound; d++)
			for (size_t i = 0; i < counts[d] && printed < k; i++)
				printf(printed++ ? ",%u" : "%u", d);
		puts("}");
	}
	return 0;
}

static int
answer(char **argv)
{
	size_t nbytes, qbytes, ncodes, nqueries;
	uint8_t *codes = load(argv[2], &nbytes, &ncodes);
	uint8_t *query = load(argv[3], &qbytes, &nqueries);
	size_t k = strtoul(argv[4], NULL, 10);
	int status;

	if (nqueries == 0 || ncodes == 0 || nbytes != qbytes)
	{
		fputs("no codes, or codes and queries of different lengths\n", stderr);
		return 1;
	}
	status = strcmp(argv[1], "pass") == 0
				 ? time_passes(codes, ncodes, query, nqueries, nbytes, k)
				 : print_truth(codes, ncodes, query, nqueries, nbytes, k);
	free(query);
	free(codes);
	return status;
}

int
main(int argc, char **argv)
{
	if (argc == 8 && strcmp(argv[1], "make") == 0)
	{
		size_t nbits = strtoul(argv[3], NULL, 10);
		size_t rows = strtoul(argv[4], NULL, 10);
		FILE *file = fopen(argv[7], "w");

		state = strtoull(argv[6], NULL, 10);
		if (file == NULL)
		{
			perror(argv[7]);
			return 1;
		}
		if (nbits >= 8 && nbits % 8 == 0 && nbits <= HAMMING_MAX_BITS && rows > 0)
		{
			make(strncmp(argv[2], "clustered", 9) == 0,
				 strcmp(argv[2], "clustered90") == 0 ? 0.9 : 0.2, nbits / 8, rows,
				 strtoul(argv[5], NULL, 10), file);
			return fclose(file) == 0 ? 0 : 1;
		}
		fclose(file);
	}
	else if (argc == 5 && (strcmp(argv[1], "pass") == 0 || strcmp(argv[1], "truth") == 0))
		return answer(argv);
	fputs("usage: search make uniform|clustered|clustered90 BITS ROWS QUERIES SEED FILE\n"
		  "       search pass|truth CODES QUERIES K\n",
		  stderr);
	return 2;
}
