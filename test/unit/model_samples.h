/*
 * model_samples.h
 *	  A small model file with nodes of many kinds, and files in memory that are nearly
 *	  one.
 */
#ifndef MODEL_SAMPLES_H
#define MODEL_SAMPLES_H

#include "test_nn_reference.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nn/device.h"
#include "nn/model.h"
#include "nn/safetensors.h"

static char folder[] = "/tmp/deephash-model-XXXXXX";
static char path[64];
static int other; /* a file in memory that the damaged models go through */

static inline int
make_folder(void **state)
{
	(void) state;
	if (mkdtemp(folder) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/m.safetensors", folder);
	other = memfd_create("model", MFD_CLOEXEC);
	return other < 0 ? -1 : 0;
}

static inline int
remove_folder(void **state)
{
	(void) state;
	unlink(path);
	close(other);
	/* fails, and with it the test, if a temporary file was left behind */
	return rmdir(folder);
}

static const float test_mean[3] = {0.49f, 0.48f, 0.45f};
static const float test_std[3] = {0.25f, 0.24f, 0.26f};

static inline NnGraph *
network(void)
{
	uint64_t s = 9;
	NnGraph *g = nn_graph_new();
	NnShape tokens = {2, {2, 6, 0, 0}};
	int x = nn_input(g, 4, 4, test_mean, test_std), y;

	x = nn_conv2d(g, x, "conv", 6, 3, 2, 2, 1, 3, true, NN_GELU);
	x = nn_maxpool(g, x, 2, 1, 1);
	x = nn_avgpool(g, x, 2, 1, 0);
	x = nn_maxpool(g, x, 1, 1, 0);
	y = nn_batchnorm(g, x, "bn", 1e-5f);
	x = nn_add(g, x, y);
	x = nn_activation(g, x, NN_RELU6);
	x = nn_conv2d(g, x, "grow", 6, 2, 2, 1, 1, 1, false, NN_IDENTITY);
	x = nn_maxpool(g, x, 2, 2, 0);
	x = nn_reshape(g, x, &tokens);
	x = nn_class_token(g, x, "cls");
	x = nn_position(g, x, "pos");
	x = nn_layernorm(g, x, "ln", 1e-6f);
	x = nn_linear(g, x, "qkv", 18, true, NN_IDENTITY);
	x = nn_attention(g, x, 3);
	x = nn_token(g, x, 1);
	x = nn_softmax(g, x);
	x = nn_linear(g, x, "hash", 5, false, NN_TANH);
	nn_scale(g, x, 0.7f);
	test_fill_params(g, &s);
	return g;
}

static const float thresholds[5] = {0.1f, -0.2f, 0, 3, 1e-20f};

static inline void
write_model(const char *to, const NnGraph *g)
{
	NnModelInfo info = {.architecture = "test-5",
						.bits = 5,
						.width = 4,
						.height = 4,
						.resize = 6,
						.area_filter = true,
						.provenance = "{\"seed\":7,\"note\":\"caf\xc3\xa9\"}",
						.metrics = "{\"map\":0.5}"};
	NnError err;

	if (!nn_model_write(to, &info, g, thresholds, &err))
		fail_msg("%s", err.text);
}

typedef struct File
{
	size_t size;
	unsigned char *bytes;
} File;

static inline File
read_file(const char *from)
{
	File f;
	struct stat st;
	int fd = open(from, O_RDONLY);

	assert_int_equal(fstat(fd, &st), 0);
	f.size = (size_t) st.st_size;
	f.bytes = malloc(f.size + 1);
	assert_int_equal(read(fd, f.bytes, f.size), (ssize_t) f.size);
	close(fd);
	return f;
}

static inline void
write_file(int to, const void *bytes, size_t size)
{
	assert_int_equal(ftruncate(to, 0), 0);
	assert_int_equal(pwrite(to, bytes, size, 0), (ssize_t) size);
}

/* Opens or refuses with a text; what opens is whole enough to be run. */
static inline bool
try_open(int what, NnError *err)
{
	NnModel *model;

	memset(err, 0, sizeof(*err));
	model = nn_model_open_fd(what, err);
	if (model == NULL)
	{
		assert_true(strlen(err->text) > 10);
		return false;
	}
	if (nn_graph_weights(&model->graph) < 100000)
	{
		NnNet *net = nn_cpu_device.load(&model->graph, 1, 1, err);
		size_t picture = nn_shape_size(&model->graph.node[0].shape);
		float *out = malloc((size_t) model->info.bits * sizeof(float));
		uint8_t *image = calloc(1, picture);

		assert_non_null(net);
		assert_true(nn_cpu_device.run(net, image, 1, out, err));
		nn_cpu_device.unload(net);
		free(image);
		free(out);
	}
	free(nn_model_describe(model));
	nn_model_close(model);
	return true;
}

#endif
