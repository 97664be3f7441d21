/*
 * op_lower.h
 *	  Convolutions as products of matrices: the matrix of windows, and loops for those
 *	  with a channel a group.
 */
#ifndef GPU_OP_LOWER_H
#define GPU_OP_LOWER_H

#include "gpu/call.h"
#include "gpu/product.h"

/* What the matrix of windows may hold where cuDNN mostly does without. */
#define SPARE_MATRIX_BYTES ((size_t) 32 << 20)

struct Geometry
{
	int height, width, big;			/* big map, its channels */
	int low_height, low_width, low; /* small map */
	int kh, kw, sh, sw, ph, pw, groups;
	int taps, group; /* taps; big channels of a group */
	size_t places;	 /* of the small map */
};

static inline Geometry
geometry_of(const NnGraph *g, const NnNode *node)
{
	const NnShape *in = &g->node[node->input[0]].shape, *out = &node->shape;
	bool up = node->kind == NN_CONV_TRANSPOSE2D;
	const NnShape *big = up ? out : in, *low = up ? in : out;
	Geometry s;

	s.height = big->dim[0];
	s.width = big->dim[1];
	s.big = big->dim[2];
	s.low_height = low->dim[0];
	s.low_width = low->dim[1];
	s.low = low->dim[2];
	s.kh = node->kernel[0];
	s.kw = node->kernel[1];
	s.sh = node->stride[0];
	s.sw = node->stride[1];
	s.ph = node->pad[0];
	s.pw = node->pad[1];
	s.groups = node->groups > 1 ? node->groups : 1;
	s.taps = s.kh * s.kw;
	s.group = s.big / s.groups;
	s.places = (size_t) s.low_height * s.low_width;
	return s;
}

static inline bool
is_depthwise(const Geometry &s)
{
	return s.groups > 1 && s.groups == s.big && s.groups == s.low;
}

static inline bool
is_pointwise(const Geometry &s)
{
	return s.groups == 1 && s.taps == 1 && s.sh == 1 && s.sw == 1 && s.ph == 0 &&
		   s.pw == 0 && s.height == s.low_height && s.width == s.low_width;
}

/* Bytes of the matrix of windows of one picture. */
template <class T>
static size_t
matrix_of_one(const Geometry &s)
{
	return s.places * (size_t) s.taps * (size_t) s.group * sizeof(T);
}

template <class T>
static int
pictures_at_once(const Machine *m, const Geometry &s, int n)
{
	size_t room =
		m->dnn && m->room.conv > SPARE_MATRIX_BYTES ? SPARE_MATRIX_BYTES : m->room.conv;
	size_t fit = room / matrix_of_one<T>(s);

	return fit < 1 ? 1 : fit < (size_t) n ? (int) fit : n;
}

/*
 * Bytes of scratch memory that a convolution of n pictures may want.  Where they are
 * reserved they depend on its shapes alone, and hold the matrix in either case.
 */
template <class T>
static size_t
conv_room(const Machine *m, const Geometry &s, int n)
{
	size_t one = matrix_of_one<T>(s), room = m->room.conv;
	size_t wanted = (size_t) n * one;

	if (!m->room.reserved)
		return room;
	wanted = wanted > SMALL_CONV_ROOM ? wanted : SMALL_CONV_ROOM;
	wanted = wanted < room ? wanted : room;
	return wanted > one ? wanted : one;
}

/* Count it, in a dry run. */
template <class T>
static void
reserve(Machine *m, const Geometry &s, int n)
{
	size_t keep = m->used;

	if (m->dry && m->room.reserved)
		take<char>(m, conv_room<T>(m, s, n));
	m->used = keep;
}

/* [place][tap][channel of the group] of n pictures */
template <class T>
static void
im2col(Machine *m, const Geometry &s, int group, const T *big, int n, T *to)
{
	each(m, (size_t) n * s.places * s.taps * s.group,
		 [=] ON_GPU(size_t i)
		 {
			 int c = (int) (i % (size_t) s.group);
			 int tap = (int) (i / (size_t) s.group % (size_t) s.taps);
			 size_t place = i / (size_t) s.group / (size_t) s.taps;
			 int at = (int) (place % s.places);
			 int y = at / s.low_width * s.sh - s.ph + tap / s.kw;
			 int x = at % s.low_width * s.sw - s.pw + tap % s.kw;
			 bool inside = y >= 0 && y < s.height && x >= 0 && x < s.width;

			 to[i] =
				 inside
					 ? (float)
						   big[((place / s.places * s.height + y) * s.width + x) * s.big +
							   group * s.group + c]
					 : 0.0f;
		 });
}

/* Each element of the big map gathers from the windows that cover it. */
template <class T>
static void
col2im(Machine *m, const Geometry &s, int group, const T *from, int n, T *big, bool add)
{
	each(m, (size_t) n * s.height * s.width * s.group,
		 [=] ON_GPU(size_t i)
		 {
			 Pixel p = pixel_of(i, s.height, s.width, s.group);
			 float sum = 0;

			 for (int a = 0; a < s.kh; a++)
				 for (int b = 0; b < s.kw; b++)
				 {
					 int v = window_with(p.y, a, s.ph, s.sh, s.low_height);
					 int u = window_with(p.x, b, s.pw, s.sw, s.low_width);

					 if (v < 0 || u < 0)
						 continue;
					 sum += (float)
						 from[((p.picture * s.places + (size_t) v * s.low_width + u) *
								   s.taps +
							   a * s.kw + b) *
								  s.group +
							  p.c];
				 }
			 give(&big[p.at * s.big + group * s.group + p.c], sum, add);
		 });
}

/* ------------------------------------------------------------------ depthwise */

/* packed is [channel][tap] */
template <class T>
static void
depthwise_down(Machine *m, const Geometry &s, const T *big, const T *packed, int n,
			   T *low, bool add, const T *bias, NnActivation act)
{
	each(m, (size_t) n * s.places * s.low,
		 [=] ON_GPU(size_t i)
		 {
			 int c = (int) (i % (size_t) s.low);
			 size_t place = i / (size_t) s.low;
			 int at = (int) (place % s.places);
			 int y0 = at / s.low_width * s.sh - s.ph, x0 = at % s.low_width * s.sw - s.pw;
			 float sum = 0;

			 for (int a = 0; a < s.kh; a++)
				 for (int b = 0; b < s.kw; b++)
				 {
					 int y = y0 + a, x = x0 + b;

					 if (y >= 0 && y < s.height && x >= 0 && x < s.width)
						 sum +=
							 (float)
								 big[((place / s.places * s.height + y) * s.width + x) *
										 s.big +
									 c] *
							 (float) packed[c * s.taps + a * s.kw + b];
				 }
			 sum += bias ? (float) bias[c] : 0.0f;
			 give(&low[i], activate(act, sum), add);
		 });
}

template <class T>
static void
depthwise_up(Machine *m, const Geometry &s, const T *low, const T *packed, int n, T *big,
			 bool add)
{
	each(m, (size_t) n * s.height * s.width * s.big,
		 [=] ON_GPU(size_t i)
		 {
			 Pixel p = pixel_of(i, s.height, s.width, s.big);
			 float sum = 0;

			 for (int a = 0; a < s.kh; a++)
				 for (int b = 0; b < s.kw; b++)
				 {
					 int v = window_with(p.y, a, s.ph, s.sh, s.low_height);
					 int u = window_with(p.x, b, s.pw, s.sw, s.low_width);

					 if (v < 0 || u < 0)
						 continue;
					 sum +=
						 (float)
							 low[(p.picture * s.places + (size_t) v * s.low_width + u) *
									 s.low +
								 p.c] *
						 (float) packed[p.c * s.taps + a * s.kw + b];
				 }
			 give(&big[i], sum, add);
		 });
}

/* Adds to grad, whose layout is packed's here. */
template <class T>
static void
depthwise_weight(Machine *m, const Geometry &s, const T *big, const T *low, int n,
				 float *grad)
{
	column_sums(
		m, (size_t) n * s.places, s.taps * s.low,
		[=] ON_GPU(size_t place, int col)
		{
			int c = col % s.low, tap = col / s.low, at = (int) (place % s.places);
			int y = at / s.low_width * s.sh - s.ph + tap / s.kw;
			int x = at % s.low_width * s.sw - s.pw + tap % s.kw;

			if (y < 0 || y >= s.height || x < 0 || x >= s.width)
				return 0.0f;
			return (float) low[place * s.low + c] *
				   (float)
					   big[((place / s.places * s.height + y) * s.width + x) * s.big + c];
		},
		[=] ON_GPU(int col, double sum)
		{ grad[col % s.low * s.taps + col / s.low] += (float) sum; });
}

#endif
