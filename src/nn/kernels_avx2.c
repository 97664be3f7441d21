/*
 * kernels_avx2.c
 *	  The inner loops for AVX2: 8 floats at a time.
 *
 * The whole file, headers too, is compiled for that instruction set; only the
 * test whether this CPU has it runs elsewhere, so nothing else may be here.
 */
#if defined(__x86_64__)

#include <math.h>
#include <string.h>

#include "nn/kernels.h"

static bool
available(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC optimize("O3")
#pragma GCC target("avx2,fma")
#endif

#define WIDTH 8
#define KERNELS nn_kernels_avx2
#define KERNELS_NAME "avx2"
#define KERNELS_AVAILABLE available
#include "nn/kernels_body.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else
typedef int nn_kernels_avx2_not_for_this_cpu;
#endif
