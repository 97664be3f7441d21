/*
 * pretrained.h
 *	  Networks trained by others and outputs of theirs computed elsewhere, from the
 *	  developers' data (DEEPHASH_DATA); tests skip where they are not.
 */
#ifndef TEST_PRETRAINED_H
#define TEST_PRETRAINED_H

#include "test_nn_reference.h"

#include <unistd.h>

#include "nn/safetensors.h"

#define TOLERANCE 1e-3 /* of the largest value, as the references promise */

static char data_folder[512];
static NnSafetensors reference;

static inline bool
data_path(const char *file, char *path, size_t size)
{
	snprintf(path, size, "%s/%s", data_folder, file);
	return access(path, R_OK) == 0;
}

static inline int
find_data(void **state)
{
	const char *folder = getenv("DEEPHASH_DATA");
	char path[600];
	NnError err;

	(void) state;
	snprintf(data_folder, sizeof(data_folder), "%s", folder ? folder : "../shared/data");
	if (!data_path("reference_outputs.safetensors", path, sizeof(path)))
		return 0;
	if (!nn_safetensors_open(path, &reference, &err))
	{
		print_error("%s\n", err.text);
		return -1;
	}
	return 0;
}

static inline int
close_data(void **state)
{
	(void) state;
	nn_safetensors_close(&reference);
	return 0;
}

/* The made input of the references, channels last. */
static inline float *
made_input(void)
{
	float *x = malloc(sizeof(float) * 3 * 224 * 224);

	for (uint32_t c = 0; c < 3; c++)
		for (uint32_t p = 0; p < 224 * 224; p++)
		{
			uint32_t i = c * 224 * 224 + p;

			x[p * 3 + c] = (float) ((i * 2654435761u) >> 8) / 16777216.0f * 4.0f - 2.0f;
		}
	return x;
}

/* Outputs of all nodes; the input node's are given. */
static inline float **
run_graph(const NnGraph *g, float *input, NnPool *pool)
{
	float **out = calloc((size_t) g->nnodes, sizeof(*out));

	out[0] = input;
	for (int i = 1; i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];
		const NnOp *op = &nn_op[node->kind];
		size_t scratch = op->scratch ? op->scratch(g, node, 1, nn_pool_threads(pool)) : 0;
		size_t size = nn_shape_size(&node->shape);
		NnCall call = {.graph = g, .node = node, .n = 1, .pool = pool};

		out[i] = aligned_alloc(64, (size * sizeof(float) + 63) & ~(size_t) 63);
		call.out = out[i];
		call.scratch = aligned_alloc(64, (scratch * sizeof(float) + 64) & ~(size_t) 63);
		for (int k = 0; k < node->ninputs; k++)
			call.in[k] = out[node->input[k]];
		for (int p = 0; p < node->nparams; p++)
			call.param[p] = node->param[p] >= 0 ? g->param[node->param[p]].data : NULL;
		op->forward(&call);
		free(call.scratch);
	}
	return out;
}

static inline void
compare(const char *name, const float *got, size_t n)
{
	const NnTensor *t = nn_safetensors_find(&reference, name);
	double far = 0, top = 0;

	assert_non_null(t);
	assert_int_equal(nn_tensor_values(t), n);
	for (size_t i = 0; i < n; i++)
	{
		double d = fabs((double) got[i] - t->data[i]);

		far = d > far || isnan(d) ? d : far;
		top = fabs(t->data[i]) > top ? fabs(t->data[i]) : top;
	}
	print_message("%s: off by %.2g of the largest value\n", name, far / top);
	assert_true(far <= TOLERANCE * top);
}

#endif
