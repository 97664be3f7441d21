/*
 * safetensors.h
 *	  Reading safetensors files: a map from names to tensors, mapped read-only.
 *
 * The file is 8 bytes of header length (little-endian), that many bytes of JSON
 * padded with spaces, and the tensors.  Only what is checked is handed out: after
 * nn_safetensors_open every tensor lies inside the file, none overlap, no byte
 * belongs to nobody, and sizes agree with shapes.
 */
#ifndef NN_SAFETENSORS_H
#define NN_SAFETENSORS_H

#include "nn/nn.h"

#define NN_TENSOR_DIMS 8
#define NN_MAX_HEADER (16 << 20) /* bytes of JSON */
#define NN_MAX_TENSORS 16384

/* Types of values; those that become floats come first. */
typedef enum NnDtype
{
	NN_DTYPE_F32,
	NN_DTYPE_F16,
	NN_DTYPE_BF16,
	NN_DTYPE_F64,
	NN_DTYPE_I64,
	NN_DTYPE_I32,
	NN_DTYPE_I16,
	NN_DTYPE_I8,
	NN_DTYPE_U64,
	NN_DTYPE_U32,
	NN_DTYPE_U16,
	NN_DTYPE_U8,
	NN_DTYPE_BOOL,
	NN_DTYPE_COUNT
} NnDtype;

typedef struct NnTensor
{
	char name[NN_MAX_NAME];
	NnDtype dtype;
	int ndim;					 /* 0 .. NN_TENSOR_DIMS; 0: one value */
	int64_t dim[NN_TENSOR_DIMS]; /* each >= 1 */
	size_t begin, size;			 /* bytes, from the end of the header */
	const void *bytes;			 /* where they lie, aligned or not */
	const float *data;			 /* the values of an aligned F32, else NULL */
} NnTensor;

struct json_t;

typedef struct NnSafetensors
{
	void *map; /* the whole file */
	size_t map_size;
	size_t header_size; /* without its length's 8 bytes */
	int ntensors;
	NnTensor *tensor;		 /* in order of their place in the file */
	struct json_t *metadata; /* object of strings, or NULL */
} NnSafetensors;

extern bool nn_safetensors_open(const char *path, NnSafetensors *st, NnError *err);
extern bool nn_safetensors_open_fd(int fd, NnSafetensors *st, NnError *err);
extern void nn_safetensors_close(NnSafetensors *st);

extern const NnTensor *nn_safetensors_find(const NnSafetensors *st, const char *name);
extern size_t nn_tensor_values(const NnTensor *tensor);
extern const char *nn_dtype_name(NnDtype dtype); /* "F32" */

/*
 * All values as floats: F32, F16 (exactly), BF16 (exactly), F64 (rounded).  False for
 * whole numbers and where a value is not finite; err names tensor and value.  out may be
 * NULL: only check.
 */
extern bool nn_tensor_floats(const NnTensor *tensor, float *out, NnError *err);

/* The value of 16 bits of IEEE half precision. */
extern float nn_half_to_float(uint16_t half);

/* A string of the header's __metadata__; NULL: not there. */
extern const char *nn_safetensors_metadata(const NnSafetensors *st, const char *key);

/*
 * Read a header of size bytes at header, followed by data_size bytes at data.
 * What the two functions above do after mapping; for tests and fuzzing.
 */
extern bool nn_safetensors_parse(const char *header, size_t size, const void *data,
								 size_t data_size, NnSafetensors *st, NnError *err);

/* 1 to NN_MAX_NAME - 1 bytes without control characters. */
extern bool nn_name_ok(const char *name);

#endif
