/*
 * safetensors.c
 *	  Reading safetensors files.  The file may be hostile.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nn/safetensors.h"

#define PREFIX 8 /* bytes of header length before the header */

bool
nn_name_ok(const char *name)
{
	size_t length = strlen(name);

	if (length < 1 || length >= NN_MAX_NAME)
		return false;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char) name[i] < 0x20 || name[i] == 0x7f)
			return false;
	return true;
}

static const struct
{
	const char *name;
	int bytes;
} dtypes[NN_DTYPE_COUNT] = {
	[NN_DTYPE_F32] = {"F32", 4},   [NN_DTYPE_F16] = {"F16", 2},
	[NN_DTYPE_BF16] = {"BF16", 2}, [NN_DTYPE_F64] = {"F64", 8},
	[NN_DTYPE_I64] = {"I64", 8},   [NN_DTYPE_I32] = {"I32", 4},
	[NN_DTYPE_I16] = {"I16", 2},   [NN_DTYPE_I8] = {"I8", 1},
	[NN_DTYPE_U64] = {"U64", 8},   [NN_DTYPE_U32] = {"U32", 4},
	[NN_DTYPE_U16] = {"U16", 2},   [NN_DTYPE_U8] = {"U8", 1},
	[NN_DTYPE_BOOL] = {"BOOL", 1},
};

const char *
nn_dtype_name(NnDtype dtype)
{
	return (unsigned) dtype < NN_DTYPE_COUNT ? dtypes[dtype].name : "unknown";
}

size_t
nn_tensor_values(const NnTensor *tensor)
{
	return tensor->size / (size_t) dtypes[tensor->dtype].bytes;
}

static bool
is_integer(const json_t *value, int64_t most)
{
	return json_is_integer(value) && json_integer_value(value) >= 0 &&
		   json_integer_value(value) <= most;
}

static bool
read_dtype(NnTensor *t, const json_t *entry, NnError *err)
{
	const char *dtype = json_string_value(json_object_get(entry, "dtype"));

	if (dtype == NULL)
		return nn_fail(err, "tensor \"%s\" has no dtype", t->name);
	for (int i = 0; i < NN_DTYPE_COUNT; i++)
		if (strcmp(dtype, dtypes[i].name) == 0)
		{
			t->dtype = (NnDtype) i;
			return true;
		}
	return nn_fail(err, "tensor \"%s\" has the unknown dtype \"%.16s\"", t->name, dtype);
}

/* Shape and place; the product of the shape must be the number of values there. */
static bool
read_place(NnTensor *t, const json_t *entry, size_t data_size, NnError *err)
{
	const json_t *shape = json_object_get(entry, "shape");
	const json_t *place = json_object_get(entry, "data_offsets");
	int64_t width = dtypes[t->dtype].bytes;
	int64_t most = (int64_t) data_size / width, values = 1, begin, end;

	if (!json_is_array(shape) || json_array_size(shape) > NN_TENSOR_DIMS)
		return nn_fail(err,
					   "tensor \"%s\": the shape is not an array of at most %d sizes",
					   t->name, NN_TENSOR_DIMS);
	t->ndim = (int) json_array_size(shape);
	for (int i = 0; i < t->ndim; i++)
	{
		const json_t *dim = json_array_get(shape, (size_t) i);

		if (!is_integer(dim, INT64_MAX) || json_integer_value(dim) < 1)
			return nn_fail(err,
						   "tensor \"%s\": size %d of the shape is not a whole number "
						   "of 1 or more",
						   t->name, i);
		t->dim[i] = json_integer_value(dim);
		if (t->dim[i] > most / values)
			return nn_fail(err,
						   "tensor \"%s\": its shape asks for more than the file's "
						   "%zu bytes of data",
						   t->name, data_size);
		values *= t->dim[i];
	}
	if (!json_is_array(place) || json_array_size(place) != 2 ||
		!is_integer(json_array_get(place, 0), INT64_MAX) ||
		!is_integer(json_array_get(place, 1), INT64_MAX))
		return nn_fail(err, "tensor \"%s\": data_offsets is not a pair of whole numbers",
					   t->name);
	begin = json_integer_value(json_array_get(place, 0));
	end = json_integer_value(json_array_get(place, 1));
	if (begin > end || (uint64_t) end > data_size)
		return nn_fail(err,
					   "tensor \"%s\": bytes %lld to %lld are not inside the %zu bytes "
					   "of data",
					   t->name, (long long) begin, (long long) end, data_size);
	if (end - begin != values * width)
		return nn_fail(err,
					   "tensor \"%s\": %lld bytes of data for a shape of %lld values",
					   t->name, (long long) (end - begin), (long long) values);
	t->begin = (size_t) begin;
	t->size = (size_t) (end - begin);
	return true;
}

static bool
read_tensor(NnTensor *t, const char *name, const json_t *entry, size_t data_size,
			NnError *err)
{
	const char *key;
	json_t *value;

	if (!nn_name_ok(name))
		return nn_fail(err,
					   "a tensor's name is empty, longer than %d bytes or holds control "
					   "characters",
					   NN_MAX_NAME - 1);
	strcpy(t->name, name);
	if (!json_is_object(entry))
		return nn_fail(err, "the header's entry for \"%s\" is not an object", name);
	json_object_foreach ((json_t *) entry, key, value)
	{
		if (strcmp(key, "dtype") != 0 && strcmp(key, "shape") != 0 &&
			strcmp(key, "data_offsets") != 0)
			return nn_fail(err, "tensor \"%s\" has the unknown attribute \"%.64s\"", name,
						   key);
	}
	return read_dtype(t, entry, err) && read_place(t, entry, data_size, err);
}

static int
by_place(const void *a, const void *b)
{
	const NnTensor *x = a, *y = b;

	return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* Every byte of the data belongs to exactly one tensor. */
static bool
check_cover(NnSafetensors *st, const void *data, size_t data_size, NnError *err)
{
	size_t at = 0;

	if (st->ntensors > 1)
		qsort(st->tensor, (size_t) st->ntensors, sizeof(NnTensor), by_place);
	for (int i = 0; i < st->ntensors; i++)
	{
		NnTensor *t = &st->tensor[i];

		if (t->begin < at)
			return nn_fail(err, "tensors \"%s\" and \"%s\" overlap",
						   st->tensor[i - 1].name, t->name);
		if (t->begin > at)
			return nn_fail(err, "the %zu bytes before tensor \"%s\" belong to no tensor",
						   t->begin - at, t->name);
		t->bytes = (const char *) data + t->begin;
		if (t->dtype == NN_DTYPE_F32 && (uintptr_t) t->bytes % sizeof(float) == 0)
			t->data = t->bytes;
		at = t->begin + t->size;
	}
	if (at != data_size)
		return nn_fail(err, "the last %zu bytes of the file belong to no tensor",
					   data_size - at);
	return true;
}

static bool
read_metadata(NnSafetensors *st, json_t *metadata, NnError *err)
{
	const char *key;
	json_t *value;

	if (!json_is_object(metadata))
		return nn_fail(err, "__metadata__ is not an object");
	json_object_foreach (metadata, key, value)
	{
		if (!json_is_string(value))
			return nn_fail(err, "__metadata__ \"%.64s\" is not a string", key);
	}
	st->metadata = json_incref(metadata);
	return true;
}

static bool
read_header(NnSafetensors *st, json_t *root, const void *data, size_t data_size,
			NnError *err)
{
	const char *name;
	json_t *entry;
	size_t tensors =
		json_object_size(root) - (json_object_get(root, "__metadata__") != NULL);

	if (tensors > NN_MAX_TENSORS)
		return nn_fail(err, "%zu tensors are too many (limit %d)", tensors,
					   NN_MAX_TENSORS);
	st->tensor = calloc(tensors + 1, sizeof(NnTensor));
	if (st->tensor == NULL)
		return nn_fail(err, "out of memory for %zu tensors", tensors);
	json_object_foreach (root, name, entry)
	{
		if (strcmp(name, "__metadata__") == 0)
		{
			if (!read_metadata(st, entry, err))
				return false;
		}
		else if (!read_tensor(&st->tensor[st->ntensors++], name, entry, data_size, err))
			return false;
	}
	return check_cover(st, data, data_size, err);
}

bool
nn_safetensors_parse(const char *header, size_t size, const void *data, size_t data_size,
					 NnSafetensors *st, NnError *err)
{
	json_error_t where;
	json_t *root;
	bool ok;

	memset(st, 0, sizeof(*st));
	if (size < 2 || header[0] != '{')
		return nn_fail(err,
					   "the header does not begin with \"{\": not a safetensors file");
	root = json_loadb(header, size, JSON_REJECT_DUPLICATES, &where);
	if (root == NULL)
		return nn_fail(err, "the header is not valid JSON: %s (byte %d)", where.text,
					   where.position);
	ok = json_is_object(root) ? read_header(st, root, data, data_size, err)
							  : nn_fail(err, "the header is not an object");
	json_decref(root);
	if (!ok)
		nn_safetensors_close(st);
	return ok;
}

static bool
parse_map(NnSafetensors *st, void *map, size_t map_size, NnError *err)
{
	const unsigned char *bytes = map;
	uint64_t size = 0;

	for (int i = 0; i < PREFIX; i++)
		size |= (uint64_t) bytes[i] << (8 * i);
	if (size > NN_MAX_HEADER)
		return nn_fail(
			err,
			"a header of %llu bytes (limit %d): not a safetensors file, or one "
			"for another purpose",
			(unsigned long long) size, NN_MAX_HEADER);
	if (size > map_size - PREFIX)
		return nn_fail(err,
					   "the header of %llu bytes does not fit the file of %zu: it is cut "
					   "short",
					   (unsigned long long) size, map_size);
	if (!nn_safetensors_parse((const char *) map + PREFIX, (size_t) size,
							  (const char *) map + PREFIX + size,
							  map_size - PREFIX - (size_t) size, st, err))
		return false;
	st->header_size = (size_t) size;
	return true;
}

bool
nn_safetensors_open_fd(int fd, NnSafetensors *st, NnError *err)
{
	struct stat info;
	size_t size;
	void *map;

	memset(st, 0, sizeof(*st));
	if (fstat(fd, &info) != 0)
		return nn_fail(err, "could not look at the file: %s", strerror(errno));
	if (!S_ISREG(info.st_mode))
		return nn_fail(err, "not a regular file");
	if (info.st_size < PREFIX + 2)
		return nn_fail(err, "a file of %lld bytes is no safetensors file",
					   (long long) info.st_size);
	size = (size_t) info.st_size;
	map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return nn_fail(err, "could not map %zu bytes: %s", size, strerror(errno));
	if (!parse_map(st, map, size, err))
	{
		munmap(map, size);
		return false;
	}
	st->map = map;
	st->map_size = size;
	return true;
}

bool
nn_safetensors_open(const char *path, NnSafetensors *st, NnError *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool ok;

	memset(st, 0, sizeof(*st));
	if (fd < 0)
		return nn_fail(err, "could not open \"%s\": %s", path, strerror(errno));
	ok = nn_safetensors_open_fd(fd, st, err);
	close(fd);
	return ok;
}

void
nn_safetensors_close(NnSafetensors *st)
{
	if (st->map != NULL)
		munmap(st->map, st->map_size);
	json_decref(st->metadata);
	free(st->tensor);
	memset(st, 0, sizeof(*st));
}

const NnTensor *
nn_safetensors_find(const NnSafetensors *st, const char *name)
{
	for (int i = 0; i < st->ntensors; i++)
		if (strcmp(st->tensor[i].name, name) == 0)
			return &st->tensor[i];
	return NULL;
}

const char *
nn_safetensors_metadata(const NnSafetensors *st, const char *key)
{
	return json_string_value(json_object_get(st->metadata, key));
}

/* ------------------------------------------------------------------- values */

float
nn_half_to_float(uint16_t half)
{
	uint32_t sign = (uint32_t) (half & 0x8000) << 16, exponent = half >> 10 & 0x1f,
			 fraction = half & 0x3ff, bits;
	float value;

	if (exponent == 0)
	{
		/* zero or subnormal: fraction x 2^-24 */
		value = (float) fraction * 0x1p-24f;
		return sign ? -value : value;
	}
	if (exponent == 31)
		bits = sign | 0x7f800000 | fraction << 13;
	else
		bits = sign | (exponent + 127 - 15) << 23 | fraction << 13;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* Value i of bytes that need not be aligned. */
static float
value_at(const NnTensor *t, size_t i)
{
	const char *at = (const char *) t->bytes + i * (size_t) dtypes[t->dtype].bytes;
	uint16_t half;
	uint32_t bits;
	double d;
	float f;

	switch (t->dtype)
	{
		case NN_DTYPE_F16:
			memcpy(&half, at, sizeof(half));
			return nn_half_to_float(half);
		case NN_DTYPE_BF16:
			memcpy(&half, at, sizeof(half));
			bits = (uint32_t) half << 16;
			memcpy(&f, &bits, sizeof(f));
			return f;
		case NN_DTYPE_F64:
			memcpy(&d, at, sizeof(d));
			return (float) d;
		default:
			memcpy(&f, at, sizeof(f));
			return f;
	}
}

bool
nn_tensor_floats(const NnTensor *t, float *out, NnError *err)
{
	size_t n = nn_tensor_values(t);

	if (t->dtype > NN_DTYPE_F64)
		return nn_fail(err, "tensor \"%s\" is %s; weights are F32, F16, BF16 or F64",
					   t->name, nn_dtype_name(t->dtype));
	for (size_t i = 0; i < n; i++)
	{
		float value = value_at(t, i);

		if (!isfinite(value))
			return nn_fail(err, "tensor \"%s\": value %zu is not finite", t->name, i);
		if (out != NULL)
			out[i] = value;
	}
	return true;
}
