/*
 * test_nn_memory.c
 *	  Memory of networks: aligned, whole, and free() takes it back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nn/memory.h"

#define HUGE_PAGE ((size_t) 2 << 20)

static void
test_aligned(void **state)
{
	const size_t size[] = {
		0, 1, 63, 64, 65, HUGE_PAGE - 1, HUGE_PAGE, HUGE_PAGE + 1, 3 * HUGE_PAGE - 100};

	(void) state;
	for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++)
	{
		uint8_t *memory = nn_alloc(size[i]);

		assert_non_null(memory);
		assert_int_equal((uintptr_t) memory % 64, 0);
		/* The sanitizer looks at what lies beyond. */
		memset(memory, 1, size[i]);
		free(memory);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_aligned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
