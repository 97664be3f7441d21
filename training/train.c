/*
 * train.c
 *	  Errors and random numbers for all of deephash-train.
 *
 * The generator is xoshiro256** (Blackman, Vigna: "Scrambled linear pseudorandom
 * number generators", 2021), seeded through splitmix64.
 */
#include "training/train.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

bool
train_fail(TrainError *err, const char *format, ...)
{
	if (err)
	{
		va_list args;

		va_start(args, format);
		vsnprintf(err->text, sizeof(err->text), format, args);
		va_end(args);
	}
	return false;
}

static uint64_t
splitmix64(uint64_t *x)
{
	uint64_t z = (*x += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void
rng_seed(Rng *rng, uint64_t seed, uint64_t stream)
{
	/* Hashing the stream first keeps (1, 2) and (2, 1) apart. */
	uint64_t x = splitmix64(&stream) ^ seed;

	for (int i = 0; i < 4; i++)
		rng->s[i] = splitmix64(&x);
}

static uint64_t
rotate(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

uint64_t
rng_next(Rng *rng)
{
	uint64_t *s = rng->s;
	uint64_t result = rotate(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate(s[3], 45);
	return result;
}

double
rng_uniform(Rng *rng)
{
	return (double) (rng_next(rng) >> 11) * 0x1p-53;
}

uint32_t
rng_below(Rng *rng, uint32_t n)
{
	uint64_t limit;
	uint64_t x;

	if (n == 0)
		return 0;
	/* Values past the last whole multiple of n would favour small results. */
	limit = UINT64_MAX - UINT64_MAX % n;
	do
		x = rng_next(rng);
	while (x >= limit);
	return (uint32_t) (x % n);
}

/* Box-Muller; one of the pair is dropped so that the state is only the counter. */
double
rng_normal(Rng *rng)
{
	double u = 1.0 - rng_uniform(rng); /* (0, 1]: its logarithm is finite */
	double v = rng_uniform(rng);

	return sqrt(-2.0 * log(u)) * cos(2.0 * M_PI * v);
}

void
rng_shuffle(Rng *rng, uint32_t *v, size_t n)
{
	for (size_t i = n; i > 1; i--)
	{
		uint32_t j = rng_below(rng, (uint32_t) i);
		uint32_t keep = v[i - 1];

		v[i - 1] = v[j];
		v[j] = keep;
	}
}
