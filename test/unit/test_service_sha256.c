/*
 * test_service_sha256.c
 *	  SHA-256 against the examples of NIST, in one piece and in many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "service/sha256.h"

static void
expect(const char *data, size_t size, size_t piece, const char *hex)
{
	Sha256 sha;
	uint8_t digest[32];
	char text[65];

	sha256_init(&sha);
	for (size_t at = 0; at < size; at += piece)
		sha256_update(&sha, data + at, size - at < piece ? size - at : piece);
	sha256_final(&sha, digest);
	for (int i = 0; i < 32; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	assert_string_equal(text, hex);
}

static void
test_examples(void **state)
{
	static const char two_blocks[] =
		"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";

	(void) state;
	expect("", 0, 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	expect("abc", 3, 3,
		   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	expect(two_blocks, strlen(two_blocks), 56,
		   "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

/* Pieces of every size around a block's give the same. */
static void
test_pieces(void **state)
{
	static char million[1000000];

	(void) state;
	memset(million, 'a', sizeof(million));
	for (size_t piece = 1; piece <= 200; piece += piece < 60 ? 7 : 1)
		expect(million, sizeof(million), piece,
			   "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
