/*
 * kernels.cu
 *	  The op set's kernels but for matrix products, which are cuBLAS's.
 *
 * Simple on purpose: one thread per output element, or one block per row where a
 * row is reduced.  All of them are bound by memory, and neighbouring threads
 * touch neighbouring channels.  Sums run in the same order every time.
 */
#include "kernels.cuh"

#define THREADS 256
#define MOST_BLOCKS 65535

/* Enough blocks for count elements; kernels loop over the rest. */
static unsigned
blocks_for(size_t count)
{
	size_t blocks = (count + THREADS - 1) / THREADS;

	return (unsigned) (blocks < 1 ? 1 : blocks > MOST_BLOCKS ? MOST_BLOCKS : blocks);
}

#define FOR_EACH(i, count)                                                               \
	for (size_t i = (size_t) blockIdx.x * blockDim.x + threadIdx.x; i < (count);         \
		 i += (size_t) gridDim.x * blockDim.x)

__device__ static float
act_of(NnActivation act, float x)
{
	switch (act)
	{
		case NN_RELU:
			return x < 0.0f ? 0.0f : x; /* keeps NaN */
		case NN_RELU6:
			return x < 0.0f ? 0.0f : x > 6.0f ? 6.0f : x;
		case NN_LEAKY_RELU:
			return x < 0.0f ? 0.01f * x : x;
		case NN_GELU:
			/* as on the CPU minus infinity gives nothing, not NaN; NaN stays */
			return (x < -14.0f ? -14.0f : x) * normcdff(x);
		case NN_SILU:
			return (x < -87.0f ? -87.0f : x) / (1.0f + expf(-x));
		case NN_TANH:
			return tanhf(x);
		case NN_SIGMOID:
			return 1.0f / (1.0f + expf(-x));
		default:
			return x;
	}
}

/* -------------------------------------------------------------- elementwise */

struct Triple
{
	float v[3];
};

__global__ static void
input_kernel(const uint8_t *x, float *y, size_t count, Triple mean, Triple std)
{
	FOR_EACH(i, count)
	{
		int c = (int) (i % 3);

		y[i] = ((float) x[i] / 255.0f - mean.v[c]) / std.v[c];
	}
}

void
gpu_input(cudaStream_t s, const uint8_t *x, float *y, size_t count, const float mean[3],
		  const float std[3])
{
	Triple m, d;

	for (int c = 0; c < 3; c++)
	{
		m.v[c] = mean[c];
		d.v[c] = std[c];
	}
	input_kernel<<<blocks_for(count), THREADS, 0, s>>>(x, y, count, m, d);
}

__global__ static void
bias_activate_kernel(float *y, size_t count, int cols, const float *bias,
					 NnActivation act)
{
	FOR_EACH(i, count)
	y[i] = act_of(act, y[i] + (bias ? bias[i % (size_t) cols] : 0.0f));
}

void
gpu_bias_activate(cudaStream_t s, float *y, size_t count, int cols, const float *bias,
				  NnActivation act)
{
	if (bias == NULL && act == NN_IDENTITY)
		return;
	bias_activate_kernel<<<blocks_for(count), THREADS, 0, s>>>(y, count, cols, bias, act);
}

__global__ static void
activate_kernel(const float *x, float *y, size_t count, NnActivation act)
{
	FOR_EACH(i, count)
	y[i] = act_of(act, x[i]);
}

void
gpu_activate(cudaStream_t s, const float *x, float *y, size_t count, NnActivation act)
{
	activate_kernel<<<blocks_for(count), THREADS, 0, s>>>(x, y, count, act);
}

__global__ static void
affine_kernel(const float *x, float *y, size_t count, int cols, const float *factor,
			  const float *shift)
{
	FOR_EACH(i, count)
	{
		size_t c = i % (size_t) cols;

		y[i] = x[i] * factor[c] + shift[c];
	}
}

void
gpu_affine(cudaStream_t s, const float *x, float *y, size_t count, int cols,
		   const float *factor, const float *shift)
{
	affine_kernel<<<blocks_for(count), THREADS, 0, s>>>(x, y, count, cols, factor, shift);
}

__global__ static void
add_kernel(const float *a, const float *b, float *y, size_t count, size_t size)
{
	FOR_EACH(i, count)
	y[i] = a[i] + b[i % size];
}

void
gpu_add(cudaStream_t s, const float *a, const float *b, float *y, size_t count)
{
	add_kernel<<<blocks_for(count), THREADS, 0, s>>>(a, b, y, count, count);
}

void
gpu_add_repeated(cudaStream_t s, const float *x, const float *p, float *y, size_t count,
				 size_t size)
{
	add_kernel<<<blocks_for(count), THREADS, 0, s>>>(x, p, y, count, size);
}

__global__ static void
scale_kernel(const float *x, float *y, size_t count, float factor)
{
	FOR_EACH(i, count)
	y[i] = x[i] * factor;
}

void
gpu_scale(cudaStream_t s, const float *x, float *y, size_t count, float factor)
{
	scale_kernel<<<blocks_for(count), THREADS, 0, s>>>(x, y, count, factor);
}

__global__ static void
class_token_kernel(const float *x, const float *token, float *y, size_t count, size_t dim,
				   size_t picture)
{
	FOR_EACH(i, count)
	{
		size_t within = i % picture;

		y[i] = within < dim ? token[within] : x[i - (i / picture + 1) * dim];
	}
}

void
gpu_class_token(cudaStream_t s, const float *x, const float *token, float *y, int n,
				int tokens, int dim)
{
	size_t picture = (size_t) (tokens + 1) * (size_t) dim;
	size_t count = (size_t) n * picture;

	class_token_kernel<<<blocks_for(count), THREADS, 0, s>>>(x, token, y, count,
															 (size_t) dim, picture);
}

__global__ static void
token_kernel(const float *x, float *y, size_t count, size_t dim, size_t picture,
			 size_t offset)
{
	FOR_EACH(i, count)
	y[i] = x[i / dim * picture + offset + i % dim];
}

void
gpu_token(cudaStream_t s, const float *x, float *y, int n, int tokens, int dim, int index)
{
	size_t count = (size_t) n * (size_t) dim;

	token_kernel<<<blocks_for(count), THREADS, 0, s>>>(x, y, count, (size_t) dim,
													   (size_t) tokens * (size_t) dim,
													   (size_t) index * (size_t) dim);
}

/* ------------------------------------------------------------------ windows */

/* One thread per matrix element; threads of a warp share a tap. */
__global__ static void
im2col_kernel(const float *x, Window w, int first, int group, size_t row, size_t count,
			  float *matrix)
{
	size_t taps = (size_t) w.kernel[0] * w.kernel[1];
	size_t area = (size_t) w.out_height * w.out_width;

	FOR_EACH(i, count)
	{
		int c = (int) (i % (size_t) group);
		int tap = (int) (i / (size_t) group % taps);
		size_t position = row + i / (size_t) group / taps;
		size_t picture = position / area;
		int at = (int) (position % area);
		int y = at / w.out_width * w.stride[0] - w.pad[0] + tap / w.kernel[1];
		int z = at % w.out_width * w.stride[1] - w.pad[1] + tap % w.kernel[1];
		bool inside = y >= 0 && y < w.height && z >= 0 && z < w.width;

		matrix[i] =
			inside ? x[((picture * w.height + y) * w.width + z) * w.channels + first + c]
				   : 0.0f;
	}
}

void
gpu_im2col(cudaStream_t s, const float *x, const Window &w, int first, int group,
		   size_t row, size_t rows, float *matrix)
{
	size_t count = rows * (size_t) w.kernel[0] * w.kernel[1] * (size_t) group;

	im2col_kernel<<<blocks_for(count), THREADS, 0, s>>>(x, w, first, group, row, count,
														matrix);
}

/* Where output element i lies, and its window clipped to the picture. */
struct Place
{
	const float *picture; /* at channel c of the first pixel */
	int c;
	int y0, x0;			/* corner of the window, maybe outside */
	int y_begin, y_end; /* rows inside */
	int x_begin, x_end;
};

__device__ static Place
place_of(const float *x, const Window &w, size_t i)
{
	Place p;
	size_t rest = i / (size_t) w.channels;
	int ox = (int) (rest % (size_t) w.out_width);
	int oy = (int) (rest / (size_t) w.out_width % (size_t) w.out_height);
	size_t n = rest / (size_t) w.out_width / (size_t) w.out_height;

	p.c = (int) (i % (size_t) w.channels);
	p.picture = x + n * w.height * w.width * w.channels + p.c;
	p.y0 = oy * w.stride[0] - w.pad[0];
	p.x0 = ox * w.stride[1] - w.pad[1];
	p.y_begin = max(p.y0, 0);
	p.x_begin = max(p.x0, 0);
	p.y_end = min(p.y0 + w.kernel[0], w.height);
	p.x_end = min(p.x0 + w.kernel[1], w.width);
	return p;
}

__global__ static void
depthwise_kernel(const float *x, Window w, size_t count, const float *weight, float *out)
{
	FOR_EACH(i, count)
	{
		Place p = place_of(x, w, i);
		float sum = 0;

		for (int y = p.y_begin; y < p.y_end; y++)
			for (int z = p.x_begin; z < p.x_end; z++)
			{
				int tap = (y - p.y0) * w.kernel[1] + z - p.x0;

				sum += p.picture[((size_t) y * w.width + z) * w.channels] *
					   weight[(size_t) tap * w.channels + p.c];
			}
		out[i] = sum;
	}
}

void
gpu_depthwise(cudaStream_t s, const float *x, const Window &w, int n, const float *weight,
			  float *y)
{
	size_t count = (size_t) n * w.out_height * w.out_width * w.channels;

	depthwise_kernel<<<blocks_for(count), THREADS, 0, s>>>(x, w, count, weight, y);
}

__global__ static void
pool_kernel(const float *x, Window w, size_t count, bool average, float *out)
{
	FOR_EACH(i, count)
	{
		Place p = place_of(x, w, i);
		float sum = 0;
		float top = p.picture[((size_t) p.y_begin * w.width + p.x_begin) * w.channels];

		for (int y = p.y_begin; y < p.y_end; y++)
			for (int z = p.x_begin; z < p.x_end; z++)
			{
				float v = p.picture[((size_t) y * w.width + z) * w.channels];

				sum += v;
				top = v > top || isnan(v) ? v : top;
			}
		out[i] = average ? sum / (float) (w.kernel[0] * w.kernel[1]) : top;
	}
}

void
gpu_pool(cudaStream_t s, const float *x, const Window &w, int n, bool average, float *y)
{
	size_t count = (size_t) n * w.out_height * w.out_width * w.channels;

	pool_kernel<<<blocks_for(count), THREADS, 0, s>>>(x, w, count, average, y);
}

__global__ static void
global_avgpool_kernel(const float *x, size_t count, size_t area, size_t channels,
					  float *y)
{
	FOR_EACH(i, count)
	{
		const float *from = x + i / channels * area * channels + i % channels;
		float sum = 0;

		for (size_t p = 0; p < area; p++)
			sum += from[p * channels];
		y[i] = sum / (float) area;
	}
}

void
gpu_global_avgpool(cudaStream_t s, const float *x, int n, int area, int channels,
				   float *y)
{
	size_t count = (size_t) n * (size_t) channels;

	global_avgpool_kernel<<<blocks_for(count), THREADS, 0, s>>>(x, count, (size_t) area,
																(size_t) channels, y);
}

/* --------------------------------------------------------------------- rows */

#define ROW_THREADS 128

/* Sum (or maximum) over a block of ROW_THREADS; every thread gets the result. */
template <bool MAXIMUM>
__device__ static float
block_reduce(float v)
{
	__shared__ float shared[ROW_THREADS];

	__syncthreads(); /* an earlier reduction may still be read */
	shared[threadIdx.x] = v;
	for (int half = ROW_THREADS / 2; half > 0; half /= 2)
	{
		__syncthreads();
		if ((int) threadIdx.x < half)
		{
			float other = shared[threadIdx.x + half];

			if (MAXIMUM)
				shared[threadIdx.x] = fmaxf(shared[threadIdx.x], other);
			else
				shared[threadIdx.x] += other;
		}
	}
	__syncthreads();
	return shared[0];
}

/* Two passes, relative to the row's first value, as on the CPU. */
__global__ static void
layernorm_kernel(const float *x, float *y, size_t rows, int cols, const float *weight,
				 const float *bias, float eps)
{
	for (size_t r = blockIdx.x; r < rows; r += gridDim.x)
	{
		const float *from = x + r * (size_t) cols;
		float *to = y + r * (size_t) cols;
		float first = from[0], mean, rstd, sum = 0;

		for (int c = (int) threadIdx.x; c < cols; c += ROW_THREADS)
			sum += from[c] - first;
		mean = first + block_reduce<false>(sum) / (float) cols;
		sum = 0;
		for (int c = (int) threadIdx.x; c < cols; c += ROW_THREADS)
			sum += (from[c] - mean) * (from[c] - mean);
		rstd = 1.0f / sqrtf(block_reduce<false>(sum) / (float) cols + eps);
		for (int c = (int) threadIdx.x; c < cols; c += ROW_THREADS)
			to[c] = (from[c] - mean) * rstd * weight[c] + bias[c];
	}
}

static unsigned
row_blocks(size_t rows)
{
	return (unsigned) (rows > MOST_BLOCKS ? MOST_BLOCKS : rows);
}

void
gpu_layernorm(cudaStream_t s, const float *x, float *y, size_t rows, int cols,
			  const float *weight, const float *bias, float eps)
{
	layernorm_kernel<<<row_blocks(rows), ROW_THREADS, 0, s>>>(x, y, rows, cols, weight,
															  bias, eps);
}

__global__ static void
softmax_kernel(const float *x, float *y, size_t rows, int cols, float factor)
{
	for (size_t r = blockIdx.x; r < rows; r += gridDim.x)
	{
		const float *from = x + r * (size_t) cols;
		float *to = y + r * (size_t) cols;
		float top = -INFINITY, sum = 0;

		for (int c = (int) threadIdx.x; c < cols; c += ROW_THREADS)
			top = fmaxf(top, from[c] * factor);
		top = block_reduce<true>(top);
		for (int c = (int) threadIdx.x; c < cols; c += ROW_THREADS)
		{
			float e = expf(from[c] * factor - top);

			to[c] = e;
			sum += e;
		}
		sum = 1.0f / block_reduce<false>(sum);
		for (int c = (int) threadIdx.x; c < cols; c += ROW_THREADS)
			to[c] *= sum;
	}
}

void
gpu_softmax(cudaStream_t s, const float *x, float *y, size_t rows, int cols, float factor)
{
	softmax_kernel<<<row_blocks(rows), ROW_THREADS, 0, s>>>(x, y, rows, cols, factor);
}

cudaError_t
gpu_kernels_usable(void)
{
	cudaFuncAttributes attributes;

	return cudaFuncGetAttributes(&attributes, softmax_kernel);
}
