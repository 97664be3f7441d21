/*
 * fuzz_import.c
 *	  libFuzzer target: any bytes as a file of weights for a small vision transformer.
 *
 * The first byte chooses whether a part will do, and whether the head is the network's
 * own; where a file is refused there is a reason, and the network is as it was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "training/import/import.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static NnGraph *
network(void)
{
	const Arch *arch = arch_find("vit-ti");
	ArchOptions o;
	TrainError err;

	arch_defaults(arch, &o);
	if (!arch_set(arch, &o, "depth", "1", &err) ||
		!arch_set(arch, &o, "patch", "4", &err))
		abort();
	o.height = o.width = 8;
	o.outputs = 2;
	return arch_build(arch, &o, &err);
}

/* A sum that changes when a parameter's first values do. */
static double
digest(const NnGraph *g)
{
	double sum = 0;

	for (int i = 0; i < g->nparams; i++)
		for (size_t k = 0; k < 16 && k < nn_shape_size(&g->param[i].shape); k++)
			sum += g->param[i].data[k] * (double) (1 + k);
	return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static NnGraph *g;
	ImportOptions options = {.head = "head"};
	ArchOptions o;
	TrainError err = {""};
	char path[64];
	double before;
	int fd = memfd_create("weights", MFD_CLOEXEC);

	if (!g)
		g = network();
	if (size > 0)
	{
		options.partial = data[0] & 1;
		options.fresh_head = data[0] & 2;
		data++;
		size--;
	}
	if (fd < 0 || write(fd, data, size) != (ssize_t) size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	arch_defaults(arch_find("vit-ti"), &o);
	import_look(arch_find("vit-ti"), path, &o, &options, &err);
	before = digest(g);
	err.text[0] = '\0';
	if (!import_weights(g, path, &options, &err) &&
		(err.text[0] == '\0' || digest(g) != before))
		abort();
	close(fd);
	return 0;
}
