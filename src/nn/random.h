/*
 * random.h
 *	  Random numbers of a training step: pure functions of what they are for.
 *
 * Nothing runs along, so any number of threads, any cut of the batch and any device draw
 * the same.  Three rounds of the mixing function of splitmix64 (Steele, Lea, Flood: "Fast
 * splittable pseudorandom number generators", 2014), each taking in one more number.
 */
#ifndef NN_RANDOM_H
#define NN_RANDOM_H

#include <math.h>
#include <stdint.h>

#ifdef __CUDACC__
#define NN_ON_BOTH __host__ __device__
#else
#define NN_ON_BOTH
#endif

static inline NN_ON_BOTH uint64_t
nn_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* 64 bits for one element of one picture's output of a node in the step of `seed`. */
static inline NN_ON_BOTH uint64_t
nn_random(uint64_t seed, int node, int picture, uint64_t element)
{
	uint64_t place = (uint64_t) (uint32_t) node << 32 | (uint32_t) picture;

	return nn_mix(nn_mix(nn_mix(seed) ^ place) ^ element);
}

/* [0, 1), 24 bits */
static inline NN_ON_BOTH float
nn_random_uniform(uint64_t random)
{
	return (float) (random >> 40) * 0x1p-24f;
}

/* Mean 0, variance 1 (Box, Muller), from both halves. */
static inline NN_ON_BOTH float
nn_random_normal(uint64_t random)
{
	/* (0, 1]: its logarithm is finite */
	float u = ((float) (random >> 40) + 1.0f) * 0x1p-24f;
	float v = (float) (random >> 8 & 0xffffff) * 0x1p-24f;

	return sqrtf(-2.0f * logf(u)) * cosf(6.28318530717958648f * v);
}

#endif
