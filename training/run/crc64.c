/*
 * crc64.c
 *	  CRC-64, one table look-up per byte.
 */
#include "training/run/crc64.h"

static uint64_t
remainder_of(uint64_t byte)
{
	uint64_t r = byte << 56;

	for (int k = 0; k < 8; k++)
		r = r << 1 ^ (r >> 63 ? 0x42f0e1eba9ea3693u : 0);
	return r;
}

uint64_t
crc64(uint64_t crc, const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t table[256];

	if (n < 256)
	{
		for (size_t i = 0; i < n; i++)
			crc = crc << 8 ^ remainder_of(crc >> 56 ^ p[i]);
		return crc;
	}
	for (int i = 0; i < 256; i++)
		table[i] = remainder_of(i);
	for (size_t i = 0; i < n; i++)
		crc = crc << 8 ^ table[crc >> 56 ^ p[i]];
	return crc;
}
