/*
 * test_hamming_pack.c
 *	  From real numbers to bits: the order of bits, thresholds, equality, NaN.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "hamming/hamming.h"

static void
test_order_of_bits(void **state)
{
	/* bit 0 is the most significant bit of byte 0 */
	const float logits[16] = {1, -1, 1, -1, -1, -1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1};
	uint8_t code[2];

	(void) state;
	hamming_pack(logits, NULL, 16, code);
	assert_int_equal(code[0], 0xa3);
	assert_int_equal(code[1], 0xf0);
}

static void
test_each_bit_alone(void **state)
{
	(void) state;
	for (size_t nbits = 1; nbits <= 77; nbits++)
		for (size_t k = 0; k < nbits; k++)
		{
			float logits[77];
			uint8_t code[10];
			uint8_t expected[10] = {0};

			for (size_t i = 0; i < nbits; i++)
				logits[i] = i == k ? 0.5f : -0.5f;
			expected[k / 8] = (uint8_t) (128 >> k % 8);
			hamming_pack(logits, NULL, nbits, code);
			assert_memory_equal(code, expected, hamming_bytes(nbits));
		}
}

static void
test_equality_zero_and_nan_give_zero(void **state)
{
	const float logits[8] = {0.0f,		-0.0f,	NAN,	 INFINITY,
							 -INFINITY, 1e-45f, -1e-45f, -NAN};
	uint8_t code;

	(void) state;
	hamming_pack(logits, NULL, 8, &code);
	assert_int_equal(code, 0x14); /* infinity and the smallest positive number */
}

static void
test_thresholds(void **state)
{
	const float logits[8] = {1, 1, 1, -1, -1, NAN, 5, INFINITY};
	const float thresholds[8] = {0.5f,	1.0f,	   1.5f, -2.0f,
								 -1.0f, -INFINITY, NAN,	 INFINITY};
	uint8_t code;

	(void) state;
	hamming_pack(logits, thresholds, 8, &code);
	assert_int_equal(code, 0x90); /* 1 > 0.5 and -1 > -2, nothing else */
}

static void
test_bits_past_the_end_are_zero(void **state)
{
	float logits[16];

	(void) state;
	for (int i = 0; i < 16; i++)
		logits[i] = 1;
	for (size_t nbits = 1; nbits <= 16; nbits++)
	{
		uint8_t code[3];

		memset(code, 0xff, sizeof(code));
		hamming_pack(logits, NULL, nbits, code);
		for (size_t k = 0; k < hamming_bytes(nbits) * 8; k++)
			assert_int_equal(code[k / 8] >> (7 - k % 8) & 1, k < nbits);
		assert_int_equal(code[hamming_bytes(nbits)], 0xff);
	}
}

static void
test_number_of_bytes(void **state)
{
	(void) state;
	assert_int_equal(hamming_bytes(1), 1);
	assert_int_equal(hamming_bytes(8), 1);
	assert_int_equal(hamming_bytes(9), 2);
	assert_int_equal(hamming_bytes(HAMMING_MAX_BITS), HAMMING_MAX_BYTES);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_of_bits),
		cmocka_unit_test(test_each_bit_alone),
		cmocka_unit_test(test_equality_zero_and_nan_give_zero),
		cmocka_unit_test(test_thresholds),
		cmocka_unit_test(test_bits_past_the_end_are_zero),
		cmocka_unit_test(test_number_of_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
