/*
 * cmd_images.c
 *	  deephash-train images: the pictures of a data set as JPEG files.
 *
 * For taking a data set that is not made of JPEGs to where JPEGs are wanted: into a
 * table, or to another tool.
 */
#include "training/command.h"
#include "training/data/dataset.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void
help(void)
{
	puts("Usage: deephash-train images --data DATA --out DIR [OPTION]...\n"
		 "\n"
		 "Write the pictures of DATA (see \"deephash-train train --help\") as\n"
		 "DIR/CLASS/NUMBER.jpg and list them in DIR/manifest.tsv, which\n"
		 "--data manifest:DIR/manifest.tsv reads again.\n"
		 "\n"
		 "  --data DATA    what to write\n"
		 "  --out DIR      a new or empty folder\n"
		 "  --quality N    JPEG quality, 1 to 100 (95)\n"
		 "  --size N       side of the pictures (32); DATA of JPEGs is resized to it\n"
		 "  --help         this text");
}

/* Make a folder; one that is there already will do. */
static bool
make_folder(const char *path, TrainError *err)
{
	if (mkdir(path, 0777) != 0 && errno != EEXIST)
		return train_fail(err, "cannot make folder \"%s\": %s", path, strerror(errno));
	return true;
}

/* A class's name as a folder's: a slash or a leading dot would lead elsewhere. */
static void
folder_name(const char *class_name, char *out, size_t size)
{
	snprintf(out, size, "%s", class_name);
	for (char *c = out; *c; c++)
		if (*c == '/' || (unsigned char) *c < ' ')
			*c = '_';
	if (out[0] == '.' || out[0] == '\0')
		out[0] = '_';
}

static bool
write_file(const char *path, const uint8_t *data, size_t size, TrainError *err)
{
	FILE *f = fopen(path, "wbx");
	bool written;

	if (!f)
		return train_fail(err, "cannot write \"%s\": %s", path, strerror(errno));
	written = fwrite(data, 1, size, f) == size;
	if (fclose(f) != 0 || !written)
		return train_fail(err, "cannot write \"%s\": %s", path, strerror(errno));
	return true;
}

/* Labels of picture i, comma-separated, as a manifest has them. */
static void
write_labels(const Dataset *ds, int i, FILE *manifest)
{
	const uint64_t *labels = ds->labels + (size_t) i * ds->label_words;
	const char *separator = "\t";

	for (int c = 0; c < ds->nclasses; c++)
		if (labels[c / 64] >> (c % 64) & 1)
		{
			fprintf(manifest, "%s%s", separator, ds->class_name[c]);
			separator = ",";
		}
	fputc('\n', manifest);
}

static bool
write_picture(const Dataset *ds, int i, const char *dir, int quality, FILE *manifest,
			  TrainError *err)
{
	size_t bytes = (size_t) ds->width * ds->height * 3;
	Image img = {ds->width, ds->height, ds->rgb + (size_t) i * bytes};
	int class = dataset_class(ds, i);
	char folder[256];
	char path[4096];
	ImageError why;
	uint8_t *jpeg;
	size_t size;
	bool ok;

	folder_name(class < 0 ? "none" : ds->class_name[class], folder, sizeof(folder));
	if (snprintf(path, sizeof(path), "%s/%s", dir, folder) > 4000)
		return train_fail(err, "the path of folder \"%s\" is too long", dir);
	if (!make_folder(path, err))
		return false;
	snprintf(path, sizeof(path), "%s/%s/%06d.jpg", dir, folder, i);
	if (!image_encode_jpeg(&img, quality, &jpeg, &size, &why))
		return train_fail(err, "%s: %s", ds->source[i], why.text);
	ok = write_file(path, jpeg, size, err);
	free(jpeg);
	if (!ok)
		return false;
	fprintf(manifest, "%s/%06d.jpg", folder, i);
	write_labels(ds, i, manifest);
	return true;
}

static bool
write_pictures(const Dataset *ds, const char *dir, int quality, TrainError *err)
{
	char path[4096];
	FILE *manifest;
	bool ok = true;

	if (!make_folder(dir, err))
		return false;
	if (snprintf(path, sizeof(path), "%s/manifest.tsv", dir) >= (int) sizeof(path))
		return train_fail(err, "the path of folder \"%s\" is too long", dir);
	manifest = fopen(path, "wx");
	if (!manifest)
		return train_fail(err, "cannot write \"%s\": %s", path, strerror(errno));
	for (int i = 0; i < ds->n && ok; i++)
		ok = write_picture(ds, i, dir, quality, manifest, err);
	if ((ferror(manifest) | fclose(manifest)) && ok)
		ok = train_fail(err, "cannot write \"%s\": %s", path, strerror(errno));
	return ok;
}

int
cmd_images(int argc, char **argv)
{
	static const struct option options[] = {
		{"data", required_argument, NULL, 'd'},	   {"out", required_argument, NULL, 'o'},
		{"quality", required_argument, NULL, 'q'}, {"size", required_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'},		   {NULL, 0, NULL, 0}};
	const char *data = NULL;
	const char *out = NULL;
	int quality = 95;
	int size = 32;
	ImagePreprocess pre;
	Dataset *ds;
	TrainError err;
	bool ok;
	int option;

	optind = 1;
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
		switch (option)
		{
			case 'd':
				data = optarg;
				break;
			case 'o':
				out = optarg;
				break;
			case 'q':
				if (!command_int(optarg, 1, 100, &quality))
					return command_refused("images", "quality", optarg);
				break;
			case 's':
				if (!command_int(optarg, 1, 4096, &size))
					return command_refused("images", "size", optarg);
				break;
			case 'h':
				help();
				return COMMAND_OK;
			default:
				return command_usage("images", "unknown option");
		}
	if (!data || !out || optind != argc)
		return command_usage("images", "--data and --out are needed");

	pre = (ImagePreprocess){size, size, size, IMAGE_BICUBIC};
	ds = dataset_open(data, &pre, 1, command_bad_picture, &err);
	if (!ds)
		return command_failed("images", &err);
	ok = write_pictures(ds, out, quality, &err);
	if (ok)
		printf("%d pictures in %s\n", ds->n, out);
	dataset_free(ds);
	return ok ? COMMAND_OK : command_failed("images", &err);
}
