/*
 * test_nn_model.c
 *	  The model file: round trip, running from it, what cannot be written, texts of
 *	  errors.
 */
#include "model_samples.h"

static void
test_round_trip(void **state)
{
	NnGraph *g = network();
	NnModel *model;
	NnError err;
	char *text;

	(void) state;
	if (!nn_graph_ok(g, &err))
		fail_msg("%s", err.text);
	write_model(path, g);
	write_model(path, g); /* over the old one */
	model = nn_model_open(path, &err);
	if (model == NULL)
		fail_msg("%s", err.text);
	assert_string_equal(model->info.architecture, "test-5");
	assert_int_equal(model->info.bits, 5);
	assert_int_equal(model->info.width, 4);
	assert_int_equal(model->info.height, 4);
	assert_int_equal(model->info.resize, 6);
	assert_true(model->info.area_filter);
	assert_string_equal(model->info.provenance, "{\"seed\":7,\"note\":\"caf\xc3\xa9\"}");
	assert_string_equal(model->info.metrics, "{\"map\":0.5}");
	assert_memory_equal(model->thresholds, thresholds, sizeof(thresholds));
	assert_int_equal(model->graph.nnodes, g->nnodes);
	assert_int_equal(model->graph.nparams, g->nparams);
	for (int i = 0; i < g->nnodes; i++)
		assert_memory_equal(&model->graph.node[i], &g->node[i], sizeof(NnNode));
	for (int i = 0; i < g->nparams; i++)
	{
		assert_string_equal(model->graph.param[i].name, g->param[i].name);
		assert_memory_equal(model->graph.param[i].data, g->param[i].data,
							nn_shape_size(&g->param[i].shape) * sizeof(float));
	}
	text = nn_model_describe(model);
	assert_non_null(strstr(text, "\"bits\":5"));
	assert_non_null(strstr(text, "\"map\":0.5"));
	free(text);
	nn_model_close(model);
	nn_graph_free(g);
}

/* What comes out of the file runs, and gives what the graph gave. */
static void
test_runs_from_file(void **state)
{
	NnGraph *g = network();
	uint8_t image[48];
	float a[5], b[5];
	NnModel *model;
	NnNet *net;
	NnError err;

	(void) state;
	for (int i = 0; i < 48; i++)
		image[i] = (uint8_t) (i * 37);
	write_model(path, g);
	model = nn_model_open(path, &err);
	assert_non_null(model);
	net = nn_cpu_device.load(g, 1, 1, &err);
	assert_true(nn_cpu_device.run(net, image, 1, a, &err));
	nn_cpu_device.unload(net);
	net = nn_cpu_device.load(&model->graph, 1, 1, &err);
	assert_true(nn_cpu_device.run(net, image, 1, b, &err));
	nn_cpu_device.unload(net);
	assert_memory_equal(a, b, sizeof(a));
	nn_model_close(model);
	nn_graph_free(g);
}

/* Names of strangers reach people as one line of UTF-8. */
static void
test_error_texts(void **state)
{
	NnError err;

	(void) state;
	nn_fail(&err, "a\n\x1b[2Jb %s", "caf\xc3\xa9 \xc3");
	assert_string_equal(err.text, "a??[2Jb caf\xc3\xa9 ?");
	nn_fail(&err, "%.2s|\xe2\x82\xac|\xed\xa0\x80|\xc0\x80|\xf4\x90\x80\x80",
			"\xe2\x82\xac");
	assert_string_equal(err.text, "??|\xe2\x82\xac|???|??|????");
	for (size_t before = 500; before < 512; before++)
	{
		char text[600];

		memset(text, 'x', before);
		strcpy(text + before, "\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80");
		nn_fail(&err, "%s", text);
		assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
		for (size_t i = before + (511 - before) / 4 * 4; i < 511; i++)
			assert_int_equal(err.text[i], '?');
	}
}

static void
test_write_refusals(void **state)
{
	NnGraph *g = network();
	NnModelInfo info = {.architecture = "a", .bits = 5, .width = 4, .height = 4};
	NnError err;
	File before, after;

	(void) state;
	write_model(path, g);
	before = read_file(path);
	info.bits = 6;
	assert_false(nn_model_write(path, &info, g, NULL, &err));
	assert_non_null(strstr(err.text, "gives 5 values, not 6 bits"));
	info.bits = 5;
	info.width = 5;
	assert_false(nn_model_write(path, &info, g, NULL, &err));
	info.width = 4;
	info.provenance = "not json";
	assert_false(nn_model_write(path, &info, g, NULL, &err));
	info.provenance = "{\"a\":\"\xff\"}";
	assert_false(nn_model_write(path, &info, g, NULL, &err));
	info.provenance = NULL;
	g->param[0].data[1] = NAN;
	assert_false(nn_model_write(path, &info, g, NULL, &err));
	assert_non_null(strstr(err.text, "not finite"));
	/* the old file is as it was */
	after = read_file(path);
	assert_int_equal(before.size, after.size);
	assert_memory_equal(before.bytes, after.bytes, after.size);
	free(before.bytes);
	free(after.bytes);
	g->param[0].data[1] = 0;
	assert_false(nn_model_write("/nonexistent/folder/model", &info, g, NULL, &err));
	assert_non_null(strstr(err.text, "/nonexistent/folder"));
	if (!nn_model_write(path, &info, g, NULL, &err))
		fail_msg("%s", err.text);
	nn_graph_free(g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_runs_from_file),
		cmocka_unit_test(test_write_refusals),
		cmocka_unit_test(test_error_texts),
	};

	return cmocka_run_group_tests_name("nn: model file", tests, make_folder,
									   remove_folder);
}
