/*
 * service_samples.h
 *	  A cache with models, and pictures, for the tests of src/service.
 */
#ifndef SERVICE_SAMPLES_H
#define SERVICE_SAMPLES_H

#include "image_samples.h"

#include "nn/graph.h"
#include "service/service.h"
#include "service/sha256.h"

/*
 * Write a model of one linear layer, 8 x 8 pictures to 64 bits, into the cache `dir`;
 * different weights make different models.
 */
static inline void
write_model(const char *dir, float weight, uint8_t *sha256)
{
	static const float mean[3] = {0, 0, 0};
	static const float std[3] = {1, 1, 1};
	static uint8_t data[1 << 20];
	NnModelInfo info = {
		.architecture = "test", .bits = 64, .width = 8, .height = 8, .resize = 8};
	NnGraph *graph = nn_graph_new();
	NnError err = {""};
	char path[200];
	char made[100];
	FILE *file;
	Sha256 sha;
	int n;

	nn_linear(graph,
			  nn_reshape(graph, nn_input(graph, 8, 8, mean, std),
						 &(NnShape){.ndim = 1, .dim = {192}}),
			  "hash", 64, false, NN_IDENTITY);
	assert_true(nn_graph_ok(graph, &err));
	for (size_t k = 0; k < nn_shape_size(&graph->param[0].shape); k++)
		graph->param[0].data[k] = k % 2 ? weight : -weight;
	snprintf(made, sizeof(made), "%s/new", dir);
	assert_true(nn_model_write(made, &info, graph, NULL, &err));
	nn_graph_free(graph);
	file = fopen(made, "rb");
	assert_non_null(file);
	sha256_init(&sha);
	sha256_update(&sha, data, fread(data, 1, sizeof(data), file));
	sha256_final(&sha, sha256);
	fclose(file);
	n = snprintf(path, sizeof(path), "%s/", dir);
	for (int i = 0; i < DEEPHASH_SHA256_BYTES; i++)
		n += snprintf(path + n, sizeof(path) - n, "%02x", sha256[i]);
	snprintf(path + n, sizeof(path) - n, "%s", DEEPHASH_MODEL_SUFFIX);
	assert_int_equal(rename(made, path), 0);
}

/* A JPEG of 16 x 16 pixels; free its data. */
static inline Sample
write_picture(void)
{
	Image picture = smooth_picture(16, 16);
	Sample jpeg = write_sample(picture.rgb, 16, 16, (SampleOptions){0});

	free(picture.rgb);
	return jpeg;
}

static inline int
remove_folder(const char *dir)
{
	char command[200];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

#endif
