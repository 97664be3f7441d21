/*
 * conv_direct.c
 *	  Direct convolution over tiles.
 *
 * With x a picture that carries its border of zeros, [H + 2p][W + 2p][C],
 *
 *		y[i][j][:] = sum over kh of x[s i + kh][s j .. s j + KW - 1][:] * w[kh]
 *
 * and the KW * C values of x are contiguous; s is the stride.  The gradient of the
 * weights sums x[s i + kh][s j + kw][c] * dy[i][j][:] over positions and pictures.
 *
 * The gradient of the input at position u takes the taps k with k = u + p (mod s):
 *
 *		dx[u] = sum over k of dy[(u + p - k) / s] * w[k]
 *
 * so positions fall into s phases along each axis, and each phase is a sum like the
 * first, with stride 1, over dy bordered by zeros, with the phase's own taps in reverse
 * order.  With s = 1 there is one phase, of all taps.
 *
 * Weights are kept in panels of as many output columns as a tile has, so that they
 * stream in order (conv_pack.c).
 */
#include "nn/conv_direct.h"
#include "nn/conv_phase.h"
#include "nn/tile.h"

#include <string.h>

bool
nn_direct_geometry(const NnGraph *g, const NnNode *node, NnDirect *d)
{
	const NnShape *in = &g->node[node->input[0]].shape;

	if (node->kind != NN_CONV2D || node->groups > 1 ||
		node->pad[0] > node->kernel[0] - 1 || node->pad[1] > node->kernel[1] - 1)
		return false;
	*d = (NnDirect){
		.height = in->dim[0],
		.width = in->dim[1],
		.channels = in->dim[2],
		.out_height = node->shape.dim[0],
		.out_width = node->shape.dim[1],
		.outputs = node->shape.dim[2],
		.kh = node->kernel[0],
		.kw = node->kernel[1],
		.pad_h = node->pad[0],
		.pad_w = node->pad[1],
		.stride_h = node->stride[0],
		.stride_w = node->stride[1],
	};
	return true;
}

void
nn_direct_linear(NnDirect *d, int rows, int inputs, int outputs)
{
	*d = (NnDirect){
		.height = 1,
		.width = rows,
		.channels = inputs,
		.out_height = 1,
		.out_width = rows,
		.outputs = outputs,
		.kh = 1,
		.kw = 1,
		.stride_h = 1,
		.stride_w = 1,
	};
}

/* Zeros before dy along one axis; *length: with those after it too. */
static int
zeros_before(int size, int out, int kernel, int stride, int pad, int *length)
{
	int before = 0;
	int end = out;

	for (int r = 0; r < stride; r++)
	{
		NnPhase p = nn_direct_phase(r, size, kernel, stride, pad);

		if (p.taps == 0 || p.count == 0)
			continue;
		if (p.taps - 1 - p.last > before)
			before = p.taps - 1 - p.last;
		if (p.last + p.count > end)
			end = p.last + p.count;
	}
	*length = before + end;
	return before;
}

/* The frame of dy. */
typedef struct Frame
{
	int top, left, height, width;
} Frame;

static Frame
output_frame(const NnDirect *d)
{
	Frame f;

	f.top =
		zeros_before(d->height, d->out_height, d->kh, d->stride_h, d->pad_h, &f.height);
	f.left = zeros_before(d->width, d->out_width, d->kw, d->stride_w, d->pad_w, &f.width);
	return f;
}

/* A picture with its border, and the slack that the last tile reads past the end. */
static size_t
bordered_input(const NnDirect *d)
{
	return (size_t) (d->height + 2 * d->pad_h) * (d->width + 2 * d->pad_w) * d->channels;
}

static size_t
bordered_output(const NnDirect *d)
{
	Frame f = output_frame(d);

	return (size_t) f.height * f.width * d->outputs;
}

size_t
nn_direct_scratch(const NnDirect *d, int n)
{
	return (bordered_input(d) + bordered_output(d)) * n + 2 * nn_tile_kernel()->lanes;
}

/* Copy n pictures [h][w][c] into frames of zeros, top rows above, left columns before. */
static void
border(const float *in, int n, int h, int w, int c, int top, int left, int frame_h,
	   int frame_w, float *out)
{
	size_t row = (size_t) frame_w * c;
	size_t used = (size_t) w * c;
	size_t before = (size_t) left * c;
	size_t after = row - used - before;

	for (int i = 0; i < n; i++)
	{
		memset(out, 0, top * row * sizeof(float));
		out += top * row;
		for (int y = 0; y < h; y++)
		{
			memset(out, 0, before * sizeof(float));
			memcpy(out + before, in, used * sizeof(float));
			memset(out + before + used, 0, after * sizeof(float));
			out += row;
			in += used;
		}
		memset(out, 0, (frame_h - top - h) * row * sizeof(float));
		out += (frame_h - top - h) * row;
	}
}

/* Run one tile after another over `count` rows that lie am and cm apart. */
static void
sweep(const NnTileKernel *kernel, NnTileArgs *t, int count, int columns)
{
	int blocks = (count + kernel->max_rows - 1) / kernel->max_rows;
	const float *a = t->a;
	float *c = t->c;

	for (int i = 0, done = 0; i < blocks; i++)
	{
		int rows = (count - done) / (blocks - i); /* equal blocks, no small remainder */

		t->a = a + done * t->am;
		t->c = c + done * t->cm;
		kernel->run(t, rows, columns);
		done += rows;
	}
	t->a = a;
	t->c = c;
}

/* The sum at the head of this file: what is read, and where results go. */
typedef struct Correlation
{
	int n, kh, kw;
	const float *frames; /* bordered pictures */
	size_t frame;		 /* from one to the next */
	int frame_w, channels;
	ptrdiff_t line, step; /* from one position's window to that below, and the next */
	const float *packed;
	int out_h, out_w, outputs;
	float *out;
	ptrdiff_t out_picture, out_line, out_step;
	bool add;
} Correlation;

static void
correlate(const Correlation *k)
{
	const NnTileKernel *kernel = nn_tile_kernel();
	int lanes = kernel->lanes;
	int depth = k->kw * k->channels;
	size_t panel = (size_t) k->kh * depth * lanes;
	NnTileArgs t = {
		.as = (ptrdiff_t) k->frame_w * k->channels,
		.ak = 1,
		.bs = (ptrdiff_t) depth * lanes,
		.bk = lanes,
		.outer = 1,
		.segments = k->kh,
		.depth = depth,
		.add = k->add,
	};
	/* Rows of a tile are positions of one line, or where lines are short, pictures. */
	bool across = k->out_w < 6 && k->n > k->out_w;

	t.am = across ? (ptrdiff_t) k->frame : k->step;
	t.cm = across ? k->out_picture : k->out_step;
	for (int first = 0; first < k->outputs; first += lanes)
	{
		int columns = k->outputs - first < lanes ? k->outputs - first : lanes;

		t.b = k->packed + first / lanes * panel;
		for (int i = 0; i < (across ? 1 : k->n); i++)
			for (int y = 0; y < k->out_h; y++)
				for (int x = 0; x < (across ? k->out_w : 1); x++)
				{
					t.a = k->frames + i * k->frame + y * k->line + x * k->step;
					t.c = k->out + i * k->out_picture + y * k->out_line +
						  x * k->out_step + first;
					sweep(kernel, &t, across ? k->n : k->out_w, columns);
				}
	}
}

void
nn_direct_forward(const NnDirect *d, int n, const float *in, const float *packed,
				  const float *bias, float *out, float *scratch)
{
	const float *frames = in;
	size_t rows = (size_t) n * d->out_height * d->out_width;
	int frame_w = d->width + 2 * d->pad_w;

	if (d->pad_h || d->pad_w)
	{
		border(in, n, d->height, d->width, d->channels, d->pad_h, d->pad_w,
			   d->height + 2 * d->pad_h, frame_w, scratch);
		frames = scratch;
	}
	if (bias)
		for (size_t r = 0; r < rows; r++)
			memcpy(out + r * d->outputs, bias, d->outputs * sizeof(float));
	correlate(&(Correlation){
		.n = n,
		.kh = d->kh,
		.kw = d->kw,
		.frames = frames,
		.frame = bordered_input(d),
		.frame_w = frame_w,
		.channels = d->channels,
		.line = (ptrdiff_t) d->stride_h * frame_w * d->channels,
		.step = (ptrdiff_t) d->stride_w * d->channels,
		.packed = packed,
		.out_h = d->out_height,
		.out_w = d->out_width,
		.outputs = d->outputs,
		.out = out,
		.out_picture = (ptrdiff_t) d->out_height * d->out_width * d->outputs,
		.out_line = (ptrdiff_t) d->out_width * d->outputs,
		.out_step = d->outputs,
		.add = bias != NULL,
	});
}

/* frames: bordered inputs; dy: bordered gradients, from the first inner position. */
static void
weight_gradient(const NnDirect *d, int n, const float *frames, const float *dy,
				int dy_width, size_t dy_frame, float *grad)
{
	const NnTileKernel *kernel = nn_tile_kernel();
	int frame_w = d->width + 2 * d->pad_w;
	NnTileArgs t = {
		.am = 1,
		.ao = (ptrdiff_t) bordered_input(d),
		.as = (ptrdiff_t) d->stride_h * frame_w * d->channels,
		.ak = (ptrdiff_t) d->stride_w * d->channels,
		.bo = (ptrdiff_t) dy_frame,
		.bs = (ptrdiff_t) dy_width * d->outputs,
		.bk = d->outputs,
		.outer = n,
		.segments = d->out_height,
		.depth = d->out_width,
		.cm = d->outputs,
		.add = true,
	};

	for (int first = 0; first < d->outputs; first += kernel->lanes)
	{
		int left = d->outputs - first;

		t.b = dy + first;
		for (int kh = 0; kh < d->kh; kh++)
		{
			t.a = frames + (size_t) kh * frame_w * d->channels;
			t.c = grad + (size_t) kh * d->kw * d->channels * d->outputs + first;
			sweep(kernel, &t, d->kw * d->channels,
				  left < kernel->lanes ? left : kernel->lanes);
		}
	}
}

/* dy: bordered gradients in frames f. */
static void
input_gradient(const NnDirect *d, int n, const float *dy, const Frame *f,
			   const float *packed, float *dx, bool add)
{
	int lanes = nn_tile_kernel()->lanes;
	ptrdiff_t line = (ptrdiff_t) d->width * d->channels;
	Correlation k = {
		.n = n,
		.frame = (size_t) f->height * f->width * d->outputs,
		.frame_w = f->width,
		.channels = d->outputs,
		.line = (ptrdiff_t) f->width * d->outputs,
		.step = d->outputs,
		.outputs = d->channels,
		.out_picture = d->height * line,
		.out_line = d->stride_h * line,
		.out_step = (ptrdiff_t) d->stride_w * d->channels,
		.add = add,
	};

	if (!add && (d->kh < d->stride_h || d->kw < d->stride_w))
		memset(dx, 0, n * k.out_picture * sizeof(float));
	for (int rh = 0; rh < d->stride_h; rh++)
		for (int rw = 0; rw < d->stride_w; rw++)
		{
			NnPhase h = nn_direct_phase(rh, d->height, d->kh, d->stride_h, d->pad_h);
			NnPhase w = nn_direct_phase(rw, d->width, d->kw, d->stride_w, d->pad_w);

			k.kh = h.taps;
			k.kw = w.taps;
			k.packed = packed;
			packed += nn_direct_panels(d->channels, lanes) * lanes * h.taps * w.taps *
					  d->outputs;
			k.out_h = h.count;
			k.out_w = w.count;
			k.frames = dy + ((ptrdiff_t) (f->top + h.last - h.taps + 1) * f->width +
							 f->left + w.last - w.taps + 1) *
								d->outputs;
			k.out = dx + h.first * line + (ptrdiff_t) w.first * d->channels;
			if (h.taps && w.taps && h.count && w.count)
				correlate(&k);
		}
}

void
nn_direct_backward(const NnDirect *d, int n, const float *in, const float *packed_input,
				   const float *grad_out, float *grad_in, bool add, float *grad_weight,
				   float *scratch)
{
	Frame f = output_frame(d);
	bool bare = f.height == d->out_height && f.width == d->out_width;
	float *dy = scratch;
	float *x = scratch + bordered_output(d) * n + nn_tile_kernel()->lanes;

	/* The gradient of weights reads a little past the end, that of the input does not. */
	if (grad_weight || !bare)
		border(grad_out, n, d->out_height, d->out_width, d->outputs, f.top, f.left,
			   f.height, f.width, dy);
	if (grad_weight)
	{
		const float *frames = in;

		if (d->pad_h || d->pad_w)
		{
			border(in, n, d->height, d->width, d->channels, d->pad_h, d->pad_w,
				   d->height + 2 * d->pad_h, d->width + 2 * d->pad_w, x);
			frames = x;
		}
		/* Tiles read up to `lanes` floats past the last value of dy. */
		memset(dy + bordered_output(d) * n, 0, nn_tile_kernel()->lanes * sizeof(float));
		weight_gradient(d, n, frames,
						dy + ((size_t) f.top * f.width + f.left) * d->outputs, f.width,
						bordered_output(d), grad_weight);
	}
	if (grad_in)
		input_gradient(d, n, grad_weight || !bare ? dy : grad_out, &f, packed_input,
					   grad_in, add);
}
