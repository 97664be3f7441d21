/*
 * sha256.h
 *	  SHA-256 (FIPS 180-4), for checking cached models against their names.
 */
#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct Sha256
{
	uint32_t state[8];
	uint64_t size;	   /* bytes so far */
	uint8_t block[64]; /* the last, incomplete block */
} Sha256;

extern void sha256_init(Sha256 *sha);
extern void sha256_update(Sha256 *sha, const void *data, size_t size);
extern void sha256_final(Sha256 *sha, uint8_t digest[32]);

#endif
