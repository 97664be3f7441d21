/*
 * kernels_portable.c
 *	  The inner loops for any CPU: four floats at a time (SSE2, NEON).
 */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

#include <stdbool.h>

static bool
available(void)
{
	return true;
}

#define WIDTH 4
#define KERNELS nn_kernels_portable
#define KERNELS_NAME "portable"
#define KERNELS_AVAILABLE available
#include "nn/kernels_body.h"
