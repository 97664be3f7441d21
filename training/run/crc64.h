/*
 * crc64.h
 *	  CRC-64 (ECMA-182 polynomial, no reflection): notices damage, not forgery.
 */
#ifndef TRAIN_CRC64_H
#define TRAIN_CRC64_H

#include <stddef.h>
#include <stdint.h>

/* crc is 0 to begin with, or the sum of what came before. */
extern uint64_t crc64(uint64_t crc, const void *data, size_t n);

#endif
