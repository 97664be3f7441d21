/*
 * fuzz_model.c
 *	  libFuzzer target: any bytes as a model file, as its header, or as its graph.
 *
 * The first byte chooses which.  A header gets its length in front and as many
 * zero bytes of data behind as the second byte says.  What is accepted and small is
 * run once.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nn/device.h"
#include "nn/model.h"
#include "nn/model_graph.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST_VALUES 100000 /* of all activations, to be run */

static void
run_if_small(const NnGraph *g)
{
	size_t values = 0, weights = nn_graph_weights(g);
	uint8_t *image;
	float *out;
	NnNet *net;
	NnError err;

	for (int i = 0; i < g->nnodes; i++)
		values += nn_shape_size(&g->node[i].shape);
	if (values > MOST_VALUES || weights > MOST_VALUES)
		return;
	net = nn_cpu_device.load(g, 1, 1, &err);
	if (net == NULL)
		return;
	image = calloc(1, nn_shape_size(&g->node[0].shape));
	out = malloc(nn_shape_size(&nn_graph_output(g)->shape) * sizeof(float));
	if (!nn_cpu_device.run(net, image, 1, out, &err))
		abort();
	nn_cpu_device.unload(net);
	free(image);
	free(out);
}

static void
try_file(const uint8_t *data, size_t size)
{
	static int fd = -1;
	NnError err = {""};
	NnModel *model;

	if (fd < 0)
		fd = memfd_create("model", MFD_CLOEXEC);
	if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t) size)
		abort();
	model = nn_model_open_fd(fd, &err);
	if (model == NULL)
	{
		if (err.text[0] == '\0')
			abort();
		return;
	}
	run_if_small(&model->graph);
	free(nn_model_describe(model));
	nn_model_close(model);
}

static void
try_header(const uint8_t *data, size_t size)
{
	size_t zeros = size > 0 ? data[0] * sizeof(float) : 0;
	size_t padded;
	uint8_t *file;

	if (size > 0)
	{
		data++;
		size--;
	}
	padded = (size + 7) / 8 * 8;
	file = calloc(1, 8 + padded + zeros);
	for (int i = 0; i < 8; i++)
		file[i] = (uint8_t) (padded >> (8 * i));
	memset(file + 8, ' ', padded);
	memcpy(file + 8, data, size);
	try_file(file, 8 + padded + zeros);
	free(file);
}

static void
try_graph(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	NnGraph *g = nn_graph_new();
	NnError err = {""};

	memcpy(text, data, size);
	text[size] = '\0';
	/* parameters are never allocated for a file, so sizes cannot hurt here */
	g->borrows_data = true;
	if (!nn_graph_from_json(text, g, &err) && err.text[0] == '\0')
		abort();
	nn_graph_free(g);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int choice = size > 0 ? data[0] % 3 : 0;

	if (size > 0)
	{
		data++;
		size--;
	}
	if (choice == 0)
		try_file(data, size);
	else if (choice == 1)
		try_header(data, size);
	else
		try_graph(data, size);
	return 0;
}
