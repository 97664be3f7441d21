/*
 * scalar.h
 *	  The word-at-a-time kernels, a template for portable.c and popcnt.c.
 *
 * The including file defines, before it includes this:
 *	  SCALAR_TARGET		the function attribute of its instruction set
 *	  SCALAR_POPCOUNT	a function or macro: set bits of a uint64_t
 *
 * The hot lengths of 8, 16 and 32 bytes come out of the same text: the drivers
 * are inlined with a constant length, which unrolls the loop over words.
 */

SCALAR_TARGET static HAMMING_INLINE uint32_t
scalar_distance(const uint8_t *a, const uint8_t *b, size_t nbytes)
{
	uint32_t d = 0;
	size_t i = 0;

	for (; i + 8 <= nbytes; i += 8)
		d += SCALAR_POPCOUNT(hamming_load8(a + i) ^ hamming_load8(b + i));
	if (i < nbytes)
		d += SCALAR_POPCOUNT(hamming_load_part(a + i, nbytes - i) ^
							 hamming_load_part(b + i, nbytes - i));
	return d;
}

SCALAR_TARGET static HAMMING_INLINE void
scalar_distances(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
				 uint16_t *out)
{
	for (size_t i = 0; i < ncodes; i++)
		out[i] = (uint16_t) scalar_distance(query, codes + i * nbytes, nbytes);
}

SCALAR_TARGET static HAMMING_INLINE size_t
scalar_within(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
			  uint32_t radius, uint64_t *mask)
{
	size_t hits = 0;

	for (size_t base = 0; base < ncodes; base += 64)
	{
		size_t n = ncodes - base < 64 ? ncodes - base : 64;
		uint64_t word = 0;

		for (size_t i = 0; i < n; i++)
		{
			uint32_t d = scalar_distance(query, codes + (base + i) * nbytes, nbytes);

			word |= (uint64_t) (d <= radius) << i;
		}
		mask[base / 64] = word;
		hits += SCALAR_POPCOUNT(word);
	}
	return hits;
}

SCALAR_TARGET static void
distances_by_length(const uint8_t *query, const uint8_t *codes, size_t nbytes,
					size_t ncodes, uint16_t *out)
{
	switch (nbytes)
	{
		case 8:
			scalar_distances(query, codes, 8, ncodes, out);
			break;
		case 16:
			scalar_distances(query, codes, 16, ncodes, out);
			break;
		case 32:
			scalar_distances(query, codes, 32, ncodes, out);
			break;
		default:
			scalar_distances(query, codes, nbytes, ncodes, out);
			break;
	}
}

SCALAR_TARGET static size_t
within_by_length(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
				 uint32_t radius, uint64_t *mask)
{
	switch (nbytes)
	{
		case 8:
			return scalar_within(query, codes, 8, ncodes, radius, mask);
		case 16:
			return scalar_within(query, codes, 16, ncodes, radius, mask);
		case 32:
			return scalar_within(query, codes, 32, ncodes, radius, mask);
		default:
			return scalar_within(query, codes, nbytes, ncodes, radius, mask);
	}
}
