/*
 * runner.c
 *	  A model's network on the device, behind one interface: stages that are filled, sent,
 *	  and awaited.
 *
 * A device without stages of its own gets one here: sending is nothing, awaiting
 * computes.
 */
#include "service/service.h"

#include <stdlib.h>
#include <string.h>

#include "hamming/hamming.h"
#include "nn/tolerance.h"

struct Runner
{
	const NnDevice *device;
	NnNet *net;
	int bits;
	size_t memory;
	/* for a device without stages */
	const float *thresholds;
	NnTolerance tolerance;
	NnStage stage; /* unless callers bring theirs */
	int n;		   /* pictures that are to be computed */
};

bool
device_has_stages(const NnDevice *device)
{
	return device->serve != NULL;
}

int
device_stages(const NnDevice *device)
{
	return device_has_stages(device) ? NN_STAGES : 1;
}

NnPrecision
device_precision(const NnDevice *device, int wanted)
{
	if (!device_has_stages(device))
		return NN_FLOAT32;
	return wanted == PRECISION_AUTO ? device->usual : (NnPrecision) wanted;
}

static const char *const precision_names[] = {
	[NN_FLOAT32] = "float32", [NN_TF32] = "tf32", [NN_BF16] = "bf16", [NN_FP16] = "fp16"};

const char *
precision_name(NnPrecision precision)
{
	return precision_names[precision];
}

bool
precision_named(const char *name, int *wanted)
{
	if (strcmp(name, "auto") == 0)
	{
		*wanted = PRECISION_AUTO;
		return true;
	}
	for (int i = NN_FLOAT32; i <= NN_FP16; i++)
	{
		if (strcmp(name, precision_names[i]) == 0)
		{
			*wanted = i;
			return true;
		}
	}
	return false;
}

/* Of a batch on a device without stages. */
static size_t
buffers(const NnDevice *device, const NnModel *file, int max_batch)
{
	if (device->callers)
		return 0;
	return (size_t) max_batch *
		   (nn_shape_size(&file->graph.node[0].shape) + file->info.bits * sizeof(float) +
			hamming_bytes(file->info.bits) + sizeof(uint32_t));
}

size_t
runner_estimate(const NnDevice *device, const NnModel *file, const NnServing *how)
{
	size_t net = device->estimate(&file->graph, how);

	/* Where the device has memory of its own the rest does not count. */
	if (net == 0 || device_has_stages(device))
		return net;
	return net + buffers(device, file, how->max_batch) + file->map_size;
}

static bool
make_stage(Runner *runner, const NnModel *file, int max_batch)
{
	NnStage *stage = &runner->stage;

	stage->images = malloc(max_batch * nn_shape_size(&file->graph.node[0].shape));
	stage->logits = malloc(max_batch * sizeof(float) * runner->bits);
	stage->codes = malloc(max_batch * hamming_bytes(runner->bits));
	stage->doubts = malloc(max_batch * sizeof(uint32_t));
	return stage->images && stage->logits && stage->codes && stage->doubts;
}

Runner *
runner_open(const NnDevice *device, const NnModel *file, const NnServing *how,
			NnError *err)
{
	Runner *runner = calloc(1, sizeof(*runner));

	if (runner == NULL)
	{
		nn_fail(err, "out of memory");
		return NULL;
	}
	runner->device = device;
	runner->bits = file->info.bits;
	if (device_has_stages(device))
		runner->net = device->serve(&file->graph, how, err);
	else
		runner->net = device->load(&file->graph, how->max_batch, how->threads, err);
	if (runner->net == NULL)
	{
		runner_close(runner);
		return NULL;
	}
	runner->memory = device->memory(runner->net);
	if (device_has_stages(device))
		return runner;
	runner->memory += buffers(device, file, how->max_batch) + file->map_size;
	runner->thresholds = how->thresholds;
	runner->tolerance = nn_tolerance(&file->graph, NN_FLOAT32);
	if (!device->callers && !make_stage(runner, file, how->max_batch))
	{
		nn_fail(err, "out of memory for batches of %d images", how->max_batch);
		runner_close(runner);
		return NULL;
	}
	return runner;
}

size_t
runner_memory(const Runner *runner)
{
	return runner->memory;
}

NnStage *
runner_stage(Runner *runner, int k)
{
	return device_has_stages(runner->device) ? runner->device->stage(runner->net, k)
											 : &runner->stage;
}

bool
runner_submit(Runner *runner, int k, int n, bool logits, NnError *err)
{
	if (device_has_stages(runner->device))
		return runner->device->submit(runner->net, k, n, logits, err);
	runner->n = n;
	return true;
}

bool
runner_run(Runner *runner, NnStage *stage, int n, NnError *err)
{
	if (!runner->device->run(runner->net, stage->images, n, stage->logits, err))
		return false;
	for (int i = 0; i < n; i++)
	{
		const float *logits = stage->logits + (size_t) i * runner->bits;

		hamming_pack(logits, runner->thresholds, runner->bits,
					 stage->codes + i * hamming_bytes(runner->bits));
		stage->doubts[i] =
			nn_doubts(&runner->tolerance, logits, runner->thresholds, runner->bits);
	}
	return true;
}

bool
runner_wait(Runner *runner, int k, NnError *err)
{
	if (device_has_stages(runner->device))
		return runner->device->wait(runner->net, k, err);
	return runner_run(runner, &runner->stage, runner->n, err);
}

void
runner_close(Runner *runner)
{
	if (runner == NULL)
		return;
	if (runner->net)
		runner->device->unload(runner->net);
	free(runner->stage.images);
	free(runner->stage.logits);
	free(runner->stage.codes);
	free(runner->stage.doubts);
	free(runner);
}
