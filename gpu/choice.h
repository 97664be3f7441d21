/*
 * choice.h
 *	  What a product or a convolution may leave to NVIDIA's libraries, and which of their
 *	  algorithms.
 *
 * A plan (an algorithm, its descriptors) is chosen once per problem, in the dry run for
 * the largest batch, and kept.  Everything here is a function of its arguments alone, so
 * that the same network on the same GPU and libraries always runs the same algorithms.
 * Plain C++ without CUDA.
 */
#ifndef GPU_CHOICE_H
#define GPU_CHOICE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/machine.h"
#include "nn/graph.h"

#define PRODUCT_ROOM ((size_t) 32 << 20) /* what cuBLAS would take on Hopper */
#define LEAST_ROOM ((size_t) 1 << 20)
#define CONV_ROOM ((size_t) 256 << 20)
#define SERVING_CONV_ROOM ((size_t) 64 << 20)
/* What a small convolution gets at the least, if there is so much. */
#define SMALL_CONV_ROOM ((size_t) 4 << 20)

/* Where nobody says how much memory there is. */
static inline Rooms
rooms(void)
{
	Rooms r = {PRODUCT_ROOM, CONV_ROOM, false};

	return r;
}

/* A net that serves and may hold so many bytes (0: any number): up to a quarter. */
static inline Rooms
rooms_within(size_t memory)
{
	size_t share = memory / 8 < LEAST_ROOM ? LEAST_ROOM : memory / 8;
	Rooms r = {PRODUCT_ROOM, SERVING_CONV_ROOM, true};

	r.product = memory > 0 && share < r.product ? share : r.product;
	r.conv = memory > 0 && share < r.conv ? share : r.conv;
	return r;
}

/* What is done to a product while it is still in registers. */
enum Epilogue
{
	EPILOGUE_NONE,
	EPILOGUE_BIAS, /* + one value per column */
	EPILOGUE_RELU,
	EPILOGUE_BIAS_RELU,
	EPILOGUE_SUM,	/* also the sums over depth of the left factor: a bias's gradient */
	EPILOGUE_REFUSE /* a pass of its own */
};

/*
 * cuBLASLt and cuDNN have ReLU as we do but for NaN, which they may turn into 0; a
 * learner finds such values where they come from, in weights and gradients.  cuBLASLt's
 * GELU is the approximation by tanh, up to 5e-4 from the exact one that NN_GELU is: not
 * taken.
 */
static inline Epilogue
epilogue_of(bool bias, NnActivation act)
{
	if (act == NN_IDENTITY)
		return bias ? EPILOGUE_BIAS : EPILOGUE_NONE;
	if (act == NN_RELU)
		return bias ? EPILOGUE_BIAS_RELU : EPILOGUE_RELU;
	return EPILOGUE_REFUSE;
}

/* A product, as far as the choice of an algorithm may depend on it.  Zeroed first. */
struct ProductKey
{
	size_t rows, depth;
	int cols, batch;
	int row[3]; /* of a, b, c */
	int align[3];
	long long step[3];
	uint8_t across[2];
	uint8_t size[2]; /* of an element of the factors, of the product */
	uint8_t epilogue, add, tf32, deterministic;
};

/* Bytes that an address is a multiple of, 256 at most. */
static inline int
alignment_of(const void *p)
{
	uintptr_t bits = (uintptr_t) p | 256;

	return (int) (bits & (~bits + 1));
}

enum ConvWay
{
	CONV_DOWN,	/* forward of a convolution */
	CONV_UP,	/* gradient of its input */
	CONV_WEIGHT /* gradient of its weights */
};

/* A convolution likewise; names as in op_lower.h. */
struct ConvKey
{
	int n, height, width, big, low_height, low_width, low;
	int kh, kw, sh, sw, ph, pw, groups;
	uint8_t way, size, fp16, tf32, deterministic;
};

/* Plans by key; the first free place after its hash. */
template <class Key, class Plan, size_t ROOM> struct PlanTable
{
	struct Slot
	{
		bool used;
		Key key;
		Plan plan;
	};
	Slot slot[ROOM];
	size_t count;

	/* The plan of key, or a new one, all zeros, and fresh; NULL when all are taken. */
	Plan *
	find(const Key &key, bool *fresh)
	{
		const unsigned char *byte = (const unsigned char *) &key;
		uint64_t hash = 14695981039346656037u; /* Fowler, Noll, Vo */
		size_t at;

		for (size_t i = 0; i < sizeof(Key); i++)
			hash = (hash ^ byte[i]) * 1099511628211u;
		*fresh = false;
		for (at = hash % ROOM; slot[at].used; at = (at + 1) % ROOM)
			if (memcmp(&slot[at].key, &key, sizeof(Key)) == 0)
				return &slot[at].plan;
		if (count + 1 >= ROOM) /* one stays free, so that the search above ends */
			return NULL;
		memset((void *) &slot[at], 0, sizeof(Slot));
		memcpy((void *) &slot[at].key, &key, sizeof(Key));
		slot[at].used = *fresh = true;
		count++;
		return &slot[at].plan;
	}
};

/* What a library says of one algorithm, best first. */
struct Candidate
{
	bool works, deterministic;
	size_t workspace;
};

/* The best that may be taken; -1: none. */
static inline int
choose(const Candidate *list, int n, bool deterministic, size_t room)
{
	for (int i = 0; i < n; i++)
		if (list[i].works && list[i].workspace <= room &&
			(list[i].deterministic || !deterministic))
			return i;
	return -1;
}

/* DEEPHASH_GPU_WITHOUT: names of parts, parted by commas. */
static inline unsigned
parts_to_do_without(const char *list)
{
	static const struct
	{
		const char *name;
		unsigned part;
	} all[] = {
		{"cublaslt", WITHOUT_LT}, {"cudnn", WITHOUT_CUDNN}, {"graphs", WITHOUT_GRAPHS}};
	unsigned parts = 0;

	while (list && *list)
	{
		size_t length = strcspn(list, ",");

		for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
			if (strlen(all[i].name) == length && memcmp(list, all[i].name, length) == 0)
				parts |= all[i].part;
		list += length + (list[length] == ',');
	}
	return parts;
}

#endif
