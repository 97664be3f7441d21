/*
 * cmd_synth.c
 *	  deephash-train synth
 */
#include "training/command.h"
#include "training/data/synth.h"

#include <stdio.h>
#include <stdlib.h>

static void
usage(void)
{
	const SynthOptions *d = &synth_defaults;

	printf(
		"Draw a labelled set of small JPEG scenes, for machines that have no pictures.\n"
		"The class of a picture is the shape of its largest object.\n\n"
		"Usage: deephash-train synth [OPTION]... DIR\n\n"
		"  --classes N        2 to %d (%d)\n"
		"  --per-class N      pictures of each class (%d)\n"
		"  --size N           width and height, %d to %d (%d)\n"
		"  --quality N        of the JPEGs, 1 to 100 (%d)\n"
		"  --seed N           same seed, same pictures (%llu)\n"
		"  --into-existing    write into a folder that is not empty\n"
		"  --threads N        (one per CPU)\n"
		"  --help\n\n"
		"Afterwards: deephash-train train --data folder:DIR --out model.safetensors\n",
		synth_class_count(), d->classes, d->per_class, SYNTH_MIN_SIZE, SYNTH_MAX_SIZE,
		d->size, d->quality, (unsigned long long) d->seed);
}

static bool
set_option(void *arg, int option)
{
	SynthOptions *o = arg;

	switch (option)
	{
		case 'c':
			return command_int(optarg, 2, synth_class_count(), &o->classes);
		case 'p':
			return command_int(optarg, 1, 10000000, &o->per_class);
		case 'z':
			return command_int(optarg, SYNTH_MIN_SIZE, SYNTH_MAX_SIZE, &o->size);
		case 'q':
			return command_int(optarg, 1, 100, &o->quality);
		case 's':
			return command_seed(optarg, &o->seed);
		case 'e':
			o->into_existing = true;
			return true;
		default:
			return command_int(optarg, 1, 1024, &o->threads);
	}
}

int
cmd_synth(int argc, char **argv)
{
	static const struct option options[] = {
		{"classes", required_argument, NULL, 'c'},
		{"per-class", required_argument, NULL, 'p'},
		{"size", required_argument, NULL, 'z'},
		{"quality", required_argument, NULL, 'q'},
		{"seed", required_argument, NULL, 's'},
		{"into-existing", no_argument, NULL, 'e'},
		{"threads", required_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	SynthOptions o = synth_defaults;
	TrainError err;
	int status;

	o.threads = command_cpus();
	status = command_options("synth", argc, argv, options, usage, set_option, &o);
	if (status >= 0)
		return status;
	if (optind != argc - 1)
		return command_usage("synth", "give one folder to write to");
	if (!synth_write(argv[optind], &o, &err))
		return command_failed("synth", &err);
	fprintf(stderr, "%d pictures of %d classes in %s\n", o.classes * o.per_class,
			o.classes, argv[optind]);
	return COMMAND_OK;
}
