/*
 * each.h
 *	  The two passes over an array, one code at a time: a template.
 *
 * The including file defines, before it includes this:
 *	  EACH_TARGET	the function attribute of its instruction set
 *	  EACH_DISTANCE	an inline function: the distance of two codes
 */

EACH_TARGET static HAMMING_INLINE void
each_distances(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
			   uint16_t *out)
{
	for (size_t i = 0; i < ncodes; i++)
		out[i] = (uint16_t) EACH_DISTANCE(query, codes + i * nbytes, nbytes);
}

EACH_TARGET static HAMMING_INLINE size_t
each_within(const uint8_t *query, const uint8_t *codes, size_t nbytes, size_t ncodes,
			uint32_t radius, uint64_t *mask)
{
	size_t hits = 0;

	for (size_t base = 0; base < ncodes; base += 64)
	{
		size_t n = ncodes - base < 64 ? ncodes - base : 64;
		uint64_t word = 0;

		for (size_t i = 0; i < n; i++)
		{
			uint32_t d = EACH_DISTANCE(query, codes + (base + i) * nbytes, nbytes);

			hits += d <= radius;
			word |= (uint64_t) (d <= radius) << i;
		}
		mask[base / 64] = word;
	}
	return hits;
}
