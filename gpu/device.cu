/*
 * device.cu
 *	  Inference on the GPU, deephash-cuda.so's first symbol: probing, loading, running,
 *	  serving.
 *
 * Everything is allocated at load.  A net that serves has two stages.  Copying up,
 * computing and copying down each have a stream, and events say which part of a batch
 * waits for which, so that one batch is copied while another is computed:
 *
 *		up		pictures of k |	pictures of k + 1 ..
 *		compute				  | normalise, nodes, codes of k | of k + 1 ..
 *		down											     | codes of k ..
 *
 * The nodes of a batch of some size are a CUDA graph once that size has come twice.
 *
 * No CUDA error ends the program: each becomes a text.
 */
#include "gpu/codes.h"
#include "gpu/network.h"
#include "gpu/recordings.h"
#include "gpu/stream.h"
#include "nn/device.h"

/* The GPU's side of a stage. */
struct Side
{
	uint8_t *images;
	uint8_t *codes;
	uint32_t *doubts;
	float *logits;
	Event filled, computed, done;
	bool under_way, logits_wanted;
	int n;
};

struct NnNet
{
	Network net;
	NnServing how;
	size_t picture; /* bytes */
	int bits;
	bool (*queue_input)(Network *net, const uint8_t *images, int n, NnError *err);
	bool (*queue_rest)(Network *net, int n, NnError *err);

	/* of a net that serves; another has one side, and of it the images alone */
	bool serving;
	Side side[NN_STAGES];
	NnStage stage[NN_STAGES];
	float *thresholds;
	NnTolerance tolerance;
	Stream up, down;
	bool graphs;
	Recordings recordings;
	Recording recording[MAX_RECORDINGS];
};

/* ---------------------------------------------------------------------- opening */

template <class T>
static bool
lay_out_as(NnNet *net, NnError *err)
{
	net->queue_input = queue_input<T>;
	net->queue_rest = queue_rest<T>;
	return lay_out<T>(&net->net, err);
}

static bool
room_of_stages(NnNet *net, NnError *err)
{
	Book *book = &net->net.book;
	size_t batch = (size_t) book->max_batch, bits = (size_t) net->bits;

	for (int k = 0; k < (net->serving ? NN_STAGES : 1); k++)
	{
		Side *side = &net->side[k];

		if (!room(book, &side->images, batch * net->picture, "pictures", err))
			return false;
		if (net->serving &&
			(!room(book, &side->codes, batch * ((bits + 7) / 8), "codes", err) ||
			 !room(book, &side->doubts, batch * sizeof(uint32_t), "codes", err) ||
			 !room(book, &side->logits, batch * bits * sizeof(float), "logits", err)))
			return false;
	}
	return !net->serving || !net->how.thresholds ||
		   room(book, &net->thresholds, bits * sizeof(float), "thresholds", err);
}

/* Memory of the GPU, or what it would be. */
static bool
take_memory(NnNet *net, NnError *err)
{
	return room_of_stages(net, err) &&
		   (net->how.precision == NN_BF16	? lay_out_as<Bf16>(net, err)
			: net->how.precision == NN_FP16 ? lay_out_as<Fp16>(net, err)
											: lay_out_as<float>(net, err));
}

/* Memory of the host that the GPU copies from and to by itself, streams and events. */
static bool
open_stages(NnNet *net, NnError *err)
{
	size_t batch = (size_t) net->how.max_batch, bits = (size_t) net->bits;

	for (int k = 0; k < NN_STAGES; k++)
	{
		Side *side = &net->side[k];
		NnStage *stage = &net->stage[k];

		if (!gpu_allocate_host((void **) &stage->images, batch * net->picture, err) ||
			!gpu_allocate_host((void **) &stage->codes, batch * ((bits + 7) / 8), err) ||
			!gpu_allocate_host((void **) &stage->doubts, batch * sizeof(uint32_t), err) ||
			!gpu_allocate_host((void **) &stage->logits, batch * bits * sizeof(float),
							   err) ||
			!event_open(&side->filled, err) || !event_open(&side->computed, err) ||
			!event_open(&side->done, err))
			return false;
	}
	if (net->thresholds && (!gpu_up(&net->net.m, net->thresholds, net->how.thresholds,
									bits * sizeof(float), err) ||
							!gpu_wait(&net->net.m, err)))
		return false;
	if (!recordings_init(&net->recordings, net->how.max_batch))
		return nn_fail(err, "out of memory");
	return stream_open(&net->up, err) && stream_open(&net->down, err);
}

static NnNet *
make_net(const NnGraph *graph, const NnServing *how, bool serving, NnError *err)
{
	NnNet *net;

	if (!nn_graph_ok(graph, err))
		return NULL;
	if (nn_graph_output_node(graph, 0) != graph->nnodes - 1)
	{
		nn_fail(err, "the network ends in something else than its first output; make it "
					 "one for inference first (nn_graph_fold_batchnorm)");
		return NULL;
	}
	net = (NnNet *) calloc(1, sizeof(*net));
	if (!net)
	{
		nn_fail(err, "out of memory while loading the network");
		return NULL;
	}
	net->net.graph = graph;
	net->net.book.max_batch = how->max_batch;
	net->how = *how;
	net->how.precision = nn_precision_for(graph, how->precision);
	net->serving = serving;
	net->picture = nn_shape_size(&graph->node[0].shape);
	net->bits = (int) nn_shape_size(&nn_graph_output(graph)->shape);
	net->tolerance = nn_tolerance(graph, net->how.precision);
	return net;
}

static void
cuda_unload(NnNet *net)
{
	NnError ignored;

	if (!net)
		return;
	gpu_wait(&net->net.m, &ignored);
	stream_close(net->up);
	stream_close(net->down);
	for (int i = 0; i < net->recordings.count; i++)
		forget(&net->net.m, net->recording[i]);
	recordings_free(&net->recordings);
	for (int k = 0; k < NN_STAGES; k++)
	{
		event_close(net->side[k].filled);
		event_close(net->side[k].computed);
		event_close(net->side[k].done);
		gpu_free_host(net->stage[k].images);
		gpu_free_host(net->stage[k].codes);
		gpu_free_host(net->stage[k].doubts);
		gpu_free_host(net->stage[k].logits);
	}
	gpu_stop(&net->net.m);
	free_network(&net->net);
	free(net);
}

static Rooms
rooms_of(const NnNet *net)
{
	return net->serving ? rooms_within(net->how.memory) : rooms();
}

static bool
start_machine(NnNet *net, NnError *err)
{
	if (!gpu_start(&net->net.m, net->how.precision == NN_TF32, rooms_of(net), err))
		return false;
	net->net.m.fp16 = net->how.precision == NN_FP16;
	net->graphs = net->how.graphs && !(net->net.m.without & WITHOUT_GRAPHS);
	return true;
}

static NnNet *
open_net(const NnGraph *graph, const NnServing *how, bool serving, NnError *err)
{
	NnNet *net = make_net(graph, how, serving, err);

	if (net && start_machine(net, err) && take_memory(net, err) &&
		gpu_wait(&net->net.m, err) && (!serving || open_stages(net, err)))
		return net;
	cuda_unload(net);
	return NULL;
}

static NnNet *
cuda_load(const NnGraph *graph, int max_batch, int threads, NnError *err)
{
	NnServing how;

	(void) threads;
	memset(&how, 0, sizeof(how));
	how.max_batch = max_batch;
	how.precision = NN_FLOAT32;
	return open_net(graph, &how, false, err);
}

static NnNet *
cuda_serve(const NnGraph *graph, const NnServing *how, NnError *err)
{
	return open_net(graph, how, true, err);
}

static size_t
cuda_memory(const NnNet *net)
{
	return net->net.book.bytes + net->net.m.room.product;
}

/* A layout that is counted instead of made. */
static size_t
cuda_estimate(const NnGraph *graph, const NnServing *how)
{
	NnError ignored;
	NnNet *net = make_net(graph, how, true, &ignored);
	size_t bytes = 0;

	if (!net)
		return 0;
	net->net.book.counting = true;
	net->net.m.room = rooms_of(net);
	if (take_memory(net, &ignored))
		bytes = cuda_memory(net);
	free_network(&net->net);
	free(net);
	return bytes;
}

/* ---------------------------------------------------------------------- running */

static bool
batch_ok(const NnNet *net, int n, NnError *err)
{
	return (n >= 1 && n <= net->how.max_batch) ||
		   nn_fail(err, "a batch of %d images: this network was loaded for 1 to %d", n,
				   net->how.max_batch);
}

static bool
cuda_run(NnNet *net, const uint8_t *images, int n, float *out, NnError *err)
{
	Machine *m = &net->net.m;
	size_t bytes = (size_t) n * (size_t) net->bits * sizeof(float);

	return batch_ok(net, n, err) &&
		   gpu_up(m, net->side[0].images, images, (size_t) n * net->picture, err) &&
		   net->queue_input(&net->net, net->side[0].images, n, err) &&
		   net->queue_rest(&net->net, n, err) &&
		   gpu_down(m, out, net->net.result, bytes, err) && gpu_wait(m, err);
}

/* ---------------------------------------------------------------------- serving */

static bool
queue_again(void *context, int n, NnError *err)
{
	NnNet *net = (NnNet *) context;

	return net->queue_rest(&net->net, n, err);
}

/* Record the nodes for batches of n; where that fails, never again. */
static int
make_recording(NnNet *net, int n)
{
	Recording recording = 0;
	NnError ignored;
	bool old;
	int at;

	if (!record(&net->net.m, &recording, queue_again, net, n, &ignored))
	{
		net->graphs = false;
		return -1;
	}
	at = recordings_place(&net->recordings, n, &old);
	if (old)
		forget(&net->net.m, net->recording[at]);
	net->recording[at] = recording;
	return at;
}

static bool
queue_nodes(NnNet *net, int n, NnError *err)
{
	int at = net->graphs ? recordings_find(&net->recordings, n) : -1;

	if (at < 0 && net->graphs && recordings_wanted(&net->recordings, n))
		at = make_recording(net, n);
	if (at < 0)
		return net->queue_rest(&net->net, n, err);
	return replay(&net->net.m, net->recording[at], queue_again, net, n, err);
}

static bool
queue_codes(NnNet *net, Side *side, NnError *err)
{
	Codes codes = {net->net.result,
				   net->bits,
				   net->thresholds,
				   net->tolerance,
				   side->codes,
				   side->doubts,
				   side->logits_wanted ? side->logits : NULL};
	const char *trouble;

	make_codes(&net->net.m, side->n, codes);
	trouble = gpu_trouble(&net->net.m);
	return !trouble || nn_fail(err, "CUDA: making codes: %s", trouble);
}

static bool
queue_batch(NnNet *net, int k, NnError *err)
{
	Side *side = &net->side[k];
	NnStage *stage = &net->stage[k];
	Stream compute = stream_of(&net->net.m);
	size_t n = (size_t) side->n, bits = (size_t) net->bits;

	return stream_up(net->up, side->images, stage->images, n * net->picture, err) &&
		   stream_marks(net->up, side->filled, err) &&
		   stream_follows(compute, side->filled, err) &&
		   net->queue_input(&net->net, side->images, side->n, err) &&
		   queue_nodes(net, side->n, err) && queue_codes(net, side, err) &&
		   stream_marks(compute, side->computed, err) &&
		   stream_follows(net->down, side->computed, err) &&
		   stream_down(net->down, stage->codes, side->codes, n * ((bits + 7) / 8), err) &&
		   stream_down(net->down, stage->doubts, side->doubts, n * sizeof(uint32_t),
					   err) &&
		   (!side->logits_wanted || stream_down(net->down, stage->logits, side->logits,
												n * bits * sizeof(float), err)) &&
		   stream_marks(net->down, side->done, err);
}

/* Wait for whatever went in. */
static void
settle(NnNet *net, Side *side)
{
	NnError ignored;

	if (stream_marks(net->up, side->filled, &ignored))
		event_wait(side->filled, &ignored);
	gpu_wait(&net->net.m, &ignored);
	if (stream_marks(net->down, side->done, &ignored))
		event_wait(side->done, &ignored);
}

static bool
cuda_submit(NnNet *net, int k, int n, bool logits, NnError *err)
{
	Side *side = &net->side[k];

	if (!batch_ok(net, n, err))
		return false;
	if (side->under_way)
		return nn_fail(err, "stage %d was sent and not awaited", k);
	side->n = n;
	side->logits_wanted = logits;
	side->under_way = queue_batch(net, k, err);
	/* What went in uses the stage, which the caller will fill again. */
	if (!side->under_way)
		settle(net, side);
	return side->under_way;
}

static bool
cuda_wait(NnNet *net, int k, NnError *err)
{
	Side *side = &net->side[k];

	if (!side->under_way)
		return nn_fail(err, "stage %d was not sent", k);
	side->under_way = false;
	return event_wait(side->done, err);
}

static NnStage *
cuda_stage(NnNet *net, int k)
{
	return &net->stage[k];
}

/* ---------------------------------------------------------------------- probing */

/* What serving takes in its stride: a batch of every kind, twice, so that it is recorded.
 */
static bool
serve_some(const NnGraph *graph, NnError *err)
{
	NnServing how;
	NnNet *net;
	bool ok;

	memset(&how, 0, sizeof(how));
	how.max_batch = 2;
	how.precision = NN_FP16;
	how.graphs = true;
	how.memory = 1; /* as little as it can do with */
	net = cuda_serve(graph, &how, err);
	ok = net != NULL;
	for (int i = 0; i < 4 && ok; i++)
	{
		memset(net->stage[i % 2].images, i, 2 * net->picture);
		ok = cuda_submit(net, i % 2, 1 + i / 2, true, err) && cuda_wait(net, i % 2, err);
	}
	for (int i = 0; i < 2 && ok; i++)
		ok = cuda_submit(net, i, 2, false, err);
	for (int i = 0; i < 2 && ok; i++)
		ok = cuda_wait(net, i, err);
	cuda_unload(net);
	return ok;
}

/*
 * Whoever probes may close the file system and system calls to itself afterwards, and
 * limit its memory: a small network is loaded, served and left, so that the libraries
 * have opened what they open and the driver has started what it starts.  A GPU that
 * cannot do that is none.
 */
static bool
warm_up(NnError *err)
{
	static const float mean[3] = {0, 0, 0}, std[3] = {1, 1, 1};
	static bool warm;
	NnGraph *g;
	int x;

	if (warm)
		return true;
	g = nn_graph_new();
	if (!g)
		return nn_fail(err, "out of memory");
	x = nn_input(g, 32, 32, mean, std);
	x = nn_conv2d(g, x, "conv1", 32, 3, 3, 1, 1, 1, true, NN_RELU);
	x = nn_conv2d(g, x, "conv2", 32, 3, 3, 2, 1, 1, true, NN_IDENTITY);
	x = nn_conv2d(g, x, "conv3", 64, 1, 1, 1, 0, 1, true, NN_GELU);
	x = nn_global_avgpool(g, x);
	nn_linear(g, x, "hash", 64, true, NN_IDENTITY);
	warm = serve_some(g, err);
	nn_graph_free(g);
	return warm;
}

extern "C" bool gpu_probe(char *text, size_t size);
extern "C" const NnDevice *deephash_device(void);

#ifdef __CUDACC__

__global__ static void
nothing(void)
{
}

/* cuDNN is opened by name, and stays. */
static void
keep_libraries(void)
{
	static DnnLibrary dnn;
	char ignored[128];

	if (!dnn.opened &&
		!(parts_to_do_without(getenv("DEEPHASH_GPU_WITHOUT")) & WITHOUT_CUDNN))
		dnn_open(&dnn, ignored, sizeof(ignored));
}

/* Where there is a GPU the driver is at work, and does not like its caller unloaded. */
static void
stay(void)
{
	static bool stays;
	Dl_info own;

	if (!stays && dladdr((void *) stay, &own))
		stays = dlopen(own.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE) != NULL;
}

/* The first GPU that CUDA shows, and whether this was compiled for it. */
static bool
find_gpu(char *text, size_t size)
{
	cudaDeviceProp device;
	cudaFuncAttributes attributes;
	cudaError_t code;
	int count = 0, driver = 0;

	code = cudaGetDeviceCount(&count);
	if (code == cudaSuccess && count > 0)
		stay();
	if (code == cudaSuccess && count > 0)
		code = cudaGetDeviceProperties(&device, 0);
	if (code == cudaSuccess && count > 0)
		code = cudaSetDevice(0);
	if (code == cudaSuccess && count > 0)
		code = cudaFuncGetAttributes(&attributes, nothing);
	if (code != cudaSuccess || count == 0)
	{
		cudaGetLastError();
		snprintf(text, size, "%s",
				 count == 0 && code == cudaSuccess ? "no CUDA device"
												   : cudaGetErrorString(code));
		return false;
	}
	cudaDriverGetVersion(&driver);
	snprintf(text, size, "%s, %.0f GB, compute capability %d.%d, driver for CUDA %d.%d",
			 device.name, (double) device.totalGlobalMem / 1e9, device.major,
			 device.minor, driver / 1000, driver % 1000 / 10);
	return true;
}

#else

HostRecordings gpu_host_recordings;

static void
keep_libraries(void)
{
}

static bool
find_gpu(char *text, size_t size)
{
	snprintf(text, size, "the host");
	return true;
}

#endif

extern "C" bool
gpu_probe(char *text, size_t size)
{
	NnError err;

	if (!find_gpu(text, size))
		return false;
	keep_libraries();
	if (warm_up(&err))
		return true;
	snprintf(text, size, "%s", err.text);
	return false;
}

static const NnDevice cuda_device = {
	NN_DEVICE_API, "cuda",		gpu_probe,	   cuda_load,  cuda_run,
	cuda_memory,   cuda_unload, cuda_estimate, cuda_serve, cuda_stage,
	cuda_submit,   cuda_wait,	NN_FP16,	   false};

extern "C" const NnDevice *
deephash_device(void)
{
	return &cuda_device;
}
