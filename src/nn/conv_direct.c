/*
 * conv_direct.c
 *	  Direct convolution over tiles.
 *
 * With x a picture that carries its border of zeros, [H + 2p][W + 2p][C],
 *
 *		y[i][j][:] = sum over kh of x[i + kh][j .. j + KW - 1][:] * w[kh]
 *
 * and the KW * C values of x are contiguous.  The gradient of the input is the same
 * sum over the gradient of the output, bordered by K - 1 - p zeros, with the weights
 * mirrored and transposed; the gradient of the weights sums x[i + kh][j + kw][c] *
 * dy[i][j][:] over positions and pictures.  Weights are kept in panels of as many
 * output columns as a tile has, so that they stream in order.
 */
#include "nn/conv_direct.h"
#include "nn/tile.h"

#include <string.h>

bool
nn_direct_geometry(const NnGraph *g, const NnNode *node, NnDirect *d)
{
	const NnShape *in = &g->node[node->input[0]].shape;

	if (node->kind != NN_CONV2D || node->stride[0] != 1 || node->stride[1] != 1 ||
		node->groups > 1 || node->pad[0] > node->kernel[0] - 1 ||
		node->pad[1] > node->kernel[1] - 1)
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
	};
	return true;
}

static size_t
panels(int columns, int lanes)
{
	return (size_t) (columns + lanes - 1) / lanes;
}

size_t
nn_direct_pack_size(const NnDirect *d)
{
	int lanes = nn_tile_kernel()->lanes;
	size_t taps = (size_t) d->kh * d->kw;
	size_t forward = panels(d->outputs, lanes) * lanes * taps * d->channels;
	size_t input = panels(d->channels, lanes) * lanes * taps * d->outputs;

	return forward > input ? forward : input;
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
	return (size_t) (d->height + d->kh - 1) * (d->width + d->kw - 1) * d->outputs;
}

size_t
nn_direct_scratch(const NnDirect *d, int n)
{
	return (bordered_input(d) + bordered_output(d)) * n + 2 * nn_tile_kernel()->lanes;
}

void
nn_direct_pack(const NnDirect *d, const float *weight, float *packed)
{
	int lanes = nn_tile_kernel()->lanes;
	int taps = d->kh * d->kw;
	size_t panel = (size_t) taps * d->channels * lanes;

	memset(packed, 0, panels(d->outputs, lanes) * panel * sizeof(float));
	for (int o = 0; o < d->outputs; o++)
	{
		float *to = packed + o / lanes * panel + o % lanes;
		const float *from = weight + (size_t) o * d->channels * taps;

		for (int c = 0; c < d->channels; c++)
			for (int t = 0; t < taps; t++)
				to[((size_t) t * d->channels + c) * lanes] = from[c * taps + t];
	}
}

void
nn_direct_pack_input(const NnDirect *d, const float *weight, float *packed)
{
	int lanes = nn_tile_kernel()->lanes;
	int taps = d->kh * d->kw;
	size_t panel = (size_t) taps * d->outputs * lanes;

	memset(packed, 0, panels(d->channels, lanes) * panel * sizeof(float));
	for (int c = 0; c < d->channels; c++)
	{
		float *to = packed + c / lanes * panel + c % lanes;

		for (int o = 0; o < d->outputs; o++)
		{
			const float *from = weight + ((size_t) o * d->channels + c) * taps;

			for (int t = 0; t < taps; t++)
				to[((size_t) (taps - 1 - t) * d->outputs + o) * lanes] = from[t];
		}
	}
}

void
nn_direct_unpack_grad(const NnDirect *d, const float *grad_weight, float *grad)
{
	int taps = d->kh * d->kw;

	for (int o = 0; o < d->outputs; o++)
		for (int c = 0; c < d->channels; c++)
		{
			float *to = grad + ((size_t) o * d->channels + c) * taps;

			for (int t = 0; t < taps; t++)
				to[t] += grad_weight[((size_t) t * d->channels + c) * d->outputs + o];
		}
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

/*
 * The sum at the head of this file: n bordered pictures of frame_w columns and
 * `channels` channels to n of out_h x out_w x outputs.
 */
static void
correlate(const NnDirect *d, int n, const float *frames, size_t frame, int frame_w,
		  int channels, const float *packed, int out_h, int out_w, int outputs,
		  float *out, bool add)
{
	const NnTileKernel *kernel = nn_tile_kernel();
	int lanes = kernel->lanes;
	int depth = d->kw * channels;
	size_t panel = (size_t) d->kh * depth * lanes;
	size_t out_size = (size_t) out_h * out_w * outputs;
	NnTileArgs t = {
		.as = (ptrdiff_t) frame_w * channels,
		.ak = 1,
		.bs = (ptrdiff_t) depth * lanes,
		.bk = lanes,
		.outer = 1,
		.segments = d->kh,
		.depth = depth,
		.add = add,
	};
	/* Rows of a tile are positions of one line, or where lines are short, pictures. */
	bool across = out_w < 6 && n > out_w;

	for (int first = 0; first < outputs; first += lanes)
	{
		int columns = outputs - first < lanes ? outputs - first : lanes;

		t.b = packed + first / lanes * panel;
		t.am = across ? (ptrdiff_t) frame : channels;
		t.cm = across ? (ptrdiff_t) out_size : outputs;
		for (int i = 0; i < (across ? 1 : n); i++)
			for (int y = 0; y < out_h; y++)
				for (int x = 0; x < (across ? out_w : 1); x++)
				{
					t.a = frames + i * frame + ((size_t) y * frame_w + x) * channels;
					t.c = out + i * out_size + ((size_t) y * out_w + x) * outputs + first;
					sweep(kernel, &t, across ? n : out_w, columns);
				}
	}
}

void
nn_direct_forward(const NnDirect *d, int n, const float *in, const float *packed,
				  const float *bias, float *out, float *scratch)
{
	const float *frames = in;
	size_t rows = (size_t) n * d->out_height * d->out_width;

	if (d->pad_h || d->pad_w)
	{
		border(in, n, d->height, d->width, d->channels, d->pad_h, d->pad_w,
			   d->height + 2 * d->pad_h, d->width + 2 * d->pad_w, scratch);
		frames = scratch;
	}
	if (bias)
		for (size_t r = 0; r < rows; r++)
			memcpy(out + r * d->outputs, bias, d->outputs * sizeof(float));
	correlate(d, n, frames, bordered_input(d), d->width + 2 * d->pad_w, d->channels,
			  packed, d->out_height, d->out_width, d->outputs, out, bias != NULL);
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
		.as = (ptrdiff_t) frame_w * d->channels,
		.ak = d->channels,
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

void
nn_direct_backward(const NnDirect *d, int n, const float *in, const float *packed_input,
				   const float *grad_out, float *grad_in, bool add, float *grad_weight,
				   float *scratch)
{
	int top = d->kh - 1 - d->pad_h;
	int left = d->kw - 1 - d->pad_w;
	int dy_width = d->width + d->kw - 1;
	float *dy = scratch;
	float *x = scratch + bordered_output(d) * n + nn_tile_kernel()->lanes;

	border(grad_out, n, d->out_height, d->out_width, d->outputs, top, left,
		   d->height + d->kh - 1, dy_width, dy);
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
		weight_gradient(d, n, frames, dy + ((size_t) top * dy_width + left) * d->outputs,
						dy_width, bordered_output(d), grad_weight);
	}
	if (grad_in)
		correlate(d, n, dy, bordered_output(d), dy_width, d->outputs, packed_input,
				  d->height, d->width, d->channels, grad_in, add);
}
