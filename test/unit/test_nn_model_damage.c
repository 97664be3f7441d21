/*
 * test_nn_model_damage.c
 *	  Model files that lie, are cut short or damaged.
 */
#include "model_samples.h"

static void
test_truncation(void **state)
{
	NnGraph *g = network();
	NnError err;
	File f;

	(void) state;
	write_model(path, g);
	f = read_file(path);
	for (size_t cut = 0; cut < f.size; cut++)
	{
		write_file(other, f.bytes, cut);
		assert_false(try_open(other, &err));
	}
	f.bytes[f.size] = 0;
	write_file(other, f.bytes, f.size + 1);
	assert_false(try_open(other, &err));
	assert_non_null(strstr(err.text, "belong to no tensor"));
	free(f.bytes);
	nn_graph_free(g);
}

static void
test_flipped_bytes(void **state)
{
	NnGraph *g = network();
	uint64_t s = 21;
	int opened = 0;
	NnError err;
	File f;

	(void) state;
	write_model(path, g);
	f = read_file(path);
	for (size_t at = 0; at < f.size; at++)
	{
		unsigned char was = f.bytes[at];

		f.bytes[at] ^= (unsigned char) (1u << (test_random(&s) >> 40) % 8);
		write_file(other, f.bytes, f.size);
		opened += try_open(other, &err);
		f.bytes[at] = was;
	}
	/* most of a weight's bits may change freely, most of the header's may not */
	assert_true(opened > 0);
	for (int round = 0; round < 2000; round++)
	{
		File copy = {f.size, malloc(f.size)};

		memcpy(copy.bytes, f.bytes, f.size);
		for (int k = 0; k < 3; k++)
			copy.bytes[test_random(&s) % (f.size < 3000 ? f.size : 3000)] =
				(unsigned char) (test_random(&s) >> 33);
		write_file(other, copy.bytes, copy.size);
		try_open(other, &err);
		free(copy.bytes);
	}
	free(f.bytes);
	nn_graph_free(g);
}

/* Write a file with this header (single quotes stand for double) and data of n
 * floats; expect the reader to refuse it with a text that holds part. */
static void
refuse(const char *header, size_t n, const float *data, const char *part)
{
	size_t length = strlen(header), padded = (length + 7) / 8 * 8,
		   size = 8 + padded + 4 * n;
	unsigned char *bytes = calloc(1, size + 1);
	NnError err;

	for (int i = 0; i < 8; i++)
		bytes[i] = (unsigned char) (padded >> (8 * i));
	memset(bytes + 8, ' ', padded);
	for (size_t i = 0; i < length; i++)
		bytes[8 + i] = (unsigned char) (header[i] == '\'' ? '"' : header[i]);
	for (size_t i = 0; i < n; i++)
		memcpy(bytes + 8 + padded + 4 * i, data ? &data[i] : &(float){0}, 4);
	write_file(other, bytes, size);
	free(bytes);
	if (try_open(other, &err) != (part == NULL))
		fail_msg("%s: %s", part ? "opened" : "did not open", part ? header : err.text);
	if (part != NULL && strstr(err.text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", err.text, part);
}

static void
test_containers(void **state)
{
	(void) state;
	refuse("[]", 0, NULL, "does not begin with");
	refuse("{'a':1}", 0, NULL, "not an object");
	refuse("{'a':{'dtype':'F32'}", 0, NULL, "not valid JSON");
	refuse("{'a':{},'a':{}}", 0, NULL, "duplicate");
	refuse("{'a':{'dtype':'F16','shape':[2],'data_offsets':[0,4]}}", 1, NULL,
		   "\"a\" is F16; the tensors of a model are F32");
	refuse("{'a':{'dtype':'BF16','shape':[2],'data_offsets':[0,4]}}", 1, NULL,
		   "\"a\" is BF16; the tensors of a model are F32");
	refuse("{'a':{'dtype':'I64','shape':[],'data_offsets':[0,8]}}", 2, NULL,
		   "\"a\" is I64; the tensors of a model are F32");
	refuse("{'a':{'dtype':'F16','shape':[1],'data_offsets':[0,4]}}", 1, NULL,
		   "4 bytes of data for a shape of 1");
	refuse("{'a':{'dtype':'F64','shape':[1],'data_offsets':[0,4]}}", 1, NULL,
		   "more than the file's 4 bytes");
	refuse("{'a':{'dtype':'BF16','shape':[4611686018427387904],'data_offsets':[0,4]}}", 1,
		   NULL, "more than the file's 4 bytes");
	refuse("{'a':{'dtype':'Q4','shape':[1],'data_offsets':[0,4]}}", 1, NULL,
		   "unknown dtype");
	refuse("{'a':{'shape':[1],'data_offsets':[0,4]}}", 1, NULL, "no dtype");
	refuse("{'a':{'dtype':'F32','shape':1,'data_offsets':[0,4]}}", 1, NULL,
		   "not an array");
	refuse("{'a':{'dtype':'F32','shape':[1,1,1,1,1,1,1,1,1],'data_offsets':[0,4]}}", 1,
		   NULL, "at most 8");
	refuse("{'a':{'dtype':'F32','shape':[0],'data_offsets':[0,0]}}", 1, NULL,
		   "whole number of 1 or more");
	refuse("{'a':{'dtype':'F32','shape':[-1],'data_offsets':[0,4]}}", 1, NULL,
		   "whole number of 1 or more");
	refuse("{'a':{'dtype':'F32','shape':[1.0],'data_offsets':[0,4]}}", 1, NULL,
		   "whole number of 1 or more");
	refuse("{'a':{'dtype':'F32','shape':[4294967296,4294967296],'data_offsets':[0,4]}}",
		   1, NULL, "more than the file's");
	refuse("{'a':{'dtype':'F32','shape':[99999999999999999999],'data_offsets':[0,4]}}", 1,
		   NULL, "not valid JSON");
	refuse("{'a':{'dtype':'F32','shape':[1],'data_offsets':[0]}}", 1, NULL, "not a pair");
	refuse("{'a':{'dtype':'F32','shape':[1],'data_offsets':[4,0]}}", 1, NULL,
		   "not inside");
	refuse("{'a':{'dtype':'F32','shape':[1],'data_offsets':[4,8]}}", 1, NULL,
		   "not inside");
	refuse("{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,8]}}", 2, NULL,
		   "8 bytes of data for a shape of 1");
	refuse("{'b':{'dtype':'I16','shape':[1],'data_offsets':[0,2]},"
		   "'a':{'dtype':'F32','shape':[1],'data_offsets':[2,6]},"
		   "'c':{'dtype':'I8','shape':[2],'data_offsets':[6,8]}}",
		   2, NULL, "\"b\" is I16");
	refuse("{'a':{'dtype':'F32','shape':[1],'data_offsets':[2,6]}}", 2, NULL,
		   "2 bytes before tensor \"a\" belong to no tensor");
	refuse("{'a':{'dtype':'F32','shape':[1],'data_offsets':[4,8]}}", 2, NULL,
		   "before tensor \"a\" belong to no tensor");
	refuse("{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]},"
		   "'b':{'dtype':'F32','shape':[2],'data_offsets':[4,12]}}",
		   3, NULL, "\"a\" and \"b\" overlap");
	refuse("{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4]}}", 2, NULL,
		   "last 4 bytes");
	refuse("{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4],'x':1}}", 1, NULL,
		   "unknown attribute \"x\"");
	refuse("{'':{'dtype':'F32','shape':[1],'data_offsets':[0,4]}}", 1, NULL,
		   "control characters");
	refuse("{'a\\u0007':{'dtype':'F32','shape':[1],'data_offsets':[0,4]}}", 1, NULL,
		   "control characters");
	refuse("{'\xff\xfe':{'dtype':'F32','shape':[1],'data_offsets':[0,4]}}", 1, NULL,
		   "not valid JSON");
	refuse("{'__metadata__':{'a':1}}", 0, NULL, "is not a string");
	refuse("{'__metadata__':3}", 0, NULL, "is not an object");
	refuse("{}", 0, NULL, "not a deephash model");
	refuse("{'__metadata__':{'deephash_format':'2'}}", 0, NULL, "model format \"2\"");
}

static void
test_not_files(void **state)
{
	unsigned char bytes[64] = {0};
	NnError err;

	(void) state;
	assert_null(nn_model_open("/nonexistent/model", &err));
	assert_non_null(strstr(err.text, strerror(ENOENT)));
	assert_null(nn_model_open(folder, &err));
	assert_non_null(strstr(err.text, "not a regular file"));
	assert_null(nn_model_open("/dev/zero", &err));
	memset(bytes, 0xff, 8);
	write_file(other, bytes, sizeof(bytes));
	assert_false(try_open(other, &err));
	assert_non_null(strstr(err.text, "another purpose"));
	bytes[0] = 12;
	memset(bytes + 1, 0, 7);
	memcpy(bytes + 8, "{}          ", 12);
	write_file(other, bytes, 8 + 12);
	assert_false(try_open(other, &err));
	assert_non_null(strstr(err.text, "multiple of 8"));
}

/*
 * A model with one linear layer 12 -> 2 (24 weights), its metadata replaceable
 * piece by piece; \' inside the texts becomes an escaped quote.
 */
typedef struct Parts
{
	const char *architecture, *bits, *preprocess, *nodes, *more, *tensors;
} Parts;

#define GOOD_NODES                                                                       \
	"{\\'op\\':\\'input\\',\\'shape\\':[2,2,3],\\'mean\\':[0,0,0],\\'std\\':[1,1,1]},"   \
	"{\\'op\\':\\'reshape\\',\\'input\\':[0],\\'shape\\':[12]},"                         \
	"{\\'op\\':\\'linear\\',\\'name\\':\\'fc\\',\\'input\\':[1],\\'channels\\':2}"
#define INPUT_NODE                                                                       \
	"{\\'op\\':\\'input\\',\\'shape\\':[2,2,3],\\'mean\\':[0,0,0],\\'std\\':[1,1,1]},"
#define GOOD_TENSORS ",'fc.weight':{'dtype':'F32','shape':[2,12],'data_offsets':[0,96]}"
#define GOOD_PREPROCESS                                                                  \
	"{\\'width\\':2,\\'height\\':2,\\'resize\\':0,\\'filter\\':\\'bicubic\\'}"

static const Parts good = {"a", "2", GOOD_PREPROCESS, GOOD_NODES, "", GOOD_TENSORS};

static void
refuse_parts(Parts p, const float *data, const char *part)
{
	char header[9000];

	snprintf(header, sizeof(header),
			 "{'__metadata__':{'deephash_format':'1','architecture':'%s','bits':'%s',"
			 "'preprocess':'%s','graph':'{\\'nodes\\':[%s]}'%s}%s}",
			 p.architecture, p.bits, p.preprocess, p.nodes, p.more, p.tensors);
	refuse(header, 24, data, part);
}

static void
test_metadata(void **state)
{
	float bad[24] = {0};
	Parts p;

	(void) state;
	refuse_parts(good, NULL, NULL);
#define REFUSE(field, value, text)                                                       \
	(p = good, p.field = value, refuse_parts(p, NULL, text))
	REFUSE(architecture, "", "architecture");
	REFUSE(architecture, "a\\n", "control characters");
	REFUSE(architecture,
		   "1234567890123456789012345678901234567890123456789012345678901234", "longer");
	REFUSE(bits, "", "not a whole number");
	REFUSE(bits, "0", "not a whole number");
	REFUSE(bits, "02", "not a whole number");
	REFUSE(bits, " 2", "not a whole number");
	REFUSE(bits, "-2", "not a whole number");
	REFUSE(bits, "4097", "not a whole number");
	REFUSE(bits, "99999999999999999999", "not a whole number");
	REFUSE(bits, "3", "gives 2 values, not 3 bits");
	REFUSE(preprocess, "", "not valid JSON");
	REFUSE(preprocess, "[]", "not a JSON object");
	REFUSE(preprocess, "{\\'width\\':2,\\'height\\':2,\\'resize\\':0}", "filter");
	REFUSE(preprocess,
		   "{\\'width\\':2,\\'height\\':2,\\'resize\\':0,\\'filter\\':\\'nearest\\'}",
		   "filter");
	REFUSE(preprocess,
		   "{\\'width\\':2,\\'height\\':2,\\'resize\\':1,\\'filter\\':\\'area\\'}",
		   "does not hold a crop");
	REFUSE(preprocess,
		   "{\\'width\\':2,\\'height\\':2,\\'resize\\':4097,\\'filter\\':\\'area\\'}",
		   "from 0 to 4096");
	REFUSE(preprocess,
		   "{\\'width\\':3,\\'height\\':2,\\'resize\\':0,\\'filter\\':\\'area\\'}",
		   "the network takes 2 x 2");
	REFUSE(preprocess,
		   "{\\'width\\':0,\\'height\\':2,\\'resize\\':0,\\'filter\\':\\'area\\'}",
		   "\"width\" is not a whole number");
	REFUSE(
		preprocess,
		"{\\'width\\':2,\\'height\\':2,\\'resize\\':0,\\'filter\\':\\'area\\',\\'x\\':1}",
		"something else");
	REFUSE(more, ",'provenance':'[1]'", "\"provenance\" is not a JSON object");
	REFUSE(more, ",'metrics':'{'", "\"metrics\" is not valid JSON");
	REFUSE(more, ",'format':'pt'", NULL);
	REFUSE(more, ",'thresholds':'t'", "no tensor \"t\" of their own");
	REFUSE(more, ",'thresholds':'fc.weight'", "of their own");
	REFUSE(tensors, ",'fc':{'dtype':'F32','shape':[2,12],'data_offsets':[0,96]}",
		   "wants a tensor \"fc.weight\"");
	REFUSE(tensors, ",'fc.weight':{'dtype':'F32','shape':[12,2],'data_offsets':[0,96]}",
		   "has not the shape 2x12");
	REFUSE(tensors, ",'fc.weight':{'dtype':'F32','shape':[24],'data_offsets':[0,96]}",
		   "has not the shape 2x12");
#undef REFUSE
	bad[7] = NAN;
	refuse_parts(good, bad, "value 7 is not finite");
	bad[7] = -INFINITY;
	refuse_parts(good, bad, "value 7 is not finite");
}

/* Thresholds and a tensor too many, in a file of 24 values. */
static void
test_tensors(void **state)
{
	Parts p = good;

	(void) state;
	p.nodes =
		"{\\'op\\':\\'input\\',\\'shape\\':[1,3,3],\\'mean\\':[0,0,0],\\'std\\':[1,1,1]},"
		"{\\'op\\':\\'reshape\\',\\'input\\':[0],\\'shape\\':[9]},"
		"{\\'op\\':\\'linear\\',\\'name\\':\\'fc\\',\\'input\\':[1],\\'channels\\':2,"
		"\\'bias\\':true}";
	p.preprocess =
		"{\\'width\\':3,\\'height\\':1,\\'resize\\':0,\\'filter\\':\\'area\\'}";
	p.more = ",'thresholds':'t'";
	p.tensors = ",'fc.weight':{'dtype':'F32','shape':[2,9],'data_offsets':[0,72]},"
				"'fc.bias':{'dtype':'F32','shape':[2],'data_offsets':[72,80]},"
				"'t':{'dtype':'F32','shape':[4],'data_offsets':[80,96]}";
	refuse_parts(p, NULL, "does not hold 2 values");
	p.tensors = ",'fc.weight':{'dtype':'F32','shape':[2,9],'data_offsets':[0,72]},"
				"'fc.bias':{'dtype':'F32','shape':[2],'data_offsets':[72,80]},"
				"'t':{'dtype':'F32','shape':[2],'data_offsets':[80,88]},"
				"'u':{'dtype':'F32','shape':[2],'data_offsets':[88,96]}";
	refuse_parts(p, NULL, "\"u\" belongs to no node");
}

static void
test_graphs(void **state)
{
	Parts p = good;

	(void) state;
#define REFUSE(value, text) (p.nodes = value, refuse_parts(p, NULL, text))
	REFUSE("", "2 to 4096 nodes");
	REFUSE("1,2", "graph node 0: not an object");
	REFUSE(INPUT_NODE "{}", "graph node 1: there is no \"op\"");
	REFUSE(INPUT_NODE "{\\'op\\':\\'flatten\\'}", "unknown operation \"flatten\"");
	REFUSE(INPUT_NODE INPUT_NODE "{\\'op\\':\\'softmax\\',\\'input\\':[0]}",
		   "the first node and the only one");
	REFUSE("{\\'op\\':\\'softmax\\',\\'input\\':[0]},{\\'op\\':\\'softmax\\',\\'input\\':"
		   "[0]}",
		   "not the number of an earlier node");
	REFUSE(INPUT_NODE "{\\'op\\':\\'softmax\\',\\'input\\':[1]}",
		   "not the number of an earlier");
	REFUSE(INPUT_NODE "{\\'op\\':\\'softmax\\',\\'input\\':[-1]}",
		   "not the number of an earlier");
	REFUSE(INPUT_NODE "{\\'op\\':\\'softmax\\',\\'input\\':[4294967296]}",
		   "not the number of an earlier");
	REFUSE(INPUT_NODE "{\\'op\\':\\'softmax\\'}", "takes 1 inputs, not 0");
	REFUSE(INPUT_NODE "{\\'op\\':\\'add\\',\\'input\\':[0,0,0]}",
		   "takes 2 inputs, not 3");
	REFUSE(INPUT_NODE "{\\'op\\':\\'softmax\\',\\'input\\':0}",
		   "\"input\" is not an array");
	REFUSE(INPUT_NODE "{\\'op\\':\\'softmax\\',\\'input\\':[0],\\'eps\\':1}",
		   "unknown attribute \"eps\"");
	REFUSE(INPUT_NODE
		   "{\\'op\\':\\'activation\\',\\'input\\':[0],\\'activation\\':\\'swish\\'}",
		   "unknown activation \"swish\"");
	REFUSE(INPUT_NODE "{\\'op\\':\\'activation\\',\\'input\\':[0]}",
		   "there is no \"activation\"");
	REFUSE(INPUT_NODE "{\\'op\\':\\'maxpool\\',\\'input\\':[0],\\'kernel\\':[1],"
					  "\\'stride\\':[1,1],\\'pad\\':[0,0]}",
		   "\"kernel\" is not a pair");
	REFUSE(INPUT_NODE "{\\'op\\':\\'maxpool\\',\\'input\\':[0],\\'kernel\\':[1,1],"
					  "\\'stride\\':[0,1],\\'pad\\':[0,0]}",
		   "make no window");
	REFUSE(INPUT_NODE "{\\'op\\':\\'scale\\',\\'input\\':[0],\\'scale\\':1e300}",
		   "float32 holds");
	REFUSE(INPUT_NODE "{\\'op\\':\\'reshape\\',\\'input\\':[0],\\'shape\\':[1048577]}",
		   "\"shape\" holds something else");
	REFUSE(INPUT_NODE "{\\'op\\':\\'reshape\\',\\'input\\':[0],\\'shape\\':[]}",
		   "1 to 6 sizes");
	REFUSE(INPUT_NODE
		   "{\\'op\\':\\'linear\\',\\'input\\':[0],\\'name\\':\\'a\\\\u0001\\',"
		   "\\'channels\\':2}",
		   "\"name\" holds control characters");
	REFUSE(INPUT_NODE "{\\'op\\':\\'linear\\',\\'input\\':[0],\\'name\\':\\'a\\',"
					  "\\'channels\\':2,\\'bias\\':1}",
		   "neither true nor false");
	REFUSE(INPUT_NODE "{\\'op\\':\\'linear\\',\\'input\\':[0],\\'channels\\':2}",
		   "needs a name");
	REFUSE(INPUT_NODE "{\\'op\\':\\'global_avgpool\\',\\'input\\':[0]}",
		   "gives 3 values");
	REFUSE(INPUT_NODE "{\\'op\\':\\'conv2d\\',\\'input\\':[0],\\'name\\':\\'c\\',"
					  "\\'channels\\':1048576,\\'kernel\\':[1,1],\\'stride\\':[1,1],"
					  "\\'pad\\':[0,0]},"
					  "{\\'op\\':\\'conv2d\\',\\'input\\':[1],\\'name\\':\\'d\\',"
					  "\\'channels\\':1048576,\\'kernel\\':[1,1],\\'stride\\':[1,1],"
					  "\\'pad\\':[0,0]}",
		   "too large");
#undef REFUSE
}

/* A small file that describes a network no machine can run. */
static void
test_too_much_work(void **state)
{
	static char nodes[8000];
	Parts p = good;
	size_t used;

	(void) state;
	used = (size_t) snprintf(
		nodes, sizeof(nodes),
		"{\\'op\\':\\'input\\',\\'shape\\':[4096,4096,3],\\'mean\\':[0,0,0],"
		"\\'std\\':[1,1,1]}");
	for (int i = 0; i < 40; i++)
		used += (size_t) snprintf(nodes + used, sizeof(nodes) - used,
								  ",{\\'op\\':\\'softmax\\',\\'input\\':[%d]}", i);
	p.nodes = nodes;
	refuse_parts(p, NULL, "alone make more than");

	/* few values and no weights, but 3073 x 3073 windows of 1024 x 1024 */
	p.nodes = "{\\'op\\':\\'input\\',\\'shape\\':[4096,4096,3],\\'mean\\':[0,0,0],"
			  "\\'std\\':[1,1,1]},"
			  "{\\'op\\':\\'maxpool\\',\\'input\\':[0],\\'kernel\\':[1024,1024],"
			  "\\'stride\\':[1,1],\\'pad\\':[0,0]}";
	refuse_parts(p, NULL, "billion steps");

	/* small activations, but 16384 x 16384 probabilities, again and again */
	used = (size_t) snprintf(
		nodes, sizeof(nodes),
		INPUT_NODE
		"{\\'op\\':\\'conv2d\\',\\'name\\':\\'c\\',\\'input\\':[0],\\'channels\\':4096,"
		"\\'kernel\\':[1,1],\\'stride\\':[1,1],\\'pad\\':[0,0]},"
		"{\\'op\\':\\'global_avgpool\\',\\'input\\':[1]},"
		"{\\'op\\':\\'linear\\',\\'name\\':\\'d\\',\\'input\\':[2],\\'channels\\':49152},"
		"{\\'op\\':\\'reshape\\',\\'input\\':[3],\\'shape\\':[16384,3]}");
	for (int i = 0; i < 40; i++)
		used += (size_t) snprintf(
			nodes + used, sizeof(nodes) - used,
			",{\\'op\\':\\'attention\\',\\'input\\':[4],\\'heads\\':1}");
	p.nodes = nodes;
	refuse_parts(p, NULL, "billion steps");
}

static void
test_deep_json(void **state)
{
	static char header[60000];
	size_t at = 0;

	(void) state;
	header[at++] = '{';
	memcpy(header + at, "'a':", 4);
	at += 4;
	for (int i = 0; i < 50000; i++)
		header[at++] = '[';
	header[at] = '\0';
	refuse(header, 0, NULL, "not valid JSON");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truncation), cmocka_unit_test(test_flipped_bytes),
		cmocka_unit_test(test_containers), cmocka_unit_test(test_not_files),
		cmocka_unit_test(test_metadata),   cmocka_unit_test(test_tensors),
		cmocka_unit_test(test_graphs),	   cmocka_unit_test(test_too_much_work),
		cmocka_unit_test(test_deep_json),
	};

	return cmocka_run_group_tests_name("nn: damaged model files", tests, make_folder,
									   remove_folder);
}
