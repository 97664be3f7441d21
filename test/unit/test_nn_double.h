/*
 * test_nn_double.h
 *	  Every operation's forward pass in training, over a batch, in plain loops of
 *	  doubles: what gradients are checked against by central differences.
 */
#ifndef TEST_NN_DOUBLE_H
#define TEST_NN_DOUBLE_H

#include "test_nn_reference.h"

#include "nn/random.h"

typedef struct Double
{
	const NnGraph *g;
	const NnNode *node;
	int n; /* pictures */
	uint64_t seed;
	int first;
	double *in[NN_MAX_INPUTS], *param[NN_MAX_PARAMS]; /* NULL: absent */
	double *out;
} Double;

static inline const NnShape *
double_shape(const Double *d, int i)
{
	return nn_input_shape(d->g, d->node, i);
}

/* Both convolutions: each pair of a place of the small map and one of the large. */
static inline void
double_conv(const Double *d, bool transposed)
{
	const NnNode *o = d->node;
	const NnShape *in = double_shape(d, 0), *out = &o->shape;
	const NnShape *small = transposed ? in : out, *large = transposed ? out : in;
	int gi = in->dim[2] / o->groups, go = o->channels / o->groups;

	for (size_t i = 0; i < d->n * nn_shape_size(out); i++)
		d->out[i] = d->param[1] ? d->param[1][i % (size_t) o->channels] : 0;
	for (int p = 0; p < d->n; p++)
		for (int y = 0; y < small->dim[0]; y++)
			for (int x = 0; x < small->dim[1]; x++)
				for (int ky = 0; ky < o->kernel[0]; ky++)
					for (int kx = 0; kx < o->kernel[1]; kx++)
					{
						int Y = y * o->stride[0] - o->pad[0] + ky;
						int X = x * o->stride[1] - o->pad[1] + kx;
						size_t a = ((size_t) p * small->dim[0] + y) * small->dim[1] + x;
						size_t b = ((size_t) p * large->dim[0] + Y) * large->dim[1] + X;
						size_t from = (transposed ? a : b) * in->dim[2];
						size_t to = (transposed ? b : a) * o->channels;

						if (Y < 0 || Y >= large->dim[0] || X < 0 || X >= large->dim[1])
							continue;
						for (int g = 0; g < o->groups; g++)
							for (int i = 0; i < gi; i++)
								for (int k = 0; k < go; k++)
								{
									int w = transposed ? (g * gi + i) * go + k
													   : (g * go + k) * gi + i;

									d->out[to + g * go + k] +=
										d->in[0][from + g * gi + i] *
										d->param[0]
												[(w * o->kernel[0] + ky) * o->kernel[1] +
												 kx];
								}
					}
}

static inline void
double_pool(const Double *d)
{
	const NnNode *o = d->node;
	const NnShape *in = double_shape(d, 0), *out = &o->shape;
	bool most = o->kind == NN_MAXPOOL;
	size_t at = 0;

	for (int p = 0; p < d->n; p++)
		for (int y = 0; y < out->dim[0]; y++)
			for (int x = 0; x < out->dim[1]; x++)
				for (int c = 0; c < out->dim[2]; c++)
				{
					double v = most ? -INFINITY : 0;

					for (int ky = 0; ky < o->kernel[0]; ky++)
						for (int kx = 0; kx < o->kernel[1]; kx++)
						{
							int Y = y * o->stride[0] - o->pad[0] + ky;
							int X = x * o->stride[1] - o->pad[1] + kx;
							double u;

							if (Y < 0 || Y >= in->dim[0] || X < 0 || X >= in->dim[1])
								continue;
							u = d->in[0]
									 [(((size_t) p * in->dim[0] + Y) * in->dim[1] + X) *
										  in->dim[2] +
									  c];
							v = !most	? v + u / (o->kernel[0] * o->kernel[1])
								: u > v ? u
										: v;
						}
					d->out[at++] = v;
				}
}

/* softmax(scores) v for `t` places: q, k, v at stride `row`, width w of each head. */
static inline void
double_head(const double *q, const double *k, const double *v, size_t row, int t, int w,
			const double *add, double *out, size_t out_row)
{
	double p[256];

	for (int a = 0; a < t; a++)
	{
		double sum = 0;

		for (int b = 0; b < t; b++)
		{
			double s = 0;

			for (int i = 0; i < w; i++)
				s += q[a * row + i] * k[b * row + i];
			p[b] = exp(s / sqrt(w) + (add ? add[a * t + b] : 0));
			sum += p[b];
		}
		for (int i = 0; i < w; i++)
		{
			out[a * out_row + i] = 0;
			for (int b = 0; b < t; b++)
				out[a * out_row + i] += p[b] / sum * v[b * row + i];
		}
	}
}

/*
 * Shifted windows from their definition in Swin's code: roll, mark regions, cut,
 * attend, roll back.
 */
static inline void
double_windows(const Double *d)
{
	const NnNode *o = d->node;
	int H = o->shape.dim[0], W = o->shape.dim[1], C = o->shape.dim[2];
	int s = o->window, t = s * s, w = C / o->heads;

	for (int p = 0; p < d->n; p++)
		for (int wy = 0; wy < H / s; wy++)
			for (int wx = 0; wx < W / s; wx++)
				for (int h = 0; h < o->heads; h++)
				{
					double qkv[3 * 4096], out[4096], add[4096];
					size_t place[64];
					int region[64];

					for (int i = 0; i < t; i++)
					{
						int y = wy * s + i / s, x = wx * s + i % s;
						int ry = y < H - s ? 0 : y < H - o->shift ? 1 : 2;
						int rx = x < W - s ? 0 : x < W - o->shift ? 1 : 2;

						region[i] = o->shift > 0 ? ry * 3 + rx : 0;
						place[i] = ((size_t) p * H + (y + o->shift) % H) * W +
								   (x + o->shift) % W;
						for (int j = 0; j < 3; j++)
							for (int k = 0; k < w; k++)
								qkv[(i * 3 + j) * w + k] =
									d->in[0][place[i] * 3 * C + j * C + h * w + k];
					}
					for (int i = 0; i < t; i++)
						for (int j = 0; j < t; j++)
						{
							int row = (i / s - j / s + s - 1) * (2 * s - 1) + i % s -
									  j % s + s - 1;

							add[i * t + j] = d->param[0][row * o->heads + h] +
											 (region[i] == region[j] ? 0 : -100);
						}
					double_head(qkv, qkv + w, qkv + 2 * w, 3 * w, t, w, add, out, w);
					for (int i = 0; i < t; i++)
						for (int k = 0; k < w; k++)
							d->out[place[i] * C + h * w + k] = out[i * w + k];
				}
}

/* Mean and biased variance of n values `step` apart. */
static inline void
double_moments(const double *x, size_t n, size_t step, double *mean, double *var)
{
	*mean = *var = 0;
	for (size_t i = 0; i < n; i++)
		*mean += x[i * step] / (double) n;
	for (size_t i = 0; i < n; i++)
		*var += (x[i * step] - *mean) * (x[i * step] - *mean) / (double) n;
}

static inline void
double_norm(const Double *d, size_t rows, size_t cols)
{
	bool batch = d->node->kind == NN_BATCHNORM;
	double mean, var;

	for (size_t k = 0; k < (batch ? cols : rows); k++)
	{
		size_t n = batch ? rows : cols, step = batch ? cols : 1;
		const double *x = d->in[0] + k * (batch ? 1 : cols);

		double_moments(x, n, step, &mean, &var);
		for (size_t i = 0; i < n; i++)
		{
			size_t c = batch ? k : i;

			d->out[k * (batch ? 1 : cols) + i * step] =
				(x[i * step] - mean) / sqrt(var + d->node->eps) * d->param[0][c] +
				d->param[1][c];
		}
	}
}

/* Index of dimension `axis` of place k of a shape, and k without it. */
static inline size_t
double_part(const NnShape *shape, int axis, size_t k, size_t *before, size_t *after)
{
	size_t inner = 1;

	for (int i = axis + 1; i < shape->ndim; i++)
		inner *= (size_t) shape->dim[i];
	*after = k % inner;
	*before = k / inner / (size_t) shape->dim[axis];
	return k / inner % (size_t) shape->dim[axis];
}

/* Place in a shape by those three. */
static inline size_t
double_place(const NnShape *shape, int axis, size_t before, size_t i, size_t after)
{
	size_t inner = 1;

	for (int k = axis + 1; k < shape->ndim; k++)
		inner *= (size_t) shape->dim[k];
	return (before * (size_t) shape->dim[axis] + i) * inner + after;
}

static inline double
double_upsampled(const Double *d, const NnShape *in, size_t p, int y, int x, int c)
{
	int f = d->node->factor;
	double sum = 0;

	for (int Y = 0; Y < in->dim[0]; Y++)
		for (int X = 0; X < in->dim[1]; X++)
		{
			double v = d->in[0][((p * in->dim[0] + Y) * in->dim[1] + X) * in->dim[2] + c];
			/* Distances of pixel centres, those beyond the edge drawn to it. */
			double cy = fmin(fmax((y + 0.5) / f - 0.5, 0), in->dim[0] - 1) - Y;
			double cx = fmin(fmax((x + 0.5) / f - 0.5, 0), in->dim[1] - 1) - X;

			if (!d->node->bilinear)
				sum += y / f == Y && x / f == X ? v : 0;
			else
				sum += v * fmax(0, 1 - fabs(cy)) * fmax(0, 1 - fabs(cx));
		}
	return sum;
}

static inline void
double_simam(const Double *d)
{
	const NnShape *s = &d->node->shape;
	size_t n = nn_shape_rows(s), c = (size_t) nn_shape_cols(s);

	for (int p = 0; p < d->n; p++)
		for (size_t k = 0; k < c; k++)
		{
			const double *x = d->in[0] + p * n * c + k;
			double mean, var;

			double_moments(x, n, c, &mean, &var);
			/* a single place has no variance */
			var = n > 1 ? var * (double) n / (double) (n - 1) : 0;
			for (size_t i = 0; i < n; i++)
			{
				double e =
					(x[i * c] - mean) * (x[i * c] - mean) / (4 * (var + d->node->eps)) +
					0.5;

				d->out[p * n * c + i * c + k] = x[i * c] / (1 + exp(-e));
			}
		}
}

/* Output place k of picture p of the operations that treat values one by one. */
static inline double
double_value(const Double *d, int p, size_t k, size_t size)
{
	const NnNode *o = d->node;
	const NnShape *in = double_shape(d, 0), *out = &o->shape;
	const double *a = d->in[0] + p * nn_shape_size(in);
	int cols = nn_shape_cols(out);
	uint64_t random =
		nn_random(d->seed, (int) (o - d->g->node), d->first + p, o->whole ? 0 : k);
	size_t before, after, i, at = 0;
	double sum = 0;

	switch (o->kind)
	{
		case NN_ACTIVATION:
			return ref_activation(o->activation, a[k]);
		case NN_ADD:
			return a[k] + d->in[1][p * size + k];
		case NN_MUL:
			return a[k] * d->in[1][p * size + k];
		case NN_RESHAPE:
			return a[k];
		case NN_SCALE:
			return a[k] * o->scale;
		case NN_POSITION:
			return a[k] + d->param[0][k];
		case NN_LAYERSCALE:
			return a[k] * d->param[0][k % (size_t) cols];
		case NN_CLASS_TOKEN:
			return k < (size_t) cols ? d->param[0][k] : a[k - cols];
		case NN_TOKEN:
			return a[(size_t) o->index * cols + k];
		case NN_DROPOUT:
			return nn_random_uniform(random) < o->rate ? 0
													   : a[k] / (1 - (double) o->rate);
		case NN_REPARAMETERISE:
			return a[k] +
				   exp(d->in[1][p * size + k] / 2) * (double) nn_random_normal(random);
		case NN_GLOBAL_AVGPOOL:
			for (size_t r = 0; r < nn_shape_rows(in); r++)
				sum += a[r * cols + k] / (double) nn_shape_rows(in);
			return sum;
		case NN_SOFTMAX:
			for (int c = 0; c < cols; c++)
				sum += exp(a[k / cols * cols + c] - a[k]);
			return 1 / sum;
		case NN_LINEAR:
			cols = nn_shape_cols(in);
			for (int c = 0; c < cols; c++)
				sum += a[k / (size_t) o->channels * cols + c] *
					   d->param[0][k % (size_t) o->channels * cols + c];
			return sum + (d->param[1] ? d->param[1][k % (size_t) o->channels] : 0);
		case NN_EMBEDDING:
			return d->param[0][(size_t) a[k / cols] * cols + k % cols];
		case NN_SLICE:
			i = double_part(out, o->axis, k, &before, &after);
			return a[double_place(in, o->axis, before, i + o->index, after)];
		case NN_CONCAT:
			i = double_part(out, o->axis, k, &before, &after);
			for (int j = 0;; i -= (size_t) double_shape(d, j++)->dim[o->axis])
				if (i < (size_t) double_shape(d, j)->dim[o->axis])
					return d->in[j][p * nn_shape_size(double_shape(d, j)) +
									double_place(double_shape(d, j), o->axis, before, i,
												 after)];
		case NN_REDUCE:
			i = 1;
			for (int j = o->axis + 1; j < in->ndim; j++)
				i *= (size_t) in->dim[j];
			for (int j = 0; j < in->dim[o->axis]; j++)
				sum += a[double_place(in, o->axis, k / i, j, k % i)];
			return o->mean_of ? sum / in->dim[o->axis] : sum;
		case NN_PERMUTE:
			/* The place in the input that each index of the output's has. */
			for (int j = 0; j < in->ndim; j++)
			{
				int of = 0;

				while (o->perm[of] != j)
					of++;
				i = double_part(out, of, k, &before, &after);
				at = at * (size_t) in->dim[j] + i;
			}
			return a[at];
		case NN_UPSAMPLE:
			return double_upsampled(d, in, (size_t) p,
									(int) (k / (size_t) (out->dim[1] * out->dim[2])),
									(int) (k / (size_t) out->dim[2]) % out->dim[1],
									(int) (k % (size_t) out->dim[2]));
		default:
			fail_msg("%s has no reference in double", nn_op_name(o->kind));
			return 0;
	}
}

static inline void
double_forward(const Double *d)
{
	const NnShape *out = &d->node->shape;
	size_t size = nn_shape_size(out);
	int t = out->dim[0], cols = nn_shape_cols(out);

	switch (d->node->kind)
	{
		case NN_CONV2D:
		case NN_CONV_TRANSPOSE2D:
			double_conv(d, d->node->kind == NN_CONV_TRANSPOSE2D);
			break;
		case NN_MAXPOOL:
		case NN_AVGPOOL:
			double_pool(d);
			break;
		case NN_BATCHNORM:
		case NN_LAYERNORM:
			double_norm(d, d->n * nn_shape_rows(out), (size_t) cols);
			break;
		case NN_ATTENTION:
			for (int i = 0; i < d->n * d->node->heads; i++)
			{
				int p = i / d->node->heads, w = cols / d->node->heads;
				size_t at = (size_t) (i % d->node->heads) * w;
				const double *q = d->in[0] + (size_t) p * t * 3 * cols + at;

				double_head(q, q + cols, q + 2 * cols, 3 * (size_t) cols, t, w, NULL,
							d->out + (size_t) p * t * cols + at, (size_t) cols);
			}
			break;
		case NN_WINDOW_ATTENTION:
			double_windows(d);
			break;
		case NN_SIMAM:
			double_simam(d);
			break;
		default:
			for (int p = 0; p < d->n; p++)
				for (size_t k = 0; k < size; k++)
					d->out[p * size + k] = double_value(d, p, k, size);
	}
}

#endif
