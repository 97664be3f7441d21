/*
 * pool_backward.c
 *	  Gradients through pooling.
 */
#include "nn/backward.h"

#include <string.h>

typedef struct Window
{
	int height, width, channels, out_height, out_width;
	const NnNode *node;
} Window;

static Window
window_of(const NnCall *call)
{
	const NnShape *in = nn_input_shape(call->graph, call->node, 0);
	const NnShape *out = &call->node->shape;

	return (Window){in->dim[0],	 in->dim[1],  in->dim[2],
					out->dim[0], out->dim[1], call->node};
}

/* The rows (or columns) that output o covers, cut to the picture. */
static void
cover(const Window *w, int axis, int o, int *begin, int *end)
{
	int size = axis == 0 ? w->height : w->width;

	*begin = o * w->node->stride[axis] - w->node->pad[axis];
	*end = *begin + w->node->kernel[axis];
	if (*begin < 0)
		*begin = 0;
	if (*end > size)
		*end = size;
}

#define POOL_BLOCK 1024 /* channels handled at once */

/*
 * One window, channels first .. first+count-1.  The gradient goes to the first of the
 * largest values (PyTorch's rule).  Channels are the innermost loop, so that it runs
 * on vectors; open marks the channels whose maximum has not been met yet.
 */
static NN_WIDE void
maxpool_window(const Window *w, int oy, int ox, int first, int count, const float *in,
			   const float *out, const float *dy, float *dx)
{
	int32_t open[POOL_BLOCK];
	size_t o = ((size_t) oy * w->out_width + ox) * w->channels + first;
	int y0, y1, x0, x1;

	cover(w, 0, oy, &y0, &y1);
	cover(w, 1, ox, &x0, &x1);
	for (int c = 0; c < count; c++)
		open[c] = 1;
	for (int y = y0; y < y1; y++)
		for (int x = x0; x < x1; x++)
		{
			size_t at = ((size_t) y * w->width + x) * w->channels + first;

			for (int c = 0; c < count; c++)
			{
				int32_t hit = open[c] & (in[at + c] == out[o + c]);

				dx[at + c] += hit ? dy[o + c] : 0.0f;
				open[c] ^= hit;
			}
		}
}

void
nn_maxpool_backward(const NnCall *call)
{
	Window w = window_of(call);
	size_t in_size = (size_t) w.height * w.width * w.channels;
	size_t out_size = (size_t) w.out_height * w.out_width * w.channels;

	if (!call->grad_in[0])
		return;
	if (!call->add_grad_in[0])
		memset(call->grad_in[0], 0, call->n * in_size * sizeof(float));
	for (int i = 0; i < call->n; i++)
		for (int oy = 0; oy < w.out_height; oy++)
			for (int ox = 0; ox < w.out_width; ox++)
				for (int c = 0; c < w.channels; c += POOL_BLOCK)
					maxpool_window(
						&w, oy, ox, c,
						w.channels - c < POOL_BLOCK ? w.channels - c : POOL_BLOCK,
						call->in[0] + i * in_size, call->out + i * out_size,
						call->grad_out + i * out_size, call->grad_in[0] + i * in_size);
}

/* The forward pass divides by the whole window, border included (PyTorch's default). */
void
nn_avgpool_backward(const NnCall *call)
{
	Window w = window_of(call);
	size_t in_size = (size_t) w.height * w.width * w.channels;
	float share = 1.0f / (call->node->kernel[0] * call->node->kernel[1]);
	const float *dy = call->grad_out;

	if (!call->grad_in[0])
		return;
	if (!call->add_grad_in[0])
		memset(call->grad_in[0], 0, call->n * in_size * sizeof(float));
	for (int i = 0; i < call->n; i++)
		for (int oy = 0; oy < w.out_height; oy++)
			for (int ox = 0; ox < w.out_width; ox++, dy += w.channels)
			{
				int y0, y1, x0, x1;

				cover(&w, 0, oy, &y0, &y1);
				cover(&w, 1, ox, &x0, &x1);
				for (int y = y0; y < y1; y++)
					for (int x = x0; x < x1; x++)
					{
						float *dx = call->grad_in[0] + i * in_size +
									((size_t) y * w.width + x) * w.channels;

						for (int c = 0; c < w.channels; c++)
							dx[c] += share * dy[c];
					}
			}
}

void
nn_global_avgpool_backward(const NnCall *call)
{
	const NnShape *in = nn_input_shape(call->graph, call->node, 0);
	int channels = nn_shape_cols(in);
	size_t positions = nn_shape_rows(in);
	float share = 1.0f / (float) positions;

	if (!call->grad_in[0])
		return;
	for (int i = 0; i < call->n; i++)
		for (size_t p = 0; p < positions; p++)
		{
			float *dx = call->grad_in[0] + (i * positions + p) * channels;
			const float *dy = call->grad_out + (size_t) i * channels;

			for (int c = 0; c < channels; c++)
				dx[c] = (call->add_grad_in[0] ? dx[c] : 0.0f) + share * dy[c];
		}
}
