/*
 * arch_shapes.h
 *	  Architectures by their labels, for tests that count or list parameters.
 */
#ifndef ARCH_SHAPES_H
#define ARCH_SHAPES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "training/arch/arch.h"

/* The network of a label without its weights; size 0: what it was made for. */
static NnGraph *
shapes_of(const char *label, ArchHead head, int outputs, int size)
{
	ArchOptions o;
	TrainError err;
	char name[64];
	const Arch *arch;
	NnGraph *g;

	snprintf(name, sizeof(name), "%.*s", (int) strcspn(label, " "), label);
	arch = arch_find(name);
	assert_non_null(arch);
	arch_defaults(arch, &o);
	if (!arch_from_label(label, &o, &err))
		fail_msg("%s", err.text);
	o.head = head;
	o.outputs = outputs;
	o.height = o.width = size;
	o.shapes_only = true;
	g = arch_build(arch, &o, &err);
	if (!g)
		fail_msg("%s", err.text);
	return g;
}

#endif
