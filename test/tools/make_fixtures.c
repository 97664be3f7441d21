/*
 * make_fixtures.c
 *	  Models with random weights from fixed seeds, and images, for the tests of the
 *	  encoder: make_fixtures DIRECTORY.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image/image.h"
#include "nn/graph.h"
#include "nn/model.h"

static const char *directory;

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "make_fixtures: %s: %s\n", what, why);
	exit(1);
}

static const char *
path_of(const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static void
write_file(const char *name, const void *data, size_t size)
{
	FILE *file = fopen(path_of(name), "wb");

	if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0)
		die(name, strerror(errno));
}

/* ------------------------------------------------------------------- models */

/* Uniform in [-1, 1); an LCG whose high bits are good enough for weights. */
static float
draw(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (float) (*state >> 40) / (float) (1 << 23) - 1.0f;
}

/* A network of side x side pictures: small, but with a convolution and a layer of codes.
 */
static void
make_model(const char *name, int bits, int side, uint64_t seed)
{
	static const float mean[3] = {0.5f, 0.5f, 0.5f};
	static const float std[3] = {0.25f, 0.25f, 0.25f};
	NnModelInfo info = {.architecture = "fixture",
						.bits = bits,
						.width = side,
						.height = side,
						.resize = side,
						.area_filter = true,
						.provenance = "{\"tool\": \"make_fixtures\"}",
						.metrics = "{\"mAP\": 0.5}"};
	NnGraph *graph = nn_graph_new();
	NnError err = {""};
	int x;

	if (graph == NULL)
		die(name, "out of memory");
	x = nn_input(graph, side, side, mean, std);
	x = nn_conv2d(graph, x, "conv", 8, 3, 3, 2, 1, 1, true, NN_RELU);
	x = nn_reshape(graph, x, &(NnShape){.ndim = 1, .dim = {side / 2 * (side / 2) * 8}});
	nn_linear(graph, x, "hash", bits, true, NN_IDENTITY);
	if (!nn_graph_ok(graph, &err))
		die(name, err.text);
	for (int i = 0; i < graph->nparams; i++)
	{
		NnParam *param = &graph->param[i];

		for (size_t k = 0; k < nn_shape_size(&param->shape); k++)
			param->data[k] = draw(&seed);
	}
	if (!nn_model_write(path_of(name), &info, graph, NULL, &err))
		die(name, err.text);
	nn_graph_free(graph);
}

/* The first half of a model file. */
static void
make_half(const char *from, const char *to)
{
	static char data[1 << 20];
	FILE *file = fopen(path_of(from), "rb");
	size_t size = file ? fread(data, 1, sizeof(data), file) : 0;

	if (size == 0)
		die(from, "cannot be read");
	fclose(file);
	write_file(to, data, size / 2);
}

/* ------------------------------------------------------------------- images */

/* A disc of one colour on a gradient; half: only the first half of the file. */
static void
make_jpeg(const char *name, int width, int height, int hue, bool half)
{
	Image image = {.width = width, .height = height};
	ImageError err = {""};
	uint8_t *data;
	size_t size;

	image.rgb = malloc((size_t) width * height * 3);
	if (image.rgb == NULL)
		die(name, "out of memory");
	for (int y = 0; y < height; y++)
	{
		for (int x = 0; x < width; x++)
		{
			uint8_t *pixel = image.rgb + ((size_t) y * width + x) * 3;
			double dx = (double) x / width - 0.5;
			double dy = (double) y / height - 0.5;
			bool inside = dx * dx + dy * dy < 0.09;

			pixel[0] = inside ? hue : x * 255 / width;
			pixel[1] = inside ? 255 - hue : y * 255 / height;
			pixel[2] = inside ? hue / 2 : 128;
		}
	}
	if (!image_encode_jpeg(&image, 90, &data, &size, &err))
		die(name, err.text);
	write_file(name, data, half ? size / 2 : size);
	free(data);
	free(image.rgb);
}

int
main(int argc, char **argv)
{
	static const unsigned char png[] =
		"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\10\2";

	if (argc != 2)
	{
		fprintf(stderr, "usage: make_fixtures DIRECTORY\n");
		return 2;
	}
	directory = argv[1];
	if (mkdir(directory, 0755) != 0 && errno != EEXIST)
		die(directory, strerror(errno));
	make_model("tiny16.safetensors", 16, 16, 1);
	make_model("other16.safetensors", 16, 16, 2);
	make_model("tiny64.safetensors", 64, 16, 3);
	/* More than a megabyte: it is stored in several rows. */
	make_model("wide64.safetensors", 64, 64, 4);
	make_half("tiny16.safetensors", "half.safetensors");
	make_jpeg("red.jpg", 120, 80, 250, false);
	make_jpeg("green.jpg", 80, 120, 10, false);
	make_jpeg("large.jpg", 2400, 1600, 200, false);
	make_jpeg("half.jpg", 120, 80, 250, true);
	make_jpeg("dot.jpg", 1, 1, 100, false);
	make_jpeg("line.jpg", 30000, 1, 100, false);
	make_jpeg("huge.jpg", 9600, 9600, 100, false);
	write_file("picture.png", png, sizeof(png) - 1);
	return 0;
}
