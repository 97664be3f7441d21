/*
 * resize.c
 *	  Separable resampling of 8-bit RGB in integers, so that every CPU gives the
 *	  same bytes.
 *
 * The rows are resampled first, rounded to 8 bits, then the columns: the order and
 * rounding of Pillow, whose pictures the published networks were trained on.
 * Weights are worked out in integers too, from exact fractions; README.md has the
 * formulas.
 */
#include "image/image_internal.h"

#include <stdlib.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define FRACTION_BITS 30
#define ONE ((int64_t) 1 << FRACTION_BITS)

/* Rows turned into columns at a time, and columns of the result done at a time. */
#define TILE_ROWS 16
#define STRIP_COLS 64
#define TILE_LINE (TILE_ROWS * 3)
#define STRIP_LINE (STRIP_COLS * 3)

static int64_t
floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static int64_t
round_div(int64_t a, int64_t b)
{
	return floor_div(2 * a + b, 2 * b);
}

/* Keys' cubic convolution with a = -1/2 at t, in units of 2^-FRACTION_BITS. */
static int64_t
cubic(int64_t t)
{
	int64_t t1 = t < 0 ? -t : t;
	int64_t t2;
	int64_t t3;

	if (t1 >= 2 * ONE)
		return 0;
	t2 = t1 * t1 / ONE;
	t3 = t2 * t1 / ONE;
	if (t1 < ONE)
		return (3 * t3 - 5 * t2 + 2 * ONE) / 2;
	return (-t3 + 5 * t2 - 8 * t1 + 4 * ONE) / 2;
}

static int64_t
triangle(int64_t t)
{
	int64_t t1 = t < 0 ? -t : t;

	return t1 < ONE ? ONE - t1 : 0;
}

/*
 * One output position while its weights are made.  In units of 1 / (2 out) input
 * pixels the centre of output x is (2x + 1) in and that of input i is (2i + 1) out;
 * the kernel's unit is the larger of an input and an output pixel, 2 max(in, out).
 */
typedef struct Window
{
	int64_t in;
	int64_t out;
	int64_t x;
	int64_t start;
	int64_t end;
} Window;

static int64_t
kernel_unit(const Window *w)
{
	return 2 * (w->in > w->out ? w->in : w->out);
}

/* Inputs whose centres are within radius kernel units of the output's centre. */
static void
window_of_kernel(Window *w, int radius)
{
	int64_t centre = (2 * w->x + 1) * w->in;
	int64_t reach = radius * kernel_unit(w);

	w->start = floor_div(centre - reach + w->out, 2 * w->out);
	w->end = floor_div(centre + reach + w->out, 2 * w->out);
}

/* Inputs that output pixel x covers, be it in part. */
static void
window_of_box(Window *w)
{
	w->start = w->x * w->in / w->out;
	w->end = ((w->x + 1) * w->in + w->out - 1) / w->out;
}

static int64_t
raw_weight(const Window *w, ImageResize filter, int64_t i)
{
	int64_t t;

	if (filter == IMAGE_AREA && w->in >= w->out)
	{
		/* The part of input i under output x, in units of 1 / out input pixels. */
		int64_t low = i * w->out > w->x * w->in ? i * w->out : w->x * w->in;
		int64_t high =
			(i + 1) * w->out < (w->x + 1) * w->in ? (i + 1) * w->out : (w->x + 1) * w->in;

		return high - low;
	}
	t = round_div(((2 * i + 1) * w->out - (2 * w->x + 1) * w->in) * ONE, kernel_unit(w));
	return filter == IMAGE_AREA ? triangle(t) : cubic(t);
}

static void
find_window(Window *w, ImageResize filter)
{
	if (filter == IMAGE_AREA && w->in >= w->out)
		window_of_box(w);
	else
		window_of_kernel(w, filter == IMAGE_AREA ? 1 : 2);
	if (w->start < 0)
		w->start = 0;
	if (w->end > w->in)
		w->end = w->in;
}

/*
 * Scale the raw weights to a sum of 2^RESIZE_BITS; what rounding leaves over goes to
 * the middle one, so that a picture of one colour keeps it.
 */
static void
fill_weights(const Window *w, ImageResize filter, int32_t *weights)
{
	int length = (int) (w->end - w->start);
	int64_t total = 0;
	int64_t left = (int64_t) 1 << RESIZE_BITS;

	for (int i = 0; i < length; i++)
		total += raw_weight(w, filter, w->start + i);
	for (int i = 0; i < length; i++)
	{
		int64_t raw = raw_weight(w, filter, w->start + i);

		weights[i] = (int32_t) round_div(raw * ((int64_t) 1 << RESIZE_BITS), total);
		left -= weights[i];
	}
	weights[length / 2] += (int32_t) left;
}

static int
longest_window(ImageResize filter, int in, int64_t out)
{
	int64_t radius = filter == IMAGE_AREA ? 1 : 2;
	int64_t longest = in > out ? (2 * radius * in + out - 1) / out + 2 : 2 * radius + 2;

	return (int) (longest < in ? longest : in);
}

bool
resize_axis_init(ResizeAxis *axis, ImageResize filter, int in, int64_t out, int64_t first,
				 int count)
{
	axis->count = count;
	axis->max_length = longest_window(filter, in, out);
	axis->start = malloc((size_t) count * sizeof(*axis->start));
	axis->length = malloc((size_t) count * sizeof(*axis->length));
	axis->weights = calloc((size_t) count * axis->max_length, sizeof(*axis->weights));
	if (axis->start == NULL || axis->length == NULL || axis->weights == NULL)
	{
		resize_axis_free(axis);
		return false;
	}
	for (int i = 0; i < count; i++)
	{
		Window w = {.in = in, .out = out, .x = first + i};

		find_window(&w, filter);
		axis->start[i] = (int) w.start;
		axis->length[i] = (int) (w.end - w.start);
		fill_weights(&w, filter, axis->weights + (size_t) i * axis->max_length);
	}
	return true;
}

void
resize_axis_free(ResizeAxis *axis)
{
	free(axis->start);
	free(axis->length);
	free(axis->weights);
	memset(axis, 0, sizeof(*axis));
}

/*
 * Rows of RGB are turned into columns, so that the horizontal pass is the same sum of
 * lines as the vertical one: line x of a tile holds the TILE_ROWS reds of column x,
 * then the greens, then the blues.  Seen as bytes that is a plain transposition.
 */
#if defined(__SSE2__)
/* b = the first eight of a interleaved byte by byte with the last eight. */
static inline void
interleave_halves(const __m128i a[16], __m128i b[16])
{
#define INTERLEAVE(i)                                                                    \
	b[2 * (i)] = _mm_unpacklo_epi8(a[i], a[(i) + 8]);                                    \
	b[2 * (i) + 1] = _mm_unpackhi_epi8(a[i], a[(i) + 8])

	INTERLEAVE(0);
	INTERLEAVE(1);
	INTERLEAVE(2);
	INTERLEAVE(3);
	INTERLEAVE(4);
	INTERLEAVE(5);
	INTERLEAVE(6);
	INTERLEAVE(7);
#undef INTERLEAVE
}

/* Four times over that is a transposition. */
static void
transpose_16x16(const uint8_t *src, size_t src_stride, uint8_t *dst, size_t dst_stride)
{
	__m128i a[16];
	__m128i b[16];

	for (int i = 0; i < 16; i++)
		a[i] = _mm_loadu_si128((const __m128i *) (src + i * src_stride));
	interleave_halves(a, b);
	interleave_halves(b, a);
	interleave_halves(a, b);
	interleave_halves(b, a);
	for (int i = 0; i < 16; i++)
		_mm_storeu_si128((__m128i *) (dst + i * dst_stride), a[i]);
}
#else
static void
transpose_16x16(const uint8_t *src, size_t src_stride, uint8_t *dst, size_t dst_stride)
{
	for (int r = 0; r < 16; r++)
		for (int c = 0; c < 16; c++)
			dst[c * dst_stride + r] = src[r * src_stride + c];
}
#endif

/* Byte by byte at the edges, where 16 x 16 bytes are not to be had. */
static void
transpose_in(const Image *img, int row, int rows, int col, int cols, uint8_t *tile)
{
	size_t stride = (size_t) img->width * 3;
	const uint8_t *src = img->rgb + row * stride + (size_t) col * 3;
	int bytes = cols * 3;
	int done = 0;

	if (rows == TILE_ROWS)
		for (; done + 16 <= bytes; done += 16)
			transpose_16x16(src + done, stride, tile + (size_t) done * TILE_ROWS,
							TILE_ROWS);
	for (int r = 0; r < rows; r++)
		for (int i = done; i < bytes; i++)
			tile[(size_t) i * TILE_ROWS + r] = src[r * stride + i];
}

/* Back into rows of STRIP_LINE bytes. */
static void
transpose_out(const uint8_t *columns, uint8_t *rows)
{
	for (int i = 0; i < STRIP_LINE; i += 16)
		transpose_16x16(columns + i * TILE_ROWS, TILE_ROWS, rows + i, STRIP_LINE);
}

/* What resize_rgb() works with: columns col .. col + cols - 1 of the result. */
typedef struct Strip
{
	const Image *img;
	const ResizeAxis *x;
	const ResizeAxis *y;
	SumLines sum_lines;
	int col;
	int cols;
	int row; /* input rows that the vertical pass needs */
	int rows;
	uint8_t *tile;	/* TILE_LINE bytes for each input column */
	uint8_t *lines; /* STRIP_LINE bytes for each of the rows, whole tiles of them */
} Strip;

/* The inputs that positions from .. to - 1 of an axis read. */
static void
axis_span(const ResizeAxis *axis, int from, int to, int *start, int *length)
{
	int low = axis->start[from];
	int high = low;

	for (int i = from; i < to; i++)
	{
		if (axis->start[i] < low)
			low = axis->start[i];
		if (axis->start[i] + axis->length[i] > high)
			high = axis->start[i] + axis->length[i];
	}
	*start = low;
	*length = high - low;
}

static void
horizontal_pass(const Strip *s)
{
	uint8_t columns[STRIP_COLS * TILE_LINE] = {0};
	int source;
	int width;

	axis_span(s->x, s->col, s->col + s->cols, &source, &width);
	for (int r = 0; r < s->rows; r += TILE_ROWS)
	{
		int rows = s->rows - r < TILE_ROWS ? s->rows - r : TILE_ROWS;

		transpose_in(s->img, s->row + r, rows, source, width, s->tile);
		for (int i = 0; i < s->cols; i++)
		{
			int c = s->col + i;

			s->sum_lines(s->tile + (size_t) (s->x->start[c] - source) * TILE_LINE,
						 TILE_LINE, s->x->weights + (size_t) c * s->x->max_length,
						 s->x->length[c], columns + i * TILE_LINE, TILE_LINE);
		}
		transpose_out(columns, s->lines + (size_t) r * STRIP_LINE);
	}
}

static void
vertical_pass(const Strip *s, uint8_t *out, size_t out_stride)
{
	int bytes = s->cols * 3;

	for (int r = 0; r < s->y->count; r++)
	{
		uint8_t line[STRIP_LINE];

		s->sum_lines(s->lines + (size_t) (s->y->start[r] - s->row) * STRIP_LINE,
					 STRIP_LINE, s->y->weights + (size_t) r * s->y->max_length,
					 s->y->length[r], line, (bytes + 15) & ~15);
		memcpy(out + r * out_stride + (size_t) s->col * 3, line, (size_t) bytes);
	}
}

/*
 * In strips of columns: memory stays below 16 MB whatever the shape of the picture,
 * and the intermediate rows stay in the cache.
 */
bool
resize_rgb(const Image *img, const ResizeAxis *x, const ResizeAxis *y, SumLines sum_lines,
		   uint8_t *out, size_t out_stride)
{
	Strip s = {.img = img, .x = x, .y = y, .sum_lines = sum_lines};
	int source;
	int width;

	axis_span(x, 0, x->count, &source, &width);
	axis_span(y, 0, y->count, &s.row, &s.rows);
	/* Zeroed: the last lanes of a short tile or strip are summed and thrown away. */
	s.tile = calloc((size_t) width, TILE_LINE);
	s.lines = calloc((size_t) s.rows + TILE_ROWS - 1, STRIP_LINE);
	if (s.tile != NULL && s.lines != NULL)
	{
		for (s.col = 0; s.col < x->count; s.col += STRIP_COLS)
		{
			s.cols = x->count - s.col < STRIP_COLS ? x->count - s.col : STRIP_COLS;
			horizontal_pass(&s);
			vertical_pass(&s, out, out_stride);
		}
	}
	free(s.tile);
	free(s.lines);
	return s.tile != NULL && s.lines != NULL;
}
