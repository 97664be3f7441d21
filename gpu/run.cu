/*
 * run.cu
 *	  Running a network on the GPU: nodes in their order, one stream, no allocation.
 */
#include <math.h>
#include <stdio.h>

#include "net.cuh"

/*
 * y[rows][outputs] (rows apart by stride) = x[rows][depth] w[outputs][depth]^T.
 * cuBLAS counts columns first, so it is told y^T = w x^T.
 */
static bool
multiply(NnNet *net, const float *x, const float *w, float *y, size_t rows, int depth,
		 int outputs, int stride)
{
	const float one = 1, zero = 0;

	net->blas_status =
		cublasSgemm(net->blas, CUBLAS_OP_T, CUBLAS_OP_N, outputs, (int) rows, depth, &one,
					w, depth, x, depth, &zero, y, stride);
	return net->blas_status == CUBLAS_STATUS_SUCCESS;
}

static bool
run_conv(NnNet *net, const Step *step, int n)
{
	const NnNode *node = step->node;
	Window w = window_of(net->graph, node);
	size_t all = (size_t) n * w.out_height * w.out_width;
	int depth = (int) conv_depth(net->graph, node);
	int group_in = w.channels / node->groups, group_out = node->channels / node->groups;
	bool ok = true;

	if (is_depthwise(node, input_shape(net->graph, node)))
		gpu_depthwise(net->stream, step->in[0], w, n, step->weight, step->out);
	else if (is_pointwise(node))
		ok = multiply(net, step->in[0], step->weight, step->out, all, depth,
					  node->channels, node->channels);
	else
	{
		size_t most = matrix_rows(net, node, (size_t) depth);

		for (size_t row = 0; ok && row < all; row += most)
		{
			size_t rows = all - row < most ? all - row : most;

			for (int g = 0; ok && g < node->groups; g++)
			{
				gpu_im2col(net->stream, step->in[0], w, g * group_in, group_in, row, rows,
						   net->matrix);
				ok = multiply(net, net->matrix,
							  step->weight + (size_t) g * group_out * depth,
							  step->out + row * node->channels + (size_t) g * group_out,
							  rows, depth, group_out, node->channels);
			}
		}
	}
	gpu_bias_activate(net->stream, step->out, all * node->channels, node->channels,
					  step->param[1], node->activation);
	return ok;
}

static bool
run_linear(NnNet *net, const Step *step, int n)
{
	const NnNode *node = step->node;
	const NnShape *in = input_shape(net->graph, node);
	int depth = in->dim[in->ndim - 1];
	size_t rows = (size_t) n * nn_shape_size(in) / (size_t) depth;
	bool ok = multiply(net, step->in[0], step->param[0], step->out, rows, depth,
					   node->channels, node->channels);

	gpu_bias_activate(net->stream, step->out, rows * node->channels, node->channels,
					  step->param[1], node->activation);
	return ok;
}

/* Head by head over all pictures; probabilities are [heads][n][tokens][tokens]. */
static bool
run_attention(NnNet *net, const Step *step, int n)
{
	const float one = 1, zero = 0;
	int t = step->node->shape.dim[0], d = step->node->shape.dim[1];
	int heads = step->node->heads, width = d / heads;
	long long square = (long long) t * t, in_size = (long long) t * 3 * d;
	bool ok = true;

	for (int h = 0; ok && h < heads; h++)
	{
		const float *q = step->in[0] + h * width;

		net->blas_status = cublasSgemmStridedBatched(
			net->blas, CUBLAS_OP_T, CUBLAS_OP_N, t, t, width, &one, q + d, 3 * d, in_size,
			q, 3 * d, in_size, &zero, net->matrix + h * n * square, t, square, n);
		ok = net->blas_status == CUBLAS_STATUS_SUCCESS;
	}
	if (!ok)
		return false;
	gpu_softmax(net->stream, net->matrix, net->matrix, (size_t) heads * n * t, t,
				1.0f / sqrtf((float) width));
	for (int h = 0; ok && h < heads; h++)
	{
		const float *v = step->in[0] + 2 * d + h * width;

		net->blas_status = cublasSgemmStridedBatched(
			net->blas, CUBLAS_OP_N, CUBLAS_OP_N, width, t, t, &one, v, 3 * d, in_size,
			net->matrix + h * n * square, t, square, &zero, step->out + h * width, d,
			(long long) t * d, n);
		ok = net->blas_status == CUBLAS_STATUS_SUCCESS;
	}
	return ok;
}

/* Queue one node.  False: cuBLAS refused; CUDA's own errors are asked for later. */
static bool
run_step(NnNet *net, const Step *step, int n)
{
	const NnNode *node = step->node;
	const NnShape *out = &node->shape;
	const NnShape *in = node->ninputs ? input_shape(net->graph, node) : out;
	cudaStream_t s = net->stream;
	size_t size = nn_shape_size(out), count = (size_t) n * size;
	int cols = out->dim[out->ndim - 1];

	switch (node->kind)
	{
		case NN_INPUT:
			gpu_input(s, net->images, step->out, count, node->mean, node->std);
			break;
		case NN_CONV2D:
			return run_conv(net, step, n);
		case NN_LINEAR:
			return run_linear(net, step, n);
		case NN_BATCHNORM:
			gpu_affine(s, step->in[0], step->out, count, cols, step->weight,
					   step->weight + cols);
			break;
		case NN_LAYERNORM:
			gpu_layernorm(s, step->in[0], step->out, count / cols, cols, step->param[0],
						  step->param[1], node->eps);
			break;
		case NN_ACTIVATION:
			gpu_activate(s, step->in[0], step->out, count, node->activation);
			break;
		case NN_MAXPOOL:
		case NN_AVGPOOL:
			gpu_pool(s, step->in[0], window_of(net->graph, node), n,
					 node->kind == NN_AVGPOOL, step->out);
			break;
		case NN_GLOBAL_AVGPOOL:
			gpu_global_avgpool(s, step->in[0], n, in->dim[0] * in->dim[1], cols,
							   step->out);
			break;
		case NN_ADD:
			gpu_add(s, step->in[0], step->in[1], step->out, count);
			break;
		case NN_ATTENTION:
			return run_attention(net, step, n);
		case NN_SOFTMAX:
			gpu_softmax(s, step->in[0], step->out, count / cols, cols, 1.0f);
			break;
		case NN_RESHAPE:
			if (step->out != step->in[0])
				cudaMemcpyAsync(step->out, step->in[0], count * sizeof(float),
								cudaMemcpyDeviceToDevice, s);
			break;
		case NN_CLASS_TOKEN:
			gpu_class_token(s, step->in[0], step->param[0], step->out, n, in->dim[0],
							cols);
			break;
		case NN_POSITION:
			gpu_add_repeated(s, step->in[0], step->param[0], step->out, count, size);
			break;
		case NN_TOKEN:
			gpu_token(s, step->in[0], step->out, n, in->dim[0], cols, node->index);
			break;
		case NN_SCALE:
			gpu_scale(s, step->in[0], step->out, count, node->scale);
			break;
		default:
			net->blas_status = CUBLAS_STATUS_NOT_SUPPORTED; /* no such kind */
			return false;
	}
	return true;
}

/* "node 7 (conv2d "layer1.conv2", 32x32x64 -> 32x32x64)" */
static const char *
node_text(const NnNet *net, const NnNode *node, char *text, size_t size)
{
	char in[64] = "nothing", out[64];

	if (node->ninputs > 0)
		nn_shape_text(&net->graph->node[node->input[0]].shape, in, sizeof(in));
	snprintf(text, size, "node %d (%s \"%s\", %s -> %s)", (int) (node - net->graph->node),
			 nn_op_name(node->kind), node->name, in,
			 nn_shape_text(&node->shape, out, sizeof(out)));
	return text;
}

bool
cuda_run(NnNet *net, const uint8_t *images, int n, float *out, NnError *err)
{
	const NnGraph *g = net->graph;
	char text[256];

	if (n < 1 || n > net->max_batch)
		return nn_fail(err, "a batch of %d images: this network was loaded for 1 to %d",
					   n, net->max_batch);
	if (!cuda_ok(cudaSetDevice(net->device), err, "choosing the device") ||
		!cuda_ok(cudaMemcpyAsync(net->images, images,
								 (size_t) n * nn_shape_size(&g->node[0].shape),
								 cudaMemcpyHostToDevice, net->stream),
				 err, "copying pictures"))
		return false;
	for (size_t i = 0; i < net->step.size(); i++)
	{
		bool ok = run_step(net, &net->step[i], n);
		/* asked for always: a launch that failed inside cuBLAS must not come up later */
		cudaError_t code = cudaGetLastError();

		if (!ok)
			return nn_fail(err, "CUDA: cuBLAS failed at %s with a batch of %d: %s (%s)",
						   node_text(net, net->step[i].node, text, sizeof(text)), n,
						   cublasGetStatusString(net->blas_status),
						   cudaGetErrorString(code));
		if (code != cudaSuccess)
			return nn_fail(err, "CUDA: %s with a batch of %d: %s",
						   node_text(net, net->step[i].node, text, sizeof(text)), n,
						   cudaGetErrorString(code));
	}
	return cuda_ok(
			   cudaMemcpyAsync(out, net->result,
							   (size_t) n * nn_shape_size(&nn_graph_output(g)->shape) *
								   sizeof(float),
							   cudaMemcpyDeviceToHost, net->stream),
			   err, "copying results") &&
		   cuda_ok(cudaStreamSynchronize(net->stream), err, "running the network");
}
