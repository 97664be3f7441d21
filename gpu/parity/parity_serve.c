/*
 * parity_serve.c
 *	  Does a device that serves make the codes that the CPU makes?
 */
#include "gpu/parity/parity_serve.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/graph.h"
#include "nn/random.h"
#include "nn/tolerance.h"

#define ROUNDS 6 /* batches of each stage: the second of a size may be recorded */

typedef struct Both
{
	const NnDevice *device;
	const NnServing *how;
	NnNet *cpu, *other;
	NnTolerance tolerance;
	size_t picture;
	int bits;
	uint64_t random;
	float *logits; /* the CPU's, of a batch */
	uint8_t *images[NN_STAGES];
	int n[NN_STAGES];
	ParityServe *found;
	char *text;
	size_t size;
} Both;

static bool
wrong(Both *b, const char *what, int n, const char *why)
{
	snprintf(b->text, b->size, "%s, batch of %d: %s", what, n, why);
	return false;
}

static bool
bit_of(const uint8_t *code, int k)
{
	return code[k / 8] >> (7 - k % 8) & 1;
}

static float
threshold_of(const Both *b, int k)
{
	return b->how->thresholds ? b->how->thresholds[k] : 0.0f;
}

/* One picture: the device's logits, code and doubts beside the CPU's logits. */
static bool
compare_picture(Both *b, const float *cpu, const float *z, const uint8_t *code,
				uint32_t doubts, int n)
{
	float near = nn_tolerance_of(&b->tolerance, z, b->bits);
	uint32_t counted = 0, most = 0;

	for (int k = 0; k < b->bits; k++)
	{
		double apart = fabs((double) z[k] - cpu[k]);
		double away = fabs((double) z[k] - threshold_of(b, k));
		bool bit = bit_of(code, k);

		if (bit != (z[k] > threshold_of(b, k)))
			return wrong(b, "code", n, "a bit is not that of its logit");
		if (!(apart <= near))
			return wrong(b, "logit", n, "further from the CPU's than the tolerance");
		b->found->apart = fmax(b->found->apart, near > 0 ? apart / near : 0);
		if (bit != (cpu[k] > threshold_of(b, k)))
			b->found->different++;
		/* The device adds squares in another order than we do. */
		counted += away <= near * 0.999;
		most += away <= near * 1.001;
	}
	for (int k = b->bits; k % 8; k++)
		if (bit_of(code, k))
			return wrong(b, "code", n, "a bit past the last is set");
	b->found->bits += (size_t) b->bits;
	b->found->doubtful += doubts;
	return (doubts >= counted && doubts <= most) ||
		   wrong(b, "code", n, "doubtful bits are not counted right");
}

static bool
send(Both *b, int k, int n)
{
	NnError err = {""};
	NnStage *stage = b->device->stage(b->other, k);

	for (size_t i = 0; i < (size_t) n * b->picture; i++)
		b->images[k][i] = (uint8_t) (nn_mix(b->random++) >> 40);
	memcpy(stage->images, b->images[k], (size_t) n * b->picture);
	b->n[k] = n;
	return b->device->submit(b->other, k, n, true, &err) ||
		   wrong(b, "submit", n, err.text);
}

static bool
receive(Both *b, int k)
{
	NnError err = {""};
	NnStage *stage = b->device->stage(b->other, k);
	size_t bytes = ((size_t) b->bits + 7) / 8;
	int n = b->n[k];

	if (!b->device->wait(b->other, k, &err) ||
		!nn_cpu_device.run(b->cpu, b->images[k], n, b->logits, &err))
		return wrong(b, "wait", n, err.text);
	for (int i = 0; i < n; i++)
		if (!compare_picture(b, b->logits + (size_t) i * b->bits,
							 stage->logits + (size_t) i * b->bits,
							 stage->codes + i * bytes, stage->doubts[i], n))
			return false;
	return true;
}

/* The sizes change, and come again. */
static bool
batches(Both *b)
{
	int most = b->how->max_batch;

	for (int i = 0; i < ROUNDS; i++)
	{
		int n = i % 2 ? most : 1 + i / 2 % most;

		if (!send(b, 0, n) || !send(b, 1, most + 1 - n) || !receive(b, 0) ||
			!receive(b, 1))
			return false;
	}
	return true;
}

bool
parity_serve(const NnDevice *device, const NnGraph *graph, const NnServing *how,
			 uint64_t seed, ParityServe *found, char *text, size_t size)
{
	NnError err = {""};
	Both b = {.device = device,
			  .how = how,
			  .tolerance = nn_tolerance(graph, how->precision),
			  .picture = nn_shape_size(&graph->node[0].shape),
			  .bits = (int) nn_shape_size(&nn_graph_output(graph)->shape),
			  .random = seed << 32,
			  .found = found,
			  .text = text,
			  .size = size};
	bool ok;

	memset(found, 0, sizeof(*found));
	text[0] = '\0';
	b.cpu = nn_cpu_device.load(graph, how->max_batch, how->threads, &err);
	b.other = b.cpu ? device->serve(graph, how, &err) : NULL;
	b.logits = malloc((size_t) how->max_batch * b.bits * sizeof(float));
	for (int k = 0; k < NN_STAGES; k++)
		b.images[k] = malloc(how->max_batch * b.picture);
	ok = (b.other && b.logits && b.images[0] && b.images[1]) ||
		 wrong(&b, "serve", how->max_batch, err.text);
	if (ok && device->memory(b.other) < device->estimate(graph, how))
		ok = wrong(&b, "serve", how->max_batch, "takes less memory than was estimated");
	ok = ok && batches(&b);
	if (b.other)
		device->unload(b.other);
	if (b.cpu)
		nn_cpu_device.unload(b.cpu);
	free(b.logits);
	for (int k = 0; k < NN_STAGES; k++)
		free(b.images[k]);
	return ok;
}
