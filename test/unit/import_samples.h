/*
 * import_samples.h
 *	  Files of weights made for tests, networks to take them, and what imports tell.
 */
#ifndef TEST_IMPORT_SAMPLES_H
#define TEST_IMPORT_SAMPLES_H

#include "pretrained.h"

#include "training/import/import.h"

/* ------------------------------------------------------------ files to import */

typedef struct Entry
{
	char name[NN_MAX_NAME];
	const char *dtype;
	int ndim;
	int64_t dim[6];
	float *values;
	bool absent;
} Entry;

#define MOST 200

typedef struct File
{
	int n;
	Entry entry[MOST];
} File;

static char path[] = "/tmp/deephash-import-XXXXXX";

static inline int
begin(void **state)
{
	int fd = mkstemp(path);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? -1 : find_data(state);
}

static inline int
end(void **state)
{
	unlink(path);
	return close_data(state);
}

/* Bits of the half precision number next to v, which must be a normal one of those. */
static inline uint16_t
to_half(float v)
{
	uint32_t bits;

	memcpy(&bits, &v, 4);
	if ((bits & 0x7fffffff) == 0)
		return (uint16_t) (bits >> 16);
	return (uint16_t) ((bits >> 16 & 0x8000) | (((bits >> 13) - (112 << 10)) & 0x7fff));
}

static inline int
width_of(const char *dtype)
{
	return strcmp(dtype, "I64") == 0 || strcmp(dtype, "F64") == 0 ? 8
		   : strcmp(dtype, "F32") == 0							  ? 4
																  : 2;
}

static inline void
put_value(FILE *f, const char *dtype, float v)
{
	uint16_t half = to_half(v);
	uint32_t bits;
	int64_t whole = (int64_t) v;
	double d = v;

	memcpy(&bits, &v, 4);
	if (strcmp(dtype, "BF16") == 0)
		half = (uint16_t) (bits >> 16);
	fwrite(strcmp(dtype, "I64") == 0   ? (void *) &whole
		   : strcmp(dtype, "F64") == 0 ? (void *) &d
		   : strcmp(dtype, "F32") == 0 ? (void *) &v
									   : (void *) &half,
		   (size_t) width_of(dtype), 1, f);
}

static inline size_t
values_of(const Entry *e)
{
	size_t n = 1;

	for (int i = 0; i < e->ndim; i++)
		n *= (size_t) e->dim[i];
	return n;
}

/* Write the file; pad: spaces at the header's end, so that the data may be unaligned. */
static inline void
write_file(const File *file, int pad)
{
	char *header = calloc(1, 64000);
	size_t at = 0, length;
	FILE *f = fopen(path, "wb");
	const char *comma = "{";

	assert_non_null(f);
	for (int i = 0; i < file->n; i++)
	{
		const Entry *e = &file->entry[i];
		size_t size = values_of(e) * (size_t) width_of(e->dtype);

		if (e->absent)
			continue;
		sprintf(header + strlen(header), "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", comma,
				e->name, e->dtype);
		for (int d = 0; d < e->ndim; d++)
			sprintf(header + strlen(header), d ? ",%d" : "%d", (int) e->dim[d]);
		sprintf(header + strlen(header), "],\"data_offsets\":[%zu,%zu]}", at, at + size);
		at += size;
		comma = ",";
	}
	sprintf(header + strlen(header), "}%*s", pad, "");
	length = strlen(header);
	for (int i = 0; i < 8; i++)
		fputc((int) (length >> (8 * i) & 0xff), f);
	fwrite(header, 1, length, f);
	for (int i = 0; i < file->n; i++)
		for (size_t k = 0; !file->entry[i].absent && k < values_of(&file->entry[i]); k++)
			put_value(f, file->entry[i].dtype, file->entry[i].values[k]);
	assert_int_equal(fclose(f), 0);
	free(header);
}

static inline Entry *
add(File *file, const char *name, const char *dtype, int ndim, const int *dim)
{
	Entry *e = &file->entry[file->n++];
	size_t n;

	assert_true(file->n <= MOST);
	memset(e, 0, sizeof(*e));
	snprintf(e->name, sizeof(e->name), "%s", name);
	e->dtype = dtype;
	e->ndim = ndim;
	for (int i = 0; i < ndim; i++)
		e->dim[i] = dim[i];
	n = values_of(e);
	e->values = calloc(n, sizeof(float));
	/* seven bits: exact in every type */
	for (size_t i = 0; i < n; i++)
		e->values[i] = (float) ((int) (i * 37 % 127) - 63) / 64;
	return e;
}

static inline Entry *
entry(File *file, const char *name)
{
	for (int i = 0; i < file->n; i++)
		if (strcmp(file->entry[i].name, name) == 0)
			return &file->entry[i];
	fail_msg("there is no %s", name);
	return NULL;
}

/* All of g's parameters, shapes with `ones` leading ones for vectors. */
static inline File *
file_of(const NnGraph *g, const char *dtype, int ones)
{
	File *file = calloc(1, sizeof(*file));

	for (int i = 0; i < g->nparams; i++)
	{
		const NnParam *p = &g->param[i];
		int dim[8], n = 0;
		Entry *e;

		while (n < ones && p->shape.ndim + n < 4)
			dim[n++] = 1;
		for (int d = 0; d < p->shape.ndim; d++)
			dim[n++] = p->shape.dim[d];
		e = add(file, p->name, dtype, n, dim);
		if (strstr(p->name, "running_var"))
			for (size_t k = 0; k < values_of(e); k++)
				e->values[k] = fabsf(e->values[k]);
	}
	return file;
}

static inline void
free_file(File *file)
{
	for (int i = 0; i < file->n; i++)
		free(file->entry[i].values);
	free(file);
}

/* ------------------------------------------------------------------ networks */

typedef struct Heard
{
	int lines;
	char text[20000];
} Heard;

static inline void
hear(void *arg, const char *line)
{
	Heard *h = arg;

	h->lines++;
	if (strlen(h->text) + strlen(line) + 2 < sizeof(h->text))
		strcat(strcat(h->text, line), "\n");
}

static inline NnGraph *
network(const char *label, ArchHead head, int outputs, int size)
{
	ArchOptions o;
	TrainError err;
	char name[64];
	const Arch *arch;
	NnGraph *g;

	snprintf(name, sizeof(name), "%.*s", (int) strcspn(label, " "), label);
	arch = arch_find(name);
	arch_defaults(arch, &o);
	assert_non_null(arch_from_label(label, &o, &err));
	o.head = head;
	o.outputs = outputs;
	o.height = o.width = size;
	g = arch_build(arch, &o, &err);
	if (!g)
		fail_msg("%s", err.text);
	return g;
}

static inline void
expect_values(const NnGraph *g, File *file)
{
	for (int i = 0; i < g->nparams; i++)
		assert_memory_equal(g->param[i].data, entry(file, g->param[i].name)->values,
							nn_shape_size(&g->param[i].shape) * sizeof(float));
}

static inline void
expect_part(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" does not say \"%s\"", text, part);
}

#endif
