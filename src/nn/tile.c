/*
 * tile.c
 *	  Tile kernels for the instruction sets we know, and the choice among them.
 */
#include "nn/tile.h"

#define TILE_ROWS_4 TILE_CASE(1) TILE_CASE(2) TILE_CASE(3) TILE_CASE(4)
#define TILE_ROWS_6 TILE_ROWS_4 TILE_CASE(5) TILE_CASE(6)
#define TILE_ROWS_14                                                                     \
	TILE_ROWS_6 TILE_CASE(7) TILE_CASE(8) TILE_CASE(9) TILE_CASE(10) TILE_CASE(11)       \
		TILE_CASE(12) TILE_CASE(13) TILE_CASE(14)

#define TILE_NAME portable
#define TILE_WIDTH 4
#define TILE_TARGET
#define TILE_CASES TILE_ROWS_4
#include "nn/tile_kernel.h"

static const NnTileKernel portable = {"portable", 8, 4, run_portable};

#if defined(__x86_64__)
/* 12 accumulators, 2 vectors of b and one broadcast: 15 of 16 registers. */
#define TILE_NAME avx2
#define TILE_WIDTH 8
#define TILE_TARGET __attribute__((target("avx2,fma")))
#define TILE_CASES TILE_ROWS_6
#include "nn/tile_kernel.h"

/*
 * 28 accumulators, 2 vectors of b; broadcasts are memory operands.  Clang keeps more
 * than six rows in memory instead of registers, at a third of the speed; six rows
 * reach nearly that of fourteen.
 */
#ifdef __clang__
#define TILE_CASES TILE_ROWS_6
#define AVX512_ROWS 6
#else
#define TILE_CASES TILE_ROWS_14
#define AVX512_ROWS 14
#endif
#define TILE_NAME avx512
#define TILE_WIDTH 16
#define TILE_TARGET __attribute__((target("avx512f,avx512vl,avx2,fma")))
#include "nn/tile_kernel.h"

static const NnTileKernel avx2 = {"avx2", 16, 6, run_avx2};
static const NnTileKernel avx512 = {"avx512", 32, AVX512_ROWS, run_avx512};
#endif

const NnTileKernel *
nn_tile_kernel_at(int i)
{
	if (i == 0)
		return &portable;
#if defined(__x86_64__)
	if (i == 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return &avx2;
	if (i == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
		return &avx512;
#endif
	return NULL;
}

const NnTileKernel *
nn_tile_kernel(void)
{
	const NnTileKernel *best = NULL;

	for (int i = 0; nn_tile_kernel_at(i); i++)
		best = nn_tile_kernel_at(i);
	return best;
}
