/*
 * tile_kernel.h
 *	  Body of one tile kernel; tile.c includes it once per instruction set with
 *	  TILE_NAME, TILE_WIDTH (floats of a vector), TILE_TARGET and TILE_CASES (the
 *	  row counts, largest last).
 */

#define TILE_CAT2(a, b) a##b
#define TILE_CAT(a, b) TILE_CAT2(a, b)
#define TILE_VEC TILE_CAT(vec_, TILE_NAME)
#define TILE_BLOCK TILE_CAT(block_, TILE_NAME)
#define TILE_RUN TILE_CAT(run_, TILE_NAME)

typedef float TILE_VEC
	__attribute__((vector_size(TILE_WIDTH * sizeof(float)), aligned(4), may_alias));

/*
 * rows is a constant at every call, so that the loops over it unroll and acc
 * lives in registers.  The addresses of eight rows come from one base and four
 * multiples of the stride, which the addressing modes of x86 can express.
 */
static inline __attribute__((always_inline)) TILE_TARGET void
TILE_BLOCK(const NnTileArgs *t, const int rows, int columns)
{
	TILE_VEC acc[16][2];
	const ptrdiff_t am = t->am, am3 = 3 * am, am5 = 5 * am, am7 = 7 * am;
	const ptrdiff_t ak = t->ak, bk = t->bk;
	const int depth = t->depth;

#pragma GCC unroll 16
	for (int r = 0; r < rows; r++)
		acc[r][0] = acc[r][1] = (TILE_VEC){0};

	for (int o = 0; o < t->outer; o++)
		for (int s = 0; s < t->segments; s++)
		{
			const float *a = t->a + o * t->ao + s * t->as;
			const float *a8 = a + 8 * am;
			const float *b = t->b + o * t->bo + s * t->bs;

			for (int k = 0; k < depth; k++)
			{
				TILE_VEC b0 = *(const TILE_VEC *) b;
				TILE_VEC b1 = *(const TILE_VEC *) (b + TILE_WIDTH);

#define TILE_ROW(r, base, offset)                                                        \
	if (rows > (r))                                                                      \
	{                                                                                    \
		float x = (base)[offset];                                                        \
		acc[r][0] += x * b0;                                                             \
		acc[r][1] += x * b1;                                                             \
	}
				TILE_ROW(0, a, 0)
				TILE_ROW(1, a, am)
				TILE_ROW(2, a, 2 * am)
				TILE_ROW(3, a, am3)
				TILE_ROW(4, a, 4 * am)
				TILE_ROW(5, a, am5)
				TILE_ROW(6, a, 2 * am3)
				TILE_ROW(7, a, am7)
				TILE_ROW(8, a8, 0)
				TILE_ROW(9, a8, am)
				TILE_ROW(10, a8, 2 * am)
				TILE_ROW(11, a8, am3)
				TILE_ROW(12, a8, 4 * am)
				TILE_ROW(13, a8, am5)
#undef TILE_ROW
				a += ak;
				a8 += ak;
				b += bk;
			}
		}

	if (columns == 2 * TILE_WIDTH)
	{
#pragma GCC unroll 16
		for (int r = 0; r < rows; r++)
		{
			TILE_VEC *c = (TILE_VEC *) (t->c + r * t->cm);

			if (t->add)
			{
				acc[r][0] += c[0];
				acc[r][1] += c[1];
			}
			c[0] = acc[r][0];
			c[1] = acc[r][1];
		}
		return;
	}
#pragma GCC unroll 16
	for (int r = 0; r < rows; r++)
	{
		float out[2 * TILE_WIDTH];
		float *c = t->c + r * t->cm;

		*(TILE_VEC *) out = acc[r][0];
		*(TILE_VEC *) (out + TILE_WIDTH) = acc[r][1];
		for (int n = 0; n < columns; n++)
			c[n] = t->add ? c[n] + out[n] : out[n];
	}
}

static TILE_TARGET void
TILE_RUN(const NnTileArgs *args, int rows, int columns)
{
	switch (rows)
	{
#define TILE_CASE(n)                                                                     \
	case n:                                                                              \
		TILE_BLOCK(args, n, columns);                                                    \
		break;
		TILE_CASES
#undef TILE_CASE
	}
}

#undef TILE_NAME
#undef TILE_WIDTH
#undef TILE_TARGET
#undef TILE_CASES
#undef TILE_VEC
#undef TILE_BLOCK
#undef TILE_RUN
#undef TILE_CAT
#undef TILE_CAT2
