/*
 * test_nn_memory.c
 *	  Memory of networks: aligned, in huge pages, and free() takes it back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/*
 * Whether the mapping that holds address was advised to take huge pages: "hg" of VmFlags.
 * -1: this kernel does not tell.
 */
static int
is_advised(const void *address)
{
	FILE *maps = fopen("/proc/self/smaps", "r");
	bool here = false;
	int advised = -1;
	char line[1000];

	if (maps == NULL)
		return -1;
	while (fgets(line, sizeof(line), maps))
	{
		unsigned long begin, end;

		if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
			here = begin <= (uintptr_t) address && (uintptr_t) address < end;
		else if (here && strncmp(line, "VmFlags:", 8) == 0)
			advised = strstr(line, " hg") != NULL;
	}
	fclose(maps);
	return advised;
}

static void
test_huge_pages(void **state)
{
	uint8_t *large = nn_alloc(8 * HUGE_PAGE);
	uint8_t *small = nn_alloc(HUGE_PAGE / 4);
	int large_is, small_is;

	(void) state;
	assert_non_null(large);
	assert_non_null(small);
	large_is = is_advised(large + 4 * HUGE_PAGE);
	small_is = is_advised(small);
	free(large);
	free(small);
	if (large_is < 0 || access("/sys/kernel/mm/transparent_hugepage", F_OK) != 0)
	{
		print_message("this kernel tells nothing of huge pages\n");
		skip();
	}
	assert_int_equal(large_is, 1);
	assert_int_equal(small_is, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: memory that was advised once stays so when malloc gives it again. */
		cmocka_unit_test(test_huge_pages),
		cmocka_unit_test(test_aligned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
