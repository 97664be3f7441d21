/*
 * conv_pack.c
 *	  Weights of direct convolutions, rearranged into panels and their gradients back.
 *
 * Training does this at every step, for every layer, so both sides go along whole
 * cache lines: a panel's columns are innermost.
 */
#include <string.h>

#include "nn/conv_direct.h"
#include "nn/conv_phase.h"
#include "nn/tile.h"

#define GRAD_COLUMNS 16 /* outputs whose gradients are brought back together */

typedef struct Packing
{
	const NnDirect *d;
	const float *from;
	float *to;
	bool add;
} Packing;

size_t
nn_direct_pack_size(const NnDirect *d)
{
	int lanes = nn_tile_kernel()->lanes;
	size_t taps = (size_t) d->kh * d->kw;
	size_t forward = nn_direct_panels(d->outputs, lanes) * lanes * taps * d->channels;
	size_t input = nn_direct_panels(d->channels, lanes) * lanes * taps * d->outputs;

	return forward > input ? forward : input;
}

/* count values, stride apart, side by side; zeros up to lanes. */
static void
gather(const float *from, size_t stride, int count, int lanes, float *to)
{
	for (int k = 0; k < count; k++)
		to[k] = from[k * stride];
	for (int k = count; k < lanes; k++)
		to[k] = 0;
}

static int
columns_left(int all, int first, int most)
{
	return all - first < most ? all - first : most;
}

static void
pack_panels(void *arg, int begin, int end, int thread)
{
	const Packing *p = arg;
	const NnDirect *d = p->d;
	int lanes = nn_tile_kernel()->lanes;
	size_t taps = (size_t) d->kh * d->kw;
	size_t row = taps * d->channels; /* weights of one output */

	(void) thread;
	for (int panel = begin; panel < end; panel++)
	{
		const float *from = p->from + (size_t) panel * lanes * row;
		float *to = p->to + (size_t) panel * lanes * row;
		int count = columns_left(d->outputs, panel * lanes, lanes);

		for (int c = 0; c < d->channels; c++)
			for (size_t t = 0; t < taps; t++)
				gather(from + c * taps + t, row, count, lanes,
					   to + (t * d->channels + c) * lanes);
	}
}

void
nn_direct_pack_by(NnPool *pool, const NnDirect *d, const float *weight, float *packed)
{
	Packing p = {.d = d, .from = weight, .to = packed};

	nn_parallel(pool, (int) nn_direct_panels(d->outputs, nn_tile_kernel()->lanes),
				pack_panels, &p);
}

/* Phase (rh, rw): its panels begin at `packed`; returns the floats of all of them. */
static size_t
pack_phase(const NnDirect *d, const float *weight, int rh, int rw, int begin, int end,
		   float *packed)
{
	int lanes = nn_tile_kernel()->lanes;
	int th = nn_direct_phase(rh, d->height, d->kh, d->stride_h, d->pad_h).taps;
	int tw = nn_direct_phase(rw, d->width, d->kw, d->stride_w, d->pad_w).taps;
	size_t taps = (size_t) d->kh * d->kw;
	size_t panel = (size_t) th * tw * d->outputs * lanes;

	for (int i = begin; i < end; i++)
		for (int o = 0; o < d->outputs; o++)
			for (int h = 0; h < th; h++)
				for (int w = 0; w < tw; w++)
				{
					size_t tap = (size_t) (th - 1 - h) * tw + (tw - 1 - w);
					size_t at = (size_t) (rh + h * d->stride_h) * d->kw + rw +
								(size_t) w * d->stride_w;

					gather(weight +
							   ((size_t) o * d->channels + (size_t) i * lanes) * taps +
							   at,
						   taps, columns_left(d->channels, i * lanes, lanes), lanes,
						   packed + i * panel + (tap * d->outputs + o) * lanes);
				}
	return nn_direct_panels(d->channels, lanes) * panel;
}

static void
pack_input_panels(void *arg, int begin, int end, int thread)
{
	const Packing *p = arg;
	float *to = p->to;

	(void) thread;
	for (int rh = 0; rh < p->d->stride_h; rh++)
		for (int rw = 0; rw < p->d->stride_w; rw++)
			to += pack_phase(p->d, p->from, rh, rw, begin, end, to);
}

void
nn_direct_pack_input_by(NnPool *pool, const NnDirect *d, const float *weight,
						float *packed)
{
	Packing p = {.d = d, .from = weight, .to = packed};

	nn_parallel(pool, (int) nn_direct_panels(d->channels, nn_tile_kernel()->lanes),
				pack_input_panels, &p);
}

/* Blocks of outputs. */
static void
unpack_blocks(void *arg, int begin, int end, int thread)
{
	const Packing *p = arg;
	const NnDirect *d = p->d;
	size_t taps = (size_t) d->kh * d->kw;
	size_t row = taps * d->channels;

	(void) thread;
	for (int block = begin; block < end; block++)
	{
		int first = block * GRAD_COLUMNS;
		int count = columns_left(d->outputs, first, GRAD_COLUMNS);

		for (int c = 0; c < d->channels; c++)
			for (size_t t = 0; t < taps; t++)
			{
				const float *from = p->from + (t * d->channels + c) * d->outputs + first;
				float *to = p->to + first * row + c * taps + t;

				for (int k = 0; k < count; k++)
					to[k * row] = (p->add ? to[k * row] : 0) + from[k];
			}
	}
}

void
nn_direct_unpack_grad_by(NnPool *pool, const NnDirect *d, const float *grad_weight,
						 float *grad, bool add)
{
	Packing p = {.d = d, .from = grad_weight, .to = grad, .add = add};

	nn_parallel(pool, (d->outputs + GRAD_COLUMNS - 1) / GRAD_COLUMNS, unpack_blocks, &p);
}
