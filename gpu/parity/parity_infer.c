/*
 * parity_infer.c
 *	  Inference in float32 beside the CPU's.
 */
#include "gpu/parity/parity_infer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "gpu/parity/parity_draw.h"
#include "gpu/parity/parity_noise.h"

#define BATCH 5

/* The largest difference of two values. */
static double
apart(const float *a, const float *b, size_t n)
{
	double far = 0;

	for (size_t i = 0; i < n; i++)
	{
		double d = fabs((double) a[i] - b[i]);

		if (!(d <= far))
			far = isnan(d) ? INFINITY : d;
	}
	return far;
}

static double
largest(const float *a, size_t n)
{
	double most = 0;

	for (size_t i = 0; i < n; i++)
		most = fmax(most, fabs(a[i]));
	return most;
}

typedef struct Nets
{
	NnNet *cpu, *other, *noisy[PARITY_DRAWS];
	NnGraph *noisy_graph[PARITY_DRAWS];
	int draws;
	float *a, *b, *c; /* outputs of the CPU, of the device, with errors */
} Nets;

static bool
load(Nets *nets, const NnDevice *device, const NnGraph *g, NnError *err)
{
	ParityNoise noise = {
		.precision = NN_FLOAT32, .batch = BATCH, .size = PARITY_ENLARGED};
	size_t size = BATCH * nn_shape_size(&nn_graph_output(g)->shape);

	nets->cpu = nn_cpu_device.load(g, BATCH, 0, err);
	nets->other = nets->cpu ? device->load(g, BATCH, 0, err) : NULL;
	if (nets->other == NULL)
		return false;
	for (int i = 0; i < nets->draws; i++)
	{
		nets->noisy_graph[i] = parity_noisy(g, &noise, err);
		if (nets->noisy_graph[i])
			nets->noisy[i] = nn_cpu_device.load(nets->noisy_graph[i], BATCH, 0, err);
		if (nets->noisy[i] == NULL)
			return false;
	}
	nets->a = malloc(size * sizeof(float));
	nets->b = malloc(size * sizeof(float));
	nets->c = malloc(size * sizeof(float));
	return (nets->a && nets->b && nets->c) || nn_fail(err, "out of memory");
}

static void
unload(Nets *nets, const NnDevice *device)
{
	if (nets->cpu)
		nn_cpu_device.unload(nets->cpu);
	if (nets->other)
		device->unload(nets->other);
	for (int i = 0; i < nets->draws; i++)
	{
		if (nets->noisy[i])
			nn_cpu_device.unload(nets->noisy[i]);
		nn_graph_free(nets->noisy_graph[i]);
	}
	free(nets->a);
	free(nets->b);
	free(nets->c);
}

/* A batch of n: the distance as a share of what errors of rounding make of it. */
static bool
run(Nets *nets, const NnDevice *device, const uint8_t *images, int n, size_t size,
	double *ratio, double *far, NnError *err)
{
	double top, furthest = 0, bound, d;

	if (!nn_cpu_device.run(nets->cpu, images, n, nets->a, err) ||
		!device->run(nets->other, images, n, nets->b, err))
		return false;
	for (int i = 0; i < nets->draws; i++)
	{
		if (!nn_cpu_device.run(nets->noisy[i], images, n, nets->c, err))
			return false;
		furthest = fmax(furthest, apart(nets->a, nets->c, n * size));
	}
	top = largest(nets->a, n * size);
	bound = PARITY_TIMES * (furthest + PARITY_ENLARGED * ldexp(top, -24));
	d = apart(nets->a, nets->b, n * size);
	if (d > 0 && !(d / bound <= *ratio))
	{
		*ratio = d / bound;
		*far = d / top;
	}
	return true;
}

bool
parity_infer(const NnDevice *device, NnGraph *g, int draws, double *ratio, char *text,
			 size_t size)
{
	NnError err = {""};
	Nets nets = {.draws = draws};
	uint8_t *images = NULL;
	double far = 0;
	bool ok = nn_graph_ok(g, &err);

	*ratio = 0;
	if (ok)
	{
		parity_fill(g);
		images = parity_pictures(g, BATCH);
		ok = load(&nets, device, g, &err);
	}
	for (int n = 1; ok && n <= BATCH; n += 2)
		ok = run(&nets, device, images, n, nn_shape_size(&nn_graph_output(g)->shape),
				 ratio, &far, &err);
	if (ok)
		snprintf(text, size, "%.3f of the bound, off by %.1e of the largest value",
				 *ratio, far);
	else
		snprintf(text, size, "%s", err.text);
	unload(&nets, device);
	free(images);
	nn_graph_free(g);
	return ok;
}
